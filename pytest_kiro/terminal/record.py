"""Reads what a launched program left: its status, the lists of files, its session stores."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_kiro.terminal.launch import Launch
from pytest_kiro.turn.listing import Listing, read_listing

_NOTHING = hashlib.sha256().hexdigest()
_ALTERED = "the list of files from before it began is not what it was: something in the sandbox has altered it"
_NO_HOME = "its HOME is gone: something in the sandbox has removed it"
_NO_WORKSPACE = "its workspace is gone: something in the sandbox has removed it"


@dataclass(frozen=True)
class LaunchRecord:
    """Tells how a launched program ended, and what it changed.

    `status` is what its launch script wrote down, None when it did not come to that. `before` and `after` are None
    when they are not known; `altered` says why the list from before is not believed, or what is gone that it ran in.
    `stores` are contents by absolute path, `beyond` the paths of those that are too large, and `cut` is whether there
    were more of them than are read; `diagnostics` is the end of a stderr that was kept
    apart; `survivors` had to be ended, each "PID name".
    """

    status: int | None
    before: Listing | None
    after: Listing | None
    stores: Mapping[str, bytes] = field(repr=False)  # one of them has the login in it
    diagnostics: bytes = b""
    survivors: tuple[str, ...] = ()
    beyond: tuple[str, ...] = ()
    cut: bool = False
    altered: str = ""

    @property
    def intact(self) -> bool:
        """Whether nothing says that the workspace was removed or replaced."""
        return self.before is None or self.after is None or self.before.folder == self.after.folder


def is_brief(digests: tuple[str, str]) -> bool:
    """Whether an equal list need not be read: no contents were looked at before."""
    return digests[1] == _NOTHING


def read_launch_record(data: bytes, launch: Launch, made: str, digests: tuple[str, str]) -> LaunchRecord:
    """Read the archive that a survey packed in the folder `made`; `ValueError` when it is none.

    `digests` are those that the marker's line told before the program began.
    """
    ours: dict[str, tuple[bytes, float]] = {}
    stores: dict[str, bytes] = {}
    members, cut = _members(data)
    for name, content, time in members:
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
        cut=cut,
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
        return None, None, _NO_HOME
    after = read_listing(taken["after"], taken.get("after-sums", b""), time, launch.home, launch.workspace)
    return before, after, _NO_WORKSPACE if before.folder and not after.folder else ""


def _members(data: bytes) -> tuple[list[tuple[str, bytes, float]], bool]:
    """Return absolute name, content and time of each file.

    And whether the archive was cut; what was is left out.
    """
    members = []
    try:
        with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as archive:
            for member in archive:
                if (member.isreg() or member.islnk()) and (file := archive.extractfile(member)) is not None:
                    members.append((f"/{member.name.lstrip('/')}", file.read(), float(member.mtime)))
    except tarfile.ReadError:
        return members, True
    return members, not data.endswith(bytes(2 * tarfile.BLOCKSIZE))  # with which an archive ends


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _lines(data: bytes) -> list[str]:
    return data.decode("utf-8", "replace").splitlines()
