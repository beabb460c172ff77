"""Opens terminals in a Daytona sandbox, which are pulled: their callbacks stay in here."""

from __future__ import annotations

import asyncio
import json
import shlex
import signal
import threading
import uuid
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from pytest_kiro.errors import PtyClosed, SandboxError, SandboxTimeout
from pytest_kiro.sandbox.daytona import faults, guest
from pytest_kiro.sandbox.daytona.link import PtyLink
from pytest_kiro.sandbox.daytona.machine import Machine
from pytest_kiro.sandbox.processes import TAG
from pytest_kiro.sandbox.protocol import Survivors

_READ_AT_ONCE = 256 * 1024
#: The service takes frames of 64 KiB.
_FRAME = 16 * 1024
#: The environment rides in a header of the handshake, which proxies cut at about 8 KiB (measured: 30 KB is refused).
_ENV_BYTES = 4096


class DaytonaPty:
    """A terminal (contract P) over a link that can be lost: then `wait` gives None."""

    def __init__(self, machine: Machine) -> None:
        self._machine, self._client, self._waits = machine, machine.client, machine.waits
        self._tag = f"{machine.task()}."
        machine.alive.add(self._tag)
        self._leader = guest.session_file(self._tag, machine.tasks)
        self._id = f"kiro-{uuid.uuid4().hex}"
        self._link: PtyLink | None = None
        self._held = bytearray()  # what was printed and not yet read
        self._news = threading.Condition()
        self._room = asyncio.Event()
        self._over = self._closed = False
        #: What the program had left behind: complete after the request that follows `close`.
        self.survivors = Survivors()
        #: What the link says of the end, None when it was lost; 0 counts when it is proven.
        self._claimed: int | None = None
        self._proven = self._settled = False
        self._heard = 0.0
        self._watch: asyncio.Task[None] | None = None

    def open(self, cwd: str | None, env: Mapping[str, str], size: tuple[int, int]) -> None:
        """Start the machine's shell in it."""
        envs = {"TERM": "xterm-256color", **env, TAG: self._tag}
        if len(json.dumps(envs)) > _ENV_BYTES:
            what = f"the variables for a terminal in Daytona come to more than {_ENV_BYTES} bytes"
            raise ValueError(f"{what}, which its proxies refuse; pass large values in a file")
        self._client.wait_for(self._open(cwd, envs, size), self._waits.pty_open)

    async def _open(self, cwd: str | None, envs: dict[str, str], size: tuple[int, int]) -> None:
        base, limit = self._machine.ptys, self._waits.pty_connected
        query = {"cols": str(size[0]), "rows": str(size[1]), **({"cwd": cwd} if cwd else {})}

        async def call() -> PtyLink:
            http = self._client.http
            try:
                new = {"id": self._id, **query}
                return await PtyLink.open(http, f"{base}/create-connect", self._feed, limit=limit, query=new, envs=envs)
            except Exception as error:
                if faults.status_of(error) != 409:
                    raise
            with suppress(Exception):  # an attempt whose answer was lost has made it
                return await PtyLink.open(http, f"{base}/{self._id}/connect", self._feed, limit=limit)
            self._id = f"kiro-{uuid.uuid4().hex}"
            raise ConnectionError("a terminal was made, and could not be reached afterwards")

        try:
            self._link = await self._machine.ask("open a terminal", call, timeout=self._waits.pty_open, safe=True)
        except faults.DaytonaRefused as error:
            if error.status != 404 or isinstance(error, faults.SandboxGone):
                raise
            old = "has an old daemon, which cannot make a terminal in one request (HTTP 404)"
            advice = "make it from a newer snapshot or image"
            raise SandboxError(f"sandbox {self._machine.id} {old}", advice=advice) from error
        self._heard = self._client.loop.time()
        self._watch = asyncio.ensure_future(self._follow(self._link))
        with suppress(Exception):  # it has ended already
            line = f" {guest.marking(self._tag)}; echo $$ >{shlex.quote(self._leader)}\n"
            await self._link.send(line.encode())

    # -- on the loop

    def _feed(self, data: bytes) -> Any:
        """Take what was printed; before the link is read on, it awaits what this returns."""
        with self._news:
            self._held += data
            self._heard = self._client.loop.time()
            self._news.notify_all()
            if len(self._held) <= self._waits.held_bytes:
                return None
            self._room.clear()
        return self._room.wait()

    async def _follow(self, link: PtyLink) -> None:
        """Wait for the end and find out what it was."""
        status: int | None = None
        noticed = asyncio.ensure_future(self._notice())
        try:
            await asyncio.wait((link.ended, noticed), return_when=asyncio.FIRST_COMPLETED)
            if link.ended.done():
                status = _shell_status(link.status, link.reason)
            else:  # what may still come would come after the end
                await self._hang_up()
        finally:
            noticed.cancel()
            self._end(status)

    async def _notice(self) -> None:
        """Return when the program has ended and the link does not tell: a proxy may hold on to what is dead."""
        loop = self._client.loop
        while True:
            if (left := self._heard + self._waits.silence - loop.time()) > 0 or self._held:
                await asyncio.sleep(max(left, 0.1))
                continue
            try:
                if await self._has_ended():
                    await asyncio.sleep(self._waits.late)
                    return
            except faults.SandboxGone:
                return
            except SandboxError:
                pass  # it is asked again
            self._heard = loop.time()

    async def _has_ended(self) -> bool:
        """Ask whether the program has ended where it ran; if so, end what it left."""
        command = guest.settle(self._tag, self._machine.tasks, self._machine.alive)
        answer = await self._machine.errand("end of a terminal", command)
        self._note(guest.survivors(answer, guest.SETTLED))
        return answer.rstrip().rpartition("\n")[2] == "ended"

    def _note(self, left: Survivors) -> None:
        self.survivors = Survivors(self.survivors.killed + left.killed, self.survivors.stuck + left.stuck)

    def _end(self, status: int | None) -> None:
        with self._news:
            if not self._over:
                self._over, self._claimed = True, status
            self._news.notify_all()

    # -- on the puller's thread

    def read(self, timeout: float) -> bytes:
        with self._news:
            if not self._news.wait_for(lambda: self._held or self._over or self._closed, timeout):
                raise TimeoutError(f"nothing was printed for {timeout:g} s")
            taken = bytes(self._held[:_READ_AT_ONCE])
            del self._held[:_READ_AT_ONCE]
            if taken and not self._room.is_set():
                self._client.loop.call_soon_threadsafe(self._room.set)
        return taken

    def write(self, data: bytes) -> None:
        self._client.wait_for(self._write(data), self._waits.pty_write)

    async def _write(self, data: bytes) -> None:
        link = self._link
        for start in range(0, len(data), _FRAME):
            if link is None or self._over or self._closed:
                raise PtyClosed("the program in this terminal has ended; nothing can be typed")
            try:
                await asyncio.wait_for(link.send(data[start : start + _FRAME]), self._waits.pty_write)
            except TimeoutError:
                text = f"the program did not read {len(data) - start} typed bytes within {self._waits.pty_write:g} s"
                raise SandboxTimeout(text) from None
            except Exception as error:
                raise PtyClosed(f"nothing can be typed into this terminal any more: {faults.text_of(error)}") from error

    def resize(self, size: tuple[int, int]) -> None:
        if self._over or self._closed:
            return
        from daytona import PtySize

        limit = self._waits.pty_write
        process = self._machine.raw.process
        call = partial(process.resize_pty_session, self._id, PtySize(cols=size[0], rows=size[1]))
        with suppress(SandboxError):  # the program may just have ended
            self._client.wait_for(self._machine.ask("resize a terminal", call, timeout=limit, safe=True), limit)

    def wait(self, timeout: float) -> int | None:
        with self._news:
            if not self._news.wait_for(lambda: self._over, timeout):
                raise TimeoutError(f"the program still runs after {timeout:g} s")
        if self._claimed == 0 and not self._proven and not self._closed:
            # Every polite close counts as 0, also a proxy's.
            self._proven, self._claimed = True, None
            with suppress(SandboxError):
                if self._client.wait_for(self._has_ended(), self._waits.pty_close):
                    self._claimed = 0
        return self._claimed

    @property
    def claimed(self) -> int | None:
        """The status that the link told. None when it told none; 0 may be a polite proxy's."""
        return self._claimed

    @property
    def ending(self) -> str:
        """`sh` commands that end what the program left: "PID name" each."""
        return guest.ending(self._tag, self._machine.tasks, self._machine.alive)

    def ended(self) -> None:
        """Note that these commands were executed."""
        self._settled = True

    def close(self) -> None:
        if self._closed:
            return
        ended = self._over and self._claimed is not None
        self._closed = True
        try:
            self._client.wait_for(self._close(ended), self._waits.pty_close)
        finally:
            self._release()

    def forget(self) -> None:
        """Let go of a terminal whose machine is gone."""
        self._closed = True
        with suppress(SandboxError):
            self._client.wait_for(self._disconnect(), self._waits.pty_close)
        self._release()

    def _release(self) -> None:
        with self._news:
            self._held.clear()
            self._end(None)  # unless the link has told its end: that is lost with it

    async def _close(self, ended: bool) -> None:
        self._room.set()
        self._machine.alive.discard(self._tag)
        try:
            if ended and not self._settled:  # what it left goes along with the next request, and soon at the latest
                self._machine.doom(self._tag, self._note)
            elif not ended:
                await self._kill()
        finally:
            self._machine.thrown_away.append(self._leader)
            await self._disconnect()

    async def _kill(self) -> None:
        """End the program and all that it started: the service's kill ends the shell's tree, ours what has left it."""
        process, what = self._machine.raw.process, "end a terminal"
        ends: list[Coroutine[Any, Any, object]] = [self._reap()]
        if self._link is not None:
            call = partial(process.kill_pty_session, self._id)
            ends.append(self._machine.ask(what, call, timeout=self._waits.pty_close, safe=True))
        reaped, *_killed = await asyncio.gather(*ends, return_exceptions=True)  # 404 when reaping was quicker
        if isinstance(reaped, BaseException) and not isinstance(reaped, faults.SandboxGone):
            raise reaped

    async def _reap(self) -> None:
        self._note(await self._machine.reap(self._tag, leader=self._leader))

    async def _disconnect(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        await self._hang_up()

    async def _hang_up(self) -> None:
        if self._link is not None:
            with suppress(Exception):
                await asyncio.wait_for(self._link.close(), self._waits.slack)


def _shell_status(code: int | None, reason: str | None) -> int | None:
    """Return the status as a shell would show it: for a death by signal the service may say -1 and name it."""
    if code is None or code >= 0:
        return code
    words = (reason or "").upper().replace("CTRL+C", "SIGINT").split()
    if words[:1] == ["SIGNAL"] and words[-1].isdigit():
        return 128 + int(words[-1])
    return 128 + next((number for number in signal.Signals if number.name in words), signal.SIGKILL)
