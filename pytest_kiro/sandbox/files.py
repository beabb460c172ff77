"""Reads and writes the files of a local sandbox: whatever an agent has made there, no call waits."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO

from pytest_kiro.errors import SandboxError
from pytest_kiro.sandbox.leases import remove_tree


def read(path: Path) -> bytes:
    """Return a file's bytes; `FileNotFoundError`, `IsADirectoryError`, `OSError` for a pipe, socket or device."""
    # O_NONBLOCK: a pipe that an agent made must not hold us (contract S12).
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        raise OSError(errno.EINVAL, "neither a file nor a folder (a pipe, socket or device)", str(path))
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor has no Path
        return file.read()


def write(path: Path, data: bytes, mode: int) -> None:
    """Write a file and the folders above it; `SandboxError` when the disk is full."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK, mode)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor has no Path
            os.fchmod(descriptor, mode)
            file.write(data)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG):
            raise SandboxError(f"{path} could not be written: {error.strerror}", advice="free space there") from error
        raise


def listing(top: Path) -> list[str]:
    """Return every entry below a folder: relative paths, sorted, folders with a trailing slash."""
    entries: list[str] = []
    if not top.is_dir():
        os.scandir(top)  # raises what is true: not there, or no folder
    for folder, folders, names in os.walk(top):
        prefix = Path(folder).relative_to(top)
        for name in folders:
            # A link to a folder is an entry of its own: following it could leave the sandbox, or never end.
            slash = "" if Path(folder, name).is_symlink() else "/"
            entries.append(str(prefix / name) + slash)
        entries.extend(str(prefix / name) for name in names)
    return sorted(entries)


def remove(path: Path) -> None:
    """Remove a file or a whole folder; one that is not there is no error."""
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        path.unlink(missing_ok=True)


def read_ends(file: IO[bytes], cap: int) -> bytes:
    """Return a file's bytes; beyond the cap its start and its end, with a line between them that says so."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size <= cap:
        return file.read()
    start = file.read(cap // 2)
    file.seek(size - cap // 2)
    return start + b"\n[... %d bytes in the middle were not kept ...]\n" % (size - cap) + file.read(cap // 2)
