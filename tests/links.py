"""A local sandbox whose terminals can be lost: what is printed then goes nowhere, and the program goes on."""

from __future__ import annotations

import re
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pytest_kiro.errors import SandboxError
from pytest_kiro.sandbox import leases
from pytest_kiro.sandbox.local import LocalSandbox
from pytest_kiro.sandbox.local_pty import LocalPty
from pytest_kiro.sandbox.protocol import ExecResult

#: Told all bytes so far, says after how many the link is lost; None while it holds.
Cut = Callable[[bytes], int | None]


def never(data: bytes) -> int | None:
    return None


def after(wanted: bytes, more: int = 0) -> Cut:
    """Lose the link `more` bytes after these, as soon as so many are there."""

    def cut(data: bytes) -> int | None:
        found = data.find(wanted)
        position = found + len(wanted) + more
        return position if found >= 0 and len(data) >= position else None

    return cut


class LossyPty:
    """A terminal behind a link: lost, it says b"" and None, or raises, as a provider may."""

    def __init__(self, pty: LocalPty, cut: Cut, *, raises: bool, at_end: bool) -> None:
        self._pty, self._cut, self._raises, self._at_end = pty, cut, raises, at_end
        self._seen = b""
        self.lost = False
        self.closed = False
        self._drain: threading.Thread | None = None

    def read(self, timeout: float) -> bytes:
        if not self.lost:
            data = self._pty.read(timeout)
            before = len(self._seen)
            self._seen += data
            position = self._cut(self._seen)
            if position is None and not (self._at_end and not data):
                return data
            self.lose()
            if position is not None and (rest := data[: max(0, position - before)]):
                return rest
        if self._raises:
            raise SandboxError("connection reset by peer")
        return b""

    def lose(self) -> None:
        self.lost = True
        self._drain = threading.Thread(target=self._throw_away, daemon=True)
        self._drain.start()

    def _throw_away(self) -> None:
        with suppress(OSError, ValueError):
            while not self.closed:
                with suppress(TimeoutError):
                    if not self._pty.read(0.05):
                        break

    def write(self, data: bytes) -> None:
        if self.lost:
            raise SandboxError("connection reset by peer")
        self._pty.write(data)

    def resize(self, size: tuple[int, int]) -> None:
        self._pty.resize(size)

    def wait(self, timeout: float) -> int | None:
        return None if self.lost else self._pty.wait(timeout)

    def close(self) -> None:
        self.closed = True
        if self._drain:
            self._drain.join()
        self._pty.close()


class LossySandbox(LocalSandbox):
    """A machine far away, which counts what it is asked for.

    `cut` decides when a link is lost, `raises` how that looks, and `at_end` loses it after the last byte, before
    the status. With `deaf`, its own answer is an error, as when the whole network is gone.
    """

    remote = True

    def __init__(
        self,
        env: Mapping[str, str] | None = None,
        *,
        cut: Cut = never,
        raises: bool = False,
        at_end: bool = False,
        shell: tuple[str, ...] = ("/bin/sh",),
    ) -> None:
        super().__init__(leases.acquire("links"), env, shell=shell)
        self._path = (env or {}).get("PATH", "").encode()
        self.cut, self.raises, self.at_end, self.deaf = cut, raises, at_end, False
        self.links: list[LossyPty] = []
        self.calls: list[str] = []
        self.kept_alive: list[float] = []
        self.on_exec: Callable[[str], None] = lambda command: None

    @property
    def counted(self) -> Counter[str]:
        return Counter(self.calls)

    def keep_alive(self, seconds: float) -> None:
        self.kept_alive.append(seconds)

    def exec(self, command: str, **options: Any) -> ExecResult:
        self.on_exec(command)
        if self.deaf:
            raise SandboxError("no route to host")
        self.calls.append("exec")
        return super().exec(self._placed(command.encode()).decode(), **options)

    def errand(self, command: str, *, timeout: float) -> ExecResult:
        return self.exec(command, cwd="/", timeout=timeout)

    def discard(self, path: str) -> None:
        super().remove(path)

    def _placed(self, program: bytes) -> bytes:
        """Our programs take the system's folders; here they are those of the environment."""
        own = b"\nPATH=%s\n" % self._path
        return re.sub(rb"\nPATH=/usr/bin:[^\n]*\n", own, program) if self._path else program

    def open_pty(self, **options: Any) -> Any:
        self.calls.append("open_pty")
        link = LossyPty(super().open_pty(**options), self.cut, raises=self.raises, at_end=self.at_end)
        self.links.append(link)
        return _Counted(link, self.calls)

    def read_file(self, path: str) -> bytes:
        if self.deaf:
            raise SandboxError("no route to host")
        self.calls.append("read_file")
        return super().read_file(path)

    def write_files(self, files: Mapping[str, tuple[bytes, int]]) -> None:
        self.calls.append("write_files")
        super().write_files({path: (self._placed(data), mode) for path, (data, mode) in files.items()})

    def write_new(self, files: Mapping[str, tuple[bytes, int]]) -> None:
        self.write_files(files)

    def remove(self, path: str) -> None:
        if self.deaf:
            raise SandboxError("no route to host")
        self.calls.append("remove")
        super().remove(path)

    def destroy(self) -> None:
        """Be gone, as a machine is that somebody deleted."""
        shutil.rmtree(Path(self.home).parent / "home", ignore_errors=True)


class _Counted:
    """The requests of a terminal: what is typed, and its end; bytes and status come by themselves."""

    def __init__(self, link: LossyPty, calls: list[str]) -> None:
        self._link, self._calls = link, calls
        self.read, self.resize, self.wait = link.read, link.resize, link.wait

    def write(self, data: bytes) -> None:
        self._calls.append("write")
        self._link.write(data)

    def close(self) -> None:
        self._calls.append("close")
        self._link.close()


def without_script(folder: Path) -> dict[str, str]:
    """An environment whose PATH has every program but `script`."""
    folder.mkdir(exist_ok=True)
    for source in map(Path, ("/usr/bin", "/bin", "/usr/local/bin")):
        for file in source.iterdir() if source.is_dir() else ():
            link = folder / file.name
            if file.name != "script" and not link.is_symlink():
                link.symlink_to(file)
    return {"PATH": str(folder)}
