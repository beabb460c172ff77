"""Holds a sandbox's namespaces: one long-lived bwrap, the warden its process 1."""

from __future__ import annotations

import fcntl
import json
import os
import struct
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from pytest_kiro.errors import SandboxError
from pytest_kiro.sandbox import files
from pytest_kiro.sandbox.bubblewrap import limits as limiting
from pytest_kiro.sandbox.bubblewrap import mounts, refusals
from pytest_kiro.sandbox.environment import base_interpreter
from pytest_kiro.sandbox.ready import ready
from pytest_kiro.sandbox.supervision import PROGRAM, Warden

#: Of asm-generic/ioctls.h: unlock a terminal's other end, and open it.
_UNLOCK, _PEER = 0x40045431, 0x5441
#: Seconds within which bwrap makes its namespaces.
_PATIENCE = 30.0
_UNSHARED = ("user", "ipc", "pid", "uts", "cgroup-try")
#: The first version in which nothing inside can make namespaces of its own.
_DISABLES_USERNS = (0, 8, 0)


class Namespaces:
    """One bwrap, and what can be reached of it from outside."""

    def __init__(self, name: str, bwrap: refusals.Bwrap, view: mounts.View, limits: limiting.Limits, *, net: bool):
        self._name, self._bwrap, self._view, self._limits, self._net = name, bwrap, view, limits, net
        self._process: subprocess.Popen[bytes] | None = None
        self._group = limiting.Group()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - it is there as long as bwrap is; `close` closes it
        self._pid, self._ready = 0, False
        self.warden = Warden(self._begin)

    def start(self) -> None:
        """Make them; `SandboxError` with the reason when this machine does not let us."""
        try:
            with Path(os.devnull).open("r+b") as nothing:
                descriptors = {"stdin": nothing.fileno(), "output": nothing.fileno()}
                first = self.warden.start(["/bin/sh", "-c", ":"], Path("/"), {}, terminal=False, **descriptors)
            first.wait(_PATIENCE)
            first.end()
            self._ready = first.status == 0
        except (OSError, SandboxError) as error:
            if isinstance(error, SandboxError):
                raise
        if not self._ready:
            raise self._refused()
        self._pts = os.open(f"/proc/{self._pid}/root/dev/pts", os.O_PATH | os.O_DIRECTORY)
        self._spaces = {kind: os.open(f"/proc/{self._pid}/ns/{kind}", os.O_RDONLY) for kind in ("mnt", "net")}

    @property
    def alive(self) -> bool:
        """Whether they still are there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The number that process 1 inside has out here."""
        return self._pid

    def open(self, kind: str) -> int:
        """Return a new descriptor of a namespace, mnt or net."""
        return os.dup(self._spaces[kind])

    def openpty(self) -> tuple[int, int]:
        """Open a terminal of the sandbox's own; this machine's have no names inside."""
        try:
            master = os.open("ptmx", os.O_RDWR | os.O_NOCTTY, dir_fd=self._pts)
            try:
                fcntl.ioctl(master, _UNLOCK, struct.pack("i", 0))
                return master, fcntl.ioctl(master, _PEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
            except BaseException:
                os.close(master)
                raise
        except OSError as error:
            what = f"no terminal can be opened in sandbox {self._name}: {error}"
            raise SandboxError(what, advice="look at the machine's limit of terminals") from error

    def gone(self) -> SandboxError:
        """Return the error for namespaces that have ended."""
        what = f"sandbox {self._name} is gone: process 1 of its namespaces has ended"
        said = self._words()
        return SandboxError(what, output=said, advice="run pytest again; somebody has killed it, or memory was short")

    def close(self) -> None:
        """End all that runs in them, and them; idempotent."""
        self.warden.close()
        self._group.close()
        self._said.close()
        if self._ready:
            for descriptor in (self._pts, *self._spaces.values()):
                os.close(descriptor)
            self._ready = False

    def _begin(self, requests: int) -> subprocess.Popen[bytes]:
        if self._process is not None:
            raise self.gone() if self._ready else self._refused()
        texts = {**self._view.texts, mounts.START: PROGRAM.read_bytes() + b"\nmain()\n"}
        self._view.texts = texts
        inform, block = os.pipe(), os.pipe()
        small = [_memory(text) for text in texts.values()]
        try:
            argv = [*self._namespaces(), *mounts.with_texts(self._view, small)]
            argv += ["--info-fd", str(inform[1]), "--block-fd", str(block[0]), "--"]
            argv += [base_interpreter(), "-I", "-S", mounts.START]
            before = limiting.scope(self._limits)
            process = self._process = subprocess.Popen(
                [*before, self._bwrap.path, *argv],
                cwd="/",
                env=limiting.environment() if before else {},
                stdin=requests,
                stdout=subprocess.DEVNULL,
                stderr=self._said,
                pass_fds=[inform[1], block[0], *small],
                start_new_session=True,  # Ctrl-C is not for it
            )
        finally:
            for descriptor in (inform[1], block[0], *small):
                os.close(descriptor)
        try:
            self._pid = _child(inform[0])
            self._limits.hold(self._pid)
            self._group = limiting.group(f"sandbox-{self._name}", self._limits)
            self._group.take(self._pid)
            os.write(block[1], b"1")
        except (OSError, ValueError) as error:
            process.kill()
            process.wait()
            raise self._refused() from error
        finally:
            os.close(inform[0])
            os.close(block[1])
        return process

    def _namespaces(self) -> list[str]:
        words = [f"--unshare-{kind}" for kind in (*_UNSHARED, *(("net",) if self._net else ()))]
        if self._bwrap.version >= _DISABLES_USERNS:
            words.append("--disable-userns")
        return [*words, "--cap-drop", "ALL", "--as-pid-1", "--hostname", "localhost"]

    def _refused(self) -> SandboxError:
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(1)
        return refusals.refused(self._words(), refusals.machine())

    def _words(self) -> str:
        return files.read_ends(self._said, 4096).decode("utf-8", "replace")


def _child(informed: int) -> int:
    """Return the number of bwrap's child, as bwrap tells it."""
    told = b""
    while ready(_PATIENCE, reading=(informed,)) and (data := os.read(informed, 4096)):
        told += data
    return int(json.loads(told)["child-pid"])


def _memory(text: bytes) -> int:
    """Return a descriptor from which a text is read."""
    descriptor = os.memfd_create("text")
    os.write(descriptor, text)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
