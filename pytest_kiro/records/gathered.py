"""Gathers the records of a run: on the controller, where there are xdist workers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # importing the records takes time that a run without evals need not pay
    from pytest_kiro.records.tests import PhaseRecord, ReportRecord, TestRecord
    from pytest_kiro.records.turns import TurnRecord


@dataclass
class _Gathering:
    worker: str = "main"
    finished: bool = False
    phases: list[PhaseRecord] = field(default_factory=list)


class Gathered:
    """All records of a run so far."""

    def __init__(self) -> None:
        self.began = datetime.now(UTC)
        #: By file, why its tests are not known.
        self.collection_errors: list[tuple[str, str]] = []
        #: How many tests the budget stopped.
        self.refused = 0
        self._tests: dict[str, _Gathering] = {}
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
        from pytest_kiro.records.tests import TestRecord

        own: dict[str, list[TurnRecord]] = {}
        for turn in self._turns.values():
            if not turn.owner.wide:
                own.setdefault(turn.owner.name, []).append(turn)
        return tuple(
            TestRecord.of(nodeid, test.phases, own.get(nodeid, ()), worker=test.worker, finished=test.finished)
            for nodeid, test in self._tests.items()
        )

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
        if carried:
            phase = replace(phase, attempt=carried.attempt, infrastructure=carried.infrastructure)
            self.refused += carried.refused
            self.add_turns(carried.turns)
        else:
            phase = replace(phase, attempt=max((one.attempt for one in test.phases), default=1))
        test.phases.append(phase)

    def add_turns(self, turns: Iterable[TurnRecord]) -> None:
        """Note turns; a later record of the same turn replaces the earlier one."""
        for turn in turns:
            self._turns[turn.key] = turn
            if not turn.owner.wide:
                self._test(turn.owner.name)  # of a worker that died there may be no other sign of it

    def _test(self, nodeid: str) -> _Gathering:
        return self._tests.setdefault(nodeid, _Gathering())
