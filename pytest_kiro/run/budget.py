"""Limits what a run may spend, on all its workers: a file under a lock holds every turn that began."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from pytest_kiro.errors import HIDE_FRAMES, BudgetExceeded
from pytest_kiro.sandbox.runs import Life, folder_of, is_alive, transaction
from pytest_kiro.turn.amounts import added_up

if TYPE_CHECKING:
    from pytest_kiro.settings.table import Settings

__tracebackhide__ = HIDE_FRAMES
#: Credits that a turn is taken to cost before any has told what it did.
_FIRST_GUESS = 1.0
_EMPTY: dict[str, Any] = {"spent": 0.0, "guessed": 0, "dearest": None, "flying": {}}


class Budget:
    """Credits that the turns of a run may cost together; each method is one transaction.

    `cap` is in credits, None for no limit; `folder` is shared by the processes of the run, `worker` names this one. A
    turn in flight, and one that ended before it told its cost, count as the dearest one that did, as 1 credit before
    there is any.

    >>> budget = Budget()
    >>> budget.settle(budget.admit("test_a"), 0.25)
    """

    def __init__(self, cap: float | None = None, folder: Path = Path(), worker: str = "main") -> None:
        self.cap, self._folder, self._worker = cap, folder, worker
        self._file = folder / "budget.json"
        self._life = Life(self._life_of(worker))

    def admit(self, name: str) -> str:
        """Let a turn of `name` begin; return the key by which it is settled.

        Raises `BudgetExceeded` when what was spent and is in flight reaches the cap.
        """
        key = token_hex(8)
        if self.cap is None:
            return key
        with transaction(self._file, _EMPTY) as state:
            self._life.begin()
            # The turns of dead workers are not settled any more.
            flying = {key: worker for key, worker in state["flying"].items() if is_alive(self._life_of(worker))}
            state["flying"], spent = flying, state["spent"]
            if added_up([spent, *[_guess(state)] * len(flying)]) >= self.cap:
                advice = "raise --kiro-budget, or run fewer turns"
                raise BudgetExceeded(_refusal(name, state, self.cap), spent=spent, cap=self.cap, advice=advice)
            flying[key] = self._worker
        return key

    def settle(self, key: str, credits: float | None) -> None:
        """Enter what a turn cost, None where nothing was metered; idempotent."""
        if self.cap is None:
            return
        with transaction(self._file, _EMPTY) as state:
            if state["flying"].pop(key, None) and credits is not None and 0 <= credits < math.inf:
                state["spent"] = added_up((state["spent"], credits))
                state["dearest"] = max(credits, state["dearest"] or 0.0)

    def forfeit(self, key: str, credits: float | None = None) -> None:
        """Enter a turn that ended before its whole cost was written.

        `credits` is what was; idempotent.
        """
        if self.cap is None:
            return
        with transaction(self._file, _EMPTY) as state:
            if state["flying"].pop(key, None):
                state["spent"] = added_up((state["spent"], max(_guess(state), credits or 0.0)))
                state["guessed"] += 1

    @property
    def spent(self) -> float:
        """Credits spent so far, with a guess for broken-off turns; 0 without a cap."""
        if self.cap is None or not self._file.exists():
            return 0.0
        with transaction(self._file, _EMPTY) as state:
            return float(state["spent"])

    def remove(self) -> None:
        """Remove its files, when the run is over; idempotent."""
        self._life.end()
        for file in (self._file, Path(f"{self._file}.lock"), *self._folder.glob("*.budget.alive")):
            file.unlink(missing_ok=True)
        with suppress(OSError):  # it is not there, or somebody else's things are in it
            self._folder.rmdir()

    def _life_of(self, worker: str) -> Path:
        return self._folder / f"{worker}.budget.alive"


def budget_of(settings: Settings) -> Budget:
    """Return the budget that the processes of a run share."""
    if settings.budget is None:
        return Budget()
    return Budget(settings.budget, folder_of(settings.run_id), settings.worker)


def _guess(state: dict[str, Any]) -> float:
    return _FIRST_GUESS if state["dearest"] is None else float(state["dearest"])


def _refusal(name: str, state: dict[str, Any], cap: float) -> str:
    flying, guessed, guess = len(state["flying"]), state["guessed"], _guess(state)
    spent = f"{state['spent']:.2f} credits spent"
    if guessed:
        spent += f" ({guessed} turn{'s' * (guessed > 1)} ended without telling the cost, which is guessed)"
    if flying:
        spent += f", {flying} turn{'s' * (flying > 1)} in flight, counted as {guess:.2f} each"
    return f"{name}: the budget of this run is used up, so this turn was not begun: {spent}, --kiro-budget={cap:g}"
