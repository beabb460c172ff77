"""Gates and curtailment: known numbers, error rates by enumeration, and verdicts that no trial to come can change."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from functools import cache
from math import comb, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statistics_data import VECTORS, about

from pytest_kiro.trials.curtailment import Characteristic, characteristic, is_certain, judge_curtailed, unbiased_rate
from pytest_kiro.trials.distributions import binomial_probabilities
from pytest_kiro.trials.gates import GATES, Critical, Design, Tally, Verdict, critical, judge, least_trials, refusal
from pytest_kiro.trials.rates import clopper_pearson, lower_bound, upper_bound

few = settings(max_examples=40)
RATES = (0.5, 0.7, 0.8, 0.9, 0.95)
#: From the worst to the best.
ORDER = ("failed", "undecided", "passed")


def outcome(passes: int, failures: int, lost: int = 0, **design) -> str:
    return judge(Design(trials=passes + failures + lost, **design), Tally(passes, failures, lost)).outcome


# -- verdicts


def test_known_thresholds_of_gates() -> None:
    for known in VECTORS["gates"]:
        trials, rate = known["trials"], known["pass_rate"]
        passes = critical(Design(trials=trials, pass_rate=rate, gate="demonstrate"), trials).passes
        fails = critical(Design(trials=trials, pass_rate=rate, gate="refute"), trials).fails
        assert (passes if passes <= trials else None) == known["demonstrates"], known
        assert (fails if fails >= 0 else None) == known["refutes"], known


@pytest.mark.parametrize("rate", [*RATES, 1.0])
def test_gates_say_what_the_bounds_say(rate: float) -> None:
    """And what a gate passes, an easier one passes too."""
    for trials in range(1, 41):
        for passes in range(trials + 1):
            point, refute, demonstrate = (outcome(passes, trials - passes, pass_rate=rate, gate=gate) for gate in GATES)
            refuted = upper_bound(passes, trials) < rate
            assert point == ("passed" if passes / trials >= rate else "failed")
            assert (refute == "failed") == (demonstrate == "failed") == (refuted or (rate == 1 and passes < trials))
            assert (demonstrate == "passed") == (lower_bound(passes, trials) >= rate)
            assert (refute == "passed") == (point == "passed")
            assert ORDER.index(demonstrate) <= ORDER.index(refute)


@pytest.mark.parametrize("rate", RATES)
def test_error_rates_of_gates(rate: float) -> None:
    """By enumeration, at the wanted rate: `refute` fails at most 5 % of groups, `demonstrate` passes at most 5 %."""
    for trials in range(1, 61):
        chances = binomial_probabilities(trials, rate)
        fails, _ = critical(Design(trials=trials, pass_rate=rate, gate="refute"), trials)
        _, passes = critical(Design(trials=trials, pass_rate=rate, gate="demonstrate"), trials)
        assert sum(chances[: fails + 1]) <= 0.05
        assert sum(chances[passes:]) <= 0.05


@pytest.mark.parametrize(
    ("gate", "rate", "trials"),
    [
        ("demonstrate", 0.9, 29),
        ("demonstrate", 0.8, 14),
        ("demonstrate", 0.7, 9),
        ("refute", 0.5, 5),
        ("refute", 0.8, 2),
    ],
)
def test_a_design_that_can_never_decide_is_refused(gate, rate: float, trials: int) -> None:
    assert least_trials(gate, rate) == trials
    assert refusal(Design(trials=trials, pass_rate=rate, gate=gate)) == ""
    why = refusal(Design(trials=trials - 1, pass_rate=rate, gate=gate))
    assert f"can never {gate} a rate of {rate}; that needs at least {trials}, all of which" in why


def test_a_certain_pass_cannot_be_demonstrated() -> None:
    assert least_trials("demonstrate", 1.0) is None
    assert "no number of trials" in refusal(Design(trials=100, gate="demonstrate"))


def test_a_point_always_decides() -> None:
    for rate in (*RATES, 1.0):
        assert least_trials("point", rate) == 1
        assert not refusal(Design(trials=1, pass_rate=rate))


def test_several_trials_are_asked_through_the_rate_of_one() -> None:
    cubed = Design(trials=40, pass_rate=0.512, gate="demonstrate", all_of=3)
    assert cubed.trial_rate == pytest.approx(0.8)
    assert critical(cubed, 40) == critical(Design(trials=40, pass_rate=0.8, gate="demonstrate"), 40)
    one_of = Design(trials=40, pass_rate=0.992, gate="demonstrate", any_of=3)
    assert one_of.trial_rate == pytest.approx(0.8)
    assert least_trials("demonstrate", 0.992, any_of=3) == 14


def test_three_of_five_in_a_row() -> None:
    """C(4, 3) / C(5, 3) = 0.4 of all threes pass where one of five fails; no three fail where three pass."""
    assert outcome(4, 1, pass_rate=0.4, all_of=3) == "passed"
    assert outcome(3, 2, pass_rate=0.4, all_of=3) == "failed"
    assert outcome(4, 1, all_of=3) == "failed"
    assert outcome(5, 0, all_of=3) == "passed"
    assert outcome(3, 2, any_of=3) == "passed"
    assert outcome(2, 3, any_of=3) == "failed"
    assert outcome(2, 3, any_of=3, pass_rate=0.9) == "passed"


@pytest.mark.parametrize("several", ["all_of", "any_of"])
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_an_estimate_that_just_reaches_the_rate_reaches_it(several: str, k: int) -> None:
    """Of 1 pass in 10 the share of pairs with a pass is 20 %, not 19.999…: rates are compared as they are written."""
    for trials, percent in itertools.product((10, 16, 20, 25), range(1, 101)):
        design, every = Design(trials=trials, pass_rate=percent / 100, **{several: k}), comb(trials, k)
        for passes in range(trials + 1):
            reaching = every - comb(trials - passes, k) if several == "any_of" else comb(passes, k)
            assert design.reaches(passes, trials) == (100 * reaching >= percent * every), (design, passes)


@pytest.mark.parametrize("several", [{"all_of": 3}, {"all_of": 5}, {"any_of": 3}, {"any_of": 5}], ids=str)
@pytest.mark.parametrize("rate", [0.001, 0.1, 0.5, 0.9, 1.0])
def test_an_easier_gate_passes_more(several: dict[str, int], rate: float) -> None:
    """Also where the estimate of several trials and the bound of single ones are not of one mind."""
    for trials in range(5, 21):
        point, refute, demonstrate = (
            critical(Design(trials=trials, pass_rate=rate, gate=gate, **several), trials) for gate in GATES
        )
        assert point.passes == refute.passes <= demonstrate.passes
        assert point.fails >= refute.fails == demonstrate.fails
        assert all(gate.fails < gate.passes for gate in (point, refute, demonstrate))


def test_a_bound_that_just_reaches_the_rate_reaches_it() -> None:
    """Of 1 pass in 1 the lower bound is 5 %, and of none in 1 the upper one is 95 %."""
    assert critical(Design(trials=1, pass_rate=0.05, gate="demonstrate"), 1).passes == 1
    assert critical(Design(trials=1, pass_rate=0.95, gate="refute"), 1).fails == -1


def test_nothing_that_was_evaluated_is_an_error() -> None:
    for gate in GATES:
        assert outcome(0, 0, 5, pass_rate=0.5, gate=gate, min_valid=0.1) == "error"


@pytest.mark.parametrize(("lost", "expected"), [(0, "passed"), (1, "passed"), (2, "undecided"), (9, "undecided")])
def test_a_group_of_which_too_many_were_lost_is_undecided(lost: int, expected: str) -> None:
    verdict = judge(Design(trials=10, pass_rate=0.5), Tally(10 - lost, 0, lost))
    assert verdict.outcome == expected
    assert verdict.reason == (f"{10 - lost} of 10 trials are valid; 9 must be" if expected == "undecided" else "")


@pytest.mark.parametrize(("share", "most"), [(1.0, 0), (0.9, 10), (0.895, 10), (0.5, 50), (0.07, 93), (0.001, 99)])
def test_how_many_may_be_lost_is_a_setting(share: float, most: int) -> None:
    """0.07 of 100 is 7, whatever binary fractions say."""
    assert Design(trials=100, min_valid=share).most_lost == most


def test_a_failure_is_a_failure_where_all_must_pass() -> None:
    for gate in ("point", "refute"):
        assert outcome(1, 1, 8, gate=gate) == "failed"


def test_a_group_that_was_not_run_whole_is_not_judged() -> None:
    assert judge(Design(trials=5, pass_rate=0.5), Tally(4, 0)) == Verdict("incomplete", "4 of 5 trials were run")
    assert judge(Design(trials=5), Tally()).outcome == "incomplete"
    with pytest.raises(ValueError, match="6 trials were run; it must be at most the number planned, 5"):
        judge(Design(trials=5), Tally(6))


def test_fewer_valid_trials_than_are_asked_in_a_row_decide_nothing() -> None:
    assert outcome(2, 0, 3, pass_rate=0.5, all_of=3, min_valid=0.1) == "undecided"


@few
@given(
    st.integers(1, 30).flatmap(lambda trials: st.lists(st.sampled_from("pfl"), min_size=trials, max_size=trials)),
    st.sampled_from(GATES),
    st.sampled_from([*RATES, 1.0]),
)
def test_a_trial_more_that_passes_never_makes_a_verdict_worse(ends: list[str], gate, rate: float) -> None:
    """And one that infrastructure lost moves no rate: it takes the whole group out or changes nothing but its size."""
    design = Design(trials=len(ends), pass_rate=rate, gate=gate)
    tally = Tally(ends.count("p"), ends.count("f"), ends.count("l"))
    verdict = judge(design, tally).outcome
    if tally.failures:
        better = judge(design, Tally(tally.passes + 1, tally.failures - 1, tally.lost)).outcome
        assert ORDER.index(better) >= ORDER.index(verdict)
    if verdict in ("passed", "failed") and rate < 1:
        assert (
            verdict
            == judge(Design(trials=tally.valid, pass_rate=rate, gate=gate), Tally(tally.passes, tally.failures)).outcome
        )


BAD_DESIGNS = [
    ({"trials": 0}, "trials is 0"),
    ({"trials": -1}, "trials is -1"),
    ({"trials": 2.0}, "trials is 2.0"),
    ({"trials": True}, "trials is True"),
    ({"trials": 1_000_000}, "trials is 1000000; it must be a whole number from 1 to 10000"),
    ({"pass_rate": 0}, "pass_rate is 0; it must be above 0 and at most 1"),
    ({"pass_rate": 1.2}, "pass_rate is 1.2"),
    ({"pass_rate": -0.5}, "pass_rate is -0.5"),
    ({"pass_rate": nan}, "pass_rate is nan"),
    ({"pass_rate": "0.8"}, "pass_rate is '0.8'"),
    ({"pass_rate": True}, "pass_rate is True"),
    ({"gate": "strict"}, "gate is 'strict'; it must be one of point, refute, demonstrate"),
    ({"gate": None}, "gate is None"),
    ({"all_of": 0}, "all_of is 0"),
    ({"all_of": 6}, "all_of is 6; it must be at most the number of trials, 5"),
    ({"any_of": 6}, "any_of is 6; it must be at most the number of trials, 5"),
    ({"any_of": 2, "all_of": 2}, "there must be one of them"),
    ({"min_valid": 0}, "min_valid is 0"),
    ({"min_valid": 1.1}, "min_valid is 1.1"),
]


@pytest.mark.parametrize(("wrong", "message"), BAD_DESIGNS, ids=str)
def test_what_is_no_design_is_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Design(**({"trials": 5} | wrong))


@pytest.mark.parametrize("tally", [(-1, 0, 0), (0, -1, 0), (0, 0, -1), (1.0, 0, 0), (nan, 0, 0)])
def test_what_are_no_counts_is_no_tally(tally) -> None:
    with pytest.raises(ValueError, match="it must be a whole number from 0"):
        Tally(*tally)


# -- curtailment

DESIGNS = [
    *(Design(trials=5, pass_rate=rate, gate=gate) for gate in GATES for rate in (0.5, 0.8, 1.0)),
    *(Design(trials=7, pass_rate=rate, gate=gate, min_valid=0.7) for gate in GATES for rate in (0.5, 0.7, 1.0)),
    *(Design(trials=7, pass_rate=0.6, gate=gate, min_valid=0.3) for gate in GATES),
    Design(trials=7, pass_rate=0.4, all_of=3, min_valid=0.5),
    Design(trials=7, any_of=3, min_valid=0.5),
]
LARGE_DESIGNS = [
    *(Design(trials=n, pass_rate=rate, gate=g) for g in GATES for n, rate in [(10, 0.7), (20, 0.5), (30, 0.9)]),
    Design(trials=20, pass_rate=0.8, min_valid=0.6),
    Design(trials=20, pass_rate=0.5, gate="demonstrate", min_valid=0.6),
    Design(trials=20, pass_rate=0.5, gate="refute", min_valid=0.6),
]


def judging(design: Design):
    """Judge a group by its counts of passed, failed and lost trials; each once, since many groups are asked."""

    @cache
    def judged(passes: int, failures: int, lost: int) -> str:
        return judge_curtailed(design, Tally(passes, failures, lost)).outcome

    return judged


def stopped(judged, ends: str) -> tuple[str, Tally]:
    """The verdict on a group that ends as soon as it is certain, and how far it was run."""
    passes = failures = lost = 0
    for end in ends:
        passes, failures, lost = passes + (end == "p"), failures + (end == "f"), lost + (end == "l")
        if (verdict := judged(passes, failures, lost)) != "incomplete":
            break
    return verdict, Tally(passes, failures, lost)


def every_order(letters: str, trials: int) -> Iterator[str]:
    return map("".join, itertools.product(letters, repeat=trials))


def counts(ends: str) -> tuple[int, int, int]:
    return ends.count("p"), ends.count("f"), ends.count("l")


def too_many_lost_afterwards(design: Design, ends: str, tally: Tally) -> bool:
    """The one thing that a group can still do once its verdict is certain."""
    return tally.lost <= design.most_lost < ends.count("l")


@pytest.mark.parametrize("design", DESIGNS, ids=str)
def test_a_curtailed_group_has_the_verdict_of_the_whole(design: Design) -> None:
    """In every order in which trials can pass, fail or be lost."""
    judged = judging(design)
    whole = {n: judge(design, Tally(*n)).outcome for n in map(counts, every_order("pfl", design.trials))}
    for ends in every_order("pfl", design.trials):
        verdict, tally = stopped(judged, ends)
        assert verdict == whole[counts(ends)] or too_many_lost_afterwards(design, ends, tally), ends


@pytest.mark.parametrize("groups", [4_000, 100_000])
def test_simulated_groups_have_the_verdict_of_the_whole(groups: int) -> None:
    """Of larger designs, seeded; with infrastructure that fails now and then."""
    coin, saved = random.Random(groups), 0
    judges = [(design, judging(design)) for design in LARGE_DESIGNS]
    for number in range(groups):
        design, judged = judges[number % len(judges)]
        rate, loss = coin.choice((0.1, 0.5, 0.7, 0.8, 0.9, 0.99)), coin.choice((0, 0, 0.02, 0.2))
        weights = [rate * (1 - loss), (1 - rate) * (1 - loss), loss]
        ends = "".join(coin.choices("pfl", weights, k=design.trials))
        verdict, tally = stopped(judged, ends)
        assert verdict == judged(*counts(ends)) or too_many_lost_afterwards(design, ends, tally), (design, ends)
        saved += design.trials - tally.run
    assert saved > groups


@pytest.mark.parametrize("design", [d for d in DESIGNS if d.trials == 5], ids=str)
def test_a_group_ends_no_later_than_it_may(design: Design) -> None:
    """Where a verdict is not called certain, two ways to go on lead to two verdicts."""
    for run in range(design.trials):
        for passes in range(run + 1):
            tally = Tally(passes, run - passes)
            ends = {
                judge(design, Tally(passes + p, run - passes + f, lost)).outcome
                for p, f, lost in itertools.product(range(6), repeat=3)
                if p + f + lost == design.trials - run and lost <= design.most_lost
            }
            assert is_certain(design, tally) == (len(ends) == 1), tally


def test_trials_in_flight_change_nothing() -> None:
    assert judge_curtailed(Design(trials=5, pass_rate=0.8), Tally(0, 4)).outcome == "failed"
    assert judge_curtailed(Design(trials=5, pass_rate=0.8), Tally(4, 1)).outcome == "passed"


def test_a_group_of_which_too_many_were_lost_needs_no_more() -> None:
    verdict = judge_curtailed(Design(trials=10, pass_rate=0.8), Tally(1, 0, lost=2))
    assert verdict == Verdict("undecided", "8 of 10 trials are valid; 9 must be")
    assert not is_certain(Design(trials=10, pass_rate=0.8), Tally(lost=2)), "it may be an error yet"
    assert not is_certain(Design(trials=10), Tally(1, 0, lost=2)), "it may fail yet"


def test_known_characteristics_of_curtailed_designs() -> None:
    for known in VECTORS["curtailed"]:
        design = Design(trials=known["trials"], pass_rate=known["needed"] / known["trials"])
        treated = characteristic(design, known["rate"])
        assert (treated.passed, treated.trials) == (about(known["passed"]), about(known["expected_trials"]))
        assert treated.passed + treated.failed == pytest.approx(1)


def test_a_characteristic_is_that_of_the_whole() -> None:
    for design in LARGE_DESIGNS[::2]:
        for rate in (0, 0.7, 1):
            fails, passes = critical(design, design.trials)
            chances = binomial_probabilities(design.trials, rate)
            treated = characteristic(design, rate)
            assert treated.passed == pytest.approx(sum(chances[passes:]), abs=1e-12)
            assert treated.failed == pytest.approx(sum(chances[: fails + 1]), abs=1e-12)
            assert treated.undecided == pytest.approx(sum(chances[fails + 1 : passes]), abs=1e-12)
            assert 1 <= treated.trials <= design.trials


def test_a_design_of_one_trial() -> None:
    assert characteristic(Design(trials=1), 0.25) == Characteristic(0.25, 0.75, 0, 1)
    assert critical(Design(trials=1), 1) == Critical(0, 1)


def test_known_rates_of_curtailed_groups() -> None:
    for known in VECTORS["curtailed_groups"]:
        passes, failures = known["passes"], known["run"] - known["passes"]
        by_success = passes == known["needed"]
        ends = (
            ["failed"] * failures + ["passed"] * passes if by_success else ["passed"] * passes + ["failed"] * failures
        )
        design = Design(trials=known["trials"], pass_rate=known["needed"] / known["trials"])
        assert unbiased_rate(design, ends) == about(known["unbiased_rate"])
        assert clopper_pearson(passes, known["run"]) == about(known["clopper_pearson"])


@pytest.mark.parametrize("lost", [(), (0, 3)])
@pytest.mark.parametrize("design", [d for d in DESIGNS if d.trials == 7], ids=str)
def test_the_rate_of_a_curtailed_group_is_unbiased(design: Design, lost: tuple[int, ...]) -> None:
    """By enumeration, whatever the gate and whichever trials were lost: the mean over all orders is the true rate."""
    words, judged = {"p": "passed", "f": "failed", "l": "lost"}, judging(design)
    estimated = cache(lambda run: unbiased_rate(design, [words[end] for end in run]))
    means = dict.fromkeys((0.0, 0.3, 0.8, 1.0), 0.0)
    for letters in every_order("pf", design.trials):
        ends = "".join("l" if place in lost else end for place, end in enumerate(letters))
        _, tally = stopped(judged, ends)
        for rate in means:
            chance = rate ** letters.count("p") * (1 - rate) ** letters.count("f")
            means[rate] += chance * estimated(ends[: tally.run])
    assert list(means.values()) == pytest.approx(list(means), abs=1e-12)


def test_no_rate_where_none_is_unbiased() -> None:
    design = Design(trials=5, pass_rate=0.8)
    assert unbiased_rate(design, ["failed", "failed", "passed"]) is None, "the third was in flight"
    assert unbiased_rate(design, ["failed"]) is None, "not certain yet"
    assert unbiased_rate(design, []) is None
    assert unbiased_rate(design, ["lost"] * 5) is None


@pytest.mark.parametrize("rate", [-0.1, 1.1, nan])
def test_an_agent_has_a_rate(rate: float) -> None:
    with pytest.raises(ValueError, match=r"rate is .*; it must be from 0 to 1"):
        characteristic(Design(trials=5), rate)
