"""Governs one run's sandboxes on all its workers. Its locked file is written before anything is made.

A worker holds a lock of its own as long as it lives, which the kernel frees however it dies: what a dead one was making
is not waited for, and it is not counted among those that still need theirs.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from secrets import token_hex
from typing import Any, Literal, NamedTuple

from pytest_kiro.sandbox.runs import Life, folder_of, is_alive, transaction
from pytest_kiro.settings.waits import Waits

_EMPTY: dict[str, Any] = {"sandboxes": {}, "orphans": [], "full": False, "hold_until": 0.0}


class WorkerDecision(NamedTuple):
    """What a worker is to do; `wait` while others are being made, `full` if there is none and none is coming."""

    step: Literal["create", "join", "wait", "full"]
    name: str = ""


class Governor:
    """Shares the run's sandboxes out among its workers; every method is one transaction."""

    def __init__(
        self, run_id: str, worker: str, *, clock: Callable[[], float] = time.time, lock: float = Waits.lock
    ) -> None:
        self._id, self._worker, self._clock, self._lock = run_id, worker, clock, lock
        self._life: Life | None = None

    def decide(self, limit: int | None) -> WorkerDecision:
        """Decide what this worker does next. A run may have `limit` sandboxes, or any number (None)."""
        with self._transaction() as state:
            self._life = self._life or Life(self._lock_of(self._worker))
            self._life.begin()
            self._bury(state)
            sandboxes = state["sandboxes"]
            if not state["full"] and (limit is None or len(sandboxes) < limit):
                name = f"pytest-kiro-{self._id[:8]}-{self._worker}-{token_hex(3)}"
                sandboxes[name] = {"id": None, "workers": [self._worker]}
                return WorkerDecision("create", name)
            ready = [name for name, one in sandboxes.items() if one["id"]]
            if ready:
                name = min(ready, key=lambda one: len(sandboxes[one]["workers"]))
                sandboxes[name]["workers"].append(self._worker)
                return WorkerDecision("join", name)
            return WorkerDecision("wait" if sandboxes else "full")

    def refused(self) -> None:
        """Note that Daytona has no room for one more sandbox: those that there are must do."""
        with self._transaction() as state:
            state["full"] = True

    def ready(self, name: str, sandbox_id: str) -> None:
        """Note that a sandbox is there, so that others may join it."""
        with self._transaction() as state:
            if name in state["sandboxes"]:
                state["sandboxes"][name]["id"] = sandbox_id

    def drop(self, name: str) -> None:
        """Note that a sandbox is not there, or not any more."""
        with self._transaction() as state:
            state["sandboxes"].pop(name, None)

    def leave(self, name: str) -> bool:
        """Leave a sandbox; return whether this worker was the last in it and has to delete it."""
        with self._transaction() as state:
            self._bury(state)
            one = state["sandboxes"].get(name)
            if one is None:
                return False
            if self._worker in one["workers"]:
                one["workers"].remove(self._worker)
            if one["workers"]:
                return False
            del state["sandboxes"][name]  # nobody joins what is about to be deleted
            return True

    def names(self) -> list[str]:
        """Return the sandboxes that workers have, make, or were making at death."""
        with self._transaction() as state:
            return [*state["sandboxes"], *state["orphans"]]

    def hold(self, seconds: float) -> None:
        """Have every worker of the run wait before it makes a sandbox."""
        with self._transaction() as state:
            state["hold_until"] = max(state["hold_until"], self._clock() + seconds)

    def held(self) -> float:
        """Return for how many seconds no sandbox is to be made."""
        with self._transaction() as state:
            return max(0.0, float(state["hold_until"]) - self._clock())

    def remove(self) -> None:
        """Remove the file; idempotent."""
        shutil.rmtree(folder_of(self._id), ignore_errors=True)
        if self._life is not None:
            self._life.end()

    def _bury(self, state: dict[str, Any]) -> None:
        """Strike out dead workers; what one of them was making is deleted at the run's end."""
        for name, one in list(state["sandboxes"].items()):
            alive = [worker for worker in one["workers"] if worker == self._worker or is_alive(self._lock_of(worker))]
            if alive != one["workers"] and not one["id"]:
                del state["sandboxes"][name]
                state["orphans"].append(name)
            one["workers"] = alive

    def _lock_of(self, worker: str) -> Path:
        return folder_of(self._id) / f"{worker}.alive"

    def _transaction(self) -> AbstractContextManager[dict[str, Any]]:
        return transaction(folder_of(self._id) / "daytona.json", _EMPTY, lock=self._lock)
