"""Fails on demand, as the real program may.

`KIRO_STANDIN_MISBEHAVE` is a JSON object, kind to argument; `true` is the default argument. Kinds combine.
"""

from __future__ import annotations

import math
import os
import resource
import signal
import time

from . import formats, out, waiting
from .failures import Failure, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .protocols import Screen

VARIABLE = "KIRO_STANDIN_MISBEHAVE"

#: For users, described in docs/scenarios.md.
KINDS = {
    "throttled": "the request was throttled: text on stderr, no reply, exit code 0",
    "limit": "the monthly limit is reached: text on stderr, no reply, exit code 0",
    "login": "nobody is logged in: prints a device code and waits for ever",
    "denied": "denies these tools although they are trusted: a name, a list, or true for all",
    "crash": 'dies by SIGSEGV: "before" any output, or "after" the first text (default)',
    "exit": "the turn goes well and ends with this exit code (default 1)",
    "silent": "prints nothing for so many seconds before the first byte; true: for ever",
    "slow": "prints one character at a time; argument: seconds between them (default 0.01)",
    "hangs": "prints its first text, then nothing for so many seconds; true: for ever",
    "credits": "meters so many credits (default 0.25), in equal parts for the model requests",
}
#: For our own tests, described in docs/fidelity.md.
INTERNAL = {
    "endless": "prints lines for ever; argument: seconds between them (default: as fast as it can)",
    "huge": "prints so many bytes of text before the reply (default 200000000), unrecorded",
    "split_utf8": "cuts multi-byte characters in two writes; argument: seconds between them (default 0.005)",
    "bad_key": "the API key is invalid: text on stderr, nothing on stdout, exit code 0",
    "no_session": "the turn goes well and leaves nothing in the session store",
    "closes_output": "closes stdout and stderr after the turn, runs on for so many seconds; true: for ever",
    "children": "leaves two processes holding the terminal, one in a session of its own; argument: seconds that "
    "they live (default 600)",
    "ignores_signals": "ignores SIGINT, SIGTERM and SIGHUP, runs on for so many seconds; true: for ever",
    "carriage": "draws a spinner with lone carriage returns and cursor codes before the reply",
    "mcp": "a required MCP server did not start: exit code 3",
    "answers_nothing": "the turn goes well with an empty reply",
    "expired": "the token is refused: text on stderr, exit code 1; argument: after so many requests (default 0)",
    "in_use": "another process has the session: text on stderr, exit code 1",
    "overflow": "the context window is full: text on stderr, no reply, exit code 0",
    "agent_fallback": "a missing agent is a warning, and the default agent answers",
    "compaction": "before the last request the conversation is compacted and goes on under a new session id (v2, v3)",
    "forgets": "a resume silently begins a new session",
    "ignores_interrupt": "ignores SIGINT, runs on for so many seconds; true: for ever",
    "no_end": "stream-json: the events end without runFinished, exit code 0",
    "stray": "lines that are no events come first on stdout",
}

_DEVICE_LOGIN = """
Confirm the following code in the browser
Code: ABCD-EFGH

Open this URL: https://view.awsapps.com/start/#/device?user_code=ABCD-EFGH
"""
BLOCK = 65536
_LINE = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+/"[:63] + b"\n"


def load() -> dict[str, Any]:
    """Read the kinds that were asked for; an unknown one is an error, since it would test nothing."""
    try:
        kinds = formats.loads(os.environ[VARIABLE])
    except ValueError as error:
        raise Failure(f"error: {VARIABLE} is wrong: {error}", 2) from None
    if not isinstance(kinds, dict):
        raise Failure(f"error: {VARIABLE} is wrong: it is not a JSON object", 2)
    for kind in kinds:
        if kind not in KINDS and kind not in INTERNAL:
            known = ", ".join(sorted(KINDS))
            raise Failure(f"error: {VARIABLE} has the unknown kind {kind!r}. Known kinds: {known}", 2)
    return kinds


def number(argument: Any, default: float) -> float:
    """Read an argument as a number."""
    if isinstance(argument, bool) or not isinstance(argument, (int, float)):
        return default
    return argument


def wait(argument: Any) -> None:
    """Wait so many seconds; `true` is for ever."""
    waiting.pause(math.inf if argument is True else number(argument, 0))


def before_the_session(kinds: dict[str, Any]) -> None:
    """Do what happens before anything is recorded."""
    if "ignores_signals" in kinds:
        for caught in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(caught, signal.SIG_IGN)
    if "ignores_interrupt" in kinds:
        # Not SIG_IGN, which the commands of the turn would inherit.
        signal.signal(signal.SIGINT, lambda number, frame: None)
    if "children" in kinds:
        _leave_children(number(kinds["children"], 600))
    if "silent" in kinds:
        wait(kinds["silent"])
    if "login" in kinds:
        out.write(1, _DEVICE_LOGIN)
        wait(True)
    if "stray" in kinds:
        # Not the code of a device login: who sees one takes it that nobody is logged in.
        out.write(1, "Logging in... done\n{not json}\n\n[1, 2]\nOpening browser... | Press (^) + C\n")
    if "mcp" in kinds:
        raise Failure("error: MCP server 'required' did not start, and --require-mcp-startup was given", 3)
    if "in_use" in kinds:
        raise Failure("error: Failed to start session: Session is active in another process (PID 26121)", 1)


def refuse(kinds: dict[str, Any], requests: int) -> None:
    """Fail the next request as the service does; most such turns still end with exit code 0."""
    if "expired" in kinds and requests == number(kinds["expired"], 0):
        raise Refused("The bearer token included in the request is invalid.", 1)
    if requests:
        return
    if "throttled" in kinds:
        request = "00000000-0000-4000-8000-000000000000"
        raise Refused(
            "Kiro is having trouble responding right now:\n"
            f"   The request was throttled by the service (request_id: {request})"
        )
    if "limit" in kinds:
        raise Refused("Monthly request limit reached: The monthly usage limit has been reached. Resets on 01/01.")
    if "bad_key" in kinds:
        key = "Your API key may be invalid or expired. Check your KIRO_API_KEY value."
        raise Refused(f"Authentication failed. {key}")
    if "overflow" in kinds:
        raise Refused("The context window has overflowed", kind="ContextWindowOverflow")


def metering(kinds: dict[str, Any], requests: int) -> list[dict[str, Any]]:
    """Meter the requests of a turn, one entry for each."""
    total = number(kinds["credits"], 0.25)
    share = total / max(requests, 1)
    shares = [share] * (requests - 1) + [total - share * (requests - 1)] if requests else []
    return [{"value": value, "unit": "credit", "unitPlural": "credits"} for value in shares]


def before_the_reply(kinds: dict[str, Any], shown: Screen) -> None:
    """Print what comes before, or instead of, the scripted text."""
    if kinds.get("crash") == "before":
        crash()
    if "carriage" in kinds:
        for frame in "⠋⠙⠹⠸⠼⠴⠦⠧":
            shown.spill(f"\r\x1b[?25l{frame} Thinking...".encode())
        shown.spill(b"\r\x1b[2K\x1b[?25h")
    if "huge" in kinds:
        _print_bytes(int(number(kinds["huge"], 200_000_000)), shown)
    if "endless" in kinds:
        pause = number(kinds["endless"], 0)
        while shown.spill(_LINE):
            time.sleep(pause)


def after_the_text(kinds: dict[str, Any], requests: int) -> None:
    """Do what happens when some text is out."""
    if "crash" in kinds:
        crash()
    if "hangs" in kinds and requests == 1:
        wait(kinds["hangs"])


def after_the_turn(kinds: dict[str, Any]) -> None:
    """Do what keeps the process from ending when its turn is recorded."""
    if "closes_output" in kinds:
        os.close(1)
        os.close(2)
        wait(kinds["closes_output"])
    for kind in ("ignores_signals", "ignores_interrupt"):
        if kind in kinds:
            wait(kinds[kind])


def say_slowly(kinds: dict[str, Any], text: str) -> None:
    """Print a text in small pieces."""
    between = number(kinds["slow"], 0.01) if "slow" in kinds else 0
    inside = number(kinds["split_utf8"], 0.005) if "split_utf8" in kinds else 0
    for char in text:
        data = char.encode("utf-8", "replace")
        if inside and len(data) > 1:
            out.write(1, data[:1])
            time.sleep(inside)
            data = data[1:]
        out.write(1, data)
        time.sleep(between)


def cut(kinds: dict[str, Any], text: str) -> bool:
    """Print a text in the fewest pieces that cut every multi-byte character."""
    inside = number(kinds["split_utf8"], 0.005)
    data = b""
    for char in text:
        more = char.encode("utf-8", "replace")
        data += more[:1]
        if len(more) > 1:
            out.write(1, data)
            time.sleep(inside)
            data = more[1:]
    return out.write(1, data)


def crash() -> None:
    """Die by a signal, at once and without a core file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGSEGV)


def _print_bytes(count: int, shown: Screen) -> None:
    block = _LINE * (BLOCK // len(_LINE))
    while count >= len(block) and shown.spill(block):
        count -= len(block)
    if count < len(block):
        shown.spill(block[:count])


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
    out.write(2, f"children: {pids[0]} {pids[1]}\n")
