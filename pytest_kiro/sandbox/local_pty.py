"""Opens the terminals of a local sandbox, by pexpect."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from contextlib import suppress
from pathlib import Path

import pexpect

from pytest_kiro.errors import PtyClosed, SandboxError, SandboxTimeout
from pytest_kiro.sandbox import processes
from pytest_kiro.sandbox.ready import ready
from pytest_kiro.settings.waits import Waits

_READ_AT_ONCE = 256 * 1024
#: What a terminal can still hold when its program has ended; more comes from children that go on printing.
_READ_AFTER_END = 1024 * 1024
_ENDED, _NOTHING = "the program in this terminal has ended", "nothing can be typed"
#: The filters of warnings are the whole process's: two threads that change them at once would leave them changed.
_FORK = threading.Lock()


class LocalPty:
    """A terminal of this machine (contract P), opened by pexpect."""

    def __init__(
        self, argv: tuple[str, ...], cwd: Path, env: dict[str, str], size: tuple[int, int], tag: str, waits: Waits
    ) -> None:
        self._tag, self._waits = tag, waits
        self._closed, self._ended, self._left = False, False, _READ_AFTER_END

        def prepare() -> None:  # in the child
            os.chdir(cwd)  # pexpect's own would, when it fails, leave a copy of this process running
            # What is ignored stays so through exec: Python ignores the first two, a script's background job is started
            # with SIGINT and SIGQUIT ignored, which a shell in it could then not even trap, and nohup ignores SIGHUP.
            for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)

        with _FORK, warnings.catch_warnings():
            # Python >= 3.12 warns of any fork beside threads. Under xdist every process has some; the child
            # calls exec at once and takes no lock of theirs.
            warnings.filterwarnings("ignore", ".*multi-threaded.*fork.*", DeprecationWarning)
            try:
                child = pexpect.spawn(
                    argv[0], list(argv[1:]), env=env, dimensions=(size[1], size[0]), timeout=None, preexec_fn=prepare
                )
            except (pexpect.ExceptionPexpect, OSError) as error:
                raise no_start("terminal", cwd, error) from error
        # Its built-in pauses, about 150 ms a turn, are for typing at programs that are not ready.
        child.delaybeforesend = None
        child.delayafterclose = child.delayafterterminate = 0
        child.ptyproc.delayafterclose = child.ptyproc.delayafterterminate = 0
        self._child, self._fd, self._pid = child, child.child_fd, child.pid
        os.set_blocking(self._fd, False)
        self._bell, bell = os.pipe()
        self._waiter = processes.Waiter(self._reap, lambda: os.close(bell))

    def _reap(self) -> int:
        self._child.wait()
        number = self._child.signalstatus
        return int(self._child.exitstatus) if number is None else 128 + int(number)

    def read(self, timeout: float) -> bytes:
        deadline = time.monotonic() + timeout
        while not self._ended:
            over = self._waiter.ended  # asked before the drain: what was written before the exit is in it
            if data := self._drain():
                if over:
                    self._left -= len(data)
                    self._ended = self._left <= 0
                return data
            if over or self._ended:
                break
            left = deadline - time.monotonic()
            if left <= 0 or not ready(left, reading=(self._fd, self._bell)):
                raise TimeoutError(f"nothing was printed for {timeout:g} s")
        self._ended = True
        return b""

    def _drain(self) -> bytes:
        """Read what is there: a terminal hands out 4 KiB at a time, so one read a call would cost the most."""
        if self._closed:
            return b""
        chunks, size = list[bytes](), 0
        try:
            while size < _READ_AT_ONCE and (data := os.read(self._fd, _READ_AT_ONCE)):
                chunks.append(data)
                size += len(data)
        except BlockingIOError:
            pass
        except OSError:  # EIO: no process has the terminal open any more
            self._ended = not chunks
        return b"".join(chunks)

    def write(self, data: bytes) -> None:
        deadline = time.monotonic() + self._waits.write
        rest = memoryview(data)
        while rest:
            if self._closed or self._waiter.ended:
                raise PtyClosed(_ENDED, advice=_NOTHING)
            left = deadline - time.monotonic()
            if left <= 0 or not ready(left, writing=(self._fd,)):
                limit = f"{self._waits.write:g} s"
                raise SandboxTimeout(f"the program did not read {len(rest)} typed bytes within {limit}")
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise PtyClosed(_ENDED, advice=_NOTHING) from error

    def resize(self, size: tuple[int, int]) -> None:
        if not self._closed:
            with suppress(OSError):  # the program may just have ended
                self._child.setwinsize(size[1], size[0])

    def wait(self, timeout: float) -> int | None:
        if not self._waiter.wait(timeout):
            raise TimeoutError(f"the program still runs after {timeout:g} s")
        return self._waiter.status

    def close(self) -> None:
        if self._closed:
            return
        sessions = processes.left_by(self._pid) if self._waiter.ended else [self._pid]
        processes.end(tags=[self._tag], sessions=sessions, waits=self._waits)
        self._waiter.wait_after_kill(self._waits.kill)
        self._closed = True
        self._child.close(force=True)
        os.close(self._bell)


def no_start(what: str, folder: Path, error: Exception) -> SandboxError:
    """Return the error for a program that cannot be started."""
    advice = "look at the folder's permissions and at the machine's limits of processes and terminals"
    return SandboxError(f"no {what} can be started in {folder}: {error}", advice=advice)
