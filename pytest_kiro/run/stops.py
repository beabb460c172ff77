"""Counts a run's requests to stop, by Ctrl-C or a signal."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

_USUAL: dict[signal.Signals, Callable[[int, FrameType | None], Any] | signal.Handlers] = {
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
    signal.SIGINT: signal.default_int_handler,
}


class Stops:
    """How often the run was told to stop: once ends it gently, twice at once."""

    def __init__(self) -> None:
        self.count = 0

    @property
    def leaving(self) -> bool:
        """Whether it was told twice: then nothing is cleared away any more."""
        return self.count > 1

    def listen(self, end: Callable[[signal.Signals], None], *, worker: bool = False) -> Callable[[], None]:
        """Count Ctrl-C from now on; return what undoes that.

        `end` is called at SIGTERM and SIGHUP, and raises. A signal that has another handler keeps it. A second SIGTERM
        or SIGHUP ends the process at once. In a `worker` of xdist, a SIGINT after them is no second Ctrl-C: execnet
        sends it where five seconds after the end of the controller something still runs.
        A process that is forked from this one ends as it would without us.
        """
        listener, ends = os.getpid(), False

        def stop(number: int, frame: FrameType | None) -> None:
            nonlocal ends
            __tracebackhide__ = True
            # What is raised in a fork may be lost on its way: a pool then waits for a worker that it has ended.
            if os.getpid() != listener and number != signal.SIGINT:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            if ends and worker and number == signal.SIGINT:
                return
            self.count += 1
            if number == signal.SIGINT:
                signal.default_int_handler(number, frame)
            signal.signal(number, signal.SIG_DFL)
            ends = True
            end(signal.Signals(number))

        is_main = threading.current_thread() is threading.main_thread()
        taken = {number: usual for number, usual in _USUAL.items() if is_main and signal.getsignal(number) is usual}
        for number in taken:
            signal.signal(number, stop)

        def undo() -> None:
            for number, usual in taken.items():
                signal.signal(number, usual)

        return undo
