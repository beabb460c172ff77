"""Makes local sandboxes: a temporary directory with its own HOME, and processes in groups of their own.

It keeps evals apart from each other; it does not protect the developer's machine from the agent.
"""

from __future__ import annotations

import itertools
import os
import select
import shlex
import tempfile
import time
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import IO

from pytest_kiro.errors import SandboxClosed, SandboxError, SandboxTimeout, SettingsError
from pytest_kiro.sandbox import environment, files, leases, processes
from pytest_kiro.sandbox.guarded import not_ours
from pytest_kiro.sandbox.local_pty import LocalPty, no_start
from pytest_kiro.sandbox.protocol import (
    EXEC_TIMEOUT,
    OUTPUT_KEPT,
    ExecResult,
    SandboxBase,
    SandboxSpec,
    check_env,
)
from pytest_kiro.sandbox.supervision import Supervised, Warden
from pytest_kiro.settings.table import Settings
from pytest_kiro.settings.waits import Waits


class LocalProvider:
    """Makes sandboxes on this machine; `--kiro-sandbox=local`."""

    name = "local"
    isolated = False

    def __init__(self, settings: Settings) -> None:
        self._run_id, self._waits = settings.run_id, settings.waits
        self._made: list[LocalSandbox] = []

    def create(self, spec: SandboxSpec) -> LocalSandbox:
        """Make a sandbox, after clearing away those whose run died."""
        for field in fields(spec):
            if field.name != "env" and getattr(spec, field.name):
                what = f"kiro_sandbox_args: the local sandbox has no {field.name}"
                raise SettingsError(what, advice="it takes env only")
        leases.sweep()
        lease = leases.acquire(self._run_id)
        try:
            sandbox = LocalSandbox(lease, spec.env, waits=self._waits)
        except BaseException:
            lease.release()
            raise
        self._made.append(sandbox)
        return sandbox

    def close(self) -> list[str]:
        """Close its sandboxes, and clear away what this run's dead processes left.

        Those that are just ending are waited for, as long as killing one may take.
        """
        while self._made:
            self._made.pop().close()
        deadline = time.monotonic() + self._waits.kill
        while leases.sweep(self._run_id) and time.monotonic() < deadline:
            select.select([], [], [], 0.05)  # a lock has no file descriptor to wait on
        return []


class LocalSandbox(SandboxBase):
    """A folder that plays the machine (contract S)."""

    def __init__(
        self,
        lease: leases.Lease,
        env: Mapping[str, str] | None = None,
        *,
        shell: tuple[str, ...] = ("/bin/sh",),
        waits: Waits | None = None,
    ) -> None:
        self._lease, self._shell, self._closed, self._waits = lease, shell, False, waits or Waits()
        self._numbers = itertools.count(1)
        self._home, self._tmp = lease.path / "home", lease.path / "tmp"
        with leases.explained(f"at {lease.path}"):
            for folder in (self._home, self._tmp):
                folder.mkdir(exist_ok=True)
            self._env = environment.make(self.home, str(self._tmp), lease.path / "tools") | dict(env or {})
        self._warden = Warden()
        self._background = list[tuple[Path, Supervised]]()  # commands that have left others, and where
        self._ptys = list[LocalPty]()

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
        check_env(env or {})
        limit = EXEC_TIMEOUT if timeout is None else timeout
        tag, folder = self._tag(), self._folder(cwd)
        started = time.monotonic()
        # A file, not a pipe: a background child that keeps it open does not hold us up (contract S14).
        with tempfile.TemporaryFile() as output:
            program = self._start(command, folder, self._environment(env, tag), output)
            try:
                ended = program.wait(limit)
            finally:
                if program.status is None or not program.left:  # out of time, Ctrl-C, or there is nothing to keep
                    program.end()
                else:
                    self._background.append((folder, program))
            duration = time.monotonic() - started
            text = files.read_ends(output, OUTPUT_KEPT).decode("utf-8", "replace")
        if not ended:
            what = f"the command did not end within {limit:g} s and was killed: {command}"
            raise SandboxTimeout(what, text, advice="give exec a longer timeout")
        if program.status is None:
            what = f"how the command ended is not known, since what watched it was killed: {command}"
            raise SandboxError(what, output=text, advice="see what the command, or one before it, kills")
        return ExecResult(command, program.status, text, duration)

    def _start(self, command: str, folder: Path, env: dict[str, str], output: IO[bytes]) -> Supervised:
        argv = ["/bin/sh", "-c", command]
        with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a descriptor is wanted
            try:
                return self._warden.start(
                    argv, folder, env, stdin=nothing.fileno(), output=output.fileno(), terminal=False
                )
            except OSError as error:
                raise no_start("command", folder, error) from error

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
        pty = LocalPty(self._warden, self._shell, self._folder(cwd), variables, size, waits=self._waits)
        self._ptys = [*(pty for pty in self._ptys if not pty.closed), pty]
        return pty

    def read_file(self, path: str) -> bytes:
        self._check()
        self._check_guard(path)
        return files.read(self._resolve(path))

    def write_file(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        self.write_files({path: (data, mode)})

    def write_files(self, files_: Mapping[str, tuple[bytes, int]]) -> None:
        self._check()
        for path, (data, mode) in files_.items():
            root = self._check_guard(path)
            place = Path(os.path.normpath(self._resolve(path))) if root else self._resolve(path)
            files.write(place, data, mode, root=root if root != place else None, trash=self._lease.path)

    def list_files(self, path: str) -> list[str]:
        self._check()
        self._check_guard(path)
        return files.listing(self._resolve(path))

    def remove(self, path: str) -> None:
        self._check()
        target = self._resolve(path)
        for entry in [entry for entry in self._background if entry[0].is_relative_to(target)]:
            self._background.remove(entry)
            entry[1].end()  # a server that an eval started would hold its port against the next one
        files.remove(target)
        self.guarded = frozenset(folder for folder in self.guarded if not Path(folder).is_relative_to(target))

    def close(self) -> None:
        self._close(keep=False)

    def _close(self, *, keep: bool) -> None:
        self._closed = True
        for pty in self._ptys:
            pty.close()
        while self._background:
            self._background.pop()[1].end()
        self._warden.close()
        self._lease.release(keep=keep)

    def keep(self) -> list[str]:
        self._close(keep=True)
        path = shlex.quote(str(self._lease.path))
        return [f"look at it: cd {shlex.quote(self.home)}", f"delete it: rm -rf {path}"]

    def _check(self) -> None:
        if self._closed:
            what = f"sandbox {self.id} is closed"
            raise SandboxClosed(what, advice="a fixture or test used it after its session ended")
        if not os.access(self._home, os.F_OK):
            what = f"sandbox {self.id} is gone: {self._home} was removed, perhaps by a command in it"
            raise SandboxError(what, advice="run pytest again")

    def _tag(self) -> str:
        return f"{self.id}.{next(self._numbers)}."

    def _environment(self, env: Mapping[str, str] | None, tag: str) -> dict[str, str]:
        environment.provide_tools(self._lease.path / "tools")  # first on PATH, and an agent can reach them
        return {**self._env, **(env or {}), processes.TAG: tag}

    def _resolve(self, path: str) -> Path:
        return self._home / path  # an absolute path stays itself

    def _check_guard(self, path: str) -> Path | None:
        """Return the guarded folder that a path is in; `SandboxError` when it is not itself any more."""
        root = self.guard_of(path)
        if root and (os.path.realpath(root) != root or not Path(root).is_dir()):
            raise not_ours(root)
        return Path(root) if root else None

    def _folder(self, cwd: str | None) -> Path:
        self._check_guard(cwd or "")
        folder = self._resolve(cwd or "")
        if not folder.is_dir():
            os.scandir(folder)  # raises what is true, before a process is started for nothing
        return folder
