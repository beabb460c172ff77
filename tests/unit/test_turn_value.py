"""A turn is a value: compared by its fields, written as JSON and read again, with no machine in it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from pytest_kiro import Cause, Changes, ConversationError, ToolCall, Turn
from pytest_kiro.turn.calls import ToolCalls
from pytest_kiro.turn.loaded import Given
from pytest_kiro.turn.provenance import Provenance

INNER = ToolCall(
    "shell", "bash", {"command": "ls", "deep": [{"a": None}]}, "a\n", "completed", exit_code=0, duration=0.5
)
PROVENANCE = Provenance(engine="v2", cli_version="2.29.0", effort="high", memory="off", features=("a", "b"))
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
    credits_source="sidecar",
    provenance=PROVENANCE,
    session_id="s-1",
    known_changes=Changes(added=frozenset({"b.py", "a.py"})),
    warnings=("look",),
    agents={"fan/alpha": ("I look.", "Done.")},
    given=Given(complete=True, agent="reviewer", steering=("style",), servers=("git", "aws")),
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


def test_what_differs_between_two_provenances_is_named_in_order() -> None:
    later = replace(PROVENANCE, cli_version="3.5.0", agent_version="0.66.26", model="m\x1b[8m" * 99, features=())
    assert PROVENANCE.differences(PROVENANCE) == ()
    version, agent, model, features = PROVENANCE.differences(later)
    assert (version, agent) == ("kiro-cli 2.29.0 → 3.5.0", "agent not known → 0.66.26")
    assert model.startswith("model not known → m\\x1b[8m")
    assert len(model) < 120
    assert features == "features a, b → not known"


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
