"""Makes sandboxes of a warden, which starts programs, and a disk."""

from __future__ import annotations

import itertools
import os
import select
import shlex
import tempfile
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import IO

from pytest_kiro.errors import SandboxClosed, SandboxError, SandboxTimeout, SettingsError
from pytest_kiro.sandbox import files, leases, processes
from pytest_kiro.sandbox.checks import check_command, check_env
from pytest_kiro.sandbox.disk import Disk
from pytest_kiro.sandbox.local_pty import LocalPty, no_start
from pytest_kiro.sandbox.protocol import EXEC_TIMEOUT, OUTPUT_KEPT, ExecResult, SandboxBase, SandboxSpec
from pytest_kiro.sandbox.supervision import Supervised, Warden
from pytest_kiro.settings.table import Settings
from pytest_kiro.settings.waits import Waits


class SupervisedProvider:
    """Makes sandboxes on this machine.

    Each has a lease, by which a later run finds what this one left.
    """

    name: str
    isolated: bool
    #: The fields of a specification that it can give.
    gives: tuple[str, ...] = ("env",)

    def __init__(self, settings: Settings) -> None:
        self._run_id, self.waits = settings.run_id, settings.waits
        self._made: list[SupervisedSandbox] = []

    @abstractmethod
    def make(self, lease: leases.Lease, spec: SandboxSpec) -> SupervisedSandbox:
        """Make a sandbox in a lease's folder."""

    def create(self, spec: SandboxSpec) -> SupervisedSandbox:
        """Make a sandbox, after clearing away those whose run died."""
        for field in fields(spec):
            if field.name not in self.gives and getattr(spec, field.name):
                what = f"kiro_sandbox_args: the {self.name} sandbox has no {field.name}"
                *others, last = self.gives
                only = f"{', '.join(others)} and {last}" if others else f"{last} only"
                raise SettingsError(what, advice=f"it takes {only}")
        leases.sweep()
        lease = leases.acquire(self._run_id)
        try:
            sandbox = self.make(lease, spec)
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
        deadline = time.monotonic() + self.waits.kill
        while leases.sweep(self._run_id) and time.monotonic() < deadline:
            select.select([], [], [], 0.05)  # a lock has no file descriptor to wait on
        return []


class SupervisedSandbox(SandboxBase):
    """A sandbox on this machine (contract S); what stays of it after a crash is below its lease's folder."""

    def __init__(
        self,
        lease: leases.Lease,
        disk: Disk,
        warden: Warden,
        *,
        shell: tuple[str, ...],
        waits: Waits,
        openpty: Callable[[], tuple[int, int]] = os.openpty,
    ) -> None:
        self._lease, self._disk, self._warden = lease, disk, warden
        self._shell, self._waits, self._openpty = shell, waits, openpty
        self._closed, self._numbers = False, itertools.count(1)
        self._background = list[tuple[Path, Supervised]]()  # commands that have left others, and where
        self._ptys = list[LocalPty]()

    @abstractmethod
    def variables(self) -> dict[str, str]:
        """Return the environment that its programs have."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}{' closed' if self._closed else ''}>"

    @property
    def id(self) -> str:
        return self._lease.id

    @property
    def home(self) -> str:
        return str(self._disk.home)

    def exec(
        self,
        command: str,
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> ExecResult:
        check_command(command, timeout)
        check_env(env or {})
        limit = EXEC_TIMEOUT if timeout is None else timeout
        tag, folder = self._tag(), self._files().folder(cwd or "")
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
        with Path(os.devnull).open("rb") as nothing:
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
        tag, folder = self._tag(), self._files().folder(cwd or "")
        variables = self._environment({"TERM": "xterm-256color", **(env or {})}, tag)
        pty = LocalPty(self._warden, self._shell, folder, variables, size, waits=self._waits, openpty=self._openpty)
        self._ptys = [*(pty for pty in self._ptys if not pty.closed), pty]
        return pty

    def read_file(self, path: str) -> bytes:
        return self._files().read(path)

    def read_files(self, paths: Iterable[str]) -> dict[str, bytes]:
        return self._files().read_many(paths)

    def write_file(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        self.write_files({path: (data, mode)})

    def write_files(self, files_: Mapping[str, tuple[bytes, int]]) -> None:
        self._files().write_many(files_)

    def write_new(self, files_: Mapping[str, tuple[bytes, int]]) -> None:
        self._files().write_new(files_)

    def list_files(self, path: str) -> list[str]:
        return self._files().listing(path)

    def remove(self, path: str) -> None:
        disk, target = self._files(), self._disk.resolve(path)
        for entry in [entry for entry in self._background if entry[0].is_relative_to(target)]:
            self._background.remove(entry)
            entry[1].end()  # a server that an eval started would hold its port against the next one
        disk.remove(path)
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

    def _files(self) -> Disk:
        """Return its files, unless it is closed or gone."""
        self._check()
        self._disk.guarded = self.guarded
        return self._disk

    def _check(self) -> None:
        if self._closed:
            what = f"sandbox {self.id} is closed"
            raise SandboxClosed(what, advice="a fixture or test used it after its session ended")

    def _tag(self) -> str:
        return f"{self.id}.{next(self._numbers)}."

    def _environment(self, env: Mapping[str, str] | None, tag: str) -> dict[str, str]:
        return {**self.variables(), **(env or {}), processes.TAG: tag}
