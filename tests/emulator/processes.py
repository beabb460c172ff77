"""Starting, reaping and ending the processes of a sandbox.

A process is known as a sandbox's by any of five marks, since each can be shed: a variable of its environment
(`env -i`), its session (`setsid`), its working directory (`cd /`), its ancestors (a parent that ends), and, on
Linux, a resource limit that nobody uses and that nothing resets.
"""

from __future__ import annotations

import asyncio
import ctypes
import functools
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

LINUX = sys.platform.startswith("linux")
#: The limit that carries the mark: of POSIX message queues, which no shell, node or Python looks at.
_MARKED = getattr(resource, "RLIMIT_MSGQUEUE", 12) if LINUX else None
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER
_KILL_TIMEOUT = 5.0

#: Our own children that somebody waits for; whatever else becomes our child is an orphan of a sandbox.
_awaited: set[int] = set()


@dataclass
class Mark:
    """How the processes of one sandbox are told from all others."""

    id: str
    root: Path
    limit: int
    sessions: set[int] = field(default_factory=set)

    @property
    def variable(self) -> str:
        return f"DAYTONA_SANDBOX_ID={self.id}"


def adopt_orphans() -> None:
    """Become the parent of those whose parent ends, so that they stay our descendants (Linux)."""
    if LINUX:
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def start(
    argv: list[str],
    mark: Mark,
    *,
    cwd: str,
    env: Mapping[str, str],
    stdin: int | IO[bytes],
    stdout: int | IO[bytes],
    program: str | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program as the leader of a session of its own; without one, it is the first word of `argv`."""
    with _marked(mark.limit):
        process = subprocess.Popen(
            argv,
            executable=program,
            cwd=cwd,
            env={**env, "DAYTONA_SANDBOX_ID": mark.id},
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.STDOUT if stdout == subprocess.PIPE else stdout,
            start_new_session=True,
        )
    mark.sessions.add(process.pid)
    _awaited.add(process.pid)
    return process


@contextmanager
def _marked(number: int) -> Iterator[None]:
    """Lower a limit of our own for as long as it takes to start a child, which keeps it."""
    if _MARKED is None:
        yield
        return
    soft, hard = resource.getrlimit(_MARKED)
    resource.setrlimit(_MARKED, (_below(hard, number), hard))
    try:
        yield
    finally:
        resource.setrlimit(_MARKED, (soft, hard))


def _below(hard: int, number: int) -> int:
    """Return the soft limit that stands for a number."""
    top = hard if hard != resource.RLIM_INFINITY else 1 << 30
    return top - number % max(1, top)


async def reap(process: subprocess.Popen[bytes]) -> int:
    """Wait for a child and return its status, negative for a signal."""
    if process.returncode is None:
        if hasattr(os, "pidfd_open"):
            await _readable(os.pidfd_open(process.pid))
        else:
            await asyncio.to_thread(process.wait)
    _awaited.discard(process.pid)
    return process.wait()


async def _readable(descriptor: int) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Send SIGKILL to the group that a child leads."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def kill_tree(pid: int) -> None:
    """Send SIGKILL to a process and its descendants, leaves first, as the daemon does."""
    parents = {process.pid: process.parent for process in _all()}
    children: dict[int, list[int]] = {}
    for child, parent in parents.items():
        children.setdefault(parent, []).append(child)

    def end(top: int) -> None:
        for child in children.get(top, ()):
            end(child)
        with suppress(ProcessLookupError, PermissionError):
            os.kill(top, signal.SIGKILL)

    end(pid)


async def end_all(marks: Collection[Mark]) -> None:
    """Kill the processes of these sandboxes until none is left."""
    deadline = time.monotonic() + _KILL_TIMEOUT
    while pids := [pid for mark in marks for pid in of(mark)]:
        for pid in pids:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            return
        await asyncio.sleep(0.002)
    reap_orphans()


def of(mark: Mark) -> list[int]:
    """Return the living processes of a sandbox."""
    everybody = {process.pid: process for process in _all()}
    return [process.pid for process in everybody.values() if not process.dead and _carries(process, mark, everybody)]


def _carries(process: _Process, mark: Mark, everybody: Mapping[int, _Process]) -> bool:
    if process.session in mark.sessions or f"\0{mark.variable}\0".encode() in process.environ:
        return True
    if process.works_in(str(mark.root)):
        return True
    return _descends_from_us(process, everybody) and process.limit_is(mark.limit)


def _descends_from_us(process: _Process, everybody: Mapping[int, _Process]) -> bool:
    below: _Process | None = process
    while below is not None and below.parent != os.getpid():
        below = everybody.get(below.parent)
    return below is not None


@dataclass(frozen=True, slots=True)
class _Process:
    pid: int
    parent: int
    session: int
    dead: bool

    @property
    def environ(self) -> bytes:
        with suppress(OSError):
            return b"\0" + _read(f"/proc/{self.pid}/environ") + b"\0"
        return b""

    def works_in(self, root: str) -> bool:
        with suppress(OSError):
            return f"{os.readlink(f'/proc/{self.pid}/cwd')}/".startswith(f"{root}/")
        return False

    def limit_is(self, number: int) -> bool:
        """Whether the process has the limit that `_marked` gave it."""
        if _MARKED is None:
            return False
        with suppress(OSError, ValueError):
            soft, hard = resource.prlimit(self.pid, _MARKED)
            return soft == _below(hard, number)
        return False


def _all() -> Iterator[_Process]:
    """Yield the processes that began when this one did, or later: no sandbox has an older one."""
    if not LINUX:
        yield from _all_by_ps()
        return
    own, began = str(os.getpid()), _began()
    for entry in os.listdir("/proc"):
        if entry.isdigit() and entry != own:
            with suppress(OSError):
                fields = _stat(entry)
                if int(fields[19]) >= began:
                    yield _Process(int(entry), int(fields[1]), int(fields[3]), fields[0] in (b"Z", b"X"))


@functools.cache
def _began() -> int:
    """When this process began, in ticks since the machine did."""
    return int(_stat("self")[19])


def _stat(pid: str) -> list[bytes]:
    """Return what stands behind the name of a process: state, parent, group, session …"""
    return _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()


def _read(path: str) -> bytes:
    """Read a file of /proc; all processes are looked at so often that a `Path` for each would cost most of it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        parts = []
        while part := os.read(descriptor, 65536):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def _all_by_ps() -> Iterator[_Process]:
    # macOS has no /proc: what leaves its session and its parents there is not found.
    done = subprocess.run(["ps", "-axo", "pid=,ppid=,sess=,stat="], capture_output=True, check=False)
    for line in done.stdout.decode(errors="replace").splitlines():
        pid, parent, _, state = line.split(None, 3)
        with suppress(OSError):
            yield _Process(int(pid), int(parent), os.getsid(int(pid)), state.startswith("Z"))


def reap_orphans() -> None:
    """Collect those that ended after their parents: they are our children now, and nobody else's."""
    for pid in _children():
        if pid not in _awaited:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def _children() -> list[int]:
    """Return our children; Linux keeps a list for each of our threads, which is there without looking at all others."""
    try:
        return [int(pid) for task in os.listdir("/proc/self/task") for pid in _read_children(task).split()]
    except OSError:
        return [process.pid for process in _all() if process.parent == os.getpid()]


def _read_children(task: str) -> bytes:
    try:
        return _read(f"/proc/self/task/{task}/children")
    except ProcessLookupError:  # a thread that has just ended
        return b""
