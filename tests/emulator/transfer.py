"""The toolbox's routes that carry files in and out: streamed, never held in memory."""

from __future__ import annotations

import errno
import json
import os
import re
import tempfile
import urllib.parse
from pathlib import Path
from typing import Any

from aiohttp import BodyPartReader, web

from .call import Call
from .files import refusal
from .line import Body, begin
from .wire import DAEMON, Refused, envelope

_BOUNDARY = "DAYTONA-FILE-BOUNDARY"
_CHUNK = 256 * 1024
_FIELD = re.compile(r"files\[(.*)\]\.(path|file)")


# -- upload


async def upload(call: Call) -> web.StreamResponse:
    """Write the files of a multipart body; all that could be written are, whatever happens to the others."""
    try:
        reader = await call.request.multipart()
    except (ValueError, AssertionError):
        return web.json_response({"errors": ["invalid multipart form"]}, status=400)
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
            except OSError as error:
                errors.append(f"{path}: write: {(error.strerror or str(error)).lower()}")
    if errors:
        return web.json_response({"errors": errors, "files": written}, status=400)
    return web.json_response({"files": written})


async def _write(call: Call, part: BodyPartReader, path: str) -> int:
    """Write one file beside its place and rename it, as the daemon does; its mode is 0644 whatever it was."""
    place = call.machine.resolve(path)
    if place.is_symlink():
        place = place.resolve()
    _make_parents(place.parent)
    descriptor, temporary = tempfile.mkstemp(prefix=".daytona-upload-", dir=place.parent)
    try:
        with open(descriptor, "wb", buffering=0) as file:
            size = 0
            while chunk := await part.read_chunk(_CHUNK):
                _check_disk(call)
                size += file.write(part.decode(chunk))
        os.chmod(temporary, 0o644)
        os.replace(temporary, place)
    except BaseException:
        os.unlink(temporary)
        raise
    return size


def _check_disk(call: Call) -> None:
    if call.machine.disk_full or call.actions.get("disk_full"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _make_parents(folder: Path) -> None:
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        each.chmod(0o755)


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
            await body.write(_part_head("file", path, "application/octet-stream", size))
            while not body.over and (chunk := file.read(_CHUNK)):
                await body.write(chunk)
    except OSError as error:
        await _write_error(call, body, path, refusal(error, path))
    except Refused as refused:
        await _write_error(call, body, path, refused)


async def _write_error(call: Call, body: Body, path: str, refused: Refused) -> None:
    said = json.dumps(envelope(refused, call.request.method, path, call.world.now())).encode()
    await body.write(_part_head("error", path, "application/json", len(said)) + said)


def _file(call: Call, path: str) -> Path:
    """Return the place of a file to read; a folder is none."""
    place = call.machine.resolve(path)
    if not path or place.is_dir():
        what = f"path is a directory: {path}" if path else "path is empty"
        raise Refused(400, what, code="INVALID_FILE_PATH", source=DAEMON)
    return place


def _part_head(name: str, path: str, kind: str, size: int) -> bytes:
    return (
        f'Content-Disposition: form-data; name="{name}"; {_filename(path)}\r\n'
        f"Content-Length: {size}\r\nContent-Type: {kind}\r\n\r\n"
    ).encode()


def _filename(path: str) -> str:
    """Return the parameter that names a file: quoted, or percent-encoded when it is not plain ASCII."""
    if all(" " <= character <= "~" for character in path):
        escaped = path.replace("\\", "\\\\").replace('"', '\\"')
        return f'filename="{escaped}"'
    return f"filename*=utf-8''{urllib.parse.quote(path, safe='')}"


async def download(call: Call) -> web.StreamResponse:
    """Answer with one file as it is."""
    path = call.text("path")
    try:
        with _file(call, path).open("rb") as file:
            return await _send(call, file, Path(path).name)
    except OSError as error:
        raise refusal(error, path) from error


async def _send(call: Call, file: Any, name: str) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={"Content-Type": "application/octet-stream", "Content-Disposition": f"attachment; {_filename(name)}"}
    )
    response.content_length = os.fstat(file.fileno()).st_size
    await begin(call, response)
    body = Body(call, response)
    while not body.over and (chunk := file.read(_CHUNK)):
        await body.write(chunk)
    await body.end()
    return response
