"""What a conversation and a live turn know of a flight.

kiro-cli in a sandbox answers it, or a recording.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pytest_kiro.agent.printed import Printed
from pytest_kiro.agent.request import Request, Resume
from pytest_kiro.turn.causes import Ending
from pytest_kiro.turn.transcript import ToolCall
from pytest_kiro.turn.turn import Turn


@dataclass(frozen=True)
class Landed:
    """What came of a flight: the turn, where the next one goes on.

    `may_fly_again` is whether the same prompt may well complete in a fresh session: Kiro did nothing, as far as
    anything tells, and the cause passes, or a newer login has come since.
    """

    turn: Turn
    resume: Resume
    may_fly_again: bool


class Reading(Protocol):
    """What a turn prints, as it is read; `ending` is set when it was ended from outside."""

    ending: Ending | None
    exit_code: int | None
    over: bool
    first_output_after: float | None

    @property
    def duration(self) -> float: ...

    @property
    def silent_for(self) -> float: ...

    def look_after(self, silence: float, look: Callable[[], None]) -> None: ...

    def read(self, until: float) -> bytes | None: ...

    def end(self) -> None: ...

    def stop(self, ending: Ending) -> None: ...


class Flying(Protocol):
    """One turn from its start to its landing."""

    @property
    def request(self) -> Request: ...

    @property
    def printed(self) -> Printed: ...

    @property
    def running(self) -> Reading: ...

    def land(self, late: Callable[[Sequence[ToolCall]], Ending | None]) -> Landed: ...

    def abandon(self) -> None: ...
