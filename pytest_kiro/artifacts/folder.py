"""Writes files into a folder that others use too; removes only its own."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import BinaryIO, TypeVar

#: Where a folder's own files are listed, a JSON text a line: each before it is written.
WRITTEN = ".written"
#: Bytes of a name that stay readable; file systems take 255.
_READABLE = 100
_UNUSUAL = re.compile(r"[^\w.=+-]+")
_Result = TypeVar("_Result")


def folder_name(readable: str, whole: str) -> str:
    """Return a short and safe folder's name, another one for each `whole`.

    >>> folder_name("../test_a.py::test_x[a/b]", "test_a.py::test_x[a/b]")
    'test_a.py-test_x-a-b--bc979335'
    """
    words = _UNUSUAL.sub("-", readable).strip(".-") or "test"
    words = words.encode("utf-8")[:_READABLE].decode("utf-8", "ignore").rstrip(".-")
    return f"{words}--{hashlib.sha256(whole.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


class Folder:
    """A folder, and which of the files in it are ours: others stay as they are.

    Its methods raise `OSError` where something cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._own = dict.fromkeys(self._listed())

    def write(self, name: str, data: bytes) -> None:
        """Write a file; readers see the old one or the new one. `FileExistsError` for what is not ours."""
        target = self.claim(name)
        part = target.with_name(f".{os.getpid()}.part")
        try:
            write_to(part, data)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)

    def claim(self, name: str) -> Path:
        """Note a file as ours; return its path, whose folders are made."""
        target = self.path / name
        self._make(target.parent)
        if name not in self._own:
            if os.path.lexists(target):
                raise FileExistsError(17, "it is there already, and is not ours", str(target))
            write_to(self.path / WRITTEN, f"{json.dumps(name)}\n".encode("ascii"), add=True)
            self._own[name] = None
        return target

    def owns(self, name: str) -> bool:
        """Whether a file is one of ours."""
        return name in self._own

    def forget(self, name: str) -> None:
        """Remove one of our files; idempotent."""
        if name in self._own:
            (self.path / name).unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove what is ours; the folder itself goes unless something else is in it."""
        folders = set[PurePosixPath]()
        for name in self._own:
            parents = [*PurePosixPath(name).parents][:-1]
            if any((self.path / parent).is_symlink() for parent in parents):
                continue  # somebody else's now
            folders.update(parents)
            with suppress(OSError):
                (self.path / name).unlink()
        for folder in sorted(folders, key=lambda folder: -len(folder.parts)):
            with suppress(OSError):
                (self.path / folder).rmdir()
        with suppress(OSError):
            (self.path / WRITTEN).unlink()
        self._own.clear()
        with suppress(OSError):
            self.path.rmdir()

    def _make(self, folder: Path) -> None:
        """Make a folder, below ours only, and through no link."""
        self.path.mkdir(parents=True, exist_ok=True)
        at = self.path
        for part in folder.relative_to(self.path).parts:
            at /= part
            with suppress(FileExistsError):
                at.mkdir()
            if at.is_symlink() or not at.is_dir():
                raise NotADirectoryError(20, "something else stands there", str(at))

    def _listed(self) -> Iterator[str]:
        """Yield the names of files that an earlier process has written here."""
        with suppress(OSError, ValueError):
            for line in read_from(self.path / WRITTEN).decode("ascii").splitlines():
                name = json.loads(line)
                parts = PurePosixPath(name).parts if isinstance(name, str) else ()
                if parts and ".." not in parts and parts[0] != "/":
                    yield name


# -- files, which Ctrl-C leaves closed wherever it comes


def write_to(path: Path, data: bytes, *, add: bool = False) -> None:
    """Write a file, or go on at its end."""
    _with(path, "ab" if add else "wb", lambda file: file.write(data))


def read_from(path: Path) -> bytes:
    """Return what a file has."""
    return _with(path, "rb", lambda file: file.read())


def names_in(folder: Path) -> list[str]:
    """Return the names in a folder, in order."""
    # `Path.iterdir` of Python 3.13 has a `with` of its own, and leaves the folder open where Ctrl-C comes before it.
    return sorted(os.listdir(folder))  # noqa: PTH208


def _with(path: Path, mode: str, use: Callable[[BinaryIO], _Result]) -> _Result:
    opened: list[BinaryIO] = []
    try:
        # A `with` lets Ctrl-C come between the opening and its own beginning. C code opens and appends here: that is
        # one step for Python, which looks for signals between its own.
        # (What `open` returns goes by its mode, which mypy does not follow through `map`.)
        opened.extend(map(open, [os.fspath(path)], [mode]))  # type: ignore[arg-type]
        return use(opened[0])
    finally:
        for file in opened:
            file.close()
