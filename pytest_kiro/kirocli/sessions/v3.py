"""Reads engine V3's sessions: a folder each, with `session.json`, `messages.jsonl`, and what its sub-agents said.

The shapes were read from files that the agent of V3 wrote (1.0.411) and from its schema in V2's converter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from pytest_kiro.kirocli.sessions import tools
from pytest_kiro.kirocli.sessions.agents import Child, Parent, fold
from pytest_kiro.kirocli.sessions.ends import end_reason
from pytest_kiro.kirocli.sessions.values import dig, dump, lines, listed, load, moment, number, total, words
from pytest_kiro.kirocli.sessions.wanted import Wanted
from pytest_kiro.turn.transcript import ToolCall, Transcript

#: What a record may be, and how those begin that are mostly passed over: states, approvals, sub-agents' begin and end.
_KINDS = ("user", "assistant", "tool_call", "tool_result", "turn_start", "turn_end", "usage_summary", "tombstone")
_OTHERS = ("session_", "interaction_", "pending_", "sub_agent_")
#: Messages in the user's name that begin no turn.
_WITHIN = ("steer", "hook")
#: V3's modes by the agents of V2 that they stand for (read from V2's converter); others are agents' own names.
_MODES = {"vibe": "kiro_default", "quick-plan": "kiro_planner"}


class _Record(NamedTuple):
    where: str
    id: str | None
    at: float | None
    kind: str
    data: Mapping[str, Any]


class _Session:
    """The folder of one session; what is in it is read when it is needed."""

    def __init__(self, folder: PurePosixPath, files: Mapping[str, bytes]) -> None:
        self.id = folder.name
        self.folder = folder
        state = load(files.get(str(folder / "session.json"), b""))
        self.state: Mapping[str, Any] = state if isinstance(state, dict) else {}
        self.created = moment(self.state.get("createdAt"))
        self.folders = listed(self.state.get("workspacePaths")) or listed(self.state.get("rootPaths"))
        self.warnings: list[str] = []
        self._files = files

    @cached_property
    def records(self) -> list[_Record]:
        return self.read(self.folder / "messages.jsonl")

    @cached_property
    def prompts(self) -> list[int]:
        """Where each prompt is among the records."""
        # The first may be the start of the session itself (read from the program); in real files that one holds the
        # system prompt and comes last: it counts if a turn starts after it without a user's message.
        found, opening = [], None
        for index, record in enumerate(self.records):
            if record.kind == "session_start":
                opening = index
            elif record.kind == "user" and record.data.get("source") not in _WITHIN:
                found.append(index)
                opening = None
            elif record.kind == "turn_start" and opening is not None and not found:
                found.append(opening)
                opening = None
        return found

    @property
    def last_prompt(self) -> str | None:
        return _content(self.records[self.prompts[-1]]).strip() if self.prompts else None

    @property
    def changed(self) -> str:
        return str(self.state.get("lastModifiedAt", ""))

    def read(self, path: PurePosixPath) -> list[_Record]:
        """Return the records of one file."""
        found = []
        for count, line, record in lines(self._files.get(str(path), b"")):
            data = dig(record, "payload")
            kind = dig(data, "type")
            if isinstance(kind, str) and (kind in _KINDS or kind.startswith(_OTHERS)):
                at = moment(dig(record, "timestamp"))
                found.append(_Record(f"{path}:{count}", words(dig(record, "id")), at, kind, data))
            else:
                self.warnings.append(f"{path}:{count}: not a record that is known: {line[:80]!r}")
        return found

    def within(self, folder: str) -> list[PurePosixPath]:
        """The files of a folder of the session, at any depth."""
        start = f"{self.folder / folder}/"
        return [PurePosixPath(path) for path in sorted(self._files) if path.startswith(start)]

    def output(self, key: str, content: str) -> str:
        """Return a tool's output; a large one is in a file of its own."""
        for path in self.within("tool-outputs"):
            if path.stem == key or f"tool-outputs/{path.name}" in content:
                return self._files[str(path)].decode("utf-8", "replace")
        return content


def read(files: Mapping[str, bytes], wanted: Wanted) -> Transcript | None:
    """Return the latest turn; see `sessions.read`."""
    sessions = _sessions(files)
    session = _find(sessions, wanted)
    if session is None:
        return None
    begun = len(session.prompts) > wanted.prompts
    ours = [session, *(_continuations(sessions, session) if begun else [])]
    records = session.records[session.prompts[-1] :] if begun else []
    records = records + [record for one in ours[1:] for record in one.records]
    warnings: list[str] = []
    messages, calls = _said(ours[-1], records, warnings)
    inner, orphans = _agents(ours, records)
    ended = sum(record.kind == "turn_end" for record in ours[-1].records)
    mode = words(ours[-1].state.get("agentMode"))
    transcript = Transcript(
        session_id=ours[-1].id,
        prompts=len(ours[-1].prompts),
        turns=ended,
        messages=messages,
        tool_calls=tools.with_calls(calls, inner),
        model=words(ours[-1].state.get("modelId")),
        agent=_MODES.get(mode, mode) if mode else None,
        warnings=(*(line for one in ours for line in one.warnings), *warnings, *orphans),
    )
    return _with_end(transcript, records, counted=len(ours) > 1 or ended > wanted.turns)


def _sessions(files: Mapping[str, bytes]) -> list[_Session]:
    paths = map(PurePosixPath, files)
    folders = {path.parent for path in paths if path.name in ("session.json", "messages.jsonl")}
    return [_Session(folder, files) for folder in sorted(folders) if "sub-executions" not in folder.parts]


def _find(sessions: Sequence[_Session], wanted: Wanted) -> _Session | None:
    if wanted.session_id is not None:
        return next((one for one in sessions if wanted.session_id in (one.id, one.state.get("id"))), None)
    ids = {session.id for session in sessions}
    return wanted.newest(
        session
        for session in sessions
        if wanted.cwd in session.folders
        and session.state.get("createdReason") != "subagent"
        and words(session.state.get("parentSessionId")) not in ids
    )


def _continuations(sessions: Sequence[_Session], session: _Session) -> list[_Session]:
    """Return the sessions that continue this one. V2 does so after a compaction; V3 was not seen doing it.

    The evidence: the same folder, created after this one, no prompt and no start of a turn in it before an
    assistant's words, while this one has no end of its turn.
    """
    found: list[_Session] = []
    here = [other for other in sessions if other.folders and other.folders == session.folders]
    for other in sorted(here, key=lambda other: other.created or 0.0):
        latest = found[-1] if found else session
        open_turn = latest.records[latest.prompts[-1] :] if latest.prompts else latest.records
        if (
            latest.created is not None
            and (other.created or 0.0) > latest.created
            and other.state.get("createdReason") != "subagent"
            and other.records
            and other.records[0].kind == "assistant"
            and not any(record.kind == "turn_end" for record in open_turn)
        ):
            found.append(other)
    return found


def _content(record: _Record) -> str:
    return "".join(tools.texts(record.data.get("content")))


# -- what was said


def _said(
    session: _Session, records: Iterable[_Record], warnings: list[str]
) -> tuple[tuple[str, ...], dict[str, ToolCall]]:
    messages: dict[str, str] = {}
    calls: dict[str, ToolCall] = {}
    rejected: set[str] = set()  # an approval is asked for, and refused, before the call itself is written
    for record in records:
        key = words(record.data.get("toolCallId"))
        if record.kind == "assistant" and record.data.get("operationType") in ("Say", "Print", None):
            messages[record.id or record.where] = _content(record)
        elif record.kind == "tool_call" and key:
            calls[key] = _called(calls.get(key), record.data, rejected=key in rejected)
        elif record.kind == "tool_result" and key and key in calls:
            calls[key] = _answered(session, calls[key], key, record.data)
        elif record.kind == "interaction_resolved" and key and _rejected(record.data):
            rejected.add(key)
            if key in calls:
                calls[key] = replace(calls[key], status="denied")
        elif record.kind in ("tool_call", "tool_result"):
            warnings.append(f"{record.where}: a {record.kind} of no tool call of this turn")
    return tuple(text for text in messages.values() if text), calls


def _called(known: ToolCall | None, data: Mapping[str, Any], *, rejected: bool) -> ToolCall:
    """Return a call from its record. Records are rewritten as the call proceeds; a result may have come first."""
    server = dig(data, "_meta", "kiro", "mcpServerName")
    call = tools.begun(
        words(data.get("toolName")), data.get("args"), kind=data.get("kind"), title=data.get("title"), server=server
    )
    if known is not None and known.status != "unfinished":
        call = replace(known, name=call.name, raw_name=call.raw_name, input=call.input)
    status = data.get("status")
    if status == "denied" or rejected:
        call = replace(call, status="denied")
    elif status in ("completed", "failed") and call.status == "unfinished":
        call = replace(call, status=status)
    return call


def _answered(session: _Session, call: ToolCall, key: str, data: Mapping[str, Any]) -> ToolCall:
    denied = call.status == "denied"
    given = data.get("content")
    content = session.output(key, given) if isinstance(given, str) else given
    ok = data.get("success") is True
    call = tools.ended(call, tools.content(content), ok=ok, cancelled=denied)
    took = number(data.get("durationMs"))
    return replace(call, duration=None if took is None else took / 1000)


def _rejected(data: Mapping[str, Any]) -> bool:
    return "reject" in str(data.get("selectedOption")) or data.get("outcome") == "cancelled"


# -- sub-agents


def _agents(ours: Sequence[_Session], turn: Sequence[_Record]) -> tuple[Mapping[str, tuple[ToolCall, ...]], list[str]]:
    """Return the calls of the sub-agents by the call that started them; each has a file, named by its id."""
    paths = [(one, path) for one in ours for path in one.within("sub-executions") if path.suffix == ".jsonl"]
    if not turn or not paths:
        return {}, []
    children = []
    warnings: list[str] = []
    for session, path in paths:
        records = session.read(path)
        _, calls = _said(session, records, warnings)
        began = min((record.at for record in records if record.at is not None), default=None)
        prompt = next((_content(record) for record in records if record.kind == "user"), "")
        # Newer files are `<id>.jsonl`, exported ones `<id>/messages.jsonl`.
        name = path.parent.name if path.stem == "messages" else path.stem
        children.append(Child(name, str(path), prompt, began, tuple(calls.values())))
    told: dict[str, str] = {}
    until: dict[str, float] = {}
    for record in (record for one in ours for record in one.records):
        if key := words(record.data.get("toolCallId")):
            told[key] = told.get(key, "") + dump(record.data)
            if record.kind == "tool_result" and record.at is not None:
                until[key] = record.at
    _, now = _said(ours[-1], turn, [])
    _, all_calls = _said(ours[-1], [record for one in ours for record in one.records], [])
    parents = [Parent(key, call, told[key], key in now, until.get(key)) for key, call in all_calls.items()]
    inner, orphans = fold(parents, children, since=turn[0].at if turn else None)
    return inner, warnings + orphans


# -- how it ended


def _with_end(transcript: Transcript, records: Sequence[_Record], *, counted: bool) -> Transcript:
    """Add how the turn ended: a `turn_end` after its last start, of the same execution; and what it cost."""
    running: Any = None
    end: _Record | None = None
    used: dict[str, Mapping[str, Any]] = {}
    for record in records:
        if record.kind == "turn_start":
            running, end = record.data.get("executionId"), None
        elif record.kind == "turn_end" and record.data.get("executionId") in (running, None):
            end = record
        elif record.kind == "usage_summary":
            used[str(record.data.get("executionId"))] = record.data  # the whole turn's, so a repeated one replaces it
        elif record.kind == "tombstone" and record.data.get("kind") == "checkpoint_revert":
            end = record._replace(data={"stopReason": "rewind"})
    metered = [entry for data in used.values() for entry in listed(data.get("promptTurnSummaries"))]
    known = [took for data in used.values() if (took := number(data.get("elapsedTime"))) is not None]
    duration = sum(known) / 1000 if known else _between(records[0], end) if end else None
    transcript = replace(transcript, credits=total(metered, "usage"), duration=duration)
    if end is None or not counted:
        return transcript
    # The account of a turn has a status of its own; one that contradicts the end takes the proof away.
    statuses = [status for data in used.values() if (status := words(data.get("status")))]
    stop = words(end.data.get("stopReason")) or "unknown"  # no file that was seen is without one
    reason, failure = end_reason(stop, statuses[-1] if statuses else None)
    return replace(transcript, finished=reason == "UserTurnEnd", end_reason=reason, failure=failure)


def _between(first: _Record, last: _Record) -> float | None:
    return last.at - first.at if first.at is not None and last.at is not None and last.at >= first.at else None
