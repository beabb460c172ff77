"""Reads and writes a sandbox's files by its own paths."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from pytest_kiro.errors import SandboxError
from pytest_kiro.sandbox import files
from pytest_kiro.sandbox.guarded import not_ours, root_of


class Disk:
    """The files that the paths of this process lead to; relative ones start at `home`.

    `trash` is a folder of the same file system, into which what is in the way is moved; `name` is the sandbox's;
    `guarded` are the folders below which no write follows a link.
    """

    def __init__(self, home: Path, trash: Path, name: str) -> None:
        self.home, self._trash, self._name = home, trash, name
        self.guarded: frozenset[str] = frozenset()

    def resolve(self, path: str) -> Path:
        return self.home / path  # an absolute path stays itself

    def check(self) -> None:
        """Raise `SandboxError` when the home is gone."""
        if not os.access(self.home, os.F_OK):
            what = f"sandbox {self._name} is gone: {self.home} was removed, perhaps by a command in it"
            raise SandboxError(what, advice="run pytest again")

    def folder(self, cwd: str) -> Path:
        """Return a folder to start a program in; `FileNotFoundError` and the like when it is none."""
        self.check()
        self._check_guard(cwd)
        folder = self.resolve(cwd)
        if not folder.is_dir():
            os.scandir(folder)  # raises what is true, before a process is started for nothing
        return folder

    def read(self, path: str) -> bytes:
        self.check()
        self._check_guard(path)
        return files.read(self.resolve(path))

    def read_many(self, paths: Iterable[str]) -> dict[str, bytes]:
        self.check()
        places = {path: self.resolve(path) for path in paths}
        for path in {self._guard_of(path): path for path in places}.values():
            self._check_guard(path)
        files.check_size(places.values())
        return {path: files.read(place) for path, place in places.items()}

    def write_many(self, entries: Mapping[str, tuple[bytes, int]]) -> None:
        self.check()
        for path, (data, mode) in entries.items():
            root = self._check_guard(path)
            place = Path(os.path.normpath(self.resolve(path))) if root else self.resolve(path)
            files.write(place, data, mode, root=root if root != place else None, trash=self._trash)

    def write_new(self, entries: Mapping[str, tuple[bytes, int]]) -> None:
        self.check()
        if all(stat.S_IFMT(mode) in (0, stat.S_IFREG) for _, mode in entries.values()):
            with suppress(FileExistsError):  # something is there
                files.write_new({self.resolve(path): entry for path, entry in entries.items()})
                return
        self.write_many(entries)

    def listing(self, path: str) -> list[str]:
        self.check()
        self._check_guard(path)
        return files.listing(self.resolve(path))

    def remove(self, path: str) -> None:
        self.check()
        files.remove(self.resolve(path))

    def _guard_of(self, path: str) -> str:
        return root_of(path, str(self.home), self.guarded)

    def _check_guard(self, path: str) -> Path | None:
        """Return the guarded folder that a path is in; `SandboxError` when it is not itself any more."""
        root = self._guard_of(path)
        if root and (os.path.realpath(root) != root or not Path(root).is_dir()):
            raise not_ours(root)
        return Path(root) if root else None
