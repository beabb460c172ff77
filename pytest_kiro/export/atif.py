"""Writes conversations as trajectories of ATIF 1.7, the format of Harbor's agents.

The format is Harbor's RFC 0001; tests read what is written here with its published models.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from pytest_kiro.export.story import Call, Story, Teller, ToldTurn
from pytest_kiro.records.plain import clean
from pytest_kiro.records.turns import credits_of
from pytest_kiro.turn.shown import without_folders

VERSION = "ATIF-v1.7"
_AGENT = "kiro-cli"
_ORDER = "Nothing tells what was said between the calls of a turn: all but the last message stands before them."
_CUT = "Long texts are cut, and of the assistant's messages the last one is here: artifacts have the rest."


def trajectories(story: Story) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a name for each conversation, and its trajectory."""
    for teller in story.tellers:
        for number, turns in teller.conversations.items():
            yield _name(teller, number), clean(_trajectory(story, teller, number, turns))


def _name(teller: Teller, number: int) -> str:
    """Return a safe file's name, another one for each conversation."""
    readable = (
        re.sub(r"[^\w.=-]+", "-", without_folders(teller.name)).strip(".-").encode()[:100].decode(errors="ignore")
    )
    digest = hashlib.sha256(teller.key.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{readable or 'test'}--{digest}-conversation-{number}.json"


def _trajectory(story: Story, teller: Teller, number: int, turns: Sequence[ToldTurn]) -> dict[str, Any]:
    first, agents = turns[0].record, dict[str, dict[str, Any]]()
    steps = [step for place, turn in enumerate(turns, 1) for step in _steps(turn, place, agents)]
    for place, step in enumerate(steps, 1):
        step["step_id"] = place
    session = next((turn.record.session_id for turn in turns if turn.record.session_id), None)
    records = [turn.record for turn in turns]
    told = {
        "run": story.run,
        "fixture" if teller.wide else "test": teller.name,
        "outcome": teller.outcome,
        "failure": teller.failure,
        "attempt": teller.attempt,
        "trial": teller.trial,
        "variant": teller.variant,
        "params": dict(teller.params),
        "scores": dict(teller.scores),
        "conversation": number,
        "scripted": any(record.scripted for record in records),
    }
    spent = {"credits": credits_of(records), "seconds": sum(record.duration or 0.0 for record in records)}
    whole = all(turn.whole is not None for turn in turns)
    notes = [
        *([_ORDER] if any(turn.calls and not _ordered(turn) for turn in turns) else []),
        *([] if whole else [_CUT]),
    ]
    return _some(
        schema_version=VERSION,
        session_id=session or story.run,
        trajectory_id=f"{story.run}/{teller.key}/{number}",
        agent=_some(
            name=_AGENT,
            version=first.provenance.cli_version or "unknown",
            model_name=first.provenance.model or first.provenance.model_asked,
            extra=_some(engine=first.provenance.engine or None, agent=first.provenance.agent_asked),
        ),
        steps=steps,
        notes=" ".join(notes) or None,
        final_metrics={"total_steps": len(steps), "extra": _some(**spent)},
        extra={"pytest_kiro": _some(**told)},
        subagent_trajectories=list(agents.values()) or None,
    )


def _steps(turn: ToldTurn, place: int, agents: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the prompt, what was done, and what was said; sub-agents go into `agents`."""
    record, messages = turn.record, turn.messages
    when = turn.started.isoformat() if turn.started else None
    yield _some(source="user", message=turn.prompt, timestamp=when)
    answer: dict[str, Any] = {"source": "agent"}
    if turn.calls:
        said = (
            {"said": turn.whole.agents}
            if turn.whole
            else {"said": {name: (one,) for name, one in record.agents.items()}}
        )
        done = 0
        for texts, calls in _requests(turn):
            acts = _acts(calls, f"turn-{place}", agents, first=done + 1, **said)
            yield _some(**answer, message="\n\n".join(texts), **acts)
            done += len(calls)
            messages = messages[len(texts) :]
    ending = {
        "status": record.status,
        "cause": record.cause,
        "infrastructure": record.infrastructure or None,
        "detail": record.detail or None,
        "proof": record.proof,
        "exit_code": record.exit_code,
        "retried": record.retried or None,
        "warnings": list(record.warnings) or None,
    }
    spent = _some(credits=record.credits, seconds=record.duration)
    yield _some(
        **answer,
        model_name=record.provenance.model,
        reasoning_effort=record.provenance.effort,
        message="\n\n".join(messages),
        metrics={"extra": spent} if spent else None,
        extra=_some(**ending),
    )


def _ordered(turn: ToldTurn) -> bool:
    """Whether it is known what was said before each call."""
    return turn.whole is not None and all(call.after is not None for call in turn.whole.tool_calls)


def _requests(turn: ToldTurn) -> Iterator[tuple[Sequence[str], Sequence[Call]]]:
    """Yield messages with the calls that follow them."""
    if turn.whole is None or not _ordered(turn):
        yield turn.messages[:-1], turn.calls
        return
    told = 0
    for after, calls in groupby(turn.whole.tool_calls, key=lambda call: call.after or 0):
        yield turn.messages[told:after], list(calls)
        told = max(told, after)


def _acts(
    calls: Sequence[Call],
    name: str,
    agents: dict[str, dict[str, Any]],
    said: Mapping[str, Sequence[str]],
    *,
    first: int = 1,
) -> dict[str, Any]:
    """Return tool calls and what they brought."""
    made, brought = [], []
    for number, call in enumerate(calls, first):
        own = f"{name}-call-{number}"
        made.append(
            {
                "tool_call_id": own,
                "function_name": call.name,
                "arguments": dict(call.input),
                "extra": _some(raw_name=call.raw_name, agent=call.agent or None),
            }
        )
        refs = [{"trajectory_id": own}] if call.calls else None
        if call.calls:
            agents[own] = _sub_agent(call, own, agents, said)
        ending = _some(status=call.status, exit_code=call.exit_code, seconds=call.duration)
        brought.append(_some(source_call_id=own, content=call.output, subagent_trajectory_ref=refs, extra=ending))
    return {"tool_calls": made, "observation": {"results": brought}}


def _sub_agent(
    call: Call, own: str, agents: dict[str, dict[str, Any]], said: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Return the trajectory of what a call has started; deeper ones stand beside it."""
    name = next((inner.agent for inner in call.calls if inner.agent), "")
    asked = call.input.get("prompt") or call.input.get("task") or ""
    steps = [
        {"step_id": 1, "source": "user", "message": asked if isinstance(asked, str) else str(asked)},
        {"step_id": 2, "source": "agent", "message": "", **_acts(call.calls, own, agents, said)},
        {"step_id": 3, "source": "agent", "message": "\n\n".join(said.get(name, ())[-1:])},
    ]
    return {
        "schema_version": VERSION,
        "trajectory_id": own,
        "agent": {"name": name or "sub-agent", "version": "unknown"},
        "steps": steps,
    }


def _some(**values: Any) -> dict[str, Any]:
    """Return what is known."""
    return {name: value for name, value in values.items() if value is not None}
