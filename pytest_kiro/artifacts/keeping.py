"""Keeps what the turns of tests and wide fixtures said and left: told of them as they run, asked when one has ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pytest_kiro.artifacts.folder import Folder, folder_name
from pytest_kiro.artifacts.kept import Kept
from pytest_kiro.artifacts.run import RunFolder
from pytest_kiro.errors import KiroError
from pytest_kiro.secrecy.redaction import Secrets
from pytest_kiro.turn.shown import without_folders

if TYPE_CHECKING:
    from pytest_kiro.agent.bench import Conversing, Owner
    from pytest_kiro.turn.turn import Turn


class Keeping:
    """Keeps the artifacts of this process; an `Observer`. What cannot be written is noted in `trouble`, once."""

    def __init__(self, run: RunFolder, secrets: Secrets, worker: str, attempt: Callable[[str], int]) -> None:
        self.run, self._secrets, self._worker, self._attempt = run, secrets, worker, attempt
        self._kept: dict[Owner, Kept] = {}
        self._instances = 0
        self.trouble = ""

    def of(self, owner: Owner) -> Kept | None:
        """Return an owner's artifacts; None where they cannot be written."""
        if owner not in self._kept:
            self.trying(lambda: self._begin(owner))
        return self._kept.get(owner)

    def known(self, owner: Owner) -> Kept | None:
        """Return an owner's artifacts, if something was kept."""
        return self._kept.get(owner)

    @property
    def all(self) -> list[Kept]:
        """Those of all owners that are not forgotten."""
        return [*self._kept.values()]

    @property
    def wide(self) -> list[Kept]:
        """Those of wide fixtures."""
        return [kept for owner, kept in self._kept.items() if owner.wide]

    def drop(self, owner: Owner) -> None:
        """Remove what was written of an owner, and forget it."""
        if kept := self._kept.pop(owner, None):
            kept.folder.remove()

    def forget(self, owner: Owner) -> None:
        """Forget an owner, whose turns may be large; its files stay."""
        self._kept.pop(owner, None)

    def trying(self, write: Callable[[], object]) -> None:
        """Write something; a file system that does not let us is no failure of a test."""
        try:
            write()
        except OSError as error:
            self.trouble = self.trouble or f"{error.strerror or error}: {error.filename or self.run.path}"
        except (KiroError, ValueError) as error:
            self.trouble = self.trouble or f"{type(error).__name__}: {error}"

    def _begin(self, owner: Owner) -> None:
        self.run.begin()
        if owner.wide:
            self._instances += 1
            whole, attempt = f"{owner.file}::{owner.name} {self._worker} {self._instances}", 1
        else:
            whole, attempt = owner.name, self._attempt(owner.name)
        name = folder_name(without_folders(self._secrets(owner.name)), whole)
        folder = Folder(self.run.path / (name if attempt == 1 else f"{name}-attempt-{attempt}"))
        self._kept[owner] = Kept(folder, owner, attempt, self._worker, self._secrets)

    # -- what turns tell

    def started(self, conversation: Conversing, prompt: str) -> None:
        if kept := self.of(conversation.owner):
            self.trying(lambda: kept.started(conversation, prompt))

    def received(self, conversation: Conversing, data: bytes, at: float) -> None:
        if kept := self.known(conversation.owner):
            self.trying(lambda: kept.received(conversation, data, at))

    def printed(self, conversation: Conversing, text: str) -> None:
        if kept := self.known(conversation.owner):
            self.trying(lambda: kept.printed(conversation, text))

    def finished(self, conversation: Conversing, turn: Turn) -> None:
        if kept := self.known(conversation.owner):
            self.trying(lambda: kept.ended(conversation, turn))

    def broken_off(self, conversation: Conversing) -> None:
        if kept := self.known(conversation.owner):
            self.trying(lambda: kept.ended(conversation, None))
