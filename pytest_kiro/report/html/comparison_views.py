"""Makes of comparisons what a page shows: rates, differences, and how numbers are spread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from pytest_kiro.report.comparing import arm_line, detail_lines, finding
from pytest_kiro.trials.behaviour import Behaviour, Trait
from pytest_kiro.trials.groups import Group
from pytest_kiro.trials.rates import suite_rate, wilson
from pytest_kiro.trials.runs import RunsCompared
from pytest_kiro.trials.variants import Arm, Compared, Contest

#: What is said of an arm's trials by numbers, and how one is read of a trial.
_NUMBERS: Mapping[str, Callable[[Behaviour], float | None]] = {
    "seconds": lambda one: one.seconds,
    "credits": lambda one: one.credits,
    "calls": lambda one: float(one.calls.total()),
}
#: The width of a plot, where its axis begins, and how many behaviours and pairs are shown.
WIDTH, LEFT, _TRAITS, _PAIRS = 400.0, 8.0, 30, 40


@dataclass(frozen=True)
class Spread:
    """One number's distribution in each arm: dots, their median and the axis' ends."""

    what: str
    rows: tuple[tuple[str, tuple[tuple[float, float, str], ...], float | None, str], ...]
    most: float

    @property
    def height(self) -> float:
        """The plot's height."""
        return 44.0 * len(self.rows) + 22.0


@dataclass(frozen=True)
class ArmView:
    """One arm: how its trials ended, task by task."""

    name: str
    is_baseline: bool
    line: str
    passes: int
    valid: int
    rate: float | None
    low: float | None
    high: float | None
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Pair:
    """Two trials to look at beside each other."""

    task: str
    one: str
    other: str
    words: str


@dataclass(frozen=True)
class ComparedView:
    """A variant beside its baseline."""

    title: str
    finding: str
    words: str
    difference: tuple[float, float, float] | None
    details: tuple[str, ...]
    traits: tuple[Trait, ...]
    pairs: tuple[Pair, ...]
    variant: str
    baseline: str


@dataclass(frozen=True)
class ContestView:
    """All arms of one comparison."""

    id: str
    name: str
    parameter: str
    arms: tuple[ArmView, ...]
    compared: tuple[ComparedView, ...]
    spreads: tuple[Spread, ...]


def contest_view(contest: Contest, id: str, trials: Mapping[tuple[str, int], str]) -> ContestView:
    """Return what is shown of a comparison of variants; `trials` has the ids of groups' trials."""
    arms = [contest.baseline, *(one.variant for one in contest.compared)]
    return ContestView(
        id=id,
        name=contest.name,
        parameter=contest.parameter,
        arms=tuple(_arm(arm, arm is contest.baseline) for arm in arms),
        compared=tuple(_compared(one, contest.detectable, _pairs(one, trials, trials)) for one in contest.compared),
        spreads=tuple(_spreads(arms)),
    )


def runs_view(
    runs: RunsCompared, before: Mapping[tuple[str, int], str], after: Mapping[tuple[str, int], str]
) -> ContestView | None:
    """Return what is shown of two runs; None without a common test."""
    if (one := runs.compared) is None:
        return None
    arms = [one.baseline, one.variant]
    return ContestView(
        id="runs",
        name="this run and the baseline",
        parameter="run",
        arms=tuple(_arm(arm, arm is one.baseline) for arm in arms),
        compared=(_compared(one, None, _pairs(one, after, before)),),
        spreads=tuple(_spreads(arms)),
    )


def _arm(arm: Arm, is_baseline: bool) -> ArmView:
    low = high = rate = None
    if arm.valid and len(arm.samples) == 1:
        interval = wilson(arm.passes, arm.valid)
        rate, low, high = arm.passes / arm.valid, interval.low, interval.high
    elif arm.valid:  # tasks differ, so trials are not pooled into an interval
        tallies = [sample.group.tally for sample in arm.samples if sample.group.tally.valid]
        suite = suite_rate([tally.passes / tally.valid for tally in tallies])
        rate = suite.mean
        if suite.interval is not None:
            low, high = suite.interval.low, suite.interval.high
    groups = tuple(sample.group for sample in arm.samples)
    return ArmView(arm.name, is_baseline, arm_line(arm), arm.passes, arm.valid, rate, low, high, groups)


def _compared(compared: Compared, detectable: float | None, pairs: Sequence[Pair]) -> ComparedView:
    comparison = compared.comparison
    difference = None
    if comparison is not None:
        low, high = comparison.difference.interval
        difference = (comparison.difference.estimate, low, high)
    smallest = min((sample.group.design.trials for sample in compared.baseline.samples), default=0)
    return ComparedView(
        title=f"{compared.variant.name} − {compared.baseline.name}",
        finding=compared.decision.finding if compared.decision is not None else "not judged",
        words=finding(compared, f"{smallest} trials each", detectable),
        difference=difference,
        details=tuple(line for line in detail_lines(compared, True) if not line.startswith("more in ")),
        traits=tuple(compared.traits[:_TRAITS]),
        pairs=tuple(pairs),
        variant=compared.variant.name,
        baseline=compared.baseline.name,
    )


def _pairs(
    compared: Compared, ours: Mapping[tuple[str, int], str], theirs: Mapping[tuple[str, int], str]
) -> list[Pair]:
    """Return a trial of each arm for each task: such that ended differently, where there are."""
    others = {sample.variant.task: sample.group for sample in compared.baseline.samples}
    pairs = []
    for sample in compared.variant.samples:
        group, other = sample.group, others.get(sample.variant.task)
        if other is None:
            continue
        ends = [(_first(group, one), _first(other, two), f"{one} and {two}") for one, two in _ORDER]
        for one, two, words in ends:
            mine, yours = ours.get((group.name, one)), theirs.get((other.name, two))
            if one and two and mine and yours:
                pairs.append(Pair(sample.variant.task, mine, yours, words))
                break
    return pairs[:_PAIRS]


_ORDER = (("failed", "passed"), ("passed", "failed"), ("failed", "failed"), ("passed", "passed"))


def _first(group: Group, outcome: str) -> int:
    return next((number for number, end in enumerate(group.ends, 1) if end.outcome == outcome), 0)


def _spreads(arms: Sequence[Arm]) -> Iterable[Spread]:
    for what, read in _NUMBERS.items():
        numbers = [[value for one in arm.behaviours if (value := read(one)) is not None] for arm in arms]
        most = max((value for own in numbers for value in own), default=0.0)
        if most <= 0:
            continue
        scale = (WIDTH - 2 * LEFT) / most
        rows = tuple(
            (arm.name, tuple(_dots(own, scale)), _median(own, scale), f"{_median(own, 1.0):.3g}" if own else "")
            for arm, own in zip(arms, numbers, strict=True)
        )
        yield Spread(what, rows, most)


def _dots(values: Sequence[float], scale: float) -> Iterable[tuple[float, float, str]]:
    """Place numbers on an axis; those that would hide each other stand above each other."""
    taken: dict[int, int] = {}
    for value in sorted(values):
        x = LEFT + value * scale
        slot = round(x / 6)
        level = taken.get(slot, 0)
        taken[slot] = level + 1
        yield round(x, 1), round(30.0 - min(level, 3) * 4.0, 1), f"{value:.3g}"


def _median(values: Sequence[float], scale: float) -> float | None:
    return None if not values else round((LEFT if scale != 1.0 else 0.0) + median(values) * scale, 3)
