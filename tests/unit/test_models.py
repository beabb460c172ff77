"""Which model answered, as events tell it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_kiro.kirocli.events import EventReader
from pytest_kiro.kirocli.evidence import combine
from pytest_kiro.turn.provenance import Provenance
from pytest_kiro.turn.transcript import Fallback, Transcript

#: The frames of dwalleck/cyril's capture of 2.28.0 (model-fallback-live-2.28.0.json).
FALLBACK = {"sessionUpdate": "model_fallback", "from": "claude-sonnet-5", "to": "claude-haiku-4.5"}
FALLBACK |= {"cause": "unavailable", "source": "user", "promoted": False}
RETRY = {"sessionUpdate": "retry_warning", "attempt": 2, "maxAttempts": 3, "delaySecs": 3.0, "capacity": True}
RETRY |= {"message": "claude-sonnet-5 is unavailable, retrying in 3s (attempt 2/3)", "modelId": "claude-sonnet-5"}


def told_of_models(*updates: Any, session: str = "s1") -> Transcript:
    reader = EventReader()
    ours = [("s1", {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "a"}})]
    events = [*ours, *((session, update) for update in updates), *ours]
    for name, update in events:
        line = json.dumps({"type": "sessionUpdate", "data": {"sessionId": name, "update": update}})
        reader.events(line.encode() + b"\n")
    transcript = reader.transcript()
    assert transcript is not None
    return transcript


def test_the_model_that_a_turn_was_moved_to() -> None:
    transcript = told_of_models(RETRY, RETRY, FALLBACK, FALLBACK)
    assert (transcript.model, transcript.fallback) == ("claude-haiku-4.5", Fallback("unavailable", "claude-haiku-4.5"))
    assert transcript.warnings == (
        "kiro-cli asked its service again 2 times, as claude-sonnet-5 had no capacity: "
        "claude-sonnet-5 is unavailable, retrying in 3s (attempt 2/3)",
        "kiro-cli moved the turn from claude-sonnet-5 to claude-haiku-4.5 (unavailable)",
    )
    promoted = told_of_models({**FALLBACK, "cause": "refused", "promoted": True})
    assert promoted.fallback == Fallback("refused", "claude-haiku-4.5")
    assert promoted.warnings[0].endswith("to claude-haiku-4.5 (refused), and the session with it")
    twice = told_of_models(FALLBACK, {**FALLBACK, "from": "claude-haiku-4.5", "to": "auto"})
    assert (twice.model, len(twice.warnings)) == ("auto", 2)


@pytest.mark.parametrize("odd", [None, "", 5, [], {}, True])
def test_a_fallback_to_a_model_without_a_name(odd: Any) -> None:
    transcript = told_of_models({**FALLBACK, "to": odd, "from": odd, "cause": odd, "promoted": odd or False})
    assert (transcript.model, transcript.fallback) == (None, Fallback("unknown", None))
    assert (
        "kiro-cli moved the turn from its model to another one, which it does not name (unknown)"
        in transcript.warnings[0]
    )
    # What the session says is that of the model before.
    told = combine(Transcript("s1", model="claude-sonnet-5", finished=True, end_reason="UserTurnEnd"), transcript)
    assert told is not None
    assert (told.model, told.fallback) == (None, Fallback("unknown", None))


def test_a_fallback_of_an_agent_is_none_of_the_turns_model() -> None:
    transcript = told_of_models(FALLBACK, session="agent-1")
    assert (transcript.model, transcript.fallback) == (None, Fallback("unavailable", "claude-haiku-4.5", own=False))
    assert transcript.warnings == (
        "kiro-cli moved an agent of the turn from claude-sonnet-5 to claude-haiku-4.5 (unavailable)",
    )
    told = combine(Transcript("s1", model="claude-sonnet-5"), transcript)
    assert told is not None
    assert (told.model, told.fallback) == ("claude-sonnet-5", transcript.fallback)


@pytest.mark.parametrize("odd", [{}, {"message": 5, "modelId": [], "capacity": "yes"}])
def test_a_retry_that_does_not_say_why(odd: Any) -> None:
    (warning,) = told_of_models({"sessionUpdate": "retry_warning", **odd}).warnings
    assert warning == "kiro-cli asked its service again 1 time: it did not say why"


def test_where_a_fallback_is_shown() -> None:
    """In JUnit files and with -vv, by the line of the provenance; and where two turns are compared."""
    moved = Provenance(model_asked="one", model="two", model_fallback="unavailable")
    assert moved.described == "model asked one, model two, model fallback unavailable, memory unknown"
    assert moved.doubt == "the model one was asked for, and two answered"
    unnamed = Provenance(model_asked="one", model_fallback="unavailable")
    assert unnamed.doubt == "the model one was asked for, and one that kiro-cli does not name answered"
    asked = Provenance(model_asked="one", model="one")
    assert asked.differences(moved) == ("model one → two", "model fallback not known → unavailable")
    assert [one.other_model for one in (moved, unnamed, asked)] == [True, True, False]
    for fine in (Provenance(model="two"), Provenance(model_asked="auto", model="two"), Provenance(model_asked="one")):
        assert (fine.other_model, fine.doubt) == (False, "")
