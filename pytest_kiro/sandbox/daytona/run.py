"""What one pytest run has in Daytona, on all its workers: a file under a lock, known before anything is made.

It is also the governor: how many sandboxes the run may have, who shares one beyond that, and until when everybody
holds back because one was told to. Each worker holds a lock of its own as long as it lives, which the kernel frees
however it dies: nobody waits for what a dead one was making, and it is not counted among those who still need theirs.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pytest_kiro.errors import SandboxError

#: Seconds for which the file's lock is waited for; it is held for milliseconds.
_LOCK_TIMEOUT = 30.0
#: Seconds after which a run that nobody lives in any more is forgotten: its sandboxes are long past their time.
_FORGOTTEN = 24 * 3600.0


class Place(NamedTuple):
    """Where a worker goes: `create` a sandbox of this name, `join` that one, `wait` while others are being made, or
    `full`: there is none and none is coming."""

    do: Literal["create", "join", "wait", "full"]
    name: str = ""


class Run:
    """The run's sandboxes and their workers; every method is one transaction."""

    def __init__(self, run_id: str, worker: str, *, clock: Callable[[], float] = time.time) -> None:
        self._id, self._worker, self._clock = run_id, worker, clock
        self._alive: int | None = None

    def place(self, limit: int | None, *, refused: bool = False) -> Place:
        """Say where this worker goes; what it says is noted down at once.

        `limit` is how many sandboxes the run may have, None for no limit; `refused` when Daytona has just refused
        one: then those that there are must do.
        """
        with self._transaction() as state:
            self._live()
            self._bury(state)
            sandboxes = state["sandboxes"]
            if refused:
                state["full"] = True
            if not state["full"] and (limit is None or len(sandboxes) < limit):
                name = f"pytest-kiro-{self._id[:8]}-{self._worker}-{secrets.token_hex(3)}"
                sandboxes[name] = {"id": None, "workers": [self._worker]}
                return Place("create", name)
            ready = [name for name, one in sandboxes.items() if one["id"]]
            if ready:
                name = min(ready, key=lambda one: len(sandboxes[one]["workers"]))
                sandboxes[name]["workers"].append(self._worker)
                return Place("join", name)
            return Place("wait" if sandboxes else "full")

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
        """Leave a sandbox; return whether this worker was the last in it, and so is to delete it."""
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
        """Return the sandboxes that somebody has, or is making, or was when he died."""
        with self._transaction() as state:
            return [*state["sandboxes"], *state["orphans"]]

    def hold(self, seconds: float) -> None:
        """Have every worker of the run wait before it makes a sandbox."""
        with self._transaction() as state:
            state["hold_until"] = max(state["hold_until"], self._clock() + seconds)

    def held(self) -> float:
        """Return for how many seconds nothing is to be made."""
        with self._transaction() as state:
            return max(0.0, float(state["hold_until"]) - self._clock())

    def remove(self) -> None:
        """Remove the file; idempotent."""
        shutil.rmtree(_base() / self._id, ignore_errors=True)
        if self._alive is not None:
            os.close(self._alive)
            self._alive = None

    def _live(self) -> None:
        """Hold this worker's lock until the process ends, or the run is over."""
        if self._alive is None:
            self._alive = os.open(self._lock_of(self._worker), os.O_RDWR | os.O_CREAT, 0o600)
            with suppress(BlockingIOError):
                fcntl.flock(self._alive, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _bury(self, state: dict[str, Any]) -> None:
        """Strike out dead workers; what one of them was making is not waited for, and is deleted at the run's end."""
        for name, one in list(state["sandboxes"].items()):
            dead = [worker for worker in one["workers"] if not self._is_alive(worker)]
            one["workers"] = [worker for worker in one["workers"] if worker not in dead]
            if dead and not one["id"]:
                del state["sandboxes"][name]
                state["orphans"].append(name)

    def _is_alive(self, worker: str) -> bool:
        return worker == self._worker or _is_locked(self._lock_of(worker))

    def _lock_of(self, worker: str) -> Path:
        return _base() / self._id / f"{worker}.alive"

    @contextmanager
    def _transaction(self) -> Iterator[dict[str, Any]]:
        from filelock import FileLock, Timeout

        folder = _base() / self._id
        if not folder.exists():
            _forget_old_runs()
        folder.mkdir(mode=0o700, exist_ok=True)
        file = folder / "daytona.json"
        try:
            with FileLock(f"{file}.lock", timeout=_LOCK_TIMEOUT):
                state = json.loads(file.read_text()) if file.exists() else {}
                state = {"sandboxes": {}, "orphans": [], "full": False, "hold_until": 0.0, **state}
                yield state
                part = file.with_suffix(".part")
                part.write_text(json.dumps(state))
                part.replace(file)
        except Timeout as error:
            raise SandboxError(f"{file}.lock was held for more than {_LOCK_TIMEOUT:g} s; end what holds it") from error


def _is_locked(file: Path) -> bool:
    try:
        descriptor = os.open(file, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _forget_old_runs() -> None:
    """Remove what is left of runs that were killed."""
    for folder in _base().iterdir():
        with suppress(OSError):  # it may just be going
            youngest = max(file.stat().st_mtime for file in (folder, *folder.iterdir()))
            if time.time() - youngest > _FORGOTTEN and not any(map(_is_locked, folder.glob("*.alive"))):
                shutil.rmtree(folder, ignore_errors=True)


def _base() -> Path:
    """Return the folder of this user's runs; `SandboxError` when it cannot be ours alone."""
    path = Path(tempfile.gettempdir()).resolve() / f"pytest-kiro-{os.getuid()}"
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        status = path.lstat()
    except OSError as error:
        raise SandboxError(f"{path} cannot be made: {error.strerror}; set TMPDIR to a directory of yours") from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise SandboxError(f"{path} is not a private directory of yours; remove it, or point TMPDIR elsewhere")
    return path
