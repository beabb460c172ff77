"""Packs what a page holds beside its plain HTML, within a budget."""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any

#: Characters of a page: of articles in plain HTML, which need no script, and of everything that is packed.
PLAIN, PACKED = 1_500_000, 5_000_000
#: Characters that are packed together.
PART = 1_000_000


def packed(values: Mapping[str, Any]) -> Iterator[tuple[list[str], str]]:
    """Pack values together, as Base64 of compressed JSON: what is alike takes little room so.

    Yields the names of those in each part.

    >>> [names for names, _ in packed({"4f2a/1": {"raw": {}}, "4f2a/2": {}})]
    [['4f2a/1', '4f2a/2']]
    """
    part: dict[str, str] = {}
    size = 0
    for name, value in values.items():
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        if part and size + len(text) > PART:
            yield list(part), _compressed(part)
            part, size = {}, 0
        part[name] = text
        size += len(text)
    if part:
        yield list(part), _compressed(part)


def _compressed(part: Mapping[str, str]) -> str:
    text = ",".join(f"{json.dumps(name)}:{value}" for name, value in part.items())
    return b64encode(gzip.compress(f"{{{text}}}".encode("utf-8", "replace"), 6, mtime=0)).decode("ascii")


class Room:
    """What is left of a number of characters."""

    def __init__(self, characters: int) -> None:
        self._left = characters

    def takes(self, text: str) -> bool:
        """Take a text, if there is room for it."""
        if len(text) > self._left:
            return False
        self._left -= len(text)
        return True
