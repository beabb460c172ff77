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
    "credits": "meters so many credits (default 0.25), in equal parts for the model requests; a table of main, "
    "delegated and auxiliary has V3 keep count of them in its session as well",
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
    "model_refused": "the model that was asked for is not taken, which is a warning, and the session's own answers",
    "fallback": "moves the turn to another model (default claude-haiku-4.5); or a table of what V2's event says: to "
    "(false: there is none, and the turn fails), cause, source, promoted. V3 has another model in its session",
    "retries": "asks the service again so many times (default 2): events on V2",
    "compaction": "before the last request the conversation is compacted and goes on under a new session id (v2, v3)",
    "forgets": "a resume silently begins a new session",
    "ignores_interrupt": "ignores SIGINT, runs on for so many seconds; true: for ever",
    "first_run": "a chat in a terminal begins with the offer of V3, as a rollout makes it",
    "no_end": "stream-json: the events end without runFinished, exit code 0",
    "filtered": "the content filter ends the answer after its first text: stopReason refusal, exit code 0 (v2, v3)",
    "asks": "asks the user after its first text, waits so many seconds for an answer (default 0) and ends, exit code 1 "
    "(v3)",
    "asides": "shows words to the user as if they were tool calls: something to review, a question, a summary",
    "withheld": "the last call of the first request becomes a note, in an answer of its own and without a result; the "
    "session cannot be resumed then (v2)",
    "sessions": "a sub-agent has a session of its own in the event stream; on v3 it is the node of a workflow",
    "rewinds": "what the first request did is taken back by a tombstone (v3)",
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
    """Meter the requests of a turn, one entry for each; what is auxiliary is no request's."""
    parts = billed(kinds)
    total = sum(parts[part] for part in parts if part != "auxiliary") if parts else number(kinds["credits"], 0.25)
    share = total / max(requests, 1)
    shares = [share] * (requests - 1) + [total - share * (requests - 1)] if requests else []
    return [{"value": value, "unit": "credit", "unitPlural": "credits"} for value in shares]


def billed(kinds: dict[str, Any]) -> dict[str, float]:
    """Read what a turn is billed, by V3's names; empty where it is told as one number."""
    parts = kinds.get("credits")
    return {part: number(value, 0) for part, value in parts.items()} if isinstance(parts, dict) else {}


def ask_again(kinds: dict[str, Any], shown: Screen, model: str) -> None:
    """Tell that the service was asked again."""
    count = int(number(kinds["retries"], 2)) if "retries" in kinds else 0
    for attempt in range(2, count + 2):
        text = f"Retrying in 3s after a server error (attempt {attempt}/{count + 1})"
        told = {"attempt": attempt, "maxAttempts": count + 1, "delaySecs": 3.0, "message": text, "modelId": model}
        shown.aside("retry_warning", told)


def fall_back(kinds: dict[str, Any], shown: Screen, model: str, *, tells: bool) -> tuple[Any, bool]:
    """Move the turn to another model: to which, and whether its session has that one from now on."""
    given = kinds["fallback"]
    told = given if isinstance(given, dict) else {} if given is True else {"to": given}
    to = told.get("to", "claude-haiku-4.5") or None
    move = {"from": model, "to": to, "cause": "unavailable", "source": "user" if to else None, "promoted": False}
    if tells:
        for attempt, delay in ((2, 3.0), (3, 5.0)):
            text = f"{model} is unavailable, retrying in {delay:.0f}s (attempt {attempt}/3)"
            short = {"message": text, "capacity": True, "modelId": model}
            shown.aside("retry_warning", {"attempt": attempt, "maxAttempts": 3, "delaySecs": delay, **short})
        shown.aside("model_fallback", {**move, **told, "to": to})
    if to is None:
        raise Refused(
            "The model you've selected is temporarily unavailable. Please use '/model' to select a different model and "
            "try again."
        )
    return to, told.get("promoted") is True or not tells


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
