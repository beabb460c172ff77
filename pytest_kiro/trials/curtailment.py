"""Curtailment: a group of trials ends as soon as its verdict is certain.

The rule is exact. A verdict is certain when no way in which the trials still to come may pass, fail or be lost changes
it; the one thing they could still do is to be lost in such a number that the whole group would be undecided for that.
The size and the power of a gate are therefore those of the full number of trials.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pytest_kiro.trials.checks import check_share
from pytest_kiro.trials.gates import Design, Outcome, Tally, Verdict, judge

Ending = Literal["passed", "failed", "lost"]


def judge_curtailed(design: Design, tally: Tally) -> Verdict:
    """Return the verdict on a group of which trials were left out.

    It is incomplete unless it is certain, whatever the others had done.

    >>> judge_curtailed(Design(trials=5, pass_rate=0.8), Tally(passes=4)).outcome
    'passed'
    >>> judge_curtailed(Design(trials=5, pass_rate=0.8), Tally(passes=3)).outcome
    'incomplete'
    """
    verdicts = [judge(design, whole) for whole in _extremes(design, tally)]
    return verdicts[0] if len({verdict.outcome for verdict in verdicts}) == 1 else judge(design, tally)


def is_certain(design: Design, tally: Tally) -> bool:
    """Return whether trials still to come cannot change the verdict.

    >>> is_certain(Design(trials=5, pass_rate=0.8), Tally(passes=2, failures=2))
    True
    """
    return judge_curtailed(design, tally).outcome != "incomplete"


def _extremes(design: Design, tally: Tally) -> Iterator[Tally]:
    """Of each number of trials that may be lost yet: had the others failed, had they passed.

    For so many valid trials more passes never make a verdict worse, so that what lies between need not be asked.
    """
    rest = design.trials - tally.run
    losable = design.most_lost - tally.lost
    for lost in range(1 + (rest if losable < 0 else min(losable, rest))):
        for passes in (0, rest - lost):
            yield Tally(tally.passes + passes, tally.failures + rest - lost - passes, tally.lost + lost)


# -- the rate of a curtailed group


def unbiased_rate(design: Design, endings: Sequence[Ending]) -> float | None:
    """Return the unbiased estimate of the rate of a curtailed group.

    `endings` are its trials in the order in which they ended. `passes / trials` is off by up to 11 points, because a
    group stops at a pass or a failure that was waited for. Girshick, Mosteller and Savage (1946): of all orders that
    lead to this end without an earlier one, the share that begins with a pass. For r passes of n it is
    (r - 1) / (t - 1) when the t-th trial was the pass that was needed, and passes / (t - 1) when it was the failure.

    None where no such estimate is: no trial was evaluated, the verdict is not certain, or trials ended after it was
    certain (those that were in flight).

    >>> unbiased_rate(Design(trials=5, pass_rate=0.8), ["passed", "failed", "passed", "failed"])
    0.6666666666666666
    """
    orders: dict[int, tuple[int, int]] = {0: (1, 0)}  # by passes: all orders, and those that begin with a pass
    passes = valid = lost = 0
    certain = False
    for ending in endings:
        if certain:
            return None
        if ending == "lost":
            lost += 1
        else:
            orders = _one_more(orders, first=valid == 0)
            valid += 1
            passes += ending == "passed"
        certain = is_certain(design, Tally(passes, valid - passes, lost))
        if not certain:
            orders = {p: n for p, n in orders.items() if not is_certain(design, Tally(p, valid - p, lost))}
    if not certain or not valid:
        return None
    every, beginning = orders[passes]
    return beginning / every


def _one_more(orders: dict[int, tuple[int, int]], *, first: bool) -> dict[int, tuple[int, int]]:
    longer: dict[int, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for passes, (every, beginning) in orders.items():
        for passed in (0, 1):
            before = longer[passes + passed]
            longer[passes + passed] = (before[0] + every, before[1] + (passed if first else beginning))
    return longer


# -- what a design does


@dataclass(frozen=True)
class Characteristic:
    """How a curtailed design treats an agent: the chance of each outcome, and the trials it takes on average."""

    passed: float
    failed: float
    undecided: float
    trials: float


def characteristic(design: Design, rate: float) -> Characteristic:
    """Return how a curtailed design treats an agent of this rate.

    `rate` is the chance that one trial passes; no trial is lost. Exact.

    >>> treated = characteristic(Design(trials=5, pass_rate=0.8), 0.9)
    >>> round(treated.passed, 5), round(treated.trials, 4)
    (0.91854, 4.2536)
    """
    check_share("rate", rate)
    chances: dict[Outcome, float] = defaultdict(float)
    trials = 0.0
    open_ends = {0: 1.0}  # by passes
    for run in range(1, design.trials + 1):
        after: dict[int, float] = defaultdict(float)
        for passes, chance in open_ends.items():
            after[passes] += chance * (1 - rate)
            after[passes + 1] += chance * rate
        open_ends = {}
        for passes, chance in after.items():
            outcome = judge_curtailed(design, Tally(passes, run - passes)).outcome
            if outcome == "incomplete":
                open_ends[passes] = chance
            else:
                chances[outcome] += chance
                trials += run * chance
    return Characteristic(chances["passed"], chances["failed"], chances["undecided"], trials)
