"""Notes what becomes of each turn, and passes its beginning and end on to the hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from pytest_kiro.records.turns import begun, ended

if TYPE_CHECKING:
    from pytest_kiro.agent.bench import Conversing
    from pytest_kiro.agent.owner import Owner
    from pytest_kiro.secrecy.redaction import Secrets
    from pytest_kiro.turn.turn import Turn


class Notes:
    """Records of turns that no report has taken along yet; `hook` is pytest's, `full` keeps all of each turn.

    `secrets` takes out what nobody shall read.
    """

    def __init__(self, hook: Any, *, full: bool, secrets: Secrets) -> None:
        self._hook, self._full, self._secrets = hook, full, secrets
        self.unsent: list[dict[str, Any]] = []
        #: By the name of a test, which attempt at it runs.
        self.attempts: dict[str, int] = {}
        self._latest: WeakKeyDictionary[Conversing, dict[str, Any]] = WeakKeyDictionary()
        self._owners: WeakKeyDictionary[Owner, int] = WeakKeyDictionary()
        self._known = 0

    def take(self) -> list[dict[str, Any]]:
        """Return the records that are unsent, which they are no more."""
        taken = [dict(record) for record in self.unsent]
        self.unsent.clear()
        return taken

    def started(self, conversation: Conversing, prompt: str) -> None:
        owner = conversation.owner
        if owner not in self._owners:
            self._known += 1
            self._owners[owner] = self._known
        if conversation.retried and not conversation.turns:  # so this is what the latest is run again as
            self._latest[conversation]["retried"] = True
        attempt = self.attempts.get(owner.name, 1)
        number = self._owners[owner]
        record = begun(conversation, prompt, owner=number, attempt=attempt, full=self._full, hide=self._secrets)
        self._latest[conversation] = record
        self.unsent.append(record)
        self._hook.pytest_kiro_turn_started(kiro=conversation.kiro, prompt=prompt)

    def printed(self, conversation: Conversing, text: str) -> None:
        pass

    def finished(self, conversation: Conversing, turn: Turn) -> None:
        ended(self._latest[conversation], turn, self._secrets)
        self._hook.pytest_kiro_turn_finished(kiro=conversation.kiro, turn=turn)
