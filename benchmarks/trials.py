"""What verdicts on trials and comparisons cost, with nothing kept of what was computed before."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from pairs import PAIRS, spread, table

from pytest_kiro.report.trials import group_line
from pytest_kiro.trials import distributions, gates, power
from pytest_kiro.trials.comparison import compare, decide
from pytest_kiro.trials.gates import GATES, Design
from pytest_kiro.trials.groups import Group, TrialEnd
from pytest_kiro.trials.measures import Values, compare_values
from pytest_kiro.trials.strata import Stratum

_GROUPS, _TRIALS = 200, 10
_TASKS, _TRIALS_OF_A_TASK = 20, 20


def timed(work: Callable[[], object]) -> str:
    """Return the spread of the seconds of several runs."""
    figures = []
    for _ in range(PAIRS):
        for kept in (distributions.beta_quantile, gates.critical, power._most_extreme):
            kept.cache_clear()
        started = time.perf_counter()
        work()
        figures.append(time.perf_counter() - started)
    return spread(figures)


def main() -> None:
    coin = random.Random(20)
    ends = [TrialEnd("passed"), TrialEnd("failed", "AssertionError: 1 == 2"), TrialEnd("lost", "throttled")]
    groups = [
        (
            f"test_evals.py::test_{number}",
            Design(trials=_TRIALS, pass_rate=coin.choice((0.5, 0.6, 0.7, 0.8, 0.9)), gate=coin.choice(GATES)),
            tuple(coin.choices(ends, (0.75, 0.2, 0.05), k=_TRIALS)),
        )
        for number in range(_GROUPS)
    ]

    def passes() -> int:
        return sum(coin.random() < 0.7 for _ in range(_TRIALS_OF_A_TASK))

    strata = [Stratum(passes(), _TRIALS_OF_A_TASK, passes(), _TRIALS_OF_A_TASK) for _ in range(_TASKS)]
    arms = [[tuple(coin.gauss(9, 2) for _ in range(_TRIALS_OF_A_TASK)) for _ in range(2)] for _ in range(_TASKS)]
    values = [Values(*of) for of in arms]
    size = f"{_TASKS} tasks of {_TRIALS_OF_A_TASK} trials in two arms"
    table(
        "trials (seconds: min, median, max)",
        [
            (
                f"verdicts and lines of {_GROUPS} groups of {_TRIALS} (target: under 1)",
                timed(lambda: [group_line(Group(name, design, True, of), full=True) for name, design, of in groups]),
            ),
            (f"exact comparison, {size} (target: under 0.5)", timed(lambda: decide([compare(strata)]))),
            (f"exact rank test of seconds, {size}", timed(lambda: compare_values(values))),
            (
                f"difference that {_TASKS} tasks of 10 trials can show",
                timed(lambda: power.detectable_difference(10, tasks=_TASKS)),
            ),
        ],
    )


if __name__ == "__main__":
    main()
