"""Opens the terminals of a local sandbox."""

from __future__ import annotations

import os
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pytest_kiro.errors import PtyClosed, SandboxError, SandboxTimeout
from pytest_kiro.sandbox.protocol import Survivors
from pytest_kiro.sandbox.ready import ready
from pytest_kiro.sandbox.supervision import Warden
from pytest_kiro.settings.waits import Waits

_READ_AT_ONCE = 256 * 1024
#: What a terminal can still hold when its program has ended; more comes from children that go on printing.
_READ_AFTER_END = 1024 * 1024
_ENDED, _NOTHING = "the program in this terminal has ended", "nothing can be typed"


class LocalPty:
    """A terminal of this machine (contract P)."""

    def __init__(
        self,
        warden: Warden,
        argv: tuple[str, ...],
        cwd: Path,
        env: dict[str, str],
        size: tuple[int, int],
        *,
        waits: Waits,
        openpty: Callable[[], tuple[int, int]] = os.openpty,
    ) -> None:
        self._waits = waits
        self.closed, self._ended, self._left = False, False, _READ_AFTER_END
        #: What had to be killed when it was closed, as far as the program had left it behind.
        self.survivors = Survivors()
        self._fd, slave = openpty()
        try:
            termios.tcsetwinsize(slave, (size[1], size[0]))
            self._program = warden.start(argv, cwd, env, stdin=slave, output=slave, terminal=True)
        except OSError as error:
            os.close(self._fd)
            raise no_start("terminal", cwd, error) from error
        finally:
            os.close(slave)
        os.set_blocking(self._fd, False)

    def read(self, timeout: float) -> bytes:
        deadline = time.monotonic() + timeout
        while not self._ended:
            over = self._program.ended  # asked before the drain: what was written before the exit is in it
            if data := self._drain():
                if over:
                    self._left -= len(data)
                    self._ended = self._left <= 0
                return data
            if over or self._ended:
                break
            left = deadline - time.monotonic()
            if left <= 0 or not ready(left, reading=(self._fd, self._program.fileno())):
                raise TimeoutError(f"nothing was printed for {timeout:g} s")
        self._ended = True
        return b""

    def _drain(self) -> bytes:
        """Read what is there: a terminal hands out 4 KiB at a time, so one read a call would cost the most."""
        if self.closed:
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
            if self.closed or self._program.ended:
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
        if not self.closed:
            with suppress(OSError):  # the program may just have ended
                termios.tcsetwinsize(self._fd, (size[1], size[0]))

    def wait(self, timeout: float) -> int | None:
        if not self._program.wait(timeout):
            raise TimeoutError(f"the program still runs after {timeout:g} s")
        return self._program.status  # None when its supervisor was killed: nobody knows how it ended

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self.survivors = self._program.end()
        os.close(self._fd)


def no_start(what: str, folder: Path, error: Exception) -> SandboxError:
    """Return the error for a program that cannot be started."""
    advice = "look at the folder's permissions and at the machine's limits of processes and terminals"
    return SandboxError(f"no {what} can be started in {folder}: {error}", advice=advice)
