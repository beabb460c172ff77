"""Rates and their intervals: known numbers, coverage by enumeration, and what cannot be counted."""

from __future__ import annotations

import random
from math import inf, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statistics_data import VECTORS, about

from pytest_kiro.trials.distributions import binomial_probabilities, student_quantile
from pytest_kiro.trials.rates import (
    clopper_pearson,
    lower_bound,
    pass_at_k,
    pass_at_k_interval,
    pass_hat_k,
    pass_hat_k_interval,
    possible_rates,
    suite_rate,
    t_interval,
    upper_bound,
    wilson,
)

NO_COUNTS = [(0, 0), (-1, 3), (4, 3), (1, -3), (1.0, 3), (1, 3.0), (True, 3), (nan, 3), (1, 1_000_000), ("1", 3)]
few = settings(max_examples=40)
counts = st.integers(1, 60).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials)))


def test_known_intervals() -> None:
    for known in VECTORS["intervals"]:
        asked = known["passes"], known["trials"], known["confidence"]
        assert wilson(*asked) == about(known["wilson"]), known
        assert clopper_pearson(*asked) == about(known["clopper_pearson"]), known


def test_known_bounds() -> None:
    for known in VECTORS["bounds"]:
        assert lower_bound(known["passes"], known["trials"]) == about(known["lower"])
        assert upper_bound(known["passes"], known["trials"]) == about(known["upper"])


def test_known_rates_of_several_trials() -> None:
    for known in VECTORS["several"]:
        asked = known["passes"], known["trials"], known["k"]
        assert pass_at_k(*asked) == about(known["pass_at_k"])
        assert pass_hat_k(*asked) == about(known["pass_hat_k"])
        assert pass_at_k_interval(*asked) == about(known["pass_at_k_interval"])
        assert pass_hat_k_interval(*asked) == about(known["pass_hat_k_interval"])


def test_known_rate_of_a_suite() -> None:
    known = VECTORS["suite"]
    assert t_interval(known["task_rates"]) == about(known["t_interval"])
    rate = suite_rate(known["task_rates"])
    assert (rate.mean, rate.tasks) == (about(known["mean"]), 6)
    assert rate.interval == (about(known["t_interval"][0]), 1.0), "a rate is at most 1"
    for df, quantile in known["student_quantile_975"]:
        assert student_quantile(0.975, df) == about(quantile)


@pytest.mark.parametrize(("interval", "worst"), [(wilson, 0.82), (clopper_pearson, 0.95)])
def test_nominal_95_percent_cover_95(interval, worst: float) -> None:
    """By exact enumeration: at least 93 % on average over true rates, for each number of trials."""
    rates = [step / 100 for step in range(5, 96)]
    for trials in range(3, 21):
        intervals = [interval(passes, trials) for passes in range(trials + 1)]
        covered = [
            sum(
                chance
                for chance, (low, high) in zip(binomial_probabilities(trials, rate), intervals, strict=True)
                if low <= rate <= high
            )
            for rate in rates
        ]
        assert sum(covered) / len(covered) >= 0.93, trials
        assert min(covered) >= worst, trials


def test_the_interval_of_a_suite_covers_what_differs_between_tasks() -> None:
    """Trials of all tasks pooled would be sure of too much; seeded."""
    coin, suites, covered = random.Random(13), 600, {"tasks": 0, "pooled": 0}
    for _ in range(suites):
        passes = [
            sum(coin.random() < rate for _ in range(5)) for rate in (coin.betavariate(1.5, 1.5) for _ in range(8))
        ]
        low, high = suite_rate([count / 5 for count in passes]).interval
        covered["tasks"] += low <= 0.5 <= high
        low, high = wilson(sum(passes), 40)
        covered["pooled"] += low <= 0.5 <= high
    assert covered["tasks"] / suites >= 0.93
    assert covered["pooled"] / suites < 0.9


@few
@given(counts)
def test_intervals_are_symmetric(count: tuple[int, int]) -> None:
    passes, trials = count
    for interval in (wilson, clopper_pearson):
        low, high = interval(passes, trials)
        assert 0 <= low <= passes / trials <= high <= 1
        assert interval(trials - passes, trials) == pytest.approx((1 - high, 1 - low), abs=1e-12)


@few
@given(counts, st.floats(0.5, 0.98))
def test_intervals_grow_with_passes_and_with_confidence(count: tuple[int, int], confidence: float) -> None:
    passes, trials = count
    for interval in (wilson, clopper_pearson):
        low, high = interval(passes, trials, confidence)
        surer = interval(passes, trials, confidence + 0.01)
        assert surer[0] <= low <= high <= surer[1]
        if passes < trials:
            more = interval(passes + 1, trials, confidence)
            assert low < more[0]
            assert high <= more[1]


@few
@given(counts, st.data())
def test_rates_of_several_trials_lie_in_their_intervals(count: tuple[int, int], data: st.DataObject) -> None:
    passes, trials = count
    k = data.draw(st.integers(1, trials))
    assert pass_hat_k(passes, trials, k) <= pass_hat_k(passes, trials, 1) == passes / trials
    assert pass_at_k(passes, trials, k) >= passes / trials - 1e-12
    low, high = pass_hat_k_interval(passes, trials, k)
    assert low <= (passes / trials) ** k <= high
    low, high = pass_at_k_interval(passes, trials, k)
    assert low <= 1 - (1 - passes / trials) ** k + 1e-12
    assert 1 - (1 - passes / trials) ** k <= high + 1e-12


@few
@given(st.floats(0, 1), st.integers(1, 12), st.data())
def test_estimates_of_several_trials_are_unbiased(rate: float, trials: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, trials))
    chances = list(enumerate(binomial_probabilities(trials, rate)))
    assert sum(chance * pass_hat_k(passes, trials, k) for passes, chance in chances) == pytest.approx(rate**k, abs=1e-9)
    one_of = sum(chance * pass_at_k(passes, trials, k) for passes, chance in chances)
    assert one_of == pytest.approx(1 - (1 - rate) ** k, abs=1e-9)


def test_lost_trials_leave_a_range_open() -> None:
    assert possible_rates(6, 7, lost=1) == (0.75, 0.875)
    assert possible_rates(0, 0, lost=3) == (0, 1)
    assert possible_rates(3, 3, lost=0) == (1, 1)


def test_a_suite_of_few_tasks_has_no_interval() -> None:
    assert suite_rate([1, 0, 1, 0]).interval is None
    assert suite_rate([1, 0, 1, 0, 1]).interval is not None


def test_a_suite_whose_tasks_agree_is_as_sure_as_so_many_tasks() -> None:
    assert suite_rate([1.0] * 8).interval == wilson(8, 8)
    assert suite_rate([0.5] * 8).interval == wilson(4, 8)
    low, high = suite_rate([0.6] * 8).interval
    assert wilson(4, 8)[0] < low < 0.6 < high < wilson(5, 8)[1]


@pytest.mark.parametrize("function", [wilson, clopper_pearson, lower_bound, upper_bound])
@pytest.mark.parametrize(("passes", "trials"), NO_COUNTS)
def test_what_are_no_counts_is_refused(function, passes, trials) -> None:
    with pytest.raises(ValueError, match=r"^(passes|trials) is .*; it must be "):
        function(passes, trials)


@pytest.mark.parametrize("confidence", [0, 1, -0.5, 1.2, nan, inf, True, "0.9"])
def test_what_is_no_confidence_is_refused(confidence) -> None:
    for function in (wilson, clopper_pearson, lower_bound, upper_bound):
        with pytest.raises(ValueError, match=r"confidence is .*; it must be between 0 and 1"):
            function(1, 2, confidence)
    with pytest.raises(ValueError, match=r"confidence is .*; it must be between 0 and 1"):
        t_interval([0, 1], confidence)


@pytest.mark.parametrize("k", [0, -1, 4, 1.5, nan])
def test_what_cannot_be_asked_of_so_many_trials_is_refused(k) -> None:
    for function in (pass_hat_k, pass_at_k, pass_hat_k_interval, pass_at_k_interval):
        with pytest.raises(ValueError, match=r"^k is .*; it must be "):
            function(2, 3, k)


def test_what_is_no_suite_is_refused() -> None:
    with pytest.raises(ValueError, match="there must be at least one task"):
        suite_rate([])
    for rate in (-0.1, 1.2, nan, "1"):
        with pytest.raises(ValueError, match=r"a task's rate is .*; it must be from 0 to 1"):
            suite_rate([1, rate])
    with pytest.raises(ValueError, match="there must be at least 2"):
        t_interval([1])
    with pytest.raises(ValueError, match="at least one trial"):
        possible_rates(0, 0, lost=0)
    with pytest.raises(ValueError, match="lost is -1"):
        possible_rates(1, 2, lost=-1)
