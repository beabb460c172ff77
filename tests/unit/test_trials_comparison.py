"""Comparison of arms: known numbers, brute force, errors by enumeration and simulation, and what cannot be compared."""

from __future__ import annotations

import itertools
import random
from math import comb, nan, prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statistics_data import VECTORS, about

from pytest_kiro.trials.comparison import Comparison, benjamini_hochberg, compare, decide
from pytest_kiro.trials.differences import difference, mantel_haenszel, newcombe
from pytest_kiro.trials.distributions import binomial_probabilities
from pytest_kiro.trials.power import detectable_difference, power
from pytest_kiro.trials.rates import clopper_pearson
from pytest_kiro.trials.sequential import confidence_sequence
from pytest_kiro.trials.strata import Stratum, conditional_test, smallest_mid_p

arm = st.integers(1, 8).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials)))
stratum = st.builds(lambda one, other: Stratum(*one, *other), arm, arm)
few = settings(max_examples=30)
strata = st.lists(stratum, min_size=1, max_size=6)


def finding(*of: Stratum, **asked: float) -> str:
    return decide([compare(of)], **asked)[0].finding


# -- the exact test


def test_known_stratified_tests() -> None:
    for known in VECTORS["stratified"]:
        tested = conditional_test([Stratum(*counts) for counts in known["strata"]])
        assert tested.exact_p == about(known["two_sided"])
        assert tested.greater == about(known["greater"])
        assert tested.mid_p_greater == about(known["mid_p_greater"])
        assert tested.smallest == about(known["smallest"])


def test_one_task_is_fishers_test() -> None:
    for known in VECTORS["two_arms"]:
        assert conditional_test([Stratum(*known["arm"], *known["baseline"])]).exact_p == about(known["fisher"])


def test_one_trial_a_task_is_mcnemars_test() -> None:
    """Where both win alike its mid-p is 1 - f/2 (Fagerland, Lydersen and Laake 2013); the number there is 1 - f."""
    for known in VECTORS["mcnemar"]:
        agreeing = [Stratum(1, 1, 1, 1), Stratum(0, 1, 0, 1)]
        better, worse = known["better"], known["worse"]
        tested = conditional_test([*agreeing, *[Stratum(1, 1, 0, 1)] * better, *[Stratum(0, 1, 1, 1)] * worse])
        assert tested.exact_p == about(known["exact"])
        assert tested.mid_p == about(known["mid_p"] if better != worse else (1 + known["mid_p"]) / 2)


@few
@given(st.lists(stratum, min_size=1, max_size=3))
def test_the_test_is_what_counting_all_outcomes_says(of: list[Stratum]) -> None:
    """Each way in which the passes of a task may fall to its arms is as probable as the hypergeometric law says."""
    chances: dict[int, int] = {}
    ways = [range(one.passes + one.baseline_passes + 1) for one in of]
    for shares in itertools.product(*ways):
        weight = prod(
            comb(one.trials, share) * comb(one.baseline_trials, one.passes + one.baseline_passes - share)
            for one, share in zip(of, shares, strict=True)
        )
        if weight:
            chances[sum(shares)] = chances.get(sum(shares), 0) + weight
    observed, total = sum(one.passes for one in of), sum(chances.values())
    weight = chances[observed]
    tested = conditional_test(of)
    assert tested.exact_p == sum(w for w in chances.values() if w <= weight) / total
    assert tested.greater == sum(w for passes, w in chances.items() if passes >= observed) / total
    assert tested.less == sum(w for passes, w in chances.items() if passes <= observed) / total
    halves = sum(2 * w if w < weight else w for w in chances.values() if w <= weight)
    assert tested.mid_p == halves / (2 * total)


@few
@given(strata)
def test_swapped_arms_have_the_same_p(of: list[Stratum]) -> None:
    tested, swapped = conditional_test(of), conditional_test([one.swapped() for one in of])
    assert (tested.mid_p, tested.exact_p, tested.smallest) == (swapped.mid_p, swapped.exact_p, swapped.smallest)
    assert (tested.greater, tested.mid_p_greater) == (swapped.less, swapped.mid_p_less)
    compared, other = compare(of), compare([one.swapped() for one in of])
    low, high = compared.difference.interval
    assert other.difference.estimate == pytest.approx(-compared.difference.estimate)
    assert other.difference.interval == pytest.approx((-high, -low))
    turned = {"better": "worse", "worse": "better"}
    word = decide([compared])[0].finding
    assert decide([other])[0].finding == turned.get(word, word)


@few
@given(strata, st.randoms(use_true_random=False))
def test_the_order_of_tasks_does_not_matter(of: list[Stratum], shuffler: random.Random) -> None:
    shuffled = shuffler.sample(of, len(of))
    assert conditional_test(shuffled) == conditional_test(of)
    assert difference(shuffled).estimate == pytest.approx(difference(of).estimate)
    assert difference(shuffled).interval == pytest.approx(difference(of).interval)


@few
@given(strata)
def test_parts_of_a_test_agree(of: list[Stratum]) -> None:
    tested = conditional_test(of)
    assert 0 < tested.mid_p <= tested.exact_p <= 1
    assert tested.smallest <= tested.exact_p
    assert tested.mid_p_greater + tested.mid_p_less == pytest.approx(1)
    assert 0 < tested.mid_p_greater < tested.greater
    assert smallest_mid_p((one.trials, one.baseline_trials) for one in of) <= tested.smallest / 2 * (1 + 1e-9)


@few
@given(strata, st.data())
def test_a_pass_more_never_speaks_against_a_variant(of: list[Stratum], data: st.DataObject) -> None:
    failing = [place for place, one in enumerate(of) if one.passes < one.trials]
    if failing:
        place = data.draw(st.sampled_from(failing))
        one = of[place]
        better = [*of]
        better[place] = Stratum(one.passes + 1, one.trials, one.baseline_passes, one.baseline_trials)
        assert conditional_test(better).greater <= conditional_test(of).greater + 1e-12
        assert difference(better).estimate > difference(of).estimate


def test_the_smallest_p_of_a_design_is_that_of_its_best_outcome() -> None:
    for sizes in ([(3, 3)], [(5, 3)], [(1, 4)], [(3, 3), (2, 2)], [(3, 3), (2, 4)], [(1, 1)] * 5, [(2, 3), (3, 2)]):
        ways = itertools.product(*(itertools.product(range(one + 1), range(other + 1)) for one, other in sizes))
        smallest = min(
            conditional_test(
                Stratum(passes, one, others, other) for (passes, others), (one, other) in zip(way, sizes, strict=True)
            ).mid_p
            for way in ways
        )
        assert smallest_mid_p(sizes) == pytest.approx(smallest), sizes


# -- differences


def test_known_differences() -> None:
    for known in VECTORS["two_arms"]:
        estimate, interval = newcombe(Stratum(*known["arm"], *known["baseline"]))
        assert interval == about(known["newcombe"])
        assert interval.low <= estimate <= interval.high
    for known in VECTORS["stratified"]:
        estimate, interval = mantel_haenszel([Stratum(*counts) for counts in known["strata"]])
        assert estimate == about(known["difference"])
        assert interval == about([max(-1, known["sato"][0]), min(1, known["sato"][1])])


def test_arms_of_one_size_have_newcombes_interval() -> None:
    pooled = newcombe(Stratum(12, 15, 5, 15))
    assert difference([Stratum(5, 5, 2, 5), Stratum(4, 5, 2, 5), Stratum(3, 5, 1, 5)]) == pooled


def test_arms_of_two_sizes_are_weighted_within_tasks() -> None:
    """Simpson's: in each task the variant is better by 20 points; its trials are those of the harder task."""
    of = [Stratum(9, 10, 35, 50), Stratum(15, 50, 1, 10)]
    assert difference(of) == mantel_haenszel(of)
    assert difference(of).estimate == pytest.approx(0.2)
    assert newcombe(Stratum(24, 60, 36, 60)).estimate == pytest.approx(-0.2)


def test_an_interval_never_shrinks_to_a_point() -> None:
    estimate, interval = mantel_haenszel([Stratum(3, 3, 0, 2)])
    assert (estimate, interval) == (1, (1, 1))
    estimate, (low, high) = difference([Stratum(3, 3, 0, 2)])
    assert estimate == 1
    assert 0 < low < high == 1
    assert difference([Stratum(3, 3, 4, 4)]).interval.low < 0 < difference([Stratum(3, 3, 4, 4)]).interval.high


@pytest.mark.parametrize("trials", [5, 10, 20])
def test_newcombes_interval_covers(trials: int) -> None:
    """By enumeration, on average over pairs of true rates."""
    of = list(itertools.product(range(trials + 1), repeat=2))
    intervals = {(x, y): newcombe(Stratum(x, trials, y, trials)).interval for x, y in of}
    rates = [0.05, 0.25, 0.5, 0.75, 0.95]
    chances = {rate: binomial_probabilities(trials, rate) for rate in rates}
    covered = [
        sum(chances[p][x] * chances[q][y] for x, y in of if intervals[x, y].low <= p - q <= intervals[x, y].high)
        for p, q in itertools.product(rates, repeat=2)
    ]
    assert sum(covered) / len(covered) >= 0.95
    assert min(covered) >= 0.91


# -- decisions


def test_what_is_better_and_what_is_worse() -> None:
    assert finding(Stratum(10, 10, 3, 10)) == "better"
    assert finding(Stratum(3, 10, 10, 10)) == "worse"
    assert finding(Stratum(7, 10, 5, 10)) == "undecided"
    assert finding(Stratum(10, 10, 10, 10)) == "undecided"


def test_too_few_trials_are_insufficient_whatever_they_say() -> None:
    assert finding(Stratum(2, 2, 0, 2)) == "insufficient"
    assert finding(*[Stratum(1, 1, 0, 1)] * 4) == "insufficient"
    assert finding(*[Stratum(1, 1, 0, 1)] * 5) == "better"
    assert finding(Stratum(3, 3, 0, 3)) == "better", "its mid-p is 0.05"
    assert finding(Stratum(3, 3, 0, 3), alpha=0.049) == "insufficient"


def test_a_difference_too_small_to_matter_decides_nothing() -> None:
    small = [Stratum(100, 100, 92, 100)] * 3
    assert compare(small).test.mid_p < 0.001
    assert finding(*small) == "undecided"
    assert finding(*small, min_effect=0.08) == "better"
    assert finding(*small, min_effect=0) == "better"


def test_each_comparison_may_have_a_floor_of_its_own() -> None:
    small = compare([Stratum(100, 100, 92, 100)] * 3)
    both = decide([small, small], min_effect=[0.05, 0.1])
    assert [decided.finding for decided in both] == ["better", "undecided"]
    assert both[0].adjusted_p == both[1].adjusted_p, "but they are adjusted together"
    with pytest.raises(ValueError, match="there are 1 min_effects; there must be one, or as many as comparisons"):
        decide([small, small], min_effect=[0.05])
    with pytest.raises(ValueError, match=r"min_effect is 1\.5"):
        decide([small], min_effect=[1.5])


def test_tasks_with_an_empty_arm_tell_nothing() -> None:
    full = Stratum(10, 10, 3, 10)
    assert compare([full, Stratum(0, 0, 5, 5), Stratum(5, 5, 0, 0)]) == compare([full])
    assert compare([full, Stratum(0, 0, 5, 5)]).strata == (full,)


def test_comparisons_that_are_read_together_are_adjusted_together() -> None:
    near = compare([Stratum(9, 10, 4, 10)])
    assert 0.025 < near.test.mid_p < 0.05
    none = compare([Stratum(5, 10, 5, 10)])
    assert [decided.finding for decided in decide([near])] == ["better"]
    assert [decided.finding for decided in decide([near, none])] == ["undecided", "undecided"]
    hopeless = compare([Stratum(1, 1, 1, 1)])
    decided = decide([hopeless, near])
    assert [one.finding for one in decided] == ["insufficient", "better"], "what could not decide takes nothing away"
    assert decided[1].adjusted_p == near.test.mid_p


def test_known_adjusted_p() -> None:
    known = VECTORS["benjamini_hochberg"]
    assert benjamini_hochberg(known["p"]) == about(known["adjusted"])
    assert benjamini_hochberg([]) == []


@few
@given(st.lists(st.floats(0, 1), max_size=12), st.randoms(use_true_random=False))
def test_adjusting_knows_no_order(p_values: list[float], shuffler: random.Random) -> None:
    adjusted = benjamini_hochberg(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    order = shuffler.sample(range(len(p_values)), len(p_values))
    assert benjamini_hochberg([p_values[place] for place in order]) == [adjusted[place] for place in order]


# -- how often a comparison is wrong


def chances_of(found: str | None, trials: int, tasks: int, rates: list[list[float]]) -> list[float]:
    """By enumeration: the chance of a finding, or of any, where arms do not differ; for each list of tasks' rates."""
    arms = list(itertools.product(range(trials + 1), repeat=2))
    pairs = [[binomial_probabilities(trials, rate) for rate in of] for of in rates]
    chances = [0.0] * len(rates)
    for way in itertools.product(arms, repeat=tasks):
        word = finding(*(Stratum(x, trials, y, trials) for x, y in way), min_effect=0)
        if word == found or (found is None and word in ("better", "worse")):
            for place, of in enumerate(pairs):
                chances[place] += prod(law[x] * law[y] for law, (x, y) in zip(of, way, strict=True))
    return chances


@pytest.mark.parametrize("trials", [3, 5, 8, 10, 11, 16])
def test_false_alarms_of_one_task(trials: int) -> None:
    """At most 5 % on average over rates, whichever way; red is one way, and rarer than half of it at any rate."""
    rates = [[step / 20] for step in range(1, 20)]
    either = chances_of(None, trials, 1, rates)
    assert sum(either) / len(either) <= 0.05
    assert max(either) <= 0.055
    assert max(chances_of("worse", trials, 1, rates)) <= 0.0275


def test_false_alarms_of_two_tasks() -> None:
    rates = [[p, q] for p in (0.1, 0.3, 0.5, 0.7, 0.9) for q in (0.2, 0.5, 0.9)]
    assert max(chances_of(None, 3, 2, rates)) <= 0.05


def simulated(coin: random.Random, tasks: int, trials: int, shift: float = 0.0) -> Comparison:
    def passes(rate: float) -> int:
        return sum(coin.random() < rate for _ in range(trials))

    rates = [coin.betavariate(1.5, 1.5) for _ in range(tasks)]
    return compare([Stratum(passes(min(rate + shift, 1)), trials, passes(rate), trials) for rate in rates])


@pytest.mark.parametrize(("tasks", "trials"), [(5, 3), (10, 5)])
def test_false_alarms_of_suites(tasks: int, trials: int) -> None:
    """Of 2,000 whose tasks differ and whose arms do not; seeded."""
    coin = random.Random(tasks)
    found = [decide([simulated(coin, tasks, trials)])[0].finding for _ in range(2_000)]
    assert 0 < found.count("better") + found.count("worse") <= 0.05 * len(found)


def test_false_alarms_of_many_comparisons() -> None:
    """Four variants that are their baseline, compared together: an alarm anywhere is one."""
    coin = random.Random(4)
    suites = [decide([simulated(coin, 5, 5) for _ in range(4)]) for _ in range(300)]
    alarms = sum(any(decided.finding in ("better", "worse") for decided in suite) for suite in suites)
    assert alarms / len(suites) <= 0.05


# -- power


def test_known_power() -> None:
    for known in VECTORS["fisher_power"]:
        asked = known["trials"], known["rate"], known["other_rate"]
        assert power(*asked, exact=True) == about(known["power"])
        assert power(*asked) > known["power"], "the mid-p finds more"


@pytest.mark.parametrize(
    ("trials", "tasks", "rate", "other"), [(10, 1, 0.9, 0.4), (5, 5, 0.75, 0.4), (3, 10, 0.6, 0.3)]
)
def test_power_is_how_often_a_difference_is_found(trials: int, tasks: int, rate: float, other: float) -> None:
    coin, suites, found = random.Random(trials), 500, 0
    for _ in range(suites):
        passes = [[sum(coin.random() < p for _ in range(trials)) for p in (rate, other)] for _ in range(tasks)]
        found += conditional_test([Stratum(x, trials, y, trials) for x, y in passes]).mid_p <= 0.05
    assert found / suites == pytest.approx(power(trials, rate, other, tasks=tasks), abs=0.045)


def test_large_designs_are_approximated() -> None:
    for rate, other in ((0.9, 0.8), (0.6, 0.5), (0.5, 0.5), (1, 0.9)):
        assert power(201, rate, other) == pytest.approx(power(200, rate, other), abs=0.012)
    assert power(10_000, 1, 1) == 0
    assert power(10_000, 1, 0) == 1


def test_what_trials_can_show() -> None:
    """A drop from 90 %: as with Boschloo's test; the table of docs/trials.md is made of these."""
    drops = {5: 0.84, 8: 0.70, 10: 0.59, 15: 0.48, 20: 0.39, 30: 0.31, 50: 0.23}
    assert {trials: detectable_difference(trials, baseline_rate=0.9) for trials in drops} == drops
    assert detectable_difference(2) is None
    assert detectable_difference(5, baseline_rate=0.3) is None, "it cannot drop so far"


def test_more_trials_show_less() -> None:
    for tasks in (1, 5, 20):
        shown = [detectable_difference(trials, tasks=tasks) or 2 for trials in (1, 3, 5, 10, 20, 40)]
        assert shown == sorted(shown, reverse=True)
    assert detectable_difference(10) >= detectable_difference(10, baseline_rate=0.9)
    assert detectable_difference(10, alpha=0.05 / 4) > detectable_difference(10)
    assert detectable_difference(10, wanted_power=0.9) > detectable_difference(10)


# -- samples that grow


def test_known_confidence_sequences() -> None:
    for known in VECTORS["confidence_sequence"]:
        assert confidence_sequence(known["passes"], known["trials"]) == about(known["interval"])


@few
@given(arm)
def test_who_may_look_at_any_time_knows_less(of: tuple[int, int]) -> None:
    low, high = confidence_sequence(*of)
    surer = clopper_pearson(*of)
    assert low <= surer.low + 1e-12
    assert surer.high <= high + 1e-12
    assert confidence_sequence(of[1] - of[0], of[1]) == pytest.approx((1 - high, 1 - low))


def test_looking_after_each_trial() -> None:
    """Seeded: with these intervals a true rate is left out at some time in at most 5 % of histories."""
    coin, wrong, histories = random.Random(8), 0, 400
    borders = {(k, n): confidence_sequence(k, n) for n in range(1, 21) for k in range(n + 1)}
    for _ in range(histories):
        passes = itertools.accumulate(coin.random() < 0.8 for _ in range(20))
        looks = (borders[k, n] for n, k in enumerate(passes, 1))
        wrong += any(not low <= 0.8 <= high for low, high in looks)
    assert wrong / histories <= 0.05


# -- what cannot be compared


@pytest.mark.parametrize(
    "counts",
    [(2, 1, 0, 1), (0, 1, 2, 1), (-1, 1, 0, 1), (0, -1, 0, 1), (0.0, 1, 0, 1), (0, 1, nan, 1), (0, 1, 0, True)],
)
def test_what_are_no_counts_is_no_stratum(counts) -> None:
    with pytest.raises(ValueError, match="it must be"):
        Stratum(*counts)


def test_nothing_to_compare() -> None:
    with pytest.raises(ValueError, match="there must be at least one"):
        conditional_test([])
    for nothing in ([], [Stratum(0, 0, 1, 1)], [Stratum(1, 1, 0, 0)]):
        with pytest.raises(ValueError, match="no task has evaluated trials in both arms"):
            compare(nothing)


@pytest.mark.parametrize("level", [0, 1, -0.1, 1.2, nan, "0.05"])
def test_what_is_no_level_is_refused(level) -> None:
    comparison = compare([Stratum(1, 2, 1, 2)])
    for asked in (
        lambda: decide([comparison], alpha=level),
        lambda: compare([Stratum(1, 2, 1, 2)], confidence=level),
        lambda: mantel_haenszel([Stratum(1, 2, 1, 2)], confidence=level),
        lambda: power(5, 0.5, 0.9, alpha=level),
        lambda: detectable_difference(5, alpha=level),
        lambda: detectable_difference(5, wanted_power=level),
        lambda: confidence_sequence(1, 2, confidence=level),
    ):
        with pytest.raises(ValueError, match="it must be between 0 and 1"):
            asked()


@pytest.mark.parametrize("share", [-0.1, 1.1, nan, "0.5"])
def test_what_is_no_share_is_refused(share) -> None:
    for asked in (
        lambda: decide([compare([Stratum(1, 2, 1, 2)])], min_effect=share),
        lambda: benjamini_hochberg([0.5, share]),
        lambda: power(5, share, 0.5),
        lambda: power(5, 0.5, share),
        lambda: detectable_difference(5, baseline_rate=share),
    ):
        with pytest.raises(ValueError, match="it must be from 0 to 1"):
            asked()


@pytest.mark.parametrize("count", [0, -1, 2.5, 1_000_000, nan])
def test_what_is_no_design_has_no_power(count) -> None:
    for asked in (lambda: power(count, 0.5, 0.9), lambda: detectable_difference(5, tasks=count)):
        with pytest.raises(ValueError, match="it must be a whole number from 1"):
            asked()
