"""Reads and writes the files of a sandbox in Daytona: many in one request, any name, any size."""

from __future__ import annotations

import asyncio
import base64
import binascii
import errno
import gzip
import io
import os
import re
import stat
import tarfile
from collections.abc import Awaitable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from secrets import token_hex
from typing import TYPE_CHECKING, NoReturn, TypeVar

from pytest_kiro.errors import SandboxError, SandboxTimeout
from pytest_kiro.sandbox.bounds import too_much
from pytest_kiro.sandbox.daytona import faults, guest
from pytest_kiro.sandbox.guarded import not_ours

if TYPE_CHECKING:
    from pytest_kiro.sandbox.daytona.machine import Machine

T = TypeVar("T")
#: Bytes that come back with a command's answer; more is downloaded, which is one request further.
_INLINE = 4 * 1024 * 1024
#: Bytes of an archive that travel with the command that unpacks it.
_SENT_ALONG = 384 * 1024
#: Modes and blanks as they are; the owner is who unpacks.
_UNTAR = "tar -xpof -"
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


async def read(machine: Machine, paths: Sequence[str], roots: Collection[str]) -> dict[str, bytes]:
    """Return the bytes of files by their absolute paths; the errors of contract S7.

    `roots` are the guarded folders that they are in; one that is not itself any more is an error.
    """
    contents: dict[str, bytes] = {}
    for some in _batches(paths, paths):
        contents.update(await _read_some(machine, some, roots))
    return contents


async def _read_some(machine: Machine, paths: Sequence[str], roots: Collection[str]) -> dict[str, bytes]:
    pack = f"{machine.tasks}/{token_hex(8)}.pack"
    command = guest.guarded(roots) + guest.pack(paths, pack, inline=_INLINE)
    answer = _of_ours(await machine.errand("read files", command))
    kinds, _, rest = answer.partition("\n")
    for path, kind in zip(paths, kinds, strict=False):
        if kind != "f":
            _refuse(path, kind)
    if rest.startswith("large"):
        raise too_much(f"{len(paths)} files" if len(paths) > 1 else paths[0])
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


@dataclass(frozen=True)
class Target:
    """Where a file goes: a path below a folder; when that is guarded, nothing on the way is followed."""

    base: str
    path: str
    guarded: bool

    @classmethod
    def of(cls, path: str, root: str) -> Target:
        """Return the target of an absolute path; `root` may be empty."""
        whole = os.path.normpath(path)
        if root and whole != root:
            return cls(root, whole[len(root) + 1 :], guarded=True)
        # What `..` means behind a link is the machine's to say.
        base, _, rest = path.rpartition("/../")
        return cls(f"{base}/.." if base else "/", rest.lstrip("/"), guarded=False)


async def write_new(machine: Machine, files: Mapping[str, tuple[bytes, int]]) -> None:
    """Write files where nothing is yet; plain ones go straight to their places."""
    # The service takes blanks off the end of a name.
    if all(_PLAIN.fullmatch(path) and path[-1] != " " and mode == 0o644 for path, (_, mode) in files.items()):
        await _upload(machine, {path: data for path, (data, _) in files.items()})
    else:
        await write(machine, {Target.of(path, ""): entry for path, entry in files.items()})


async def write(machine: Machine, files: Mapping[Target, tuple[bytes, int]]) -> None:
    """Write files with their modes, and the folders above them.

    They travel in an archive, with the command that puts them in place when it is small.
    """
    groups = list(dict.fromkeys((target.base, target.guarded) for target in files))
    packed = _archive({f"{groups.index((t.base, t.guarded))}/{t.path}": entry for t, entry in files.items()})
    roots = [base for base, guarded in groups if guarded]
    token, inline, archive = token_hex(8), "", ""
    stage = f"{roots[0]}.{token}" if roots else f"{machine.tasks}/{token}"
    small = packed if len(packed) <= _SENT_ALONG else gzip.compress(packed, 1, mtime=0)
    if len(small) <= _SENT_ALONG:
        inline = base64.b64encode(small).decode()
    else:
        archive = f"{machine.tasks}/{token}.tar"
        await _upload(machine, {archive: packed})
    words = [word for base, guarded in groups for word in (base, "1" if guarded else "")]
    unpack = f"gzip -d | {_UNTAR}" if inline and small is not packed else _UNTAR
    place = guest.on_files("place", words, stage=stage, inline=inline, archive=archive, unpack=unpack)
    try:
        answer = _of_ours(await machine.errand("write files", guest.guarded(roots) + place))
    finally:
        machine.thrown_away += [stage, *([archive] if archive else [])]
    kind, _, path = answer.rpartition("\nplaced ")[2].rstrip("\n").partition(" ")
    if kind == "strange":
        raise not_ours(path)
    if kind in ("d", "n", "o"):
        _refuse(path, kind)
    if kind != "f":
        _explain("write files", answer, [f"{target.base.rstrip('/')}/{target.path}" for target in files])


def _archive(files: Mapping[str, tuple[bytes, int]]) -> bytes:
    """Return a tar archive of files, links and folders."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as archive:
        for path, (data, mode) in files.items():
            member = tarfile.TarInfo(path)
            member.mode = stat.S_IMODE(mode)
            if stat.S_ISLNK(mode):
                member.type, member.linkname = tarfile.SYMTYPE, os.fsdecode(data)
            elif stat.S_ISDIR(mode):
                member.type = tarfile.DIRTYPE
            else:
                member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()


async def _upload(machine: Machine, files: Mapping[str, bytes]) -> None:
    from daytona import FileUpload

    def call() -> Awaitable[None]:
        # Anew for each attempt: the SDK reads the sources while it sends them.
        return machine.raw.fs.upload_files([FileUpload(source=data, destination=path) for path, data in files.items()])

    size = sum(map(len, files.values()))
    what = f"upload {len(files)} files, {size} bytes" if len(files) > 1 else f"upload {next(iter(files))}"
    try:
        await machine.ask(what, call, timeout=machine.waits.upload + size / _SLOWEST, safe=True)
    except SandboxError as error:
        if isinstance(error, SandboxTimeout):
            raise
        _explain(what, str(error), list(files), error)


async def listing(machine: Machine, path: str, roots: Collection[str]) -> list[str]:
    """Return every entry below a folder: relative paths, sorted, folders with a trailing slash."""
    command = guest.guarded(roots) + guest.on_files("list", [path])
    answer = _of_ours(await machine.errand(f"list {path}", command))
    kind, _, rest = answer.partition("\n")
    if kind != "d":
        _refuse(path, "n" if kind in ("f", "u", "o") else kind)
    folders, _, others = rest.partition("-")
    return sorted([f"{name}/" for name in _names(folders)] + _names(others))


def _of_ours(answer: str) -> str:
    """Return an answer; `SandboxError` when it calls a guarded folder strange."""
    if answer.startswith("strange "):
        raise not_ours(answer.removeprefix("strange ").rstrip("\n"))
    return answer


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
