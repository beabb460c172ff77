"""What one turn is asked, and how it is run.

Arguments, markers and the `kiro_run_args` fixture say it in one set of words.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from functools import cached_property
from typing import Any, TypedDict

from pytest_kiro.errors import HIDE_FRAMES, SettingsError
from pytest_kiro.sandbox.checks import check_env
from pytest_kiro.settings import parsing
from pytest_kiro.settings.rows import EFFORTS
from pytest_kiro.settings.table import Settings, did_you_mean
from pytest_kiro.standin.scenario import Reply
from pytest_kiro.turn.amounts import added, exact
from pytest_kiro.turn.transcript import Transcript

__tracebackhide__ = HIDE_FRAMES


class RunArguments(TypedDict, total=False):
    """What one turn, or one conversation, may be told; None leaves what the marker and the settings say.

    `timeout` is in seconds, or a text such as `"2m"`; `agent`, `model` and `effort` are kiro-cli's words; `trust` is
    `all`, `none` or names of tools; `env` are variables of Kiro's own process; `memory` lets it have one. What is not
    right is a `SettingsError` before anything starts.
    """

    timeout: float | str | None
    agent: str | None
    model: str | None
    effort: str | None
    trust: str | list[str] | None
    env: Mapping[str, str] | None
    memory: bool | None


@dataclass(frozen=True)
class RunOptions:
    """How one turn is run; `timeout` in seconds, None where Kiro decides."""

    timeout: float
    agent: str | None = None
    model: str | None = None
    effort: str | None = None
    trust: str = "all"
    env: Mapping[str, str] = field(default_factory=dict)
    memory: bool = False

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
                values[name] = _checked(name, value)
            except ValueError as error:
                shown = name if name == "env" else f"{name}={value!r}"  # which may have a secret in it
                raise SettingsError(f"{where}: {shown} is not right", advice=f"wanted: {error}") from None
        if "env" in values:
            values["env"] = {**self.env, **values["env"]}
        return replace(self, **values)


@dataclass(frozen=True)
class Resume:
    """Where a turn goes on: a session, how many prompts and turns of it are old, and the credits that are counted."""

    session_id: str | None = None
    prompts: int = 0
    turns: int = 0
    counted: Decimal | None = None

    def charged(self, transcript: Transcript) -> Decimal:
        """Return what is counted of a session after a turn."""
        if transcript.counted is not None:
            return transcript.counted
        earlier = self.counted if transcript.session_id == self.session_id else None
        return added((earlier or Decimal(0), exact(transcript.credits or 0.0)))


@dataclass(frozen=True)
class Request:
    """What one turn is asked: its prompt, how it is run, where it goes on.

    `history` warns of how it came about; `answer` finds what a scripted kiro-cli answers;
    `recorded_as` is what its recording is asked for by, where the prompt varies.
    """

    prompt: str
    options: RunOptions
    resume: Resume
    history: tuple[str, ...] = ()
    answer: Callable[[], Reply] | None = None
    recorded_as: str | None = None

    @cached_property
    def reply(self) -> Reply | None:
        """What a scripted kiro-cli answers; looked up when it starts, since a recording needs none."""
        return self.answer() if self.answer else None


def is_number(value: Any, kind: Any = int | float) -> bool:
    """Whether it is a number; True and False are none."""
    return isinstance(value, kind) and not isinstance(value, bool)


def _checked(name: str, value: Any) -> Any:
    """Return the value of a keyword; an error says what is wanted."""
    match name:
        case "timeout":
            if isinstance(value, str):
                return parsing.read("seconds", value)
            if not is_number(value) or not 0 < value < math.inf:
                raise ValueError(parsing.SECONDS)
            return float(value)
        case "effort":
            if value not in EFFORTS:
                raise ValueError(f"one of {', '.join(EFFORTS)}")
            return value
        case "trust":
            if not isinstance(value, str | Iterable) or not all(isinstance(tool, str) for tool in value):
                raise ValueError("all, none, or tool names, as one str or a list of them")
            return parsing.trust(value if isinstance(value, str) else ",".join(value))
        case "memory":
            if value is not True and value is not False:
                raise ValueError("True or False")
            return value
        case "env":
            if not isinstance(value, Mapping) or not all(isinstance(x, str) for pair in value.items() for x in pair):
                raise ValueError("a dict of str to str")
            check_env(value)
            return dict(value)
        case _:
            if not isinstance(value, str) or not value.strip() or "\0" in value:
                raise ValueError("a str that is not blank")
            return value
