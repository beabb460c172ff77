"""Reads the settings of a run: each from an option, the environment, an ini key or its default.

Precedence: option > environment > ini > default. (Arguments, markers and the `kiro_run_args` fixture
stand above all of them; they are merged where a turn is run.)
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_kiro.errors import SettingsError
from pytest_kiro.settings import parsing
from pytest_kiro.settings.rows import TABLE as TABLE
from pytest_kiro.settings.waits import Waits

#: What is only of a device login.
_ONLY_OF_DEVICE = ("login_args", "login_timeout", "open_browser")
#: What only one provider has; another one would ignore it.
_ONLY_OF = {"snapshot": "daytona", "max_sandboxes": "daytona"}


class Secret(str):
    """A text that no traceback shows, not even one with local variables.

    >>> {"key": Secret("ksk_1")}, f"{Secret('ksk_1')}"
    ({'key': '…'}, 'ksk_1')
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'…'"


@dataclass(frozen=True)
class Settings:
    """What was asked for, after options, environment and ini files were read; nothing changes it later.

    `timeout`, `stall_timeout`, `setup_timeout` and `login_timeout` are seconds; `stall_timeout` is None when off;
    `cli`, `replies`, `cli_version`, `login_args`, `agent`, `model`, `effort`, `budget`, `ignore`, `max_sandboxes` and
    `results` are None when nobody said anything; `terminal` is (columns, rows).
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
    open_browser: bool
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
    home: str
    ignore: tuple[str, ...] | None
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
    ini: Callable[[str], object],
    run_id: str = "run",
    worker: str = "main",
    waits: Waits | None = None,
) -> Settings:
    """Read every setting; a wrong value is a `SettingsError` naming the value, its origin and what is right."""
    _refuse_unknown(environ, "PYTEST_KIRO_", [row.variable for row in TABLE], "environment variable")
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for row in TABLE:
        sources = (
            (option(row.name), row.option),
            (environ.get(row.variable), row.variable),
            (parsing.text(row.kind, ini(row.ini)), f"ini key {row.ini}"),
            (row.default, "default"),
        )
        text, origins[row.name] = next((source for source in sources if source[0] is not None), (None, "default"))
        try:
            values[row.name] = None if text is None else parsing.read(row.kind, text)
        except ValueError as error:
            raise SettingsError(f"{origins[row.name]}: {text!r} is not right", advice=f"wanted: {error}") from None
    return Settings(**values, origins=origins, run_id=run_id, worker=worker, waits=waits or Waits())


def check(settings: Settings) -> None:
    """Raise `SettingsError` for settings that contradict each other, or would be ignored.

    A project's ini file speaks for the provider that it means; a command line and an environment for this run.
    """
    if settings.output == "stream-json" and settings.engine == "v1":
        raise SettingsError(
            f"{settings.origins['output']}: stream-json is not supported on engine v1",
            advice="use --kiro-engine=v2 or v3, or --kiro-output=text",
        )
    for row in TABLE:
        origin = settings.origins[row.name]
        if origin not in (row.option, row.variable):
            continue
        if row.name in _ONLY_OF_DEVICE and settings.login not in ("auto", "device"):
            raise SettingsError(
                f"{origin} is for a device login, but --kiro-login={settings.login} asks nobody",
                advice="leave it out, or use --kiro-login=device",
            )
        provider = _ONLY_OF.get(row.name, settings.sandbox)
        if settings.sandbox != provider:
            what = f"{origin} is for --kiro-sandbox={provider}, but this run's is {settings.sandbox}"
            raise SettingsError(f"{what}, which would ignore it", advice="leave it out, or choose that sandbox")


def refuse_unknown_ini(keys: Iterable[str]) -> None:
    """Raise `SettingsError` for a `kiro_` ini key that the table lacks."""
    _refuse_unknown(keys, "kiro_", [row.ini for row in TABLE], "ini key")


def _refuse_unknown(names: Iterable[str], prefix: str, known: list[str], what: str) -> None:
    for name in names:
        if name.startswith(prefix) and name not in known:
            hint = did_you_mean(name, known)
            raise SettingsError(f"unknown {what} {name}{hint}", advice=f"known: {', '.join(known)}")


def shown(settings: Settings, name: str) -> object:
    """Return a setting's value as results show it: a switch is on or off."""
    value = getattr(settings, name)
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


def did_you_mean(word: str, known: list[str]) -> str:
    """Return `, did you mean x?` for a close word, else nothing."""
    close = difflib.get_close_matches(word, known, n=1)
    return f", did you mean {close[0]}?" if close else ""
