"""Finds what a turn has left; fetches the contents in one request."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Literal

from pytest_kiro.agent.contents import is_reachable
from pytest_kiro.errors import SandboxError
from pytest_kiro.recording.paths import SandboxPaths
from pytest_kiro.recording.places import content_name
from pytest_kiro.recording.values import RecordedFile
from pytest_kiro.sandbox.protocol import Sandbox
from pytest_kiro.secrecy.redaction import Secrets
from pytest_kiro.terminal.record import LaunchRecord
from pytest_kiro.turn.ignore import Ignore
from pytest_kiro.turn.listing import Listing

#: Bytes that are kept of one file, and of all files of a turn.
OF_A_FILE, OF_A_TURN = 8 * 1024**2, 64 * 1024**2
#: How many files that cannot be read are left out one by one.
_TRIES = 3


@dataclass(frozen=True)
class Left:
    """What stands at one path after a turn; `place` is the folder that the path is relative to."""

    place: Literal["workspace", "home"]
    path: str
    kind: str
    mode: int = 0
    size: int = 0
    target: str = ""

    @property
    def named(self) -> str:
        """What it is called among what is left out."""
        return self.path if self.place == "workspace" else f"~/{self.path}"


@dataclass(frozen=True)
class Leavings:
    """What a turn left: entries with the contents of files; `left_out` names others, each with the reason."""

    entries: Mapping[Left, bytes] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    def files(
        self, place: str, secrets: Secrets, paths: SandboxPaths
    ) -> tuple[tuple[RecordedFile, ...], dict[str, bytes]]:
        """Return a place's files, and contents by name, without secrets."""
        files, contents = list[RecordedFile](), dict[str, bytes]()
        for left, data in self.entries.items():
            if left.place != place:
                continue
            match left.kind:
                case "f":
                    clean = secrets.data(data)
                    name = secrets(content_name(clean, left.path))
                    contents[name] = clean
                    redacted = clean != data
                    file = RecordedFile(path=left.path, kind="file", mode=left.mode, content=name, redacted=redacted)
                case "l":
                    file = RecordedFile(path=left.path, kind="link", content=paths.hide(left.target))
                case "d":
                    file = RecordedFile(path=left.path, kind="folder", mode=left.mode)
                case _:
                    file = RecordedFile(path=left.path, kind="deleted")
            files.append(file)
        return tuple(files), contents


def left_by(record: LaunchRecord, ignore: Ignore, *, home: bool) -> list[Left]:
    """Return what differs after a turn, sorted; outside of the workspace, with `home`, only what is not ignored."""
    if record.before is None or record.after is None:
        return []
    inside, outside = record.before.split()
    later, around = (inside, outside) if record.after is record.before else record.after.split()
    left = list(_differing(inside, later, "workspace"))
    if home:
        left += [one for one in _differing(outside, around, "home") if not ignore(one.path) and one.kind != "d"]
    return sorted(left, key=lambda one: (one.place, one.path))


def _differing(before: Listing, after: Listing, place: Literal["workspace", "home"]) -> Iterator[Left]:
    paths = {path for path, _ in before.entries.items() ^ after.entries.items()}
    # Where times are told in seconds, only the contents may differ.
    paths |= {path for path, digest in after.digests.items() if before.digests.get(path, digest) != digest}
    for raw in paths:
        path, was, now = raw.decode("utf-8", "surrogateescape"), before.entries.get(raw), after.entries.get(raw)
        if now is None:
            yield Left(place, path, "")
            continue
        kind, mode, size, _ = now[0].decode("ascii", "replace").split(" ", 3)
        old_kind, old_mode = was[0].decode("ascii", "replace").split(" ", 3)[:2] if was else ("", "")
        if kind == "d" and (old_kind == "d" or raw in after.parents):
            continue
        if kind == "l" and was and was[1] == now[1] != b"":
            continue
        digest = after.digests.get(raw)
        if kind == old_kind == "f" and mode == old_mode and digest and digest == before.digests.get(raw):
            continue
        yield Left(place, path, kind, int(mode, 8), int(size), now[1].decode("utf-8", "surrogateescape"))


def fetch(sandbox: Sandbox, left: list[Left], folders: Mapping[str, str], ignore: Ignore) -> Leavings:
    """Return entries with their contents; of what is too much, what programs make by the way goes first."""
    entries, left_out, room = dict[Left, bytes](), list[str](), OF_A_TURN
    wanted = dict[str, Left]()
    for one in sorted(left, key=lambda one: (one.place == "workspace" and ignore(one.path), one.place == "home")):
        path = f"{folders[one.place]}/{one.path}"
        if one.kind not in ("f", "l", "d", ""):
            left_out.append(f"{one.named}: neither a file nor a folder nor a link")
        elif not is_reachable(path):
            left_out.append(f"{one.named[:200]}…: it lies too deep to be opened")
        elif one.kind != "f" and not (one.kind == "l" and not one.target):
            entries[one] = b""
        elif one.size > OF_A_FILE:
            left_out.append(f"{one.named}: {one.size} bytes, and {OF_A_FILE} are kept of a file")
        elif one.size > room:
            left_out.append(f"{one.named}: {OF_A_TURN} bytes are kept of a turn")
        else:
            wanted[path], room = one, room - one.size
    links = {path: wanted.pop(path) for path, one in list(wanted.items()) if one.kind == "l"}
    contents, unread = _read(sandbox, list(wanted))
    entries |= {wanted[path]: data for path, data in contents.items()}
    left_out += [f"{wanted[path].named}: it could not be read, {why}" for path, why in unread.items()]
    entries |= dict.fromkeys(_led(sandbox, links), b"")
    return Leavings(dict(sorted(entries.items(), key=lambda item: (item[0].place, item[0].path))), tuple(left_out))


def _read(sandbox: Sandbox, paths: list[str]) -> tuple[dict[str, bytes], dict[str, str]]:
    """Return the contents of files, and why others could not be read."""
    unread, why = dict[str, str](), ""
    for _ in range(_TRIES):
        try:
            return (sandbox.read_files(paths) if paths else {}), unread
        except OSError as error:
            why = error.strerror or str(error)
            if error.filename not in paths:
                break
            unread[error.filename] = why
            paths = [path for path in paths if path != error.filename]
        except SandboxError as error:
            why = str(error).partition("\n")[0]
            break
    return {}, {**dict.fromkeys(paths, why), **unread}


def _led(sandbox: Sandbox, links: Mapping[str, Left]) -> Iterator[Left]:
    """Yield links with where they lead, which not every machine lists."""
    if not links:
        return
    command = f"for link in {shlex.join(links)}; do readlink \"$link\"; printf '\\0'; done"
    with suppress(SandboxError):
        targets = sandbox.exec(command, cwd="/").output.split("\n\0")
        yield from (replace(link, target=target) for link, target in zip(links.values(), targets, strict=False))
