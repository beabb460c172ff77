"""Limits a test's turns and a turn's tool calls: `max_turns` and `max_calls`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pytest_kiro.agent.live import Condition
from pytest_kiro.agent.request import is_number
from pytest_kiro.errors import HIDE_FRAMES, LimitReached, SettingsError
from pytest_kiro.turn.calls import walk
from pytest_kiro.turn.causes import Cause
from pytest_kiro.turn.transcript import ToolCall

if TYPE_CHECKING:
    from pytest_kiro.agent.bench import Owner
    from pytest_kiro.settings.table import Settings

__tracebackhide__ = HIDE_FRAMES


class _Limit(Condition):
    """A condition of the harness: a turn that it stops tells nothing about the agent."""

    cause = Cause.LIMIT


def check_turns(owner: Owner, settings: Settings) -> None:
    """Refuse a turn beyond an owner's limit; attempts that were run again are not counted."""
    most, name = _limit(owner, settings, "max_turns")
    if most is not None and len(owner.turns) >= most:
        raise LimitReached(
            f"{owner.name}: it has had {most} turn{'s' * (most > 1)}, so this one was not begun: {name}",
            advice="raise it, or run fewer turns",
        )


def limit_of_calls(owner: Owner, settings: Settings) -> tuple[Condition, ...]:
    """Return what stops a turn that makes too many tool calls; those of sub-agents are counted.

    What is announced stops it; what only its record tells, as of a sub-agent, tells it too late.
    """
    most, name = _limit(owner, settings, "max_calls")
    if most is None:
        return ()

    def recorded(calls: Iterable[ToolCall]) -> bool:
        return sum(1 for _ in walk(calls)) > most

    return (_Limit(name, lambda live: len(live.announced) > most, recorded=recorded),)


def _limit(owner: Owner, settings: Settings, word: str) -> tuple[int | None, str]:
    """Return a limit, and what said it: the marker, else the setting."""
    marked = owner.marker().get(word)
    if marked is None:
        most: int | None = getattr(settings, word)
        return most, f"--kiro-{word.replace('_', '-')}={most}"
    if not is_number(marked, int) or marked < 1:
        raise SettingsError(f"mark.kiro: {word}={marked!r} is not right", advice="wanted: a whole number above 0")
    return marked, f"mark.kiro({word}={marked})"
