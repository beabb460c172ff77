"""A PTY session of a sandbox: an interactive login shell that outlives its clients."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import struct
import subprocess
import termios
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from . import processes
from .wire import iso

if TYPE_CHECKING:
    from .link import Link
    from .machine import Machine

#: The daemon's read buffer, and with it the largest frame.
CHUNK = 32 * 1024
#: Input messages that wait for the terminal before their sender waits too.
INPUT_QUEUE = 1024
#: For how long, in seconds and bytes, output is read after the shell ended: a child may go on writing for ever.
_DRAIN_TIME, _DRAIN_BYTES = 0.3, 1 << 20

#: The shell opens the terminal itself: the first that a session's leader opens becomes its controlling one.
_OPEN = 'exec <>"$1" >&0 2>&1; [ "$2" = 0 ] || sleep "$2"; exec "$3" -i -l'


class Terminal:
    """One shell and those that watch it."""

    def __init__(
        self,
        machine: Machine,
        id: str,
        *,
        cwd: str,
        envs: Mapping[str, str],
        size: tuple[int, int],
        created: float,
        grace: float,
    ) -> None:
        self.machine, self.id, self.cwd, self.created = machine, id, cwd, created
        self.envs = {"TERM": "xterm-256color", **envs}
        self.cols, self.rows = size
        self.links: list[Link] = []
        self.active = False
        self._grace = grace
        self._torn = self._reading = self._paused = False
        self._input: deque[bytes] = deque()
        self._input_moved = asyncio.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._master = self._slave = -1
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Task[None] | None = None

    def info(self) -> dict[str, Any]:
        """Return the session as a PtySessionInfo."""
        return {
            "id": self.id,
            "cwd": self.cwd,
            "envs": dict(self.envs),
            "cols": self.cols,
            "rows": self.rows,
            "createdAt": iso(self.created),
            "active": self.active,
            "lazyStart": False,
        }

    def start(self, shell: str, delay: float) -> None:
        """Start the shell, or `CannotStart`; what it says is read from when somebody is there to hear it."""
        self._master, self._slave = pty.openpty()
        os.set_blocking(self._master, False)
        self._set_size()
        argv = ["/bin/sh", "-c", _OPEN, "sh", os.ttyname(self._slave), f"{delay:g}", shell]
        nothing = subprocess.DEVNULL
        try:
            self._process = self.machine.start(argv, shell, cwd=self.cwd, env=self.envs, stdin=nothing, stdout=nothing)
        except BaseException:
            self._close()
            raise
        self.active = True
        self._waiter = asyncio.create_task(self._until_exit())

    # -- output

    def attach(self, link: Link) -> None:
        self.links.append(link)
        self.listen()

    def detach(self, link: Link) -> None:
        """Forget a client; the shell goes on."""
        if link in self.links:
            self.links.remove(link)
        self.resume()

    def listen(self) -> None:
        """Begin to read; without a client what is read is lost."""
        if not self._reading and self._master >= 0:
            self._reading = True
            self._loop.add_reader(self._master, self._readable)

    def resume(self) -> None:
        """Go on reading when no client's queue is full any more."""
        if self._paused and not any(link.full for link in self.links):
            self._paused = False
            self.listen()

    def _readable(self) -> None:
        if data := self._read():
            self._spread(data)
            if self._grace and any(link.full for link in self.links):
                self._stop_reading()
                self._paused = True
                self._loop.call_later(self._grace, self._drop_slow)

    def _read(self) -> bytes:
        """Return what is there, up to one frame: the kernel gives it in pieces of 4 KiB."""
        chunks, size = [], 0
        while size < CHUNK:
            try:
                data = os.read(self._master, CHUNK - size)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self._stop_reading()
                break
            chunks.append(data)
            size += len(data)
        return b"".join(chunks)

    def _spread(self, data: bytes) -> None:
        for link in list(self.links):
            if link.full and not self._grace:
                link.drop_slow()
            else:
                link.offer(data)

    def _drop_slow(self) -> None:
        if not self._paused:
            return
        for link in list(self.links):
            if link.full and link.stalled_for() >= self._grace:
                link.drop_slow()
        if self._paused:
            self._loop.call_later(self._grace / 4, self._drop_slow)

    def _stop_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._master)

    # -- input

    async def feed(self, data: bytes) -> bool:
        """Write input; waits while too much of it waits already. False when the session is over."""
        while len(self._input) >= INPUT_QUEUE and self.active:
            self._input_moved.clear()
            await self._input_moved.wait()
        if not self.active or self._master < 0:
            return False
        self._input.append(data)
        if len(self._input) == 1:
            self._write()
        return True

    def _write(self) -> None:
        while self._input and self._master >= 0:
            try:
                written = os.write(self._master, self._input[0])
            except BlockingIOError:
                self._loop.add_writer(self._master, self._write)
                return
            except OSError:
                self._input.clear()
                break
            if written < len(self._input[0]):
                self._input[0] = self._input[0][written:]
            else:
                self._input.popleft()
                self._input_moved.set()
        if self._master >= 0:
            self._loop.remove_writer(self._master)

    def resize(self, cols: int, rows: int) -> None:
        self.cols, self.rows = cols, rows
        self._set_size()

    def _set_size(self) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", self.rows, self.cols, 0, 0))

    # -- the end

    def kill(self) -> None:
        """Kill the shell and all below it, whatever group they are in; who watches it is told nothing more."""
        if self._process is not None:
            processes.kill_tree(self._process.pid)
        for link in self.links:
            link.finish(137, killed=True)
        self.links.clear()

    async def _until_exit(self) -> None:
        assert self._process is not None
        status = await processes.reap(self._process)
        self.active = False
        self._input_moved.set()
        if self._torn:
            return
        code = max(status, -1)  # below zero it is a signal, for which the daemon's language has no number
        for link in list(self.links):
            link.overtake(code)
        if any(link.exit_style != "d190" for link in self.links):
            await self._drain()
        if self.machine.terminals.get(self.id) is self:
            del self.machine.terminals[self.id]
        for link in list(self.links):
            link.finish(code)
        self._close()

    async def _drain(self) -> None:
        """Read what was written before the end; not until end of file, which a child may hold off for ever."""
        deadline, size = time.monotonic() + _DRAIN_TIME, 0
        self._stop_reading()
        while time.monotonic() < deadline and size < _DRAIN_BYTES and (data := self._read()):
            self._spread(data)
            size += len(data)
            await asyncio.sleep(0)

    def tear(self) -> None:
        """The machine is gone: no word to anybody."""
        self.active, self._torn = False, True
        self._input_moved.set()
        for link in list(self.links):
            link.tear()
        self._close()

    def _close(self) -> None:
        if self._master < 0:
            return
        self._stop_reading()
        self._loop.remove_writer(self._master)
        for descriptor in (self._master, self._slave):
            with suppress(OSError):
                os.close(descriptor)
        self._master = self._slave = -1
