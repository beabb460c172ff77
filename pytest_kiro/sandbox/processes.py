"""Ends local processes: a group, its session, and those that carry our tag in the environment.

`setsid` leaves both the group and the session, so the environment is the last mark that a child cannot
shed by accident.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path

from pytest_kiro.errors import SandboxError
from pytest_kiro.settings.waits import Waits

#: The variable by which we know our processes again. It names no product: the agent can read it.
TAG = "SANDBOX_TASK"
_USUAL = Waits()


class Waiter:
    """Reaps one child on a thread, so that waiting has a deadline.

    Popen.wait(timeout) polls with sleeps of up to 50 ms; a join wakes at once.
    """

    def __init__(self, reap: Callable[[], int], on_exit: Callable[[], None] = lambda: None) -> None:
        self.status: int | None = None
        self._reap, self._on_exit = reap, on_exit
        self._thread = threading.Thread(target=self._run, name="kiro-waiter", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self.status = self._reap()
        self._on_exit()

    @property
    def ended(self) -> bool:
        return self.status is not None

    def wait(self, timeout: float) -> bool:
        """Return whether the child ended within `timeout` seconds."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def wait_after_kill(self, timeout: float) -> None:
        """Wait for a child that was killed; `SandboxError` for one that even SIGKILL does not end."""
        if not self.wait(timeout):
            what = f"a process did not end within {timeout:g} s after SIGKILL"
            raise SandboxError(what, advice="it may wait for a device or a network file system; look at it with ps")


def shell_status(returncode: int) -> int:
    """Turn Python's negative return code into a shell's 128 + n."""
    return 128 - returncode if returncode < 0 else returncode


def end(
    *, tags: Collection[str], sessions: Collection[int] = (), below: Path | None = None, waits: Waits = _USUAL
) -> None:
    """Kill these sessions and processes of these tags until none is left. `tags` are beginnings of tags.

    Also those that work in a folder `below`, on Linux: a program that writes its title overwrites its
    environment, and with `setsid` it has left its session too.
    """
    begun = time.monotonic()
    dying = set[int]()
    while True:
        for session in sessions:
            _kill(os.killpg, session)
        found = list(_ours(tags, sessions, below))
        # One that dies has neither memory nor environment any more, and yet runs until the kernel is done with it.
        dying = {pid for pid in dying if _still_dies(pid)} | {
            pid for pid, sure in found if sure and _kill(os.kill, pid)
        }
        limit = waits.kill if dying else waits.start if found else 0
        if time.monotonic() >= begun + limit:
            return


def left_by(*leaders: int) -> list[int]:
    """Return the sessions that outlived their leaders, which were reaped.

    The kernel keeps a session's number for it while it has members; so a process with that number is another
    user's or program's.
    """
    return [leader for leader in leaders if _is_there(os.killpg, leader) and not _is_there(os.kill, leader)]


def _kill(how: Callable[[int, int], None], number: int) -> bool:
    """Kill a process or a group; False when it is gone, or not ours to kill (macOS says so of a zombie)."""
    with suppress(ProcessLookupError, PermissionError):
        how(number, signal.SIGKILL)
        return True
    return False


def _is_there(how: Callable[[int, int], None], number: int) -> bool:
    try:
        how(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _ours(tags: Collection[str], sessions: Collection[int], below: Path | None) -> Iterator[tuple[int, bool]]:
    """Yield our processes with True, and those still undecided with False."""
    marks = [b"\0" + f"{TAG}={tag}".encode() for tag in tags]
    for pid, environ in _environments():
        if pid == os.getpid():
            continue
        if any(mark in b"\0" + environ for mark in marks) or _in_session(pid, sessions) or _works_in(pid, below):
            yield pid, True
        elif not environ and _is_starting(pid):
            yield pid, False


def _in_session(pid: int, sessions: Collection[int]) -> bool:
    with suppress(OSError):
        return bool(sessions) and os.getsid(pid) in sessions and not _is_zombie(pid)
    return False


def _works_in(pid: int, folder: Path | None) -> bool:
    with suppress(OSError):
        return folder is not None and Path(f"/proc/{pid}/cwd").readlink().is_relative_to(folder)
    return False


def _is_zombie(pid: int) -> bool:
    """Return whether a process is dead and only waits to be reaped: killing it again would never end."""
    return _stat(pid)[:1] in ([b"Z"], [b"X"])


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
        with suppress(OSError), open(f"/proc/{pid}/environ", "rb", buffering=0) as file:  # noqa: PTH123 - hot path
            yield int(pid), file.read()


def _environments_by_ps() -> Iterator[tuple[int, bytes]]:
    # macOS has no /proc; its ps shows the environment of one's own processes behind the command.
    listing = subprocess.run(["ps", "-axwwE", "-o", "pid=,command="], capture_output=True, check=False).stdout
    for line in listing.splitlines():
        pid, _, rest = line.strip().partition(b" ")
        if pid.isdigit():
            yield int(pid), rest.replace(b" ", b"\0")
