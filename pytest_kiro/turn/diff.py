"""Shows what became of files, as a unified diff."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

#: Bytes of a file that a diff compares; a larger one is only named.
LARGEST = 256 * 1024
#: How many lines are looked at to compare one file, each as often as that is done: about a second.
_STEPS = 1_000_000
_UNKNOWN = b"\0unknown"


def unified(
    paths: Iterable[str], before: Mapping[str, bytes | None], after: Mapping[str, bytes | int]
) -> dict[str, str]:
    """Return the diff of each of these paths.

    `before` has None for what was not there, and lacks what is not known; `after` lacks what is gone, and has the size
    of what cannot be compared.

    >>> print(unified(["a"], {"a": b"one\\n"}, {"a": b"two\\n"})["a"], end="")
    --- a/a
    +++ b/a
    @@ -1 +1 @@
    -one
    +two
    """
    return {path: _one(path, before.get(path, _UNKNOWN), after.get(path)) for path in sorted(paths)}


def _one(path: str, was: bytes | None, now: bytes | int | None) -> str:
    names = ("/dev/null" if was is None else f"a/{path}", "/dev/null" if now is None else f"b/{path}")
    title = f"--- {names[0]}\n+++ {names[1]}\n"
    if was is _UNKNOWN:
        return f"{title}(what it was before is not known: no seed has put it there)\n"
    old_data, new_data = was or b"", now or b""
    if isinstance(new_data, int) or any(len(side) > LARGEST or b"\0" in side for side in (old_data, new_data)):
        size = new_data if isinstance(new_data, int) else len(new_data)
        sizes = f"{len(old_data)} bytes to {size} bytes"
        return f"{title}(binary, not to be read, or larger than {LARGEST // 1024} KiB: {sizes})\n"
    old, new = (side.decode("utf-8", "replace").splitlines(keepends=True) for side in (old_data, new_data))
    lines = [line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in _hunks(old, new)]
    return f"{title}{''.join(lines)}" if lines else ""


class _Matcher(difflib.SequenceMatcher[str]):
    """Compares as difflib does, up to so many steps.

    That takes minutes for 100 KB of which every second line is another. What is not compared any more counts as
    replaced: a longer diff, which is as true.
    """

    def __init__(self, old: Sequence[str], new: Sequence[str]) -> None:
        super().__init__(None, old, new)
        self._room = _STEPS
        # Where each line of the new text stands, but for those that difflib passes over as too frequent: a count of our
        # own would take them for work. It is in Python's documentation, and not in the types of its library.
        alike = self.b2j  # type: ignore[attr-defined]
        #: Steps that it takes to look for each of the old lines, added up.
        self._costs = [*accumulate((1 + len(alike.get(line, ())) for line in old), initial=0)]

    def find_longest_match(
        self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None
    ) -> difflib.Match:
        self._room -= self._costs[ahi if ahi is not None else -1] - self._costs[alo]
        return super().find_longest_match(alo, ahi, blo, bhi) if self._room >= 0 else difflib.Match(alo, blo, 0)


def _hunks(old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    """Yield the lines of a unified diff, behind its title."""
    for group in _Matcher(old, new).get_grouped_opcodes():
        first, last = group[0], group[-1]
        yield f"@@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@\n"
        for tag, old_from, old_to, new_from, new_to in group:
            if tag == "equal":
                yield from (f" {line}" for line in old[old_from:old_to])
                continue
            yield from (f"-{line}" for line in old[old_from:old_to])
            yield from (f"+{line}" for line in new[new_from:new_to])


def _range(start: int, stop: int) -> str:
    """Return a hunk's lines as POSIX has them.

    >>> _range(0, 1), _range(0, 0), _range(2, 5)
    ('1', '0,0', '3,3')
    """
    if stop - start == 1:
        return f"{start + 1}"
    return f"{start + (stop > start)},{stop - start}"
