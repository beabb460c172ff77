"""How a turn is run: one set of words for arguments, markers and the `kiro_run_args` fixture."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypedDict

from pytest_kiro.errors import HIDE_FRAMES, SettingsError
from pytest_kiro.sandbox.protocol import check_env
from pytest_kiro.settings import parsing
from pytest_kiro.settings.rows import EFFORTS
from pytest_kiro.settings.table import Settings, did_you_mean

__tracebackhide__ = HIDE_FRAMES


class RunArguments(TypedDict, total=False):
    """What one turn, or one conversation, may be told; None leaves what the marker and the settings say."""

    timeout: float | None
    agent: str | None
    model: str | None
    effort: str | None
    trust: str | list[str] | None
    env: Mapping[str, str] | None


@dataclass(frozen=True)
class RunOptions:
    """How one turn is run; `timeout` in seconds, None where Kiro decides."""

    timeout: float
    agent: str | None = None
    model: str | None = None
    effort: str | None = None
    trust: str = "all"
    env: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> RunOptions:
        """Return what the options, the environment and the ini files say."""
        return cls(settings.timeout, settings.agent, settings.model, settings.effort, settings.trust)

    def merged(self, over: Mapping[str, Any], where: str) -> RunOptions:
        """Return these with `over` on top; an unknown word or a wrong value is a `SettingsError` naming `where`.

        None leaves the value below as it is; `env` is merged variable by variable.
        """
        if not isinstance(over, Mapping):
            raise SettingsError(f"{where} is {over!r}", advice="wanted: a dict")
        known = [f.name for f in fields(self)]
        values = {name: value for name, value in over.items() if value is not None}
        for name, value in values.items():
            if name not in known:
                hint = did_you_mean(name, known)
                raise SettingsError(f"{where} has no keyword {name!r}{hint}", advice=f"known: {', '.join(known)}")
            try:
                values[name] = _CHECKS[name](value)
            except (TypeError, ValueError) as error:
                shown = name if name == "env" else f"{name}={value!r}"  # which may have a secret in it
                raise SettingsError(f"{where}: {shown} is not right", advice=f"wanted: {error}") from None
        if "env" in values:
            values["env"] = {**self.env, **values["env"]}
        return replace(self, **values)


def is_number(value: Any, kind: Any = int | float) -> bool:
    """Whether it is a number; True and False are none."""
    return isinstance(value, kind) and not isinstance(value, bool)


def _timeout(value: Any) -> float:
    if not is_number(value) or not 0 < value < math.inf:
        raise ValueError("a number of seconds above 0")
    return float(value)


def _word(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError("a str that is not blank")
    return value


def _effort(value: Any) -> str:
    if value not in EFFORTS:
        raise ValueError(f"one of {', '.join(EFFORTS)}")
    return str(value)


def _env(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(part, str) for pair in value.items() for part in pair):
        raise ValueError("a dict of str to str")
    check_env(value)
    return dict(value)


def _trust(value: Any) -> str:
    if not isinstance(value, str | Iterable) or not all(isinstance(name, str) for name in value):
        raise TypeError("all, none, or tool names, as one str or a list of them")
    return parsing.trust(value if isinstance(value, str) else ",".join(value))


_CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "timeout": _timeout,
    "agent": _word,
    "model": _word,
    "effort": _effort,
    "trust": _trust,
    "env": _env,
}
