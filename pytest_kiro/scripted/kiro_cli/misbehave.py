"""What can go wrong with the real program, on demand.

`KIRO_STANDIN_MISBEHAVE` is a JSON object, kind to argument; `true` is the default argument. Kinds combine.
"""

from __future__ import annotations

import os
import resource
import signal
import time

from . import screen, text_json
from .failures import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VARIABLE = "KIRO_STANDIN_MISBEHAVE"

KINDS = {
    "slow": "prints one character at a time; argument: seconds between them (default 0.01)",
    "silent": "prints nothing for so many seconds before the first byte; true: for ever",
    "endless": "prints lines for ever; argument: seconds between them (default: as fast as it can)",
    "huge": "prints so many bytes of text before the reply (default 200000000), unrecorded",
    "split_utf8": "cuts multi-byte characters in two writes; argument: seconds between them (default 0.005)",
    "crash": 'dies by SIGSEGV: "before" any output, or "after" the first text (default)',
    "throttled": "the request was throttled: text on stderr, no reply, exit code 0",
    "limit": "the monthly limit is reached: text on stderr, no reply, exit code 0",
    "bad_key": "the API key is invalid: text on stderr, nothing on stdout, exit code 0",
    "login": "nobody is logged in: prints a device code and waits for ever",
    "exit": "the turn goes well and ends with this exit code (default 1)",
    "no_session": "the turn goes well and leaves nothing in the session store",
    "denied": "denies these tools although they are trusted: a name, a list, or true for all",
    "closes_output": "closes stdout and stderr after the turn, runs on for so many seconds; true: for ever",
    "children": "leaves two processes holding the terminal, one in a session of its own; argument: seconds "
    "that they live (default 600)",
    "ignores_signals": "ignores SIGINT, SIGTERM and SIGHUP, runs on for so many seconds; true: for ever",
    "carriage": "draws a spinner with lone carriage returns and cursor codes before the reply",
    "mcp": "a required MCP server did not start: exit code 3",
    "answers_nothing": "the turn goes well with an empty reply",
}

BLOCK = 65536
_LINE = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+/"[:63] + b"\n"


def load() -> dict[str, Any]:
    """The kinds that were asked for; an unknown one is an error, since it would test nothing."""
    try:
        kinds = text_json.loads(os.environ[VARIABLE])
    except ValueError as error:
        raise Failure(f"error: {VARIABLE} is wrong: {error}", 2) from None
    if not isinstance(kinds, dict):
        raise Failure(f"error: {VARIABLE} is wrong: it is not a JSON object", 2)
    for kind in kinds:
        if kind not in KINDS:
            known = ", ".join(sorted(KINDS))
            raise Failure(f"error: {VARIABLE} has the unknown kind {kind!r}. Known kinds: {known}", 2)
    return kinds


def number(argument: Any, default: float) -> float:
    """The argument as a number."""
    if isinstance(argument, bool) or not isinstance(argument, (int, float)):
        return default
    return argument


def wait(argument: Any) -> None:
    """Pass so many seconds; `true` is for ever."""
    if argument is True:
        while True:
            time.sleep(3600)
    time.sleep(number(argument, 0))


def before_the_session(kinds: dict[str, Any]) -> None:
    """What happens before anything is recorded."""
    if "ignores_signals" in kinds:
        for caught in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(caught, signal.SIG_IGN)
    if "children" in kinds:
        _leave_children(number(kinds["children"], 600))
    if "silent" in kinds:
        wait(kinds["silent"])
    if "login" in kinds:
        url = "https://view.awsapps.com/start/#/device?user_code=ABCD-EFGH"
        text = f"\nConfirm the following code in the browser\nCode: ABCD-EFGH\n\nOpen this URL: {url}\n"
        screen.write(1, text)
        wait(True)
    if "mcp" in kinds:
        raise Failure("error: MCP server 'required' did not start, and --require-mcp-startup was given", 3)


def failure(kinds: dict[str, Any]) -> str | None:
    """The text of a request that the service refuses; such a turn still ends with exit code 0."""
    if "throttled" in kinds:
        request = "00000000-0000-4000-8000-000000000000"
        return (
            "Kiro is having trouble responding right now:\n"
            f"   The request was throttled by the service (request_id: {request})"
        )
    if "limit" in kinds:
        return "Monthly request limit reached: The monthly usage limit has been reached. Resets on 01/01."
    if "bad_key" in kinds:
        return "Authentication failed. Your API key may be invalid or expired. Check your KIRO_API_KEY value."
    return None


def before_the_reply(kinds: dict[str, Any]) -> None:
    """What is printed before, or instead of, the scripted text."""
    if kinds.get("crash") == "before":
        crash()
    if "carriage" in kinds:
        for frame in "⠋⠙⠹⠸⠼⠴⠦⠧":
            screen.write(1, f"\r\x1b[?25l{frame} Thinking...")
        screen.write(1, "\r\x1b[2K\x1b[?25h")
    if "huge" in kinds:
        _print_bytes(int(number(kinds["huge"], 200_000_000)))
    if "endless" in kinds:
        pause = number(kinds["endless"], 0)
        while screen.write(1, _LINE):
            time.sleep(pause)


def after_the_text(kinds: dict[str, Any]) -> None:
    """Some text is out."""
    if "crash" in kinds:
        crash()


def after_the_turn(kinds: dict[str, Any]) -> None:
    """The turn is recorded; the process does not have to end."""
    if "closes_output" in kinds:
        os.close(1)
        os.close(2)
        wait(kinds["closes_output"])
    if "ignores_signals" in kinds:
        wait(kinds["ignores_signals"])


def say_slowly(kinds: dict[str, Any], text: str) -> None:
    """Print a text in small pieces."""
    between = number(kinds["slow"], 0.01) if "slow" in kinds else 0
    inside = number(kinds["split_utf8"], 0.005) if "split_utf8" in kinds else 0
    for char in text:
        data = char.encode("utf-8", "replace")
        if inside and len(data) > 1:
            screen.write(1, data[:1])
            time.sleep(inside)
            data = data[1:]
        screen.write(1, data)
        time.sleep(between)


def crash() -> None:
    """Die by a signal, at once and without a core file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGSEGV)


def _print_bytes(count: int) -> None:
    block = _LINE * (BLOCK // len(_LINE))
    while count >= len(block) and screen.write(1, block):
        count -= len(block)
    if count < len(block):
        screen.write(1, block[:count])


def _leave_children(seconds: float) -> None:
    pids = []
    for own_session in (False, True):
        pid = os.fork()
        if not pid:
            if own_session:
                os.setsid()
            time.sleep(seconds)
            os._exit(0)
        pids.append(pid)
    screen.write(2, f"children: {pids[0]} {pids[1]}\n")
