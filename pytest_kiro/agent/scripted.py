"""Compares what scripted calls came to with what their scenario says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pytest_kiro.kirocli.sessions import tools
from pytest_kiro.standin.scenario import Reply
from pytest_kiro.standin.scripted_calls import Requests, ToolUse
from pytest_kiro.standin.tool_forms import PURPOSES, names
from pytest_kiro.turn.calls import label
from pytest_kiro.turn.shown import short
from pytest_kiro.turn.transcript import ToolCall
from pytest_kiro.turn.warnings import SCENARIO

#: Characters of the reason why a call failed.
_REASON = 300


def surprises(reply: Reply | None, calls: Iterable[ToolCall], folder: str) -> list[str]:
    """Return warnings of calls that ended otherwise than the scenario says."""
    return [*_surprises(reply.requests, calls, folder, reply.source)] if reply else []


def _surprises(requests: Requests, calls: Iterable[ToolCall], folder: str, source: str) -> Iterator[str]:
    uses = [item for request in requests for item in request if isinstance(item, ToolUse)]
    for call in calls:
        at = next((n for n, use in enumerate(uses) if _is_of(use, call)), None)
        if at is None:  # a server's, or one that a misbehaviour has made up
            continue
        use, uses = uses[at], uses[at + 1 :]
        failed = call.status in ("failed", "denied") or bool(call.exit_code)
        if call.status == "failed" and not use.fails:
            reason = short(" ".join(call.output.split()), _REASON)
            yield f"{SCENARIO}{label(call, folder)}: {reason}; if that is meant, give the call `fails = true`: {source}"
        elif use.fails and not failed and call.status != "unfinished":
            yield f"{SCENARIO}{label(call, folder)} did not fail, and {source} says fails = true"
        yield from _surprises(use.requests, call.calls, folder, source)


def _is_of(use: ToolUse, call: ToolCall) -> bool:
    """Tell whether a call is this scripted one; engines leave out what is ours."""
    left_out = {*PURPOSES, *(["requests"] if call.name == "subagent" else [])}
    wanted, had = (
        {name: value for name, value in args.items() if name not in left_out} for args in (use.args, call.input)
    )
    return names().get(use.name, tools.named(use.name)) == call.name and wanted == had
