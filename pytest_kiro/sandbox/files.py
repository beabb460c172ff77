"""Reads and writes the files of a local sandbox: whatever an agent has made there, no call waits."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import IO

from pytest_kiro.errors import SandboxError
from pytest_kiro.sandbox.bounds import LONGEST_PATH, READ_AT_ONCE, too_much
from pytest_kiro.sandbox.leases import remove_tree


def read(path: Path) -> bytes:
    """Return a file's bytes; `FileNotFoundError`, `IsADirectoryError`, `OSError` for a pipe, socket or device."""
    _check_regular(path.stat(), path)  # before it is opened: a device may do something then
    # O_NONBLOCK: a pipe that an agent made must not hold us (contract S12).
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        _check_regular(os.fstat(file.fileno()), path)
        return file.read() or b""


def check_size(paths: Iterable[Path]) -> None:
    """Raise `SandboxError` for files that are too large together."""
    size = 0
    for path in paths:
        with suppress(OSError):
            size += path.stat().st_size
        if size > READ_AT_ONCE:
            raise too_much(str(path))


def _check_regular(status: os.stat_result, path: Path) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "neither a file nor a folder (a pipe, socket or device)", str(path))
    if status.st_size > READ_AT_ONCE:
        raise too_much(str(path))


def write(path: Path, data: bytes, mode: int, *, root: Path | None, trash: Path) -> None:
    """Write a file and the folders above it; `SandboxError` when the disk is full.

    A new file takes the place of what is there, by rename, so nobody sees half of one. Below `root` no link is
    followed, and what stands in the way is replaced: a folder is moved to `trash` and removed there. Without a root,
    folders are those that the path names, and a folder or device in the way is an error. `mode` may be that of a link,
    to which `data` leads, or of a folder.
    """
    with _explained(path):
        folder = _folder_above(path, root, trash)
        try:
            _put(folder, path, data, mode, replace=root is not None, trash=trash)
        finally:
            os.close(folder)


def write_new(files: Mapping[Path, tuple[bytes, int]]) -> None:
    """Write files where nothing is yet, without a detour; `SandboxError` when the disk is full."""
    for folder in dict.fromkeys(path.parent for path in files):
        with _explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
    for path, (data, mode) in files.items():
        with _explained(path):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                os.fchmod(descriptor, stat.S_IMODE(mode))


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG):
            raise SandboxError(f"{path} could not be written: {error.strerror}", advice="free space there") from error
        raise


_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
#: How often something may come into our way again before that is an error.
_TRIES = 20


def _folder_above(path: Path, root: Path | None, trash: Path) -> int:
    """Open the folder that a path is in, made when missing."""
    if root is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    folder = _opened(root)
    for name in path.parent.relative_to(root).parts:
        above = folder
        try:
            folder = _enter(above, name, path, trash)
        finally:
            os.close(above)
    return folder


def _enter(above: int, name: str, path: Path, trash: Path) -> int:
    """Open a folder in another one; what is there and is none is replaced."""
    for _ in range(_TRIES):
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=above)
        try:
            return _opened(name, above)
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP, errno.ENOENT):
                raise
        _put_away(above, name, trash)
    raise _restless(path)


def _opened(name: str | Path, above: int | None = None) -> int:
    """Open a folder to write in, whatever permissions an agent left it."""
    try:
        folder = os.open(name, _FOLDER, dir_fd=above)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=above)
        folder = os.open(name, _FOLDER, dir_fd=above)
    mode = os.fstat(folder).st_mode
    if mode & 0o700 != 0o700:
        with suppress(PermissionError):  # it is another's, and may let us write all the same
            os.fchmod(folder, stat.S_IMODE(mode) | 0o700)
    return folder


def _put(folder: int, path: Path, data: bytes, mode: int, *, replace: bool, trash: Path) -> None:
    """Put a file, link or folder into an open folder."""
    name = path.name
    if stat.S_ISDIR(mode):
        os.close(_enter(folder, name, path, trash))
        return
    if not replace:
        _refuse(folder, path)
    temporary = f".{token_hex(8)}"
    if stat.S_ISLNK(mode):
        os.symlink(data, temporary.encode(), dir_fd=folder)
    else:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder)
    try:
        if not stat.S_ISLNK(mode):
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fchmod(descriptor, stat.S_IMODE(mode))
        _rename(folder, temporary, path, replace=replace, trash=trash)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise
    if replace and path.suffix == ".py":
        _forget_byte_code(folder, path.stem, trash)


def _rename(folder: int, temporary: str, path: Path, *, replace: bool, trash: Path) -> None:
    for _ in range(_TRIES):
        try:
            os.rename(temporary, path.name, src_dir_fd=folder, dst_dir_fd=folder)
            return
        except IsADirectoryError:
            if not replace:
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path)) from None
            _put_away(folder, path.name, trash)
    raise _restless(path)


def _refuse(folder: int, path: Path) -> None:
    """Raise for a folder or device, which stays where it is."""
    with suppress(FileNotFoundError):
        mode = os.lstat(path.name, dir_fd=folder).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            raise OSError(errno.EINVAL, "neither a file nor a folder (a device)", str(path))


def _put_away(folder: int, name: str, trash: Path) -> None:
    """Remove whatever has this name in an open folder."""
    with suppress(FileNotFoundError):
        try:
            os.unlink(name, dir_fd=folder)
        except (IsADirectoryError, PermissionError):  # POSIX has EPERM for a folder
            waste = trash / f"waste-{token_hex(8)}"
            with suppress(OSError):
                os.close(_opened(name, folder))  # or it could not be moved
            os.rename(name, waste, src_dir_fd=folder)
            remove_tree(waste)


def _forget_byte_code(folder: int, module: str, trash: Path) -> None:
    """Remove what Python would run in place of a module's new source."""
    try:
        cache = _opened("__pycache__", folder)
    except FileNotFoundError:
        return
    except OSError:  # a link, through which Python would go
        _put_away(folder, "__pycache__", trash)
        return
    try:
        for name in os.listdir(cache):  # noqa: PTH208 - a descriptor has no Path
            if name.startswith(f"{module}.") and name.endswith(".pyc"):
                _put_away(cache, name, trash)
    finally:
        os.close(cache)


def _restless(path: Path) -> SandboxError:
    return SandboxError(f"{path} could not be written: something there keeps changing", advice="see what still runs")


def listing(top: Path) -> list[str]:
    """Return every entry below a folder: relative paths, sorted, folders with a trailing slash."""
    entries: list[str] = []
    start = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    try:
        folders = [""]
        while folders:
            prefix = folders.pop()
            with suppress(OSError):  # one that is gone, or may not be read
                folder = _open_below(start, prefix)
                try:
                    with os.scandir(folder) as found:
                        for entry in found:
                            # A link to a folder is an entry of its own: following it could leave the sandbox.
                            if entry.is_dir(follow_symlinks=False):
                                folders.append(f"{prefix}{entry.name}/")
                                entries.append(f"{prefix}{entry.name}/")
                            else:
                                entries.append(f"{prefix}{entry.name}")
                finally:
                    os.close(folder)
    finally:
        os.close(start)
    return sorted(entries)


def _open_below(start: int, path: str) -> int:
    """Open a folder below an open one, however deep."""
    rest, folder = os.fsencode(path).rstrip(b"/"), os.dup(start)
    while rest:
        step = rest if len(rest) < LONGEST_PATH else rest[: rest.rindex(b"/", 0, LONGEST_PATH)]
        rest = rest[len(step) + 1 :]
        above = folder
        try:
            folder = os.open(step, _FOLDER, dir_fd=above)
        finally:
            os.close(above)
    return folder


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
