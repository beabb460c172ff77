"""Reads the settings of a run: each from an option, the environment, an ini key or its default.

Precedence: option > environment > ini > default. (Arguments, markers and the `kiro_run_args` fixture
stand above all of them; they are merged where a turn is run.)
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from pytest_kiro.errors import SettingsError
from pytest_kiro.settings import parsing
from pytest_kiro.settings.rows import TABLE as TABLE
from pytest_kiro.settings.rows import Setting
from pytest_kiro.settings.waits import Waits

#: What is only of a device login.
_ONLY_OF_DEVICE = ("login_args", "login_timeout", "open_browser")
#: What only one provider has; another one would ignore it.
_ONLY_OF = {"network": "bubblewrap", "snapshot": "daytona", "max_sandboxes": "daytona"}


class Secret(str):
    """A text that no traceback shows, not even one with local variables.

    >>> {"key": Secret("ksk_1")}, f"{Secret('ksk_1')}"
    ({'key': '…'}, 'ksk_1')
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'…'"


class Variants(NamedTuple):
    """The values of a setting that are compared, the baseline first."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Settings:
    """What was asked for, after options, environment and ini files were read; nothing changes it later.

    `timeout`, `stall_timeout`, `setup_timeout` and `login_timeout` are seconds; `stall_timeout` is None when off;
    `cli`, `replies`, `cli_version`, `login_args`, `agent`, `model`, `effort`, `budget`, `max_turns`, `max_calls`,
    `ignore`, `max_sandboxes`, `trials`, `gate`, `more`, `undecided`, `baseline`, `results` and
    `report` are None when nobody said anything; `terminal` is (columns, rows).
    `variants` are the values of an option that was given several times; its setting is the first of them.
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
    scenario_seed: str
    record: str
    recordings: str
    selfcheck: bool
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
    max_turns: int | None
    max_calls: int | None
    keep_sandbox: str
    home: str
    ignore: tuple[str, ...] | None
    network: str
    snapshot: str
    max_sandboxes: int | None
    trials: int | None
    gate: str | None
    all_trials: bool
    more: int | None
    aa: bool
    undecided: str | None
    min_valid: float
    terminal: tuple[int, int]
    stream: str
    artifacts: str
    artifacts_dir: str
    baseline: str | None
    results: str | None
    report: str | None
    github: str
    run_id: str = "run"
    worker: str = "main"
    origins: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    waits: Waits = field(default_factory=Waits, compare=False, repr=False)
    variants: Variants | None = None


def read(
    *,
    option: Callable[[str], str | list[str] | None],
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
    compared: list[Variants] = []
    for row in TABLE:
        sources = (
            (option(row.name), row.option),
            (environ.get(row.variable), row.variable),
            (_typed(row, ini(row.ini)), f"ini key {row.ini}"),
            (row.default, "default"),
        )
        given, origins[row.name] = next((source for source in sources if source[0] is not None), (None, "default"))
        read_values = [
            _read(row, text, origins[row.name]) for text in ([given] if isinstance(given, str) else given or [])
        ]
        values[row.name] = read_values[0] if read_values else None
        if len(read_values) > 1:
            compared.append(Variants(row.name, tuple(read_values)))
    if values["report"] is not None and origins["artifacts"] == "default":
        values["artifacts"], origins["artifacts"] = "on", origins["report"]  # a page shows terminals and diffs
    return Settings(
        **values,
        origins=origins,
        run_id=run_id,
        worker=worker,
        waits=waits or Waits(),
        variants=_one_at_a_time(compared),
    )


def _typed(row: Setting, value: object) -> str | list[str] | None:
    """Return an ini key's text, or the values that are compared."""
    if row.several and isinstance(value, list):
        return [*map(str, value)]
    try:
        return parsing.text(row.kind, value)
    except ValueError as error:
        raise SettingsError(f"ini key {row.ini}: {value!r} is not right", advice=f"wanted: {error}") from None


def _read(row: Setting, text: str, origin: str) -> Any:
    try:
        return parsing.read(row.kind, text)
    except ValueError as error:
        raise SettingsError(f"{origin}: {text!r} is not right", advice=f"wanted: {error}") from None


def _one_at_a_time(compared: list[Variants]) -> Variants | None:
    """Return the values that are compared; `SettingsError` where they cannot be."""
    if len(compared) > 1:
        names = " and ".join(f"--kiro-{one.name}" for one in compared)
        raise SettingsError(f"{names} are both given several times", advice="compare one thing at a time")
    for name, values in compared:
        if twice := next((value for value in values if values.count(value) > 1), None):
            what = f"--kiro-{name}={twice} is given twice, and is compared with itself"
            raise SettingsError(what, advice="use --kiro-aa for that")
    return compared[0] if compared else None


def checked(settings: Settings) -> Settings:
    """Return settings that fit together; a replay needs no Daytona.

    `SettingsError` for those that contradict each other, or would be ignored. A project's ini file speaks for the
    provider that it means; a command line and an environment for this run.
    """
    _check_recording(settings)
    _check_more(settings)
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
    if settings.selfcheck and settings.replies != "recording":  # no model is asked by a self-check
        settings = replace(settings, replies="scenario", cli="scripted", record="missing")
    if (settings.replies == "recording" or settings.selfcheck) and settings.sandbox == "daytona":
        return replace(settings, sandbox="local", origins={**settings.origins, "sandbox": "replay"})
    return settings


def _check_recording(settings: Settings) -> None:
    """Refuse to record and to replay at once."""
    origin, replays = f"{settings.origins['record']}={settings.record}", settings.replies == "recording"
    if settings.record in ("all", "missing") and replays:
        keeps = "replays what is kept and runs the rest" if settings.record == "missing" else "keeps what Kiro does"
        raise SettingsError(
            f"{origin} {keeps}, but {settings.origins['replies']}=recording asks nobody but recordings",
            advice="leave one of them out",
        )
    if settings.selfcheck and (settings.record != "off" or settings.replies == "model"):
        name = "record" if settings.record != "off" else "replies"
        what = f"{settings.origins['selfcheck']} asks recordings and scenarios, and keeps nothing"
        advice = f"leave out {settings.origins[name]}={getattr(settings, name)}"
        raise SettingsError(what, advice=advice)
    if settings.record == "prune" and not replays:
        raise SettingsError(
            f"{origin} removes the recordings that no test asks for, and this run asks for none",
            advice="add --kiro-replies=recording",
        )


def _check_more(settings: Settings) -> None:
    """Refuse to add trials to none, or to a number of them."""
    origin = f"{settings.origins['more']}={settings.more}"
    if settings.more is not None and settings.baseline is None:
        raise SettingsError(
            f"{origin} adds trials to those of an earlier run", advice="name its results file by --kiro-baseline"
        )
    if settings.more is not None and settings.trials is not None:
        what = f"{origin} adds to the trials that there are, and {settings.origins['trials']} says how many there are"
        raise SettingsError(what, advice="leave one of them out")


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
