"""Reads what a launched program left: its status, the lists of files, its session stores."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from pytest_kiro.terminal.launch import Launch
from pytest_kiro.turn.listing import Listing, read_listing

_NOTHING = hashlib.sha256().hexdigest()
_ALTERED = "the list of files from before it began is not what it was: something in the sandbox has altered it"


@dataclass(frozen=True)
class LaunchRecord:
    """Tells how a launched program ended, and what it changed.

    `status` is what its launch script wrote down, None when it did not come to that. `before` and `after` are None
    when they are not known; `altered` says why the list from before is not believed. `stores` are contents by
    absolute path, `beyond` the paths of those that are too large; `diagnostics` is the end of a stderr that was kept
    apart; `survivors` had to be ended, each "PID name".
    """

    status: int | None
    before: Listing | None
    after: Listing | None
    stores: Mapping[str, bytes] = field(repr=False)  # one of them has the login in it
    diagnostics: bytes = b""
    survivors: tuple[str, ...] = ()
    beyond: tuple[str, ...] = ()
    altered: str = ""


def is_brief(digests: tuple[str, str]) -> bool:
    """Whether an equal list need not be read: no contents were looked at before."""
    return digests[1] == _NOTHING


def read_launch_record(data: bytes, launch: Launch, made: str, digests: tuple[str, str]) -> LaunchRecord:
    """Read the archive that a survey packed in the folder `made`; `ValueError` when it is none.

    `digests` are those that the marker's line told before the program began.
    """
    ours: dict[str, tuple[bytes, float]] = {}
    stores: dict[str, bytes] = {}
    for name, content, time in _members(data):
        folder, _, last = name.rpartition("/")
        if folder in (made, launch.folder) and last not in ours:
            ours[last] = (content, time)
        else:
            stores[name] = content
    if "listed" not in ours:
        raise ValueError("what it left came without a beginning")
    taken = {name: content for name, (content, _) in ours.items()}
    before, after, altered = _lists(taken, ours["listed"][1], launch, digests)
    status = taken.get("status", b"").decode("ascii", "replace")
    return LaunchRecord(
        status=int(status) if status.isdigit() else None,
        before=before,
        after=after,
        stores=stores,
        diagnostics=taken.get("stderr", b""),
        survivors=tuple(_lines(taken.get("survivors", b""))),
        beyond=tuple(_lines(taken.get("beyond", b""))),
        altered=altered,
    )


def _lists(
    taken: Mapping[str, bytes], time: float, launch: Launch, digests: tuple[str, str]
) -> tuple[Listing | None, Listing | None, str]:
    contents = taken.get("sums", b"")
    if not digests[0] or not digests[1]:
        return None, None, ""
    same = taken["listed"] == b"same\n"
    entries = taken.get("after" if same else "before")
    if same and entries is None:
        unchanged = Listing({}, time)
        return unchanged, unchanged, ""
    if entries is None or _digest(entries) != digests[0] or _digest(contents) != digests[1]:
        return None, None, _ALTERED
    before = read_listing(entries, contents, time, launch.home, launch.workspace)
    if same:
        return before, before, ""
    if "after" not in taken:
        return None, None, ""
    after = read_listing(taken["after"], taken.get("after-sums", b""), time, launch.home, launch.workspace)
    return before, after, ""


def _members(data: bytes) -> Iterator[tuple[str, bytes, float]]:
    """Yield absolute name, content and time of each file; what was cut off is left out."""
    with suppress(tarfile.ReadError), tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as archive:
        for member in archive:
            if (member.isreg() or member.islnk()) and (file := archive.extractfile(member)) is not None:
                yield f"/{member.name.lstrip('/')}", file.read(), float(member.mtime)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _lines(data: bytes) -> list[str]:
    return data.decode("utf-8", "replace").splitlines()
