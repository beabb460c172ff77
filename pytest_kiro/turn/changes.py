"""What turns changed in a workspace, by content: paths, and a unified diff."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pytest_kiro.errors import HIDE_FRAMES, SandboxError
from pytest_kiro.secrecy.visible import escaped
from pytest_kiro.turn.shown import SHOWN, listed, short

__tracebackhide__ = HIDE_FRAMES
#: By path, a digest of what a file holds.
Manifest = Mapping[str, str]
#: Bytes of a file that a diff compares; a larger one is only named.
LARGEST = 256 * 1024
_UNKNOWN = b"\0unknown"
KINDS = ("added", "modified", "deleted")


class Paths(frozenset[str]):
    """Relative paths that turns changed: a set that a failed assert explains.

    >>> Paths({"b.py", "a.py"}) == {"a.py", "b.py"}, Paths({"b.py", "a.py"})
    (True, {'a.py', 'b.py'})
    """

    def __repr__(self) -> str:
        return f"{{{listed([repr(short(path, 60)) for path in sorted(self)], SHOWN - 2)}}}" if self else "set()"


@dataclass(frozen=True)
class Changes:
    """Relative paths that Kiro added, modified and deleted; falsy when nothing changed.

    Two lists of files with a digest of their content are compared, one from before a turn and one from
    after, so what the eval itself writes or executes is not in it. `.git` and `__pycache__` are left out.

    >>> bool(Changes()), Changes(added=frozenset({"a.py"}))
    (False, <Changes added: a.py>)
    """

    added: frozenset[str] = frozenset()
    modified: frozenset[str] = frozenset()
    deleted: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.added or self.modified or self.deleted)

    @property
    def paths(self) -> frozenset[str]:
        """All of them."""
        return Paths(self.added | self.modified | self.deleted)

    def __repr__(self) -> str:
        sets = {name: getattr(self, name) for name in KINDS}
        kinds = {name: [short(escaped(path), 60) for path in sorted(paths)] for name, paths in sets.items() if paths}
        room = (SHOWN - 12) // max(1, len(kinds)) - 12
        return f"<Changes {'; '.join(f'{name}: {listed(paths, room)}' for name, paths in kinds.items()) or 'none'}>"


class Ledger:
    """Adds the turns up: a path's digest before the first turn that touched it, and after the last."""

    def __init__(self) -> None:
        self._first: dict[str, str | None] = {}
        self._last: dict[str, str | None] = {}
        self._missed: str | None = None

    def record(self, before: Manifest, after: Manifest) -> Changes:
        """Take in one turn and return what it changed."""
        changes = _compare(before, after)
        for path in changes.paths:
            self._first.setdefault(path, before.get(path))
            self._last[path] = after.get(path)
        return changes

    def miss(self, turn: str) -> None:
        """Note a turn whose changes are unknown: no changes would be a lie now."""
        self._missed = turn

    def changes(self) -> Changes:
        """Return what all turns together changed; `SandboxError` when one of them is not known."""
        if self._missed is not None:
            raise SandboxError(
                f"what Kiro changed in this workspace is not known any more: {self._missed}",
                advice="look at that turn",
            )
        return _compare(self._first, self._last)


def _compare(before: Mapping[str, str | None], after: Mapping[str, str | None]) -> Changes:
    """Compare two lists of digests; what is not there is missing or None."""
    paths = {path: (before.get(path), after.get(path)) for path in before.keys() | after.keys()}
    return Changes(
        added=Paths(path for path, (was, now) in paths.items() if was is None and now is not None),
        modified=Paths(p for p, (was, now) in paths.items() if was is not None and now not in (None, was)),
        deleted=Paths(path for path, (was, now) in paths.items() if was is not None and now is None),
    )


def unified(paths: Iterable[str], before: Mapping[str, bytes | None], after: Mapping[str, bytes]) -> str:
    """Return the diff of these paths.

    `before` has None for what was not there, and lacks what is not known; `after` lacks what is gone.

    >>> print(unified(["a"], {"a": b"one\\n"}, {"a": b"two\\n"}), end="")
    --- a/a
    +++ b/a
    @@ -1 +1 @@
    -one
    +two
    """
    return "".join(_one(path, before.get(path, _UNKNOWN), after.get(path)) for path in sorted(paths))


def _one(path: str, was: bytes | None, now: bytes | None) -> str:
    names = ("/dev/null" if was is None else f"a/{path}", "/dev/null" if now is None else f"b/{path}")
    if was is _UNKNOWN:
        return f"--- {names[0]}\n+++ {names[1]}\n(what it was before is not known: no seed has put it there)\n"
    sides = [side or b"" for side in (was, now)]
    if any(len(side) > LARGEST or b"\0" in side for side in sides):
        sizes = " to ".join(f"{len(side)} bytes" for side in sides)
        return f"--- {names[0]}\n+++ {names[1]}\n(binary, or larger than {LARGEST // 1024} KiB: {sizes})\n"
    old, new = (side.decode("utf-8", "replace").splitlines(keepends=True) for side in sides)
    lines = difflib.unified_diff(old, new, *names)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
