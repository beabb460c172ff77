"""Keeps contract S over one machine in Daytona."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from errno import EACCES, ENOENT, ENOTDIR
from pathlib import PurePosixPath
from typing import Any, TypeVar

from pytest_kiro.errors import SandboxClosed, SandboxError, SandboxTimeout
from pytest_kiro.sandbox.checks import check_command, check_env
from pytest_kiro.sandbox.daytona import files, fleet, guest
from pytest_kiro.sandbox.daytona.machine import Machine
from pytest_kiro.sandbox.daytona.pty import DaytonaPty
from pytest_kiro.sandbox.guarded import not_ours
from pytest_kiro.sandbox.protocol import EXEC_TIMEOUT, ExecResult, SandboxBase

T = TypeVar("T")
#: Minutes that must be left to a sandbox beyond the turn that begins in it.
_MARGIN_MINUTES = 30


class DaytonaSandbox(SandboxBase):
    """A machine of Daytona's (contract S); `end` deletes it when its last worker leaves it."""

    isolated = remote = True

    def __init__(
        self, machine: Machine, name: str, *, end: Callable[[DaytonaSandbox], None], joined: bool = False
    ) -> None:
        self._machine, self._client, self._waits = machine, machine.client, machine.waits
        self.name, self.joined, self._end = name, joined, end
        self._until = time.monotonic() + 60 * fleet.TTL
        self._closed = False
        self._places = dict[PurePosixPath, str]()  # the folders in which commands were executed
        self._ptys = weakref.WeakSet[DaytonaPty]()

    def __repr__(self) -> str:
        return f"<DaytonaSandbox {self.name} {self.id}{' closed' if self._closed else ''}>"

    @property
    def id(self) -> str:
        return self._machine.id

    @property
    def home(self) -> str:
        return self._machine.home

    def keep_alive(self, seconds: float) -> None:
        self._check()
        if self._until - time.monotonic() < seconds + 60 * _MARGIN_MINUTES:
            minutes = int(seconds // 60) + 4 * _MARGIN_MINUTES
            self._client.wait_for(fleet.extend(self._client, self._machine.raw, minutes), self._waits.request)
            self._until = time.monotonic() + 60 * minutes

    def exec(
        self,
        command: str,
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> ExecResult:
        self._check()
        check_command(command, timeout)
        check_env(env or {})
        limit = EXEC_TIMEOUT if timeout is None else timeout
        folder = self._resolve(cwd or "")
        task = self._machine.task(self._places.setdefault(PurePosixPath(folder), self._machine.new_place()))
        started = time.monotonic()
        work = self._machine.execute(
            command, task=task, cwd=folder, root=self.guard_of(folder), env=env or {}, limit=limit
        )
        try:
            end, in_time = self._client.wait_for(work, limit + self._waits.request + 2 * self._waits.answer)
        except BaseException as error:
            if not isinstance(error, Exception):  # Ctrl-C: the command is not waited for, so it shall not go on
                with suppress(SandboxError):
                    self._client.wait_for(self._machine.end(task), self._waits.interrupted)
            raise
        duration = time.monotonic() - started
        if end.trouble:
            raise _trouble(end, folder, command, self.guard_of(folder))
        if not in_time:
            what = f"the command did not end within {limit:g} s and was killed: {command}"
            raise SandboxTimeout(what, end.output, advice="give exec a longer timeout")
        return ExecResult(command, end.exit_code, end.output, duration)

    def errand(self, command: str, *, timeout: float) -> ExecResult:
        self._check()
        started = time.monotonic()
        work = self._machine.repeatable("look at a turn", command, timeout)
        end = self._client.wait_for(work, timeout + self._waits.answer)
        return ExecResult(command, end.exit_code, end.output, time.monotonic() - started)

    def discard(self, path: str) -> None:
        self._machine.thrown_away.append(self._resolve(path))

    def open_pty(
        self,
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        size: tuple[int, int] = (120, 30),
    ) -> DaytonaPty:
        self._check()
        check_env(env or {})
        if cwd:
            self.exec("true", cwd=cwd)  # raises what is true of the folder; the service only says 500
        pty = DaytonaPty(self._machine)
        self._ptys.add(pty)
        try:
            pty.open(self._resolve(cwd) if cwd else None, env or {}, size)
        except BaseException:  # it may have been made all the same
            with suppress(SandboxError):
                pty.close()
            raise
        return pty

    def read_file(self, path: str) -> bytes:
        return self.read_files([path])[path]

    def read_files(self, paths: Iterable[str]) -> dict[str, bytes]:
        self._check()
        wanted = {path: self._resolve(path) for path in paths}
        if not wanted:
            return {}
        contents = self._transfer(files.read(self._machine, list(dict.fromkeys(wanted.values())), self._guards(wanted)))
        return {path: contents[absolute] for path, absolute in wanted.items()}

    def write_file(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        self.write_files({path: (data, mode)})

    def write_files(self, files_: Mapping[str, tuple[bytes, int]]) -> None:
        self._check()
        if files_:
            targets = {files.Target.of(self._resolve(p), self.guard_of(p)): entry for p, entry in files_.items()}
            self._transfer(files.write(self._machine, targets))

    def write_new(self, files_: Mapping[str, tuple[bytes, int]]) -> None:
        self._check()
        if files_:
            resolved = {self._resolve(path): entry for path, entry in files_.items()}
            self._transfer(files.write_new(self._machine, resolved))

    def list_files(self, path: str) -> list[str]:
        self._check()
        return self._transfer(files.listing(self._machine, self._resolve(path), self._guards([path])))

    def remove(self, path: str) -> None:
        self._check()
        target = self._resolve(path)
        tags = [self._places.pop(place) for place in list(self._places) if place.is_relative_to(target)]
        self._machine.alive -= {*tags}
        command = guest.reap(tags, self._machine.tasks, alive=self._machine.alive)
        command += guest.on_files("remove", [target])
        answer = self._transfer(self._machine.errand(f"remove {path}", command))
        if answer.strip():
            advice = "look at who owns what in it, with sandbox.exec"
            raise SandboxError(f"{target} could not be removed", output=answer, advice=advice)
        self.guarded = frozenset(root for root in self.guarded if not PurePosixPath(root).is_relative_to(target))

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._end(self)

    def keep(self) -> list[str]:
        self._client.wait_for(fleet.keep(self._client, self._machine.raw), 3 * self._waits.request)
        self._closed = True
        self.abandon()
        return [
            f"get back to it: daytona ssh {self.id}",
            f"delete it: python -m pytest_kiro sandboxes --delete {self.id}",
        ]

    def abandon(self) -> None:
        """End our own terminals and processes in a sandbox others still use."""
        for pty in list(self._ptys):
            with suppress(SandboxError):
                pty.close()
        with suppress(SandboxError):
            self._client.wait_for(self._machine.reap(self._machine.tag), self._waits.request)

    def forget(self) -> None:
        """Let our terminals know that their machine is deleted."""
        self._machine.gone = True
        for pty in list(self._ptys):
            pty.forget()

    def _transfer(self, work: Coroutine[Any, Any, T]) -> T:
        return self._client.wait_for(work, self._waits.all_files)

    def _check(self) -> None:
        if self._closed:
            advice = "a fixture or test used it after its session ended"
            raise SandboxClosed(f"sandbox {self.id} is closed", advice=advice)

    def _guards(self, paths: Iterable[str]) -> set[str]:
        return {root for path in paths if (root := self.guard_of(path))}

    def _resolve(self, path: str) -> str:
        # `a/../b` stays as it is: what it means is the machine's to say, where links lead elsewhere.
        return str(PurePosixPath(self.home) / path)


def _trouble(end: guest.CommandEnd, folder: str, command: str, root: str) -> Exception:
    """Return the error for an unstarted command, or output beyond the disk."""
    if end.trouble == "strange":
        return not_ours(root)
    if end.trouble == "full":
        return files.disk_full(f"execute {command}", end.output)
    return files.os_error({"missing": ENOENT, "file": ENOTDIR, "closed": EACCES}[end.trouble], folder)
