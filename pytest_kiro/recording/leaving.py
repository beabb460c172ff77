"""Leaves in a workspace what a recorded turn left there."""

from __future__ import annotations

import shlex
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath

from pytest_kiro.agent.workspace import Workspace
from pytest_kiro.errors import HIDE_FRAMES, RecordingMiss, SandboxError
from pytest_kiro.recording.values import RecordedFile, RecordedTurn
from pytest_kiro.sandbox.protocol import Sandbox
from pytest_kiro.turn.listing import Entry

__tracebackhide__ = HIDE_FRAMES
#: Bits of a mode that are put back; a recording may come from anywhere.
_MODE = 0o777


def leave(workspace: Workspace, recorded: RecordedTurn, read: Callable[[str], bytes]) -> None:
    """Write, link and delete what a turn did; tell the ledger."""
    _check(recorded.files)
    _check(recorded.outside)
    files, outside = _entries(recorded.files, read), _entries(recorded.outside, read)
    try:
        if deleted := _deleted(recorded.files):
            _delete(workspace.sandbox, workspace.path, deleted)
        workspace.put(files)
        if recorded.outside:
            home = str(workspace.home)  # which makes it
            if deleted := _deleted(recorded.outside):
                _delete(workspace.sandbox, home, deleted)
            workspace.sandbox.write_files({f"{home}/{path}": entry for path, entry in outside.items()})
    except (OSError, ValueError) as error:
        what = f"what was recorded of turn {recorded.number} cannot be put into this file system: {error}"
        raise SandboxError(what, advice="replay it on a file system as that of the recording") from error
    _tell(workspace, recorded, files)


def _check(files: Iterable[RecordedFile]) -> None:
    """Raise for a path that leads out of its folder.

    By itself, or through another one's link.
    """
    no_folders = {file.path for file in files if file.kind in ("file", "link")}
    for file in files:
        path = PurePosixPath(file.path)
        parts = file.path.rstrip("/").split("/")
        above = {str(folder) for folder in path.parents}
        if file.path.startswith("/") or not {"", ".", ".."}.isdisjoint(parts) or "\0" in file.path:
            why = "leads out of the workspace"
        elif through := sorted(above & no_folders):
            why = f"leads through {through[0]}, which is no folder"
        else:
            continue
        what = f"a recording has the path {file.path!r}, which {why}: nothing was written"
        raise RecordingMiss(what, advice="see who has edited it, and record it anew by --kiro-record=all")


def _entries(files: Iterable[RecordedFile], read: Callable[[str], bytes]) -> dict[str, tuple[bytes, int]]:
    """Return what is written, as `Sandbox.write_files` takes it."""
    entries: dict[str, tuple[bytes, int]] = {}
    for file in files:
        path = file.path.rstrip("/")
        match file.kind:
            case "file":
                entries[path] = (read(file.content), file.mode & _MODE)
            case "link":
                entries[path] = (file.content.encode("utf-8", "surrogateescape"), stat.S_IFLNK)
            case "folder":
                entries[path] = (b"", stat.S_IFDIR | (file.mode & _MODE))
            case "deleted":
                pass
    return entries


def _deleted(files: Iterable[RecordedFile]) -> list[str]:
    return [file.path.rstrip("/") for file in files if file.kind == "deleted"]


def _delete(sandbox: Sandbox, folder: str, paths: Iterable[str]) -> None:
    """Delete paths below a folder, none of them through a link."""
    lines = ["set -e"]
    for path in paths:
        above = [str(one) for one in reversed(PurePosixPath(path).parents[:-1])]
        links = " || ".join(f"[ -L {shlex.quote(f'./{one}')} ]" for one in above)
        refuse = f"echo {shlex.quote(f'{path} leads through a link')}; exit 1"
        lines.append(f"if {links}; then {refuse}; fi" if links else "")
        lines.append(f"rm -rf -- {shlex.quote(f'./{path}')}")
    result = sandbox.exec("\n".join(filter(None, lines)), cwd=folder)
    if not result.ok:
        raise SandboxError(
            "what a recorded turn deleted cannot be deleted", output=result.output, advice="record it anew"
        )


def _tell(workspace: Workspace, recorded: RecordedTurn, files: Mapping[str, tuple[bytes, int]]) -> None:
    """Enter what the turn changed into the workspace's ledger."""
    changes = recorded.turn.known_changes
    if changes is None:
        return
    differing: dict[str, tuple[Entry | None, Entry | None]] = {}
    for some in (changes, changes.ignored):
        for path in some.paths:
            was = None if path in some.added else _before(path, recorded)
            differing[path] = (was, None if path in some.deleted else _after(path, recorded, files))
    workspace.ledger.add(differing, changes.ignored.paths)


def _before(path: str, recorded: RecordedTurn) -> Entry:
    kind, _, word = (recorded.before or {}).get(path, "").partition(" ")
    match kind:
        case "file" | "exec" if not word.startswith("~"):
            return Entry("f", "0", "", digest=word)
        case "link":
            return Entry("l", "0", "", word)
        case "folder":
            return Entry("d", "0", "")
    return Entry("f", "0", f"before {recorded.key}")  # whatever that was, it is another one now


def _after(path: str, recorded: RecordedTurn, files: Mapping[str, tuple[bytes, int]]) -> Entry:
    data, mode = files.get(path.rstrip("/"), (b"", 0))
    if stat.S_ISLNK(mode):
        return Entry("l", "0", "", data.decode("utf-8", "surrogateescape"))
    if path.endswith("/"):
        return Entry("d", "0", "")
    names = (file.content.partition("-")[0] for file in recorded.files if file.path == path)
    return Entry("f", str(len(data)), f"after {recorded.key}", digest=next(names, ""))
