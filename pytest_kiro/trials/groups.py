"""Groups of trials, made from the records of tests: how each trial ended, and what all of them show (contract V)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, cast

from pytest_kiro.records.groups import GroupRecord
from pytest_kiro.records.tests import TestRecord, TrialRecord
from pytest_kiro.records.turns import FixtureReference, TurnRecord
from pytest_kiro.trials.curtailment import judge_curtailed, unbiased_rate
from pytest_kiro.trials.gates import Design, Gate, Tally, Verdict, judge
from pytest_kiro.trials.rates import Interval, clopper_pearson, wilson
from pytest_kiro.trials.sequential import confidence_sequence

TrialOutcome = Literal["passed", "failed", "lost", "not needed", "not run"]
#: What pytest or a plugin has made of a trial, so that its group cannot be judged.
_UNJUDGED = {
    "rerun": "a plugin has run trials again",
    "xfailed": "its failure is expected (xfail)",
    "xpassed": "its failure is expected (xfail)",
}


@dataclass(frozen=True)
class TrialEnd:
    """How one trial ended.

    `why` is what a failure says in its first line, or why nothing was learnt; `unjudged`, why its group is not judged;
    `said` is the first line of what made nothing be learnt, where that is known.
    """

    outcome: TrialOutcome
    why: str = ""
    unjudged: str = ""
    said: str = ""


@dataclass(frozen=True)
class Group:
    """All trials of one test; `ends` are by number, `order` has their numbers, as they ended.

    It is `sequential` when trials were added because of what the first ones had shown.
    """

    name: str
    design: Design
    tolerant: bool
    ends: tuple[TrialEnd, ...]
    order: tuple[int, ...] = ()
    sequential: bool = False

    @cached_property
    def tally(self) -> Tally:
        """How many passed, failed and were lost."""
        return Tally(self._count("passed"), self._count("failed"), self._count("lost"))

    @property
    def curtailed(self) -> bool:
        """Whether trials were left out because they could not change the verdict."""
        return self.not_needed > 0

    @cached_property
    def verdict(self) -> Verdict:
        """What the trials show; the same whoever ran them, in whatever order."""
        if unjudged := next((end.unjudged for end in self.ends if end.unjudged), ""):
            return Verdict("incomplete", unjudged)
        if all(end.why == "skipped" for end in self.ends):
            return Verdict("incomplete", "every trial was skipped")
        if self._count("not run") or not self.curtailed:
            return self._at_each_look(judge(self.design, self.tally))
        return judge_curtailed(self.design, self.tally)

    @property
    def complete(self) -> bool:
        """Whether every trial has ended, or is not needed."""
        return not self._count("not run")

    @property
    def rate(self) -> float | None:
        """The share that passed; of a curtailed group the unbiased estimate, None where there is none."""
        if not self.tally.valid:
            return None
        if not self.curtailed:
            return self.tally.passes / self.tally.valid
        outcomes = (self.ends[number - 1].outcome for number in self.order)
        return unbiased_rate(self.design, [outcome for outcome in outcomes if outcome in ("passed", "failed", "lost")])

    @property
    def interval(self) -> Interval | None:
        """The 95 % interval of the rate: Wilson's, if curtailed the exact one, if sequential a confidence sequence."""
        tally = self.tally
        if not tally.valid:
            return None
        if self.sequential:
            return confidence_sequence(tally.passes, tally.valid)
        return (clopper_pearson if self.curtailed else wilson)(tally.passes, tally.valid)

    @property
    def lost(self) -> dict[str, int]:
        """How many trials were lost, by why."""
        return dict(Counter(end.why for end in self.ends if end.outcome == "lost"))

    @property
    def failures(self) -> dict[str, int]:
        """How many trials failed, by what their messages begin with; some say nothing."""
        return dict(Counter(end.why for end in self.ends if end.outcome == "failed" and end.why).most_common())

    @property
    def losses(self) -> dict[str, int]:
        """How many trials were lost, by what made them so; of some nothing is known."""
        return dict(Counter(end.said for end in self.ends if end.outcome == "lost" and end.said).most_common())

    @property
    def not_needed(self) -> int:
        """How many trials were left out, as the verdict was certain."""
        return self._count("not needed")

    @property
    def record(self) -> GroupRecord:
        """What a run keeps of it."""
        design, verdict, interval = self.design, self.verdict, self.interval
        return GroupRecord(
            name=self.name,
            planned=design.trials,
            pass_rate=design.pass_rate,
            gate=design.gate,
            all_of=design.all_of,
            any_of=design.any_of,
            passed=self.tally.passes,
            failed=self.tally.failures,
            lost=self.lost,
            not_needed=self.not_needed,
            not_run=self._count("not run"),
            rate=self.rate,
            low=interval.low if interval else None,
            high=interval.high if interval else None,
            verdict=verdict.outcome,
            reason=verdict.reason,
            failures=self.failures,
            sequential=self.sequential,
        )

    def _at_each_look(self, verdict: Verdict) -> Verdict:
        """Leave of a sequential group's verdict what holds however often one looks: gates have bounds for one look."""
        gate, interval, rate = self.design.gate, self.interval, self.design.trial_rate
        if not self.sequential or gate == "point" or interval is None:
            return verdict
        refuted, demonstrated = interval.high < rate, interval.low >= rate
        if (verdict.outcome == "failed" and not refuted) or (
            verdict.outcome == "passed" and gate == "demonstrate" and not demonstrated
        ):
            return Verdict("undecided", "trials were added because of what the first ones had shown")
        return verdict

    def _count(self, outcome: TrialOutcome) -> int:
        return sum(end.outcome == outcome for end in self.ends)


def group_of(
    tests: Iterable[TestRecord],
    turns_of: Callable[[FixtureReference], Iterable[TurnRecord]],
    *,
    min_valid: float,
    order: Sequence[int] = (),
) -> Group:
    """Return the group of tests that are trials of one; the largest number of planned ones holds."""
    trials = [(test.trial, test) for test in tests if test.trial is not None]
    plan = max((trial for trial, _ in trials), key=lambda trial: trial.planned)
    ends = {
        trial.number: end_of(test, [turn for one in test.fixtures for turn in turns_of(one)]) for trial, test in trials
    }
    return Group(
        name=plan.group,
        design=design_of(plan, min_valid),
        tolerant=plan.tolerant,
        ends=tuple(ends.get(number, TrialEnd("not run")) for number in range(1, plan.planned + 1)),
        order=tuple(order),
        sequential=any(trial.sequential for trial, _ in trials),
    )


def design_of(trial: TrialRecord, min_valid: float) -> Design:
    """Return what a trial's group is to show."""
    return Design(
        trials=trial.planned,
        pass_rate=trial.pass_rate,
        gate=cast(Gate, trial.gate),  # of a file it may be anything: Design refuses what is none
        all_of=trial.all_of,
        any_of=trial.any_of,
        min_valid=min_valid,
    )


def end_of(test: TestRecord, looked_at: Iterable[TurnRecord] = ()) -> TrialEnd:
    """Return how a trial ended.

    No failure of the world's moves a rate: a trial with a turn that it ended is lost, also when its asserts passed. So
    is one that did not come to its asserts, unless an agent is to blame for that.
    """
    if test.outcome == "unfinished":
        return TrialEnd("not run")
    if test.outcome == "not needed":
        return TrialEnd("not needed")
    if test.outcome == "skipped":
        return TrialEnd("lost", "skipped", said=_first_line(*(phase.message for phase in test.phases)))
    unjudged = _UNJUDGED.get(test.outcome, _UNJUDGED["rerun"] if test.attempts > 1 else "")
    for turn in (*test.turns, *looked_at):
        if turn.infrastructure and not turn.retried:
            return TrialEnd("lost", turn.cause or "infrastructure", unjudged, _first_line(turn.detail))
    failed = [phase for phase in test.phases if phase.outcome == "failed"]
    for phase in failed:
        said = _first_line(phase.message)
        if phase.infrastructure:
            return TrialEnd("lost", phase.fault if phase.fault in ("budget", "limit") else "set-up", unjudged, said)
        if phase.name == "crash":
            return TrialEnd("lost", "its worker died", unjudged)
        if phase.name != "call" and phase.fault != "agent":
            return TrialEnd("lost", "set-up" if phase.name == "setup" else "teardown", unjudged, said)
    if test.infrastructure:  # in version 1 of the results nothing else tells it
        return TrialEnd("lost", "infrastructure", unjudged)
    if failed or test.outcome == "xfailed":
        return TrialEnd("failed", _first_line(*(phase.message for phase in failed or test.phases)), unjudged)
    return TrialEnd("passed", "", unjudged)


def _first_line(*texts: str) -> str:
    """Return the first line that there is."""
    return next((text.strip().partition("\n")[0] for text in texts if text.strip()), "")
