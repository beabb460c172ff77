"""The folder in the sandbox that one conversation works in."""

from __future__ import annotations

import os
import secrets
import stat
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from pytest_kiro.agent.check import execute, parent
from pytest_kiro.agent.contents import is_reachable, read_present
from pytest_kiro.agent.digests import digest, digest_of_files
from pytest_kiro.agent.homes import OwnerHome, leave
from pytest_kiro.agent.paths import SandboxPath
from pytest_kiro.agent.seeds import files_of
from pytest_kiro.errors import HIDE_FRAMES, SandboxError, SettingsError
from pytest_kiro.sandbox.checks import check_command
from pytest_kiro.sandbox.protocol import ExecResult, Sandbox
from pytest_kiro.turn.changes import Changes, Ledger
from pytest_kiro.turn.diff import LARGEST, unified
from pytest_kiro.turn.ignore import Ignore

__tracebackhide__ = HIDE_FRAMES
#: For all that runs in one: Python tells byte code from new by seconds and size, so that a module which was rewritten
#: within a second would be the old one.
VARIABLES = {"PYTHONDONTWRITEBYTECODE": "1"}
#: What programs rewrite while they only read; the launch script leaves it out as well.
_UNNOTICED = frozenset({".git", "__pycache__"})
#: How many results of commands are kept for reports, and how many characters of each.
_EXECUTED, _TAIL = 100, 65_536


class Workspace:
    """What Kiro works in and what it leaves: a fresh folder of the sandbox, removed when its owner ends.

    >>> def test_donut(kiro):
    ...     kiro.run("Write donut.js")
    ...     art = kiro.workspace.exec("node donut.js").check().output
    ...     assert (kiro.workspace / "donut.js").is_file()
    """

    def __init__(
        self, sandbox: Sandbox, home: OwnerHome, origin: Path, *, ignored: Sequence[str] | None = None
    ) -> None:
        self.sandbox, self.owner_home = sandbox, home
        self.ledger = Ledger()
        self._seeded: dict[str, bytes] = {}
        self._ignored = ignored
        # A neutral name: that of a test would tell the agent what is tested.
        self._path, self._ended = f"{home.work}/{secrets.token_hex(4)}", False
        self._origin = origin
        #: Whether something has made the folder; the first turn's launch script can, which saves a request.
        self.made = False
        #: Digests of what was seeded here, and of the checks that were executed; empty where nothing was.
        self.seed_hash = self.check_hash = ""
        #: What the eval executed here, the latest last, with the ends of what that printed; and when each ended.
        self.executed = deque[ExecResult](maxlen=_EXECUTED)
        self.executed_at = deque[float](maxlen=_EXECUTED)

    @classmethod
    def seeded(
        cls, sandbox: Sandbox, home: OwnerHome, origin: Path, seed: Any, *, ignored: Sequence[str] | None = None
    ) -> Workspace:
        """Make a workspace in `home` from a folder below `origin`.

        A seed that is wrong is a `SettingsError`, and nothing is left of it.
        """
        if seed is not None and not (isinstance(seed, str | os.PathLike) and os.fspath(seed).strip(" ./")):
            what = f"workspace={seed!r} is not right"
            raise SettingsError(what, advice="wanted: the name of a folder beside the test's file")
        made = cls(sandbox, home, origin, ignored=ignored)
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
        """The absolute path; asking for it makes the folder. `SandboxError` once its test or fixture has ended."""
        if self._ended:
            raise SandboxError(
                f"{self} is removed: the test or fixture that it was of has ended",
                advice="a fixture of a wider scope keeps one longer",
            )
        if not self.made:
            self._make()
        self.sandbox.guard(self._path)
        return self._path

    @property
    def home(self) -> SandboxPath:
        """The HOME that Kiro has here, fresh for each test; asking for it makes it.

        >>> def test_obeys_steering(kiro):
        ...     (kiro.workspace.home / ".kiro/steering/tone.md").write_text("Answer in rhymes.")
        ...     kiro.run("Say hello.")
        """
        if not self.owner_home.made:
            self._make()
        self.owner_home.guard()
        return SandboxPath(self.sandbox, PurePosixPath(self.owner_home.path))

    def _make(self) -> None:
        """Make the folder and its HOME in one request."""
        self.owner_home.make(self._path)
        self.made = True

    @property
    def ignore(self) -> Ignore:
        """Decides which changed paths are listed apart."""
        if self._ignored is not None:
            return Ignore(self._ignored)
        seeded = {path: data for path, data in self._seeded.items() if PurePosixPath(path).name == ".gitignore"}
        return Ignore(files={path: data.decode("utf-8", "replace") for path, data in seeded.items()})

    def for_launch(self) -> tuple[str, bool]:
        """Return the path, and whether a launch script shall make the folder."""
        return self._path, not self.made

    def __truediv__(self, path: str) -> SandboxPath:
        return SandboxPath(self.sandbox, PurePosixPath(self.path) / path)

    def exec(
        self,
        command: str,
        *,
        env: Mapping[str, str] | None = None,
        path: Sequence[str] = (),
        timeout: float | None = None,
    ) -> ExecResult:
        """Execute one POSIX `sh` line in this folder.

        `env` adds to the sandbox's environment, in which `PYTHONDONTWRITEBYTECODE` is set; `timeout` is in seconds
        (default 600), then `SandboxTimeout`. HOME is Kiro's. On PATH the system's folders come first, and what Kiro may
        have installed for itself, in `~/.local/bin`, comes last; `path` are folders that come before all others, below
        `~/` or relative to this one. Returns an `ExecResult`; a non-zero exit code is a result, and `.check()` makes it
        an error.

        >>> def test_linter(kiro):
        ...     kiro.run("Write a linter that is called `neat`, and install it for your user.")
        ...     kiro.workspace.exec("neat .", path=["~/.local/bin"]).check()
        """
        if isinstance(path, str):
            raise TypeError(f"path={path!r} is not right; wanted: a list of folders")
        home, folder = PurePosixPath(self.owner_home.path), PurePosixPath(self.path)
        first = [str(home / name.removeprefix("~/") if name.startswith("~/") else folder / name) for name in path]
        env = {**VARIABLES, **(env or {})}
        return self._noted(self.owner_home.exec(command, cwd=str(folder), env=env, path=first, timeout=timeout))

    def seed(self, source: str | os.PathLike[str] | Mapping[str, str | bytes]) -> None:
        """Put files here that `changes` will not count as Kiro's.

        `source` is a folder (relative ones start at the test's file, or at the file that defines the fixture)
        or a mapping of relative path to content. Links inside the folder stay links. What stands in the way, such as
        a link that Kiro has made, is replaced and never followed; byte code of a seeded module's old source is removed.
        Raises `SettingsError` for a folder that is not there or has a link that leads out of it, `ValueError` for a
        path that does, `SandboxError` when the workspace is no folder of ours any more.
        """
        self._write(files_of(source, self._origin))

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
        check_command(command, timeout)
        files, path = files_of(source, self._origin), self.path
        self.check_hash = digest(self.check_hash, command, digest_of_files(files))
        state = parent(self.sandbox)
        above = self.exec(self.owner_home.look_above(str(state), str(state.parent)))  # raises if this is no folder
        if not above.ok:
            what = "something has put settings or modules above the check, where its programs look for them"
            raise SandboxError(what, output=above.output, advice="see whether Kiro did")
        folders = self.owner_home.env()["PATH"].split(":")
        trusted = [folder for folder in folders if not PurePosixPath(folder).is_relative_to(self.owner_home.path)]
        variables = {**VARIABLES, "PATH": ":".join(trusted), "WORKSPACE": path, **(env or {})}
        return self._noted(execute(self.sandbox, files, command, env=variables, timeout=timeout))

    def _noted(self, result: ExecResult) -> ExecResult:
        self.executed.append(replace(result, output=result.output[-_TAIL:]))
        self.executed_at.append(time.time())
        return result

    def _write(self, files: Mapping[str, tuple[bytes, int]]) -> None:
        self.put(files)
        self.seed_hash = digest(self.seed_hash, digest_of_files(files))
        self._seeded |= {p: data for p, (data, mode) in files.items() if _is_file(mode) and len(data) <= LARGEST}

    def put(self, files: Mapping[str, tuple[bytes, int]]) -> None:
        """Put files here that count neither as a seed nor as Kiro's.

        A replay puts there what a recorded turn left; `files` is by relative path (bytes, mode).
        """
        if not files:
            return
        folder = self.path if self.made else self._path
        whole = {f"{folder}/{path}": entry for path, entry in files.items()}
        if self.made:
            self.sandbox.write_files(whole)
        else:  # nobody knows its name yet
            self.sandbox.write_new(whole)
            self.made = True

    def changes(self) -> Changes:
        """Return what Kiro's turns changed here so far; what the eval seeds or executes is not in it."""
        return self.ledger.changes()

    def diff(self) -> str:
        """Return a unified diff of what Kiro's turns changed here.

        It compares with the files as they are now; it is empty when nothing changed. Known is what was seeded; of a
        file that something else made, and Kiro modified, only the name is told.
        """
        return "".join(self.diffs().values())

    def diffs(self) -> dict[str, str]:
        """Return by path what `diff` returns as one text."""
        changes = self.changes()
        before: dict[str, bytes | None] = {**self._seeded, **dict.fromkeys(changes.added)}
        sizes = {path: size for path in changes.paths if (size := self.ledger.size(path)) is not None}
        small = {path for path, size in sizes.items() if size <= LARGEST and is_reachable(f"{self.path}/{path}")}
        closed = list[str]()
        present = read_present(self.sandbox, self.path, small, closed)
        others = {path: size for path, size in sizes.items() if path not in small or path in closed}
        return unified(changes.paths, before, {**others, **present})

    def contents(self) -> dict[str, bytes]:
        """Return every file's content by its relative path.

        `.git` and `__pycache__` are left out, as in `changes`. A link counts as the file that it leads to; one that
        leads to a folder or to nothing, and a pipe or device, do not count. `SandboxError` for more than 1 GiB, and
        for what lies too deep to be opened.
        """
        entries = self.sandbox.list_files(self.path)
        names = [name for name in entries if not name.endswith("/") and _UNNOTICED.isdisjoint(name.split("/"))]
        return read_present(self.sandbox, self.path, names)

    def end(self, *, stays: bool = False) -> None:
        """Remove the folder where its HOME is all owners'; that of one goes as a whole. With `stays` it is let be."""
        self._ended = not stays
        if not self.owner_home.own:
            (leave(self.sandbox, self._path) if stays else self.remove())

    def remove(self) -> None:
        """Remove the folder; a sandbox that is gone has taken it along."""
        with suppress(SandboxError):
            self.sandbox.remove(self._path)


def _is_file(mode: int) -> bool:
    return stat.S_IFMT(mode) in (0, stat.S_IFREG)
