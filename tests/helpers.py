"""Waiting for what happens, with a deadline; nothing here sleeps for a guessed time."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from pytest_kiro.sandbox.protocol import Pty

T = TypeVar("T")
DEADLINE = 30.0
NOBODY = 65534


def wait_until(predicate: Callable[[], T], deadline: float = DEADLINE) -> T:
    """Ask until the answer is truthy, and return it; fail at the deadline with the last answer."""
    end, pause = time.monotonic() + deadline, threading.Event()
    while not (answer := predicate()):
        assert time.monotonic() < end, f"still {answer!r} after {deadline:g} s"
        pause.wait(0.005)
    return answer


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    if not sys.platform.startswith("linux"):
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def read_all(pty: Pty, deadline: float = DEADLINE) -> bytes:
    """Read until the end."""
    end, data = time.monotonic() + deadline, b""
    while chunk := pty.read(max(0.0, end - time.monotonic())):
        data += chunk
    return data


def read_until(pty: Pty, wanted: bytes, deadline: float = DEADLINE) -> bytes:
    """Read until these bytes have come."""
    end, data = time.monotonic() + deadline, b""
    while wanted not in data:
        chunk = pty.read(max(0.0, end - time.monotonic()))
        assert chunk, f"{wanted!r} did not come before the end: {data[-500:]!r}"
        data += chunk
    return data


def run_python(
    source: str, *argv: str, env: dict[str, str] | None = None, cwd: Path | None = None, python: str = sys.executable
) -> str:
    """Run a script in a Python of its own and return its output; fail with what it said."""
    done = subprocess.run(
        [python, "-c", source, *argv],
        env={**os.environ, **(env or {})},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def drop_root() -> None:
    """Become nobody, for good: to be called in a process of its own, after its imports."""
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


@contextmanager
def open_folder() -> Iterator[str]:
    """A temporary folder in which anybody may write: pytest's own are closed to others, and stay so."""
    with tempfile.TemporaryDirectory() as folder:
        if any(not above.stat().st_mode & 0o001 for above in Path(folder).resolve().parents):
            pytest.skip(f"{tempfile.gettempdir()} cannot be entered by other users")
        os.chmod(folder, 0o777)
        yield folder
