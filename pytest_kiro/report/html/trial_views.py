"""Makes of a test's record what a page shows of a trial."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_kiro.records.phases import PhaseRecord
from pytest_kiro.records.tests import TestRecord
from pytest_kiro.records.turns import ToolCallRecord, TurnRecord
from pytest_kiro.report.html.diffs import FileDiff, files_of
from pytest_kiro.report.html.evidence import Evidence, Executed, TurnEvidence
from pytest_kiro.report.html.player import last_screen
from pytest_kiro.report.html.timeline import Item, Timeline, call_times, drawn, silences
from pytest_kiro.turn.shown import short

_LANES = ("turns", "said", "calls", "files", "execs", "silent", "assert")
#: Characters that are shown of a call's input and output; lines of a transcript.
_SHOWN, _LINES = 4_000, 300
_LABEL = 90


@dataclass(frozen=True)
class CallView:
    """One tool call: `what` is its command or path."""

    record: ToolCallRecord
    ref: str
    depth: int
    what: str
    arguments: str
    output: str
    at: float
    known: bool


@dataclass(frozen=True)
class TurnView:
    """One turn; `key` is how a page finds its terminal, `began` is in seconds since the trial began."""

    record: TurnRecord
    key: str
    title: str
    began: float
    calls: tuple[CallView, ...]
    changed: tuple[tuple[str, str], ...]
    transcript: str
    left_out: int
    evidence: TurnEvidence
    fixture: str = ""

    @property
    def cast(self) -> dict[str, Any] | None:
        """Its terminal as the page's script reads it."""
        cast = self.evidence.cast
        if cast is None or not cast.events:
            return None
        events = [[time, "o", data] for time, data in cast.events]
        return {"width": cast.width, "height": cast.height, "events": events, "note": cast.note}

    @property
    def last_screen(self) -> str:
        """What its terminal shows at the end."""
        return last_screen(self.cast) if self.cast else ""

    @property
    def markers(self) -> list[dict[str, Any]]:
        """What its terminal can be led to."""
        return [
            {"at": round(call.at, 2), "label": short(f"{call.record.name} {call.what}", _LABEL), "kind": "call"}
            for call in self.calls
        ]


@dataclass(frozen=True)
class TrialView:
    """One trial, or a test without trials: how it ended, and all that is known of it."""

    id: str
    name: str
    number: int
    planned: int
    record: TestRecord
    outcome: str
    why: str
    turns: tuple[TurnView, ...]
    diffs: tuple[FileDiff, ...]
    executed: tuple[tuple[Executed, str], ...]
    failures: tuple[PhaseRecord, ...]
    evidence: Evidence
    timeline: Timeline | None

    @property
    def seconds(self) -> float:
        """How long its turns took."""
        return sum(turn.record.duration or 0.0 for turn in self.turns)

    @property
    def calls(self) -> int:
        """How many calls its turns made."""
        return sum(len(turn.record.tool_calls) for turn in self.turns)

    @property
    def payload(self) -> dict[str, Any]:
        """What only the page's script shows: terminals, markers, and the record as it is."""
        return {
            "casts": {turn.key: turn.cast for turn in self.turns if turn.cast is not None},
            "markers": {turn.key: turn.markers for turn in self.turns if turn.cast is not None},
            "raw": self.record.to_json(file=True),
        }


def trial_view(
    record: TestRecord, shared: Iterable[tuple[str, TurnRecord]], evidence: Evidence, *, id: str, outcome: str, why: str
) -> TrialView:
    """Return what is shown of a test; `shared` are the turns of fixtures that it looked at, with their names."""
    failures = tuple(phase for phase in record.phases if phase.outcome == "failed")
    turns = tuple(_turns([*shared, *(("", turn) for turn in record.turns)], evidence, id))
    executed = tuple((one, f"{id}/exec{number}") for number, one in enumerate(evidence.executed, 1))
    message = "\n".join(phase.message for phase in failures)
    return TrialView(
        id=id,
        name=record.group,
        number=record.trial.number if record.trial else 1,
        planned=record.trial.planned if record.trial else 1,
        record=record,
        outcome=outcome,
        why=why,
        turns=turns,
        diffs=tuple(files_of(evidence.diffs, message)),
        executed=executed,
        failures=failures,
        evidence=evidence,
        timeline=drawn(list(_items(turns, executed, failures, id)), _LANES),
    )


def _turns(turns: Sequence[tuple[str, TurnRecord]], evidence: Evidence, id: str) -> Iterator[TurnView]:
    now = 0.0
    for position, (fixture, record) in enumerate(turns, 1):
        own = evidence.shared.get(fixture, {}) if fixture else evidence.turns
        known = own.get((record.conversation, record.number or 0), TurnEvidence())
        began = now if fixture or known.began is None else known.began
        now = max(now, began + (record.duration or 0.0))
        several = len({turn.conversation for _, turn in turns}) > 1
        named = f"conversation {record.conversation}, " if several else ""
        number = f"turn {record.number}" if record.number else "a turn that was broken off"
        lines = record.output.splitlines()
        yield TurnView(
            record=record,
            key=str(position),
            title=f"{fixture + ', ' if fixture else ''}{named}{number}",
            began=began,
            calls=tuple(_calls(record, known, f"{id}/{position}")),
            changed=tuple(_changed(record)),
            transcript="\n".join(lines[-_LINES:]),
            left_out=max(0, len(lines) - _LINES),
            evidence=known,
            fixture=fixture,
        )


def _calls(record: TurnRecord, evidence: TurnEvidence, id: str) -> Iterator[CallView]:
    own = record.tool_calls
    times = call_times(own, evidence.cast, record.duration or 0.0)
    number = 0
    for call, (at, known) in zip(own, times, strict=True):
        for depth, inner in _walk(call):
            number += 1
            yield _call(inner, f"{id}.{number}", depth, at, known and not depth)


def _walk(call: ToolCallRecord, depth: int = 0) -> Iterator[tuple[int, ToolCallRecord]]:
    yield depth, call
    for inner in call.calls:
        yield from _walk(inner, depth + 1)


def _call(record: ToolCallRecord, ref: str, depth: int, at: float, known: bool) -> CallView:
    given = record.input
    several = given.get("operations")
    paths = [str(one.get("path", "")) for one in several if isinstance(one, dict)] if isinstance(several, list) else []
    words = [given.get("command") if record.name == "shell" else None, given.get("path"), ", ".join(paths)]
    words += [given.get("pattern"), next((value for value in given.values() if isinstance(value, str)), "")]
    what = next((word for word in words if isinstance(word, str) and word), "")
    return CallView(
        record=record,
        ref=ref,
        depth=depth,
        what=short(" ".join(what.split()), 160),
        arguments=short(_arguments(given), _SHOWN),
        output=short(record.output, _SHOWN),
        at=at,
        known=known,
    )


def _arguments(given: dict[str, Any]) -> str:
    if list(given) == ["command"]:
        return str(given["command"])
    return "\n".join(
        f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in given.items()
    )


def _changed(record: TurnRecord) -> Iterator[tuple[str, str]]:
    if record.changes is not None:
        for kind in ("added", "modified", "deleted"):
            yield from ((kind, path) for path in getattr(record.changes, kind))


def _items(
    turns: Sequence[TurnView], executed: Sequence[tuple[Executed, str]], failures: Sequence[PhaseRecord], id: str
) -> Iterator[Item]:
    now = 0.0
    for turn in turns:
        yield from _turn_items(turn, id)
        now = max(now, turn.began + (turn.record.duration or 0.0))
    for one, ref in executed:
        began = now if one.began is None else one.began
        end = began + one.duration
        kind = "ok" if one.exit_code == 0 else "bad"
        label = short(f"exec {one.command}: exit code {one.exit_code}", _LABEL)
        yield Item("execs", kind, label, began, end, ref)
        now = max(now, end)
    for phase in failures[:1] if turns or executed else ():
        label = short(phase.message.partition("\n")[0], 2 * _LABEL)
        yield Item("assert", "bad", f"{phase.name} failed: {label}", now, now, f"{id}/why")


def _turn_items(turn: TurnView, id: str) -> Iterator[Item]:
    record, began, ref = turn.record, turn.began, f"{id}/turn{turn.key}"
    end = began + (record.duration or 0.0)
    kind = "ok" if record.status == "completed" else "bad"
    yield Item("turns", kind, f"{turn.title}: {short(record.prompt, _LABEL)}", began, end, ref, turn.key, 0.0)
    for call in turn.calls:
        if call.depth:
            continue
        kind = "ok" if call.record.status == "completed" and not call.record.exit_code else "bad"
        label = f"{call.record.name} {short(call.what, _LABEL)}" + ("" if call.known else " (its time is not known)")
        at = began + call.at
        until = min(end, at + (call.record.duration or 0.0)) if end > at else at
        kind += "" if call.known else " unsure"
        yield Item("calls", kind, label, at, until, call.ref, turn.key, call.at)
    for start, stop in silences(turn.evidence.cast):
        label = f"nothing was printed for {stop - start:.0f} s"
        yield Item("silent", "quiet", label, began + start, began + stop, ref, turn.key, start)
    if record.text:
        label = f"said: {short(' '.join(record.text.split()), _LABEL)}"
        yield Item("said", "ok", label, end, end, ref, turn.key, record.duration)
    if turn.changed:
        label = "changed " + short(", ".join(path for _, path in turn.changed), _LABEL)
        yield Item("files", "ok", label, end, end, f"{ref}/files", turn.key, record.duration)
