"""Says what a machine can do, in three protocols; every provider keeps contracts S and P (tests/contract/).

S1  `exec` merges stdout and stderr into `output`.
S2  A non-zero exit is a result, never an exception.
S3  A timeout raises `SandboxTimeout`, kills the whole process group, keeps what was printed.
S4  `env` adds to the machine's.             S5  Relative paths resolve against `home`.
S6  `write_file` makes parents.              S7  A missing file is `FileNotFoundError`, a directory
S8  Bytes survive, any file name too.            `IsADirectoryError`.
S9  `close` is idempotent; after it every verb raises `SandboxClosed`.
S10 "The machine is gone" is `SandboxError`, distinct from any exec result.
S11 A command never reads the harness's stdin.
S12 Every call is bounded in time.           S13 A command is a POSIX `sh` line.
S14 `exec` returns when its shell ends: background children do not hold it.
S15 Removing a folder ends what commands that were executed in it left running.
S16 A write puts a new file in the place of what is there, with the mode asked for. Below a guarded folder it follows no
    link and replaces whatever is in its way; and every verb raises `SandboxError` once that is no folder any more.

P1  Bytes arrive in order and unchanged.     P2  All output written before the exit is readable before b"".
    A bare terminal in Daytona may lose its end, whose daemon closes while output is under way: `terminal/attach.py`.
P3  After b"", always b"".                   P7  A write after the end raises `PtyClosed`.
P4  `wait` gives the status (128 + n for signal n, 137 where n is not known); None: the link was lost, never a pass.
P5  `close` kills what still runs.           P6  The terminal has the size asked for.
P8  It is pulled: `read(timeout)`; callbacks and threads stay inside the provider.
"""

from __future__ import annotations

import stat
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from pytest_kiro.errors import HIDE_FRAMES, KiroError, SandboxError
from pytest_kiro.sandbox.checks import check_env
from pytest_kiro.sandbox.guarded import clearing, root_of

__tracebackhide__ = HIDE_FRAMES
#: Seconds that a command may take unless it is given a timeout (contract S12).
EXEC_TIMEOUT = 600.0
#: Bytes of a command's output that are kept; beyond it the middle is dropped, and a line says so.
OUTPUT_KEPT = 16 * 1024 * 1024


@dataclass(frozen=True)
class ExecResult:
    """What a command in the sandbox did.

    `output` is what `command` wrote to stdout and stderr, merged, as UTF-8 (bad bytes replaced), less its middle beyond
    16 MiB; `duration` is in seconds; `exit_code` is the shell's, so 128 + n for a command that signal n ended.

    >>> ExecResult("true", 0, "", 0.01).check().ok
    True
    """

    command: str
    exit_code: int
    output: str
    duration: float

    @property
    def ok(self) -> bool:
        """Whether the exit code is 0."""
        return self.exit_code == 0

    def check(self) -> ExecResult:
        """Return this result when ok, else raise `CommandFailed`. The error has the output's last lines."""
        if not self.ok:
            raise CommandFailed(self)
        return self

    def __repr__(self) -> str:
        # Of a longer one pytest would show the least telling part.
        short = len(self.output) <= 100 and "\n" not in self.output.rstrip("\n")
        shown = f"output={self.output!r}" if short else f"{len(self.output)} characters of output"
        return f"<ExecResult {self.command!r} exit_code={self.exit_code} {shown}>"


class CommandFailed(KiroError):
    """A command that was checked failed; `.result` has its output."""

    def __init__(self, result: ExecResult) -> None:
        what = f"command failed with exit code {result.exit_code}: {result.command}"
        super().__init__(what, output=result.output)
        self.result = result


@dataclass(frozen=True)
class SandboxSpec:
    """What a sandbox shall be; a provider refuses what it cannot give.

    `env` are variables for all that runs in it; `image` and `snapshot` name what it is made from; `region` where it
    stands; `network_allow_list` (CIDR blocks) or `domain_allow_list` what it may reach; `resources` (by name) and
    `labels` are the provider's own.

    >>> SandboxSpec(env={"HTTPS_PROXY": "http://proxy.example:3128"}).image is None
    True
    """

    env: Mapping[str, str] = field(default_factory=dict)
    image: str | None = None
    snapshot: str | None = None
    region: str | None = None
    network_allow_list: Sequence[str] = ()
    domain_allow_list: Sequence[str] = ()
    resources: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_env(self.env)
        for name in ("network_allow_list", "domain_allow_list"):
            value = getattr(self, name)
            if isinstance(value, str) or not all(isinstance(entry, str) for entry in value):
                raise TypeError(f"{name}={value!r} is not right; wanted: a list of texts")


@dataclass(frozen=True)
class Survivors:
    """What a program had left, each as "PID name". `stuck` could not be killed."""

    killed: tuple[str, ...] = ()
    stuck: tuple[str, ...] = ()


@runtime_checkable
class TellsSurvivors(Protocol):
    """A terminal that tells what its program had left behind; a provider's may be none."""

    @property
    def survivors(self) -> Survivors:
        """What was left when it was closed: it may be known only after the sandbox's next request."""


@runtime_checkable
class Pty(Protocol):
    """A terminal in a sandbox with one program in it (contract P)."""

    def read(self, timeout: float) -> bytes:
        """Return the next bytes, b"" after the end; `TimeoutError` after `timeout` seconds of silence."""

    def write(self, data: bytes) -> None:
        """Type bytes; `PtyClosed` after the program ended."""

    def resize(self, size: tuple[int, int]) -> None:
        """Make the terminal (columns, rows) large."""

    def wait(self, timeout: float) -> int | None:
        """Return the exit status (128 + n for signal n). It is None when the link was lost.

        Raises `TimeoutError` when the program still runs after `timeout` seconds.
        """

    def close(self) -> None:
        """End the program and all that it started, release the terminal; idempotent."""


@runtime_checkable
class Sandbox(Protocol):
    """A throw-away machine (contract S). Paths are POSIX strings; relative ones start at `home`."""

    @property
    @abstractmethod
    def id(self) -> str:
        """The name by which the provider knows it."""

    @property
    @abstractmethod
    def home(self) -> str:
        """The absolute path of HOME."""

    @property
    def isolated(self) -> bool:
        """Whether what runs in it is kept away from the developer's machine."""

    @property
    def remote(self) -> bool:
        """Whether its terminals are reached by a link that can be lost."""

    @property
    def joined(self) -> bool:
        """Whether another process of this run made it and counts it."""

    def keep_alive(self, seconds: float) -> None:
        """Prevent its own time limits from ending it within so many seconds."""

    @abstractmethod
    def exec(
        self,
        command: str,
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> ExecResult:
        """Execute one `sh` line; `timeout` in seconds (default `EXEC_TIMEOUT`), then `SandboxTimeout`."""

    @abstractmethod
    def open_pty(
        self,
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        size: tuple[int, int] = (120, 30),
    ) -> Pty:
        """Open a fresh terminal with the machine's shell in it; `size` is (columns, rows)."""

    @abstractmethod
    def read_file(self, path: str) -> bytes:
        """Return a file's bytes; `FileNotFoundError`, `IsADirectoryError`."""

    def read_files(self, paths: Iterable[str]) -> dict[str, bytes]:
        """Return the bytes of many files by the given paths. It is one request where the provider can."""

    @abstractmethod
    def write_file(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        """Write a file and the folders above it."""

    def write_files(self, files: Mapping[str, tuple[bytes, int]]) -> None:
        """Write many files, path to (bytes, mode). It is one request where the provider can.

        A mode may have a type: of `stat.S_IFLNK`, whose bytes say where the link leads, or `stat.S_IFDIR`.
        """

    def write_new(self, files: Mapping[str, tuple[bytes, int]]) -> None:
        """Write many files where nothing is yet.

        Nobody knows the name of their folder, so that they may take the quickest way.
        """

    def guard(self, folder: str) -> None:
        """Let no write below this folder follow links (contract S16)."""

    @abstractmethod
    def list_files(self, path: str) -> list[str]:
        """Return every entry below a folder: relative paths, sorted, folders with a trailing slash."""

    @abstractmethod
    def remove(self, path: str) -> None:
        """Remove a file or folder, and end what was executed in it; a missing one is no error."""

    @abstractmethod
    def close(self) -> None:
        """End everything in it and remove it; idempotent."""

    def keep(self) -> list[str]:
        """Close it without removing it; return the lines that tell how to get back to it, and how to delete it."""


class SandboxBase(Sandbox):
    """A sandbox of which a provider writes nine members; the other nine are here.

    Those are `id`, `home`, `exec`, `open_pty`, `read_file`, `write_file`, `list_files`, `remove` and `close`. Override
    `read_files` and `write_files` where many files can go in one request, `keep` where a sandbox can outlive its run,
    `keep_alive` where it has a time limit; and say `isolated = True` where Kiro cannot reach this machine from it,
    `remote = True` where its terminals' links can be lost.

    >>> class Cloud(SandboxBase):
    ...     isolated = True
    >>> sorted(Cloud.__abstractmethods__)
    ['close', 'exec', 'home', 'id', 'list_files', 'open_pty', 'read_file', 'remove', 'write_file']
    """

    isolated = False
    remote = False
    joined = False
    #: The folders that are guarded.
    guarded: frozenset[str] = frozenset()

    def keep_alive(self, seconds: float) -> None:
        """Do nothing: no time limit ends the sandbox."""

    def guard(self, folder: str) -> None:
        """Note a folder among those that are guarded; `write_files` clears the way below them by `exec`."""
        self.guarded |= {folder}

    def guard_of(self, path: str) -> str:
        """Return the guarded folder that a path is in, or is; "" for none."""
        return root_of(path, self.home, self.guarded)

    def read_files(self, paths: Iterable[str]) -> dict[str, bytes]:
        """Return the bytes of files by the given paths, one by one."""
        return {path: self.read_file(path) for path in paths}

    def write_files(self, files: Mapping[str, tuple[bytes, int]]) -> None:
        """Write many files, path to (bytes, mode), one by one; `SandboxError` when one cannot be."""
        command = clearing(files, self.home, self.guarded)
        if command and not (result := self.exec(command)).ok:
            advice = "see what Kiro, or a command, did there"
            raise SandboxError("what stands in the way cannot be replaced", output=result.output, advice=advice)
        for path, (data, mode) in files.items():
            if stat.S_IFMT(mode) in (0, stat.S_IFREG):
                self.write_file(path, data, mode=stat.S_IMODE(mode))

    def write_new(self, files: Mapping[str, tuple[bytes, int]]) -> None:
        """Write many files as `write_files` does."""
        self.write_files(files)

    def keep(self) -> list[str]:
        """Close it, and raise `SandboxError`: this provider cannot keep one."""
        self.close()
        what = f"sandbox {self.id} was not kept but removed: its provider cannot keep one"
        raise SandboxError(what, advice="leave out --kiro-keep-sandbox")


@runtime_checkable
class Provider(Protocol):
    """Makes sandboxes; registered by the hook `pytest_kiro_register_providers`."""

    @property
    def name(self) -> str:
        """The word for `--kiro-sandbox`."""

    @property
    def isolated(self) -> bool:
        """Whether its sandboxes are: it decides whether the official CLI is the default."""

    def create(self, spec: SandboxSpec) -> Sandbox:
        """Make a sandbox, or raise `SandboxError`."""

    def close(self) -> list[str]:
        """Remove what is left of this run, on all its workers; return a line on each that could not be; idempotent."""
