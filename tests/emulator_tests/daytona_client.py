"""The real SDK as a client, and plain HTTP where an answer is to be seen as it is."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeVar

import aiohttp
from daytona import AsyncDaytona, CreateSandboxFromSnapshotParams, DaytonaConfig
from daytona.common.pty import PtyResult, PtySize
from emulator import Emulator

T = TypeVar("T")
DEADLINE = 30.0


def run(emulator: Emulator, use: Callable[[AsyncDaytona], Awaitable[T]], *, key: str | None = None) -> T:
    """Let a coroutine function use a client, with a deadline."""

    async def within() -> T:
        async with AsyncDaytona(DaytonaConfig(api_key=key or emulator.key, api_url=emulator.url)) as client:
            return await asyncio.wait_for(use(client), DEADLINE)

    return asyncio.run(within())


def run_in_sandbox(emulator: Emulator, use: Callable[[Any], Awaitable[T]], **params: Any) -> T:
    """The same with a sandbox of its own."""

    async def within(client: AsyncDaytona) -> T:
        return await use(await client.create(CreateSandboxFromSnapshotParams(**params)))

    return run(emulator, within)


class Pty:
    """An open PTY of the SDK, and what it said so far."""

    def __init__(self) -> None:
        self.output = bytearray()
        self.chunks: list[bytes] = []
        self.handle: Any = None
        self._news = asyncio.Event()

    def hear(self, data: bytes) -> None:
        self.output += data
        self.chunks.append(data)
        self._news.set()

    async def until(self, wanted: bytes) -> bytearray:
        """Wait until something was said."""
        async with asyncio.timeout(DEADLINE):
            while wanted not in self.output:
                self._news.clear()
                await self._news.wait()
        return self.output

    async def send(self, text: str) -> None:
        await self.handle.send_input(text)

    async def exit(self) -> PtyResult:
        return await asyncio.wait_for(self.handle.wait(), DEADLINE)


@asynccontextmanager
async def pty(sandbox: Any, id: str = "one", *, attach: bool = False, **options: Any) -> AsyncIterator[Pty]:
    """Open a PTY, or attach to one, and let go of it at the end."""
    opened = Pty()
    if attach:
        opened.handle = await sandbox.process.connect_pty_session(id, opened.hear)
    else:
        options.setdefault("pty_size", PtySize(rows=30, cols=120))
        opened.handle = await sandbox.process.create_pty_session(id, opened.hear, **options)
    try:
        yield opened
    finally:
        await opened.handle.disconnect()


#: One for all requests: each reads the certificates of this machine.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Answer(NamedTuple):
    """An answer: its body as it is read, and its bytes as they came."""

    status: int
    body: Any
    headers: Any
    data: bytes


def ask(emulator: Emulator, method: str, path: str, body: Any = None, *, key: str | None = None) -> Answer:
    """Send one request and return the answer as it came; JSON is read."""
    request = urllib.request.Request(
        emulator.url.removesuffix("/api") + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {key or emulator.key}", "Content-Type": "application/json"},
    )
    try:
        with OPENER.open(request, timeout=DEADLINE) as response:
            return _answer(response.status, response)
    except urllib.error.HTTPError as error:
        with error:
            return _answer(error.code, error)


def _answer(status: int, response: Any) -> Answer:
    data = response.read()
    is_json = response.headers.get("Content-Type", "").startswith("application/json")
    return Answer(status, json.loads(data) if is_json else data, response.headers, data)


def create(emulator: Emulator, **body: Any) -> Any:
    """Create a sandbox by plain HTTP and return its record."""
    answer = ask(emulator, "POST", "/api/sandbox", body)
    assert answer.status == 200, answer
    return answer.body


def frames_of(emulator: Emulator, query: str, typed: str = "", *, delete: str = "", **options: Any) -> list[Any]:
    """Open a PTY without the SDK, and type into it or delete one; return all frames, whose end is not replied to."""
    ptys = f"/toolbox/{create(emulator)['id']}/process/pty"
    url = f"{emulator.url.removesuffix('/api')}{ptys}/create-connect?{query}"

    async def use() -> list[Any]:
        headers, frames = {"Authorization": f"Bearer {emulator.key}"}, list[Any]()
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.ws_connect(url, autoclose=False, **options) as link,
            asyncio.timeout(30),
        ):
            assert link.protocol is None
            while not frames or frames[-1].type is not aiohttp.WSMsgType.CLOSED:
                frames.append(await link.receive())
                if typed and len(frames) == 1:
                    await link.send_str(typed)
                if delete and len(frames) == 1:
                    await asyncio.to_thread(ask, emulator, "DELETE", f"{ptys}/{delete}")
            return frames

    return asyncio.run(use())
