"""The toolbox's routes for processes and PTY sessions, and for where things are."""

from __future__ import annotations

import asyncio
import base64
import binascii
import functools
import json
import re
import subprocess
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from aiohttp import web

from . import processes
from .call import Call
from .line import Lost, begin
from .link import Link
from .machine import CannotStart, shell_path
from .terminal import Terminal
from .wire import Refused, daemon_json

EXIT_CONTROL = "X-Daytona-Pty-Exit-Control"
_ENVS = "X-Daytona-Pty-Envs~"
_INPUT_LIMIT = 64 * 1024
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SIZE_LIMIT = 1000
#: For how long, in seconds, the daemon waits for the output of what it has killed.
_HANG = 30.0


def _bad(message: str) -> Refused:
    return Refused(400, f"bad request: {message}", source="")


def _strings(envs: Any) -> dict[str, str]:
    """Return variables as they came, if they are texts."""
    if envs is None:
        return {}
    if not isinstance(envs, dict) or not all(isinstance(value, str) for value in envs.values()):
        raise Refused(400, "json: cannot unmarshal envs into Go value of type map[string]string", source="")
    return envs


# -- exec


async def execute(call: Call) -> web.StreamResponse:
    body = await call.json()
    command, timeout = body.get("command"), body.get("timeout") or None
    if not isinstance(command, str) or not command.strip():
        raise _bad("command is required")
    if timeout is not None and (not isinstance(timeout, int) or isinstance(timeout, bool) or timeout < 0):
        raise _bad("timeout must be a whole number of seconds")
    envs, cwd, shell = _strings(body.get("envs")), body.get("cwd") or "", shell_path(call.world.settings.shell)
    if wrong := [name for name in envs if not _NAME.fullmatch(name)]:
        raise _bad(f"invalid environment variable name: '{wrong[0]}'")
    pipe = subprocess.PIPE
    try:
        process = call.machine.start([shell], shell, cwd=cwd, env=envs, stdin=pipe, stdout=pipe)
    except CannotStart as error:
        if call.world.settings.start_error:
            raise _bad(f"failed to start the command: {error}") from error
        return daemon_json({"exitCode": -1, "result": str(error)})
    running = asyncio.ensure_future(call.machine.unless_down(_run(process, command.encode())))
    try:
        done, _ = await asyncio.wait((running,), timeout=timeout)
        if not done:
            processes.kill_group(process)
            # What has left the group may hold the output still, and with it the answer.
            if (await asyncio.wait((running,), timeout=_HANG))[0]:
                await running
            raise Refused(408, "request timeout: command execution timeout", source="")
        output = await running
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await running
        status = await processes.reap(process)
    return daemon_json({"exitCode": max(status, -1), "result": output.decode("utf-8", "surrogateescape")})


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


Answering = Callable[[Call], Awaitable[web.StreamResponse]]


def in_a_word(answer: Answering) -> Answering:
    """Answer errors with nothing but what is wrong."""

    @functools.wraps(answer)
    async def answering(call: Call) -> web.StreamResponse:
        try:
            return await answer(call)
        except Refused as refused:
            return daemon_json({"error": refused.message}, refused.status)

    return answering


@in_a_word
async def pty_create_connect(call: Call) -> web.StreamResponse:
    id, cwd, envs = call.text("id"), call.query.get("cwd", ""), _envs_of(call.request)
    size = _size(call.query.get("cols"), 80), _size(call.query.get("rows"), 24)
    call.entry["pty"] = id
    try:
        terminal = _make(call, id, cwd=cwd, envs=envs, size=size)
    except CannotStart as error:
        return await _say_error(call, f"Failed to start PTY session: pty.StartWithSize: {error}")
    return await _serve(call, terminal)


def _size(text: str | None, default: int) -> int:
    """Return a number of columns or rows; what is none counts as not given."""
    return int(text) if text and re.fullmatch(r"[0-9]{1,5}", text) and int(text) < 1 << 16 else default


async def pty_connect(call: Call) -> web.StreamResponse:
    id = call.request.match_info["session"]
    call.entry["pty"] = id
    terminal = call.machine.terminals.get(id)
    if terminal is not None:
        return await _serve(call, terminal)
    return await _say_error(call, f"Failed to connect to PTY session: PTY session {id} not found")


async def _say_error(call: Call, error: str) -> web.StreamResponse:
    """Agree to a WebSocket, and say in it that there is no terminal."""
    socket = await _upgrade(call)
    await socket.send_str(json.dumps({"type": "control", "status": "error", "error": error}))
    if call.request.transport is not None:
        call.request.transport.close()  # without a close frame, as the daemon does
    return socket


@in_a_word
async def pty_create(call: Call) -> web.StreamResponse:
    body = await call.json()
    size = body.get("cols", 80), body.get("rows", 24)
    if not all(_is_size(number) for number in size) or not isinstance(body.get("id"), str):
        raise Refused(400, "json: cannot unmarshal id, cols or rows", source="")
    try:
        terminal = _make(call, body["id"], cwd=body.get("cwd") or "", envs=_strings(body.get("envs")), size=size)
    except CannotStart as error:
        raise Refused(500, "failed to start PTY session", source="") from error
    terminal.listen()
    return daemon_json({"sessionId": terminal.id}, 201)


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 16


def _make(call: Call, id: str, *, cwd: str, envs: dict[str, str], size: tuple[int, int]) -> Terminal:
    machine, settings = call.machine, call.world.settings
    if not id:
        raise Refused(400, "session ID is required", source="")
    if id in machine.terminals:
        raise Refused(409, f"PTY session with ID '{id}' already exists", source="")
    for name, number in zip(("cols", "rows"), size, strict=True):
        if number > _SIZE_LIMIT:
            raise Refused(400, f"invalid value for {name} - must be less than {_SIZE_LIMIT}", source="")
    cwd, now, grace = cwd or str(machine.home), call.world.now(), settings.slow_client_grace
    terminal = Terminal(machine, id, cwd=cwd, envs=envs, size=size, created=now, grace=grace)
    terminal.start(shell_path(settings.shell), call.actions.get("shell_delay", settings.shell_delay))
    machine.terminals[id] = terminal
    return terminal


def _tokens(request: web.BaseRequest) -> list[str]:
    return [token.strip() for token in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if token.strip()]


def _envs_of(request: web.BaseRequest) -> dict[str, str]:
    """Return the environment that rides in the list of subprotocols."""
    token = next((token for token in _tokens(request) if token.startswith(_ENVS)), None)
    if token is None:
        return {}
    try:
        text = token.removeprefix(_ENVS)
        return _strings(json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))))
    except (ValueError, binascii.Error) as error:
        raise Refused(400, f"failed to decode PTY envs subprotocol: {error}", source="") from error


async def _upgrade(call: Call) -> web.WebSocketResponse:
    request = call.request
    chosen = call.world.settings.subprotocol
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
        exit_style=call.world.settings.pty_exit,
        kill=functools.partial(call.world.let_die, call.box),
    )
    serving = asyncio.create_task(link.serve())
    await link.greet()
    terminal.attach(link)
    await serving
    return socket


async def pty_list(call: Call) -> web.StreamResponse:
    return daemon_json({"sessions": [terminal.info() for terminal in call.machine.terminals.values()]})


@in_a_word
async def pty_get(call: Call) -> web.StreamResponse:
    return daemon_json(_terminal(call, 404).info())


@in_a_word
async def pty_delete(call: Call) -> web.StreamResponse:
    terminal = _terminal(call, 404)
    call.machine.terminals.pop(terminal.id, None)
    terminal.kill()
    return daemon_json({"message": "PTY session deleted"})


@in_a_word
async def pty_resize(call: Call) -> web.StreamResponse:
    body = await call.json()
    cols, rows = (body.get(name, 0) for name in ("cols", "rows"))
    for name, number in (("cols", cols), ("rows", rows)):
        if not _is_size(number) or number > _SIZE_LIMIT:
            raise Refused(400, f"{name} must be less than {_SIZE_LIMIT}", source="")
    terminal = _terminal(call, 410)
    terminal.resize(cols, rows)
    return daemon_json(terminal.info())


def _terminal(call: Call, status: int) -> Terminal:
    id = call.request.match_info["session"]
    if (terminal := call.machine.terminals.get(id)) is None:
        raise Refused(status, "PTY session not found", source="")
    return terminal


# -- places


async def where(call: Call) -> web.StreamResponse:
    """The work directory is the home."""
    return daemon_json({"dir": str(call.machine.home)})


async def version(call: Call) -> web.StreamResponse:
    return daemon_json({"version": "0.0.0-emulator"})
