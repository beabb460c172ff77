"""What a run keeps of a turn, as plain values: little for the summary, and all that `--kiro-results` tells."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pytest_kiro.records.plain import clean, cut, cut_values

if TYPE_CHECKING:
    from pytest_kiro.agent.bench import Conversing
    from pytest_kiro.secrecy.redaction import Secrets
    from pytest_kiro.turn.transcript import ToolCall
    from pytest_kiro.turn.turn import Turn

#: Characters that are kept: of a prompt, an answer and an output; of a tool call's input and output; of a sentence.
_TEXT, _TOOL, _SENTENCE = 65_536, 8_192, 4_096
#: How many tool calls, changed paths and warnings are kept of a turn, and how deep sub-agents may be nested.
_CALLS, _PATHS, _WARNINGS, _DEEP = 1_000, 1_000, 100, 10
BROKEN_OFF = "broken off"


def begun(
    conversation: Conversing, prompt: str, *, owner: int, attempt: int, full: bool, hide: Secrets
) -> dict[str, Any]:
    """Return the record of a turn that has begun.

    `owner` tells owners of one process apart, of which several may have one name; `full` has all in it that
    `--kiro-results` tells.
    """
    bench, owned = conversation.bench, conversation.owner
    record: dict[str, Any] = {
        "status": BROKEN_OFF,
        "kind": "",
        "infrastructure": False,
        "scripted": bench.scripted,
        "stand_in": bench.installation.scripted,
        "version": bench.installation.version,
        "login": hide(bench.identity.described),
        "fixture": owned.name if owned.wide else None,
        "name": owned.name,
        "worker": bench.settings.worker,
        "credits": None,
        "retried": False,
    }
    if full:
        number = owned.conversations.index(conversation) + 1
        about = {"conversation": number, "engine": bench.engine.name, **_cut("prompt", hide(prompt))}
        # JSON, since what xdist sends knows less than Python: no lone surrogates, no great numbers.
        record |= {"owner": owner, "attempt": attempt, "file": str(owned.file)}
        record["full"] = json.dumps(clean(about))
    return record


def ended(record: dict[str, Any], turn: Turn, hide: Secrets) -> None:
    """Put into a record what became of its turn."""
    infrastructure = turn.cause is not None and turn.cause.infrastructure
    record.update(status=turn.status, kind=turn.kind, infrastructure=infrastructure, credits=turn.credits)
    if "full" in record:
        record["full"] = json.dumps(clean({**json.loads(record["full"]), **_about(turn, hide)}))


def _about(turn: Turn, hide: Secrets) -> dict[str, Any]:
    calls, calls_left_out = _calls(turn.tool_calls, hide)
    return {
        "number": turn.number,
        "cause": None if turn.cause is None else str(turn.cause),
        "detail": cut(hide(turn.detail), _SENTENCE)[0],
        "proof": turn.proof,
        "exit_code": turn.exit_code,
        "duration": turn.duration,
        "first_output_after": turn.first_output_after,
        "model": turn.model,
        "session_id": turn.session_id,
        "changes": _changes(turn),
        "warnings": [cut(hide(warning), _SENTENCE)[0] for warning in turn.warnings[:_WARNINGS]],
        "truncated": turn.truncated,
        "tool_calls": calls,
        "tool_calls_left_out": calls_left_out,
        **_cut("text", hide(turn.text)),
        **_cut("output", hide(turn.output)),
        **_cut("diagnostics", hide(turn.diagnostics)),
    }


def _cut(name: str, text: str) -> dict[str, Any]:
    kept, left_out = cut(text, _TEXT)
    return {name: kept, f"{name}_left_out": left_out}


def _changes(turn: Turn) -> dict[str, Any] | None:
    if turn.known_changes is None:
        return None
    kinds = {name: sorted(getattr(turn.known_changes, name)) for name in ("added", "modified", "deleted")}
    left_out = sum(max(0, len(paths) - _PATHS) for paths in kinds.values())
    return {**{name: paths[:_PATHS] for name, paths in kinds.items()}, "left_out": left_out}


def _calls(calls: Iterable[ToolCall], hide: Secrets, depth: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Return calls as they are told, and how many are left out."""
    several = list(calls)
    kept = [] if depth >= _DEEP else several[:_CALLS]
    return [_call(call, hide, depth) for call in kept], len(several) - len(kept)


def _call(call: ToolCall, hide: Secrets, depth: int) -> dict[str, Any]:
    given, input_left_out = cut_values(hide.within(call.input), _TOOL)
    output, output_left_out = cut(hide(call.output), _TOOL)
    inner, inner_left_out = _calls(call.calls, hide, depth + 1)
    return {
        "name": call.name,
        "raw_name": call.raw_name,
        "status": call.status,
        "exit_code": call.exit_code,
        "duration": call.duration,
        "input": given,
        "input_left_out": input_left_out,
        "output": output,
        "output_left_out": output_left_out,
        "calls": inner,
        "calls_left_out": inner_left_out,
    }


def credits_of(turns: Sequence[Mapping[str, Any]]) -> float | None:
    """Add up what turns cost; None where nothing was metered.

    >>> credits_of([{"credits": 0.1}, {"credits": 0.2}, {"credits": None}])
    0.3
    """
    metered = [turn["credits"] for turn in turns if turn.get("credits") is not None]
    return round(sum(metered), 6) if metered else None
