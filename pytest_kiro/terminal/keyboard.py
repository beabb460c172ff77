"""Lends the developer's terminal to a program, and always gives it back.

It is always `/dev/tty`: pytest puts other things in the place of stdin and stdout, and a worker of xdist has neither.
"""

from __future__ import annotations

import queue
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from pytest_kiro.errors import PtyClosed, SandboxTimeout
from pytest_kiro.sandbox.protocol import Pty
from pytest_kiro.settings.waits import Waits
from pytest_kiro.terminal.devtty import NoTerminal, Tty
from pytest_kiro.terminal.launch import ProgramPty

__all__ = ["NoTerminal", "is_there", "lend", "size"]
#: Bytes that wait for the terminal; beyond it the program is not read, as a full terminal would hold it.
_HELD = 64 * 1024
#: Bytes that are typed at a time: each piece has the Pty's own deadline, so a slow reader gets a long paste as well.
_PIECE = 1024
#: Ctrl-C, as terminals send it plainly and when a program asked for more detailed keys.
_INTERRUPT = re.compile(rb"\x03|\x1b\[99;5u|\x1b\[27;5;99~")
#: What ends a process that has no handler of its own for it.
_DEADLY = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)


def is_there() -> bool:
    """Whether there is a terminal, and this process may read its keys.

    >>> is_there() in (True, False)
    True
    """
    try:
        terminal = Tty()
    except NoTerminal:
        return False
    try:
        return terminal.in_front()
    except NoTerminal:
        return False
    finally:
        terminal.close()


def size() -> tuple[int, int]:
    """Return (columns, rows) of the terminal, 80x24 where it does not know; `NoTerminal` without one."""
    terminal = Tty()
    try:
        return terminal.size()
    finally:
        terminal.close()


def lend(
    pty: ProgramPty,
    *,
    show: Callable[[bytes], bytes] = lambda data: data,
    tick: Callable[[], bytes] = lambda: b"",
    timeout: float,
    waits: Waits | None = None,
) -> int | None:
    """Connect keyboard and screen with the program in `pty` until it ends.

    Returns its exit status, None for a lost link. Keys that were pressed before do not reach it. `show` gets what the
    program prints and returns what the screen is given; so does `tick`, which is called 4 times a second
    (`waits.keyboard_tick`). Ctrl-C goes to the program, which then has `waits.grace` seconds to end; after that, or at
    a second one, `KeyboardInterrupt` is raised, as when it has ended. Raises `TimeoutError` after `timeout` seconds,
    `NoTerminal` where there is none or when it goes away. The caller closes the pty.
    """
    waits = waits or Waits()
    terminal = Tty()
    try:
        if not terminal.in_front():
            raise NoTerminal("this process is in the background, where no key reaches it; bring it to the front (fg)")
        typist = _Typist(pty, waits.last_key)
        try:
            with _signals(terminal):
                try:
                    terminal.take(drain=True)
                    return _Loan(pty, terminal, typist, show, tick, waits).run(timeout)
                finally:
                    try:
                        terminal.give_back()
                    finally:  # a second Ctrl-C may have come in the middle
                        terminal.give_back()
        finally:
            typist.end()
    finally:
        terminal.close()


@contextmanager
def _signals(terminal: Tty) -> Iterator[None]:
    """Give the terminal back before a signal ends or stops this process."""

    def end(number: int, _frame: FrameType | None) -> None:
        terminal.give_back()
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    def stop(number: int, _frame: FrameType | None) -> None:
        terminal.give_back()
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)  # here the process stands still, until it is continued
        signal.signal(number, stop)

    handlers: dict[signal.Signals, Callable[[int, FrameType | None], None]] = {}
    if threading.current_thread() is threading.main_thread():  # others may set no handlers
        wanted = {**dict.fromkeys(_DEADLY, end), signal.SIGTSTP: stop}
        handlers = {number: one for number, one in wanted.items() if signal.getsignal(number) is signal.SIG_DFL}
    try:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        yield
    finally:
        for number in handlers:
            signal.signal(number, signal.SIG_DFL)


class _Typist:
    """Types in a thread: a program that does not read must not hold up the next Ctrl-C."""

    def __init__(self, pty: Pty, last_key: float) -> None:
        self._pty, self._last_key = pty, last_key
        self._keys = queue.SimpleQueue[bytes]()
        self._leaves, self._ended = threading.Event(), False
        #: Why nothing can be typed any more, where that is no ordinary end.
        self.error: BaseException | None = None
        #: Whether keys were lost since the last look.
        self.deaf = False
        self._thread = threading.Thread(target=self._run, name="kiro-keyboard", daemon=True)
        self._thread.start()

    def type(self, data: bytes) -> None:
        for start in range(0, len(data), _PIECE):
            self._keys.put(data[start : start + _PIECE])

    def _run(self) -> None:
        while not self._leaves.is_set():
            data = self._keys.get()
            if self._ended or self._leaves.is_set():
                continue
            try:
                self._pty.write(data)
            except PtyClosed:
                self._ended = True  # what it has said is still being read
            except SandboxTimeout:
                self.deaf = True
                with suppress(queue.Empty):  # it would not read the rest of a paste, either
                    while True:
                        self._keys.get_nowait()
            except BaseException as error:
                self.error, self._ended = error, True

    def end(self) -> None:
        """End the thread; keys that are not typed yet are dropped."""
        self._leaves.set()
        self._keys.put(b"")
        self._thread.join(self._last_key)
        if self._thread.is_alive():
            with suppress(Exception):  # the caller's own close will tell
                self._pty.close()
            self._thread.join()


class _Loan:
    """Carries keys in and bytes out until the program ends."""

    def __init__(
        self,
        pty: ProgramPty,
        terminal: Tty,
        typist: _Typist,
        show: Callable[[bytes], bytes],
        tick: Callable[[], bytes],
        waits: Waits,
    ) -> None:
        self._pty, self._terminal, self._typist, self._waits = pty, terminal, typist, waits
        self._show, self._tick, self._turn = show, tick, waits.keyboard_turn
        self._size: tuple[int, int] | None = None
        self._pressed: float | None = None
        self._early = b""
        self._silent = self._over = False
        self._status: int | None = None

    def run(self, timeout: float) -> int | None:
        end, ticked = time.monotonic() + timeout, 0.0
        while not self._over or self._terminal.flush(self._turn):
            now = time.monotonic()
            if self._pressed is not None and now >= self._pressed + self._waits.grace:
                raise KeyboardInterrupt
            if now >= end:
                raise TimeoutError(f"the program in this terminal did not end within {timeout:g} s")
            if now >= ticked + self._waits.keyboard_tick:
                ticked = now
                self._terminal.print(self._tick())
            self._look()
            if self._typist.error is not None:
                raise self._typist.error
            if self._terminal.flush(0) <= _HELD:
                self._listen()
            else:
                self._terminal.flush(self._turn)
        if self._pressed is not None:
            raise KeyboardInterrupt
        return self._status

    def _look(self) -> None:
        """Pass on the keys and the window's size."""
        if not self._terminal.in_front():
            return  # until it comes back: who reads keys in the background is stopped
        size = self._terminal.size()
        if self._terminal.take():  # another process had it in between: a change lets the program draw anew
            self._resize((size[0], size[1] + 1))
        if size != self._size:
            self._resize(size)
        keys = self._terminal.keys()
        self._early += keys
        if begun := self._pty.started:  # else they would be its shell's
            self._typist.type(self._early)
            self._early = b""
        if self._typist.deaf:
            self._typist.deaf = False
            self._terminal.print(b"\a")
        presses = len(_INTERRUPT.findall(keys))
        if presses > 1 or (presses and (self._pressed is not None or not begun)):
            raise KeyboardInterrupt
        if presses:
            self._pressed = time.monotonic()

    def _resize(self, size: tuple[int, int]) -> None:
        self._size = size
        if not self._silent:
            self._pty.resize(size)

    def _listen(self) -> None:
        """Print what the program says, and in the end ask its status."""
        try:
            if self._silent:
                self._status = self._pty.wait(self._turn)
                self._over = True
                return
            data = self._pty.read(self._turn)
        except TimeoutError:
            return
        if data:
            self._terminal.print(self._show(data))
        else:
            self._silent = True
