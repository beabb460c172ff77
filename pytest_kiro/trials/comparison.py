"""Comparison of variants with their baseline: better, worse, undecided or insufficient.

A variant is better or worse only when the mid-p of the exact test, adjusted for all that was compared, is at most
`alpha`, and the difference is at least `min_effect`. Intervals are shown and decide nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pytest_kiro.trials.checks import check_count, check_level, check_share
from pytest_kiro.trials.differences import Difference, difference
from pytest_kiro.trials.rates import CONFIDENCE
from pytest_kiro.trials.strata import ConditionalTest, Stratum, conditional_test, smallest_mid_p

#: `insufficient`: no outcome of so many trials could have decided.
Finding = Literal["better", "worse", "undecided", "insufficient"]
#: How often, of comparisons in which nothing differs, one may say otherwise.
ALPHA = 0.05
#: A difference below it does not matter, however sure it is.
MIN_EFFECT = 0.10
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Comparison:
    """A variant beside its baseline, over their tasks.

    Of `strata` trials of both arms were evaluated. `smallest_p` is the least mid-p that an outcome of so many trials
    could have had.
    """

    strata: tuple[Stratum, ...]
    difference: Difference
    test: ConditionalTest
    smallest_p: float


@dataclass(frozen=True)
class Decision:
    """What a comparison shows, with its p adjusted for the others; 1 where it is insufficient."""

    finding: Finding
    adjusted_p: float


def compare(strata: Iterable[Stratum], confidence: float = CONFIDENCE) -> Comparison:
    """Return the comparison of a variant with its baseline, task by task.

    Tasks with an empty arm are left out. Raises `ValueError` where no other is there.

    >>> compared = compare([Stratum(10, 10, 7, 10)])
    >>> f"{compared.difference.estimate:+.0%}, p = {compared.test.mid_p:.2f}"
    '+30%, p = 0.11'
    """
    usable = tuple(stratum for stratum in strata if stratum.both)
    apart = difference(usable, confidence)
    smallest = smallest_mid_p((stratum.trials, stratum.baseline_trials) for stratum in usable)
    return Comparison(usable, apart, conditional_test(usable), smallest)


def decide(
    comparisons: Sequence[Comparison], *, alpha: float = ALPHA, min_effect: float | Sequence[float] = MIN_EFFECT
) -> list[Decision]:
    """Return what comparisons show that are read together: the primary ones, each of a variant with its baseline.

    Their p are adjusted by Benjamini and Hochberg's procedure, so that of what is called better or worse at most a
    share of `alpha` is wrong on average. Those that could not have decided are no part of it. `min_effect` is one for
    all, or one for each.

    >>> [decided.finding for decided in decide([compare([Stratum(9, 10, 1, 10)]), compare([Stratum(2, 2, 0, 2)])])]
    ['better', 'insufficient']
    """
    check_level("alpha", alpha)
    floors = [min_effect] * len(comparisons) if isinstance(min_effect, int | float | str) else min_effect
    if len(floors) != len(comparisons):
        raise ValueError(f"there are {len(floors)} min_effects; there must be one, or as many as comparisons")
    for floor in floors:
        check_share("min_effect", floor)
    able = [comparison for comparison in comparisons if comparison.smallest_p <= alpha]
    adjusted = iter(benjamini_hochberg([comparison.test.mid_p for comparison in able]))
    decisions = []
    for comparison, floor in zip(comparisons, floors, strict=True):
        if comparison.smallest_p > alpha:
            decisions.append(Decision("insufficient", 1.0))
            continue
        p, apart = next(adjusted), comparison.difference.estimate
        if p > alpha or abs(apart) < floor - _ROUNDING:
            decisions.append(Decision("undecided", p))
        else:
            decisions.append(Decision("better" if apart > 0 else "worse", p))
    return decisions


def alpha_of_first(comparisons: int, alpha: float = ALPHA) -> float:
    """Return the p that the first of several comparisons must reach.

    None of the others has reached its own yet, so it is divided among all.

    >>> alpha_of_first(5)
    0.01
    """
    check_count("comparisons", comparisons, least=1)
    return alpha / comparisons


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for the false discovery rate.

    By Benjamini and Hochberg's procedure (1995), in the order in which they came.

    >>> [round(p, 6) for p in benjamini_hochberg([0.041, 0.001, 0.039])]
    [0.041, 0.003, 0.041]
    """
    for p in p_values:
        check_share("a p-value", p)
    count, adjusted, least = len(p_values), [1.0] * len(p_values), 1.0
    by_size = sorted(range(count), key=lambda place: p_values[place])
    for rank in range(count, 0, -1):
        place = by_size[rank - 1]
        least = min(least, p_values[place] * (count / rank))
        adjusted[place] = least
    return adjusted
