"""What turns of V3 cost: `creditSplit`, which counts from a session's start, and the summaries of turns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_sessions_v3 import END, STATE, jsonl, say, store, usage, user
from test_sessions_v3 import read as read_store

from pytest_kiro.agent.request import Resume
from pytest_kiro.turn.transcript import Transcript

START = ("turn_start", {"executionId": "e1"})
#: The record of pingdotgg/t3code discussion 27621 (3.5.0).
PUBLISHED = {"main": 0.0602, "delegated": 0, "auxiliary": 0.1398}


def split(main: Any = 0, delegated: Any = 0, auxiliary: Any = 0) -> tuple[str, dict[str, Any]]:
    return metadata({"main": main, "delegated": delegated, "auxiliary": auxiliary})


def metadata(value: Any) -> tuple[str, dict[str, Any]]:
    return ("session_metadata", {"key": "creditSplit", "value": value, "executionId": ""})


def turn(*records: Any, cost: float | None = None, number: int = 1) -> list[Any]:
    """A turn's records, the last of them its end."""
    execution = f"e{number}"
    used = [] if cost is None else [usage(cost, execution=execution)]
    begin = ("turn_start", {"executionId": execution})
    return [user("p"), begin, say("a"), *records, *used, ("turn_end", {**END[1], "executionId": execution})]


class Talk:
    """A conversation: what its session has by now is read after each turn, as the plugin does."""

    def __init__(self) -> None:
        self.records: list[Any] = []
        self.resume = Resume()
        self.turns: list[Transcript] = []

    def add(self, *records: Any, **others: Sequence[Any]) -> Transcript:
        self.records += records
        files = store(*self.records)
        for name, log in others.items():
            files |= store(*log, name=name, state={**STATE, "parentSessionId": "sess_1", "createdReason": "subagent"})
        return self.read(files)

    def read(self, files: Mapping[str, bytes]) -> Transcript:
        one = self.resume
        known = {"session_id": one.session_id, "prompts": one.prompts, "turns": one.turns, "counted": one.counted}
        transcript = read_store(files, **known)
        self.resume = Resume(transcript.session_id, transcript.prompts, transcript.turns, one.charged(transcript))
        self.turns.append(transcript)
        return transcript

    @property
    def told(self) -> list[tuple[float | None, str]]:
        return [(one.credits, one.credits_source) for one in self.turns]

    @property
    def sum(self) -> Decimal:
        return sum((Decimal(repr(one.credits)) for one in self.turns if one.credits is not None), Decimal(0))


def test_a_turn_costs_what_the_session_has_billed_since_the_last_one() -> None:
    talk = Talk()
    # Its start is billed before the prompt, and the turn when its end is written.
    talk.add(split(auxiliary=0.01), *turn(cost=0.1), split(0.1, 0, 0.01))
    talk.add(*turn(cost=0.2, number=2), split(0.3, 0, 0.01))
    assert talk.told == [(0.11, "session"), (0.2, "session")]
    assert talk.sum == Decimal("0.31")
    assert all(one.warnings == () for one in talk.turns)


def test_compaction_is_billed_beside_all_summaries() -> None:
    talk = Talk()
    talk.add(*turn(metadata(PUBLISHED), cost=0.0602))
    assert talk.told == [(0.2, "session")]
    compacted = ("tombstone", {"kind": "summarization", "effectiveFromMessageId": "m1"})
    talk.add(user("p"), START, compacted, split(0.0602, 0, 0.3), usage(0.1), split(0.1602, 0, 0.3), END)
    assert talk.told[1] == (0.2602, "session")
    assert talk.sum == Decimal("0.4602")


def test_what_lies_between_two_turns_is_the_later_ones() -> None:
    talk = Talk()
    talk.add(*turn(cost=0.1), split(0.1))
    talk.add(split(0.1, 0, 0.07), *turn(cost=0.1, number=2), split(0.2, 0, 0.07))
    assert talk.told == [(0.1, "session"), (0.17, "session")]


@settings(max_examples=50)
@given(
    st.lists(st.tuples(*[st.integers(0, 10**9)] * 3), min_size=1, max_size=8), st.sampled_from([4, 9]), st.booleans()
)
def test_the_turns_add_up_to_the_last_digit(steps: list[tuple[int, int, int]], digits: int, summed: bool) -> None:
    talk, parts = Talk(), [Decimal(0)] * 3
    for number, step in enumerate(steps, 1):
        parts = [part + Decimal(more).scaleb(-digits) for part, more in zip(parts, step, strict=True)]
        cost = float(Decimal(sum(step[:2])).scaleb(-digits))
        talk.add(*turn(number=number, cost=cost if summed else None), split(*map(float, parts)))
    assert talk.sum == sum(parts)
    assert all(one.warnings == () for one in talk.turns)


def test_numbers_that_no_float_holds_add_up_as_well() -> None:
    """Such as a session's sum of V2-like charges: the rest of one turn is the next one's."""
    talk, parts = Talk(), [0.01592209950248756, 0.03181230182421227, 123.4567890123456, 123.4567890123457]
    for number, (main, cost) in enumerate(zip(parts, [0.016, 0.0159, 123.4, 1e-13], strict=True), 1):
        talk.add(*turn(number=number, cost=cost), split(main, 0, 0.1398))
    assert [list(one.warnings) for one in talk.turns] == [[]] * 4
    assert abs(talk.sum - Decimal("123.5965890123457")) < Decimal("1e-17")
    assert float(talk.sum) == 123.5965890123457


@pytest.mark.parametrize(
    "odd",
    [
        split(-1),
        split("0.5"),
        split(float("nan")),
        split(float("inf")),
        split(1e9, 0, 0.02),
        split(6e5, 6e5, 0.02),
        split(True),
        split(None),
        split([0.5]),
        split(0.05, 0, 0.01),  # it decreases
        split(5, 0, 0),  # so does a part of it
        metadata(0.5),
        metadata("main"),
        metadata({}),
        metadata({"spent": 0.5}),
        metadata(None),
    ],
)
def test_what_cannot_be_never_reaches_a_sum(odd: Any) -> None:
    talk = Talk()
    talk.add(*turn(cost=0.1), split(0.1, 0, 0.02))
    talk.add(*turn(cost=0.2, number=2), odd, split(0.3, 0, 0.02))
    assert (talk.told, talk.sum) == ([(0.12, "session"), (0.2, "session")], Decimal("0.32"))
    (warning,) = talk.turns[1].warnings
    assert "/sess_1/messages.jsonl:" in warning
    assert "a creditSplit that cannot be, and that is left out" in warning
    # Alone, it leaves the turn with its summary.
    talk = Talk()
    talk.add(*turn(cost=0.1), split(0.1, 0, 0.02))
    talk.add(*turn(cost=0.2, number=2), odd)
    assert talk.told[1] == (0.2, "summaries")


@pytest.mark.parametrize("value", [-1, "0.5", float("nan"), float("-inf"), 1e9, True, [1], {}])
def test_nor_do_odd_summaries(value: Any) -> None:
    transcript = read_store(store(*turn(cost=value)))
    assert (transcript.credits, transcript.credits_source) == (None, "")
    (warning,) = transcript.warnings
    assert "/sess_1/messages.jsonl:4: credits that cannot be, and that are left out" in warning
    transcript = read_store(store(*turn(usage(0.5, execution="e0"), cost=value)))
    assert (transcript.credits, transcript.credits_source) == (0.5, "summaries")


def test_a_part_that_is_not_told_is_as_it_was() -> None:
    talk = Talk()
    talk.add(*turn(), metadata({"main": 0.1}))
    talk.add(*turn(number=2), metadata({"main": 0.1, "auxiliary": 0.25}))
    talk.add(*turn(number=3), metadata({"main": 0.2}))
    assert talk.told == [(0.1, "session"), (0.25, "session"), (0.1, "session")]


def test_a_split_that_is_missing_in_between() -> None:
    talk = Talk()
    talk.add(*turn(cost=0.1), split(0.1, 0, 0.02))
    talk.add(*turn(cost=0.2, number=2))
    talk.add(*turn(cost=0.3, number=3), split(0.6, 0, 0.05))
    assert talk.told == [(0.12, "session"), (0.2, "summaries"), (0.33, "session")]
    assert talk.sum == Decimal("0.65"), "what the session says"
    assert talk.turns[2].warnings == ()


def test_a_split_that_never_has_a_turn_is_no_reason_to_charge_the_next_one_less() -> None:
    """A killed turn wrote its summary; when the session went on, it counted from what it had written itself."""
    talk = Talk()
    talk.add(*turn(cost=0.1), split(0.1))
    talk.add(*turn(cost=0.5, number=2))
    talk.add(*turn(cost=0.4, number=3), split(0.5))
    talk.add(*turn(cost=0.2, number=4), split(0.7))
    assert talk.told == [(0.1, "session"), (0.5, "summaries"), (0.4, "session"), (0.2, "session")]
    (warning,) = talk.turns[2].warnings
    assert warning.endswith("/messages.jsonl:17: its creditSplit lacks 0.5 credits of earlier turns")
    assert talk.turns[3].warnings == ()


def test_a_split_that_was_not_written_again_since_the_work() -> None:
    """Then the summary has the work, and the split the rest."""
    talk = Talk()
    talk.add(split(0, 0, 0.01), *turn(cost=0.5))
    assert talk.told == [(0.51, "summaries")]
    talk.add(*turn(cost=0.1, number=2), split(0.6, 0, 0.02))
    assert talk.told[1] == (0.11, "session")
    assert talk.sum == Decimal("0.62")


def test_older_sessions_have_summaries_only() -> None:
    talk = Talk()
    talk.add(*turn(cost=0.1))
    talk.add(*turn(cost=0.2, number=2))
    talk.add(*turn(number=3))
    assert talk.told == [(0.1, "summaries"), (0.2, "summaries"), (None, "")]
    # A newer version goes on with it, and counts all of it.
    talk.add(*turn(cost=0.3, number=4), split(0.6, 0, 0.05))
    assert talk.told[3] == (0.35, "session")


def test_the_start_of_a_session_is_all_that_a_killed_turn_has_told() -> None:
    talk = Talk()
    transcript = talk.add(split(0, 0, 0.01), user("p"), START, say("a"))
    assert (transcript.credits, transcript.end_reason) == (0.01, None)
    talk.add(*turn(cost=0.1, number=2), split(0.3, 0, 0.01))
    assert talk.told[1] == (0.3, "session"), "what the killed one cost is told by now"


def test_nothing_was_billed() -> None:
    talk = Talk()
    talk.add(*turn(cost=0.1), split(0.1))
    talk.add(*turn(number=2))
    talk.add(*turn(number=3), split(0.1))
    assert talk.told == [(0.1, "session"), (None, ""), (0.0, "session")]


def test_another_session_of_the_folder_is_not_ours() -> None:
    files = store(*turn(cost=0.1), split(0.1)) | store(
        *turn(cost=5),
        split(5),
        name="sess_0",
        state={**STATE, "createdAt": "2026-01-01T00:00:00Z", "lastModifiedAt": ""},
    )
    transcript = read_store(files)
    assert (transcript.session_id, transcript.credits) == ("sess_1", 0.1)


def test_a_session_that_was_not_ours_has_a_past_that_is_not_ours() -> None:
    """Such as another one's, in which a turn was answered that was to go on elsewhere."""
    log = [*turn(cost=0.1), split(0.1, 0, 0.2), *turn(cost=0.2, number=2), split(0.3, 0, 0.25)]
    transcript = read_store(store(*log))
    assert (transcript.credits, transcript.credits_source) == (0.25, "session")


def test_a_turn_that_goes_on_in_a_new_session() -> None:
    talk = Talk()
    talk.add(*turn(cost=0.1), split(0.1, 0, 0.01))
    first = [*talk.records, user("p"), START, say("b"), split(0.1, 0, 0.21)]
    later = {**STATE, "createdAt": "2027-01-01T00:00:30Z"}
    second = [say("so far", "Summary"), say("c"), usage(0.3), split(0.3), END]
    files = store(*first) | store(*second, name="sess_2", state=later)
    talk.read(files)
    assert talk.resume.session_id == "sess_2"
    files |= store(*second, *turn(cost=0.2, number=2), split(0.5), name="sess_2", state=later)
    talk.read(files)
    assert talk.told == [(0.11, "session"), (0.5, "session"), (0.2, "session")]
    assert talk.sum == Decimal("0.31") + Decimal("0.5")


def test_a_session_that_begins_with_records_of_another() -> None:
    """A fork of a compacted session: what it was given is counted already."""
    given = json.loads(jsonl(split(0.1, 0, 0.2)).decode())
    first = [user("p"), START, say("b"), json.dumps(given)]
    later = {**STATE, "createdAt": "2027-01-01T00:00:30Z"}
    for own, cost in ((split(0.4, 0, 0.2), 0.6), (split(0.05), 0.35)):
        second = [say("so far", "Summary"), json.dumps(given), own, END]
        talk = Talk()
        talk.read(store(*first) | store(*second, name="sess_2", state=later))
        assert talk.told == [(cost, "session")]
        talk.read(store(*first) | store(*second, *turn(number=2), split(1, 0, 0.2), name="sess_2", state=later))
        assert talk.sum == Decimal("0.3") + (Decimal("0.9") if cost == 0.6 else Decimal("1.2"))


# -- sessions of agents


def test_what_agents_cost_is_the_turns_once() -> None:
    own = turn(cost=0.2, number=7)
    for told in ([*own, split(0.2)], own):
        talk = Talk()
        talk.add(*turn(cost=0.3), split(0.1, 0.2, 0), sess_2=told)
        assert talk.told == [(0.3, "session")], "it was delegated"
        assert talk.turns[0].warnings == ()
        talk = Talk()
        talk.add(*turn(cost=0.1), split(0.1, 0, 0), sess_2=told)
        assert talk.told == [(0.3, "session")], "the session does not count it"
        talk = Talk()
        talk.add(*turn(cost=0.1), sess_2=told)
        assert talk.told == [(0.3, "summaries")]


def test_an_agent_that_goes_on_in_the_next_turn_is_charged_for_that_turn() -> None:
    # The second turn begins at second 5, and the agent's log goes on at 5.
    agent = turn(cost=0.2, number=7)
    talk = Talk()
    talk.add(*turn(), split(0.1), sess_2=[*agent[:4], split(0.2)])
    talk.add(*turn(number=2), split(0.2), sess_2=[*agent[:4], split(0.2), split(0.5)])
    assert talk.told == [(0.3, "session"), (0.4, "session")]


def test_an_agent_that_begins_with_records_of_its_parent_is_charged_for_its_own() -> None:
    given = json.dumps(json.loads(jsonl(user("p"), START, split(0.1)).splitlines()[2]))
    talk = Talk()
    talk.add(user("p"), START, given, say("a"), split(0.3), END, sess_2=[given, user("q"), START, split(0.25), END])
    assert talk.told == [(0.45, "session")]


def test_a_node_of_a_workflow_is_charged_once() -> None:
    """It names no parent, but the workflow whose node it is."""
    node = {"_meta": {"kiro": {"workflow": {"nodeId": "build", "runId": "r1"}}}, "createdAt": "2027-01-01T00:00:01Z"}
    own = turn(cost=0.2, number=7)
    for shared, cost in ((0.2, 0.3), (0, 0.3)):
        files = store(*turn(), split(0.1, shared)) | store(*own, split(0.2), name="sess_2", state={**STATE, **node})
        transcript = read_store(files, prompt="p")
        assert (transcript.session_id, transcript.credits) == ("sess_1", cost)


def test_an_execution_that_two_sessions_sum_up_counts_once() -> None:
    talk = Talk()
    talk.add(*turn(cost=0.1), sess_2=turn(cost=0.1))
    assert talk.told == [(0.1, "summaries")]


def test_agents_that_say_more_than_was_delegated() -> None:
    talk = Talk()
    transcript = talk.add(*turn(), split(0.1, 0.2, 0), sess_2=[*turn(number=7), split(0.5)])
    assert (transcript.credits, transcript.credits_source) == (0.6, "session")
    assert transcript.warnings == (
        "agents' sessions say 0.5 credits, and the one that began them 0.2: the larger counts",
    )
