"""Reads what a launched program left: its status, the lists of files, its session stores."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_kiro.terminal.launch import Launch, printed_bytes
from pytest_kiro.turn.listing import Listing, read_listing, tells_seconds

_OF_THE_LAUNCH = frozenset({"status", "before", "sums", "stderr", "log"})
#: What the names in an archive begin with.
_ROOT = re.compile(r"\A(?:\.?/)*")
_NOTHING = hashlib.sha256().hexdigest()
_ALTERED = "the list of files from before it began is not what it was: something in the sandbox has altered it"
_NO_LAUNCH = "the files of its launch are not what they were: something in the sandbox has removed or altered them"
_NO_HOME = "its HOME is gone: something in the sandbox has removed it"
_NO_WORKSPACE = "its workspace is gone: something in the sandbox has removed it"


@dataclass(frozen=True)
class LaunchRecord:
    """Tells how a launched program ended, and what it changed.

    `status` is what its launch script wrote down, None when it did not come to that. `before` and `after` are None
    when they are not known; `altered` says why the list from before is not believed, or what is gone that it ran in.
    `printed` is how many bytes of its output a log has, None where there is no log or nobody asked.
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
    printed: int | None = None

    @property
    def intact(self) -> bool:
        """Whether nothing says that the workspace was removed or replaced."""
        return self.before is None or self.after is None or self.before.folder == self.after.folder


def is_brief(digests: tuple[str, str]) -> bool:
    """Whether an equal list need not be read: no contents were looked at before."""
    return digests[1] == _NOTHING


def read_launch_record(data: bytes, launch: Launch, made: str, digests: tuple[str, str]) -> LaunchRecord:
    """Read the archive that a survey packed; `ValueError` when it is none.

    `made` is what the paths of the survey's own files begin with, and no other's; `digests` are those that the
    marker's line told before the program began.
    """
    ours: dict[str, tuple[bytes, float]] = {}
    stores: dict[str, bytes] = {}
    members, cut = _members(data)
    for name, content, time in members:
        folder, _, last = name.rpartition("/")
        if name.startswith(f"{made}-"):
            ours[name.removeprefix(f"{made}-")] = (content, time)
        elif folder == launch.folder and last in _OF_THE_LAUNCH:
            ours.setdefault(last, (content, time))
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
        altered=altered or (_NO_LAUNCH if "strange" in taken else ""),
        printed=_printed(taken, launch),
    )


def _printed(taken: Mapping[str, bytes], launch: Launch) -> int | None:
    if "log" in taken:
        return printed_bytes(taken["log"], launch.marker)
    size = taken.get("size", b"").strip()
    return int(size) if size.isdigit() else None


def _lists(
    taken: Mapping[str, bytes], time: float, launch: Launch, digests: tuple[str, str]
) -> tuple[Listing | None, Listing | None, str]:
    contents, later = taken.get("sums", b""), taken.get("after")
    if not digests[0] or not digests[1]:
        return None, None, ""
    # Of two that are equal and large only one comes back, or none.
    earlier = later if "same" in taken else taken.get("before", b"")
    if (earlier is not None and _digest(earlier) != digests[0]) or _digest(contents) != digests[1]:
        return None, None, _ALTERED
    same = earlier == later and not tells_seconds(later or b"")
    if same and is_brief(digests) and not launch.lists_all:
        unchanged = Listing({}, time)
        return unchanged, unchanged, ""
    before = read_listing(earlier or b"", contents, time, launch.home, launch.workspace)
    if same:
        return before, before, ""
    if later is None:
        return None, None, _NO_HOME
    after = read_listing(later, taken.get("after-sums", b""), time, launch.home, launch.workspace)
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
                    members.append((_ROOT.sub("/", member.name), file.read(), float(member.mtime)))
    except tarfile.ReadError:
        return members, True
    return members, not data.endswith(bytes(2 * tarfile.BLOCKSIZE))  # with which an archive ends


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _lines(data: bytes) -> list[str]:
    return data.decode("utf-8", "replace").splitlines()
