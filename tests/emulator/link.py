"""One client's WebSocket on a PTY session: what it is sent, in order, and how it can go wrong."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from aiohttp import WSMsgType, web

from .line import DelayLine, flushed, sever
from .terminal import Terminal

#: Chunks that wait for a client before it counts as slow.
QUEUE = 256
#: For how long, in seconds, it is waited for that a slow client takes its close frame.
_DROP_TIMEOUT = 1.0
#: The close frames' words for exit codes; of the control frames only the first differs, but for parentheses.
_REASONS = {130: "Ctrl+C", 137: "SIGKILL", 143: "SIGTERM"}
_SPOKEN = _REASONS | {130: "SIGINT - Ctrl+C"}
#: The faults that come at a byte of output, and what is done there.
_AT_BYTE = ("cut_after", "close_after", "mute_after", "kill_after")


class Close(NamedTuple):
    """A close frame that is to be sent; `waits` for the client's, else the connection is closed behind it."""

    code: int
    reason: str
    waits: bool = True


class Tear(NamedTuple):
    """The end of the connection without a frame."""


Item = bytes | str | Close | Tear


class Link:
    """Sends a session's output to one client, and the client's input to the session."""

    def __init__(
        self,
        request: web.BaseRequest,
        socket: web.WebSocketResponse,
        terminal: Terminal,
        faults: Mapping[str, Any],
        *,
        latency: float,
        exit_style: str,
        kill: Callable[[str], None],
    ) -> None:
        self._request, self._socket, self._terminal, self._faults = request, socket, terminal, faults
        self._kill = kill
        self.exit_style = str(faults.get("exit_style", exit_style))
        #: What waits for the client, and since when.
        self._queue: deque[tuple[float, Item]] = deque()
        self._wake = asyncio.Event()
        self._sent, self._last_sent = 0, time.monotonic()
        self._muted = False
        self._limits = sorted((faults[name], name) for name in _AT_BYTE if name in faults)
        self._out = DelayLine[Item](latency / 2, self._deliver)
        self._in = DelayLine[bytes](latency / 2, self._feed)
        self._over = asyncio.Event()
        held = faults.get("hold_output", 0.0)
        self._holds, self._lag = held is True, 0.0 if held is True else held

    @property
    def full(self) -> bool:
        return len(self._queue) >= QUEUE

    def stalled_for(self) -> float:
        """Return for how long the client has taken nothing."""
        return time.monotonic() - self._last_sent

    # -- what the session says

    def offer(self, item: Item) -> None:
        """Queue something for the client."""
        self._queue.append((time.monotonic(), item))
        self._wake.set()

    def drop_slow(self) -> None:
        """Give up on a client that does not read; the frame that says so stands behind what it has not read."""
        self._terminal.detach(self)
        self._queue.clear()
        self._dropping = asyncio.create_task(self._drop())

    async def _drop(self) -> None:
        with suppress(TimeoutError, ConnectionError):
            await asyncio.wait_for(self._socket.close(code=1008, message=b"slow consumer"), _DROP_TIMEOUT)
        self.tear()

    def overtake(self, code: int) -> None:
        """Say "exited" before all that waits, if it is so wanted."""
        if self.exit_style == "late":
            self._queue.appendleft((0.0, _exited(code)))
            self._wake.set()

    def finish(self, code: int, *, killed: bool = False) -> None:
        """Tell the exit code: by a control frame, by the close frame, by both, or not at all."""
        style = self.exit_style
        self._holds = False
        self._wake.set()
        if style == "none":
            return
        if style == "d190" or killed:
            self._queue.clear()  # the close frame overtook what was queued,
            self._out.clear()  # for which a slow line stands too
        if style == "abort":
            self.offer(Tear())
            return
        if style in ("both", "control", "d190") and not killed:
            self.offer(_exited(code))
        if style == "control":
            self.offer(Close(1000, "", waits=False))
        else:
            said = json.dumps(_outcome(code, _REASONS), separators=(",", ":"))
            self.offer(Close(1000 if code == 0 else 1011, said, waits=False))

    def tear(self) -> None:
        """Tear the connection at once."""
        sever(self._request)
        self._over.set()

    # -- both directions

    async def serve(self) -> None:
        """Run until the client or the session ends."""
        tasks = [asyncio.create_task(run()) for run in (self._write_all, self._read_all, self._over.wait)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._terminal.detach(self)
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            self._out.close()
            self._in.close()
        for end in ends:
            if isinstance(end, Exception) and not isinstance(end, ConnectionError):
                raise end

    async def greet(self) -> None:
        """Say "connected", when and as the rules want it; it travels right behind the handshake's answer."""
        if early := self._faults.get("early_output"):
            await self._deliver(early.encode())
        if delay := self._faults.get("connected_delay"):
            await asyncio.sleep(delay)
        if not self._faults.get("no_connected"):
            await self._deliver('{"type":"control","status":"connected"}')

    async def _write_all(self) -> None:
        while not self._over.is_set():
            while not self._queue or (self._holds and isinstance(self._queue[0][1], bytes)):
                self._wake.clear()
                await self._wake.wait()
            since, item = self._queue[0]
            if isinstance(item, bytes) and (lag := since + self._lag - time.monotonic()) > 0:
                await asyncio.sleep(lag)
                continue  # it may have been lost meanwhile
            self._queue.popleft()
            await self._out.put(item, len(item) if isinstance(item, bytes) else 0)
            self._last_sent = time.monotonic()
            self._terminal.resume()

    async def _read_all(self) -> None:
        while True:
            message = await self._socket.receive()
            if message.type is WSMsgType.BINARY:
                await self._in.put(message.data, len(message.data))
            elif message.type is WSMsgType.TEXT:
                await self._in.put(message.data.encode(), len(message.data))
            elif message.type not in (WSMsgType.PING, WSMsgType.PONG):
                # Its end overtakes nothing that it sent before.
                await self._in.join()
                return

    async def _feed(self, data: bytes) -> None:
        if not await self._terminal.feed(data) and self._terminal.id:
            self.offer(Close(1011, "PTY session unavailable"))

    async def _deliver(self, item: Item) -> None:
        if self._muted or self._over.is_set():
            return
        try:
            if isinstance(item, bytes):
                await self._deliver_output(item)
            elif isinstance(item, str):
                await self._socket.send_str(item)
            elif isinstance(item, Close):
                await self._close(item.code, item.reason, waits=item.waits)
            else:
                await self._cut()
        except (ConnectionError, RuntimeError):  # the client has gone
            self._over.set()

    async def _deliver_output(self, data: bytes) -> None:
        while self._limits and self._sent + len(data) >= self._limits[0][0]:
            limit, name = self._limits.pop(0)
            if head := data[: limit - self._sent]:
                await self._socket.send_bytes(head)
                self._sent += len(head)
            data = data[len(head) :]
            await self._strike(name)
            if self._muted or self._over.is_set():
                return
        if data:
            await self._socket.send_bytes(data)
            self._sent += len(data)

    async def _strike(self, name: str) -> None:
        """Do what a rule wants at this byte."""
        if name == "cut_after":
            await self._cut()
        elif name == "close_after":
            await self._close(self._faults.get("close_code", 1000), self._faults.get("close_reason", ""))
        elif name == "mute_after":
            self._muted = True
        else:
            await flushed(self._request)
            self._muted = True
            self._kill(self._faults.get("kill_state", "destroyed"))

    async def _cut(self) -> None:
        await flushed(self._request)
        self.tear()

    async def _close(self, code: int, reason: str, *, waits: bool = True) -> None:
        if waits:
            await self._socket.close(code=code, message=reason.encode())
        elif (transport := self._request.transport) is not None:
            # The server's own way would wait for the client's frame.
            said = code.to_bytes(2, "big") + reason.encode()
            transport.write(bytes([0x88, len(said)]) + said)
            transport.close()
        self._over.set()


def _exited(code: int) -> str:
    outcome = _outcome(code, _SPOKEN)
    if "exitReason" in outcome:
        outcome["exitReason"] = f"({outcome['exitReason']})"
    return json.dumps({"type": "control", "status": "exited", **outcome}, separators=(",", ":"))


def _outcome(code: int, reasons: Mapping[int, str]) -> dict[str, Any]:
    """Return the exit code with its reason, of which 0 has none."""
    if code == 0:
        return {"exitCode": 0}
    reason = reasons.get(code, f"signal {code - 128}" if code > 128 else "non-zero exit")
    return {"exitCode": code, "exitReason": reason}
