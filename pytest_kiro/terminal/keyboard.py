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
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

from pytest_kiro.errors import PtyClosed, SandboxTimeout
from pytest_kiro.sandbox.protocol import Pty
from pytest_kiro.settings.waits import Waits
from pytest_kiro.terminal.attach import Attached
from pytest_kiro.terminal.devtty import NoTerminal, Tty

__all__ = ["NoTerminal", "is_there", "lend", "size"]
#: Bytes that wait for the terminal; beyond it the program is not read, as a full terminal would hold it.
_HELD = 64 * 1024
#: Bytes that are typed at a time: each piece has the Pty's own deadline, so a slow reader gets a long paste as well.
_PIECE = 1024
#: Ctrl-C, as terminals send it plainly and when a program asked for more detailed keys.
_INTERRUPT = re.compile(rb"\x03|\x1b\[99;5u|\x1b\[27;5;99~")
#: What ends or stops a process that has no handler of its own for it.
_LEAVING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP)


def is_there() -> bool:
    """Whether there is a terminal, and this process may read its keys.

    >>> is_there() in (True, False)
    True
    """
    with suppress(NoTerminal), closing(Tty()) as terminal:
        return terminal.in_front()
    return False


def size() -> tuple[int, int]:
    """Return (columns, rows) of the terminal, 80x24 where it does not know; `NoTerminal` without one."""
    with closing(Tty()) as terminal:
        return terminal.size()


def lend(
    pty: Attached,
    *,
    show: Callable[[bytes], bytes] = lambda data: data,
    tick: Callable[[], bytes] = lambda: b"",
    timeout: float,
    waits: Waits | None = None,
) -> int | None:
    """Connect keyboard and screen with the program in `pty` until it ends.

    Returns its exit status, None for a lost link. What `show` and (each `waits.keyboard_tick`) `tick` return is given
    to the screen. Ctrl-C goes to the program; `KeyboardInterrupt` comes when it has ended of it, after `waits.grace`
    seconds or at a second one. `TimeoutError` after `timeout` seconds; `NoTerminal` also when it goes away.
    """
    waits = waits or Waits()
    with closing(Tty()) as terminal:
        if not terminal.in_front():
            raise NoTerminal("this process is in the background, where no key reaches it; bring it to the front (fg)")
        with closing(_Typist(pty, waits.last_key)) as typist, _taken(terminal):
            return _Loan(pty, terminal, typist, show, tick, waits).run(timeout)


@contextmanager
def _taken(terminal: Tty) -> Iterator[None]:
    """Make the terminal raw, and give it back.

    That is in the end, and before a signal ends or stops this process.
    """

    def leave(number: int, _frame: FrameType | None) -> None:
        terminal.give_back()
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)  # here the process ends, or stands still until it is continued
        signal.signal(number, leave)

    numbers: list[signal.Signals] = []
    if threading.current_thread() is threading.main_thread():  # others may set no handlers
        numbers = [number for number in _LEAVING if signal.getsignal(number) is signal.SIG_DFL]
    with ExitStack() as undo:
        for number in numbers:
            undo.callback(signal.signal, number, signal.SIG_DFL)
            signal.signal(number, leave)
        undo.callback(terminal.give_back)
        undo.callback(terminal.give_back)  # a second Ctrl-C may have come in the middle of the other
        terminal.take(drain=True)
        yield


class _Typist:
    """Types in a thread: a program that does not read must not hold up the next Ctrl-C."""

    def __init__(self, pty: Pty, last_key: float) -> None:
        self._pty, self._last_key = pty, last_key
        self._keys = queue.SimpleQueue[bytes]()
        self._leaves = threading.Event()
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
            if self._leaves.is_set():
                return
            try:
                self._pty.write(data)
            except PtyClosed:
                return  # what it has said is still being read
            except SandboxTimeout:
                self.deaf = True
                with suppress(queue.Empty):  # it would not read the rest of a paste, either
                    while True:
                        self._keys.get_nowait()
            except BaseException as error:
                self.error = error
                return

    def close(self) -> None:
        """End the thread; keys that are not typed yet are dropped."""
        self._leaves.set()
        self._keys.put(b"")
        self._thread.join(self._last_key)
        if self._thread.is_alive():
            with suppress(Exception):  # the caller's own close will tell
                self._pty.close()
            self._thread.join()


@dataclass
class _Loan:
    """Carries keys in and bytes out until the program ends."""

    pty: Attached
    terminal: Tty
    typist: _Typist
    show: Callable[[bytes], bytes]
    tick: Callable[[], bytes]
    waits: Waits
    size: tuple[int, int] | None = None
    pressed: float | None = None
    early: bytes = b""
    silent: bool = False
    over: bool = False
    status: int | None = None

    def run(self, timeout: float) -> int | None:
        end, ticked = time.monotonic() + timeout, 0.0
        while not self.over or self.terminal.flush(self.waits.keyboard_turn):
            now = time.monotonic()
            if self.pressed is not None and now >= self.pressed + self.waits.grace:
                raise KeyboardInterrupt
            if now >= end:
                raise TimeoutError(f"the program in this terminal did not end within {timeout:g} s")
            if now >= ticked + self.waits.keyboard_tick:
                ticked = now
                self.terminal.print(self.tick())
            self._look()
            if self.typist.error is not None:
                raise self.typist.error
            if self.terminal.flush(0) <= _HELD:
                self._listen()
            else:
                self.terminal.flush(self.waits.keyboard_turn)
        if self.pressed is not None:
            raise KeyboardInterrupt
        return self.status

    def _look(self) -> None:
        """Pass on the keys and the window's size."""
        if not self.terminal.in_front():
            return  # until it comes back: who reads keys in the background is stopped
        size = self.terminal.size()
        if self.terminal.take():  # another process had it in between: a change lets the program draw anew
            self._resize((size[0], size[1] + 1))
        if size != self.size:
            self._resize(size)
        keys = self.terminal.keys()
        self.early += keys
        if begun := self.pty.started:  # else they would be its shell's
            self.typist.type(self.early)
            self.early = b""
        if self.typist.deaf:
            self.typist.deaf = False
            self.terminal.print(b"\a")
        presses = len(_INTERRUPT.findall(keys))
        if presses > 1 or (presses and (self.pressed is not None or not begun)):
            raise KeyboardInterrupt
        if presses:
            self.pressed = time.monotonic()

    def _resize(self, size: tuple[int, int]) -> None:
        self.size = size
        if not self.silent:
            self.pty.resize(size)

    def _listen(self) -> None:
        """Print what the program says, and in the end ask its status."""
        try:
            if self.silent:
                self.status = self.pty.wait(self.waits.keyboard_turn)
                self.over = True
                return
            data = self.pty.read(self.waits.keyboard_turn)
        except TimeoutError:
            return
        if data:
            self.terminal.print(self.show(data))
        else:
            self.silent = True
