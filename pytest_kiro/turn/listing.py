"""Reads lists of files that a machine made, and compares them."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

#: By path: its numbers as the machine writes them, and where a link leads.
Raw = Mapping[bytes, tuple[bytes, bytes]]
_KINDS = {
    stat.S_IFREG: b"f",
    stat.S_IFDIR: b"d",
    stat.S_IFLNK: b"l",
    stat.S_IFIFO: b"p",
    stat.S_IFSOCK: b"s",
    stat.S_IFCHR: b"c",
    stat.S_IFBLK: b"b",
}


class Entry(NamedTuple):
    """One entry: find's letter for its kind, size, times and number, where a link leads, the digest of a file."""

    kind: str
    size: str
    times: str
    target: str = ""
    digest: str = ""

    def differs(self, other: Entry) -> bool:
        """Whether it is another thing than `other`, by content where known."""
        if self.kind != other.kind:
            return True
        if self.kind == "l":
            return self.target != other.target if self.target or other.target else self.times != other.times
        if self.kind != "f":
            return False
        if self.digest and other.digest:
            return self.digest != other.digest
        return (self.size, self.times) != (other.size, other.times)


@dataclass(frozen=True)
class Listing:
    """What was in a HOME at `time`, in seconds: all entries by path from there, digests by path for some files.

    `workspace` is what the paths of a workspace begin with.
    """

    entries: Raw
    time: float = 0.0
    digests: Mapping[bytes, str] = field(default_factory=dict)
    workspace: bytes = b""

    @cached_property
    def parents(self) -> frozenset[bytes]:
        """The folders that have something in them."""
        return frozenset(path.rpartition(b"/")[0] for path in self.entries)

    @property
    def folder(self) -> tuple[bytes, bytes] | None:
        """Kind and number of what stands where the workspace is; None where nothing does, or it is not listed."""
        raw = self.entries.get(self.workspace.rstrip(b"/"))
        return (raw[0][:1], raw[0].rpartition(b" ")[2]) if raw else None

    def split(self) -> tuple[Listing, Listing]:
        """Return what is in the workspace, and what is outside of it; a path is relative to where its part begins."""
        start = len(self.workspace)
        inside = {path[start:]: raw for path, raw in self.entries.items() if path.startswith(self.workspace)}
        outside = {path[2:]: raw for path, raw in self.entries.items() if not path.startswith(self.workspace)}
        digests = {path[start:]: digest for path, digest in self.digests.items()}
        folder = self.workspace.removeprefix(b"./").rstrip(b"/")
        while folder:  # it, and those above it, are made for it
            outside.pop(folder, None)
            folder = folder.rpartition(b"/")[0]
        return Listing(inside, self.time, digests), Listing(outside, self.time)


def changed(before: Listing, after: Listing) -> Iterator[tuple[bytes, Entry | None, Entry | None]]:
    """Yield what may have changed: a path with what it was and is; a folder counts when nothing is in it."""
    if before is after:
        return
    differing = {path for path, _ in before.entries.items() ^ after.entries.items()}
    # Where times are told in seconds, only the contents may differ.
    differing |= {path for path, digest in after.digests.items() if before.digests.get(path, digest) != digest}
    for path in differing:
        was, now = before.entries.get(path), after.entries.get(path)
        if was and now and was[0][:1] == now[0][:1] == b"d":
            continue
        yield path, _entry(before, path, was), _entry(after, path, now)


def _entry(listing: Listing, path: bytes, raw: tuple[bytes, bytes] | None) -> Entry | None:
    if raw is None:
        return None
    kind, _, size, times = raw[0].decode("ascii", "replace").split(" ", 3)
    if kind == "d" and path in listing.parents:
        return None
    return Entry(kind, size, times, raw[1].decode("utf-8", "surrogateescape"), listing.digests.get(path, ""))


def read_listing(entries: bytes, digests: bytes, time: float, home: str, workspace: str) -> Listing:
    """Read what `list.sh` writes: the list of a HOME, and the digests of files in the workspace.

    `ValueError` when it is not whole.
    """
    inside = f"{workspace}/"
    if inside.startswith(f"{home}/"):
        inside = f"./{inside[len(home) + 1 :]}"
    raw = _others(entries) if tells_seconds(entries) else _printed(entries)
    return Listing(raw, time, dict(_digests(digests)), inside.encode("utf-8", "surrogateescape"))


def tells_seconds(entries: bytes) -> bool:
    """Whether a list's times are whole seconds: then only contents tell."""
    return entries.startswith(b"numbers\n")


def _printed(data: bytes) -> Raw:
    fields = data.split(b"\0")
    raw: dict[bytes, tuple[bytes, bytes]] = {}
    for head, target in zip(fields[:-1:2], fields[1:-1:2], strict=True):
        numbers, _, path = head.partition(b"\t")
        raw[path] = (numbers, target)
    return raw


def _others(data: bytes) -> Raw:
    """Read a list whose numbers and names stand apart."""
    numbers, _, names = data.removeprefix(b"numbers\n").partition(b"names\n")
    raw: dict[bytes, tuple[bytes, bytes]] = {}
    for line, name in zip(numbers.split(b"\n")[:-1], names.split(b"\0")[:-1], strict=True):
        mode, rest = line.split(b" ", 1)
        bits = int(mode, 16)
        kind = _KINDS.get(stat.S_IFMT(bits), b"?")
        raw[name] = (b"%b %o %b" % (kind, stat.S_IMODE(bits), rest), b"")
    return raw


def _digests(data: bytes) -> Iterator[tuple[bytes, str]]:
    for line in data.split(b"\n"):
        digest, mark, name = line.removeprefix(b"\\").partition(b"  ")
        if line.startswith(b"\\"):  # a name with one of these in it
            name = re.sub(rb"\\(.)", lambda match: {b"n": b"\n", b"r": b"\r"}.get(match[1], match[1]), name)
        if mark:
            yield name, digest.decode("ascii", "replace")
