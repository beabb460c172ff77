"""The statistics of trials against scipy and statsmodels, on seeded random data beside the numbers that are kept."""

from __future__ import annotations

import importlib
import random
from itertools import product

import pytest

from pytest_kiro.trials.comparison import benjamini_hochberg
from pytest_kiro.trials.differences import newcombe
from pytest_kiro.trials.distributions import (
    beta_cdf,
    beta_quantile,
    binomial_at_least,
    binomial_at_most,
    binomial_probabilities,
    student_quantile,
)
from pytest_kiro.trials.measures import Values, rank_test
from pytest_kiro.trials.rates import clopper_pearson, lower_bound, t_interval, upper_bound, wilson
from pytest_kiro.trials.strata import Stratum, conditional_test


def test_special_functions() -> None:
    special = importlib.import_module("scipy.special")  # a second of CPU; the rest of scipy and statsmodels take ten
    coin = random.Random(1)
    for _ in range(500):
        a, b = (coin.choice([0.5, 1, 2, 7.5, coin.uniform(0.5, 300)]) for _ in range(2))
        assert beta_cdf(x := coin.random(), a, b) == pytest.approx(special.betainc(a, b, x), abs=1e-11)
        a, b, p = coin.randint(1, 80), coin.randint(1, 80), coin.choice([0.005, 0.025, 0.05, 0.5, 0.95, 0.995])
        assert beta_quantile(p, a, b) == pytest.approx(special.betaincinv(a, b, p), rel=1e-9)
    for df, p in product((1, 2, 3, 4, 7, 29, 30, 31, 500), (0.75, 0.95, 0.975, 0.9995)):
        assert student_quantile(p, df) == pytest.approx(special.stdtrit(df, p), rel=1e-9)


def test_many_trials_are_counted_as_well() -> None:
    special = importlib.import_module("scipy.special")
    for passes, trials in ((1, 10_000), (5_000, 10_000), (9_999, 10_000), (10_000, 10_000)):
        assert lower_bound(passes, trials) == pytest.approx(
            special.betaincinv(passes, trials - passes + 1, 0.05), rel=1e-8
        )


def test_rates() -> None:
    stats = importlib.import_module("scipy.stats")
    proportion_confint = importlib.import_module("statsmodels.stats.proportion").proportion_confint
    for trials, confidence in product((1, 2, 3, 5, 10, 29), (0.8, 0.95, 0.99)):
        for passes in range(trials + 1):
            tested = stats.binomtest(passes, trials)
            for ours, theirs in ((wilson, "wilson"), (clopper_pearson, "exact")):
                interval = tested.proportion_ci(confidence, method=theirs)
                assert ours(passes, trials, confidence) == pytest.approx((interval.low, interval.high), abs=1e-9)
            one_sided = stats.binomtest(passes, trials, alternative="greater").proportion_ci(confidence)
            assert lower_bound(passes, trials, confidence) == pytest.approx(one_sided.low, abs=1e-9)
            one_sided = stats.binomtest(passes, trials, alternative="less").proportion_ci(confidence)
            assert upper_bound(passes, trials, confidence) == pytest.approx(one_sided.high, abs=1e-9)
            other = proportion_confint(passes, trials, alpha=1 - confidence, method="beta")
            assert clopper_pearson(passes, trials, confidence) == pytest.approx(other, abs=1e-9)


def test_distributions() -> None:
    stats = importlib.import_module("scipy.stats")
    for trials, rate in product((1, 2, 7, 30, 200), (0, 0.01, 0.3, 0.5, 0.97, 1)):
        law = stats.binom(trials, rate)
        assert binomial_probabilities(trials, rate) == pytest.approx(law.pmf(range(trials + 1)), abs=1e-12)
        for passes in range(-1, trials + 2):
            assert binomial_at_most(passes, trials, rate) == pytest.approx(law.cdf(passes), abs=1e-12)
            assert binomial_at_least(passes, trials, rate) == pytest.approx(law.sf(passes - 1), abs=1e-12)
    coin = random.Random(2)
    for size in (2, 3, 5, 30, 50):
        values = [coin.gauss(0, 1) for _ in range(size)]
        interval = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        assert t_interval(values) == pytest.approx((interval.low, interval.high))


def test_two_arms() -> None:
    stats = importlib.import_module("scipy.stats")
    confint_proportions_2indep = importlib.import_module("statsmodels.stats.proportion").confint_proportions_2indep
    coin = random.Random(3)
    for _ in range(300):
        n1, n2 = coin.randint(1, 25), coin.randint(1, 25)
        arms = Stratum(coin.randint(0, n1), n1, coin.randint(0, n2), n2)
        table = [[arms.passes, n1 - arms.passes], [arms.baseline_passes, n2 - arms.baseline_passes]]
        tested = conditional_test([arms])
        for ours, alternative in (("exact_p", "two-sided"), ("greater", "greater"), ("less", "less")):
            theirs = stats.fisher_exact(table, alternative=alternative).pvalue
            assert getattr(tested, ours) == pytest.approx(theirs), table
        interval = confint_proportions_2indep(arms.passes, n1, arms.baseline_passes, n2, method="newcomb")
        assert newcombe(arms).interval == pytest.approx(interval, abs=1e-9)


def test_pairs() -> None:
    mcnemar = importlib.import_module("statsmodels.stats.contingency_tables").mcnemar
    for better, worse in product(range(9), repeat=2):
        if better + worse:
            of = [Stratum(1, 1, 0, 1)] * better + [Stratum(0, 1, 1, 1)] * worse
            assert conditional_test(of).exact_p == pytest.approx(mcnemar([[0, better], [worse, 0]]).pvalue)


def test_numbers() -> None:
    stats = importlib.import_module("scipy.stats")
    coin = random.Random(4)
    for _ in range(60):
        drawn = coin.sample(range(1000), coin.randint(2, 18))
        cut = coin.randint(1, len(drawn) - 1)
        values, others = tuple(drawn[:cut]), tuple(drawn[cut:])
        exact = stats.mannwhitneyu(values, others, method="exact").pvalue
        assert rank_test([Values(values, others)]) == pytest.approx(exact)
        tied = tuple(value % 7 for value in values), tuple(value % 7 for value in others)
        if len({*tied[0], *tied[1]}) > 1:
            approximate = stats.mannwhitneyu(*tied, method="asymptotic").pvalue
            assert rank_test([Values(*tied)], exact=False) == pytest.approx(approximate)


def test_many_p() -> None:
    multipletests = importlib.import_module("statsmodels.stats.multitest").multipletests
    coin = random.Random(5)
    for size in (1, 2, 5, 40):
        p_values = [coin.random() ** 3 for _ in range(size)]
        assert benjamini_hochberg(p_values) == pytest.approx(multipletests(p_values, method="fdr_bh")[1])
