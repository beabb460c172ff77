"""Gives pexpect's words over the terminal of a program in a sandbox."""

from __future__ import annotations

import io
import math
import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from string import ascii_lowercase
from typing import Any, NoReturn

from pexpect.exceptions import EOF, TIMEOUT
from pexpect.spawnbase import SpawnBase

from pytest_kiro.errors import HIDE_FRAMES, PtyClosed, SandboxError, message
from pytest_kiro.secrecy.redaction import Secrets
from pytest_kiro.settings.waits import Waits
from pytest_kiro.terminal.attach import Attached
from pytest_kiro.terminal.text import plain_text

__tracebackhide__ = HIDE_FRAMES
_READ_AT_ONCE = 64 * 1024
#: Characters of what was printed last that an error may show.
_SHOWN = 8000
#: Keys beside the letters that give something else with Ctrl.
_CONTROL = "@`[{\\|]}^~_?"


class Terminal(SpawnBase):  # type: ignore[misc] # pexpect tells no types
    """A program in a terminal of the sandbox, with pexpect's words.

    `expect`, `expect_exact`, `expect_list` wait for what is printed, as text, with line ends as a terminal has them
    (`\\r\\n`); `read`, `readline`, `readlines` and iterating take it as a file has it. `before`, `after`, `match` and
    `buffer` are what they found; `logfile`, `logfile_read` and `logfile_send` are open text files, or None. Where
    nothing else is said `timeout` is in seconds, 30 unless it is set, and None waits for as long as it takes. What does
    not come raises `pexpect.TIMEOUT`, or `pexpect.EOF` when the program has ended.

    From the end on, `exitstatus` is the exit status as a shell tells it (130 after Ctrl-C), None when the link was
    lost; `signalstatus` is the signal's number when it is one of a signal. Leaving the `with` ends the program and all
    that it started.

    >>> import pexpect
    >>> def test_quit_leaves_cleanly(kiro):
    ...     with kiro.terminal("chat") as terminal:
    ...         terminal.expect("> ")
    ...         terminal.sendline("/quit")
    ...         terminal.expect(pexpect.EOF)
    ...     assert terminal.exitstatus == 0
    """

    flag_eof: bool
    closed: bool

    def __init__(
        self,
        pty: Attached,
        argv: Sequence[str],
        *,
        timeout: float | None = 30.0,
        secrets: Secrets | None = None,
        waits: Waits | None = None,
        release: Callable[[], object] = lambda: None,
    ) -> None:
        self.command, self.args = argv[0], list(argv)
        self._pty, self._waits, self._release = pty, waits or Waits(), release
        #: What an error advises to do next.
        self.advice = ""
        self._secrets = secrets or Secrets()
        self._hidden = self._secrets.stream()
        self._rest = self._last = ""
        self._over = False
        super().__init__(timeout=timeout, maxread=_READ_AT_ONCE, encoding="utf-8", codec_errors="replace")
        self.closed = self.terminated = False
        self.delaybeforesend = self.delayafterread = None
        #: What Enter sends: programs that read key by key take nothing else for it.
        self.linesep = "\r"

    def __repr__(self) -> str:
        return f"<Terminal {self._secrets(shlex.join(self.args))}>"

    def __str__(self) -> str:
        if self._over:
            lost = self.exitstatus is None
            state = "the link to it was lost" if lost else f"ended with exit status {self.exitstatus}"
        elif self.closed:
            state = "closed"
        else:
            state = "it has closed its terminal, and runs on" if self.flag_eof else "it runs"
        printed = plain_text(self._last.encode("utf-8", "replace"))
        what = f"{self!r}: {state}; {'it printed last:' if printed.strip() else 'it printed nothing'}"
        return message(what, output=self._secrets(printed), advice=self.advice)

    # -- waiting for what it prints

    def expect(self, pattern: Any, timeout: float | None = -1, *more: Any, **words: Any) -> int:
        """Wait for a regular expression, `pexpect.EOF`, `pexpect.TIMEOUT` or a list's first; return its index.

        `timeout` is in seconds, -1 for the terminal's own; `searchwindowsize` is how many characters are looked at.
        """
        __tracebackhide__ = True
        return self._without_frames(super().expect, pattern, timeout, *more, **words)

    def expect_list(self, pattern_list: Any, timeout: float | None = -1, *more: Any, **words: Any) -> int:
        """Do as `expect`, with a list of compiled patterns."""
        __tracebackhide__ = True
        return self._without_frames(super().expect_list, pattern_list, timeout, *more, **words)

    def expect_exact(self, pattern_list: Any, timeout: float | None = -1, *more: Any, **words: Any) -> int:
        """Do as `expect`, with plain text."""
        __tracebackhide__ = True
        return self._without_frames(super().expect_exact, pattern_list, timeout, *more, **words)

    def _without_frames(
        self, wait: Callable[..., int], what: Any, timeout: float | None, *more: Any, **words: Any
    ) -> int:
        """Wait, and leave pexpect's own frames out of what is raised."""
        __tracebackhide__ = True
        check_seconds(timeout)
        if any(more[1:]) or words.get("async_") or words.get("async"):
            raise TypeError("a terminal in a sandbox cannot be awaited; leave out async_")
        try:
            return wait(what, timeout, *more, **words)
        except (EOF, TIMEOUT) as error:
            raise error.with_traceback(None) from None

    def read_nonblocking(self, size: int = 1, timeout: float | None = -1) -> str:
        """Return what is printed next, at most `size` characters; `TIMEOUT` after so many seconds, `EOF` at the end."""
        if not self._rest:
            self._rest = self._next(self._end(timeout))
        text, self._rest = self._rest[:size], self._rest[size:]
        return text

    def _end(self, timeout: float | None) -> float:
        """Return when so many seconds are over; -1 stands for `timeout`."""
        seconds = self.timeout if timeout == -1 else timeout
        return math.inf if seconds is None else time.monotonic() + seconds

    def _next(self, end: float) -> str:
        while not self.flag_eof:
            self._check_open()
            rest = max(0.0, end - time.monotonic())
            held = self._hidden.waits
            try:
                data = self._pty.read(min(rest, self._waits.held_in_terminal if held else 3600.0))
            except TimeoutError:
                if not held and time.monotonic() >= end:
                    raise TIMEOUT("Timeout exceeded.") from None
                hidden = self._hidden.release()
            else:
                self.flag_eof = not data
                hidden = self._hidden.feed(data, final=self.flag_eof)
            if text := self._decoder.decode(hidden, self.flag_eof):
                self._last = (self._last + text)[-_SHOWN:]
                self._log(text, "read")
            if self.flag_eof:
                self._settle(self._waits.settle)
            if text:
                return str(text)
        raise EOF("End Of File (EOF).")

    def _keep(self, text: str) -> None:
        """Leave text for `expect` that was read by the way."""
        self._buffer.write(text)
        self._before.write(text)

    # -- typing

    def send(self, s: str) -> int:
        """Type text and return how many bytes that were; `PtyClosed` when the program has ended."""
        if not isinstance(s, str):
            raise TypeError(f"what is typed is a str, not {type(s).__name__}")
        data = s.encode()  # a lone surrogate is an error, and no `?`
        self._check_open()
        # What is typed before the program has begun would be its shell's; a launch has a deadline of its own.
        while not self._pty.started and not self.flag_eof:
            with suppress(EOF, TIMEOUT):
                self._keep(self.read_nonblocking(_READ_AT_ONCE, 0.02))
        self._log(self._secrets(s), "send")
        self._pty.write(data)
        return len(data)

    def sendline(self, s: str = "") -> int:
        """Type text and press Enter, which sends `linesep`; return how many bytes that were."""
        if not isinstance(s, str):
            raise TypeError(f"what is typed is a str, not {type(s).__name__}")
        return self.send(s + self.linesep)

    def write(self, s: str) -> None:
        """Type text."""
        self.send(s)

    def writelines(self, sequence: Sequence[str]) -> None:
        """Type one text after the other."""
        for text in sequence:
            self.write(text)

    def sendcontrol(self, char: str) -> int:
        """Press Ctrl and a key: `sendcontrol("c")` is Ctrl-C."""
        key = str(char).lower()
        if len(key) != 1 or key not in ascii_lowercase + _CONTROL:
            raise ValueError(f"there is no Ctrl and {char!r}; use a letter or one of {_CONTROL}")
        return self.send("\x7f" if key == "?" else chr(ord(key) & 0x1F))

    def sendeof(self) -> None:
        """Press Ctrl-D."""
        self.sendcontrol("d")

    def sendintr(self) -> None:
        """Press Ctrl-C."""
        self.sendcontrol("c")

    # -- its window

    def setwinsize(self, rows: int, cols: int) -> None:
        """Make the window so large; the program is told."""
        self._check_open()
        self._pty.resize(check_size((cols, rows)))

    def getwinsize(self) -> tuple[int, int]:
        """Return (rows, columns)."""
        columns, rows = self._pty.size
        return rows, columns

    def isatty(self) -> bool:
        """Whether the program is at a terminal: as long as it is open."""
        return not self.closed

    def fileno(self) -> NoReturn:
        """Raise: the terminal is in the sandbox, and has no descriptor here."""
        raise io.UnsupportedOperation(f"{self!r} has no descriptor on this machine; use expect or read_nonblocking")

    # -- its end

    def isalive(self) -> bool:
        """Whether the program still runs."""
        if not (self._over or self.closed):
            self._settle(0.0)
        return not (self._over or self.closed)

    def wait(self, timeout: float | None = -1) -> int | None:
        """Wait for the program's end and return `exitstatus`; what it prints meanwhile is kept for `expect`.

        Raises `TIMEOUT` when it still runs after so many seconds (-1: the terminal's own `timeout`).
        """
        check_seconds(timeout)
        end = self._end(timeout)
        while not (self._over or self.closed):
            rest = max(0.0, end - time.monotonic())
            with suppress(EOF, TIMEOUT):
                if self.flag_eof:
                    self._settle(min(rest, 3600.0))
                else:
                    self._keep(self.read_nonblocking(_READ_AT_ONCE, min(rest, 3600.0)))
            if not rest and not self._over:
                raise TIMEOUT(f"Timeout exceeded.\n{self}")
        return self.exitstatus

    def terminate(self, force: bool = False) -> bool:
        """Press Ctrl-C and give it 5 seconds; return whether the program has ended. `force` then kills it."""
        if self.isalive():
            with suppress(PtyClosed, TIMEOUT):
                self.sendintr()
                self.wait(self._waits.grace)
            if force and self.isalive():
                self.close()
        return not self.isalive()

    def close(self, force: bool = True) -> None:
        """End the program and all it started, and close the terminal; idempotent."""
        if self.closed:
            return
        with ExitStack() as stack:
            stack.callback(self._release)
            stack.callback(self._close)
            self.isalive()  # what has ended by itself has its own status

    def _close(self) -> None:
        self.closed = True
        self._pty.close()
        if not self._over:
            self._settle(0.0)
        self.terminated = True

    def _settle(self, timeout: float) -> None:
        """Ask how it ended, if it has."""
        try:
            status = self._pty.wait(timeout)
        except TimeoutError:
            return
        except SandboxError:
            status = None
        self._over = self.terminated = True
        self.exitstatus = status
        self.signalstatus = status - 128 if status and 128 < status < 128 + 65 else None

    def _check_open(self) -> None:
        if self.closed:
            raise PtyClosed(f"{self!r} is closed; open another one")


def check_seconds(timeout: object) -> None:
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, int | float)):
        raise TypeError(f"timeout={timeout!r} is not right; wanted: seconds, None for no limit")


def check_size(size: object) -> tuple[int, int]:
    """Return (columns, rows) if it can be a terminal's size; else `TypeError` or `ValueError`.

    >>> check_size((80, 24))
    (80, 24)
    """
    refusal = f"the size {size!r} is not right; wanted: columns and rows, whole numbers from 1 to 9999"
    if not isinstance(size, tuple | list) or len(size) != 2:
        raise TypeError(refusal)
    for number in size:
        if isinstance(number, bool) or not isinstance(number, int):
            raise TypeError(refusal)
        if not 0 < number < 10_000:
            raise ValueError(refusal)
    return size[0], size[1]
