"""Waits for descriptors, however many a process has open."""

from __future__ import annotations

import math
import select
import time
from collections.abc import Sequence

#: What `select` can be given ends here, whatever the limits of the process are; an agent's host may have more open.
_SELECT_ENDS = 1024
#: Seconds of one system call that waits. A signal that comes after Python has looked for signals and before the call,
#: or to another thread, does not end it: a SIGTERM was lost so for as long as an `exec` may last.
LONGEST_WAIT = 0.5


def ready(timeout: float, *, reading: Sequence[int] = (), writing: Sequence[int] = ()) -> bool:
    """Return whether a descriptor can be read or written within `timeout` seconds.

    >>> ready(0.0)
    False
    """
    deadline = time.monotonic() + timeout
    while not (found := _ready(min(timeout, LONGEST_WAIT), reading, writing)) and timeout > LONGEST_WAIT:
        timeout = max(0.0, deadline - time.monotonic())
    return found


def _ready(timeout: float, reading: Sequence[int], writing: Sequence[int]) -> bool:
    if max((*reading, *writing), default=0) < _SELECT_ENDS:
        return any(select.select(reading, writing, (), timeout))
    poll = select.poll()  # not always: macOS's knows no terminals
    for descriptors, event in ((reading, select.POLLIN), (writing, select.POLLOUT)):
        for descriptor in descriptors:
            poll.register(descriptor, event)
    return bool(poll.poll(math.ceil(timeout * 1000)))
