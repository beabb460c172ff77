"""Runs the tool `shell`: a command with bash, answered by its status and output."""

from __future__ import annotations

import os
import select
import signal
import subprocess

from .toolargs import ToolError, absolute, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MAX_OUTPUT = 400_000 // 3
MAX_TITLE = 200
# A child that outlives its shell may hold the pipes: this much silence after the shell's end is the end.
DRAIN_SECONDS = 0.1


def parse(tool: str, args: dict[str, Any]) -> dict[str, Any]:
    """Read the call as the session records it."""
    working_dir = field(args, "working_dir", str, optional=True)
    return {"ExecuteCmd": {"command": field(args, "command", str), "working_dir": working_dir}}


def title(tool: str, kind: dict[str, Any]) -> str:
    """Word the call for the screen: at most 200 bytes of the command."""
    command = kind["ExecuteCmd"]["command"].encode("utf-8", "replace")
    if len(command) > MAX_TITLE:
        command = command[: MAX_TITLE - 3].decode("utf-8", "ignore").encode() + b"..."
    return "Running: " + str(command.decode())


def execute(tool: str, kind: dict[str, Any], live: Callable[[bytes], object] | None = None) -> list[dict[str, Any]]:
    """Run it, with nothing to read from the terminal; `live` takes the output as it comes."""
    command, folder = kind["ExecuteCmd"]["command"], kind["ExecuteCmd"]["working_dir"]
    if not command:
        raise ToolError("The tool arguments failed validation: Command must not be empty")
    if folder is not None and not os.path.isdir(absolute(folder)):
        what = f"Working directory is not a directory: {absolute(folder)}"
        raise ToolError(f"The tool arguments failed validation: {what}")
    shell = os.environ.get("KIRO_CHAT_SHELL") or _default_shell()
    process = None
    try:
        with _Uninterrupted():
            process = subprocess.Popen(
                [shell, "-c", command],
                cwd=absolute(folder) if folder is not None else None,
                env={**os.environ, "GIT_EDITOR": "true"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        stdout, stderr = _collect(process, live)
    except (OSError, ValueError) as error:
        if process:
            raise
        context = f"Failed to spawn command '{command}'"
        raise ToolError(f"{context}: {error}", context) from None
    except KeyboardInterrupt:
        if process:
            process.kill()
            process.wait()
        raise
    status = {"exit_status": _status(process.wait()), "stdout": _text(stdout), "stderr": _text(stderr)}
    return [{"Json": status}]


class _Uninterrupted:
    """Lets Ctrl-C wait for `subprocess`.

    In the middle of it, it would leave a process that nobody knows, or keep the lock that `wait` takes: for ever.
    """

    def __enter__(self) -> None:
        self._came = False
        self._handler = signal.getsignal(signal.SIGINT)
        if self._handler is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._note)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._handler)
        if self._came:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: object) -> None:
        self._came = True


def _default_shell() -> str:
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    has_bash = any(os.access(os.path.join(folder, "bash"), os.X_OK) for folder in folders)
    return "bash" if has_bash else "sh"


def _collect(process: subprocess.Popen[bytes], live: Callable[[bytes], object] | None) -> tuple[bytes, bytes]:
    """Read both pipes until they end. It stops earlier when the shell has ended and nothing more comes."""
    assert process.stdout is not None
    assert process.stderr is not None
    chunks: dict[int, list[bytes]] = {process.stdout.fileno(): [], process.stderr.fileno(): []}
    first, second = chunks
    waiting = [first, second]
    while waiting:
        with _Uninterrupted():
            ended = process.poll() is not None
        ready = select.select(waiting, [], [], DRAIN_SECONDS)[0]
        for descriptor in ready:
            data = os.read(descriptor, 65536)
            if data:
                chunks[descriptor].append(data)
                if live:
                    live(data)
            else:
                waiting.remove(descriptor)
        if ended and not ready:
            break
    process.stdout.close()
    process.stderr.close()
    return b"".join(chunks[first]), b"".join(chunks[second])


def _status(code: int) -> str:
    """Word an exit status as Rust prints it."""
    if code >= 0:
        return f"exit status: {code}"
    return f"signal: {-code} ({signal.Signals(-code).name})"


def _text(output: bytes) -> str:
    """Write output as V2 records it: by lines, each ended by a newline, and cut when long."""
    text = output.decode("utf-8", "replace").replace("\r\n", "\n")
    if text and not text.endswith("\n"):
        text += "\n"
    data = text.encode()
    if len(data) > MAX_OUTPUT:
        return data[:MAX_OUTPUT].decode("utf-8", "ignore") + " ... truncated"
    return text
