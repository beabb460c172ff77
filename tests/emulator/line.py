"""The line between a client and the service: its delay, and how it is torn."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from aiohttp import web

if TYPE_CHECKING:
    from .call import Call

T = TypeVar("T")

#: Bytes that may be under way on a slow line: what a wide area connection would hold.
_ROOM = 16 << 20
_FLUSH_TIMEOUT = 2.0


class DelayLine(Generic[T]):
    """Delivers what is put in, in its order, each item `delay` seconds after it came.

    Items travel at the same time, so a delay costs no throughput.
    """

    def __init__(self, delay: float, deliver: Callable[[T], Awaitable[None]]) -> None:
        self._delay, self._deliver = delay, deliver
        self._items: deque[tuple[float, int, T]] = deque()
        self._size = 0
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(self._run()) if delay else None

    async def put(self, item: T, size: int = 0) -> None:
        """Send an item on its way; waits while the line is full."""
        if self._task is None:
            await self._deliver(item)
            return
        while self._size > _ROOM and not self._task.done():
            self._changed.clear()
            await self._changed.wait()
        self._items.append((time.monotonic() + self._delay, size, item))
        self._size += size
        self._changed.set()

    async def join(self) -> None:
        """Wait until everything is delivered."""
        while self._items and self._task is not None and not self._task.done():
            self._changed.clear()
            await self._changed.wait()

    def clear(self) -> None:
        """Lose what is under way, but for what is just being delivered."""
        while len(self._items) > 1:
            self._size -= self._items.pop()[1]

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            while not self._items:
                self._changed.clear()
                await self._changed.wait()
            due, size, item = self._items[0]
            if (pause := due - time.monotonic()) > 0:
                await asyncio.sleep(pause)
            await self._deliver(item)
            self._items.popleft()
            self._size -= size
            self._changed.set()


def sever(request: web.BaseRequest) -> None:
    """Tear the connection: no answer, no close frame, a reset."""
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class Lost(Exception):
    """The answer is lost on its way, all that was wanted having been done."""


async def begin(call: Call, response: web.StreamResponse) -> None:
    """Send the head of a streamed answer, late or never if a rule wants it so."""
    await asyncio.sleep(call.world.settings.latency / 2 + call.actions.get("delay_response", 0))
    if call.actions.get("lose_response"):
        raise Lost
    await response.prepare(call.request)


def torn(call: Call) -> web.Response:
    """Tear the connection of a request instead of answering it."""
    sever(call.request)
    call.entry["status"] = 0
    return web.Response()


class Body:
    """A streamed answer that a rule may end early: by a tear, or politely."""

    def __init__(self, call: Call, response: web.StreamResponse) -> None:
        self._call, self._response, self._sent = call, response, 0
        limits = [call.actions[name] for name in ("cut_body", "truncate") if name in call.actions]
        self._limit = min(limits, default=None)
        self.over = False

    async def write(self, data: bytes) -> None:
        if self.over:
            return
        if self._limit is not None and self._sent + len(data) >= self._limit:
            data, self.over = data[: self._limit - self._sent], True
        self._sent += len(data)
        if data:
            await self._response.write(data)

    async def end(self) -> None:
        if self.over and self._limit == self._call.actions.get("cut_body"):
            await flushed(self._call.request)
            sever(self._call.request)
        else:
            await self._response.write_eof()


async def flushed(request: web.BaseRequest) -> None:
    """Wait until the peer's kernel has everything: a reset would take what is under way with it."""
    transport = request.transport
    deadline = time.monotonic() + _FLUSH_TIMEOUT
    while transport is not None and not transport.is_closing() and time.monotonic() < deadline:
        if not transport.get_write_buffer_size() and not _in_kernel(transport.get_extra_info("socket")):
            return
        await asyncio.sleep(0.001)


def _in_kernel(connection: socket.socket) -> int:
    try:
        answer = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
    except OSError:
        return 0
    return int(struct.unpack("i", answer)[0])
