"""The exact test of two arms over several tasks.

Tasks are strata: within each the arms are compared, and no task's counts are pooled with another's. Given how many
trials of a task passed in both arms together, the passes of one arm are hypergeometric; the sum of them over tasks is
their convolution (Cox 1970; Zelen 1971). One task is Fisher's exact test, and one trial a task and arm is McNemar's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import comb, prod

from pytest_kiro.trials.checks import check_passes
from pytest_kiro.trials.distributions import product_of_polynomials


@dataclass(frozen=True)
class Stratum:
    """The evaluated trials of one task: those of a variant, and those of its baseline.

    >>> Stratum(5, 5, baseline_passes=2, baseline_trials=5).swapped()
    Stratum(passes=2, trials=5, baseline_passes=5, baseline_trials=5)
    """

    passes: int
    trials: int
    baseline_passes: int
    baseline_trials: int

    def __post_init__(self) -> None:
        check_passes(self.passes, self.trials, least=0)
        check_passes(self.baseline_passes, self.baseline_trials, least=0)

    @property
    def both(self) -> bool:
        """Whether trials of both arms were evaluated; a task with an empty arm tells nothing."""
        return bool(self.trials and self.baseline_trials)

    def swapped(self) -> Stratum:
        """Return the same counts with the arms in each other's place."""
        return Stratum(self.baseline_passes, self.baseline_trials, self.passes, self.trials)


@dataclass(frozen=True)
class ConditionalTest:
    """What the exact conditional test says: probabilities of the data, or of what is at least as extreme.

    `mid_p` and `exact_p` are two-sided: as extreme is every outcome that is no more probable (as in Fisher's test of R
    and of scipy). `greater` and `less` are one-sided: that the variant is better, that it is worse. Of the mid-p, the
    outcomes that are as probable as the data count half: the exact p is above what it claims, since outcomes are few.
    `smallest` is the least `exact_p` that these numbers of passes leave possible; 1 when all trials ended alike.
    """

    mid_p: float
    exact_p: float
    mid_p_greater: float
    greater: float
    mid_p_less: float
    less: float
    smallest: float


def conditional_test(strata: Iterable[Stratum]) -> ConditionalTest:
    """Return the stratified exact conditional test of a variant against its baseline.

    >>> tested = conditional_test([Stratum(5, 5, 2, 5), Stratum(4, 5, 2, 5), Stratum(3, 5, 1, 5)])
    >>> round(tested.exact_p, 6), round(tested.greater, 6)
    (0.025605, 0.012802)
    """
    weights, observed = _conditional_distribution(tuple(strata))
    total, weight = sum(weights), weights[observed]
    rarer = sum(other for other in weights if other < weight)
    as_rare = sum(other for other in weights if other == weight)
    below, above = sum(weights[:observed]), sum(weights[observed + 1 :])
    rarest = min(weights)
    return ConditionalTest(  # of whole numbers up to here, so that what ties is known to
        mid_p=(2 * rarer + as_rare) / (2 * total),
        exact_p=(rarer + as_rare) / total,
        mid_p_greater=(2 * above + weight) / (2 * total),
        greater=(above + weight) / total,
        mid_p_less=(2 * below + weight) / (2 * total),
        less=(below + weight) / total,
        smallest=rarest * weights.count(rarest) / total,
    )


def _conditional_distribution(strata: Sequence[Stratum]) -> tuple[list[int], int]:
    """Weigh each possible number of the variant's passes; which was observed?"""
    if not strata:
        raise ValueError("there are no strata; there must be at least one")
    factors, observed = [], 0
    for stratum in strata:
        together = stratum.passes + stratum.baseline_passes
        least, most = max(0, together - stratum.baseline_trials), min(together, stratum.trials)
        observed += stratum.passes - least
        factors.append(
            [comb(stratum.trials, x) * comb(stratum.baseline_trials, together - x) for x in range(least, most + 1)]
        )
    return product_of_polynomials(factors), observed


def smallest_mid_p(sizes: Iterable[tuple[int, int]]) -> float:
    """Return the smallest two-sided mid-p that a design can have.

    `sizes` are the trials of both arms, task by task. The outcome is that one arm passes all and the other none.

    >>> smallest_mid_p([(3, 3)]), smallest_mid_p([(2, 2)]).__round__(3)
    (0.05, 0.167)
    """
    sizes = tuple(sizes)
    ends = 2 if all(trials == other for trials, other in sizes) else 1  # else the other end is more probable
    return ends / (2 * prod(comb(trials + other, other) for trials, other in sizes))
