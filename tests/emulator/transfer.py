"""The toolbox's routes that carry files in and out: streamed, never held in memory."""

from __future__ import annotations

import asyncio
import errno
import json
import mimetypes
import os
import re
import urllib.parse
from pathlib import Path
from typing import Any

from aiohttp import BodyPartReader, web

from .call import Call
from .files import by_status, status_of
from .line import Body, begin
from .wire import DAEMON, Refused, daemon_json, envelope

_BOUNDARY = "DAYTONA-FILE-BOUNDARY"
_CHUNK = 256 * 1024
_FIELD = re.compile(r"files\[(.*)\]\.(path|file)")
#: How long to wait, in seconds, for room in a pipe that somebody reads.
_ROOM = 0.01


# -- upload


async def upload(call: Call) -> web.StreamResponse:
    """Write the files of a multipart body; all that could be written are, whatever happens to the others."""
    try:
        reader = await call.request.multipart()
    except (ValueError, AssertionError):
        return daemon_json({"errors": ["invalid multipart form"]}, status=400)
    paths, errors, written = dict[str, str](), [], []
    async for part in reader:
        field = _FIELD.fullmatch(getattr(part, "name", None) or "")
        if field is None or not isinstance(part, BodyPartReader):
            continue
        index, kind = field.groups()
        if kind == "path":
            paths[index] = (await part.read()).decode().strip()
            if not paths.get(index):
                errors.append(f"path[{index}]: empty path")
        elif not (path := paths.get(index)):
            errors.append(f"file[{index}]: missing .path metadata")
        else:
            try:
                written.append({"path": path, "bytes": await _write(call, part, path)})
            except _NotWritten as error:
                errors.append(f"{path}: {error}")
    if errors:
        return daemon_json({"errors": errors, "files": written or None}, status=400)
    return daemon_json({"files": written or None})


class _NotWritten(Exception):
    """What could not be done with a file, at which path, and why."""

    def __init__(self, verb: str, call: str, path: str | Path, error: OSError) -> None:
        super().__init__(f"{verb}: {call} {path}: {(error.strerror or str(error)).lower()}")


async def _write(call: Call, part: BodyPartReader, path: str) -> int:
    """Write what is there anew, in its place: its mode, its links and what it is remain."""
    _make_parents(call, Path(path).parent)
    try:
        descriptor = _create(call.machine.resolve(path))
    except OSError as error:
        raise _NotWritten("create", "open", path, error) from error
    size = 0
    try:
        while chunk := await part.read_chunk(_CHUNK):
            _check_disk(call)
            size += await _put(descriptor, part.decode(chunk))
    except OSError as error:
        raise _NotWritten("write", "write", path, error) from error
    finally:
        os.close(descriptor)
    return size


def _create(place: Path) -> int:
    """Open a file for writing; a pipe is opened without a reader as well, since we may read it ourselves."""
    new = not place.exists()
    descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK, 0o666)
    if new:
        os.fchmod(descriptor, 0o644)  # whatever the umask of this process is
    return descriptor


async def _put(descriptor: int, data: bytes) -> int:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:  # a pipe that is full
            await asyncio.sleep(_ROOM)
    return len(data)


def _check_disk(call: Call) -> None:
    if call.machine.disk_full or call.actions.get("disk_full"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _make_parents(call: Call, folder: Path) -> None:
    for each in (*reversed(folder.parents), folder):
        try:
            place = call.machine.resolve(str(each))
            if not place.exists():
                place.mkdir()
                place.chmod(0o755)
            elif not place.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        except OSError as error:
            raise _NotWritten(f"mkdir {folder}", "mkdir", each, error) from error


# -- download


async def bulk_download(call: Call) -> web.StreamResponse:
    paths = (await call.json()).get("paths")
    if not isinstance(paths, list) or not paths or not all(isinstance(path, str) for path in paths):
        raise Refused(400, 'request body must be {"paths": [ ... ]} and non-empty', source=DAEMON)
    response = web.StreamResponse(headers={"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"})
    await begin(call, response)
    body = Body(call, response)
    for number, path in enumerate(paths):
        await body.write(b"\r\n--" if number else b"--")
        await body.write(f"{_BOUNDARY}\r\n".encode())
        await _write_part(call, body, path)
    await body.write(f"\r\n--{_BOUNDARY}--\r\n".encode())
    await body.end()
    return response


async def _write_part(call: Call, body: Body, path: str) -> None:
    try:
        with _file(call, path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            await body.write(_part_head("file", path, _kind(path), size))
            while not body.over and (chunk := file.read(_CHUNK)):
                await body.write(chunk)
    except OSError as error:
        await _write_error(call, body, path, _refusal(error, path))
    except Refused as refused:
        await _write_error(call, body, path, refused)


async def _write_error(call: Call, body: Body, path: str, refused: Refused) -> None:
    said = json.dumps(envelope(refused, call.request.method, path, call.world.now())).encode()
    await body.write(_part_head("error", path, "application/json") + said)


def _refusal(error: OSError, path: str) -> Refused:
    """Return what a part says in a file's stead."""
    status, why = status_of(error), (error.strerror or str(error)).lower()
    code = {403: "FILE_ACCESS_DENIED", 404: "FILE_NOT_FOUND"}.get(status)
    return Refused(status, f"{why}: {path}", code=code, source=DAEMON)


def _file(call: Call, path: str) -> Path:
    """Return the place of a file to read; a folder is none."""
    place = call.machine.resolve(path)
    if not path or place.is_dir():
        what = f"path is a directory: {path}" if path else "path is empty"
        raise Refused(400, what, code="INVALID_FILE_PATH", source=DAEMON)
    return place


def _part_head(name: str, path: str, kind: str, size: int | None = None) -> bytes:
    length = "" if size is None else f"Content-Length: {size}\r\n"
    disposition = f'Content-Disposition: form-data; name="{name}"; '.encode() + _filename(path)
    return disposition + f"\r\n{length}Content-Type: {kind}\r\n\r\n".encode()


def _kind(path: str) -> str:
    """Return the type that the end of a file's name stands for."""
    kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def _filename(path: str) -> bytes:
    """Return the parameters that name a file: for old readers in Latin-1, and as it is."""
    plain = re.sub(r"[^ -~\xa0-\xff]", "_", path).replace("\\", "\\\\").replace('"', '\\"').encode("latin-1")
    return b"filename=\"%s\"; filename*=UTF-8''%s" % (plain, urllib.parse.quote(path, safe="").encode())


@by_status
async def download(call: Call) -> web.StreamResponse:
    """Answer with one file as it is."""
    path = call.text("path")
    with _file(call, path).open("rb") as file:
        return await _send(call, file, Path(path).name)


async def _send(call: Call, file: Any, name: str) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={
            "Content-Type": "application/octet-stream",
            "Content-Disposition": f"attachment; filename*=UTF-8''{urllib.parse.quote(name, safe='')}",
        }
    )
    response.content_length = os.fstat(file.fileno()).st_size
    await begin(call, response)
    body = Body(call, response)
    while not body.over and (chunk := file.read(_CHUNK)):
        await body.write(chunk)
    await body.end()
    return response
