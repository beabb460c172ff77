"""What trials took, and what others of the same tests will take."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_kiro.records import tests as records
from pytest_kiro.records.turns import FixtureReference, TurnRecord
from pytest_kiro.trials.costs import Cost, Estimate, costs_of, estimate, saved

SHOP = FixtureReference(name="fixture:shop", worker="main", number=1)


def ended(
    name: str, *credits: float | None, number: int = 0, outcome: Any = "passed", shop: bool = False
) -> records.TestRecord:
    """A test whose turns cost so much; a trial, if it has a number."""
    return records.TestRecord(
        nodeid=f"{name}[trial{number}]" if number else name,
        outcome=outcome,
        infrastructure=False,
        worker="main",
        attempts=1,
        duration=1.0,
        credits=None,
        phases=(),
        turns=tuple(TurnRecord(credits=each) for each in credits),
        trial=records.TrialRecord(group=name, number=number, planned=9) if number else None,
        fixtures=(SHOP,) * shop,
    )


def costs(*tests: records.TestRecord, shop: tuple[TurnRecord, ...] = ()) -> dict[str, Cost]:
    return costs_of(tests, lambda reference: shop)


def test_a_groups_cost_is_the_mean_of_the_trials_that_were_run() -> None:
    trials = [ended("a", 0.5, 0.25, number=1), ended("a", 0.25, number=2, outcome="failed")]
    left_out = [ended("a", 9.0, number=3, outcome="not needed"), ended("a", 9.0, number=4, outcome="unfinished")]
    assert costs(*trials, *left_out) == {"a": Cost(turns=1.5, credits=0.5)}


def test_what_was_not_metered_costs_nothing_that_is_known() -> None:
    assert costs(ended("a", None), ended("b")) == {"a": Cost(1, None), "b": Cost(0, None)}


def test_a_fixtures_turns_are_shared_out_among_the_tests_that_looked_at_them() -> None:
    shop = (TurnRecord(credits=0.5), TurnRecord(credits=0.5))
    both = costs(ended("a", 0.25, shop=True), ended("b", shop=True), shop=shop)
    assert both == {"a": Cost(turns=2, credits=0.75), "b": Cost(turns=1, credits=0.5)}


def test_an_attempt_that_was_run_again_cost_credits_and_is_no_turn() -> None:
    again = TurnRecord(credits=0.25, retried=True)
    assert costs(ended("a", 0.25, shop=True), shop=(again,)) == {"a": Cost(turns=1, credits=0.5)}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "a"], Estimate(trials=2, turns=4, credits=1.0, unknown=0)),
        (["a", "b", "c"], Estimate(trials=3, turns=3, credits=0.5, unknown=1)),
        (["b"], Estimate(trials=1, turns=1, credits=None, unknown=0)),
        (["c"], Estimate(trials=1, turns=0, credits=None, unknown=1)),
        ([], Estimate(trials=0, turns=0, credits=None, unknown=0)),
    ],
    ids=["all", "some", "unmetered", "none", "nothing"],
)
def test_an_estimate(names: list[str], expected: Estimate) -> None:
    assert estimate(names, {"a": Cost(2, 0.5), "b": Cost(1, None)}) == expected


def test_what_was_saved() -> None:
    known = {"a": Cost(1, 0.5), "b": Cost(1, None), "c": Cost(1, 0.25)}
    assert saved([("a", 2), ("b", 5), ("c", 0), ("d", 1)], known) == 1.0
    assert saved([("b", 5), ("c", 0)], known) is None
