"""Writes a run as one JSON text a turn, for notebooks: `pandas.read_json(file, lines=True)`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pytest_kiro.export.story import Call, Story, ToldTurn
from pytest_kiro.records.plain import clean
from pytest_kiro.records.turns import ToolCallRecord


def rows(story: Story) -> Iterator[dict[str, Any]]:
    """Yield each turn: what the results file has of it, and before that whose turn it is."""
    for teller in story.tellers:
        about = {
            "run": story.run,
            "test": teller.name,
            "fixture": teller.wide,
            "test_outcome": teller.outcome,
            "test_infrastructure": teller.infrastructure,
            "trial": teller.trial,
            "variant": teller.variant,
            "params": dict(teller.params),
            "scores": dict(teller.scores),
        }
        for turn in teller.turns:
            record = turn.record.to_json(file=True) | {"attempt": teller.attempt}
            started = turn.started.isoformat() if turn.started else None
            yield clean({**about, "started": started, "messages": list(turn.messages), **record, **_whole(turn)})


def _whole(turn: ToldTurn) -> dict[str, Any]:
    """Return what artifacts have in full, in the results file's words."""
    if turn.whole is None:
        return {}
    texts = {name: getattr(turn.whole, name) for name in ("prompt", "text", "output", "diagnostics")}
    calls = [one.to_json(file=True) for one in _records(turn.whole.tool_calls)]
    uncut = {f"{name}_left_out": 0 for name in (*texts, "tool_calls")}
    return {**texts, "tool_calls": calls, **uncut}


def _records(calls: Sequence[Call]) -> tuple[ToolCallRecord, ...]:
    return tuple(
        ToolCallRecord(**{**vars(call), "input": dict(call.input), "calls": _records(call.calls)}) for call in calls
    )
