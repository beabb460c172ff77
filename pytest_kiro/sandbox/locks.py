"""Locks files between processes; a lock ends with the process that holds it, however that ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Taken(Exception):
    """Another process has held a lock until a deadline."""


@contextmanager
def locked(file: Path, *, timeout: float, mode: int = 0o644) -> Iterator[None]:
    """Hold a file's lock; `Taken` when another one has it for `timeout` seconds. The file is made, and may stay.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, locked(Path(folder, "a.lock"), timeout=1):
    ...     Path(folder, "a.lock").exists()
    True
    """
    from filelock import FileLock, Timeout  # 40 ms of the processor

    lock = FileLock(file, mode=mode)
    try:
        lock.acquire(timeout=timeout)
    except Timeout as error:
        raise Taken(f"the lock {file} was held by another process for more than {timeout:g} s") from error
    try:
        yield
    finally:
        lock.release()
