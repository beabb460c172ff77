"""Numbers beyond passed and failed: brute force, what a rank test does not see, and what cannot be compared."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from math import inf, nan
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_kiro.trials.measures import Values, compare_values, doubled_ranks, hodges_lehmann, rank_test

few = settings(max_examples=40)
numbers = st.lists(st.integers(0, 6), min_size=1, max_size=4).map(tuple)
tasks = st.lists(st.builds(Values, numbers, numbers), min_size=1, max_size=3)


def counted_p(of: list[Values]) -> float:
    """Share the values of each task out to its arms in every way, and compare the sums of ranks."""
    sums, observed = Counter({0: 1}), 0
    for task in of:
        ranks, size = doubled_ranks([*task.values, *task.baseline_values]), len(task.values)
        observed += sum(ranks[:size])
        ways = Counter(map(sum, itertools.combinations(ranks, size)))
        longer: Counter[int] = Counter()
        for (total, count), (more, times) in itertools.product(sums.items(), ways.items()):
            longer[total + more] += count * times
        sums = longer
    low = sum(count for total, count in sums.items() if total <= observed)
    high = sum(count for total, count in sums.items() if total >= observed)
    return min(1.0, 2 * min(low, high) / sum(sums.values()))


@few
@given(tasks)
def test_the_rank_test_is_what_counting_all_ways_says(of: list[Values]) -> None:
    assert rank_test(of) == counted_p(of)


@few
@given(tasks, st.randoms(use_true_random=False))
def test_neither_order_nor_scale_nor_the_name_of_an_arm_matters(of: list[Values], shuffler: random.Random) -> None:
    p = rank_test(of)
    assert rank_test(shuffler.sample(of, len(of))) == p
    assert rank_test([Values(tuple(shuffler.sample(t.values, len(t.values))), t.baseline_values) for t in of]) == p
    assert rank_test([Values(t.baseline_values, t.values) for t in of]) == p
    stretched = [Values(*(tuple(10.0**v for v in arm) for arm in (t.values, t.baseline_values))) for t in of]
    assert rank_test(stretched) == p
    assert hodges_lehmann([Values(t.baseline_values, t.values) for t in of]) == -hodges_lehmann(of)


def test_a_difference_between_tasks_is_none_between_arms() -> None:
    """One task takes 100 seconds and another 1; within each the variant is slower."""
    slower = [Values((104, 106, 108), (101, 102, 103)), Values((4, 6, 8), (1, 2, 3))]
    assert rank_test(slower) == pytest.approx(2 / 20**2)
    pooled = Values((104, 106, 108, 4, 6, 8), (101, 102, 103, 1, 2, 3))
    assert rank_test([pooled]) > 0.1
    assert hodges_lehmann(slower) == 4


def test_doubled_ranks() -> None:
    assert doubled_ranks([3, 1, 2]) == [6, 2, 4]
    assert doubled_ranks([5, 5, 5]) == [4, 4, 4]
    assert doubled_ranks([1, 2, 2, 3]) == [2, 5, 5, 8]


def test_the_shift_is_that_of_the_middle() -> None:
    coin = random.Random(3)
    values = tuple(coin.random() for _ in range(20))
    moved = tuple(value + 2.5 for value in values)
    assert hodges_lehmann([Values(moved, values)]) == pytest.approx(2.5)
    wild = (*moved[:-1], 1e9)
    assert hodges_lehmann([Values(wild, values)]) == pytest.approx(2.5, abs=0.1)


def test_medians_are_of_all_values() -> None:
    measured = compare_values([Values((3, 1), (5, 6)), Values((2, 2, 9), (4, 4, 4))])
    assert (measured.median, measured.baseline_median) == (2, 4)
    assert measured.p is not None


@pytest.mark.parametrize(("many", "others"), [(4, 9), (9, 4)])
def test_few_numbers_are_shown_and_not_tested(many: int, others: int) -> None:
    values, baseline = tuple(range(many)), tuple(range(100, 100 + others))
    measured = compare_values([Values(values, baseline)])
    assert (measured.p, measured.median, measured.baseline_median) == (None, median(values), median(baseline))
    assert measured.shift < -90


def test_tasks_with_an_empty_arm_tell_nothing() -> None:
    full = Values((1, 2, 3, 4, 5), (2, 3, 4, 5, 6))
    assert compare_values([full, Values((), (1,)), Values((9,), ())]) == compare_values([full])


def test_numbers_that_are_all_alike() -> None:
    same = Values((7,) * 6, (7,) * 5)
    assert compare_values([same]).p == 1
    assert rank_test([same], exact=False) == 1


def test_many_numbers_are_approximated() -> None:
    """Above 60 values; there the exact p and the approximate one differ little, ties or none."""
    coin = random.Random(5)
    for shift in (0, 2, 4):
        near = [
            Values(tuple(coin.randrange(20) + shift for _ in range(6)), tuple(coin.randrange(20) for _ in range(6)))
            for _ in range(5)
        ]
        assert compare_values(near).exact
        assert rank_test(near, exact=False) == pytest.approx(rank_test(near), abs=0.015)
    one = Values((1, 2, 3, 4), (2, 3, 4, 5, 6))
    measured = compare_values([one] * 8)
    assert not measured.exact
    assert measured.p == pytest.approx(rank_test([one] * 8), abs=0.005)


def test_false_alarms_of_numbers() -> None:
    """Seeded suites whose tasks differ and whose arms do not."""
    coin, suites, alarms = random.Random(6), 400, 0
    for _ in range(suites):
        levels = [coin.uniform(1, 50) for _ in range(4)]
        of = [
            Values(*(tuple(coin.lognormvariate(level / 10, 1) for _ in range(4)) for _ in range(2))) for level in levels
        ]
        alarms += compare_values(of).p <= 0.05
    assert alarms / suites <= 0.05


@pytest.mark.parametrize("value", [nan, inf, -inf, "3", None, True])
def test_what_is_no_number_is_refused(value) -> None:
    for arms in (((1, value), (2,)), ((1,), (value,))):
        with pytest.raises(ValueError, match="it must be a finite number"):
            Values(*arms)


def test_nothing_to_compare() -> None:
    for nothing in ([], [Values((1,), ())], [Values((), ())]):
        with pytest.raises(ValueError, match="no task has values in both arms"):
            compare_values(nothing)
