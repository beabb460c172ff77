"""The local provider: a temporary directory with its own HOME, and processes in groups of their own.

It keeps evals apart from each other; it does not protect the developer's machine from the agent.
"""

from __future__ import annotations

import itertools
import os
import select
import signal
import subprocess
import tempfile
import threading
import time
import warnings
import weakref
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

import pexpect

from pytest_kiro.errors import PtyClosed, SandboxClosed, SandboxError, SandboxTimeout, SettingsError, message
from pytest_kiro.sandbox import environment, files, leases, processes
from pytest_kiro.sandbox.protocol import EXEC_TIMEOUT, ExecResult, SandboxSpec
from pytest_kiro.settings import Settings

_READ_AT_ONCE = 256 * 1024
#: What a terminal can still hold when its program has ended; more comes from children that go on printing.
_READ_AFTER_END = 1024 * 1024
_WRITE_TIMEOUT = 10.0
#: The filters of warnings are the whole process's: two threads that change them at once would leave them changed.
_FORK = threading.Lock()


class LocalProvider:
    """Makes sandboxes on this machine; `--kiro-sandbox=local`."""

    name = "local"
    isolated = False

    def __init__(self, settings: Settings) -> None:
        self._run_id = settings.run_id
        self._made: list[LocalSandbox] = []

    def create(self, spec: SandboxSpec) -> LocalSandbox:
        """Make a sandbox, after clearing away those whose run died."""
        for field in ("image", "snapshot", "resources", "labels"):
            if getattr(spec, field):
                raise SettingsError(f"kiro_sandbox_args: the local sandbox has no {field}; it takes env only")
        leases.sweep()
        lease = leases.acquire(self._run_id)
        try:
            sandbox = LocalSandbox(lease, spec.env)
        except BaseException:
            lease.release()
            raise
        self._made.append(sandbox)
        return sandbox

    def close(self) -> None:
        """Close its sandboxes, and clear away what this run's dead processes left.

        Those that are just ending are waited for, at most 5 s.
        """
        while self._made:
            self._made.pop().close()
        deadline = time.monotonic() + 5
        while leases.sweep(self._run_id) and time.monotonic() < deadline:
            select.select([], [], [], 0.05)  # a lock has no file descriptor to wait on


class LocalSandbox:
    """A folder that plays the machine (contract S)."""

    isolated = False

    def __init__(
        self, lease: leases.Lease, env: Mapping[str, str] | None = None, *, shell: tuple[str, ...] = ("/bin/sh",)
    ) -> None:
        self._lease, self._shell, self._closed = lease, shell, False
        self._numbers = itertools.count(1)
        self._home, self._tmp = lease.path / "home", lease.path / "tmp"
        with leases.explained(f"at {lease.path}"):
            for folder in (self._home, self._tmp):
                folder.mkdir(exist_ok=True)
        self._env = environment.make(self.home, str(self._tmp)) | dict(env or {})
        self._ptys = weakref.WeakSet[LocalPty]()
        self._leaders = set[int]()  # of commands whose background children may live on

    def __repr__(self) -> str:
        return f"<LocalSandbox {self.id}{' closed' if self._closed else ''}>"

    @property
    def id(self) -> str:
        return self._lease.id

    @property
    def home(self) -> str:
        return str(self._home)

    def exec(
        self,
        command: str,
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> ExecResult:
        self._check()
        limit = EXEC_TIMEOUT if timeout is None else timeout
        tag = self._tag()
        started = time.monotonic()
        # A file, not a pipe: a background child that keeps it open holds nobody up (contract S14).
        with tempfile.TemporaryFile() as output:
            process = self._popen(command, self._folder(cwd), self._environment(env, tag), output)
            waiter = processes.Waiter(process.wait)
            try:
                ended = waiter.wait(limit)
            finally:
                if not waiter.ended:  # out of time, or Ctrl-C
                    processes.end(tag=tag, sessions=[process.pid])
                    waiter.wait(None)
                self._leaders.update(processes.left_by(process.pid))
            duration = time.monotonic() - started
            output.seek(0)
            text = output.read().decode("utf-8", "replace")
        if not ended:
            what = f"the command did not end within {limit:g} s and was killed: {command}"
            raise SandboxTimeout(message(what, output=text, advice="give exec a longer timeout"), text)
        return ExecResult(command, processes.shell_status(process.returncode), text, duration)

    def _popen(self, command: str, folder: Path, env: dict[str, str], output: IO[bytes]) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                ["/bin/sh", "-c", command],
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise _no_start("command", folder, error) from error

    def open_pty(
        self,
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        size: tuple[int, int] = (120, 30),
    ) -> LocalPty:
        self._check()
        tag = self._tag()
        variables = self._environment({"TERM": "xterm-256color", **(env or {})}, tag)
        pty = LocalPty(self._shell, self._folder(cwd), variables, size, tag)
        self._ptys.add(pty)
        return pty

    def read_file(self, path: str) -> bytes:
        self._check()
        return files.read(self._resolve(path))

    def read_files(self, paths: Iterable[str]) -> dict[str, bytes]:
        return {path: self.read_file(path) for path in paths}

    def write_file(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        self._check()
        files.write(self._resolve(path), data, mode)

    def write_files(self, files: Mapping[str, tuple[bytes, int]]) -> None:
        for path, (data, mode) in files.items():
            self.write_file(path, data, mode=mode)

    def list_files(self, path: str) -> list[str]:
        self._check()
        return files.listing(self._resolve(path))

    def remove(self, path: str) -> None:
        self._check()
        files.remove(self._resolve(path))

    def close(self) -> None:
        self._closed = True
        for pty in list(self._ptys):
            pty.close()
        self._lease.release(processes.left_by(*self._leaders))

    def _check(self) -> None:
        if self._closed:
            raise SandboxClosed(f"sandbox {self.id} is closed; a fixture or test used it after its session ended")
        if not os.access(self._home, os.F_OK):
            raise SandboxError(
                f"sandbox {self.id} is gone: {self._home} was removed, perhaps by a command in it; run pytest again"
            )

    def _tag(self) -> str:
        return f"{self.id}.{next(self._numbers)}."

    def _environment(self, env: Mapping[str, str] | None, tag: str) -> dict[str, str]:
        return {**self._env, **(env or {}), processes.TAG: tag}

    def _resolve(self, path: str) -> Path:
        return self._home / path  # an absolute path stays itself

    def _folder(self, cwd: str | None) -> Path:
        folder = self._resolve(cwd or "")
        if not folder.is_dir():
            os.scandir(folder)  # raises what is true, before a process is started for nothing
        return folder


class LocalPty:
    """A terminal of this machine (contract P), opened by pexpect."""

    def __init__(self, argv: tuple[str, ...], cwd: Path, env: dict[str, str], size: tuple[int, int], tag: str) -> None:
        self._tag, self._closed, self._ended, self._left = tag, False, False, _READ_AFTER_END

        def prepare() -> None:  # in the child
            os.chdir(cwd)  # pexpect's own would, when it fails, leave a copy of this process running
            # What is ignored stays so through exec: Python ignores these, and a script's background job is started
            # with SIGINT and SIGQUIT ignored, which a shell in it could then not even trap.
            for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGQUIT):
                signal.signal(number, signal.SIG_DFL)

        with _FORK, warnings.catch_warnings():
            # Python >= 3.12 warns of any fork beside threads. Under xdist every process has some; the child
            # calls exec at once and takes no lock of theirs.
            warnings.filterwarnings("ignore", ".*multi-threaded.*fork.*", DeprecationWarning)
            try:
                child = pexpect.spawn(
                    argv[0], list(argv[1:]), env=env, dimensions=(size[1], size[0]), timeout=None, preexec_fn=prepare
                )
            except (pexpect.ExceptionPexpect, OSError) as error:
                raise _no_start("terminal", cwd, error) from error
        # Its built-in pauses, about 150 ms a turn, are for typing at programs that are not ready.
        child.delaybeforesend = None
        child.delayafterclose = child.delayafterterminate = 0
        child.ptyproc.delayafterclose = child.ptyproc.delayafterterminate = 0
        self._child, self._fd, self._pid = child, child.child_fd, child.pid
        os.set_blocking(self._fd, False)
        self._bell, bell = os.pipe()
        self._waiter = processes.Waiter(self._reap, lambda: os.close(bell))

    def _reap(self) -> int:
        self._child.wait()
        number = self._child.signalstatus
        return int(self._child.exitstatus) if number is None else 128 + int(number)

    def read(self, timeout: float) -> bytes:
        deadline = time.monotonic() + timeout
        while not self._ended:
            over = self._waiter.ended  # asked before the drain: what was written before the exit is in it
            if data := self._drain():
                if over:
                    self._left -= len(data)
                    self._ended = self._left <= 0
                return data
            if over or self._ended:
                break
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._fd, self._bell], [], [], left)[0]:
                raise TimeoutError(f"nothing was printed for {timeout:g} s")
        self._ended = True
        return b""

    def _drain(self) -> bytes:
        """Read what is there: a terminal hands out 4 KiB at a time, so one read a call would cost the most."""
        if self._closed:
            return b""
        chunks, size = list[bytes](), 0
        try:
            while size < _READ_AT_ONCE and (data := os.read(self._fd, _READ_AT_ONCE)):
                chunks.append(data)
                size += len(data)
        except BlockingIOError:
            pass
        except OSError:  # EIO: nobody has the terminal open any more
            self._ended = not chunks
        return b"".join(chunks)

    def write(self, data: bytes) -> None:
        deadline = time.monotonic() + _WRITE_TIMEOUT
        rest = memoryview(data)
        while rest:
            if self._closed or self._waiter.ended:
                raise PtyClosed("the program in this terminal has ended; nothing can be typed")
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([], [self._fd], [], left)[1]:
                raise SandboxTimeout(f"the program did not read {len(rest)} typed bytes within {_WRITE_TIMEOUT:g} s")
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise PtyClosed("the program in this terminal has ended; nothing can be typed") from error

    def resize(self, size: tuple[int, int]) -> None:
        if not self._closed:
            with suppress(OSError):  # the program may just have ended
                self._child.setwinsize(size[1], size[0])

    def wait(self, timeout: float) -> int | None:
        if not self._waiter.wait(timeout):
            raise TimeoutError(f"the program still runs after {timeout:g} s")
        return self._waiter.status

    def close(self) -> None:
        if self._closed:
            return
        sessions = processes.left_by(self._pid) if self._waiter.ended else [self._pid]
        processes.end(tag=self._tag, sessions=sessions)
        self._waiter.wait(None)
        self._closed = True
        self._child.close(force=True)
        os.close(self._bell)


def _no_start(what: str, folder: Path, error: Exception) -> SandboxError:
    return SandboxError(
        f"no {what} can be started in {folder}: {error}; look at the folder's permissions and at the machine's limits "
        "of processes and terminals"
    )
