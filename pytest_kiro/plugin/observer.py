"""Observes turns: keeps a record of each until a report carries it, and calls the hooks."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from pytest_kiro.errors import BudgetExceeded, LaunchError, SetupError
from pytest_kiro.turn.turn import TurnError

if TYPE_CHECKING:
    from pluggy import HookRelay

    from pytest_kiro.agent.bench import Conversing, Owner
    from pytest_kiro.records.tests import ReportRecord
    from pytest_kiro.records.turns import TurnRecord
    from pytest_kiro.secrecy.redaction import Secrets
    from pytest_kiro.turn.turn import Turn


class TurnObserver:
    """Keeps the records of turns that no report has carried yet.

    A turn that goes on when a report is made is carried twice, as it began and as it ended.
    """

    def __init__(self, hook: HookRelay, secrets: Secrets) -> None:
        self._hook, self._secrets = hook, secrets
        #: By the name of a test, which attempt at it runs.
        self.attempts: Counter[str] = Counter()
        self._serial = 0
        self._unsent: dict[int, TurnRecord] = {}
        self._latest: WeakKeyDictionary[Conversing, TurnRecord] = WeakKeyDictionary()
        self._owners: WeakKeyDictionary[Owner, int] = WeakKeyDictionary()

    @property
    def unsent(self) -> bool:
        """Whether there are records that no report has carried."""
        return bool(self._unsent)

    def carried(self, nodeid: str = "", error: BaseException | None = None) -> ReportRecord:
        """Return what a test's or worker's report carries. The turns in it are forgotten."""
        from pytest_kiro.records.tests import ReportRecord

        turns = tuple(self._unsent.values())
        self._unsent.clear()
        return ReportRecord(
            attempt=self.attempts[nodeid] or 1,
            infrastructure=error is not None and is_infrastructure(error),
            refused=isinstance(error, BudgetExceeded),
            turns=turns,
        )

    def started(self, conversation: Conversing, prompt: str) -> None:
        if conversation.retried and not conversation.turns:  # the latest turn is run again
            self._keep(conversation, replace(self._latest[conversation], retried=True))
        self._keep(conversation, self._begun(conversation, self._secrets(prompt)))
        self._hook.pytest_kiro_turn_started(kiro=conversation.kiro, prompt=prompt)

    def printed(self, conversation: Conversing, text: str) -> None:
        pass

    def finished(self, conversation: Conversing, turn: Turn) -> None:
        self._keep(conversation, self._latest[conversation].ended(turn))
        self._hook.pytest_kiro_turn_finished(kiro=conversation.kiro, turn=turn)

    def _keep(self, conversation: Conversing, record: TurnRecord) -> None:
        self._latest[conversation] = self._unsent[record.serial] = record

    def _begun(self, conversation: Conversing, prompt: str) -> TurnRecord:
        from pytest_kiro.records.plain import cut_field
        from pytest_kiro.records.turns import TEXT, OwnerRecord, TurnRecord  # which only a run of evals needs

        bench, owner = conversation.bench, conversation.owner
        self._serial += 1
        return TurnRecord(
            **cut_field("prompt", prompt, TEXT),
            attempt=self.attempts[owner.name] or 1,
            conversation=owner.conversations.index(conversation) + 1,
            engine=bench.engine.name,
            version=bench.installation.version,
            scripted=bench.scripted,
            owner=OwnerRecord(
                name=owner.name,
                worker=bench.settings.worker,
                number=self._owners.setdefault(owner, len(self._owners) + 1),
                wide=owner.wide,
                file=str(owner.file),
            ),
            serial=self._serial,
            stand_in=bench.installation.scripted,
            login=bench.identity.described,
        )


def is_infrastructure(error: BaseException) -> bool:
    """Whether an error blames the world. Then nothing was learnt about the agent."""
    return error.infrastructure if isinstance(error, TurnError) else isinstance(error, SetupError | LaunchError)
