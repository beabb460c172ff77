"""The toolbox's routes for processes and PTY sessions, and for where things are."""

from __future__ import annotations

import asyncio
import base64
import binascii
import functools
import json
import re
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from aiohttp import web

from . import processes
from .call import Call
from .line import Lost, begin
from .link import Link
from .machine import shell_path
from .terminal import Terminal
from .wire import DAEMON, Refused

EXIT_CONTROL = "X-Daytona-Pty-Exit-Control"
_ENVS = "X-Daytona-Pty-Envs~"
_ENVS_LIMIT = 64 * 1024
_INPUT_LIMIT = 64 * 1024
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SIZE_LIMIT = 1000


def _bad(message: str) -> Refused:
    return Refused(400, message, source=DAEMON)


def _check_envs(envs: Any) -> dict[str, str]:
    if envs is None:
        return {}
    if not isinstance(envs, dict):
        raise _bad("envs must be an object of strings")
    for name, value in envs.items():
        if not _NAME.fullmatch(name) or not isinstance(value, str) or "\0" in value:
            raise _bad(f"invalid environment variable {name!r}")
    return envs


# -- exec


async def execute(call: Call) -> web.StreamResponse:
    body = await call.json()
    command, timeout = body.get("command"), body.get("timeout") or None
    if not isinstance(command, str) or not command.strip():
        raise _bad("command is required")
    if timeout is not None and (not isinstance(timeout, int) or isinstance(timeout, bool) or timeout < 0):
        raise _bad("timeout must be a whole number of seconds")
    cwd, envs = call.machine.resolve(body.get("cwd") or ""), _check_envs(body.get("envs"))
    shell = shell_path(call.world.settings.shell)
    try:
        process = call.machine.start([shell], cwd=cwd, env=envs, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    except OSError as error:
        if call.world.settings.start_error:
            raise _bad(f"failed to start the command: {error}") from error
        return web.json_response({"exitCode": -1, "result": ""})
    running = asyncio.ensure_future(call.machine.unless_down(_run(process, command.encode())))
    try:
        done, _ = await asyncio.wait((running,), timeout=timeout)
        if not done:
            processes.kill_group(process)
            raise Refused(408, "command execution timeout", source=DAEMON)
        output = await running
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await running
        status = await processes.reap(process)
    text = output.decode("utf-8", "replace")
    return web.json_response({"exitCode": -1 if status < 0 else status, "result": text})


async def _run(process: subprocess.Popen[bytes], command: bytes) -> bytes:
    """Pipe the command to the shell and read until nobody holds its output any more, then wait for the shell."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    output, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), process.stdout)
    feeder, _ = await loop.connect_write_pipe(asyncio.Protocol, process.stdin)
    try:
        feeder.write(command)
        feeder.close()
        data = await reader.read()
        await processes.reap(process)
    finally:
        output.close()
    return data


# -- PTY sessions


async def pty_create_connect(call: Call) -> web.StreamResponse:
    id = call.text("id")
    terminal = _make(
        call,
        id,
        cwd=call.query.get("cwd", ""),
        envs=_envs_of(call.request),
        size=(call.number("cols", 80, 1), call.number("rows", 24, 1)),
    )
    call.entry["pty"] = id
    return await _serve(call, terminal)


async def pty_connect(call: Call) -> web.StreamResponse:
    id = call.request.match_info["session"]
    call.entry["pty"] = id
    terminal = call.machine.terminals.get(id)
    if terminal is not None:
        return await _serve(call, terminal)
    socket = await _upgrade(call)
    error = f"Failed to connect to PTY session: PTY session {id} not found"
    await socket.send_str(json.dumps({"type": "control", "status": "error", "error": error}))
    if call.request.transport is not None:
        call.request.transport.close()  # without a close frame, as the daemon does
    return socket


async def pty_create(call: Call) -> web.StreamResponse:
    body = await call.json()
    size = body.get("cols", 80), body.get("rows", 24)
    if not all(isinstance(number, int) and number > 0 for number in size) or not isinstance(body.get("id"), str):
        raise _bad("id, cols and rows are wrong")
    terminal = _make(call, body["id"], cwd=body.get("cwd") or "", envs=body.get("envs"), size=size)
    terminal.listen()
    return web.json_response({"sessionId": terminal.id}, status=201)


def _make(call: Call, id: str, *, cwd: str, envs: Any, size: tuple[int, int]) -> Terminal:
    machine, settings = call.machine, call.world.settings
    if not id:
        raise _bad("session ID is required")
    if id in machine.terminals:
        raise Refused(409, f"PTY session with ID '{id}' already exists", source=DAEMON)
    for name, number in zip(("cols", "rows"), size, strict=True):
        if number > _SIZE_LIMIT:
            raise _bad(f"invalid value for {name} - must be less than {_SIZE_LIMIT}")
    terminal = Terminal(
        machine,
        id,
        cwd=machine.resolve(cwd),
        envs=_check_envs(envs),
        size=size,
        created=call.world.now(),
        exit_style=settings.pty_exit,
        grace=settings.slow_client_grace,
    )
    terminal.start(shell_path(settings.shell), call.actions.get("shell_delay", settings.shell_delay))
    machine.terminals[id] = terminal
    return terminal


def _tokens(request: web.BaseRequest) -> list[str]:
    return [token.strip() for token in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if token.strip()]


def _envs_of(request: web.BaseRequest) -> Any:
    """Return the environment that rides in the list of subprotocols."""
    token = next((token for token in _tokens(request) if token.startswith(_ENVS)), None)
    if token is None:
        return {}
    if len(token) > _ENVS_LIMIT:
        raise _bad("environment token is too large")
    try:
        text = token.removeprefix(_ENVS)
        return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, binascii.Error) as error:
        raise _bad("environment token is not base64url JSON") from error


async def _upgrade(call: Call) -> web.WebSocketResponse:
    request = call.request
    chosen = call.world.settings.subprotocol and not call.actions.get("no_subprotocol")
    offered = [EXIT_CONTROL] if chosen and EXIT_CONTROL in _tokens(request) else []
    socket = web.WebSocketResponse(
        compress=False,
        autoping=not call.actions.get("no_pong"),
        protocols=offered,
        max_msg_size=_INPUT_LIMIT,
        timeout=2.0,
        writer_limit=256 * 1024,
    )
    await begin(call, socket)
    call.entry["status"] = 101
    return socket


async def _serve(call: Call, terminal: Terminal) -> web.StreamResponse:
    try:
        socket = await _upgrade(call)
    except Lost:
        terminal.listen()  # the shell runs, and nobody is there
        raise
    link = Link(
        call.request,
        socket,
        terminal,
        call.actions,
        latency=call.world.settings.latency,
        wants_exit=EXIT_CONTROL in _tokens(call.request),
        kill=functools.partial(call.world.let_die, call.box),
    )
    serving = asyncio.create_task(link.serve())
    await link.greet()
    terminal.attach(link)
    await serving
    return socket


async def pty_list(call: Call) -> web.StreamResponse:
    return web.json_response({"sessions": [terminal.info() for terminal in call.machine.terminals.values()]})


async def pty_get(call: Call) -> web.StreamResponse:
    return web.json_response(_terminal(call, 404).info())


async def pty_delete(call: Call) -> web.StreamResponse:
    terminal = _terminal(call, 404)
    call.machine.terminals.pop(terminal.id, None)
    terminal.kill()
    return web.json_response({"message": "PTY session deleted"})


async def pty_resize(call: Call) -> web.StreamResponse:
    body = await call.json()
    size: Mapping[str, Any] = {name: body.get(name) for name in ("cols", "rows")}
    for name, number in size.items():
        if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= _SIZE_LIMIT:
            raise _bad(f"{name} must be less than {_SIZE_LIMIT}")
    terminal = _terminal(call, 410)
    terminal.resize(size["cols"], size["rows"])
    return web.json_response(terminal.info())


def _terminal(call: Call, status: int) -> Terminal:
    id = call.request.match_info["session"]
    if (terminal := call.machine.terminals.get(id)) is None:
        raise Refused(status, f"PTY session {id} not found", source=DAEMON)
    return terminal


# -- places


async def where(call: Call) -> web.StreamResponse:
    """The work directory is the home."""
    return web.json_response({"dir": str(call.machine.home)})


async def version(call: Call) -> web.StreamResponse:
    return web.json_response({"version": "0.0.0-emulator"})
