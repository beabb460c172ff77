"""Limits of turns and of tool calls: what is refused, what stops a turn, and what is no limit."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_kiro import LimitReached, SettingsError
from pytest_kiro.agent.bench import Owner
from pytest_kiro.agent.limits import check_turns, limit_of_calls
from pytest_kiro.settings import table
from pytest_kiro.turn.causes import Cause
from pytest_kiro.turn.transcript import ToolCall


def settings(**options: str) -> table.Settings:
    return table.read(option=options.get, environ={}, ini=lambda name: None)


def owner(*turns: int, retried: int = 0, **words: Any) -> Owner:
    """A test with these words in its mark, and conversations of so many turns."""
    one = Owner("t.py::test", (), Path("t.py"), marker=lambda: words)
    conversations: list[Any] = [SimpleNamespace(turns=[None] * count, retried=[None] * retried) for count in turns]
    one.conversations = conversations
    return one


@pytest.mark.parametrize(
    ("one", "options"),
    [
        (owner(100), {}),
        (owner(2), {"max_turns": "3"}),
        (owner(1, 1, max_turns=3), {}),
        (owner(3, max_turns=4), {"max_turns": "3"}),
        (owner(0, max_turns=1, retried=1), {}),
    ],
    ids=["no_limit", "option", "conversations", "the_mark_wins", "run_again"],
)
def test_a_turn_is_begun_below_the_limit(one: Owner, options: dict[str, str]) -> None:
    check_turns(one, settings(**options))


@pytest.mark.parametrize(
    ("one", "options", "message"),
    [
        (owner(3), {"max_turns": "3"}, "it has had 3 turns, so this one was not begun: --kiro-max-turns=3"),
        (owner(1, max_turns=1), {}, "it has had 1 turn, so this one was not begun: mark.kiro(max_turns=1)"),
        (owner(1, 1, max_turns=2), {"max_turns": "9"}, "it has had 2 turns, so this one was not begun: mark.kiro"),
    ],
    ids=["option", "mark", "conversations"],
)
def test_a_turn_beyond_the_limit_is_refused(one: Owner, options: dict[str, str], message: str) -> None:
    with pytest.raises(LimitReached) as caught:
        check_turns(one, settings(**options))
    assert str(caught.value).startswith(f"t.py::test: {message}")
    assert str(caught.value).endswith("; raise it, or run fewer turns")
    assert (Cause(caught.value.cause), caught.value.infrastructure) == (Cause.LIMIT, Cause.LIMIT.infrastructure)


def calls(count: int, *, within: int = 0) -> list[ToolCall]:
    inner = tuple(ToolCall("read", "read", {}, "", "success") for _ in range(within))
    return [ToolCall("shell", "shell", {}, "", "success", calls=inner) for _ in range(count)]


@pytest.mark.parametrize(
    ("one", "options", "name"),
    [
        (owner(), {"max_calls": "2"}, "--kiro-max-calls=2"),
        (owner(max_calls=2), {"max_calls": "9"}, "mark.kiro(max_calls=2)"),
    ],
    ids=["option", "mark"],
)
def test_a_call_beyond_the_limit_stops_a_turn(one: Owner, options: dict[str, str], name: str) -> None:
    (limit,) = limit_of_calls(one, settings(**options))
    live: Any = SimpleNamespace(announced=calls(2))
    assert not limit.holds(live)
    live.announced = calls(3)
    assert limit.holds(live)
    assert limit.recorded is not None
    assert not limit.recorded(calls(2))
    assert limit.recorded(calls(3))
    assert limit.recorded(calls(1, within=2))
    assert (limit.name, limit.cause) == (name, Cause.LIMIT)


def test_without_a_limit_nothing_is_looked_for() -> None:
    assert limit_of_calls(owner(), settings()) == ()


@pytest.mark.parametrize("value", [0, -1, 1.5, float("nan"), True, "3", [3]])
def test_what_is_no_limit_is_refused(value: Any) -> None:
    with pytest.raises(SettingsError, match=r"mark\.kiro: max_turns=.* is not right; wanted: a whole number above 0"):
        check_turns(owner(max_turns=value), settings())
    with pytest.raises(SettingsError, match=r"mark\.kiro: max_calls=.* is not right; wanted: a whole number above 0"):
        limit_of_calls(owner(max_calls=value), settings())
