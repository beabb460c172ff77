"""Links to terminals in Daytona, a WebSocket each.

The SDK's own look ten times a second whether they are connected: 50 ms and more of each turn. They also tell of a
terminal that could not start as of a broken network. The frames are those of the daemon at v0.190.0 and of pull request
4926 of daytonaio/daytona (`apps/daemon/pkg/toolbox/process/pty`).
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from pytest_kiro.sandbox.daytona.faults import DaytonaRefused

if TYPE_CHECKING:
    from aiohttp import ClientSession, ClientWebSocketResponse

#: Seconds between two pings, which show that the service is still there, and it that we are.
_HEARTBEAT = 20.0
_EXIT_CONTROL, _ENVIRONMENT = "X-Daytona-Pty-Exit-Control", "X-Daytona-Pty-Envs~"


class NotStarted(DaytonaRefused):
    """Daytona could not start a terminal: no shell, no folder, no terminals left."""

    def __init__(self, why: str) -> None:
        advice = "look at the shell that its image names (/etc/shells), its folders, and its limits of processes"
        super().__init__(f"Daytona could not start a terminal: {why}", status=None, advice=advice)


class PtyLink:
    """One terminal's link; `feed` takes what is printed, and the link is read on when it has."""

    def __init__(self, socket: ClientWebSocketResponse[bool], feed: Callable[[bytes], Any]) -> None:
        self._socket, self._feed = socket, feed
        self._connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        #: The exit status and its reason, as far as the link told.
        self.status: int | None = None
        self.reason: str | None = None
        self.ended = asyncio.ensure_future(self._listen())

    @classmethod
    async def open(
        cls,
        http: ClientSession,
        url: str,
        feed: Callable[[bytes], Any],
        *,
        limit: float,
        query: Mapping[str, str] | None = None,
        envs: Mapping[str, str] | None = None,
    ) -> Self:
        """Link to a terminal; `NotStarted` when there is none. `limit` bounds its first word, in seconds."""
        protocols = [_EXIT_CONTROL]
        if envs:
            encoded = base64.urlsafe_b64encode(json.dumps(dict(envs)).encode()).rstrip(b"=").decode()
            protocols.append(f"{_ENVIRONMENT}{encoded}")
        socket = await http.ws_connect(url, params=query, protocols=protocols, heartbeat=_HEARTBEAT)
        link = cls(socket, feed)
        try:
            await asyncio.wait_for(link._connected, limit)
        except BaseException:
            await link.close()
            raise
        return link

    async def send(self, data: bytes) -> None:
        """Type bytes."""
        await self._socket.send_bytes(data)

    async def close(self) -> None:
        """Hang up; idempotent."""
        self.ended.cancel()
        with suppress(Exception):  # it may be broken
            await self._socket.close()

    async def _listen(self) -> None:
        from aiohttp import WSMsgType

        try:
            while True:
                message = await self._socket.receive()
                if message.type is WSMsgType.BINARY:
                    await self._take(message.data)
                elif message.type is WSMsgType.TEXT:
                    await self._hear(message.data)
                else:
                    if message.type is WSMsgType.CLOSE:
                        self._hear_close(message.data, message.extra or "")
                    return
        finally:
            if not self._connected.done():
                self._connected.set_exception(ConnectionError("the link to a new terminal ended at once"))
                self._connected.exception()  # nobody may be waiting any more

    async def _take(self, data: bytes) -> None:
        if (room := self._feed(data)) is not None:
            await room

    async def _hear(self, text: str) -> None:
        words: Any = None
        with suppress(ValueError):
            words = json.loads(text)
        if not isinstance(words, dict) or words.get("type") != "control":
            await self._take(text.encode())
        elif words.get("status") == "error" and not self._connected.done():
            self._connected.set_exception(NotStarted(str(words.get("error"))))
        elif words.get("status") in ("connected", "exited"):
            self._note(words)
            if not self._connected.done():
                self._connected.set_result(None)

    def _hear_close(self, code: int, said: str) -> None:
        """Note what a close frame says: without a word, a polite one is a 0, as the SDK has it."""
        try:
            words = json.loads(said) if said else None
        except ValueError:
            words = None
        if isinstance(words, dict):
            self._note(words)
        elif code == 1000 and self.status is None:
            self.status = 0

    def _note(self, words: Mapping[str, Any]) -> None:
        if isinstance(status := words.get("exitCode"), int):
            self.status = status
        if isinstance(reason := words.get("exitReason"), str):
            self.reason = reason
