"""Reads engine V3's sessions: a folder each, with `session.json`, `messages.jsonl`, and what its sub-agents said.

The shapes were read from files that the agent of V3 wrote (1.0.411) and from its schema in V2's converter.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, Self

from pytest_kiro.kirocli.evidence import with_end
from pytest_kiro.kirocli.sessions import log, tools
from pytest_kiro.kirocli.sessions.agents import Child, Parent
from pytest_kiro.kirocli.sessions.log import Record, TurnRecords, Wanted
from pytest_kiro.kirocli.sessions.values import dig, dump, listed, load, moment, number, total, words
from pytest_kiro.turn.transcript import ToolCall, Transcript
from pytest_kiro.turn.warnings import Warnings

#: What a record may be, and how those begin that are mostly passed over: states, approvals, sub-agents' begin and end.
_KINDS = ("user", "assistant", "tool_call", "tool_result", "turn_start", "turn_end", "usage_summary", "tombstone")
_OTHERS = ("session_", "interaction_", "pending_", "sub_agent_")
#: Messages in the user's name that begin no turn.
_WITHIN = ("steer", "hook")
#: V3's modes by the agents of V2 that they stand for (read from V2's converter); others are agents' own names.
_MODES = {"vibe": "kiro_default", "quick-plan": "kiro_planner"}
#: Folders of a session, with files at any depth: large results, and what sub-agents said.
_OUTPUTS, _AGENTS = "tool-outputs", "sub-executions"
_OUTPUT = re.compile(rf"{_OUTPUTS}/([^\s/\"'<>|]+)")
_Inside = Mapping[tuple[str, str], Sequence[PurePosixPath]]


def read(files: Mapping[str, bytes], wanted: Wanted) -> Transcript | None:
    """Return the latest turn; see `sessions.read`."""
    paths = [PurePosixPath(path) for path in sorted(files)]
    folders = {path.parent for path in paths if path.name in ("session.json", "messages.jsonl")}
    inside = _inside(paths)
    sessions = [_Session(folder, files, inside) for folder in sorted(folders) if _AGENTS not in folder.parts]
    return log.latest_turn(sessions, wanted)


def _inside(paths: Iterable[PurePosixPath]) -> _Inside:
    """Return the files within sessions' folders, by session and folder."""
    found: dict[tuple[str, str], list[PurePosixPath]] = defaultdict(list)
    for path in paths:
        for at, part in enumerate(path.parts[:-1]):
            if part in (_OUTPUTS, _AGENTS):
                found[str(PurePosixPath(*path.parts[:at])), part].append(path)
    return found


class _Session(log.Session):
    def __init__(self, folder: PurePosixPath, files: Mapping[str, bytes], inside: _Inside) -> None:
        state = load(files.get(str(folder / "session.json"), b""))
        super().__init__(folder.name, folder / "messages.jsonl", state, files)
        self._outputs = _Outputs(inside.get((str(folder), _OUTPUTS), ()), files)
        self._agents = inside.get((str(folder), _AGENTS), ())
        self.folders = listed(self.state.get("workspacePaths")) or listed(self.state.get("rootPaths"))
        self.created = moment(self.state.get("createdAt"))
        self.changed = str(self.state.get("lastModifiedAt", ""))
        self.parent = words(self.state.get("parentSessionId"))
        self.is_agent = self.state.get("createdReason") == "subagent"
        self.model = words(self.state.get("modelId"))
        mode = words(self.state.get("agentMode"))
        self.agent = _MODES.get(mode, mode) if mode else None

    @property
    def turns(self) -> int:
        return sum(record.kind == "turn_end" for record in self.records)

    @cached_property
    def prompts(self) -> list[int]:
        # The first may be the start of the session itself (read from the program); in real files that one holds the
        # system prompt and comes last: it counts if a turn starts after it without a user's message.
        found, opening, running = [], None, False
        for index, record in enumerate(self.records):
            if record.kind == "session_start":
                opening = index
            elif record.kind == "user" and record.data.get("source") not in _WITHIN:
                if not (running and self._next[index] != "turn_start"):
                    found.append(index)
                opening = None
            elif record.kind == "turn_start":
                if opening is not None and not found:
                    found.append(opening)
                opening, running = None, True
            elif record.kind == "turn_end":
                running = False
        return found

    @cached_property
    def _next(self) -> list[str]:
        """What comes after each record: in public files the first turn goes on after a user's message."""
        found, following = [], "turn_start"
        for record in reversed(self.records):
            found.append(following)
            if record.kind not in ("user", "tombstone"):
                following = record.kind
        return found[::-1]

    def record(self, where: str, value: Any) -> Record | None:
        data = dig(value, "payload")
        kind = dig(data, "type")
        if not isinstance(kind, str) or not (kind in _KINDS or kind.startswith(_OTHERS)):
            return None
        return Record(where, kind, data, words(dig(value, "id")), moment(dig(value, "timestamp")))

    def text(self, record: Record) -> str:
        return "".join(tools.texts(record.data.get("content")))

    def said(self, records: Iterable[Record], warnings: Warnings) -> tuple[tuple[str, ...], dict[str, ToolCall]]:
        messages: dict[str, str] = {}
        calls: dict[str, ToolCall] = {}
        results: dict[str, Record] = {}  # of a call that was answered twice, the last
        rejected: set[str] = set()  # an approval is asked for, and refused, before the call itself is written
        for record in records:
            key = words(record.data.get("toolCallId"))
            if record.kind == "assistant" and record.data.get("operationType") in ("Say", "Print", None):
                messages[record.id or record.where] = self.text(record)
            elif record.kind == "tool_call" and key:
                calls[key] = _called(calls.get(key), record.data, rejected=key in rejected)
            elif record.kind == "tool_result" and key and key in calls:
                results[key] = record
            elif record.kind == "interaction_resolved" and key and _rejected(record.data):
                rejected.add(key)
                if key in calls:
                    calls[key] = replace(calls[key], status="denied")
            elif record.kind in ("tool_call", "tool_result"):
                warnings.add(f"{record.where}: a {record.kind} of no tool call of this turn")
        for key, record in results.items():
            calls[key] = self._answered(calls[key], key, record)
        return tuple(text for text in messages.values() if text), calls

    def _answered(self, call: ToolCall, key: str, record: Record) -> ToolCall:
        data = record.data
        content = self._outputs.whole(data.get("content"), key, record.where)
        ok, took = data.get("success") is True, number(data.get("durationMs"))
        call = tools.ended(call, tools.content(content), ok=ok, cancelled=call.status == "denied")
        return replace(call, duration=None if took is None else took / 1000)

    def is_over(self, turn: TurnRecords, before: int | None) -> bool:
        return "turn_end" in turn.kinds

    def continues(self, latest: Self, turn: TurnRecords, *, over: bool) -> bool:
        """Whether the turn goes on in this session. V2 does so after a compaction; V3 was not seen doing it.

        The evidence: no prompt and no start of a turn in it before an assistant's words, and no end of our turn yet.
        """
        return not self.is_agent and self.records[0].kind == "assistant" and not over

    def parents(self, records: Sequence[Record], ours: Mapping[str, ToolCall]) -> list[Parent]:
        _, calls = self.said(records, Warnings())
        starters = {key: call for key, call in calls.items() if tools.is_agent(call)}
        told: dict[str, list[str]] = defaultdict(list)
        until: dict[str, float] = {}
        for record in records:
            if (key := words(record.data.get("toolCallId"))) in starters:
                told[key].append(dump(record.data))
                if record.kind == "tool_result" and record.at is not None:
                    until[key] = record.at
        return [Parent(key, call, "".join(told[key]), key in ours, until.get(key)) for key, call in starters.items()]

    def children(
        self, chain: Sequence[Self], by_parent: Mapping[str, Sequence[Self]], warnings: Warnings, depth: int
    ) -> Iterator[Child]:
        """Yield the sub-agents; each has a file, named by its id."""
        for session, path in ((one, path) for one in chain for path in one._agents):
            if path.suffix == ".jsonl":
                records = session.read(path)
                _, calls = session.said(records, warnings)
                began = min((record.at for record in records if record.at is not None), default=None)
                prompt = next((self.text(record) for record in records if record.kind == "user"), "")
                # Newer files are `<id>.jsonl`, exported ones `<id>/messages.jsonl`.
                name = path.parent.name if path.stem == "messages" else path.stem
                yield Child(name, str(path), prompt, began, tuple(calls.values()))

    def with_end(self, transcript: Transcript, turn: TurnRecords, before: int | None) -> Transcript:
        """Add how the turn ended: a `turn_end` after its last start, of the same execution; and what it cost."""
        running: Any = None
        end: Record | None = None
        used: dict[str, Mapping[str, Any]] = {}
        for record in turn.records:
            execution = record.data.get("executionId")
            if record.kind == "turn_start":
                running, end = execution, None
            elif record.kind == "turn_end" and execution in (running, None):
                end = record
            elif record.kind == "usage_summary":
                used[str(execution)] = record.data  # the whole turn's, so a repeated one replaces it
            elif record.kind == "tombstone" and record.data.get("kind") == "checkpoint_revert":
                end = record._replace(data={"stopReason": "rewind"})
        metered = [entry for data in used.values() for entry in listed(data.get("promptTurnSummaries"))]
        known = [took for data in used.values() if (took := number(data.get("elapsedTime"))) is not None]
        duration = sum(known) / 1000 if known else _between(turn.records[0], end) if end else None
        transcript = replace(transcript, credits=total(metered, "usage"), duration=duration)
        if end is None or (before is not None and self.turns <= before):
            return transcript
        # The account of a turn has a status of its own; one that contradicts the end takes the proof away.
        statuses = [status for data in used.values() if (status := words(data.get("status")))]
        stop = words(end.data.get("stopReason")) or "unknown"  # no file that was seen is without one
        return with_end(transcript, stop, statuses[-1] if statuses else None)


class _Outputs:
    """The results that are in files of their own."""

    def __init__(self, paths: Sequence[PurePosixPath], files: Mapping[str, bytes]) -> None:
        self._paths, self._files = paths, files
        self._taken: dict[PurePosixPath, str] = {}

    def whole(self, content: Any, key: str, where: str) -> Any:
        """Return what stands in the file that a content names.

        It may be named by its call. A file is one result's, `where` that is: else many that name the largest would be
        read as many times.
        """
        if not self._paths or not isinstance(content, str):
            return content
        names = (name.rstrip(".,;:)]}") for name in _OUTPUT.findall(content))
        path = next((self._by_name[name] for name in names if name in self._by_name), self._by_stem.get(key))
        if path is None or self._taken.setdefault(path, where) != where:
            return content
        return self._files[str(path)].decode("utf-8", "replace")

    @cached_property
    def _by_name(self) -> Mapping[str, PurePosixPath]:
        return {path.name: path for path in reversed(self._paths)}

    @cached_property
    def _by_stem(self) -> Mapping[str, PurePosixPath]:
        return {path.stem: path for path in reversed(self._paths)}


def _called(known: ToolCall | None, data: Mapping[str, Any], *, rejected: bool) -> ToolCall:
    """Return a call from its record. Records are rewritten as the call proceeds; a result may have come first."""
    call = tools.begun_by_acp(data.get("toolName"), data.get("args"), data)
    if known is not None and known.status != "unfinished":
        call = replace(known, name=call.name, raw_name=call.raw_name, input=call.input)
    status = data.get("status")
    if status == "denied" or rejected:
        return replace(call, status="denied")
    if status in ("completed", "failed") and call.status == "unfinished":
        return replace(call, status=status)
    return call


def _rejected(data: Mapping[str, Any]) -> bool:
    return "reject" in str(data.get("selectedOption")) or data.get("outcome") == "cancelled"


def _between(first: Record, last: Record) -> float | None:
    return last.at - first.at if first.at is not None and last.at is not None and last.at >= first.at else None
