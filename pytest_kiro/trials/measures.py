"""Numbers beyond passed and failed: credits, seconds, calls, scores.

Two arms are compared by an exact rank test over tasks and by a shift; nothing is assumed of the numbers' distribution.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, sqrt
from statistics import median

from pytest_kiro.trials.checks import check_number
from pytest_kiro.trials.distributions import coefficients, normal_cdf, product_of_polynomials

#: Fewer numbers in an arm are shown and not tested.
FEWEST_VALUES = 5
#: More values than these are not enumerated: the normal approximation is as good then, and takes no time.
_ENUMERATED = 60


@dataclass(frozen=True)
class Values:
    """The numbers of one task: those of a variant, and those of its baseline."""

    values: tuple[float, ...]
    baseline_values: tuple[float, ...]

    def __post_init__(self) -> None:
        for value in (*self.values, *self.baseline_values):
            check_number("a value", value)


@dataclass(frozen=True)
class Measured:
    """A variant's numbers beside those of its baseline.

    `shift` is Hodges and Lehmann's: the median of all differences between a value of the variant and one of the
    baseline in the same task. `p` is two-sided, of the rank test over tasks; None where an arm has fewer than five
    values. `exact` says that all ways to share the values out were counted, and not approximated.
    """

    median: float
    baseline_median: float
    shift: float
    p: float | None
    exact: bool


def compare_values(tasks: Sequence[Values]) -> Measured:
    """Return how a variant's numbers compare with those of its baseline.

    Tasks with an empty arm are left out. Raises `ValueError` where no other is there.

    >>> compare_values([Values((12, 15, 13, 14, 16), (11, 10, 8, 9, 7))])
    Measured(median=14, baseline_median=9, shift=5, p=0.007936507936507936, exact=True)
    """
    usable = [task for task in tasks if task.values and task.baseline_values]
    if not usable:
        raise ValueError("no task has values in both arms; at least one must")
    values = [value for task in usable for value in task.values]
    others = [value for task in usable for value in task.baseline_values]
    exact = len(values) + len(others) <= _ENUMERATED
    enough = min(len(values), len(others)) >= FEWEST_VALUES
    return Measured(
        median(values),
        median(others),
        hodges_lehmann(usable),
        rank_test(usable, exact=exact) if enough else None,
        exact,
    )


def hodges_lehmann(tasks: Sequence[Values]) -> float:
    """Return the shift of a variant's numbers (Hodges and Lehmann 1963).

    The median of all differences within tasks; it is as far from wild values as a median is.

    >>> hodges_lehmann([Values((3, 5), (1, 2))])
    2.5
    """
    return median(a - b for task in tasks for a in task.values for b in task.baseline_values)


def rank_test(tasks: Sequence[Values], *, exact: bool = True) -> float:
    """Return the two-sided p of the rank test over tasks.

    Wilcoxon's rank sums, taken within tasks and added up; of one task it is the test of Mann and Whitney. Exact: all
    ways to share the values of each task out to the arms are counted, with ties as they are; p is twice the smaller
    tail. Not exact: the normal approximation, corrected for ties and continuity.

    >>> rank_test([Values((4, 5, 6), (1, 2, 3)), Values((7, 9), (5, 6))])
    0.016666666666666666
    """
    ranked = [(doubled_ranks([*task.values, *task.baseline_values]), len(task.values)) for task in tasks]
    observed = sum(sum(ranks[:size]) for ranks, size in ranked)
    if not exact:
        return _approximate_p(ranked, observed)
    weights = product_of_polynomials([_subset_sums(ranks, size) for ranks, size in ranked])
    smaller = min(sum(weights[: observed + 1]), sum(weights[observed:]))
    return min(1.0, 2 * smaller / sum(weights))


def doubled_ranks(values: Sequence[float]) -> list[int]:
    """Return twice the rank of each value, from 2 on; ties have the mean of their ranks.

    >>> doubled_ranks([10, 30, 20, 20])
    [2, 8, 5, 5]
    """
    counted, first, ranks = Counter(values), 1, {}
    for value in sorted(counted):
        ranks[value] = 2 * first + counted[value] - 1
        first += counted[value]
    return [ranks[value] for value in values]


def _subset_sums(ranks: Sequence[int], size: int) -> list[int]:
    """Count the subsets of `size` ranks by their sum, from 0 on.

    Each row of sums is one large number with a slot for each sum, so that a rank is added to all of them by one shift.
    """
    width = comb(len(ranks), size).bit_length() // 8 + 1
    rows = [1] + [0] * size
    for rank in ranks:
        for chosen in range(size, 0, -1):
            rows[chosen] += rows[chosen - 1] << (8 * width * rank)
    return coefficients(rows[size], width, sum(sorted(ranks)[-size:]) + 1)


def _approximate_p(ranked: Sequence[tuple[list[int], int]], observed: int) -> float:
    mean = variance = 0.0
    for ranks, size in ranked:
        count, other = len(ranks), len(ranks) - size
        mean += size * (count + 1)
        spread = sum((rank - count - 1) ** 2 for rank in ranks)  # of doubled ranks, about their mean
        variance += size * other * spread / (count * (count - 1))
    beyond = max(abs(observed - mean) - 1, 0.0)
    return min(1.0, 2 * normal_cdf(-beyond / sqrt(variance))) if variance else 1.0
