"""The tables of docs/statistics.md and docs/trials.md are computed: exactly, by enumeration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest

from pytest_kiro.trials.comparison import ALPHA, alpha_of_first, compare, decide
from pytest_kiro.trials.curtailment import characteristic
from pytest_kiro.trials.distributions import binomial_probabilities
from pytest_kiro.trials.gates import Design, critical, least_trials
from pytest_kiro.trials.power import detectable_difference
from pytest_kiro.trials.rates import Interval, clopper_pearson, wilson
from pytest_kiro.trials.sequential import confidence_sequence
from pytest_kiro.trials.strata import Stratum

DOCS = Path(__file__).parents[2] / "docs"
pytestmark = pytest.mark.skipif(
    not DOCS.exists(), reason="a copy of the tests alone, beside the built wheel, has no papers"
)
RATES = [step / 100 for step in range(5, 96)]


def row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def coverage() -> Iterator[str]:
    for trials in (3, 5, 10, 20):
        cells = []
        for interval in (wilson, clopper_pearson):
            intervals = [interval(passes, trials) for passes in range(trials + 1)]
            covered = [
                sum(
                    chance
                    for chance, (low, high) in zip(binomial_probabilities(trials, rate), intervals, strict=True)
                    if low <= rate <= high
                )
                for rate in RATES
            ]
            cells += [f"{percent(sum(covered) / len(covered))} ({percent(min(covered))})"]
        yield row(trials, *cells)


def gate_errors() -> Iterator[str]:
    for trials in (5, 10, 14, 20, 30, 60):
        cells = []
        for rate in (0.7, 0.8, 0.9):
            chances = binomial_probabilities(trials, rate)
            fails, _ = critical(Design(trials=trials, pass_rate=rate, gate="refute"), trials)
            _, passes = critical(Design(trials=trials, pass_rate=rate, gate="demonstrate"), trials)
            cells += [f"{percent(sum(chances[: fails + 1]))} / {percent(sum(chances[passes:]))}"]
        yield row(trials, *cells)


def false_alarms() -> Iterator[str]:
    for trials in (3, 5, 8, 10, 16, 20):
        laws = {rate: binomial_probabilities(trials, rate) for rate in RATES}
        either, worse = dict.fromkeys(RATES, 0.0), dict.fromkeys(RATES, 0.0)
        for x, y in product(range(trials + 1), repeat=2):
            found = decide([compare([Stratum(x, trials, y, trials)])], min_effect=0)[0].finding
            for rate, law in laws.items():
                either[rate] += law[x] * law[y] * (found in ("better", "worse"))
                worse[rate] += law[x] * law[y] * (found == "worse")
        mean = sum(either.values()) / len(RATES)
        yield row(trials, percent(mean), percent(max(either.values())), percent(max(worse.values())))


def differences() -> Iterator[str]:
    def points(shown: float | None) -> str:
        return "–" if shown is None else f"{100 * shown:.0f}"

    for trials in (1, 3, 5, 10, 20, 30, 50):
        of_tasks = [points(detectable_difference(trials, tasks=tasks)) for tasks in (1, 5, 10, 20)]
        yield row(trials, *of_tasks, points(detectable_difference(trials, baseline_rate=0.9)))


def ever_above(rate: float, looks: int, interval: Callable[[int, int], Interval]) -> float:
    """The chance that, of looks after each trial, one finds the whole interval below the true rate."""
    caught, unseen = 0.0, {0: 1.0}
    for trials in range(1, looks + 1):
        after: dict[int, float] = {}
        for passes, chance in unseen.items():
            after[passes] = after.get(passes, 0.0) + chance * (1 - rate)
            after[passes + 1] = after.get(passes + 1, 0.0) + chance * rate
        below = {passes for passes in after if interval(passes, trials).high < rate}
        caught += sum(after[passes] for passes in below)
        unseen = {passes: chance for passes, chance in after.items() if passes not in below}
    return caught


def looking() -> Iterator[str]:
    for name, interval in (
        ("Wilson", wilson),
        ("Clopper-Pearson", clopper_pearson),
        ("confidence sequence", confidence_sequence),
    ):
        yield row(name, *(percent(ever_above(0.8, looks, interval)) for looks in (1, 10, 20, 50)))


def second_looks() -> Iterator[str]:
    """Arms of one task, told apart by p at the first look, else with as many trials again."""
    for trials in (5, 10, 20):
        first, second = (
            {
                (x, y)
                for x, y in product(range(arm + 1), repeat=2)
                if compare([Stratum(x, arm, y, arm)]).test.mid_p <= ALPHA
            }
            for arm in (trials, 2 * trials)
        )
        errors: list[tuple[float, float]] = []
        for rate in (step / 20 for step in range(1, 11)):  # those above one half are alike
            law = binomial_probabilities(trials, rate)
            at_once = sum(law[x] * law[y] for x, y in first)
            pairs = [pair for pair in product(range(trials + 1), repeat=2) if pair not in first]
            later = sum(
                law[x] * law[y] * law[a - x] * law[b - y]
                for x, y in pairs
                for a, b in second
                if 0 <= a - x <= trials and 0 <= b - y <= trials
            )
            errors.append((at_once, at_once + later))
        cells = [f"{percent(sum(look) / len(look))} ({percent(max(look))})" for look in zip(*errors, strict=True)]
        yield row(trials, *cells)


@pytest.mark.parametrize("table", [coverage, gate_errors, false_alarms, differences, looking, second_looks])
def test_a_table_of_statistics_is_computed(table: Callable[[], Iterator[str]]) -> None:
    lines = list(table())
    assert "\n".join(lines) in (DOCS / "statistics.md").read_text(encoding="utf-8"), "\n" + "\n".join(lines)


def test_what_the_first_of_several_comparisons_must_show_is_computed() -> None:
    text = " ".join((DOCS / "statistics.md").read_text(encoding="utf-8").split())
    shown = [detectable_difference(10, alpha=alpha_of_first(together)) for together in (1, 2, 3, 5)]
    assert f"{', '.join(f'{100 * (one or 0):.0f}' for one in shown)} points for 1, 2, 3, 5 comparisons" in text


def test_what_gates_do_is_computed() -> None:
    text = (DOCS / "trials.md").read_text(encoding="utf-8")
    for name, gate, trials in (
        *(
            (f"`point`, {trials} trials" if trials == 5 else f"`point`, {trials}", "point", trials)
            for trials in (5, 10, 20)
        ),
        *((f"`refute`, {trials}", "refute", trials) for trials in (5, 10, 20)),
        *((f"`demonstrate`, {trials}", "demonstrate", trials) for trials in (20, 30)),
    ):
        treated = [
            characteristic(Design(trials=trials, pass_rate=0.8, gate=gate), rate) for rate in (0.5, 0.7, 0.8, 0.9, 0.95)
        ]
        cells = [f"{100 * one.passed:.0f} / {100 * one.failed:.0f}" for one in treated]
        line = row(name, *cells, f"{treated[3].trials:.1f}")
        assert line in text, line


def test_what_can_never_be_shown_is_computed() -> None:
    text = " ".join((DOCS / "trials.md").read_text(encoding="utf-8").split())
    rates = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
    for gate, said in (("demonstrate", "takes at least {} trials"), ("refute", "takes {}, all of which fail")):
        assert said.format(", ".join(str(least_trials(gate, rate)) for rate in rates)) in text
