"""Writes to stdout and stderr.

Bytes go straight to the descriptors, so a chunk is on its way when the call returns, whatever the locale is.
"""

from __future__ import annotations

import os


def write(descriptor: int, text: str | bytes) -> bool:
    """Write all of it; False when nobody reads any more, which does not end a turn."""
    view = memoryview(text.encode("utf-8", "replace") if isinstance(text, str) else text)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError:
        return False
    return True
