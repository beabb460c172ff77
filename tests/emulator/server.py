"""The server: takes requests, applies the rules, writes the log; and the process around it."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from aiohttp import web

from . import processes
from .call import Call
from .faults import PTY_ROUTES, STREAMED
from .line import Body, Lost, torn
from .routes import ROUTES, UNKNOWN, Route
from .settings import Settings
from .steering import Steering
from .wire import API, PROXY, Refused, daemon_json, envelope
from .world import World

#: Go's, for all headers of a request.
_HEADER_LIMIT = 1 << 20
_TICK = 0.25
_SKIP_ACTIVITY = "X-Daytona-Skip-Last-Activity-Update"


class Server:
    """One emulator on one port of this machine's loopback."""

    def __init__(self, world: World) -> None:
        self.world = world
        app = web.Application(client_max_size=1 << 30)
        app.router.add_post("/emulator/{verb}", Steering(world).answer)
        for route in ROUTES:
            app.router.add_route(route.method, route.path, self._answering(route))
        app.router.add_route("*", "/{path:.*}", self._answering(Route(UNKNOWN, "*", "", _no_route)))
        self._runner = web.AppRunner(
            app, access_log=None, max_field_size=_HEADER_LIMIT, max_line_size=_HEADER_LIMIT, shutdown_timeout=0.1
        )
        self._site: web.TCPSite | None = None
        self._down = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def open(self, port: int) -> None:
        await self._runner.setup()
        await self._listen(port)
        self.world.url = f"http://127.0.0.1:{self.port}/api"
        self._in_background(self._keep_time())

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await self.world.close()
        await self._runner.cleanup()

    async def _listen(self, port: int) -> None:
        self._site = web.TCPSite(self._runner, "127.0.0.1", port, backlog=1024, reuse_address=True)
        await self._site.start()
        self.port = self._runner.addresses[0][1]

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def note_bug(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Keep what nobody else caught."""
        error = context.get("exception")
        if not isinstance(error, ConnectionError):
            trace = "".join(traceback.format_exception(error)) if error else ""
            self.world.crashes.append(f"{context.get('message')}\n{trace}")

    async def _keep_time(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            processes.reap_orphans()
            await self.world.tick()

    async def _refuse_connections(self, seconds: float) -> None:
        """Let nobody in for a while, as when the service is down."""
        assert self._site is not None
        self._down = True
        await self._site.stop()
        await asyncio.sleep(seconds)
        self._down = False
        await self._listen(self.port)

    # -- one request

    def _answering(self, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(request: web.Request) -> web.StreamResponse:
            entry = {
                "method": request.method,
                "route": route.name,
                "path": request.path,
                "query": dict(request.query),
                "started": time.monotonic(),
                "ended": None,
                "status": None,
                "sandbox": None,
                "body": None,
                "headers": dict(request.headers),
                "key": request.headers.get("Authorization", "").removeprefix("Bearer "),
            }
            self.world.log.append(entry)
            call = Call(self.world, route.name, request, entry)
            try:
                response = await self._answer(route, call)
            finally:
                entry["ended"] = time.monotonic()
            if entry["status"] is None:
                entry["status"] = response.status
            return response

        return answer

    async def _answer(self, route: Route, call: Call) -> web.StreamResponse:
        try:
            return await self._apply_rules(route, call)
        except Refused as refused:
            return self._refusal(call, refused)
        except Lost:
            return torn(call)
        except ConnectionError:  # the client went away while it was answered
            call.entry["status"] = 0
            return web.Response()
        except Exception:
            self.world.crashes.append(traceback.format_exc())
            return self._refusal(call, Refused(500, "the emulator has a bug; see Emulator.crashes()"))

    def _refusal(self, call: Call, refused: Refused) -> web.Response:
        said = envelope(refused, call.request.method, call.request.path, self.world.now())
        if not refused.source:
            return daemon_json(said, refused.status)
        headers = {**call.entry.get("answer_headers", {}), **refused.headers}
        return web.json_response(said, status=refused.status, headers=headers)

    async def _apply_rules(self, route: Route, call: Call) -> web.StreamResponse:
        half = self.world.settings.latency / 2
        await asyncio.sleep(half)
        if self._down:
            return torn(call)
        await self.world.tick()
        wanted, missing = call.request.match_info.get("box"), None
        if wanted is not None:
            try:
                call.sandbox = self.world.find(wanted)
                call.entry["sandbox"] = call.sandbox.id
            except Refused as refused:
                missing = refused
        actions = call.actions = self.world.actions(route.name, call.sandbox)
        if "delay" in actions:
            await asyncio.sleep(actions["delay"])
        if "refuse" in actions:
            self._in_background(self._refuse_connections(actions["refuse"]))
        if actions.get("drop") or "refuse" in actions:
            return torn(call)
        if "status" in actions:
            message = actions.get("message", f"HTTP {actions['status']}, as a rule of the emulator wants")
            source = PROXY if route.is_toolbox else API
            raise Refused(
                actions["status"], message, code=actions.get("code"), source=source, headers=actions.get("headers")
            )
        self._check_key(call)
        if missing is not None:
            raise missing
        if "kill_sandbox" in actions and call.sandbox is not None:
            self.world.let_die(call.sandbox, actions["kill_sandbox"])
        response = await self._in_sandbox(route, call)
        if route.name in STREAMED:
            return response
        await asyncio.sleep(half + actions.get("delay_response", 0))
        if actions.get("lose_response"):
            return torn(call)
        if "cut_body" in actions and isinstance(response, web.Response):
            return await self._cut(call, response)
        return response

    async def _in_sandbox(self, route: Route, call: Call) -> web.StreamResponse:
        """Answer; while a request to a toolbox is open, its sandbox is in use."""
        if not route.is_toolbox:
            return await route.answer(call)
        sandbox = call.box
        if sandbox.state in ("error", "destroying"):
            raise Refused(502, "failed to resolve container IP: the sandbox is gone", source=PROXY)
        if sandbox.state != "started":
            raise Refused(400, f"bad request: the sandbox is {sandbox.state}, not started", source=PROXY)
        counts = call.request.headers.get(_SKIP_ACTIVITY) != "true"
        sandbox.open_requests += counts
        try:
            if route.name in PTY_ROUTES:  # the session tears its links itself
                return await route.answer(call)
            return await sandbox.machine.unless_down(route.answer(call))
        finally:
            sandbox.open_requests -= counts
            if counts:
                sandbox.touch(self.world.now())

    def _check_key(self, call: Call) -> None:
        if call.route in ("socket_io", "config"):
            return
        key = self.world.keys.get(call.entry["key"])
        source = PROXY if call.request.path.startswith("/toolbox/") else API
        if key is None:
            raise Refused(401, "Invalid credentials", source=source)
        if key == "expired":
            raise Refused(401, "API key has expired", source=source)

    async def _cut(self, call: Call, whole: web.Response) -> web.StreamResponse:
        """Send the head and the beginning of an answer, and tear the connection."""
        data = whole.body if isinstance(whole.body, bytes) else b""
        response = web.StreamResponse(status=whole.status, headers={"Content-Type": whole.content_type})
        response.content_length = len(data)
        await response.prepare(call.request)
        body = Body(call, response)
        await body.write(data)
        await body.end()
        return response


async def _no_route(call: Call) -> web.StreamResponse:
    if call.request.path.startswith("/toolbox/"):
        return web.Response(status=404, text="404 page not found")
    raise Refused(404, f"Cannot {call.request.method} {call.request.path}")


# -- the process


async def run(
    settings: Settings,
    *,
    port: int,
    root: str | None,
    key: str | None,
    follow_stdin: bool,
    ready: Callable[[Server], None],
) -> None:
    """Serve until SIGTERM, SIGINT, or, when started by a handle, the end of standard input."""
    logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)
    processes.adopt_orphans()
    place = Path(root).resolve() if root else Path(tempfile.mkdtemp(prefix="emulator-")).resolve()
    place.mkdir(parents=True, exist_ok=True)
    server, over = Server(World(place, settings, key)), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(server.note_bug)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    if follow_stdin:
        loop.add_reader(sys.stdin.fileno(), lambda: None if os.read(sys.stdin.fileno(), 1024) else over.set())
    try:
        await server.open(port)
        ready(server)
        await over.wait()
    finally:
        if follow_stdin:
            loop.remove_reader(sys.stdin.fileno())
        try:
            await server.close()
        finally:
            if root is None:
                shutil.rmtree(place, ignore_errors=True)
