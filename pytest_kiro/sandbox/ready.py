"""Waits for descriptors, however many a process has open."""

from __future__ import annotations

import math
import select
from collections.abc import Sequence

#: What `select` can be given ends here, whatever the limits of the process are; an agent's host may have more open.
_SELECT_ENDS = 1024


def ready(timeout: float, *, reading: Sequence[int] = (), writing: Sequence[int] = ()) -> bool:
    """Return whether a descriptor can be read or written within `timeout` seconds.

    >>> ready(0.0)
    False
    """
    if max((*reading, *writing), default=0) < _SELECT_ENDS:
        return any(select.select(reading, writing, (), timeout))
    poll = select.poll()  # not always: macOS's knows no terminals
    for descriptors, event in ((reading, select.POLLIN), (writing, select.POLLOUT)):
        for descriptor in descriptors:
            poll.register(descriptor, event)
    return bool(poll.poll(math.ceil(timeout * 1000)))
