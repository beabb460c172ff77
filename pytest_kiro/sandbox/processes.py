"""Ends local processes that carry our tag in their environment: the second net, below the warden's.

It finds what the warden cannot: what a run left that was killed, and, where no process adopts orphans (macOS), daemons.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from pytest_kiro.settings.waits import Waits

#: The variable by which we know our processes again. It names no product: the agent can read it.
TAG = "SANDBOX_TASK"
_USUAL = Waits()


def end(*, tags: Collection[str], below: Path | None = None, waits: Waits = _USUAL) -> None:
    """Kill processes of these tags until none is left. `tags` are beginnings of tags.

    Also those that work in a folder `below`, on Linux: a program that writes its title overwrites its environment.
    """
    begun = time.monotonic()
    dying = set[int]()
    while True:
        found = list(_ours(tags, below))
        # One that dies has neither memory nor environment any more, and yet runs until the kernel is done with it.
        dying = {pid for pid in dying if _still_dies(pid)} | {pid for pid, sure in found if sure and _kill(pid)}
        limit = waits.kill if dying else waits.start if found else 0
        if time.monotonic() >= begun + limit:
            return


def _kill(pid: int) -> bool:
    """Kill a process; False when it is gone, or not ours to kill (macOS says so of a zombie)."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def _ours(tags: Collection[str], below: Path | None) -> Iterator[tuple[int, bool]]:
    """Yield our processes with True, and those still undecided with False."""
    marks = [b"\0" + f"{TAG}={tag}".encode() for tag in tags]
    for pid, environ in _environments():
        if pid == os.getpid():
            continue
        if any(mark in b"\0" + environ for mark in marks) or _works_in(pid, below):
            yield pid, True
        elif not environ and _is_starting(pid):
            yield pid, False


def _works_in(pid: int, folder: Path | None) -> bool:
    with suppress(OSError):
        return folder is not None and Path(f"/proc/{pid}/cwd").readlink().is_relative_to(folder)
    return False


def _still_dies(pid: int) -> bool:
    """Return whether a process that was killed is not dead yet."""
    return _stat(pid)[:1] not in ([], [b"Z"], [b"X"])


def _is_starting(pid: int) -> bool:
    """Return whether a process is just becoming another program: the kernel then shows no environment for a moment."""
    if not (stat := _stat(pid)):
        return False
    size, begin, end = int(stat[20]), int(stat[47]), int(stat[48])
    # It has memory, so it is neither dead nor the kernel's own; and its environment is not just an empty one.
    return size > 0 and not 0 < begin == end


def _stat(pid: int) -> list[bytes]:
    """Return the fields of /proc/PID/stat from the state on; none of a process that is gone, or on macOS."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return []


def _environments() -> Iterator[tuple[int, bytes]]:
    if not sys.platform.startswith("linux"):
        yield from _environments_by_ps()
        return
    with os.scandir("/proc") as entries:
        pids = [entry.name for entry in entries if entry.name.isdigit()]
    for pid in pids:
        with suppress(OSError), open(f"/proc/{pid}/environ", "rb", buffering=0) as file:  # noqa: PTH123 - a Path takes three times as long, for each process of the machine at each end of a test
            yield int(pid), file.read()


def _environments_by_ps() -> Iterator[tuple[int, bytes]]:
    # macOS has no /proc; its ps shows the environment of one's own processes behind the command.
    listing = subprocess.run(["ps", "-axwwE", "-o", "pid=,command="], capture_output=True, check=False).stdout
    for line in listing.splitlines():
        pid, _, rest = line.strip().partition(b" ")
        if pid.isdigit():
            yield int(pid), rest.replace(b" ", b"\0")
