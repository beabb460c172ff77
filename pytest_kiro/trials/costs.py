"""Counts what trials took, and estimates what others will take."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pytest_kiro.records.tests import TestRecord
from pytest_kiro.records.turns import FixtureReference, TurnRecord

#: Outcomes of tests that were not run, or not to their end.
_NOT_RUN = ("not needed", "skipped", "unfinished")


@dataclass(frozen=True)
class Cost:
    """What the trials of one test took on average; `credits` is None where none were metered.

    The turns of a fixture are shared out among the tests that looked at them.
    """

    turns: float
    credits: float | None


def costs_of(
    tests: Sequence[TestRecord], turns_of: Callable[[FixtureReference], Iterable[TurnRecord]]
) -> dict[str, Cost]:
    """Return the cost of a trial by the identity of its test."""
    shared = Counter(fixture for test in tests for fixture in test.fixtures)
    trials: defaultdict[str, list[list[tuple[TurnRecord, float]]]] = defaultdict(list)
    for test in tests:
        if test.outcome not in _NOT_RUN:
            turns = [(turn, 1.0) for turn in test.turns]
            turns += [(turn, 1 / shared[one]) for one in test.fixtures for turn in turns_of(one)]
            trials[test.identity].append(turns)
    return {name: _mean(each) for name, each in trials.items()}


def _mean(trials: Sequence[Sequence[tuple[TurnRecord, float]]]) -> Cost:
    turns = [pair for trial in trials for pair in trial]
    metered = [turn.credits * share for turn, share in turns if turn.credits is not None]
    return Cost(
        turns=sum(share for turn, share in turns if not turn.retried) / len(trials),
        credits=sum(metered) / len(trials) if metered else None,
    )


@dataclass(frozen=True)
class Estimate:
    """What trials will take, of which so many are `unknown`; `credits` is None where none were metered."""

    trials: int
    turns: float
    credits: float | None
    unknown: int


def estimate(names: Iterable[str], costs: Mapping[str, Cost]) -> Estimate:
    """Return what trials will take; `names` has the identity of each one's test.

    >>> estimate(["test_a", "test_a", "test_b"], {"test_a": Cost(turns=1, credits=0.25)})
    Estimate(trials=3, turns=2, credits=0.5, unknown=1)
    """
    found = [costs.get(name) for name in names]
    known = [cost for cost in found if cost is not None]
    metered = [cost.credits for cost in known if cost.credits is not None]
    return Estimate(
        trials=len(found),
        turns=sum(cost.turns for cost in known),
        credits=sum(metered) if metered else None,
        unknown=len(found) - len(known),
    )


def saved(groups: Iterable[tuple[str, int]], costs: Mapping[str, Cost]) -> float | None:
    """Return the credits of trials that were not run: of each test its identity, and how many it had.

    None where none of their like were metered.

    >>> saved([("test_a", 3)], {"test_a": Cost(turns=1, credits=0.25)})
    0.75
    """
    credits = [(costs[name].credits, count) for name, count in groups if name in costs and count]
    metered = [each * count for each, count in credits if each is not None]
    return sum(metered) if metered else None
