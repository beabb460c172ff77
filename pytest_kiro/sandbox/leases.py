"""Keeps who owns which local sandbox: a folder and a locked file beside it, known before anything runs in it.

The kernel frees the lock however its owner dies, SIGKILL included; so a lock that can be taken marks a sandbox
without an owner, and the next run clears it away (contract X3).
"""

from __future__ import annotations

import fcntl
import itertools
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from pytest_kiro.errors import SandboxError
from pytest_kiro.sandbox import processes

#: FS_IOC_SETFLAGS, from linux/fs.h.
_SET_FLAGS = 0x40086602


class Lease:
    """One sandbox's folder, ours until `release`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path, self._descriptor = path, descriptor

    @property
    def id(self) -> str:
        return self.path.name

    def release(self, *, keep: bool = False) -> None:
        """End the sandbox's processes, folder and lock; idempotent.

        `keep` leaves the folder; without a lock beside it no sweep will take it.
        """
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        try:
            processes.end(tags=[f"{self.id}."], below=self.path)
            if not keep:
                remove_tree(self.path)
            _lock_file(self.path).unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def base() -> Path:
    """Return the folder that holds this user's sandboxes, made when missing; `SandboxError` when it cannot be ours."""
    with explained("in the temporary directory"):
        path = Path(tempfile.gettempdir()).resolve() / f"sandboxes-{os.getuid()}"
    with explained(f"at {path}"):
        path.mkdir(mode=0o700, exist_ok=True)
        status, flags = path.lstat(), os.statvfs(path).f_flag
    if why := _unfit(str(path), flags):
        raise SandboxError(f"no sandbox can be made at {str(path)!a}: {why}", advice="set TMPDIR to another directory")
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        whose = f"mode {status.st_mode & 0o777:o}, owner {status.st_uid}"
        what = f"{path} is not a private directory of yours ({whose})"
        raise SandboxError(what, advice="remove it, or point TMPDIR elsewhere")
    return path


def _unfit(path: str, flags: int) -> str:
    """Return why a directory with these mount flags is none for sandboxes.

    >>> _unfit("/tmp/ü b", 0), _unfit("/tmp/" + chr(0xDCFF), 0)
    ('', 'its name is no UTF-8')
    """
    if flags & getattr(os, "ST_NOEXEC", 0):  # which macOS does not tell
        return "it is mounted noexec, and programs are executed there"
    if "\n" in path:
        return "its name has a line break"
    try:
        path.encode()
    except UnicodeEncodeError:
        return "its name is no UTF-8"
    return ""


def acquire(run_id: str) -> Lease:
    """Make a fresh folder that belongs to this process; `SandboxError` when the disk does not let us."""
    while True:
        path = base() / f"{run_id[:8]}-{token_hex(4)}"
        with explained(f"at {path}"):
            descriptor = _lock(path)
            if descriptor is None:
                continue  # a sweep took the file between its making and its locking
            try:
                path.mkdir(mode=0o700)
            except BaseException:
                _lock_file(path).unlink(missing_ok=True)
                os.close(descriptor)
                raise
        return Lease(path, descriptor)


def sweep(run_id: str | None = None) -> int:
    """Clear away sandboxes whose owner is dead; return how many of `run_id` (or of all) are still owned."""
    owned = 0
    for lock in base().glob("*.lock"):
        path = lock.with_suffix("")
        descriptor = _lock(path, create=False)
        if descriptor is not None:
            with suppress(SandboxError):  # an old one that cannot be removed does not stand in a new one's way
                Lease(path, descriptor).release()
        elif lock.exists() and path.name.startswith(run_id[:8] if run_id else ""):
            owned += 1
    return owned


def remove_tree(path: Path) -> None:
    """Remove a folder, whatever an agent has made of it.

    It may have taken the permission to, or nested folders by the thousand: what is deeper is moved up before it is
    removed, so two descriptors and short names do, and no link is followed.
    """
    with suppress(OSError):
        _open_up(path)
        top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            _empty(top)
        finally:
            os.close(top)
        path.rmdir()
    if os.path.lexists(path):
        what = f"{path} could not be removed"
        raise SandboxError(what, advice="look what in it is not yours, and remove it by hand")


def _empty(top: int) -> None:
    stays, mark, numbers = set[str](), token_hex(4), itertools.count()
    while folders := [name for name in _remove_files(top) if name not in stays]:
        for name in folders:
            stays.add(name)
            with suppress(OSError):
                folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=top)
                try:
                    for inner in _remove_files(folder):
                        os.rename(inner, f"{mark}.{next(numbers)}", src_dir_fd=folder, dst_dir_fd=top)
                finally:
                    os.close(folder)
                os.rmdir(name, dir_fd=top)


def _remove_files(folder: int) -> list[str]:
    """Remove all but the folders, and return those, opened up."""
    with os.scandir(folder) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in found:
        with suppress(OSError):
            if is_folder:
                _open_up(name, folder)
                continue
            try:
                os.unlink(name, dir_fd=folder)
            except PermissionError:
                _unlock(name, folder)
                os.unlink(name, dir_fd=folder)
    return [name for name, is_folder in found if is_folder]


def _open_up(name: str | Path, folder: int | None = None) -> None:
    """Let us remove what is in a folder."""
    try:
        os.chmod(name, 0o700, dir_fd=folder)
    except PermissionError:
        _unlock(name, folder)
        os.chmod(name, 0o700, dir_fd=folder)


def _unlock(name: str | Path, folder: int | None) -> None:
    """Take the attributes off that keep something from removal (chattr)."""
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    try:
        fcntl.ioctl(file, _SET_FLAGS, b"\0" * 8)
    finally:
        os.close(file)


def _lock_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _lock(path: Path, *, create: bool = True) -> int | None:
    """Return a locked descriptor. It is None when another process has the file or has just removed it."""
    name = _lock_file(path)
    try:
        descriptor = os.open(name, os.O_RDWR | (os.O_CREAT if create else 0), 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_ino == name.stat().st_ino:
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Turn the temporary directory's OSError into a `SandboxError` with advice."""
    try:
        yield
    except OSError as error:
        advice = "free space there, or set TMPDIR to a directory that can be written"
        raise SandboxError(f"no sandbox can be made {where}: {error.strerror}", advice=advice) from error
