"""The folder in the sandbox that one conversation works in."""

from __future__ import annotations

import os
import secrets
import shlex
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from pytest_kiro.agent.check import execute
from pytest_kiro.errors import HIDE_FRAMES, SandboxError, SettingsError
from pytest_kiro.sandbox.protocol import ExecResult, Sandbox
from pytest_kiro.turn.changes import LARGEST, Changes, Ledger, unified

__tracebackhide__ = HIDE_FRAMES
#: For all that runs in one: Python tells byte code from new by seconds and size, so that a module which was rewritten
#: within a second would be the old one.
VARIABLES = {"PYTHONDONTWRITEBYTECODE": "1"}
#: What programs rewrite while they only read; the launch script leaves it out as well.
_UNNOTICED = frozenset({".git", "__pycache__"})
#: Left behind by the machine on which a seed was edited, and never meant.
_NOT_SEEDED = frozenset({"__pycache__", ".DS_Store"})


class Workspace:
    """What Kiro works in and what it leaves: a fresh folder of the sandbox, removed when its owner ends.

    >>> def test_donut(kiro):
    ...     kiro.run("Write donut.js")
    ...     art = kiro.workspace.exec("node donut.js").check().output
    ...     assert (kiro.workspace / "donut.js").is_file()
    """

    def __init__(self, sandbox: Sandbox, work: str, origin: Path) -> None:
        self.sandbox = sandbox
        self.ledger = Ledger()
        self._seeded: dict[str, bytes] = {}
        # A neutral name: that of a test would tell the agent what is tested.
        self._path = f"{work}/{secrets.token_hex(4)}"
        self._origin = origin
        #: Whether something has made the folder; the first turn's launch script can, which saves a request.
        self.made = False

    @classmethod
    def seeded(cls, sandbox: Sandbox, work: str, origin: Path, seed: Any) -> Workspace:
        """Make a workspace in `work` from a folder below `origin`; nothing is left of it when the seed is wrong."""
        if seed is not None and not (isinstance(seed, str | os.PathLike) and os.fspath(seed).strip(" ./")):
            advice = "wanted: the name of a folder beside the test's file"
            raise SettingsError(f"workspace={seed!r} is not right", advice=advice)
        made = cls(sandbox, work, origin)
        try:
            if seed is not None:
                made.seed(seed)
        except BaseException:
            made.remove()
            raise
        return made

    def __repr__(self) -> str:
        return f"<Workspace {self._path}>"

    @property
    def path(self) -> str:
        """The absolute path; asking for it makes the folder."""
        if not self.made:
            self.sandbox.exec(f"mkdir -p -- {shlex.quote(self._path)}").check()
            self.made = True
        self.sandbox.guard(self._path)
        return self._path

    def for_launch(self) -> tuple[str, bool]:
        """Return the path, and whether a launch script shall make the folder."""
        return self._path, not self.made

    def __truediv__(self, path: str) -> SandboxPath:
        return SandboxPath(self.sandbox, PurePosixPath(self.path) / path)

    def exec(self, command: str, *, env: Mapping[str, str] | None = None, timeout: float | None = None) -> ExecResult:
        """Execute one POSIX `sh` line in this folder.

        `env` adds to the sandbox's environment, in which `PYTHONDONTWRITEBYTECODE` is set; `timeout` is in seconds
        (default 600), then `SandboxTimeout`. Returns an `ExecResult`; a non-zero exit code is a result, and `.check()`
        makes it an error.
        """
        return self.sandbox.exec(command, cwd=self.path, env={**VARIABLES, **(env or {})}, timeout=timeout)

    def seed(self, source: str | os.PathLike[str] | Mapping[str, str | bytes]) -> None:
        """Put files here that `changes` will not count as Kiro's.

        `source` is a folder (relative ones start at the test's file, or at the file that defines the fixture)
        or a mapping of relative path to content. Links inside the folder stay links. What stands in the way, such as
        a link that Kiro has made, is replaced and never followed; byte code of a seeded module's old source is removed.
        Raises `SettingsError` for a folder that is not there or has a link that leads out of it, `ValueError` for a
        path that does, `SandboxError` when the workspace is no folder of ours any more.
        """
        self._write(self._read_source(source))

    def check(
        self,
        source: str | os.PathLike[str] | Mapping[str, str | bytes],
        command: str,
        *,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> ExecResult:
        """Execute a check apart from this folder.

        Nothing that Kiro left here can stand in for it. `source` is what `seed` takes; it is put into a fresh folder
        elsewhere, in which the `sh` line `command` is executed. `$WORKSPACE` is the path of this folder, `$HOME` an
        empty one. What is in the check's folder is compared with `source` before and after. `env` and `timeout` are
        as for `exec`. Returns an `ExecResult`; raises `SandboxError` when the check was altered, or the workspace is
        no folder of ours any more.

        Let the check start what Kiro wrote as a program of its own: code that it imports could end it, or alter its
        tests. `python3 -I` imports nothing from the folder that it is started in, from HOME and from variables.

        >>> def test_slugify(kiro):
        ...     kiro.run("Write slugify.py, which prints the slug of its argument.")
        ...     assert kiro.workspace.check("checks/slugify", "python3 -I -m unittest -q").ok
        """
        files, path = self._read_source(source), self.path
        variables = {**VARIABLES, "WORKSPACE": path, **(env or {})}
        self.exec("true")  # raises if this is no folder any more
        return execute(self.sandbox, files, command, env=variables, timeout=timeout)

    def _read_source(
        self, source: str | os.PathLike[str] | Mapping[str, str | bytes]
    ) -> Mapping[str, tuple[bytes, int]]:
        """Return the files of a mapping or folder."""
        if isinstance(source, Mapping):
            for path in source:
                parts = PurePosixPath(path)
                if not path or parts.is_absolute() or ".." in parts.parts or "\0" in path:
                    raise ValueError(f"seed path {path!r}: a relative path inside the workspace is wanted")
            return {path: (c.encode() if isinstance(c, str) else c, 0o644) for path, c in source.items()}
        folder = self._origin / source
        if not folder.is_dir():
            beside = sorted(p.name for p in folder.parent.iterdir()) if folder.parent.is_dir() else []
            raise SettingsError(
                f"workspace {os.fspath(source)!r}: there is no folder {folder}",
                advice=f"{folder.parent} has: {', '.join(beside) or 'nothing, or is not there'}",
            )
        return _read_seed(folder)

    def _write(self, files: Mapping[str, tuple[bytes, int]]) -> None:
        if not files:
            return
        whole = {f"{self._path}/{path}": entry for path, entry in files.items()}
        if self.made:
            self.sandbox.guard(self._path)
            self.sandbox.write_files(whole)
        else:  # nobody knows its name yet
            self.sandbox.write_new(whole)
            self.made = True
        self._seeded |= {p: data for p, (data, mode) in files.items() if _is_file(mode) and len(data) <= LARGEST}

    def changes(self) -> Changes:
        """Return what Kiro's turns changed here so far; what the eval seeds or executes is not in it."""
        return self.ledger.changes()

    def diff(self) -> str:
        """Return a unified diff of what Kiro's turns changed here.

        It compares with the files as they are now; it is empty when nothing changed. Known is what was seeded; of a
        file that something else made, and Kiro modified, only the name is told.
        """
        changes = self.changes()
        before: dict[str, bytes | None] = {**self._seeded, **dict.fromkeys(changes.added)}
        return unified(changes.paths, before, self._read(changes.added | changes.modified))

    def contents(self) -> dict[str, bytes]:
        """Return every file's content by its relative path.

        `.git` and `__pycache__` are left out, as in `changes`. A link counts as the file that it leads to; one that
        leads to a folder or to nothing, and a pipe, do not count.
        """
        entries = self.sandbox.list_files(self.path)
        names = [name for name in entries if not name.endswith("/") and _UNNOTICED.isdisjoint(name.split("/"))]
        return self._read(names)

    def _read(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return the files of these names; what is no file, or is gone by now, is left out."""
        paths = {f"{self.path}/{name}": name for name in names}
        try:
            contents = self.sandbox.read_files(paths)
        except OSError:  # which one it is, is found out one by one
            contents = {}
            for path in paths:
                try:
                    contents[path] = self.sandbox.read_file(path)
                except PermissionError:
                    raise
                except OSError:
                    continue
        return {paths[path]: data for path, data in contents.items()}

    def remove(self) -> None:
        """Remove the folder; a sandbox that is gone has taken it along."""
        with suppress(SandboxError):
            self.sandbox.remove(self._path)


@dataclass(frozen=True, repr=False)
class SandboxPath:
    """A path in the sandbox, with the words of pathlib; each question is asked of the machine.

    >>> def test_config(kiro):
    ...     kiro.run("Write config.json with debug set to true.")
    ...     assert "debug" in (kiro.workspace / "config.json").read_text()
    """

    _sandbox: Sandbox = field(hash=False)
    _path: PurePosixPath

    def __str__(self) -> str:
        return str(self._path)

    def __fspath__(self) -> str:
        raise TypeError(f"{self} is in the sandbox; use its own read_text(), exists(), … or workspace.exec")

    def __repr__(self) -> str:
        return f"SandboxPath({str(self._path)!r})"

    def __truediv__(self, path: str) -> SandboxPath:
        return SandboxPath(self._sandbox, self._path / path)

    @property
    def name(self) -> str:
        """The last part."""
        return self._path.name

    @property
    def suffix(self) -> str:
        """The last part's ending, with its dot."""
        return self._path.suffix

    @property
    def stem(self) -> str:
        """The last part without its ending."""
        return self._path.stem

    @property
    def parent(self) -> SandboxPath:
        """The folder above."""
        return SandboxPath(self._sandbox, self._path.parent)

    def exists(self) -> bool:
        """Whether something is there."""
        return self._test("-e")

    def is_file(self) -> bool:
        """Whether it is a file."""
        return self._test("-f")

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        return self._test("-d")

    def _test(self, flag: str) -> bool:
        return self._sandbox.exec(f"test {flag} {shlex.quote(str(self))}").ok

    def read_bytes(self) -> bytes:
        """Return the content; `FileNotFoundError`, `IsADirectoryError`."""
        return self._sandbox.read_file(str(self))

    def read_text(self, encoding: str = "utf-8") -> str:
        """Return the content as text, line ends as they are."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, data: bytes) -> None:
        """Write the content; the folders above are made."""
        self._sandbox.write_files({str(self): (data, 0o644)})  # which clears the way on every provider

    def write_text(self, text: str, encoding: str = "utf-8") -> None:
        """Write text; the folders above are made."""
        self.write_bytes(text.encode(encoding))

    def iterdir(self) -> Iterator[SandboxPath]:
        """Yield what is directly in this folder, sorted by name."""
        entries = self._sandbox.list_files(str(self))
        yield from (self / name.rstrip("/") for name in entries if "/" not in name.rstrip("/"))

    def unlink(self) -> None:
        """Remove the file; `FileNotFoundError` when there is none."""
        if not self._test("-e") and not self._test("-L"):
            raise FileNotFoundError(2, "No such file or directory", str(self))
        self._sandbox.remove(str(self))


def _is_file(mode: int) -> bool:
    return stat.S_IFMT(mode) in (0, stat.S_IFREG)


def _read_seed(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return a folder's files, links and empty folders, as `Sandbox.write_files` takes them."""
    files: dict[str, tuple[bytes, int]] = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        name = relative.as_posix()
        if not _NOT_SEEDED.isdisjoint(relative.parts):
            continue
        if path.is_symlink():
            # Not resolve(): before Python 3.13 it raises at a link that leads to itself.
            target = Path(os.path.realpath(path))
            if not target.is_relative_to(folder.resolve()) or path.readlink().is_absolute():
                raise SettingsError(
                    f"seed {folder}: the link {name} leads to {path.readlink()}, which is not in it",
                    advice="copy that into the seed",
                )
            files[name] = (os.fsencode(path.readlink()), stat.S_IFLNK)
        elif path.is_file():
            files[name] = (path.read_bytes(), path.stat().st_mode & 0o777)
        elif not path.is_dir():
            raise SettingsError(
                f"seed {folder}: {name} is neither a file nor a folder (a pipe, socket or device)",
                advice="leave it out",
            )
        elif not any(path.iterdir()):  # others are made with what is in them
            files[name] = (b"", stat.S_IFDIR | 0o755)
    return files
