"""Makes the developer's terminal raw, and gives it back as it was."""

from __future__ import annotations

import os
import re
import signal
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pytest_kiro.sandbox.ready import ready

#: How a program switches modes, asks for more detailed keys (and no more), and colours.
_MODE = re.compile(rb"\x1b\[\?([0-9;]+)([hl])|\x1b\[([<>])[0-9;]*u|\x1b\[([0-9;:]*)m")
#: Modes that are usually off: mouse reports, pasting in brackets, the other screen.
_MODES_OFF = (b"9", b"47", b"1000", b"1002", b"1003", b"1004", b"1005", b"1006", b"1015", b"1047", b"1049", b"2004")
_CURSOR = b"25"
_USUAL_SIZE = (80, 24)
_AT_ONCE = 64 * 1024


class NoTerminal(Exception):
    """This process has no terminal, or has it no more; the message says why."""


class Tty:
    """Reads and writes the developer's terminal, and never blocks: no screen may hold up a deadline."""

    def __init__(self) -> None:
        try:
            self._fd = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise NoTerminal(f"/dev/tty cannot be opened ({error.strerror}); run this in a terminal") from error
        self._former, self._raw = list[Any](), list[Any]()
        self._taken = False
        self._modes = _Modes()
        self._waiting = b""

    def in_front(self) -> bool:
        """Whether keys are for this process: the kernel stops one that reads them in the background."""
        with _still_there():
            return os.tcgetpgrp(self._fd) == os.getpgrp()

    def size(self) -> tuple[int, int]:
        """Return (columns, rows)."""
        with _still_there():
            columns, rows = os.get_terminal_size(self._fd)
        return (columns, rows) if columns and rows else _USUAL_SIZE  # a fresh pty says 0x0

    def take(self, *, drain: bool = False) -> bool:
        """Make it raw, if it is not; return whether it had to be. `drain` drops keys that were pressed before."""
        with _still_there():
            now = termios.tcgetattr(self._fd)
            if not self._former:
                self._former, self._raw = now, _raw(now)
            if self._taken and now == self._raw:
                return False
            self._taken = True
            termios.tcsetattr(self._fd, termios.TCSANOW, self._raw)
            self._taken = True  # a signal may have given it back in between
            if drain:
                termios.tcflush(self._fd, termios.TCIFLUSH)
        return True

    def give_back(self) -> None:
        """Make it as it was; idempotent. Keys that were not read must not become commands of the shell."""
        if not self._taken:
            return
        # A process in the background may set a terminal only while this signal is blocked.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTTOU])
        try:
            with suppress(OSError):  # it takes no more
                os.write(self._fd, self._modes.undo())
            with suppress(termios.error):  # it is gone
                termios.tcflush(self._fd, termios.TCIFLUSH)
                termios.tcsetattr(self._fd, termios.TCSANOW, self._former)
            self._taken = False
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def keys(self) -> bytes:
        """Return what was pressed, b"" when nothing was."""
        with _still_there(), suppress(BlockingIOError):
            if ready(0, reading=(self._fd,)):
                if data := os.read(self._fd, _AT_ONCE):
                    return data
                raise OSError("end of file")
        return b""

    def print(self, data: bytes) -> None:
        """Have the screen given these bytes, as soon as it takes them."""
        self._modes.note(data)
        self._waiting += data

    def flush(self, timeout: float) -> int:
        """Give the screen what it takes within so many seconds; return how much still waits."""
        with _still_there(), suppress(BlockingIOError):
            if self._waiting and ready(timeout, writing=(self._fd,)):
                self._waiting = self._waiting[os.write(self._fd, self._waiting[:_AT_ONCE]) :]
        return len(self._waiting)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)


@contextmanager
def _still_there() -> Iterator[None]:
    try:
        yield
    except (OSError, termios.error) as error:
        raise NoTerminal(f"the terminal has gone away ({error}); run this again in one that stays open") from error


def _raw(attributes: list[Any]) -> list[Any]:
    """Return a terminal's attributes that pass each key at once, unchanged.

    Output goes on to be processed, since other lines than the program's would otherwise go down like stairs.
    """
    iflag, oflag, cflag, lflag, ispeed, ospeed, chars = attributes
    t = termios
    iflag &= ~(
        t.IGNBRK | t.BRKINT | t.PARMRK | t.INPCK | t.ISTRIP | t.INLCR | t.IGNCR | t.ICRNL | t.IXON | t.IXOFF | t.IXANY
    )
    lflag &= ~(t.ECHO | t.ECHONL | t.ICANON | t.ISIG | t.IEXTEN)
    cflag = (cflag & ~(t.CSIZE | t.PARENB)) | t.CS8
    chars = [*chars]
    chars[t.VMIN], chars[t.VTIME] = 1, 0
    return [iflag, oflag, cflag, lflag, ispeed, ospeed, chars]


class _Modes:
    """What a program has switched on in the screen: one that is killed does not switch it off."""

    def __init__(self) -> None:
        self._on: dict[bytes, bool] = {}
        self._pushed = 0
        self._coloured = False
        self._rest = b""

    def note(self, data: bytes) -> None:
        seen = self._rest + data
        end = 0
        for mode in _MODE.finditer(seen):
            end = mode.end()
            if mode[1]:
                self._on |= dict.fromkeys(mode[1].split(b";"), mode[2] == b"h")
            elif mode[4] is not None:
                self._coloured = mode[4] not in (b"", b"0")
            elif mode[3]:
                self._pushed = max(0, self._pushed + (1 if mode[3] == b">" else -1))
        self._rest = seen[max(end, len(seen) - 32) :]

    def undo(self) -> bytes:
        """Return what switches off active modes, and shows a hidden cursor."""
        off = [b"\x1b[?%sl" % mode for mode in _MODES_OFF if self._on.get(mode)]
        cursor = [] if self._on.get(_CURSOR, True) else [b"\x1b[?25h"]
        colour = [b"\x1b[0m"] * self._coloured
        undone = b"".join([*[b"\x1b[<u"] * min(self._pushed, 8), *off, *cursor, *colour])
        self._on, self._pushed, self._coloured = {}, 0, False
        return undone
