"""Keeps the warnings of a turn: the first few, and how many there were."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

#: So many are kept; whoever reads them has understood by then.
MOST = 20
#: How a warning begins that a scripted call came out otherwise than its scenario says.
SCENARIO = "its scenario: "
_REST = re.compile(r"and (\d+) more warnings?")


def some(names: Sequence[str], most: int = 10) -> str:
    """Return the first names in a row, and count the others.

    >>> some(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    others = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{others}"


class Warnings:
    """Keeps the first warnings that are added, and counts the others.

    >>> warnings = Warnings(f"line {number} is odd" for number in range(22))
    >>> list(warnings)[-2:]
    ['line 19 is odd', 'and 2 more warnings']
    >>> list(Warnings([*warnings, "one more"]))[-1]
    'and 3 more warnings'
    """

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self._kept: list[str] = []
        self._others = 0
        self += lines

    def add(self, line: str) -> None:
        """Add a warning, or the count of others."""
        if rest := _REST.fullmatch(line):
            self._others += int(rest[1])
        elif len(self._kept) < MOST:
            self._kept.append(line)
        else:
            self._others += 1

    def __iadd__(self, lines: Iterable[str]) -> Warnings:
        for line in lines:
            self.add(line)
        return self

    def __iter__(self) -> Iterator[str]:
        yield from self._kept
        if self._others:
            yield f"and {self._others} more warning{'s' * (self._others != 1)}"
