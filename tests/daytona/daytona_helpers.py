"""What the tests of the Daytona provider have in common."""

from __future__ import annotations

from collections.abc import Callable

from pytest_kiro.sandbox.daytona.provider import DaytonaProvider

Make = Callable[..., DaytonaProvider]


class Clock:
    """A clock that moves when it is told to wait, and only then."""

    def __init__(self) -> None:
        self.now, self.pauses = 1_000_000.0, list[float]()

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now
