"""What a run keeps: records to JSON and back, the schema, and what is cut."""

from __future__ import annotations

import json
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import jsonschema
import pytest
import results_schema
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_kiro.records import groups, run, turns
from pytest_kiro.records import tests as tests_records
from pytest_kiro.records.codec import Record
from pytest_kiro.records.run import SCHEMA
from pytest_kiro.records.tests import Gathered
from pytest_kiro.records.turns import ChangesRecord, OwnerRecord, ProvenanceRecord, ToolCallRecord, TurnRecord
from pytest_kiro.turn.calls import ToolCalls
from pytest_kiro.turn.changes import Changes
from pytest_kiro.turn.provenance import Provenance
from pytest_kiro.turn.transcript import ToolCall

RECORDS = [
    kind
    for module in (turns, tests_records, groups, run)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Record) and kind.__module__ == module.__name__
]
ANY = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=3)
PLAIN = {str: st.text(), int: st.integers(1), float: st.floats(0, 1e9), bool: st.booleans(), type(None): st.none()}


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a field, by its type."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return ANY
    if origin is Literal:
        return st.sampled_from(inner)
    if origin in (Union, UnionType):
        return st.one_of(*map(values, inner))
    if origin is tuple:
        return st.lists(values(inner[0]), max_size=2).map(tuple)
    if origin is dict:
        return st.dictionaries(values(inner[0]), values(inner[1]), max_size=2)
    return PLAIN[kind] if kind in PLAIN else st.deferred(lambda: records(kind))


def records(kind: type[Record]) -> st.SearchStrategy[Record]:
    hints = get_type_hints(kind)
    if kind is ToolCallRecord:  # which holds its own kind
        hints["calls"] = tuple[()]
        return st.builds(kind, **{name: values(hint) for name, hint in hints.items() if name != "calls"})
    return st.builds(kind, **{name: values(hint) for name, hint in hints.items()})


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_every_record_comes_back_from_json(kind: type[Record]) -> None:
    @settings(max_examples=5, database=None)
    @given(records(kind))
    def comes_back(record: Record) -> None:
        assert kind.from_json(json.loads(json.dumps(record.to_json()))) == record

    comes_back()


@cache
def validator() -> Any:
    schema = json.loads(SCHEMA.read_text())
    kind = jsonschema.validators.validator_for(schema)
    kind.check_schema(schema)
    return kind(schema)


@settings(max_examples=6, database=None)
@given(records(run.RunRecord))
def test_the_file_of_any_run_keeps_to_the_schema_and_is_read_again(record: run.RunRecord) -> None:
    file = record.to_json(file=True)
    validator().validate(file)
    assert run.RunRecord.from_json(file).to_json(file=True) == file


def test_the_schema_is_what_the_records_say() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == results_schema.text(), (
        "the records have changed; write the schema anew: python tests/unit/results_schema.py"
    )


def test_tool_calls_come_back_with_those_of_their_sub_agents() -> None:
    inner = ToolCall("write", "fs_write", {"path": "a", "odd": [float("inf"), {1}]}, "done", "completed")
    outer = ToolCall("subagent", "subagent", {}, "", "completed", calls=(inner,))
    record = ToolCallRecord.of(outer)
    assert record.calls[0].input == {"path": "a", "odd": ["inf", "{1}"]}
    assert ToolCallRecord.from_json(json.loads(json.dumps(record.to_json()))) == record


def test_what_no_json_can_say_still_travels() -> None:
    """A lone surrogate is told as it is within a run; only the file says another character."""
    record = TurnRecord(prompt="lone \udc80", warnings=("\x00",))
    assert TurnRecord.from_json(json.loads(json.dumps(record.to_json()))) == record


def test_keys_that_a_later_version_has_are_passed_over() -> None:
    assert OwnerRecord.from_json({"name": "x", "colour": "red"}) == OwnerRecord(name="x")


def test_an_overlong_provenance_is_cut_and_comes_back() -> None:
    long = Provenance(model="m\udc80" * 1000, memory="off", features=("f" * 1000,) * 200)
    record = ProvenanceRecord.of(long)
    assert str(record.model).startswith("m\N{REPLACEMENT CHARACTER}m")
    assert len(record.features) == 100
    assert max(map(len, (str(record.model), *record.features))) < 300
    assert (record.memory, record.agent_version) == ("off", None)
    assert Provenance.from_json(json.loads(json.dumps(record.to_json(file=True)))) == Provenance(**vars(record))


def test_many_paths_and_deep_calls_are_counted() -> None:
    changes = ChangesRecord.of(Changes(added=frozenset(f"{number:04}" for number in range(1003))))
    assert (len(changes.added), changes.added[-1], changes.left_out) == (1000, "0999", 3)
    call = ToolCall("a", "a", {}, "", "completed")
    for _ in range(12):
        call = ToolCall("a", "a", {}, "", "completed", calls=(call,))
    record, depth = ToolCallRecord.of(ToolCalls([call])[0]), 1
    while record.calls:
        record, depth = record.calls[0], depth + 1
    assert (depth, record.calls_left_out) == (10, 1)


# -- gathering

PHASE = tests_records.PhaseRecord(name="call", outcome="passed", duration=1.0)


def test_a_later_record_of_a_turn_replaces_the_earlier_one() -> None:
    run_so_far = Gathered()
    begun = TurnRecord(owner=OwnerRecord(name="t.py::test"), serial=1)
    other = TurnRecord(owner=OwnerRecord(name="t.py::test", worker="gw1"), serial=1)
    run_so_far.add_turns([begun, other])
    assert [turn.status for turn in run_so_far.turns] == ["broken off", "broken off"]
    run_so_far.add_turns([TurnRecord(owner=begun.owner, serial=1, status="completed")])
    assert [(turn.status, turn.owner.worker) for turn in run_so_far.turns] == [
        ("completed", "main"),
        ("broken off", "gw1"),
    ]
    (test,) = run_so_far.tests
    assert (test.outcome, len(test.turns)) == ("unfinished", 2)


def test_attempts_are_told_apart() -> None:
    run_so_far, name = Gathered(), "t.py::test"
    failed = tests_records.PhaseRecord(name="call", outcome="rerun", duration=1.0)
    carried = tests_records.ReportRecord(attempt=1, fault="budget")
    run_so_far.phase(name, failed, carried, "gw0")
    run_so_far.phase(name, PHASE, tests_records.ReportRecord(attempt=2), None)
    run_so_far.test_finished(name)
    (test,) = run_so_far.tests
    assert (test.outcome, test.infrastructure, test.worker, test.attempts) == ("passed", False, "gw0", 2)
    assert [(phase.attempt, phase.infrastructure) for phase in test.phases] == [(1, True), (2, False)]
    assert (test.duration, run_so_far.refused) == (2.0, 1)


@pytest.mark.parametrize(
    ("outcomes", "finished", "outcome"),
    [
        ({"setup": "passed", "call": "failed", "teardown": "failed"}, True, "failed"),
        ({"setup": "passed", "call": "passed", "teardown": "failed"}, True, "error"),
        ({"setup": "failed", "teardown": "passed"}, False, "error"),
        ({"crash": "failed"}, False, "failed"),
        ({"setup": "passed", "call": "xfailed", "teardown": "passed"}, True, "xfailed"),
        ({"setup": "skipped", "teardown": "passed"}, True, "skipped"),
        ({"setup": "passed", "call": "rerun"}, True, "rerun"),
        ({"setup": "passed"}, False, "unfinished"),
        ({}, True, "passed"),
    ],
)
def test_what_an_attempt_counts_as(outcomes: dict[Any, Any], finished: bool, outcome: str) -> None:
    phases = [tests_records.PhaseRecord(name=name, outcome=word) for name, word in outcomes.items()]
    assert tests_records.outcome_of(phases, finished=finished) == outcome


def test_fixtures_are_told_instance_by_instance() -> None:
    def turn(serial: int, number: int, worker: str, credits: float | None) -> TurnRecord:
        owner = OwnerRecord(name="fixture:shop", number=number, worker=worker, wide=True, file="c.py")
        return TurnRecord(owner=owner, serial=serial, credits=credits)

    several = [turn(1, 1, "gw0", 0.5), turn(2, 2, "gw0", None), turn(1, 1, "gw1", 2), turn(3, 1, "gw0", 0.25)]
    instances = tests_records.fixtures_of([*several, TurnRecord()])
    assert [(one.worker, len(one.turns), one.credits) for one in instances] == [
        ("gw0", 2, 0.75),
        ("gw0", 1, None),
        ("gw1", 1, 2),
    ]
