"""Defines what a run keeps of one phase of a test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pytest_kiro.records.codec import FromOne, LeftOut, Record, Seconds

PhaseOutcome = Literal["passed", "failed", "skipped", "xfailed", "xpassed", "rerun", "not needed"]
#: Who made a phase fail, where its error tells: an agent by a turn, the world, or what refused a turn.
Fault = Literal["", "agent", "world", "budget", "limit"]


@dataclass(frozen=True, kw_only=True)
class PlaceRecord(Record):
    """The line of a test's file in which it failed."""

    file: Annotated[str, "Relative to pytest's rootdir where it is below it."]
    line: Annotated[FromOne, "Where the statement begins; of a failure in a fixture elsewhere, the test's own."]
    source: Annotated[str, "The statement, cut."] = ""


@dataclass(frozen=True, kw_only=True)
class PhaseRecord(Record):
    """What became of one phase of a test."""

    attempt: FromOne = 1
    name: Annotated[Literal["setup", "call", "teardown", "crash"], "crash when its worker died."]
    outcome: PhaseOutcome
    duration: Seconds = 0.0
    message: Annotated[str, "Of a failure or a skip, without its traceback; else empty."] = ""
    message_left_out: LeftOut = 0
    fault: Annotated[Fault, "Whom its error blames; empty where it does not tell."] = ""
    place: Annotated[PlaceRecord | None, "Where it failed; null where it did not, or nobody knows."] = None
    explained: Annotated[
        str, "Of a failure: what Kiro did, the last command that failed, the diff, the transcript's end, as text."
    ] = ""
    explained_left_out: LeftOut = 0

    @property
    def infrastructure(self) -> bool:
        """Whether the world made it fail."""
        return self.fault in ("world", "budget", "limit")
