"""Who a conversation belongs to: whoever runs the turn (contract O).

An owner is one attempt of a test together with its function-scoped fixtures, or one instance of a wider
fixture while it is set up or torn down. The plugin says when; nothing here knows pytest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_kiro.errors import ConversationError

if TYPE_CHECKING:
    from pytest_kiro.agent.conversation import Conversation
    from pytest_kiro.agent.turn import Turn


@dataclass(eq=False)
class Owner:
    """One attempt of a test, or one instance of a wider fixture.

    `name` is for people, `tables` are its names in a scenario file, best first; relative workspaces start at
    `file`'s folder; `marker` has the keywords of `mark.kiro`, `run_args` the fixture's, asked for at the
    first turn; `wide` is whether it is a fixture that several tests share.
    """

    name: str
    tables: tuple[str, ...]
    file: Path
    marker: Callable[[], Mapping[str, Any]] = dict
    run_args: Callable[[], Mapping[str, Any]] = dict
    wide: bool = False
    main: Conversation | None = None
    conversations: list[Conversation] = field(default_factory=list)
    ended: bool = False

    @property
    def turns(self) -> list[Turn]:
        """All turns of all its conversations, in order of conversation."""
        return [turn for conversation in self.conversations for turn in conversation.turns]

    def end(self) -> None:
        """Remove its workspaces; idempotent."""
        self.ended = True
        for conversation in self.conversations:
            conversation.end()


class Owners:
    """The stack of those who may run a turn now; the innermost owns it."""

    def __init__(self) -> None:
        self._stack: list[Owner] = []

    def push(self, owner: Owner) -> None:
        self._stack.append(owner)

    def pop(self, owner: Owner) -> None:
        """Take an owner off, wherever it is: set-ups and teardowns may overlap after an interrupt."""
        if owner in self._stack:
            self._stack.remove(owner)

    def current(self) -> Owner:
        """Return who runs now; `ConversationError` outside of tests and fixtures."""
        if not self._stack:
            raise ConversationError(
                "no test and no fixture is running, so no conversation can take this turn; "
                "call kiro.run in a test or in a fixture, not in a hook or at import time"
            )
        return self._stack[-1]
