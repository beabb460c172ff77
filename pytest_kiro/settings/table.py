"""Every setting once: option, ini key, environment variable, default, help and documentation come from here.

Precedence: option > environment > ini > default. (Arguments, markers and the `kiro_run_args` fixture
stand above all of them; they are merged where a turn is run.)
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_kiro.errors import SettingsError
from pytest_kiro.settings import parsing
from pytest_kiro.settings.waits import Waits

EFFORTS = ("low", "medium", "high", "xhigh", "max")
LOGINS = ("auto", "api-key", "saved", "device", "none")
SWITCH = ("on", "off")
STREAMS = ("auto", "on", "off")
KEEPS = ("never", "on-failure", "always")
REPLIES = ("model", "scenario")
ENGINES = ("v1", "v2", "v3")
OUTPUTS = ("text", "stream-json")


class Secret(str):
    """A text that no traceback shows, not even one that shows all local variables.

    >>> {"key": Secret("ksk_1")}, f"{Secret('ksk_1')}"
    ({'key': '…'}, 'ksk_1')
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'…'"


def parse_trust(value: str) -> str:
    """Normalise what Kiro may use without asking: `all`, `none`, or names joined by commas."""
    names = [name.strip() for name in value.split(",")]
    alone = len(names) == 1 or not {"all", "none"}.intersection(names)
    if not alone or not all(names) or any(re.search(r"\s", name) for name in names):
        raise ValueError("all, none, or tool names joined by commas, such as read,write")
    return ",".join(names)


@dataclass(frozen=True)
class Setting:
    """One row of the table; without a `metavar` the option is a switch, which has no value but on the command line."""

    name: str
    metavar: str
    default: str | None
    parse: Callable[[str], Any]
    help: str
    shown_default: str = ""

    @property
    def option(self) -> str:
        return f"--kiro-{self.name.replace('_', '-')}"

    @property
    def ini(self) -> str:
        return f"kiro_{self.name}"

    @property
    def variable(self) -> str:
        return f"PYTEST_KIRO_{self.name.upper()}"


TABLE = (
    Setting(
        "sandbox",
        "NAME",
        "local",
        parsing.text,
        "where Kiro works: local, daytona, or a provider that a plugin registered",
    ),
    Setting(
        "cli",
        "WHAT",
        None,
        parsing.cli,
        "official, scripted, or an absolute path in the sandbox; official on local is the kiro-cli of your PATH",
        "scripted on local, official elsewhere",
    ),
    Setting(
        "replies",
        "WHO",
        None,
        parsing.one_of(*REPLIES),
        "who thinks of the answers: model, or scenario, the scripts of the stand-in; official with scenario needs no "
        "account and spends no credits",
        "scenario with the stand-in, else model",
    ),
    Setting(
        "cli_version",
        "VERSION",
        None,
        parsing.version,
        "the version of kiro-cli that must answer: official installs exactly this one, any other is refused",
        "any",
    ),
    Setting("engine", "E", "v2", parsing.one_of(*ENGINES), f"kiro-cli's engine: {', '.join(ENGINES)}"),
    Setting(
        "output",
        "FORM",
        "text",
        parsing.one_of(*OUTPUTS),
        "what kiro-cli prints: text, or stream-json (events, shown to people as text)",
    ),
    Setting("scenarios", "DIR", "scenarios", parsing.text, "folder of the stand-in's scripts, beside the tests"),
    Setting(
        "login",
        "HOW",
        "auto",
        parsing.one_of(*LOGINS),
        "auto (already logged in, KIRO_API_KEY, a saved login, a device login where there is a terminal), api-key, "
        "saved (by python -m pytest_kiro login), device, or none (do not look)",
    ),
    Setting(
        "login_args",
        "ARGS",
        None,
        parsing.words,
        "further arguments of kiro-cli login, such as '--license free', with which nothing has to be selected",
        "none",
    ),
    Setting("login_timeout", "SECONDS", "600", parsing.seconds, "how long a device login waits for your approval"),
    Setting(
        "open_browser",
        "",
        "off",
        parsing.one_of(*SWITCH),
        "open the page of a device login in your browser",
    ),
    Setting("agent", "NAME", None, parsing.text, "the Kiro agent that answers", "Kiro's own"),
    Setting("model", "ID", None, parsing.text, "the model that answers", "Kiro's own"),
    Setting(
        "effort", "LEVEL", None, parsing.one_of(*EFFORTS), f"how hard it thinks: {', '.join(EFFORTS)}", "Kiro's own"
    ),
    Setting(
        "trust",
        "TOOLS",
        "all",
        parse_trust,
        "tools that Kiro uses without asking: all, none, or names joined by commas",
    ),
    Setting("timeout", "SECONDS", "600", parsing.seconds, "how long one turn may take"),
    Setting(
        "stall_timeout",
        "SECONDS",
        "off",
        parsing.seconds_or_off,
        "end a turn that printed nothing for so long, or off: a quiet npm install is silent for minutes",
    ),
    Setting(
        "setup_timeout",
        "SECONDS",
        "300",
        parsing.seconds,
        "how long each step of installing and logging in may take",
    ),
    Setting(
        "retries",
        "N",
        "1",
        parsing.retries,
        "how often a conversation's first turn is run again after an infrastructure failure: 0 to 10",
    ),
    Setting(
        "budget",
        "CREDITS",
        None,
        parsing.credits,
        "refuse the next turn once the run, on all its workers, has spent so many credits; 0 refuses the first",
        "no limit",
    ),
    Setting(
        "keep_sandbox",
        "WHEN",
        "never",
        parsing.one_of(*KEEPS),
        "leave the sandbox after the run and print how to get back to it: never, on-failure, always",
    ),
    Setting(
        "snapshot",
        "WHAT",
        "none",
        parsing.text,
        "Daytona: what sandboxes are made from: none (its default image), auto (built once with kiro-cli and node "
        "in it, reused afterwards), or a snapshot's name",
    ),
    Setting(
        "max_sandboxes",
        "N",
        None,
        parsing.count,
        "Daytona: at most so many sandboxes in this run; further xdist workers share them",
        "one for each worker",
    ),
    Setting("terminal", "COLSxROWS", "120x30", parsing.size, "size of the terminal that Kiro sees"),
    Setting(
        "stream",
        "WHEN",
        "auto",
        parsing.one_of(*STREAMS),
        "show what Kiro prints while it prints: auto (with -s), on, off",
    ),
    Setting(
        "results",
        "FILE",
        None,
        parsing.text,
        "write what became of the run, its tests and their turns to this JSON file",
        "none",
    ),
)


@dataclass(frozen=True)
class Settings:
    """What was asked for, after options, environment and ini files were read; nothing changes it later.

    `timeout`, `stall_timeout`, `setup_timeout` and `login_timeout` are seconds; `stall_timeout` is None when off;
    `cli`, `replies`, `cli_version`, `login_args`, `agent`, `model`, `effort`, `budget`, `max_sandboxes` and `results`
    are None when nobody said anything; `terminal` is (columns, rows).
    `origins` says where each value came from; `run_id` and `worker` name this pytest run and its process;
    `waits` is how long things are waited for.

    >>> read(option=lambda name: None, environ={}, ini=lambda name: None).timeout
    600.0
    """

    sandbox: str
    cli: str | None
    replies: str | None
    cli_version: str | None
    engine: str
    output: str
    scenarios: str
    login: str
    login_args: tuple[str, ...] | None
    login_timeout: float
    open_browser: str
    agent: str | None
    model: str | None
    effort: str | None
    trust: str
    timeout: float
    stall_timeout: float | None
    setup_timeout: float
    retries: int
    budget: float | None
    keep_sandbox: str
    snapshot: str
    max_sandboxes: int | None
    terminal: tuple[int, int]
    stream: str
    results: str | None
    run_id: str = "run"
    worker: str = "main"
    origins: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    waits: Waits = field(default_factory=Waits, compare=False, repr=False)


def read(
    *,
    option: Callable[[str], str | None],
    environ: Mapping[str, str],
    ini: Callable[[str], str | None],
    run_id: str = "run",
    worker: str = "main",
    waits: Waits | None = None,
) -> Settings:
    """Read every setting; a wrong value is a `SettingsError` naming the value, its origin and what is right."""
    _refuse_unknown(environ, "PYTEST_KIRO_", [row.variable for row in TABLE], "environment variable")
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for row in TABLE:
        found = (
            (option(row.name), row.option),
            (environ.get(row.variable), row.variable),
            (ini(row.ini), f"ini key {row.ini}"),
            (row.default, "default"),
        )
        value, origin = next(((v, o) for v, o in found if v is not None), (None, "default"))
        origins[row.name] = origin
        try:
            values[row.name] = None if value is None else row.parse(value)
        except ValueError as error:
            raise SettingsError(f"{origin}: {value!r} is not right; wanted: {error}") from None
    return Settings(**values, origins=origins, run_id=run_id, worker=worker, waits=waits or Waits())


def refuse_unknown_ini(keys: Iterable[str]) -> None:
    """Raise `SettingsError` for an ini key that begins with `kiro_` and is none of ours."""
    _refuse_unknown(keys, "kiro_", [row.ini for row in TABLE], "ini key")


def _refuse_unknown(found: Iterable[str], prefix: str, known: list[str], what: str) -> None:
    for name in found:
        if name.startswith(prefix) and name not in known:
            raise SettingsError(f"unknown {what} {name}{did_you_mean(name, known)}; known: {', '.join(known)}")


def did_you_mean(word: str, known: list[str]) -> str:
    """Say `, did you mean x?` when a known word is close, else nothing."""
    close = difflib.get_close_matches(word, known, n=1)
    return f", did you mean {close[0]}?" if close else ""


def markdown() -> str:
    """Render the table for the README."""
    lines = ["| option | default | |", "|---|---|---|"]
    for row in TABLE:
        lines.append(
            f"| `{f'{row.option} {row.metavar}'.rstrip()}` | {row.shown_default or row.default} | {row.help} |"
        )
    return "\n".join(lines)
