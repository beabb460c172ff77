"""Compares two runs of the same tests: one of today with one of another day."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pytest_kiro.records.tests import TrialRecord, VariantRecord, by_identity
from pytest_kiro.trials.comparison import MIN_EFFECT
from pytest_kiro.trials.drift import Side, drift
from pytest_kiro.trials.groups import Group, group_of
from pytest_kiro.trials.variants import Compared, Sample, contests_of, sample_of

BEFORE, AFTER = "before", "after"


@dataclass(frozen=True)
class RunsCompared:
    """Two runs beside each other; `compared` is None where they have no test in common.

    `pairs` are the groups of both, `only_before` and `only_after` the names that one of them has; `curtailed` are those
    of which trials were left out, so that their rates are not comparable. `differences` names what was not the same.
    """

    compared: Compared | None
    pairs: tuple[tuple[Group, Group], ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    curtailed: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()

    @property
    def changed(self) -> list[tuple[Group, Group]]:
        """The groups whose rates moved, those that fell most first."""
        moved = [pair for pair in self.pairs if _rate(pair[0]) != _rate(pair[1])]
        return sorted(moved, key=lambda pair: _rate(pair[1]) - _rate(pair[0]))


def compare_runs(before: Side, after: Side, *, min_valid: float, min_effect: float = MIN_EFFECT) -> RunsCompared:
    """Compare what became of the tests that both runs have; each is a task, however many trials it had."""
    one, other = (
        {sample.variant.task: sample for sample in _samples(side, name, min_valid, min_effect)}
        for side, name in ((before, BEFORE), (after, AFTER))
    )
    both = [name for name in one if name in other]
    common = [name for name in both if not (one[name].group.curtailed or other[name].group.curtailed)]
    contests = contests_of([*(one[name] for name in common), *(other[name] for name in common)])
    return RunsCompared(
        compared=contests[0].compared[0] if common else None,
        pairs=tuple((one[name].group, other[name].group) for name in common),
        only_before=tuple(one[name].group.name for name in one if name not in other),
        only_after=tuple(other[name].group.name for name in other if name not in one),
        curtailed=tuple(other[name].group.name for name in both if name not in common),
        differences=drift(before, after),
    )


def _samples(side: Side, name: str, min_valid: float, min_effect: float) -> Iterable[Sample]:
    evals = [test for test in side.tests if test.trial or test.turns or test.fixtures]
    for identity, own in by_identity(evals).items():
        variant = VariantRecord(
            comparison="", parameter="run", variant=name, baseline=BEFORE, task=identity, min_effect=min_effect
        )
        trials = [test.trial or TrialRecord(group=test.group, number=1, planned=1) for test in own]
        tests = [replace(test, trial=replace(trial, variant=variant)) for test, trial in zip(own, trials, strict=True)]
        sample = sample_of(group_of(tests, side.turns_of, min_valid=min_valid), tests, side.turns_of)
        assert sample is not None
        yield sample


def _rate(group: Group) -> float:
    return group.tally.passes / group.tally.valid if group.tally.valid else -1.0
