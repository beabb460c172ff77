"""Asks the porter for the files of a sandbox."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_kiro.errors import SandboxError
from pytest_kiro.sandbox.bubblewrap import porter
from pytest_kiro.sandbox.disk import Disk
from pytest_kiro.sandbox.environment import base_interpreter

_ROOT = str(Path(__file__).parents[3])
_PROGRAM = f"import sys; sys.path.insert(0, {_ROOT!r}); from pytest_kiro.sandbox.bubblewrap import porter"
#: Seconds for an answer (contract S12): a file of 1 GiB may be in it.
_ANSWER = 600.0


class DiskInside(Disk):
    """The files that a sandbox's paths lead to inside of it.

    `mounts` opens its namespace of mounts.
    """

    def __init__(self, home: Path, trash: Path, name: str, *, mounts: Callable[[], int]) -> None:
        super().__init__(home, trash, name)
        self._mounts, self._lock = mounts, threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._link: socket.socket | None = None

    def check(self) -> None:
        self._ask("check")

    def folder(self, cwd: str) -> Path:
        return Path(self._ask("folder", cwd))

    def read(self, path: str) -> bytes:
        return bytes(self._ask("read", path))

    def read_many(self, paths: Iterable[str]) -> dict[str, bytes]:
        return dict(self._ask("read_many", [*paths]))

    def write_many(self, entries: Mapping[str, tuple[bytes, int]]) -> None:
        self._ask("write_many", dict(entries))

    def write_new(self, entries: Mapping[str, tuple[bytes, int]]) -> None:
        self._ask("write_new", dict(entries))

    def listing(self, path: str) -> list[str]:
        return list(self._ask("listing", path))

    def remove(self, path: str) -> None:
        self._ask("remove", path)

    def _ask(self, verb: str, *arguments: object) -> Any:
        with self._lock:
            try:
                link = self._link = self._link or self._begin()
                porter.send(link, (verb, arguments, self.guarded))
                answer = porter.receive(link)
            except OSError as error:
                self._end()
                raise self._silent(verb) from error
            except BaseException:  # Ctrl-C: an answer to this would be taken for one to the next
                self._end()
                raise
            if answer is None:
                self._end()
                raise self._silent(verb)
        result, problem = answer
        if problem is not None:
            raise problem
        return result

    def _silent(self, verb: str) -> SandboxError:
        what = f"sandbox {self._name} is gone, or its files do not answer ({verb})"
        return SandboxError(what, advice="run pytest again")

    def _begin(self) -> socket.socket:
        mounts = self._mounts()
        ours, theirs = socket.socketpair()
        call = f"{_PROGRAM}; porter.main({mounts}, {str(self.home)!r}, {str(self._trash)!r}, {self._name!r})"
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [base_interpreter(), "-I", "-S", "-c", call],
                    cwd="/",
                    env=dict[str, str](),
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=[mounts],
                    start_new_session=True,  # Ctrl-C is not for it
                )
        except BaseException:
            ours.close()
            raise
        finally:
            os.close(mounts)
        ours.settimeout(_ANSWER)
        return ours

    def close(self) -> None:
        """End the porter; idempotent."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
