"""Groups of trials: what each trial counts as, that the order decides nothing, and how a group is said."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_kiro.records import tests as records
from pytest_kiro.records.phases import PhaseRecord
from pytest_kiro.records.tests import Gathered, ReportRecord, TrialRecord
from pytest_kiro.records.turns import FixtureReference, OwnerRecord, TurnRecord
from pytest_kiro.report.trials import decision, failure_lines, group_line
from pytest_kiro.trials.gates import Tally, judge
from pytest_kiro.trials.groups import Group, end_of, group_of

TOO_MANY_CALLS = TurnRecord(status="stopped", cause="limit", infrastructure=True)
THROTTLED = TurnRecord(status="failed", cause="throttled", infrastructure=True)
GAVE_UP = TurnRecord(status="failed", cause="gave up")


def trial(number: int = 1, *phases: PhaseRecord, planned: int = 10, **fields: Any) -> records.TestRecord:
    """A trial as it is kept; without phases it passed."""
    words = {name: fields.pop(name) for name in ("pass_rate", "gate", "all_of", "any_of") if name in fields}
    made = {"turns": (), "attempts": 1, "outcome": "failed" if phases else "passed", "infrastructure": False, **fields}
    return records.TestRecord(
        nodeid=f"t.py::test[trial{number}]",
        worker="main",
        duration=0.0,
        credits=None,
        phases=phases,
        trial=TrialRecord(group="t.py::test", number=number, planned=planned, **words),
        **made,
    )


def phase(name: Any = "call", outcome: Any = "failed", **fields: Any) -> PhaseRecord:
    return PhaseRecord(name=name, outcome=outcome, **fields)


def group(*tests: records.TestRecord, **shared: Any) -> Group:
    return group_of(tests, lambda one: shared.get(one.name, ()), min_valid=0.9)


ENDS = {
    "passed": (trial(), "passed", ""),
    "assert": (
        trial(1, phase(message="AssertionError: assert 1 == 2\n  - 1\n")),
        "failed",
        "AssertionError: assert 1 == 2",
    ),
    "agent": (trial(1, phase(fault="agent", message="gave up"), turns=(GAVE_UP,)), "failed", "gave up"),
    "agent_in_set_up": (trial(1, phase("setup", fault="agent", message="gave up")), "failed", "gave up"),
    "throttled": (trial(1, phase(fault="world"), turns=(THROTTLED,)), "lost", "throttled"),
    "throttled_and_an_assert": (trial(1, phase(), turns=(THROTTLED,)), "lost", "throttled"),
    "throttled_and_passed": (trial(turns=(THROTTLED,)), "lost", "throttled"),
    "run_again": (trial(turns=(TurnRecord(cause="throttled", infrastructure=True, retried=True),)), "passed", ""),
    "budget": (trial(1, phase(fault="budget")), "lost", "budget"),
    "limit_of_turns": (trial(1, phase(fault="limit")), "lost", "limit"),
    "limit_of_calls": (trial(1, phase(fault="world"), turns=(TOO_MANY_CALLS,)), "lost", "limit"),
    "budget_as_kept": (trial(1, phase(fault="budget"), infrastructure=True), "lost", "budget"),
    "version_1": (trial(1, phase(), infrastructure=True), "lost", "infrastructure"),
    "set_up": (trial(1, phase("setup")), "lost", "set-up"),
    "sandbox": (trial(1, phase("call", fault="world")), "lost", "set-up"),
    "teardown": (trial(1, phase("call", "passed"), phase("teardown")), "lost", "teardown"),
    "crash": (trial(1, phase("crash")), "lost", "its worker died"),
    "skipped": (trial(outcome="skipped"), "lost", "skipped"),
    "not_needed": (trial(outcome="not needed"), "not needed", ""),
    "unfinished": (trial(outcome="unfinished"), "not run", ""),
    "xfailed": (trial(outcome="xfailed"), "failed", ""),
    "xfailed_with_words": (trial(1, phase(outcome="xfailed", message="no\nway"), outcome="xfailed"), "failed", "no"),
}


@pytest.mark.parametrize(("test", "outcome", "why"), ENDS.values(), ids=ENDS)
def test_how_a_trial_ended(test: records.TestRecord, outcome: str, why: str) -> None:
    end = end_of(test)
    assert (end.outcome, end.why) == (outcome, why)


def test_a_throttled_turn_of_a_shared_fixture_makes_a_trial_lost() -> None:
    shop = FixtureReference(name="fixture:shop", worker="main", number=1)
    tests = [trial(number, planned=2, fixtures=(shop,)) for number in (1, 2)]
    assert group(*tests, **{"fixture:shop": [THROTTLED]}).tally == Tally(lost=2)


def test_what_a_test_has_looked_at_is_found_among_what_was_gathered() -> None:
    gathered, owner = Gathered(), OwnerRecord(name="fixture:shop", worker="gw1", number=3, wide=True)
    gathered.add_turns([TurnRecord(owner=owner, serial=1, cause="throttled", infrastructure=True)])
    carried = ReportRecord(trial=trial(planned=1).trial, fixtures=(owner.reference,))
    gathered.phase("t.py::test[trial1]", phase("call", "passed"), carried, "gw0")
    gathered.test_finished("t.py::test[trial1]")
    record = gathered.test("t.py::test[trial1]")
    assert record.fixtures == (FixtureReference(name="fixture:shop", worker="gw1", number=3),)
    assert group_of([record], gathered.turns_of, min_valid=0.9).lost == {"throttled": 1}


@pytest.mark.parametrize(
    ("tests", "outcome", "reason"),
    [
        ([trial(n, planned=3) for n in (1, 2)], "incomplete", "2 of 3 trials were run"),
        ([trial(n, planned=2, outcome="skipped") for n in (1, 2)], "incomplete", "every trial was skipped"),
        ([trial(1, planned=1, outcome="xfailed")], "incomplete", "its failure is expected (xfail)"),
        ([trial(1, planned=1, attempts=2)], "incomplete", "a plugin has run trials again"),
        ([trial(1, phase("setup"), planned=1)], "error", "no trial was evaluated"),
        ([trial(n, planned=2) for n in (1, 2)], "passed", ""),
    ],
)
def test_verdicts_and_what_is_not_judged(tests: list[records.TestRecord], outcome: str, reason: str) -> None:
    verdict = group(*tests).verdict
    assert (verdict.outcome, verdict.reason) == (outcome, reason)


def test_a_group_that_was_interrupted_after_it_was_certain_is_not_judged_as_curtailed() -> None:
    tests = [trial(1, planned=4, pass_rate=0.5), trial(2, planned=4, pass_rate=0.5)]
    assert group(*tests, trial(3, planned=4, pass_rate=0.5, outcome="not needed")).verdict.outcome == "incomplete"
    whole = [trial(number, planned=4, pass_rate=0.5, outcome="not needed") for number in (3, 4)]
    assert group(*tests, *whole).verdict.outcome == "passed"


KEPT = ("turns", "outcome", "infrastructure")
PIECES = st.sampled_from([test for test, *_ in ENDS.values() if test.outcome in ("passed", "failed")])


@settings(max_examples=150, database=None)
@given(st.lists(PIECES, min_size=1, max_size=20), st.randoms(use_true_random=False), st.floats(0.05, 1))
def test_the_order_decides_nothing_and_no_infrastructure_moves_a_rate(pieces: Any, random: Any, rate: float) -> None:
    trials = [
        trial(
            number, *piece.phases, planned=len(pieces), pass_rate=rate, **{name: getattr(piece, name) for name in KEPT}
        )
        for number, piece in enumerate(pieces, 1)
    ]
    shuffled = random.sample(trials, len(trials))
    one, other = group(*trials), group(*shuffled)
    assert one == other
    assert one.verdict == other.verdict
    passes = sum(piece is ENDS["passed"][0] or piece is ENDS["run_again"][0] for piece in pieces)
    failures = sum(piece in [ENDS[name][0] for name in ("assert", "agent", "agent_in_set_up")] for piece in pieces)
    assert one.tally == Tally(passes, failures, len(pieces) - passes - failures)
    assert one.verdict == judge(one.design, one.tally)


# -- how it is said

ASSERT = phase(message="AssertionError: assert 'no' == 'yes'\n  more")
OTHER = phase(message="ValueError: \x1b[31mred\x1b[0m")


def test_a_line_says_how_its_trials_ended_and_what_that_shows() -> None:
    tests = [trial(n, *([ASSERT] if n == 3 else ()), planned=8, pass_rate=0.8) for n in range(1, 8)]
    whole = group(*tests, trial(8, phase(fault="world"), turns=(THROTTLED,), planned=8, pass_rate=0.8))
    assert group_line(whole) == (
        "t.py::test  ✓✓✗✓✓✓✓·  6/7  86 % [49, 97]  1 lost (throttled)  could be 75 to 88 % with it  needs 80 %: "
        "undecided (7 of 8 trials are valid; 8 must be)"
    )
    assert "86 % [49, 97]  exact [42, 100]" in group_line(whole, full=True)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ({"pass_rate": 0.5}, "✓✓✓✗  3/4  75 % [30, 95]  needs 50 %: passed"),
        ({"pass_rate": 0.996}, "✓✓✓✗  3/4  75 % [30, 95]  needs 99.6 %: failed"),  # which 100 % is not
        ({}, "✓✓✓✗  3/4  75 % [30, 95]  needs all: failed"),
        ({"pass_rate": 0.9, "gate": "refute"}, "✓✓✓✗  3/4  75 % [30, 95]  refute 90 %: undecided"),
        ({"pass_rate": 0.5, "all_of": 2}, "✓✓✓✗  3/4  75 % [30, 95]  pass^2 50 % [4, 99]  needs 50 %: passed"),
        ({"any_of": 2}, "✓✓✓✗  3/4  75 % [30, 95]  pass@2 100 % [35, 100]  needs 100 %: passed"),
    ],
)
def test_a_line_says_what_is_needed(words: dict[str, Any], line: str) -> None:
    tests = [trial(n, *([ASSERT] if n == 4 else ()), planned=4, **words) for n in range(1, 5)]
    assert group_line(group(*tests)) == f"t.py::test  {line}"


def test_a_curtailed_group_shows_a_rate_only_where_there_is_an_unbiased_one() -> None:
    tests = [trial(n, planned=5, pass_rate=0.6) for n in (1, 2, 3)]
    rest = [trial(n, planned=5, pass_rate=0.6, outcome="not needed") for n in (4, 5)]
    in_turn = group_of([*tests, *rest], lambda _: (), min_valid=0.9, order=(1, 2, 3, 4, 5))
    assert group_line(in_turn) == "t.py::test  ✓✓✓--  3/3  estimate 100 % [29, 100]  2 not needed  needs 60 %: passed"
    flying = [*tests, trial(4, ASSERT, planned=5, pass_rate=0.6), rest[1]]
    assert group_line(group_of(flying, lambda _: (), min_valid=0.9, order=(1, 2, 3, 4, 5))) == (
        "t.py::test  ✓✓✓✗-  3/4  [19, 99]  1 not needed  needs 60 %: passed"
    )


def test_failures_that_are_alike_are_said_once_and_cannot_steer_a_terminal() -> None:
    tests = [trial(n, ASSERT, planned=4, pass_rate=0.5) for n in (1, 2)]
    whole = group(*tests, trial(3, OTHER, planned=4, pass_rate=0.5), trial(4, planned=4, pass_rate=0.5))
    assert failure_lines(whole) == [
        "  2 of 3 failures alike: AssertionError: assert 'no' == 'yes'",
        "  1 of 3 failures: ValueError: \\x1b[31mred\\x1b[0m",
    ]
    assert failure_lines(group(trial(outcome="xfailed", planned=1))) == []  # it says nothing
    assert decision(whole) == "1 of 4 passed, needs 50 %: failed"


def test_why_trials_were_lost_is_said_where_it_is_known() -> None:
    broke = phase("setup", message="SandboxError: no space\x07\nand more", fault="world")
    turns = (TurnRecord(cause="throttled", infrastructure=True, detail="too many requests"),)
    skipped = trial(3, phase("setup", "skipped", message="Skipped: no node"), planned=4, outcome="skipped")
    some = [trial(n, broke, planned=4, pass_rate=0.5, outcome="error") for n in (1, 2)]
    assert failure_lines(group(*some, skipped, trial(4, phase("crash"), planned=4, pass_rate=0.5))) == [
        "  2 of 4 losses alike: SandboxError: no space\\x07",
        "  1 of 4 losses: Skipped: no node",
    ]
    assert failure_lines(group(trial(1, turns=turns))) == ["  its loss: too many requests"]
    assert failure_lines(group(trial(1, phase("call", "passed"), phase("teardown", message="gone")))) == [
        "  its loss: gone"
    ]


def test_nothing_evaluated_is_an_error_and_says_so() -> None:
    line = group_line(group(trial(1, phase("setup"), planned=1, pass_rate=0.5)))
    assert line == "t.py::test  ·  0/0  1 lost (set-up)  needs 50 %: nothing was evaluated"
