"""Intervals for samples that grow because of what they show.

An ordinary interval holds for a number of trials that was fixed beforehand. Who looks after each trial, or adds trials
until it suits, is wrong far more often than 5 %; with these intervals at most in 5 % of all such histories.
"""

from __future__ import annotations

from collections.abc import Callable
from math import lgamma, log, log1p

from pytest_kiro.trials.checks import check_level, check_passes
from pytest_kiro.trials.rates import CONFIDENCE, Interval


def confidence_sequence(passes: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """Return the interval of a rate that holds however often one looks.

    By the mixture of likelihoods over Beta(½, ½), divided by the likelihood of a rate: a martingale at the true rate,
    which reaches 1 / (1 - confidence) in at most 1 - confidence of all histories (Ville 1939; Robbins 1970). Rates for
    which it has not are in the interval. It is wider than `clopper_pearson`'s: that is its price.

    >>> [round(end, 3) for end in confidence_sequence(7, 10)]
    [0.252, 0.967]
    """
    check_passes(passes, trials)
    check_level("confidence", confidence)
    failures = trials - passes
    mixture = _log_beta(passes + 0.5, failures + 0.5) - _log_beta(0.5, 0.5)

    def rejected(rate: float) -> bool:
        likelihood = (passes * log(rate) if passes else 0.0) + (failures * log1p(-rate) if failures else 0.0)
        return mixture - likelihood >= -log1p(-confidence)

    observed = passes / trials
    low = _border(0.0, observed, rejected) if passes else 0.0
    high = _border(1.0, observed, rejected) if failures else 1.0
    return Interval(low, high)


def _border(outside: float, inside: float, rejected: Callable[[float], bool]) -> float:
    """Find by halving where rejected rates end."""
    while (middle := (outside + inside) / 2) not in (outside, inside):
        outside, inside = (middle, inside) if rejected(middle) else (outside, middle)
    return inside


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)
