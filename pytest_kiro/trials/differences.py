"""How far the rates of two arms lie apart.

A difference is the rate of the variant less that of its baseline, from -1 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot, sqrt
from typing import NamedTuple

from pytest_kiro.trials.checks import check_level
from pytest_kiro.trials.distributions import normal_quantile
from pytest_kiro.trials.rates import CONFIDENCE, Interval, wilson
from pytest_kiro.trials.strata import Stratum


class Difference(NamedTuple):
    """An estimate of a difference, and its interval."""

    estimate: float
    interval: Interval


def difference(strata: Sequence[Stratum], confidence: float = CONFIDENCE) -> Difference:
    """Return the difference of two arms over their tasks.

    Newcombe's where each task has as many trials in both arms: its interval never shrinks to a point. Else
    Mantel-Haenszel's with Sato's interval, since pooled counts would mix the tasks' weights; with Newcombe's where
    Sato's is a point.

    >>> estimate, (low, high) = difference([Stratum(5, 5, 2, 5), Stratum(4, 5, 2, 5), Stratum(3, 5, 1, 5)])
    >>> f"{estimate:+.0%} [{low:+.0%}, {high:+.0%}]"
    '+47% [+11%, +69%]'
    """
    usable = [stratum for stratum in strata if stratum.both]
    if not usable:
        raise ValueError("no task has evaluated trials in both arms; at least one must")
    pooled = Stratum(
        sum(stratum.passes for stratum in usable),
        sum(stratum.trials for stratum in usable),
        sum(stratum.baseline_passes for stratum in usable),
        sum(stratum.baseline_trials for stratum in usable),
    )
    if all(stratum.trials == stratum.baseline_trials for stratum in usable):
        return newcombe(pooled, confidence)
    estimated = mantel_haenszel(usable, confidence)
    if estimated.interval.low < estimated.interval.high:
        return estimated
    return Difference(estimated.estimate, newcombe(pooled, confidence).interval)


def newcombe(arms: Stratum, confidence: float = CONFIDENCE) -> Difference:
    """Return the difference of two rates with Newcombe's hybrid score interval.

    Of Wilson's intervals of both, the squares of the distances to their ends are added (Newcombe 1998, method 10).

    >>> [round(end, 6) for end in newcombe(Stratum(3, 3, 0, 3)).interval]
    [0.205923, 1.0]
    """
    rate, other = arms.passes / arms.trials, arms.baseline_passes / arms.baseline_trials
    low, high = wilson(arms.passes, arms.trials, confidence)
    other_low, other_high = wilson(arms.baseline_passes, arms.baseline_trials, confidence)
    estimate = rate - other
    return Difference(
        estimate,
        Interval(estimate - hypot(rate - low, other_high - other), estimate + hypot(high - rate, other - other_low)),
    )


def mantel_haenszel(strata: Sequence[Stratum], confidence: float = CONFIDENCE) -> Difference:
    """Return the Mantel-Haenszel difference of rates with Sato's interval.

    Tasks are weighted by n1 n2 / (n1 + n2) (Greenland and Robins 1985); the variance is Sato's (1989), which holds for
    few large strata and for many small ones. It is a point where each task separates its arms in full.

    >>> estimate, interval = mantel_haenszel([Stratum(4, 5, 2, 3), Stratum(5, 5, 4, 5), Stratum(1, 4, 0, 5)])
    >>> round(estimate, 6), [round(end, 6) for end in interval]
    (0.197895, [-0.070073, 0.465863])
    """
    check_level("confidence", confidence)
    weight = estimate = p = q = 0.0
    for stratum in strata:
        x1, n1, x2, n2 = stratum.passes, stratum.trials, stratum.baseline_passes, stratum.baseline_trials
        n = n1 + n2
        weight += n1 * n2 / n
        estimate += (x1 * n2 - x2 * n1) / n
        p += (n1**2 * x2 - n2**2 * x1 + n1 * n2 * (n2 - n1) / 2) / n**2
        q += (x1 * (n2 - x2) + x2 * (n1 - x1)) / (2 * n)
    estimate /= weight
    half = normal_quantile((1 + confidence) / 2) * sqrt(max(estimate * p + q, 0.0)) / weight
    return Difference(estimate, Interval(max(estimate - half, -1.0), min(estimate + half, 1.0)))
