"""What stops a turn: the ready-made conditions, and what is no condition."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from pytest_kiro import Condition, on_calls, on_command, on_silence, on_text
from pytest_kiro.agent.stop import conditions
from pytest_kiro.turn.transcript import ToolCall


@dataclass
class Live:
    """As much of a LiveTurn as conditions look at."""

    recent: str = ""
    silent_for: float = 0.0
    announced: list[ToolCall] = field(default_factory=list)


def call(name: str, **given: str) -> ToolCall:
    return ToolCall(name, name, given, "", "unfinished")


def holds(condition: Condition, **seen: Any) -> bool:
    live: Any = Live(**seen)
    return bool(condition.holds(live))


def test_on_command() -> None:
    condition = on_command(r"rm\s+-rf")
    assert condition.name == r"on_command('rm\\s+-rf')"
    assert not holds(condition)
    assert not holds(condition, announced=[call("shell", command="ls"), call("read", path="rm -rf")])
    assert holds(condition, announced=[call("shell", command="ls"), call("shell", command="sudo rm  -rf /")])


def test_on_text() -> None:
    assert holds(on_text("give up"), recent="I give up.")
    assert not holds(on_text("^give up"), recent="I give up.")


def test_on_silence() -> None:
    condition = on_silence(2)
    assert condition.silence == 2
    assert holds(condition, silent_for=2)
    assert not holds(condition, silent_for=1.9)


def test_on_calls_means_more_than_so_many() -> None:
    assert not holds(on_calls(1), announced=[call("read")])
    assert holds(on_calls(1), announced=[call("read"), call("read")])
    assert holds(on_calls(0), announced=[call("read")])


def test_a_function_is_a_condition_and_so_are_several() -> None:
    def enough(live: Any) -> bool:
        return bool(live.recent == "enough")

    assert conditions(None) == ()
    (one,) = conditions(enough)
    assert one.name == "enough"
    assert holds(one, recent="enough")
    assert [condition.name for condition in conditions([enough, on_text("x")])] == ["enough", "on_text('x')"]


@pytest.mark.parametrize("wrong", ["rm -rf", 5, [on_text("x"), None], Condition, True])
def test_what_is_no_condition(wrong: Any) -> None:
    with pytest.raises(TypeError, match="is no condition; wanted: one of on_command, on_text, on_silence or on_calls"):
        conditions(wrong)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: on_text("("), r"on_text\('\('\): no regular expression: missing \)"),
        (lambda: on_command(None), r"on_command\(None\): no regular expression"),
        (lambda: on_silence(0), "silence=0 is not right; wanted: a number of seconds, 0.01 or more"),
        (lambda: on_silence(True), "silence=True"),
        (lambda: on_silence(float("inf")), "silence=inf"),
        (lambda: Condition("never", bool, silence=-1), "silence=-1"),
        (lambda: on_calls(-1), r"on_calls\(-1\): wanted: a whole number, 0 or more"),
        (lambda: on_calls(1.5), "on_calls"),
    ],
)
def test_a_wrong_argument_is_told_at_once(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()
