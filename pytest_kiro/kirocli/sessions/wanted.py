"""Says which turn is looked for in a session store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar


class Session(Protocol):
    """What a session of V2 or V3 is chosen by."""

    @property
    def prompts(self) -> Sequence[int]:
        """Where each prompt is among its records."""
        ...

    @property
    def last_prompt(self) -> str | None:
        """The latest prompt, None before the first."""
        ...

    @property
    def changed(self) -> str:
        """When it was written to, as a text that sorts."""
        ...


AnySession = TypeVar("AnySession", bound=Session)


@dataclass(frozen=True)
class Wanted:
    """The turn that is looked for: see `sessions.read`."""

    cwd: str
    prompt: str | None = None
    session_id: str | None = None
    prompts: int = 0
    turns: int = 0

    def has_prompt(self, last: str | None) -> bool:
        """Whether a session whose last prompt this is may have the turn; one without may have only just begun."""
        return self.prompt is None or last is None or last.strip() == self.prompt.strip()

    def newest(self, sessions: Iterable[AnySession]) -> AnySession | None:
        """Return the newest session that may have the turn; those with a prompt come first."""
        fitting = [session for session in sessions if self.has_prompt(session.last_prompt)]
        return max(fitting, key=lambda session: (bool(session.prompts), session.changed), default=None)
