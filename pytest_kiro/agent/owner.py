"""Who a conversation belongs to (contract O): the test or fixture that runs its turns.

An owner is one attempt of a test together with its function-scoped fixtures, or one instance of a wider
fixture while it is set up or torn down. The plugin says when; nothing here knows pytest.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pytest_kiro.standin.scenario import ConversationNumbers, Reply
from pytest_kiro.turn.turn import Turn


class Owned(Hashable, Protocol):
    """A conversation, as far as its owner knows it."""

    turns: list[Turn]

    def end(self) -> None: ...


@dataclass(eq=False)
class Owner:
    """One attempt of a test, or one instance of a wider fixture.

    `name` is for people, `tables` are its names in a scenario file, best first; relative workspaces start at
    `file`'s folder; `marker` has the keywords of `mark.kiro`, `run_args` the fixture's, asked for at the
    first turn; `wide` is whether it is a fixture that several tests share; `answer` is what a scripted turn is answered
    with, whatever was asked, where no scenario is meant.
    """

    name: str
    tables: tuple[str, ...]
    file: Path
    marker: Callable[[], Mapping[str, Any]] = dict
    run_args: Callable[[], Mapping[str, Any]] = dict
    wide: bool = False
    answer: Reply | None = None
    conversations: list[Owned] = field(default_factory=list)
    ended: bool = False
    numbers: ConversationNumbers = field(default_factory=ConversationNumbers)

    def enter(self, conversation: Owned) -> None:
        """Note one more conversation, and give it its number."""
        self.conversations.append(conversation)
        self.numbers.opened(conversation)

    @property
    def turns(self) -> list[Turn]:
        """All turns of all its conversations, in order of conversation."""
        return [turn for conversation in self.conversations for turn in conversation.turns]

    def end(self) -> None:
        """Remove its workspaces; idempotent."""
        self.ended = True
        for conversation in self.conversations:
            conversation.end()
