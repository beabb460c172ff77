"""Rates of passed trials, with their intervals.

A rate is a share from 0 to 1. `trials` are those that were evaluated: what infrastructure lost is never among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, sqrt
from statistics import fmean, stdev
from typing import NamedTuple

from pytest_kiro.trials.checks import check_count, check_level, check_passes, check_share
from pytest_kiro.trials.distributions import beta_quantile, normal_quantile, student_quantile

#: Of every interval that is shown, and of each one-sided bound that a gate asks.
CONFIDENCE = 0.95
#: Below so many tasks the rate of a suite has no interval.
FEWEST_TASKS = 5


class Interval(NamedTuple):
    """The values from `low` to `high` that the data leave open."""

    low: float
    high: float


def wilson(passes: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """Return Wilson's score interval of a rate (Wilson 1927).

    It is the one to show for a number of trials that was fixed beforehand: nominal 95 % cover 95 % on average.

    >>> print("[{:.0%}, {:.0%}]".format(*wilson(6, 7)))
    [49%, 97%]
    """
    check_passes(passes, trials)
    check_level("confidence", confidence)
    return _wilson(passes / trials, trials, confidence)


def _wilson(rate: float, trials: int, confidence: float) -> Interval:
    z2 = normal_quantile((1 + confidence) / 2) ** 2
    center = (rate + z2 / (2 * trials)) / (1 + z2 / trials)
    half = sqrt(z2 * (rate * (1 - rate) / trials + z2 / (4 * trials**2))) / (1 + z2 / trials)
    return Interval(0.0 if rate == 0 else center - half, 1.0 if rate == 1 else center + half)


def clopper_pearson(passes: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """Return the exact two-sided interval of a rate (Clopper and Pearson 1934).

    Each side is missed in at most half of the rest, so it covers at least what it says, also where trials were stopped
    because the verdict was certain.

    >>> print("[{:.1%}, {:.1%}]".format(*clopper_pearson(10, 10)))
    [69.2%, 100.0%]
    """
    check_level("confidence", confidence)
    one_sided = (1 + confidence) / 2
    return Interval(lower_bound(passes, trials, one_sided), upper_bound(passes, trials, one_sided))


def lower_bound(passes: int, trials: int, confidence: float = CONFIDENCE) -> float:
    """Return the exact one-sided lower bound of a rate.

    It is the rate at which so many passes or more have the probability 1 - `confidence`.

    >>> round(lower_bound(14, 14), 3)
    0.807
    """
    check_passes(passes, trials)
    check_level("confidence", confidence)
    return beta_quantile(1 - confidence, passes, trials - passes + 1) if passes else 0.0


def upper_bound(passes: int, trials: int, confidence: float = CONFIDENCE) -> float:
    """Return the exact one-sided upper bound of a rate.

    It is the rate at which so many passes or fewer have the probability 1 - `confidence`.

    >>> round(upper_bound(6, 9), 3)
    0.902
    """
    check_passes(passes, trials)
    check_level("confidence", confidence)
    return 1 - beta_quantile(1 - confidence, trials - passes, passes + 1) if passes < trials else 1.0


def possible_rates(passes: int, trials: int, lost: int) -> Interval:
    """Return the rates that lost trials leave open: had all of them failed, had all of them passed.

    >>> possible_rates(6, 7, lost=1)
    Interval(low=0.75, high=0.875)
    """
    check_passes(passes, trials, least=0)
    check_count("lost", lost)
    if not trials + lost:
        raise ValueError("trials and lost are both 0; at least one trial must have been run")
    return Interval(passes / (trials + lost), (passes + lost) / (trials + lost))


# -- several trials at once


def pass_hat_k(passes: int, trials: int, k: int) -> float:
    """Return the unbiased estimate of pass^k, k passes in a row.

    C(passes, k) / C(trials, k): of all unbiased ones the one that varies least, for rankings. (passes/trials)^k is too
    high on average. The uncertainty is `pass_hat_k_interval`.

    >>> pass_hat_k(4, 5, 3)
    0.4
    """
    _check_k(passes, trials, k)
    return comb(passes, k) / comb(trials, k)


def pass_at_k(passes: int, trials: int, k: int) -> float:
    """Return the unbiased estimate of pass@k, one pass of k trials.

    1 - C(failures, k) / C(trials, k) (Chen et al. 2021).

    >>> round(pass_at_k(3, 5, 2), 6)
    0.9
    """
    _check_k(passes, trials, k)
    every = comb(trials, k)
    return (every - comb(trials - passes, k)) / every  # rounded once, so that a wanted rate is reached by it


def pass_hat_k_interval(passes: int, trials: int, k: int, confidence: float = CONFIDENCE) -> Interval:
    """Return the exact interval of pass^k: that of the rate, to the power of k.

    It covers as the rate's does, since p^k rises with p.

    >>> print("[{:.1%}, {:.1%}]".format(*pass_hat_k_interval(4, 5, 3)))
    [2.3%, 98.5%]
    """
    _check_k(passes, trials, k)
    low, high = clopper_pearson(passes, trials, confidence)
    return Interval(low**k, high**k)


def pass_at_k_interval(passes: int, trials: int, k: int, confidence: float = CONFIDENCE) -> Interval:
    """Return the exact interval of pass@k: that of the rate, mapped.

    By 1 - (1 - p)^k, which rises with p.

    >>> print("[{:.1%}, {:.1%}]".format(*pass_at_k_interval(3, 5, 2)))
    [27.2%, 99.7%]
    """
    _check_k(passes, trials, k)
    low, high = clopper_pearson(passes, trials, confidence)
    return Interval(1 - (1 - low) ** k, 1 - (1 - high) ** k)


def _check_k(passes: int, trials: int, k: int) -> None:
    check_passes(passes, trials)
    check_count("k", k, least=1)
    if k > trials:
        raise ValueError(f"k is {k!r}; it must be at most the number of trials, {trials!r}")


# -- several tasks


@dataclass(frozen=True)
class SuiteRate:
    """The mean rate of several tasks, and its interval over tasks.

    The interval is None below five tasks."""

    mean: float
    tasks: int
    interval: Interval | None


def suite_rate(task_rates: Sequence[float], confidence: float = CONFIDENCE) -> SuiteRate:
    """Return the rate of a suite: the mean over its tasks, each of which counts once.

    Tasks differ, and trials of one task are alike: what a suite's number is uncertain by is the spread between tasks.
    Where all tasks have the same rate there is no spread to learn from, and Wilson's interval of so many tasks stands
    in. Rates may as well be any per-task shares, such as pass^k.

    >>> suite_rate([1, 0.8, 0.6, 1, 0.2, 0.4]).mean.__round__(3)
    0.667
    """
    if not task_rates:
        raise ValueError("task_rates is empty; there must be at least one task")
    for rate in task_rates:
        check_share("a task's rate", rate)
    mean, tasks = fmean(task_rates), len(task_rates)
    if tasks < FEWEST_TASKS:
        return SuiteRate(mean, tasks, None)
    if min(task_rates) == max(task_rates):
        return SuiteRate(mean, tasks, _wilson(task_rates[0], tasks, confidence))
    low, high = t_interval(task_rates, confidence)
    return SuiteRate(mean, tasks, Interval(max(low, 0.0), min(high, 1.0)))


def t_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Return Student's interval of a mean: mean ± t · s / √n with n - 1 degrees of freedom.

    >>> print("[{:.3f}, {:.3f}]".format(*t_interval([1, 0.8, 0.6, 1, 0.2, 0.4])))
    [0.324, 1.009]
    """
    check_level("confidence", confidence)
    if len(values) < 2:
        raise ValueError(f"there are {len(values)} values; there must be at least 2")
    half = student_quantile((1 + confidence) / 2, len(values) - 1) * stdev(values) / sqrt(len(values))
    return Interval(fmean(values) - half, fmean(values) + half)
