"""Power: which difference a number of trials can show, before any of them is paid for."""

from __future__ import annotations

from bisect import bisect_left
from functools import lru_cache
from math import comb, floor, sqrt

from pytest_kiro.trials.checks import check_count, check_level, check_share
from pytest_kiro.trials.comparison import ALPHA
from pytest_kiro.trials.distributions import binomial_probabilities, normal_cdf, normal_quantile

#: How often a difference is found that is there.
POWER = 0.8
#: More trials in an arm than these are not enumerated; there the normal approximation is off by less than a point.
_ENUMERATED = 200
_POINTS = 100
_ROUNDING = 1e-9


def power(
    trials: int, rate: float, baseline_rate: float, *, tasks: int = 1, alpha: float = ALPHA, exact: bool = False
) -> float:
    """Return the probability that two arms are told apart.

    By the two-sided mid-p of the conditional test, or by its exact p. The outcomes of all trials of an arm are
    enumerated as of one task: where all tasks have the same rate, the test over tasks differs little from it.

    >>> round(power(20, 0.9, 0.5, exact=True), 6)
    0.742389
    """
    check_count("trials", trials, least=1)
    check_count("tasks", tasks, least=1)
    check_share("rate", rate)
    check_share("baseline_rate", baseline_rate)
    check_level("alpha", alpha)
    arm = trials * tasks
    if arm > _ENUMERATED:
        return _approximate_power(arm, rate, baseline_rate, alpha)
    one, other = binomial_probabilities(arm, rate), binomial_probabilities(arm, baseline_rate)
    return sum(
        one[passes] * other[together - passes] + one[together - passes] * other[passes]
        for together, most in enumerate(_most_extreme(arm, alpha, exact))
        for passes in range(max(0, together - arm), most + 1)
    )


@lru_cache(maxsize=64)
def _most_extreme(arm: int, alpha: float, exact: bool) -> list[int]:
    """Enumerate what is told apart: by all passes, the most that one arm may have of them; -1 where none is."""
    extremes = []
    for together in range(2 * arm + 1):
        most, tail, total = -1, 0, comb(2 * arm, together)
        for passes in range(max(0, together - arm), (together + 1) // 2):  # less than half
            weight = comb(arm, passes) * comb(arm, together - passes)
            p = (2 * tail + (2 if exact else 1) * weight) / total  # arms of one size: both tails are alike
            if p > alpha:
                break
            most, tail = passes, tail + weight
        extremes.append(most)
    return extremes


def _approximate_power(arm: int, rate: float, baseline_rate: float, alpha: float) -> float:
    """By the normal approximation of the test of two proportions."""
    mean = (rate + baseline_rate) / 2
    error = sqrt((rate * (1 - rate) + baseline_rate * (1 - baseline_rate)) / arm)
    needed = normal_quantile(1 - alpha / 2) * sqrt(2 * mean * (1 - mean) / arm)
    apart = abs(rate - baseline_rate)
    if not error:
        return float(apart > needed)
    return normal_cdf((apart - needed) / error) + normal_cdf((-apart - needed) / error)


def detectable_difference(
    trials: int,
    *,
    tasks: int = 1,
    baseline_rate: float | None = None,
    alpha: float = ALPHA,
    wanted_power: float = POWER,
) -> float | None:
    """Return the smallest difference that so many trials can show.

    In steps of a point, with a power of 80 %; None where none can be shown. With a `baseline_rate`, the drop from it;
    without one, a difference half above and half below a rate of one half, which is the hardest place to see it.

    >>> detectable_difference(10), detectable_difference(10, tasks=10), detectable_difference(3)
    (0.6, 0.2, 0.93)
    """
    check_level("wanted_power", wanted_power)
    if baseline_rate is not None:
        check_share("baseline_rate", baseline_rate)
    high = 0.5 if baseline_rate is None else baseline_rate
    most = _POINTS if baseline_rate is None else floor(baseline_rate * _POINTS + _ROUNDING)

    def shows(points: int) -> bool:
        apart = points / _POINTS
        top = high + apart / 2 if baseline_rate is None else high
        return power(trials, top, max(top - apart, 0.0), tasks=tasks, alpha=alpha) >= wanted_power

    points = bisect_left(range(1, most + 1), True, key=shows) + 1
    return points / _POINTS if points <= most else None
