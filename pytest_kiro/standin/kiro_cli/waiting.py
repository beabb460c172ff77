"""Waits for input or time to pass, so that signals are noticed.

Both wait in slices: a signal that comes just before a wait is not noticed until that wait is over.
"""

from __future__ import annotations

import select
import time

SLICE_SECONDS = 0.2


def until_readable(descriptor: int) -> None:
    """Wait until there is input."""
    while not select.select([descriptor], [], [], SLICE_SECONDS)[0]:
        pass


def pause(seconds: float) -> None:
    """Wait so many seconds; infinity is for ever."""
    end = time.monotonic() + seconds
    while seconds > 0:
        time.sleep(min(seconds, SLICE_SECONDS))
        seconds = end - time.monotonic()
