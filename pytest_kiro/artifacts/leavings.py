"""Reads what a conversation left in its workspace, within limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_kiro.agent.contents import is_reachable, read_present
from pytest_kiro.errors import KiroError
from pytest_kiro.records.plain import cut

if TYPE_CHECKING:
    from pytest_kiro.agent.workspace import Workspace

#: Bytes that are kept of a file, and of all files of a conversation; how many these are; characters of a diff.
OF_A_FILE, OF_ALL, COUNT, OF_DIFF = 4 * 1024**2, 32 * 1024**2, 500, 2 * 1024**2
#: KiB of a file that is kept where nobody knows which of them are Kiro's; how such are found, and for how long.
_SMALL, _SECONDS = 64, 30.0
_FIND = f"find . -type f -size -{_SMALL * 2} -exec printf '%s\\0' {{}} +"
#: Files that are named of those that are left out.
_NAMED = 20


@dataclass
class Left:
    """What Kiro has left: files that it added or modified, as they stand now, and the diff.

    `left_out` has a line on each that is not among them."""

    files: dict[str, bytes] = field(default_factory=dict)
    diff: str = ""
    left_out: list[str] = field(default_factory=list)

    def lack(self, path: str, why: str) -> None:
        """Note that a file is not among them after all."""
        self.files.pop(path, None)
        self.left_out.append(f"{path}: {why}")


def left_in(workspace: Workspace) -> Left:
    """Return what is left in a workspace; what cannot be told is said in `left_out`."""
    left = Left()
    try:
        changes = workspace.changes()
        if not changes:
            return left
        left.diff, more = cut("".join(workspace.diffs().values()), OF_DIFF)
        if more:
            left.left_out.append(f"the diff: {more} characters of its middle")
        names = _wanted(workspace, sorted(changes.added | changes.modified), left)
        left.files = _read(workspace, workspace.path, names, left)
    except (KiroError, OSError) as error:
        left.left_out.append(f"files that Kiro left: {error}".partition("\n")[0])
    if len(left.left_out) > _NAMED:
        left.left_out[_NAMED:] = [f"and {len(left.left_out) - _NAMED} more"]
    return left


def all_in(workspace: Workspace) -> Left:
    """Return all small files of a workspace: of a turn that was broken off nobody knows what it changed."""
    left = Left(left_out=[f"of the turn that was broken off: its changes; files of {_SMALL} KiB or more; the diff"])
    folder = workspace.for_launch()[0]
    try:
        found = workspace.sandbox.exec(_FIND, cwd=folder, timeout=_SECONDS).output.split("\0")
        paths = [path.removeprefix("./") for path in found[:-1]]
        names = [path for path in paths if not workspace.ignore(path) and is_reachable(f"{folder}/{path}")]
        left.files = _read(workspace, folder, names[:COUNT], left)
    except (KiroError, OSError) as error:
        left.left_out.append(f"files of the workspace: {error}".partition("\n")[0])
    return left


def _read(workspace: Workspace, folder: str, names: list[str], left: Left) -> dict[str, bytes]:
    closed = list[str]()
    files = read_present(workspace.sandbox, folder, names, closed)
    left.left_out += [f"{path}: it may not be read" for path in closed]
    return files


def _wanted(workspace: Workspace, paths: list[str], left: Left) -> list[str]:
    """Return the files that are small enough."""
    names, room = list[str](), OF_ALL
    for path in paths:
        size = workspace.ledger.size(path)
        if path.endswith("/"):
            continue  # an empty folder
        if size is None:
            left.left_out.append(f"{path}: no regular file")
        elif size > OF_A_FILE:
            left.left_out.append(f"{path}: {size} bytes, and {OF_A_FILE} are kept of a file")
        elif size > room or len(names) == COUNT:
            left.left_out.append(f"{path}: {OF_ALL} bytes and {COUNT} files are kept of a conversation")
        elif not is_reachable(f"{workspace.path}/{path}"):
            left.left_out.append(f"{path[:200]}…: it lies too deep to be opened")
        else:
            names.append(path)
            room -= size
    return names
