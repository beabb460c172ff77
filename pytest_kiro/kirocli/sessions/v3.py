"""Reads engine V3's sessions: a folder each, with `session.json`, `messages.jsonl`, and what its sub-agents said.

The shapes were read from files that the agent of V3 wrote (1.0.411) and from its schema in V2's converter.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import cached_property
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, Self

from pytest_kiro.kirocli.evidence import UNANSWERED, with_end
from pytest_kiro.kirocli.sessions import billing, log, tools
from pytest_kiro.kirocli.sessions import v3_parts as parts
from pytest_kiro.kirocli.sessions.agents import Child, Parent
from pytest_kiro.kirocli.sessions.log import Record, TurnRecords, Wanted
from pytest_kiro.kirocli.sessions.values import dig, dump, listed, load, moment, number, words
from pytest_kiro.turn.transcript import ToolCall, Transcript
from pytest_kiro.turn.warnings import Warnings

#: What a record may be, and how those begin that are mostly passed over: states, approvals, sub-agents' begin and end.
_KINDS = ("user", "assistant", "tool_call", "tool_result", "turn_start", "turn_end", "usage_summary", "tombstone")
_OTHERS = (
    *("session_", "interaction_", "pending_", "sub_agent_", "system", "agent_note", "mode_change", "error"),
    *("tool_revert", "steering_inclusion", "ContextualHookInvoked"),
)
#: How the id of a result ends that stands in for one that never came.
_SYNTHETIC = "-result-synthetic"
#: V3's modes by the agents of V2 that they stand for (read from V2's converter); others are agents' own names.
#: How a state's names end that say whether a feature is on (read from a session's metadata), and how many are taken.
_SWITCH, _SWITCHES = "Enabled", 100
_MODES = {"vibe": "kiro_default", "quick-plan": "kiro_planner"}
#: The folder of a session that has what sub-agents said, at any depth; that of large results is beside it.
_AGENTS = "sub-executions"
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
            if part in (parts.OUTPUTS, _AGENTS):
                found[str(PurePosixPath(*path.parts[:at])), part].append(path)
    return found


class _Session(log.Session):
    def __init__(self, folder: PurePosixPath, files: Mapping[str, bytes], inside: _Inside) -> None:
        state = load(files.get(str(folder / "session.json"), b""))
        super().__init__(folder.name, folder / "messages.jsonl", state, files)
        self._outputs = parts.Outputs(inside.get((str(folder), parts.OUTPUTS), ()), files)
        self._agents = inside.get((str(folder), _AGENTS), ())
        self.folders = listed(self.state.get("workspacePaths")) or listed(self.state.get("rootPaths"))
        self.created = moment(self.state.get("createdAt"))
        self.changed = str(self.state.get("lastModifiedAt", ""))
        roots = (words(self.state.get(key)) for key in ("parentSessionId", "rootConversationId"))
        self.parent = next((root for root in roots if root not in (None, self.id)), None)
        self._node = tools.node(dig(self.state, "_meta", "kiro", "workflow"))
        self.is_agent = self.state.get("createdReason") == "subagent" or self._node is not None
        self.model = words(self.state.get("modelId"))
        self.effort = words(self.state.get("effortLevel"))
        switches = (
            name.removesuffix(_SWITCH) for name, on in self.state.items() if on is True and name.endswith(_SWITCH)
        )
        self.features = tuple(sorted(islice(switches, _SWITCHES)))
        mode = words(self.state.get("agentMode"))
        self.agent = _MODES.get(mode, mode) if mode else None

    @property
    def name(self) -> str:
        return self._node or super().name

    @cached_property
    def _ids(self) -> set[str]:
        return {record.id for record in self.records if record.id is not None}

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
            elif record.kind == "user" and not parts.is_within(record.data):
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

    def said(self, records: Sequence[Record], warnings: Warnings) -> tuple[tuple[str, ...], dict[str, ToolCall]]:
        messages: dict[str, str] = {}
        calls: dict[str, ToolCall] = {}
        begun: dict[str, int] = {}  # after so many messages, of which some may turn out to be empty
        results: dict[str, Record] = {}  # of a call that was answered twice, the last
        rejected: set[str] = set()  # an approval is asked for, and refused, before the call itself is written
        for record in parts.effective(records, self._ids, warnings):
            key = words(record.data.get("toolCallId"))
            if record.kind == "assistant" and record.data.get("operationType") in ("Say", "Print", None):
                messages[record.id or record.where] = self.text(record)
            elif record.kind == "tool_call" and key:
                begun.setdefault(key, len(messages))
                calls[key] = parts.called(calls.get(key), record.data, rejected=key in rejected)
            elif record.kind == "tool_result" and key and key in calls:
                results[key] = record
            elif record.kind == "interaction_resolved" and key and parts.is_rejected(record.data):
                rejected.add(key)
                if key in calls:
                    calls[key] = replace(calls[key], status="denied")
            elif record.kind in ("tool_call", "tool_result"):
                warnings.add(f"{record.where}: a {record.kind} of no tool call of this turn")
        for key, record in results.items():
            calls[key] = self._answered(calls[key], key, record)
        texts = list(messages.values())
        for key, at in begun.items():
            calls[key] = replace(calls[key], after=sum(map(bool, texts[:at])))
        return tuple(filter(None, texts)), calls

    def _answered(self, call: ToolCall, key: str, record: Record) -> ToolCall:
        data = record.data
        content = self._outputs.whole(data.get("content"), key, record.where)
        ok, took = data.get("success") is True, number(data.get("durationMs"))
        interrupted = not ok and (record.id or "").endswith(_SYNTHETIC)
        cancelled = call.status == "denied"
        call = tools.ended(call, tools.content(content), ok=ok, cancelled=cancelled, interrupted=interrupted)
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
        self,
        chain: Sequence[Self],
        by_parent: Mapping[str, Sequence[Self]],
        warnings: Warnings,
        *,
        depth: int,
        since: float | None,
    ) -> Iterator[Child]:
        """Yield the sub-agents: each has a file, named by its id, or a session of its own."""
        told = parts.started(record for one in chain for record in one.records)
        for session, path in ((one, path) for one in chain for path in one._agents):
            if path.suffix == ".jsonl":
                # Newer files are `<id>.jsonl`, exported ones `<id>/messages.jsonl`.
                name = path.parent.name if path.stem == "messages" else path.stem
                yield session._logged(path, name, told.pop(name, parts.Started()), warnings)
        others = [other for one in chain for other in by_parent.get(one.id, ())]
        known = {parts.identity(record) for one in chain for record in one.records} if others else set()
        for other in others:
            start = told.pop(other.id, parts.Started())
            first = self.text(other.records[other.prompts[0]]) if other.prompts else ""
            # A fork begins with what its parent has said.
            own = [one for one in other.records if other.parent is None or parts.identity(one) not in known]
            warnings += parts.waiting(own)
            yield other.child(first or start.prompt, own, by_parent, warnings, depth=depth)
        for name, start in told.items():
            if since is None or start.at is None or start.at >= since:
                agent = start.name or name
                warnings.add(f"{start.where}: the records of {agent} are not there, so what it did is not known")
                yield Child(name, start.where, start.prompt, start.at, (), agent, {agent: start.answers})

    def _logged(self, path: PurePosixPath, name: str, start: parts.Started, warnings: Warnings) -> Child:
        """Return a sub-agent that has a file beside the session's."""
        records = self.read(path)
        warnings += parts.waiting(records)
        messages, calls = self.said(records, warnings)
        began = min((record.at for record in records if record.at is not None), default=None)
        prompt = next((self.text(record) for record in records if record.kind == "user"), start.prompt)
        agent = start.name or name
        said = {agent: messages or start.answers}
        return Child(name, str(path), prompt, began, tuple(calls.values()), agent, said)

    def adopts(self, other: Self, turn: TurnRecords) -> bool:
        """Whether a session is a node of our turn's workflow."""
        since = turn.records[0].at if turn.records else None
        begun = since is not None and other.created is not None and other.created >= since
        return begun and other._node is not None and other.folders == self.folders and other is not self

    def _steering(self) -> Iterator[str]:
        """Yield the steering files that the session's start lists; what an entry looks like is a guess."""
        for record in self.records:
            if record.kind == "session_start":
                for entry in listed(record.data.get("steeringDocuments")):
                    named = (dig(entry, key) for key in ("path", "uri", "name", "displayName"))
                    if name := next(filter(None, map(words, (entry, *named))), None):
                        yield name

    def with_end(self, transcript: Transcript, turn: TurnRecords, before: int | None) -> Transcript:
        """Add how the turn ended, with what its records say of it; a question may have no answer."""
        transcript = self._ended(transcript, turn, before)
        told = dict.fromkeys(filter(None, (transcript.failure, *parts.troubles(turn.records))))
        if not transcript.finished and told:
            transcript = replace(transcript, failure="; ".join(told))
        if (asked := parts.unanswered(turn.records)) is None:
            return transcript
        if transcript.end_reason in (None, "Cancelled"):
            return replace(transcript, end_reason=UNANSWERED, failure=parts.question(asked))
        return replace(transcript, warnings=tuple(Warnings([*transcript.warnings, *parts.waiting(turn.records)])))

    def _ended(self, transcript: Transcript, turn: TurnRecords, before: int | None) -> Transcript:
        """Add how the turn ended: a `turn_end` after its last start, of the same execution."""
        running: Any = None
        end: Record | None = None
        for record in turn.records:
            execution = record.data.get("executionId")
            if record.kind == "turn_start":
                running, end = execution, None
            elif record.kind == "turn_end" and execution in (running, None):
                end = record
            elif record.kind == "tombstone" and record.data.get("kind") == "checkpoint_revert":
                end = record._replace(data={"stopReason": "rewind"})
        summaries = billing.Summaries(turn.records)
        known = [took for told in summaries.all("elapsedTime") if (took := number(told)) is not None]
        duration = sum(known) / 1000 if known else parts.between(turn.records[0], end) if end else None
        transcript = replace(transcript, duration=duration, steering=tuple(self._steering()))
        if end is None or (before is not None and self.turns <= before):
            return transcript
        # The account of a turn has a status of its own; one that contradicts the end takes the proof away.
        statuses = [status for told in summaries.all("status") if (status := words(told))]
        stop = words(end.data.get("stopReason")) or "unknown"  # no file that was seen is without one
        return with_end(transcript, stop, statuses[-1] if statuses else None)

    def with_credits(
        self,
        transcript: Transcript,
        turn: TurnRecords,
        chain: Sequence[Self],
        begun: Sequence[Self],
        counted: Decimal | None,
    ) -> Transcript:
        """Add what the turn cost: nothing where it is not in the log."""
        if not turn.records:
            return transcript
        warnings = Warnings()
        logs = [billing.Log(one.records, one.prompts[-1] if one is chain[0] else 0) for one in chain]
        bill = billing.bill(logs, turn.records, [one.records for one in begun], counted, warnings)
        charged = replace(transcript, credits=bill.credits, credits_source=bill.source, counted=bill.counted)
        return charged.warned(warnings)
