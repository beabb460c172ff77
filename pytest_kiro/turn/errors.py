"""The errors that a turn is attached to."""

from __future__ import annotations

from pytest_kiro.errors import KiroError
from pytest_kiro.turn.turn import Turn


class TurnError(KiroError):
    """A turn did not complete; `.turn` is always attached."""

    def __init__(self, what: str, turn: Turn, *, advice: str = "", output: str = "") -> None:
        super().__init__(what, advice=advice, output=output)
        self.turn = turn

    @property
    def infrastructure(self) -> bool:
        """Whether the world was at fault, not the agent."""
        return self.turn.cause is not None and self.turn.cause.infrastructure


class TurnFailed(TurnError):
    """A turn ended without success; `.turn.cause` says why."""


class TurnTimeout(TurnError):
    """A turn was ended because its time was over."""
