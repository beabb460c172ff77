"""A turn is a value: compared by its fields, written as JSON and read again, with no machine in it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from pytest_kiro import Cause, Changes, ConversationError, ToolCall, Turn
from pytest_kiro.turn.calls import ToolCalls

INNER = ToolCall(
    "shell", "bash", {"command": "ls", "deep": [{"a": None}]}, "a\n", "completed", exit_code=0, duration=0.5
)
TURN = Turn(
    prompt="Ünïcode?",
    number=2,
    output="said \udcff",
    raw=bytes(range(256)),
    truncated=False,
    diagnostics="",
    exit_code=0,
    status="failed",
    cause=Cause.THROTTLED,
    detail="kiro-cli said: too many",
    proof=None,
    duration=1.25,
    first_output_after=None,
    messages=("one", "two"),
    tool_calls=ToolCalls([ToolCall("subagent", "sub", {}, "", "failed", calls=(INNER,))], folder="/w"),
    credits=0.25,
    model=None,
    engine="v2",
    version="2.29.0",
    session_id="s-1",
    known_changes=Changes(added=frozenset({"b.py", "a.py"})),
    warnings=("look",),
)


@pytest.mark.parametrize(
    "turn",
    [
        TURN,
        replace(TURN, status="completed", cause=None, proof="session", known_changes=Changes()),
        replace(TURN, known_changes=None, tool_calls=ToolCalls(), exit_code=None, session_id=None),
    ],
    ids=["failed", "completed", "of which little is known"],
)
def test_a_turn_is_written_as_json_and_read_again(turn: Turn) -> None:
    again = Turn.from_json(json.loads(json.dumps(turn.to_json())))
    assert again == turn
    assert hash(again) == hash(turn)
    assert (again.text, again.ok, again.kind) == (turn.text, turn.ok, turn.kind)
    assert again.summary == turn.summary
    assert again.tool_calls.folder == turn.tool_calls.folder
    assert repr(again.commands) == repr(turn.commands)
    assert isinstance(again.cause, Cause) or turn.cause is None


@pytest.mark.parametrize(
    "change", [{"prompt": "other"}, {"raw": b""}, {"warnings": ()}, {"known_changes": None}, {"cause": None}], ids=str
)
def test_turns_differ_by_any_field(change: dict[str, Any]) -> None:
    assert replace(TURN, **change) != TURN


def test_the_conversation_is_no_part_of_the_value() -> None:
    assert replace(TURN, home=object()) == TURN
    assert "home" not in TURN.to_json()


@pytest.mark.parametrize("name", ["conversation", "workspace"])
def test_a_turn_from_a_file_has_no_machine(name: str) -> None:
    with pytest.raises(ConversationError, match="turn 2 was read from a file, so it has no conversation"):
        getattr(TURN, name)


def test_what_is_missing_in_a_file_is_named() -> None:
    data = TURN.to_json()
    del data["status"]
    with pytest.raises(KeyError, match="status"):
        Turn.from_json(data)
