"""JSON, ids and times, as the real program writes them."""

from __future__ import annotations

import json
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

loads = json.loads


def dumps(value: Any, indent: int | None = None) -> str:
    """Write one JSON value: no blanks or an indent of two, and text as it is."""
    return json.dumps(value, ensure_ascii=False, indent=indent, separators=(",", ": " if indent else ":"))


def read(path: str) -> str:
    """Read a text file; what is no UTF-8 becomes replacement characters."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def new_id() -> str:
    """Make a random UUID (version 4)."""
    raw = bytearray(os.urandom(16))
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def timestamp(digits: int = 6) -> str:
    """Write the time in UTC, with this many fractional digits."""
    nanoseconds = time.time_ns()
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(nanoseconds // 10**9))
    return f"{seconds}.{nanoseconds % 10**9 // 10 ** (9 - digits):0{digits}d}Z"
