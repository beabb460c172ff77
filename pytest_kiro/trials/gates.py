"""Gates: whether a group of trials reaches the rate that is wanted.

`point`        passed when the observed rate reaches the wanted one, else failed
`refute`       failed only when the exact upper bound is below the wanted rate; passed when the observed rate reaches it
`demonstrate`  passed only when the exact lower bound reaches the wanted rate; failed only when it is refuted

Between passed and failed lies *undecided*. Bounds are one-sided, exact, 95 %, so `refute` fails a good agent, and
`demonstrate` passes a bad one, in at most 5 % of groups. What a gate passes, an easier one passes too.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor, log
from typing import Literal, NamedTuple, get_args

from pytest_kiro.trials.checks import MOST_TRIALS, check_count, check_rate
from pytest_kiro.trials.distributions import binomial_at_least, binomial_at_most
from pytest_kiro.trials.rates import CONFIDENCE, pass_at_k, pass_hat_k

Gate = Literal["point", "refute", "demonstrate"]
#: `error`: nothing was evaluated; `incomplete`: the group was not run whole, so it is not judged.
Outcome = Literal["passed", "failed", "undecided", "error", "incomplete"]
GATES: tuple[Gate, ...] = get_args(Gate)
#: Of the planned trials of a group, the share that must be valid for it to be judged.
MIN_VALID = 0.9
_ERROR_RATE = 1 - CONFIDENCE
#: Numbers that are equal but for rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Design:
    """What a group of trials is to show: how many are planned, and which rate they must reach.

    `all_of` k asks the rate of pass^k, k trials in a row, and `any_of` k that of pass@k, one of k trials; 1 is the rate
    of single trials. `min_valid` is the share of the planned trials that must be valid.

    >>> Design(trials=10, pass_rate=0.8).gate
    'point'
    """

    trials: int
    pass_rate: float = 1.0
    gate: Gate = "point"
    all_of: int = 1
    any_of: int = 1
    min_valid: float = MIN_VALID

    def __post_init__(self) -> None:
        check_count("trials", self.trials, least=1)
        check_rate("pass_rate", self.pass_rate)
        check_rate("min_valid", self.min_valid)
        check_count("all_of", self.all_of, least=1)
        check_count("any_of", self.any_of, least=1)
        if self.gate not in GATES:
            raise ValueError(f"gate is {self.gate!r}; it must be one of {', '.join(GATES)}")
        if self.all_of > 1 and self.any_of > 1:
            raise ValueError(f"all_of={self.all_of} and any_of={self.any_of} are both said; there must be one of them")
        if max(self.all_of, self.any_of) > self.trials:
            name = "all_of" if self.all_of > 1 else "any_of"
            raise ValueError(f"{name} is {getattr(self, name)}; it must be at most the number of trials, {self.trials}")

    @property
    def trial_rate(self) -> float:
        """The rate of single trials that gives the wanted pass^k or pass@k."""
        if self.any_of > 1:
            return float(1 - (1 - self.pass_rate) ** (1 / self.any_of))
        return float(self.pass_rate ** (1 / self.all_of))

    @property
    def most_lost(self) -> int:
        """How many trials may be lost without the group being undecided."""
        return self.trials - ceil(self.min_valid * self.trials - _ROUNDING)

    def reaches(self, passes: int, trials: int) -> bool:
        """Return whether the observed rate (pass^k, pass@k) is the wanted one."""
        if self.any_of > 1:
            return pass_at_k(passes, trials, self.any_of) >= self.pass_rate
        return pass_hat_k(passes, trials, self.all_of) >= self.pass_rate


@dataclass(frozen=True)
class Tally:
    """How the trials of a group ended; `lost` are those in which infrastructure or a limit kept the agent from it.

    >>> Tally(passes=6, failures=1, lost=1).valid
    7
    """

    passes: int = 0
    failures: int = 0
    lost: int = 0

    def __post_init__(self) -> None:
        for name in ("passes", "failures", "lost"):
            check_count(name, getattr(self, name))

    @property
    def valid(self) -> int:
        """The trials that were evaluated."""
        return self.passes + self.failures

    @property
    def run(self) -> int:
        """The trials that were run, evaluated or lost."""
        return self.valid + self.lost


@dataclass(frozen=True)
class Verdict:
    """What a group of trials shows; `reason` where counts do not say."""

    outcome: Outcome
    reason: str = ""


class Critical(NamedTuple):
    """Of a number of valid trials: at most `fails` passes fail, `passes` or more pass; undecided in between."""

    fails: int
    passes: int


@lru_cache(maxsize=4096)
def critical(design: Design, valid: int) -> Critical:
    """Return how many passes make a gate fail and pass.

    Where no number does, `fails` is -1 or `passes` is `valid` + 1.

    >>> critical(Design(trials=20, pass_rate=0.8, gate="refute"), 20)
    Critical(fails=12, passes=16)
    """
    if valid < max(design.all_of, design.any_of):
        return Critical(-1, valid + 1)
    counts, rate = range(valid + 1), design.trial_rate
    reaching = bisect_left(counts, True, key=lambda passes: design.reaches(passes, valid))
    if design.gate == "point":
        return Critical(reaching - 1, reaching)
    refuted = bisect_left(
        counts, True, key=lambda passes: binomial_at_most(passes, valid, rate) >= _ERROR_RATE * (1 - _ROUNDING)
    )
    fails = min(refuted, reaching) - 1
    if design.gate == "refute":
        return Critical(fails, reaching)
    demonstrated = bisect_left(
        counts, True, key=lambda passes: binomial_at_least(passes, valid, rate) <= _ERROR_RATE * (1 + _ROUNDING)
    )
    return Critical(fails, max(demonstrated, reaching))


def judge(design: Design, tally: Tally) -> Verdict:
    """Return the verdict on a group of trials that was run whole.

    One whose last trials were not needed is judged by `pytest_kiro.trials.curtailment`. Raises `ValueError` where more
    trials were run than planned.

    >>> judge(Design(trials=10, pass_rate=0.8), Tally(8, 2)).outcome
    'passed'
    >>> judge(Design(trials=10, pass_rate=0.8), Tally(7, 1, lost=2))
    Verdict(outcome='undecided', reason='8 of 10 trials are valid; 9 must be')
    """
    if tally.run > design.trials:
        raise ValueError(f"{tally.run} trials were run; it must be at most the number planned, {design.trials}")
    if tally.run < design.trials:
        return Verdict("incomplete", f"{tally.run} of {design.trials} trials were run")
    if not tally.valid:
        return Verdict("error", "no trial was evaluated")
    if design.pass_rate == 1 and design.any_of == 1 and tally.failures:
        return Verdict("failed")  # whatever was lost: nothing is tolerated
    if tally.lost > design.most_lost:
        needed = design.trials - design.most_lost
        return Verdict(
            "undecided", f"{design.trials - tally.lost} of {design.trials} trials are valid; {needed} must be"
        )
    fails, passes = critical(design, tally.valid)
    if tally.passes >= passes:
        return Verdict("passed")
    return Verdict("failed" if tally.passes <= fails else "undecided")


def least_trials(gate: Gate, pass_rate: float, *, all_of: int = 1, any_of: int = 1) -> int | None:
    """Return the fewest trials with which a gate can ever decide.

    None when no number can. `demonstrate` is for passing, which it cannot do as long as all trials passed and still
    show too little; `refute` is for failing. `point` always decides.

    >>> least_trials("demonstrate", 0.9), least_trials("refute", 0.9)
    (29, 2)
    """
    fewest = max(all_of, any_of)
    rate = Design(trials=fewest, pass_rate=pass_rate, gate=gate, all_of=all_of, any_of=any_of).trial_rate
    chance = {"point": 0.0, "refute": 1 - rate, "demonstrate": rate}[gate]
    if chance == 1:
        return None
    trials = max(fewest, floor(log(_ERROR_RATE) / log(chance))) if chance else fewest
    while trials <= MOST_TRIALS:
        if can_decide(Design(trials=trials, pass_rate=pass_rate, gate=gate, all_of=all_of, any_of=any_of)):
            return trials
        trials += 1
    return None


def can_decide(design: Design) -> bool:
    """Return whether the gate of a design can ever decide."""
    fails, passes = critical(design, design.trials)
    return {"point": True, "refute": fails >= 0, "demonstrate": passes <= design.trials}[design.gate]


def refusal(design: Design) -> str:
    """Return why a design can never decide; empty when it can.

    With the number of trials that could, for the user who has to change one of them.

    >>> print(refusal(Design(trials=10, pass_rate=0.9, gate="demonstrate")))
    10 trials can never demonstrate a rate of 0.9; that needs at least 29, all of which pass
    """
    if can_decide(design):
        return ""
    least = least_trials(design.gate, design.pass_rate, all_of=design.all_of, any_of=design.any_of)
    if least is None:
        return f"no number of trials can {design.gate} a rate of {design.pass_rate:g}; a lower one can be"
    how = "pass" if design.gate == "demonstrate" else "fail"
    return (
        f"{design.trials} trial{'s' * (design.trials > 1)} can never {design.gate} a rate of {design.pass_rate:g}; "
        f"that needs at least {least}, all of which {how}"
    )
