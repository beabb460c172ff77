"""Defines a run's records of tests and wide fixtures, and gathers them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Annotated, Literal

from pytest_kiro.records.codec import UNWRITTEN, Credits, FromOne, LeftOut, Record, Seconds
from pytest_kiro.records.turns import OwnerRecord, TurnRecord, credits_of

PhaseOutcome = Literal["passed", "failed", "skipped", "xfailed", "xpassed", "rerun"]
Outcome = Literal["passed", "failed", "error", "skipped", "xfailed", "xpassed", "rerun", "unfinished"]
_SPECIAL: tuple[PhaseOutcome, ...] = ("rerun", "xfailed", "xpassed", "skipped")


@dataclass(frozen=True, kw_only=True)
class PhaseRecord(Record):
    """What became of one phase of a test; `infrastructure` is whether the world made it fail."""

    attempt: FromOne = 1
    name: Annotated[Literal["setup", "call", "teardown", "crash"], "crash when its worker died."]
    outcome: PhaseOutcome
    duration: Seconds = 0.0
    message: Annotated[str, "Of a failure or a skip, without its traceback; else empty."] = ""
    message_left_out: LeftOut = 0
    infrastructure: bool = field(default=False, metadata=UNWRITTEN)


@dataclass(frozen=True, kw_only=True)
class ReportRecord(Record):
    """What a phase's report carries beside pytest's own data; `refused` when the budget stopped the test."""

    attempt: int = 1
    infrastructure: bool = False
    refused: bool = False
    turns: tuple[TurnRecord, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TestRecord(Record):
    """What became of a test in all its attempts."""

    nodeid: str
    outcome: Annotated[
        Outcome, "Of the last attempt, as pytest counts it; unfinished when the run ended before the test did."
    ]
    infrastructure: Annotated[
        bool, "Whether it failed by the world's fault, so that nothing was learnt about the agent."
    ]
    worker: Annotated[str, "The xdist worker, main without xdist."]
    attempts: FromOne
    duration: Annotated[Seconds, "Seconds, of all attempts."]
    credits: Credits
    phases: tuple[PhaseRecord, ...]
    turns: Annotated[tuple[TurnRecord, ...], "Its own; those of fixtures that it shares are in fixtures."]


@dataclass(frozen=True, kw_only=True)
class FixtureRecord(Record):
    """One instance of a wide fixture that ran turns."""

    name: Annotated[str, "Such as fixture:shop[id]."]
    file: Annotated[str, "That defines it."]
    worker: str
    credits: Credits
    turns: tuple[TurnRecord, ...]


@dataclass(frozen=True, kw_only=True)
class CollectionError(Record):
    """A file whose tests are not known."""

    nodeid: str
    message: str


@dataclass
class _TestSoFar:
    worker: str = "main"
    finished: bool = False
    phases: list[PhaseRecord] = field(default_factory=list)

    def record(self, nodeid: str, turns: Sequence[TurnRecord]) -> TestRecord:
        last = max((phase.attempt for phase in self.phases), default=1)
        outcome = outcome_of([phase for phase in self.phases if phase.attempt == last], finished=self.finished)
        return TestRecord(
            nodeid=nodeid,
            outcome=outcome,
            infrastructure=outcome in ("failed", "error") and any(phase.infrastructure for phase in self.phases),
            worker=self.worker,
            attempts=max([last, *(turn.attempt for turn in turns)]),
            duration=sum(phase.duration for phase in self.phases),
            credits=credits_of(turns),
            phases=tuple(self.phases),
            turns=tuple(turns),
        )


class Gathered:
    """All records of a run so far: on the controller, where there are xdist workers."""

    def __init__(self) -> None:
        self.began = datetime.now(UTC)
        self.collection_errors: list[CollectionError] = []
        #: How many tests the budget stopped.
        self.refused = 0
        self._tests: dict[str, _TestSoFar] = {}
        self._turns: dict[tuple[str, int], TurnRecord] = {}

    def __contains__(self, nodeid: str) -> bool:
        return nodeid in self._tests

    @property
    def turns(self) -> list[TurnRecord]:
        """The turns, in the order in which they were heard of."""
        return list(self._turns.values())

    @property
    def tests(self) -> tuple[TestRecord, ...]:
        """The tests, in the order in which they began."""
        own: defaultdict[str, list[TurnRecord]] = defaultdict(list)
        for turn in self._turns.values():
            if not turn.owner.wide:
                own[turn.owner.name].append(turn)
        return tuple(test.record(nodeid, own[nodeid]) for nodeid, test in self._tests.items())

    def test_started(self, nodeid: str) -> None:
        """Note that a test, or another attempt at it, was begun."""
        self._test(nodeid).finished = False

    def test_finished(self, nodeid: str) -> None:
        """Note that nothing more comes of a test."""
        self._test(nodeid).finished = True

    def phase(self, nodeid: str, phase: PhaseRecord, carried: ReportRecord | None, worker: str | None) -> None:
        """Note what became of one phase of a test; of a crash nothing is carried."""
        test = self._test(nodeid)
        test.worker = worker or test.worker
        carried = carried or ReportRecord(attempt=max((one.attempt for one in test.phases), default=1))
        test.phases.append(replace(phase, attempt=carried.attempt, infrastructure=carried.infrastructure))
        self.refused += carried.refused
        self.add_turns(carried.turns)

    def add_turns(self, turns: Iterable[TurnRecord]) -> None:
        """Note turns; a later record of the same turn replaces the earlier one."""
        for turn in turns:
            self._turns[turn.key] = turn
            if not turn.owner.wide:
                self._test(turn.owner.name)  # of a worker that died there may be no other sign of it

    def _test(self, nodeid: str) -> _TestSoFar:
        return self._tests.setdefault(nodeid, _TestSoFar())


def outcome_of(phases: Sequence[PhaseRecord], *, finished: bool) -> Outcome:
    """Return what pytest counts the phases of one attempt as."""
    failed = {phase.name for phase in phases if phase.outcome == "failed"}
    if failed:
        return "failed" if failed - {"setup", "teardown"} else "error"
    if not finished:
        return "unfinished"
    outcomes = {phase.outcome for phase in phases}
    return next((word for word in _SPECIAL if word in outcomes), "passed")


def fixtures_of(turns: Iterable[TurnRecord]) -> tuple[FixtureRecord, ...]:
    """Return the wide fixtures that ran these turns, instance by instance."""
    instances: defaultdict[OwnerRecord, list[TurnRecord]] = defaultdict(list)
    for turn in turns:
        if turn.owner.wide:
            instances[turn.owner].append(turn)
    return tuple(
        FixtureRecord(name=owner.name, file=owner.file, worker=owner.worker, credits=credits_of(own), turns=tuple(own))
        for owner, own in instances.items()
    )
