"""Writes a run as OpenTelemetry traces, in OTLP's JSON.

The `gen_ai` attributes are those of semantic conventions 1.41.0, the last version in which they stand
among the others; they are in development, and may change their names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pytest_kiro.export.story import Call, Story, Teller, ToldTurn
from pytest_kiro.records.plain import clean

SCHEMA = "https://opentelemetry.io/schemas/1.41.0"
#: None of those that the conventions name: Kiro's service chooses the model's provider itself.
_PROVIDER, _AGENT = "kiro", "kiro-cli"
_INTERNAL, _CLIENT = 1, 3
_OK, _ERROR = 1, 2
_PASSED = ("passed", "xfailed", "xpassed", "skipped", "not needed")


@dataclass(frozen=True)
class _Ids:
    """Makes identifiers that are the same whenever a run is exported."""

    run: str

    def trace(self, teller: Teller) -> str:
        return self._digest(teller.key)[:32]

    def span(self, *names: object) -> str:
        return self._digest(*names)[32:48]

    def _digest(self, *names: object) -> str:
        return hashlib.sha256("\0".join(map(str, (self.run, *names))).encode("utf-8", "surrogatepass")).hexdigest()


def traces(story: Story) -> dict[str, Any]:
    """Return the run as OTLP's TracesData: a trace for each test and wide fixture that ran turns."""
    ids = _Ids(story.run)
    spans = [span for teller in story.tellers for span in _spans(teller, story, ids)]
    resource = {"service.name": "pytest-kiro", "service.version": story.version or None, "pytest_kiro.run": story.run}
    scope = {"scope": {"name": "pytest_kiro"}, "spans": spans, "schemaUrl": SCHEMA}
    return {
        "resourceSpans": [
            {"resource": {"attributes": _attributes(resource)}, "scopeSpans": [scope], "schemaUrl": SCHEMA},
        ]
    }


def _spans(teller: Teller, story: Story, ids: _Ids) -> Iterator[dict[str, Any]]:
    trace, root = ids.trace(teller), ids.span(teller.key)
    clock = teller.started
    inner = []
    for number, turn in enumerate(teller.turns):
        begun = turn.started or clock
        ended = begun + timedelta(seconds=turn.record.duration or 0.0)
        clock = max(clock, ended)
        own = ids.span(teller.key, number)
        inner.append(_span(trace, own, root, _turn(turn, estimated=turn.started is None), (begun, ended)))
        inner += _calls(turn.calls, (trace, own), begun, ids)
    ended = max(clock, teller.started + timedelta(seconds=teller.duration))
    yield _span(trace, root, "", _test(teller, story, ids, ended), (teller.started, ended))
    yield from inner


def _span(
    trace: str, own: str, parent: str, told: Mapping[str, Any], times: tuple[datetime, datetime]
) -> dict[str, Any]:
    beginning, end = map(_nanoseconds, times)
    above = {"parentSpanId": parent} if parent else {}
    return {
        "traceId": trace,
        "spanId": own,
        **above,
        "startTimeUnixNano": beginning,
        "endTimeUnixNano": end,
        **told,
        "attributes": _attributes(told["attributes"]),
    }


def _test(teller: Teller, story: Story, ids: _Ids, ended: datetime) -> dict[str, Any]:
    """Tell of the test or fixture itself: its scores are evaluations, and what it looked at is linked."""
    passed = teller.outcome in _PASSED
    attributes = {
        "test.case.name": None if teller.wide else teller.name,
        "test.case.result.status": None if teller.wide or not teller.outcome else "pass" if passed else "fail",
        "pytest_kiro.fixture": teller.name if teller.wide else None,
        "pytest_kiro.outcome": teller.outcome or None,
        "pytest_kiro.infrastructure": teller.infrastructure or None,
        "pytest_kiro.attempt": teller.attempt,
        "pytest_kiro.trial": teller.trial,
        "pytest_kiro.variant": teller.variant,
        "pytest_kiro.params": _json(teller.params) if teller.params else None,
        "pytest_kiro.times": "estimated" if teller.estimated else None,
    }
    scores = [
        {
            "timeUnixNano": _nanoseconds(ended),
            "name": "gen_ai.evaluation.result",
            "attributes": _attributes({"gen_ai.evaluation.name": name, "gen_ai.evaluation.score.value": float(value)}),
        }
        for name, value in teller.scores.items()
    ]
    fixtures = [one for one in story.tellers if one.wide and one.instance in _instances(teller, one.name)]
    failed = bool(teller.outcome) and not passed and not teller.wide
    return {
        "name": teller.name,
        "kind": _INTERNAL,
        "attributes": attributes,
        "events": scores,
        "links": [{"traceId": ids.trace(one), "spanId": ids.span(one.key)} for one in fixtures],
        "status": _some(code=_ERROR, message=teller.failure or teller.outcome) if failed else {"code": _OK},
    }


def _instances(teller: Teller, name: str) -> list[tuple[str, int]]:
    return [(one.worker, one.number) for one in teller.looked_at if one.name == name]


def _turn(turn: ToldTurn, *, estimated: bool) -> dict[str, Any]:
    record, provenance = turn.record, turn.record.provenance
    completed = record.status == "completed"
    answer = {
        "role": "assistant",
        "parts": [{"type": "text", "content": message} for message in turn.messages],
        "finish_reason": "stop" if completed else "error",
    }
    agent = provenance.agent_asked or _AGENT
    attributes = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": _PROVIDER,
        "gen_ai.agent.name": agent,
        "gen_ai.agent.version": provenance.cli_version or None,
        "gen_ai.conversation.id": record.session_id,
        "gen_ai.request.model": provenance.model_asked,
        "gen_ai.response.model": provenance.model,
        "gen_ai.output.type": "text",
        "gen_ai.input.messages": _json([{"role": "user", "parts": [{"type": "text", "content": turn.prompt}]}]),
        "gen_ai.output.messages": _json([answer]),
        "error.type": None if completed else record.cause or record.status,
        "pytest_kiro.status": record.status,
        "pytest_kiro.infrastructure": record.infrastructure or None,
        "pytest_kiro.proof": record.proof,
        "pytest_kiro.engine": provenance.engine or None,
        "pytest_kiro.effort": provenance.effort,
        "pytest_kiro.credits": record.credits,
        "pytest_kiro.scripted": record.scripted or None,
        "pytest_kiro.conversation": record.conversation,
        "pytest_kiro.turn": record.number,
        "pytest_kiro.times": "estimated" if estimated else None,
    }
    status = {"code": _OK} if completed else _some(code=_ERROR, message=record.detail or record.status)
    return {"name": f"invoke_agent {agent}", "kind": _CLIENT, "attributes": attributes, "status": status}


def _calls(calls: Sequence[Call], above: tuple[str, str], begun: datetime, ids: _Ids) -> Iterator[dict[str, Any]]:
    """Yield a span for each call, one after another: an engine tells how long one took, if anything."""
    trace, parent = above
    for number, call in enumerate(calls):
        own, ended = ids.span(parent, number), begun + timedelta(seconds=call.duration or 0.0)
        failed = call.status != "completed"
        attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": call.name,
            "gen_ai.tool.type": "extension" if call.name.startswith("@") else "function",
            "gen_ai.tool.call.id": own,
            "gen_ai.tool.call.arguments": _json(dict(call.input)),
            "gen_ai.tool.call.result": call.output,
            "gen_ai.agent.name": call.agent or None,
            "error.type": call.status if failed else None,
            "process.exit.code": call.exit_code,
            "pytest_kiro.raw_name": call.raw_name,
            "pytest_kiro.times": "estimated",
        }
        told = {
            "name": f"execute_tool {call.name}",
            "kind": _INTERNAL,
            "attributes": attributes,
            "status": {"code": _ERROR, "message": call.status} if failed else {"code": _OK},
        }
        yield _span(trace, own, parent, told, (begun, ended))
        yield from _calls(call.calls, (trace, own), begun, ids)
        begun = ended


# -- OTLP's JSON


def _attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": name, "value": _value(value)} for name, value in values.items() if value is not None]


def _value(value: Any) -> dict[str, Any]:
    """Return a value as OTLP has it: 64 bits are a text."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": clean(str(value))}


def _nanoseconds(moment: datetime) -> str:
    whole = int(moment.timestamp())
    return str(whole * 10**9 + moment.microsecond * 1000)


def _json(value: Any) -> str:
    return json.dumps(clean(value), ensure_ascii=False)


def _some(**values: Any) -> dict[str, Any]:
    return {name: clean(value) for name, value in values.items() if value is not None}
