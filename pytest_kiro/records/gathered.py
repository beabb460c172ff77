"""Gathers the records of a run: on the controller, where there are xdist workers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from pytest_kiro.records.codec import Record
from pytest_kiro.records.plain import cut
from pytest_kiro.records.tests import PhaseRecord, TestRecord
from pytest_kiro.records.turns import TurnRecord

#: Characters that are kept of a failure's message.
_MESSAGE = 16_384


@dataclass(frozen=True, kw_only=True)
class ReportRecord(Record):
    """What a test's report carries to the controller, beside what pytest itself tells.

    `refused` is whether the budget stopped the test.
    """

    attempt: int = 1
    infrastructure: bool = False
    refused: bool = False
    turns: tuple[TurnRecord, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CollectionError(Record):
    """A file whose tests are not known."""

    nodeid: str
    message: str


@dataclass
class _Gathering:
    worker: str = "main"
    finished: bool = False
    phases: list[PhaseRecord] = field(default_factory=list)


class Gathered:
    """All records of a run so far."""

    def __init__(self) -> None:
        self.began = datetime.now(UTC)
        self.collection_errors: list[CollectionError] = []
        self.refused = 0
        self._tests: dict[str, _Gathering] = {}
        self._turns: dict[tuple[str, int], TurnRecord] = {}

    @property
    def turns(self) -> list[TurnRecord]:
        """The turns, in the order in which they were heard of."""
        return list(self._turns.values())

    @property
    def tests(self) -> tuple[TestRecord, ...]:
        """The tests, in the order in which they began."""
        own: dict[str, list[TurnRecord]] = {}
        for turn in self._turns.values():
            if not turn.owner.wide:
                own.setdefault(turn.owner.name, []).append(turn)
        return tuple(
            TestRecord.of(nodeid, test.phases, own.get(nodeid, ()), worker=test.worker, finished=test.finished)
            for nodeid, test in self._tests.items()
        )

    def __contains__(self, nodeid: str) -> bool:
        return nodeid in self._tests

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
        attempt = carried.attempt if carried else max((one.attempt for one in test.phases), default=1)
        message, left_out = cut(phase.message, _MESSAGE)
        infrastructure = carried is not None and carried.infrastructure
        test.phases.append(
            replace(phase, attempt=attempt, message=message, message_left_out=left_out, infrastructure=infrastructure)
        )
        if carried:
            self.refused += carried.refused
            self.add_turns(carried.turns)

    def add_turns(self, turns: Iterable[TurnRecord]) -> None:
        """Note turns; a later record of the same turn replaces the earlier one."""
        for turn in turns:
            self._turns[turn.key] = turn
            if not turn.owner.wide:
                self._test(turn.owner.name)  # of a worker that died there may be no other sign of it

    def collection_failed(self, nodeid: str, message: str) -> None:
        """Note a file whose tests are not known."""
        self.collection_errors.append(CollectionError(nodeid=nodeid, message=cut(message, _MESSAGE)[0]))

    def _test(self, nodeid: str) -> _Gathering:
        return self._tests.setdefault(nodeid, _Gathering())
