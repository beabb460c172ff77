"""Keeps what the processes of one pytest run share: files under a lock, in a folder below the temporary directory.

A process that holds a lock of its own as long as it lives, which the kernel frees however it dies, can be told from a
dead one.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pytest_kiro.errors import SandboxError
from pytest_kiro.sandbox.locks import Taken, locked
from pytest_kiro.settings.waits import Waits

#: Seconds after which a run without a living process is forgotten: its sandboxes are long past their time.
_FORGOTTEN = 24 * 3600.0


def folder_of(run_id: str) -> Path:
    """Return the folder of a run, which need not be there; `SandboxError` when it cannot be ours alone."""
    return _base() / run_id


@contextmanager
def transaction(file: Path, empty: Mapping[str, Any], *, lock: float = Waits.lock) -> Iterator[dict[str, Any]]:
    """Read a run's file, `empty` by default, and write its changes back.

    An exception keeps the file as it was; its lock is waited for `lock` seconds.
    """
    if not file.parent.exists():
        _forget_old_runs()
    file.parent.mkdir(mode=0o700, exist_ok=True)
    try:
        with locked(Path(f"{file}.lock"), timeout=lock):
            state = {
                **json.loads(json.dumps(empty)),
                **(json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}),
            }
            yield state
            part = file.with_suffix(".part")
            part.write_text(json.dumps(state), encoding="utf-8")
            part.replace(file)
    except Taken as error:
        raise SandboxError(f"{file}.lock was held for more than {lock:g} s", advice="end what holds it") from error


class Life:
    """Holds a lock until this process ends, or `end` is called; its file's name ends in `.alive`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._descriptor: int | None = None

    def begin(self) -> None:
        """Hold the lock from now on; idempotent."""
        if self._descriptor is None:
            self._descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600)
            with suppress(BlockingIOError):
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def end(self) -> None:
        """Let the lock go; idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def is_alive(file: Path) -> bool:
    """Return whether some process holds the lock of that file."""
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
            if time.time() - youngest > _FORGOTTEN and not any(map(is_alive, folder.glob("*.alive"))):
                shutil.rmtree(folder, ignore_errors=True)


def _base() -> Path:
    path = Path(tempfile.gettempdir()).resolve() / f"pytest-kiro-{os.getuid()}"
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        status = path.lstat()
    except OSError as error:
        what = f"{path} cannot be made: {error.strerror}"
        raise SandboxError(what, advice="set TMPDIR to a directory of yours") from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        what = f"{path} is not a private directory of yours"
        raise SandboxError(what, advice="remove it, or point TMPDIR elsewhere")
    return path
