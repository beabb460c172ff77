"""Finds failures that are alike."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Iterable
from typing import TypeVar

_T = TypeVar("_T", bound=Hashable)
#: What differs between two failures of one kind: numbers, digests, addresses, and paths of temporary folders.
_VARIES = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{8,}\b|\d+(?:\.\d+)?", re.I)
_TEMPORARY = re.compile(r"(?:/tmp|/var/folders|/private)/[^\s'\":,)]*/")


def kind_of(message: str) -> str:
    """Return what a failure says, without what varies.

    >>> kind_of("assert 12 <= 3\\n  where 12 = len(x)") == kind_of("assert 5 <= 4")
    True
    """
    first = message.strip().partition("\n")[0]
    return _VARIES.sub("N", _TEMPORARY.sub("…/", first))


def alike(failures: Iterable[tuple[str, _T]]) -> list[tuple[str, list[_T]]]:
    """Return failures by kind, under the first message of each; the commonest first, and only what is there twice.

    >>> alike([("assert 1 == 2", "a"), ("no such file", "b"), ("assert 3 == 2", "c")])
    [('assert 1 == 2', ['a', 'c'])]
    """
    kinds: defaultdict[str, list[tuple[str, _T]]] = defaultdict(list)
    for message, what in failures:
        if message.strip():
            kinds[kind_of(message)].append((message.strip().partition("\n")[0], what))
    several = [(own[0][0], [what for _, what in own]) for own in kinds.values() if len(own) > 1]
    return sorted(several, key=lambda one: -len(one[1]))
