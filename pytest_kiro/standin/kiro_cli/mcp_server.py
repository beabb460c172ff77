"""Talks with one MCP server over its standard input and output: JSON-RPC, a message a line."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import time
from contextlib import suppress

from . import formats
from .toolargs import ToolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PROTOCOL = "2025-06-18"
#: Milliseconds for one request, where the configuration says nothing.
TIMEOUT = 120_000
#: Seconds that a server has to end when its input has.
GRACE = 3.0
_METHOD_NOT_FOUND = -32601
_VARIABLE = re.compile(r"\$\{(?:env:)?(\w+)\}")
MAX_LINE = 64 << 20


class Server:
    """One server, from its start to its end."""

    def __init__(self, name: str, entry: dict[str, Any]) -> None:
        self.name = name
        self.entry = entry
        self.error = ""
        """Why it cannot be used."""
        self.ready = False
        """Whether its tools are known."""
        self.tools: dict[str, str] = {}
        """Its tools by their names, each with what it does."""
        left_out = entry.get("disabledTools")
        self.left_out: list[Any] = left_out if isinstance(left_out, list) else []
        approved = entry.get("autoApprove")
        self.approved: list[Any] = approved if isinstance(approved, list) else []
        self.process: subprocess.Popen[bytes] | None = None
        self._started = time.monotonic()
        self._number = 0
        self._pending = b""
        self._answers: dict[int, dict[str, Any]] = {}

    @property
    def age(self) -> float:
        """How long ago it was started, in seconds."""
        return time.monotonic() - self._started

    @property
    def _seconds(self) -> float:
        """How long one request may take."""
        timeout = self.entry.get("timeout")
        return (timeout if isinstance(timeout, (int, float)) and timeout > 0 else TIMEOUT) / 1000

    @property
    def descriptor(self) -> int:
        """What it prints."""
        assert self.process is not None
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    # -- its start

    def start(self) -> None:
        """Start it, and say hello; `hear` takes what it answers."""
        command, args, env = (self.entry.get(key) for key in ("command", "args", "env"))
        if not isinstance(command, str) or not command:
            self.error = "it has no command, and the stand-in reaches no server elsewhere"
            return
        given = env if isinstance(env, dict) else {}
        try:
            self.process = subprocess.Popen(
                [os.path.expanduser(command), *map(str, args if isinstance(args, list) else [])],
                # What the program itself was given wins.
                env={**{name: _expanded(str(value)) for name, value in given.items()}, **os.environ},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                preexec_fn=os.setpgrp,  # Ctrl-C is not for it
            )
        except (OSError, ValueError) as error:
            number = f" (os error {error.errno})" if isinstance(error, OSError) else ""
            self.error = f"{getattr(error, 'strerror', None) or error}{number}"
            return
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)
        hello = {
            "protocolVersion": PROTOCOL,
            "capabilities": {},
            "clientInfo": {"name": "Q DEV CLI", "version": "1.0.0"},
        }
        self._ask("initialize", hello)

    def hear(self) -> None:
        """Read what it printed; go on with its start."""
        self._read()
        answer = self._answers.pop(self._number, None)
        if answer is None or self.error:
            return
        if "error" in answer:
            self.error = _mcp_error(answer)
            return
        result = answer.get("result")
        result = result if isinstance(result, dict) else {}
        if "protocolVersion" in result:
            self._tell({"jsonrpc": "2.0", "method": "notifications/initialized"})
            capabilities = result.get("capabilities")
            if not isinstance(capabilities, dict) or capabilities.get("tools") is None:
                self.ready = True
                return
            self._ask("tools/list", {})
            return
        for tool in result.get("tools") or []:
            if isinstance(tool, dict) and isinstance(tool.get("name"), str):
                self.tools[tool["name"]] = str(tool.get("description") or "")
        if result.get("nextCursor"):
            self._ask("tools/list", {"cursor": result["nextCursor"]})
        else:
            self.ready = True

    # -- a call of one of its tools; named as the modules of the other tools name it

    def title(self, tool: str, kind: dict[str, Any]) -> str:
        """Word the call for the screen."""
        return f"Running: {tool}"

    def execute(self, tool: str, kind: dict[str, Any]) -> list[dict[str, Any]]:
        """Call it; a failure of the tool itself is an answer too."""
        call = kind["Mcp"]
        wanted = self._ask("tools/call", {"name": call["toolName"], "arguments": call["params"]})
        end = time.monotonic() + self._seconds
        while wanted not in self._answers and not self.error:
            if time.monotonic() > end:
                raise ToolError(f"An error occurred with the service: request timeout after {self._seconds:g}s")
            if select.select([self.descriptor], [], [], min(0.2, self._seconds))[0]:
                self._read()
        if wanted not in self._answers:
            raise ToolError("An error occurred with the service: Transport closed")
        answer = self._answers.pop(wanted)
        if "error" in answer:
            raise ToolError(f"An error occurred with the service: {_mcp_error(answer)}")
        return [{"Json": answer.get("result")}]

    # -- its end

    def close_input(self) -> None:
        """Let it end by itself."""
        if self.process is not None and self.process.stdin is not None:
            with suppress(OSError):
                self.process.stdin.close()

    def end(self, grace: float = GRACE) -> None:
        """Wait so many seconds, then kill it and what it started."""
        if self.process is None:
            return
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(grace)
        with suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None

    # -- messages

    def _ask(self, method: str, params: dict[str, Any]) -> int:
        self._number += 1
        self._tell({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params})
        return self._number

    def _tell(self, message: dict[str, Any]) -> None:
        """Send it; one that does not read is not waited for longer than for an answer."""
        assert self.process is not None
        assert self.process.stdin is not None
        data, end = formats.dumps(message).encode("utf-8", "replace") + b"\n", time.monotonic() + self._seconds
        descriptor = self.process.stdin.fileno()
        while data and not self.error and time.monotonic() < end:
            readable, writable, _ = select.select([self.descriptor], [descriptor], [], 0.2)
            try:
                data = data[os.write(descriptor, data) :] if writable else data
            except BlockingIOError:
                pass
            except OSError:
                self._lost()
            if readable and not writable:
                self._read()

    def _lost(self) -> None:
        self.error = self.error or ("Transport closed" if self.ready else "connection closed: initialize response")

    def _read(self) -> None:
        """Read what is there; what is no message closes the connection, as it does for the real program."""
        try:
            data = os.read(self.descriptor, 65536)
        except BlockingIOError:
            return
        if not data or len(self._pending) > MAX_LINE:
            self._lost()
            return
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in filter(None, map(bytes.strip, lines)):
            try:
                message = formats.loads(line.decode("utf-8"))
            except ValueError:
                message = None
            if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
                self._lost()
                return
            self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        """Keep an answer; of what a server asks the program only a ping is answered with a result."""
        method, number = message.get("method"), message.get("id")
        if method is None:
            self._answers[number if isinstance(number, int) else -1] = message
        elif number is not None:
            answer: dict[str, Any] = {"result": {}}
            if method != "ping":
                answer = {"error": {"code": _METHOD_NOT_FOUND, "message": str(method)}}
            self._tell({"jsonrpc": "2.0", "id": number, **answer})


def _mcp_error(answer: dict[str, Any]) -> str:
    error = answer["error"]
    if not isinstance(error, dict):
        return f"Mcp error: {error}"
    return f"Mcp error: {error.get('code')}: {error.get('message')}"


def _expanded(value: str) -> str:
    """Fill in `${NAME}` and `${env:NAME}`; an unknown one is left as it is."""
    return _VARIABLE.sub(lambda match: os.environ.get(match[1], match[0]), value)
