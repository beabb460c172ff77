"""Reads and writes the files of a sandbox in Daytona: many in one request, any name, any size."""

from __future__ import annotations

import asyncio
import base64
import binascii
import errno
import io
import os
import re
import tarfile
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import suppress
from secrets import token_hex
from typing import TYPE_CHECKING, NoReturn, TypeVar

from pytest_kiro.errors import SandboxError, SandboxTimeout
from pytest_kiro.sandbox.daytona import faults, guest

if TYPE_CHECKING:
    from pytest_kiro.sandbox.daytona.machine import Machine

T = TypeVar("T")
#: Bytes that come back with a command's answer; more is downloaded, which is one request further.
_INLINE = 4 * 1024 * 1024
#: Bytes of names in one command, quoted twice: the SDK's client warns of a request of more than 1 MiB.
_NAMES_AT_ONCE = 768 * 1024
#: Bytes a second of an upload: slower is a link that hangs.
_SLOWEST = 100 * 1024
_TOOLS = "run it again; the sandbox needs a POSIX sh, tar, base64 and find"
#: Names that travel unchanged in every part of a multipart body.
_PLAIN = re.compile(r"[\w./ +@=,~-]+", re.ASCII)
_KINDS = {"m": errno.ENOENT, "d": errno.EISDIR, "n": errno.ENOTDIR, "u": errno.EACCES}
#: What the machine says when a file cannot be written, and what it is here.
_SAYINGS = {
    "is a directory": errno.EISDIR,
    "not a directory": errno.ENOTDIR,
    "file exists": errno.ENOTDIR,
    "permission denied": errno.EACCES,
}


async def read(machine: Machine, paths: Sequence[str]) -> dict[str, bytes]:
    """Return the bytes of files by their absolute paths; the errors of contract S7."""
    contents: dict[str, bytes] = {}
    for some in _batches(paths, paths):
        contents.update(await _read_some(machine, some))
    return contents


async def _read_some(machine: Machine, paths: Sequence[str]) -> dict[str, bytes]:
    pack = f"{machine.tasks}/{token_hex(8)}.pack"
    answer = await machine.errand("read files", guest.pack(paths, pack, inline=_INLINE))
    kinds, _, rest = answer.partition("\n")
    for path, kind in zip(paths, kinds, strict=False):
        if kind != "f":
            _refuse(path, kind)
    if rest.startswith("failed"):
        _explain("read files", rest.partition("\n")[2], paths)
    if len(kinds) != len(paths):
        raise SandboxError("the sandbox could not pack the files asked for", output=answer, advice=_TOOLS)
    try:
        data = await _download(machine, pack) if rest.strip() == "big" else base64.b64decode(rest)
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            files = [file.read() for member in archive if (file := archive.extractfile(member))]
        return dict(zip(paths, files, strict=True))
    except (tarfile.TarError, binascii.Error, ValueError) as error:
        raise SandboxError(f"what the sandbox packed could not be read: {error}", advice="run it again") from error
    finally:
        machine.thrown_away.append(pack)


async def _download(machine: Machine, path: str) -> bytes:
    from daytona import DaytonaError

    async def call() -> bytes:
        received = bytearray()
        stream = await machine.raw.fs.download_file_stream(path)
        try:
            with suppress(StopAsyncIteration):
                while True:
                    received += await asyncio.wait_for(anext(stream), machine.waits.stalled)
        except DaytonaError as error:
            if "Truncated" in str(error):  # a link that ended, with other words
                raise ConnectionError(faults.text_of(error)) from error
            raise
        return bytes(received)

    return await machine.ask(f"download {path}", call, timeout=machine.waits.all_files, safe=True)


async def write(machine: Machine, files: Mapping[str, tuple[bytes, int]], *, careful: bool) -> None:
    """Write files with their modes, and the folders above them.

    Plain names of the default mode go straight to their places; all others, and all when it is `careful`, are copied
    there by a command: only that sees a pipe that an agent made, keeps a mode, and spells any name.
    """
    if not files:
        return
    token, sent, staged = token_hex(8), dict[str, bytes](), list[tuple[str, str, int]]()
    for number, (path, (data, mode)) in enumerate(files.items()):
        place = path
        if careful or mode != 0o644 or not _PLAIN.fullmatch(path):
            place = f"{machine.tasks}/{token}.{number}"
            staged.append((place, path, mode))
        sent[place] = data
    try:
        await _upload(machine, sent)
        for some in _batches(staged, [path for _, path, _ in staged]):
            await _place(machine, some)
    finally:
        machine.thrown_away += [name for name, _, _ in staged]


async def _place(machine: Machine, staged: Sequence[tuple[str, str, int]]) -> None:
    """Copy uploaded files to where they belong: (uploaded name, path, mode)."""
    words = [word for name, path, mode in staged for word in (name, path, f"{mode:o}")]
    answer = await machine.errand("write files", guest.on_files("place", words))
    kind, _, number = answer.strip().rpartition("\n")[2].partition(" ")
    if number.isdigit():
        _refuse(staged[int(number)][1], kind)
    if kind != "f":
        _explain("write files", answer, [path for _, path, _ in staged])


async def _upload(machine: Machine, files: Mapping[str, bytes]) -> None:
    from daytona import FileUpload

    def call() -> Awaitable[None]:
        # Anew for each attempt: the SDK reads the sources while it sends them.
        return machine.raw.fs.upload_files([FileUpload(source=data, destination=path) for path, data in files.items()])

    size = sum(map(len, files.values()))
    what = f"upload {len(files)} files, {size} bytes" if len(files) > 1 else f"upload {next(iter(files))}"
    try:
        await machine.ask(what, call, timeout=machine.waits.upload + size / _SLOWEST, safe=True)
    except SandboxTimeout:
        # Something that an agent put there may hold up whoever opens it.
        for some in _batches(list(files), list(files)):
            kinds = await machine.errand("look at files", guest.on_files("kinds", some))
            for path, kind in zip(some, kinds.strip(), strict=False):
                if kind not in "fmu":
                    _refuse(path, kind)
        raise
    except SandboxError as error:
        _explain(what, str(error), list(files), error)


async def listing(machine: Machine, path: str) -> list[str]:
    """Return every entry below a folder: relative paths, sorted, folders with a trailing slash."""
    answer = await machine.errand(f"list {path}", guest.on_files("list", [path]))
    kind, _, rest = answer.partition("\n")
    if kind != "d":
        _refuse(path, "n" if kind in ("f", "u", "o") else kind)
    folders, _, others = rest.partition("-")
    return sorted([f"{name}/" for name in _names(folders)] + _names(others))


def _names(encoded: str) -> list[str]:
    names = base64.b64decode(encoded).split(b"\0")
    return [name.removeprefix(b"./").decode("utf-8", "surrogateescape") for name in names if name]


def _batches(entries: Sequence[T], names: Sequence[str]) -> Iterator[Sequence[T]]:
    """Cut a list into parts whose names fit into one command."""
    start = size = 0
    for number, name in enumerate(names):
        length = 2 * len(name.encode("utf-8", "surrogateescape")) + 100
        if size + length > _NAMES_AT_ONCE and number > start:
            yield entries[start:number]
            start, size = number, 0
        size += length
    if entries:
        yield entries[start:]


def os_error(number: int, path: str) -> OSError:
    """Return the error that an errno stands for, such as `FileNotFoundError`."""
    return OSError(number, os.strerror(number), path)


def _refuse(path: str, kind: str) -> NoReturn:
    if kind in _KINDS:
        raise os_error(_KINDS[kind], path)
    raise OSError(errno.EINVAL, "neither a file nor a folder (a pipe, socket or device)", path)


def _explain(what: str, output: str, paths: Sequence[str], error: SandboxError | None = None) -> NoReturn:
    """Raise what a refusal means."""
    if isinstance(error, faults.SandboxGone):
        raise error
    if _FULL.search(output):
        raise disk_full(what, output) from error
    for saying, number in _SAYINGS.items():
        if saying in output.lower():
            raise os_error(number, max((path for path in paths if path in output), key=len, default=what)) from error
    raise error or SandboxError(f"{what}: the sandbox refused", output=output, advice=_TOOLS)


def disk_full(what: str, output: str) -> SandboxError:
    """Return the error for a disk that has no room."""
    return SandboxError(f"{what}: the sandbox's disk is full", output=output, advice=_ROOM)


_FULL = re.compile(r"no space left|file too large|quota exceeded", re.IGNORECASE)
_ROOM = "free space in it, or ask for a larger disk (kiro_sandbox_args: resources with an image or a snapshot)"
