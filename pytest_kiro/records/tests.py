"""Defines a run's records of tests and wide fixtures, with their turns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
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
    """What a phase's report carries to the controller beside pytest's own data.

    `refused` is whether the budget stopped the test.
    """

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

    @classmethod
    def of(
        cls, nodeid: str, phases: Sequence[PhaseRecord], turns: Sequence[TurnRecord], *, worker: str, finished: bool
    ) -> TestRecord:
        """Return the record of a test that went through `phases`; `finished` when nothing more comes of it."""
        last = max((phase.attempt for phase in phases), default=1)
        outcome = outcome_of([phase for phase in phases if phase.attempt == last], finished=finished)
        return cls(
            nodeid=nodeid,
            outcome=outcome,
            infrastructure=outcome in ("failed", "error") and any(phase.infrastructure for phase in phases),
            worker=worker,
            attempts=max([last, *(turn.attempt for turn in turns)]),
            duration=sum(phase.duration for phase in phases),
            credits=credits_of(turns),
            phases=tuple(phases),
            turns=tuple(turns),
        )


@dataclass(frozen=True, kw_only=True)
class FixtureRecord(Record):
    """One instance of a wide fixture that ran turns."""

    name: Annotated[str, "Such as fixture:shop[id]."]
    file: Annotated[str, "That defines it."]
    worker: str
    credits: Credits
    turns: tuple[TurnRecord, ...]


def outcome_of(phases: Sequence[PhaseRecord], *, finished: bool) -> Outcome:
    """Return what pytest counts the phases of one attempt as.

    >>> outcome_of([PhaseRecord(name="setup", outcome="failed")], finished=True)
    'error'
    """
    failed = {phase.name for phase in phases if phase.outcome == "failed"}
    if failed:
        return "failed" if failed - {"setup", "teardown"} else "error"
    if not finished:
        return "unfinished"
    outcomes = {phase.outcome for phase in phases}
    return next((word for word in _SPECIAL if word in outcomes), "passed")


def fixtures_of(turns: Iterable[TurnRecord]) -> tuple[FixtureRecord, ...]:
    """Return the wide fixtures that ran these turns, instance by instance."""
    instances: dict[OwnerRecord, list[TurnRecord]] = {}
    for turn in turns:
        if turn.owner.wide:
            instances.setdefault(turn.owner, []).append(turn)
    return tuple(
        FixtureRecord(name=owner.name, file=owner.file, worker=owner.worker, credits=credits_of(own), turns=tuple(own))
        for owner, own in instances.items()
    )
