"""Comparisons of variants, made from groups of trials: one of each variant with its baseline, over all their tasks."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from pytest_kiro.records.groups import ComparisonRecord
from pytest_kiro.records.tests import Better, TestRecord, VariantRecord
from pytest_kiro.records.turns import FixtureReference, ProvenanceRecord, TurnRecord
from pytest_kiro.trials.behaviour import Behaviour, Medians, Trait, behaviour_of, medians_of, traits_apart
from pytest_kiro.trials.comparison import ALPHA, Comparison, Decision, Finding, alpha_of_first, compare, decide
from pytest_kiro.trials.groups import Group, end_of
from pytest_kiro.trials.measures import Measured, Values, compare_values
from pytest_kiro.trials.power import detectable_difference
from pytest_kiro.trials.strata import Stratum

#: By the setting that an option compares, what therefore answers differently.
_MEANT = {
    "model": ("model_asked", "model"),
    "effort": ("effort",),
    "agent": ("agent_asked",),
    "engine": ("engine", "agent_version", "memory", "features"),
}
_NOTHING = "no task was evaluated under both"


@dataclass(frozen=True)
class Sample:
    """One task under one variant: its group of trials, what the agent did in them, and what answered.

    `other_model` is whether another model answered any of them than was asked for.
    """

    group: Group
    variant: VariantRecord
    behaviours: tuple[Behaviour, ...]
    provenance: ProvenanceRecord | None = None
    other_model: bool = False


def sample_of(
    group: Group, tests: Sequence[TestRecord], turns_of: Callable[[FixtureReference], Iterable[TurnRecord]]
) -> Sample | None:
    """Return what a group is compared as, None where it is not."""
    variant = next((test.trial.variant for test in tests if test.trial is not None), None)
    if variant is None:
        return None
    looked_at = {test.nodeid: [turn for one in test.fixtures for turn in turns_of(one)] for test in tests}
    evaluated = [test for test in tests if end_of(test, looked_at[test.nodeid]).outcome in ("passed", "failed")]
    turns = [turn for test in tests for turn in (*test.turns, *looked_at[test.nodeid]) if not turn.retried]
    return Sample(
        group,
        variant,
        tuple(behaviour_of(test, looked_at[test.nodeid]) for test in evaluated),
        next((turn.provenance for turn in turns), None),
        any(
            turn.provenance.other_model
            for test in evaluated
            for turn in (*test.turns, *looked_at[test.nodeid])
            if not turn.retried
        ),
    )


@dataclass(frozen=True)
class Arm:
    """All tasks under one variant."""

    name: str
    samples: tuple[Sample, ...]

    @property
    def passes(self) -> int:
        """How many trials passed, of all tasks."""
        return sum(sample.group.tally.passes for sample in self.samples)

    @property
    def valid(self) -> int:
        """How many trials were evaluated."""
        return sum(sample.group.tally.valid for sample in self.samples)

    @cached_property
    def behaviours(self) -> tuple[Behaviour, ...]:
        """What the agent did in each trial that was evaluated."""
        return tuple(behaviour for sample in self.samples for behaviour in sample.behaviours)

    @property
    def medians(self) -> Medians | None:
        """The medians of what was counted in trials."""
        return medians_of(self.behaviours)

    @property
    def failures(self) -> dict[str, int]:
        """How many trials failed, by what their messages begin with."""
        return _added(sample.group.failures for sample in self.samples)

    @property
    def losses(self) -> dict[str, int]:
        """How many trials were lost, by what made them so."""
        return _added(sample.group.losses for sample in self.samples)


@dataclass(frozen=True)
class ScoreCompared:
    """A score of a variant beside its baseline's; `better` is None where trials do not agree on it."""

    name: str
    better: Better | None
    measured: Measured

    @property
    def finding(self) -> Finding:
        """What the numbers show; p is not adjusted for other comparisons."""
        p, shift = self.measured.p, self.measured.shift
        if p is None:
            return "insufficient"
        if self.better is None or p > ALPHA or not shift:
            return "undecided"
        return "better" if (shift < 0) == (self.better == "lower") else "worse"


@dataclass(frozen=True)
class Compared:
    """A variant beside its baseline; without a `decision` it is not judged, for `reason`."""

    variant: Arm
    baseline: Arm
    comparison: Comparison | None
    decision: Decision | None
    reason: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether nothing can be compared, since trials were lost.

        A group of which all were skipped is no such.
        """
        samples = (*self.variant.samples, *self.baseline.samples)
        return self.reason == _NOTHING and any(sample.group.verdict.outcome == "error" for sample in samples)

    @property
    def traits(self) -> list[Trait]:
        """What one of them did and the other did not."""
        return traits_apart(self.variant.behaviours, self.baseline.behaviours)

    @property
    def differences(self) -> tuple[str, ...]:
        """What answered differently, beside what is compared; of runs `drift` says it."""
        ours, theirs = _provenance(self.variant), _provenance(self.baseline)
        words = self.variant.samples[0].variant
        if ours is None or theirs is None or not words.comparison:
            return ()
        meant = _MEANT.get(words.parameter, ()) if words.comparison.startswith("--kiro-") else ()
        same = {name: getattr(theirs, name) for name in meant}
        return theirs.differences(replace(ours, **same))

    @property
    def sequential(self) -> bool:
        """Whether a group was made larger because of what it had shown."""
        return any(sample.group.sequential for arm in (self.variant, self.baseline) for sample in arm.samples)

    def measured(self, what: str) -> Measured | None:
        """Compare seconds, credits, turns or calls; None where both arms have too little."""
        return self._measured(lambda sample: _numbers(sample, what))

    @property
    def scores(self) -> list[ScoreCompared]:
        """The scores that both arms have."""
        better: defaultdict[str, set[Better]] = defaultdict(set)
        for behaviour in (*self.variant.behaviours, *self.baseline.behaviours):
            for name, score in behaviour.scores.items():
                better[name].add(score.better)
        compared = []
        for name, directions in better.items():
            measured = self._measured(partial(_scores, name=name))
            if measured is not None:
                compared.append(ScoreCompared(name, directions.pop() if len(directions) == 1 else None, measured))
        return compared

    def _measured(self, numbers_of: Callable[[Sample], tuple[float, ...]]) -> Measured | None:
        tasks = [Values(numbers_of(one), numbers_of(other)) for one, other in _pairs(self.variant, self.baseline)]
        usable = [task for task in tasks if task.values and task.baseline_values]
        return compare_values(usable) if usable else None


@dataclass(frozen=True)
class Contest:
    """All variants of one comparison: a test's, or those that options have named.

    `together` is how many comparisons of variants the run reads together, of those that can decide.
    """

    name: str
    parameter: str
    baseline: Arm
    compared: tuple[Compared, ...]
    together: int = 1

    @property
    def detectable(self) -> float | None:
        """The smallest difference that the planned trials can show, whatever others say."""
        sizes = [sample.group.design.trials for sample in self.baseline.samples]
        alpha = alpha_of_first(self.together)
        return detectable_difference(min(sizes), tasks=len(sizes), alpha=alpha) if sizes else None

    @property
    def records(self) -> list[ComparisonRecord]:
        """What a run keeps of it, a variant each."""
        return [self._record(one) for one in self.compared]

    def _record(self, compared: Compared) -> ComparisonRecord:
        comparison, decision = compared.comparison, compared.decision
        numbers: dict[str, Any] = {}
        if comparison is not None and decision is not None:
            low, high = comparison.difference.interval
            numbers = {"difference": comparison.difference.estimate, "low": low, "high": high}
            numbers |= {"p": comparison.test.mid_p, "adjusted_p": decision.adjusted_p}
        return ComparisonRecord(
            name=self.name,
            parameter=self.parameter,
            baseline=self.baseline.name,
            variant=compared.variant.name,
            tasks=len(comparison.strata) if comparison is not None else 0,
            finding=decision.finding if decision is not None else None,
            reason=compared.reason,
            **numbers,
        )


def contests_of(samples: Iterable[Sample], *, alpha: float = ALPHA) -> list[Contest]:
    """Return the comparisons of a run, with p-values adjusted for each other.

    A comparison of which a group was not run whole is not judged.
    """
    named: defaultdict[str, defaultdict[str, list[Sample]]] = defaultdict(lambda: defaultdict(list))
    for sample in samples:
        named[sample.variant.comparison][sample.variant.variant].append(sample)
    rows: list[tuple[str, Compared, float]] = []
    baselines: dict[str, tuple[str, Arm]] = {}
    for name, variants in named.items():
        arms = {variant: Arm(variant, tuple(own)) for variant, own in variants.items()}
        words = next(iter(variants.values()))[0].variant
        baseline = arms.pop(words.baseline, Arm(words.baseline, ()))
        baselines[name] = words.parameter, baseline
        rows += [(name, _compared(arm, baseline), words.min_effect) for arm in arms.values()]
    judged = _judged([(compared, least) for _, compared, least in rows], alpha)
    able = sum(one.comparison is not None and one.comparison.smallest_p <= alpha for one in judged)
    return [
        Contest(
            name,
            parameter,
            baseline,
            tuple(one for (own, *_), one in zip(rows, judged, strict=True) if own == name),
            max(1, able),
        )
        for name, (parameter, baseline) in baselines.items()
    ]


def _compared(arm: Arm, baseline: Arm) -> Compared:
    strata = [
        Stratum(one.group.tally.passes, one.group.tally.valid, other.group.tally.passes, other.group.tally.valid)
        for one, other in _pairs(arm, baseline)
    ]
    open_group = next((s.group for s in (*arm.samples, *baseline.samples) if not s.group.complete), None)
    if open_group is not None:
        return Compared(arm, baseline, None, None, f"{open_group.name} was not run whole")
    moved = next((s.group for s in (*arm.samples, *baseline.samples) if s.other_model), None)
    if moved is not None:
        reason = f"in {moved.name} another model answered than was asked for"
        return Compared(arm, baseline, None, None, reason)
    if not any(stratum.both for stratum in strata):
        return Compared(arm, baseline, None, None, _NOTHING)
    return Compared(arm, baseline, compare(strata), None)


def _judged(rows: Sequence[tuple[Compared, float]], alpha: float) -> list[Compared]:
    comparisons = [(compared.comparison, floor) for compared, floor in rows if compared.comparison is not None]
    floors = [floor for _, floor in comparisons]
    decisions = iter(decide([comparison for comparison, _ in comparisons], alpha=alpha, min_effect=floors))
    return [
        replace(compared, decision=next(decisions)) if compared.comparison is not None else compared
        for compared, _ in rows
    ]


def _pairs(arm: Arm, baseline: Arm) -> list[tuple[Sample, Sample]]:
    others = {sample.variant.task: sample for sample in baseline.samples}
    return [(sample, others[sample.variant.task]) for sample in arm.samples if sample.variant.task in others]


def _added(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    added: Counter[str] = Counter()
    for one in counts:
        added.update(one)
    return dict(added.most_common())


def _numbers(sample: Sample, what: str) -> tuple[float, ...]:
    if what == "calls":
        return tuple(float(behaviour.calls.total()) for behaviour in sample.behaviours)
    numbers = (getattr(behaviour, what) for behaviour in sample.behaviours)
    return tuple(float(number) for number in numbers if number is not None)


def _scores(sample: Sample, *, name: str) -> tuple[float, ...]:
    return tuple(behaviour.scores[name].value for behaviour in sample.behaviours if name in behaviour.scores)


def _provenance(arm: Arm) -> ProvenanceRecord | None:
    return next((sample.provenance for sample in arm.samples if sample.provenance is not None), None)
