"""What turns changed in a workspace: paths, by content."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from pytest_kiro.errors import HIDE_FRAMES, SandboxError
from pytest_kiro.secrecy.visible import escaped
from pytest_kiro.turn.ignore import Ignore
from pytest_kiro.turn.listing import Entry, Listing, Raw, changed
from pytest_kiro.turn.planted import planted
from pytest_kiro.turn.shown import SHOWN, listed, short

__tracebackhide__ = HIDE_FRAMES
KINDS = ("added", "modified", "deleted")
#: Seconds by which a machine's file system may be late.
_COARSE = 2
_HOOK = re.compile(r"(?:.*/)?\.git/hooks/[^/]+(?<!\.sample)")
_BYTE_CODE = re.compile(r"(?P<folder>(?:.*/)?)__pycache__/(?P<name>[^/.]+)\.[^/]*pyc")


class Paths(frozenset[str]):
    """Relative paths that turns changed: a set that a failed assert explains.

    >>> Paths({"b.py", "a.py"}) == {"a.py", "b.py"}, Paths({"b.py", "a.py"})
    (True, {'a.py', 'b.py'})
    """

    def __repr__(self) -> str:
        return f"{{{listed([repr(short(path, 60)) for path in sorted(self)], SHOWN - 2)}}}" if self else "set()"


@dataclass(frozen=True)
class Changes:
    """Relative paths that Kiro `added`, `modified` and `deleted`; falsy when nothing changed.

    Two lists of files are compared, one from before a turn and one from after, so what the eval itself writes or
    executes is not in it. A file is modified when its content is another one; of one above 8 MiB, or beyond 256 MiB in
    all, size and times tell. Links, FIFOs, sockets and devices are in it, and empty folders, with a slash at their end.

    `added`, `modified` and `deleted` are frozen sets of paths as text, with `/` between folders, so they are compared
    with sets (`changes.added == {"src/a.py"}`, never with a list) and asked `"a.py" in changes.added`.

    `ignored` are the changes that programs make by the way: in `.git` (but its hooks are no such thing), `__pycache__`
    (but not byte code that has no source), `node_modules` and the like, and in what a seeded `.gitignore` names.
    They do not count for the truth of it. (`by_the_way` holds them where there are any.)

    >>> bool(Changes()), Changes(added=frozenset({"a.py"}))
    (False, <Changes added: a.py>)
    """

    added: frozenset[str] = frozenset()
    modified: frozenset[str] = frozenset()
    deleted: frozenset[str] = frozenset()
    by_the_way: Changes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.by_the_way is not None and not self.by_the_way:
            object.__setattr__(self, "by_the_way", None)

    def __bool__(self) -> bool:
        return bool(self.added or self.modified or self.deleted)

    @property
    def paths(self) -> frozenset[str]:
        """All of them."""
        return Paths(self.added | self.modified | self.deleted)

    @property
    def ignored(self) -> Changes:
        """What programs make by the way, which is not among these.

        >>> Changes().ignored.added
        frozenset()
        """
        return self.by_the_way or Changes()

    @property
    def planted(self) -> dict[str, str]:
        """Those that other programs run by themselves, and why.

        They were added or modified, and may decide a check.

        >>> Changes(added=frozenset({"src/a.py", "conftest.py"})).planted
        {'conftest.py': 'pytest runs it'}
        """
        return planted(self.added | self.modified)

    def __repr__(self) -> str:
        sets = {name: getattr(self, name) for name in KINDS}
        kinds = {name: [short(escaped(path), 60) for path in sorted(paths)] for name, paths in sets.items() if paths}
        room = (SHOWN - 12) // max(1, len(kinds)) - 12
        return f"<Changes {'; '.join(f'{name}: {listed(paths, room)}' for name, paths in kinds.items()) or 'none'}>"


class Ledger:
    """Adds the turns up: what a path was before the first turn that touched it, and after the last."""

    def __init__(self) -> None:
        self._first: dict[str, Entry | None] = {}
        self._last: dict[str, Entry | None] = {}
        self._ignored: set[str] = set()
        self._missed: str | None = None
        self._digests: dict[bytes, tuple[tuple[bytes, bytes], str]] = {}
        self._time = 0.0

    @property
    def since(self) -> str:
        """Since when contents have to be looked at, in seconds; empty: all."""
        return f"{self._time - _COARSE:.0f}" if self._time else ""

    def record(self, before: Listing, after: Listing, ignore: Ignore) -> Changes:
        """Take in one turn and return what it changed."""
        before, after = self._known(before, before is after, after)
        differing = {_name(path, was, now): (was, now) for path, was, now in changed(before, after) if was or now}
        differing = {
            path: (was, now) for path, (was, now) in differing.items() if not (was and now) or now.differs(was)
        }
        self.add(differing, {path for path in differing if _passed_over(path, ignore, after.entries)})
        return _compare(differing, self._ignored)

    def add(self, differing: Mapping[str, tuple[Entry | None, Entry | None]], ignored: Set[str]) -> None:
        """Take in a turn's changes by path: what was, and is.

        None is for what is not there.
        """
        for path, (was, now) in differing.items():
            self._first.setdefault(path, was)
            self._last[path] = now
            (self._ignored.add if path in ignored else self._ignored.discard)(path)

    def _known(self, before: Listing, same: bool, after: Listing) -> tuple[Listing, Listing]:
        """Return the lists with the digests that are known from earlier."""
        if same and not before.entries:  # and nothing has been looked at
            return before, before
        self._digests = {
            path: (before.entries[path], d) for path, d in before.digests.items() if path in before.entries
        } | {
            path: known
            for path, known in self._digests.items()
            if path not in before.digests and before.entries.get(path) == known[0]
        }
        before = Listing(before.entries, before.time, {path: digest for path, (_, digest) in self._digests.items()})
        self._time = after.time
        if same:
            return before, before
        kept = {path: d for path, (raw, d) in self._digests.items() if after.entries.get(path) == raw}
        after = Listing(after.entries, after.time, kept | dict(after.digests))
        self._digests = {p: (after.entries[p], digest) for p, digest in after.digests.items() if p in after.entries}
        return before, after

    def size(self, path: str) -> int | None:
        """Return the size of a changed file; None for what is none."""
        entry = self._last.get(path)
        return int(entry.size) if entry is not None and entry.kind == "f" else None

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
        return _compare({path: (was, self._last[path]) for path, was in self._first.items()}, self._ignored)


def outside(before: Listing, after: Listing, ignore: Ignore) -> Changes:
    """Return what changed outside of a workspace, by size and times; folders do not count."""
    differing = {_name(path, was, now): (was, now) for path, was, now in changed(before, after)}
    differing = {path: both for path, both in differing.items() if not path.endswith("/")}
    return _compare(differing, {path for path in differing if _passed_over(path, ignore, after.entries)})


def _name(path: bytes, was: Entry | None, now: Entry | None) -> str:
    name, entry = path.decode("utf-8", "surrogateescape"), now or was
    return f"{name}/" if entry and entry.kind == "d" else name


def _passed_over(path: str, ignore: Ignore, present: Raw) -> bool:
    if _HOOK.fullmatch(path):
        return False
    code = _BYTE_CODE.fullmatch(path)
    if (
        code
        and not ignore(code["folder"])
        and f"{code['folder']}{code['name']}.py".encode("utf-8", "surrogateescape") not in present
    ):
        return False
    return ignore(path)


def _compare(differing: Mapping[str, tuple[Entry | None, Entry | None]], ignored: set[str]) -> Changes:
    """Sort what differs by what became of it; None is for what is not there."""
    kinds: dict[bool, dict[str, set[str]]] = {flag: {kind: set() for kind in KINDS} for flag in (False, True)}
    for path, (was, now) in differing.items():
        kind = "added" if was is None else "deleted" if now is None else "modified" if now.differs(was) else ""
        if kind and (was or now):
            kinds[path in ignored][kind].add(path)
    added, modified, deleted = ([Paths(kinds[flag][kind]) for flag in (False, True)] for kind in KINDS)
    return Changes(added[0], modified[0], deleted[0], Changes(added[1], modified[1], deleted[1]))
