"""Every setting once: option, ini key, environment variable, default, help and documentation come from here.

Precedence: option > environment > ini > default. (Arguments, markers and the `kiro_run_args` fixture
stand above all of them; they are merged where a turn is run.)
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_kiro.errors import SettingsError

EFFORTS = ("low", "medium", "high", "xhigh", "max")
LOGINS = ("auto", "api-key", "none")
STREAMS = ("auto", "on", "off")
KEEPS = ("never", "on-failure", "always")


class Secret(str):
    """A text that no traceback shows, not even one that shows all local variables.

    >>> {"key": Secret("ksk_1")}, f"{Secret('ksk_1')}"
    ({'key': '…'}, 'ksk_1')
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'…'"


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("a value that is not blank")
    return value.strip()


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return value

    return parse


def _seconds(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise ValueError("a number of seconds above 0")
    return number


def _seconds_or_off(value: str) -> float | None:
    try:
        return None if value == "off" else _seconds(value)
    except ValueError:
        raise ValueError("a number of seconds above 0, or off") from None


def _count(value: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,5}", value):
        raise ValueError("a whole number above 0")
    return int(value)


def _version(value: str) -> str:
    if not re.fullmatch(r"\d+\.\d+\.\d+[\w.+-]*", value):
        raise ValueError("a full version, such as 2.29.0")
    return value


def _cli(value: str) -> str:
    if value in ("official", "scripted") or value.startswith("/"):
        return value
    raise ValueError("official, scripted, or an absolute path in the sandbox")


def parse_trust(value: str) -> str:
    """Normalise what Kiro may use without asking: `all`, `none`, or names joined by commas."""
    names = [name.strip() for name in value.split(",")]
    alone = len(names) == 1 or not {"all", "none"}.intersection(names)
    if not alone or not all(names) or any(re.search(r"\s", name) for name in names):
        raise ValueError("all, none, or tool names joined by commas, such as read,write")
    return ",".join(names)


def _size(value: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,4})x(\d{1,4})", value)
    if not match or not all(int(part) for part in match.groups()):
        raise ValueError("columns x rows, such as 120x30")
    return int(match[1]), int(match[2])


@dataclass(frozen=True)
class Setting:
    """One row of the table."""

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
        "sandbox", "NAME", "local", _text, "where Kiro works: local, daytona, or a provider that a plugin registered"
    ),
    Setting(
        "cli",
        "WHAT",
        None,
        _cli,
        "official, scripted, or an absolute path in the sandbox; official on local is the kiro-cli of your PATH",
        "scripted on local, official elsewhere",
    ),
    Setting(
        "cli_version",
        "VERSION",
        None,
        _version,
        "the version of kiro-cli that must answer: official installs exactly this one, any other is refused",
        "any",
    ),
    Setting("scenarios", "DIR", "scenarios", _text, "folder of the stand-in's scripts, beside the tests"),
    Setting(
        "login",
        "HOW",
        "auto",
        _one_of(*LOGINS),
        "auto (already logged in, else KIRO_API_KEY), api-key, or none (do not look)",
    ),
    Setting("agent", "NAME", None, _text, "the Kiro agent that answers", "Kiro's own"),
    Setting("model", "ID", None, _text, "the model that answers", "Kiro's own"),
    Setting("effort", "LEVEL", None, _one_of(*EFFORTS), f"how hard it thinks: {', '.join(EFFORTS)}", "Kiro's own"),
    Setting(
        "trust",
        "TOOLS",
        "all",
        parse_trust,
        "tools that Kiro uses without asking: all, none, or names joined by commas",
    ),
    Setting("timeout", "SECONDS", "600", _seconds, "how long one turn may take"),
    Setting(
        "stall_timeout",
        "SECONDS",
        "off",
        _seconds_or_off,
        "end a turn that printed nothing for so long, or off: a quiet npm install is silent for minutes",
    ),
    Setting(
        "setup_timeout",
        "SECONDS",
        "300",
        _seconds,
        "how long each step of installing and logging in may take",
    ),
    Setting(
        "keep_sandbox",
        "WHEN",
        "never",
        _one_of(*KEEPS),
        "leave the sandbox after the run and print how to get back to it: never, on-failure, always",
    ),
    Setting(
        "snapshot",
        "WHAT",
        "none",
        _text,
        "Daytona: what sandboxes are made from: none (its default image), auto (built once with kiro-cli and node "
        "in it, reused afterwards), or a snapshot's name",
    ),
    Setting(
        "max_sandboxes",
        "N",
        None,
        _count,
        "Daytona: at most so many sandboxes in this run; further xdist workers share them",
        "one for each worker",
    ),
    Setting("terminal", "COLSxROWS", "120x30", _size, "size of the terminal that Kiro sees"),
    Setting(
        "stream",
        "WHEN",
        "auto",
        _one_of(*STREAMS),
        "show what Kiro prints while it prints: auto (with -s), on, off",
    ),
)


@dataclass(frozen=True)
class Settings:
    """What was asked for, after options, environment and ini files were read; nothing changes it later.

    `timeout`, `stall_timeout` and `setup_timeout` are seconds; `stall_timeout` is None when off; `cli`,
    `cli_version`, `max_sandboxes`, `agent`, `model` and `effort` are None when nobody said anything; `terminal` is
    (columns, rows).
    `origins` says where each value came from; `run_id` and `worker` name this pytest run and its process.

    >>> read(option=lambda name: None, environ={}, ini=lambda name: None).timeout
    600.0
    """

    sandbox: str
    cli: str | None
    cli_version: str | None
    scenarios: str
    login: str
    agent: str | None
    model: str | None
    effort: str | None
    trust: str
    timeout: float
    stall_timeout: float | None
    setup_timeout: float
    keep_sandbox: str
    snapshot: str
    max_sandboxes: int | None
    terminal: tuple[int, int]
    stream: str
    run_id: str = "run"
    worker: str = "main"
    origins: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)


def read(
    *,
    option: Callable[[str], str | None],
    environ: Mapping[str, str],
    ini: Callable[[str], str | None],
    run_id: str = "run",
    worker: str = "main",
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
    return Settings(**values, origins=origins, run_id=run_id, worker=worker)


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
        lines.append(f"| `{row.option} {row.metavar}` | {row.shown_default or row.default} | {row.help} |")
    return "\n".join(lines)
