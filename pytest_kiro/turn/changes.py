"""What turns changed in a workspace, by content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pytest_kiro.errors import HIDE_FRAMES, SandboxError
from pytest_kiro.turn.shown import SHOWN, listed, short

__tracebackhide__ = HIDE_FRAMES
#: By path, a digest of what a file holds.
Manifest = Mapping[str, str]
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
        kinds = {name: [short(path, 60) for path in sorted(paths)] for name in KINDS if (paths := getattr(self, name))}
        room = (SHOWN - 12) // max(1, len(kinds)) - 12
        return f"<Changes {'; '.join(f'{name}: {listed(paths, room)}' for name, paths in kinds.items()) or 'none'}>"


class Ledger:
    """Adds the turns up: a path's digest before the first turn that touched it, and after the last."""

    def __init__(self) -> None:
        self._paths: dict[str, tuple[str | None, str | None]] = {}
        self._missed: str | None = None

    def record(self, before: Manifest, after: Manifest) -> Changes:
        """Take in one turn and return what it changed."""
        touched: dict[str, tuple[str | None, str | None]] = {
            path: (before.get(path), after.get(path))
            for path in before.keys() | after.keys()
            if before.get(path) != after.get(path)
        }
        for path, (was, now) in touched.items():
            self._paths[path] = (self._paths.get(path, (was,))[0], now)
        return _changes(touched)

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
        return _changes(self._paths)


def _changes(paths: Mapping[str, tuple[str | None, str | None]]) -> Changes:
    return Changes(
        added=Paths(path for path, (was, now) in paths.items() if was is None and now is not None),
        modified=Paths(p for p, (was, now) in paths.items() if was is not None and now not in (None, was)),
        deleted=Paths(path for path, (was, now) in paths.items() if was is not None and now is None),
    )
