"""The toolbox's routes for single files and folders."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from .call import Call
from .wire import DAEMON, Refused

#: A longer line ends the search of its file.
_LONGEST_LINE = 64 * 1024


def refusal(error: OSError, path: str) -> Refused:
    """Return the daemon's word for an error of the file system."""
    what = f"{(error.strerror or str(error)).lower()}: {path}"
    if isinstance(error, FileNotFoundError):
        return Refused(404, f"file not found: {path}", code="FILE_NOT_FOUND", source=DAEMON)
    if isinstance(error, PermissionError):
        return Refused(403, what, code="FILE_ACCESS_DENIED", source=DAEMON)
    return Refused(400, what, source=DAEMON)


def info(path: Path) -> dict[str, Any]:
    """Return a FileInfo; a link is what it points to."""
    found = path.stat()
    at = datetime.fromtimestamp(found.st_mtime_ns // 10**9, UTC)
    fraction = f"{found.st_mtime_ns % 10**9:09d}"
    return {
        "name": path.name,
        "path": str(path),
        "size": found.st_size,
        "isDir": stat.S_ISDIR(found.st_mode),
        "mode": stat.filemode(found.st_mode),
        "modTime": f"{at:%Y-%m-%d %H:%M:%S}.{fraction} +0000 UTC",
        "modifiedAt": f"{at:%Y-%m-%dT%H:%M:%S}.{fraction}Z",
        "owner": str(found.st_uid),
        "group": str(found.st_gid),
        "permissions": f"{stat.S_IMODE(found.st_mode) & 0o777:04o}",
    }


async def listing(call: Call) -> web.StreamResponse:
    text = call.query.get("path") or "."
    depth = call.number("depth", 1, 1)
    try:
        items = list(_below(call.machine.resolve(text), depth))
    except OSError as error:
        raise refusal(error, text) from error
    return web.json_response(items)


def _below(folder: Path, depth: int) -> Iterator[dict[str, Any]]:
    for entry in sorted(folder.iterdir()):
        with suppress(FileNotFoundError):  # a link to nothing is not shown
            found = info(entry)
            yield found
            if depth > 1 and found["isDir"] and not entry.is_symlink():
                yield from _below(entry, depth - 1)


async def get_info(call: Call) -> web.StreamResponse:
    path = call.text("path")
    try:
        return web.json_response(info(call.machine.resolve(path)))
    except OSError as error:
        raise refusal(error, path) from error


async def search(call: Call) -> web.StreamResponse:
    """Find files by a glob over their path below the folder: `*` stays in one folder, `**` does not."""
    top, matches = call.machine.resolve(call.text("path")), _glob(call.text("pattern"))
    found = [str(path) for path in _walk(top) if matches.fullmatch(str(path.relative_to(top)))]
    return web.json_response({"files": found})


def _walk(top: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(top):
        folders.sort()
        yield from (Path(place, name) for name in sorted(names))


def _glob(pattern: str) -> re.Pattern[str]:
    words = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]", "{": "(?:", "}": ")", ",": "|"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\{|\}|,)", pattern)
    if "{" not in pattern:
        words.pop(",")
    return re.compile("".join(words.get(part, re.escape(part)) for part in parts), re.DOTALL)


async def find(call: Call) -> web.StreamResponse:
    """Find lines that contain a text; files with a NUL at their beginning are no text."""
    top, pattern = call.machine.resolve(call.text("path")), call.text("pattern").encode()
    matches = []
    for path in [top] if top.is_file() else _walk(top):
        with suppress(OSError):
            if path.is_file():
                matches += _lines(path, pattern)
    return web.json_response(matches)


def _lines(path: Path, pattern: bytes) -> list[dict[str, Any]]:
    found = []
    with path.open("rb") as file:
        if b"\0" in file.read(512):
            return []
        file.seek(0)
        for number, line in enumerate(file, 1):
            if len(line) > _LONGEST_LINE:
                break
            if pattern in line:
                content = line.rstrip(b"\r\n").decode("utf-8", "replace")
                found.append({"file": str(path), "line": number, "content": content})
    return found


async def folder(call: Call) -> web.StreamResponse:
    path, mode = call.text("path"), _mode(call.text("mode"))
    place = call.machine.resolve(path)
    try:
        place.mkdir(parents=True, exist_ok=True)
        place.chmod(mode)
    except OSError as error:
        raise refusal(error, path) from error
    return web.Response(status=201)


async def delete(call: Call) -> web.StreamResponse:
    path, recursive = call.text("path"), call.query.get("recursive") == "true"
    place = call.machine.resolve(path)
    try:
        place.stat()
        if place.is_dir() and not place.is_symlink():
            _check(recursive, 400, "cannot delete directory without recursive flag")
            shutil.rmtree(place)
        else:
            place.unlink()
    except OSError as error:
        raise refusal(error, path) from error
    return web.Response(status=204)


async def move(call: Call) -> web.StreamResponse:
    source, destination = call.text("source"), call.text("destination")
    old, new = call.machine.resolve(source), call.machine.resolve(destination)
    try:
        old.stat()
        new.parent.stat()
        _check(not new.exists(), 409, "destination already exists")
        old.rename(new)
    except OSError as error:
        raise refusal(error, source) from error
    return web.Response()


async def permissions(call: Call) -> web.StreamResponse:
    path = call.text("path")
    owner, group = call.query.get("owner") or None, call.query.get("group") or None
    place = call.machine.resolve(path)
    try:
        place.stat()
        if text := call.query.get("mode"):
            place.chmod(_mode(text))
        if owner or group:
            shutil.chown(place, _number(owner), _number(group))
    except LookupError as error:
        raise Refused(400, f"user or group not found: {error}", source=DAEMON) from error
    except OSError as error:
        raise refusal(error, path) from error
    return web.Response()


def _check(right: bool, status: int, message: str) -> None:
    if not right:
        raise Refused(status, message, source=DAEMON)


def _number(name: str | None) -> Any:
    return int(name) if name and name.isdigit() else name


def _mode(text: str) -> int:
    try:
        mode = int(text, 8)
    except ValueError as error:
        raise Refused(400, "invalid mode format", source=DAEMON) from error
    if not 0 <= mode <= 0o7777:
        raise Refused(400, "invalid mode format", source=DAEMON)
    return mode
