"""The toolbox's routes for single files and folders: their errors are a status and nothing more."""

from __future__ import annotations

import functools
import os
import shutil
import stat
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from aiohttp import web

from .call import Call
from .wire import Refused, daemon_json

Answering = Callable[[Call], Awaitable[web.StreamResponse]]
#: A longer line ends the search of its file.
_LONGEST_LINE = 64 * 1024


def by_status(answer: Answering) -> Answering:
    """Answer errors without a body: the daemon has sent the head before its error middleware comes."""

    @functools.wraps(answer)
    async def answering(call: Call) -> web.StreamResponse:
        try:
            return await answer(call)
        except ConnectionError:  # the client's
            raise
        except OSError as error:
            return web.Response(status=status_of(error))
        except Refused as refused:
            return web.Response(status=refused.status)

    return answering


def status_of(error: OSError) -> int:
    """Return the status for an error of the file system."""
    if isinstance(error, FileNotFoundError):
        return 404
    return 403 if isinstance(error, PermissionError) else 400


def info(path: Path) -> dict[str, Any]:
    """Return a FileInfo; a link is what it points to."""
    found = path.stat()
    at = datetime.fromtimestamp(found.st_mtime_ns // 10**9, UTC)
    fraction = f"{found.st_mtime_ns % 10**9:09d}"
    return {
        "name": path.name,
        "size": found.st_size,
        "isDir": stat.S_ISDIR(found.st_mode),
        "mode": stat.filemode(found.st_mode),
        "modTime": f"{at:%Y-%m-%d %H:%M:%S}.{fraction} +0000 UTC",
        "modifiedAt": f"{at:%Y-%m-%dT%H:%M:%S}.{fraction}Z",
        "owner": str(found.st_uid),
        "group": str(found.st_gid),
        "permissions": f"{stat.S_IMODE(found.st_mode) & 0o777:04o}",
    }


@by_status
async def listing(call: Call) -> web.StreamResponse:
    depth = call.number("depth", 1, 1)
    return daemon_json(list(_below(call.machine.resolve(call.query.get("path") or "."), depth)))


def _below(folder: Path, depth: int) -> Iterator[dict[str, Any]]:
    for entry in sorted(folder.iterdir()):
        with suppress(FileNotFoundError):  # a link to nothing is not shown
            found = info(entry)
            yield found
            if depth > 1 and found["isDir"] and not entry.is_symlink():
                yield from _below(entry, depth - 1)


@by_status
async def get_info(call: Call) -> web.StreamResponse:
    return daemon_json(info(call.machine.resolve(call.text("path"))))


@by_status
async def search(call: Call) -> web.StreamResponse:
    """Find what has a name like the pattern, anywhere below the folder."""
    top, pattern = call.machine.resolve(call.text("path")), call.text("pattern").replace("[^", "[!")
    return daemon_json({"files": [str(path) for path in _walk(top) if fnmatchcase(path.name, pattern)]})


def _walk(top: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(top):
        folders.sort()
        yield from (Path(place, name) for name in sorted([*folders, *names]))


@by_status
async def find(call: Call) -> web.StreamResponse:
    """Find lines that contain a text; files with a NUL at their beginning are no text."""
    top, pattern = call.machine.resolve(call.text("path")), call.text("pattern").encode()
    matches = []
    for path in [top] if top.is_file() else _walk(top):
        with suppress(OSError):
            if path.is_file():
                matches += _lines(path, pattern)
    return daemon_json(matches)


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
                content = line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")
                found.append({"file": str(path), "line": number, "content": content})
    return found


@by_status
async def folder(call: Call) -> web.StreamResponse:
    mode, place = _mode(call.text("mode")), call.machine.resolve(call.text("path"))
    place.mkdir(parents=True, exist_ok=True)
    place.chmod(mode)
    return web.Response(status=201)


@by_status
async def delete(call: Call) -> web.StreamResponse:
    place = call.machine.resolve(call.text("path"))
    place.stat()
    if not place.is_dir() or place.is_symlink():
        place.unlink()
    elif call.query.get("recursive") == "true":
        shutil.rmtree(place)
    else:
        return web.Response(status=400)
    return web.Response(status=204)


@by_status
async def move(call: Call) -> web.StreamResponse:
    old, new = (call.machine.resolve(call.text(name)) for name in ("source", "destination"))
    old.stat()
    new.parent.stat()
    if new.exists():
        return web.Response(status=409)
    old.rename(new)
    return web.Response()


@by_status
async def permissions(call: Call) -> web.StreamResponse:
    owner, group = call.query.get("owner") or None, call.query.get("group") or None
    place = call.machine.resolve(call.text("path"))
    place.stat()
    if text := call.query.get("mode"):
        place.chmod(_mode(text))
    if owner or group:
        try:
            shutil.chown(place, _number(owner), _number(group))
        except LookupError:
            return web.Response(status=400)
    return web.Response()


def _number(name: str | None) -> Any:
    return int(name) if name and name.isdigit() else name


def _mode(text: str) -> int:
    try:
        mode = int(text, 8)
    except ValueError as error:
        raise Refused(400, "invalid mode format") from error
    if not 0 <= mode <= 0o7777:
        raise Refused(400, "invalid mode format")
    return mode
