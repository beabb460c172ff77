"""Reads engine V2's sessions: `<id>.jsonl` has the messages, `<id>.json` how each turn ended.

The shapes were read from files that CLI 2.5.0 to 2.6.0 wrote, and from the source of its log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from pytest_kiro.kirocli.sessions import tools
from pytest_kiro.kirocli.sessions.agents import Child, Parent, fold
from pytest_kiro.kirocli.sessions.values import dig, dump, lines, listed, load, moment, number, total, words
from pytest_kiro.kirocli.sessions.wanted import Wanted
from pytest_kiro.turn.transcript import ToolCall, Transcript

#: Records that say something, and those that only mark a place and may have no data.
_KINDS = ("Prompt", "AssistantMessage", "ToolResults")
_MARKS = ("Compaction", "Clear", "ResetTo", "CancelledPrompt")
#: Sub-agents start sub-agents, five deep in V3's engine; a store that goes deeper is not one.
_DEPTH = 20


class _Record(NamedTuple):
    where: str
    kind: str
    data: Mapping[str, Any]


class _Session:
    """One session; its log is read when it is needed, since a store keeps many."""

    def __init__(self, path: str, sidecar: Mapping[str, Any], log: bytes) -> None:
        self.id = PurePosixPath(path).stem
        self.path = str(PurePosixPath(path).with_suffix(".jsonl"))
        self.sidecar = sidecar
        self.parent = words(sidecar.get("parent_session_id"))
        self.created = moment(sidecar.get("created_at"))
        self.warnings: list[str] = []
        self._log = log

    @cached_property
    def records(self) -> list[_Record]:
        found = []
        for count, line, record in lines(self._log):
            kind, data = dig(record, "kind"), dig(record, "data")
            if kind in _MARKS or (kind in _KINDS and isinstance(data, dict)):
                found.append(_Record(f"{self.path}:{count}", str(kind), data if isinstance(data, dict) else {}))
            else:
                self.warnings.append(f"{self.path}:{count}: not a record that is known: {line[:80]!r}")
        return found

    @cached_property
    def prompts(self) -> list[int]:
        """Where each prompt is among the records."""
        return [index for index, record in enumerate(self.records) if record.kind == "Prompt"]

    @property
    def last_prompt(self) -> str | None:
        return _text(self.records[self.prompts[-1]]).strip() if self.prompts else None

    @property
    def changed(self) -> str:
        return str(self.sidecar.get("updated_at", ""))

    @property
    def metadata(self) -> list[Any]:
        """How each turn ended, oldest first."""
        return listed(dig(self.sidecar, "session_state", "conversation_metadata", "user_turn_metadatas"))


def read(files: Mapping[str, bytes], wanted: Wanted) -> Transcript | None:
    """Return the latest turn; see `sessions.read`."""
    sessions = _sessions(files)
    session = _find(sessions, wanted)
    if session is None:
        return None
    begun = session.prompts[-1] if len(session.prompts) > wanted.prompts else None
    records = session.records[begun:] if begun is not None else []
    ours = [session, *(_continuations(sessions, session, records, wanted.turns) if records else [])]
    for other in ours[1:]:
        known = {words(dig(record.data, "message_id")) for record in records} - {None}
        records = records + [r for r in other.records if words(dig(r.data, "message_id")) not in known]
    newest, went_on = ours[-1], len(ours) > 1
    warnings: list[str] = []
    messages, calls = _said(records, warnings)
    inner, orphans = _agents(sessions, ours, records)
    model = words(dig(newest.sidecar, "session_state", "rts_model_state", "model_info", "model_id"))
    transcript = Transcript(
        session_id=newest.id,
        prompts=len(newest.prompts),
        turns=len(newest.metadata),
        messages=messages,
        tool_calls=tools.with_calls(calls, inner),
        model=model,
        agent=words(dig(newest.sidecar, "session_state", "agent_name")),
        warnings=(*(line for one in ours for line in one.warnings), *warnings, *orphans),
    )
    metadata = newest.metadata if went_on else newest.metadata[wanted.turns :]
    return _with_end(transcript, _ends(metadata, records, strict=went_on))


# -- which session


def _sessions(files: Mapping[str, bytes]) -> dict[str, _Session]:
    found = {}
    for path in files:
        sidecar = load(files[path]) if path.endswith(".json") else None
        if isinstance(sidecar, dict):
            log = str(PurePosixPath(path).with_suffix(".jsonl"))
            session = _Session(path, sidecar, files.get(log, b""))
            found[session.id] = session
    return found


def _find(sessions: Mapping[str, _Session], wanted: Wanted) -> _Session | None:
    if wanted.session_id is not None:
        return sessions.get(wanted.session_id)
    here = [one for one in sessions.values() if one.sidecar.get("cwd") == wanted.cwd and one.parent not in sessions]
    return wanted.newest(here)


def _continuations(
    sessions: Mapping[str, _Session], session: _Session, turn: Sequence[_Record], turns: int
) -> list[_Session]:
    """Return the sessions in which this one goes on: auto-compaction may begin a new one in mid-turn.

    The evidence: it is of the same folder, was created after this one, and its log does not begin with a prompt,
    as every conversation does that is new (or with ours again, where our log ends in a compaction). It names this
    one as its parent, or, where it names none, this one has no end of its turn. A sub-agent begins with a prompt.
    """
    found: list[_Session] = []
    latest, ended = session, bool(_ends(session.metadata[turns:], turn))
    again = session.last_prompt if turn[-1].kind == "Compaction" else None
    here = [other for other in sessions.values() if other.sidecar.get("cwd") == session.sidecar.get("cwd")]
    for other in sorted(here, key=lambda other: other.created or 0.0):
        if (
            latest.created is not None
            and (other.created or 0.0) > latest.created
            and (other.parent == latest.id or (other.parent is None and not ended))
            and other.records
            and (other.records[0].kind != "Prompt" or other.last_prompt == again)
        ):
            found.append(other)
            latest, ended = other, bool(_ends(other.metadata, [*turn, *other.records], strict=True))
    return found


# -- what was said


def _said(records: Iterable[_Record], warnings: list[str]) -> tuple[tuple[str, ...], dict[str, ToolCall]]:
    messages: list[str] = []
    calls: dict[str, ToolCall] = {}
    for record in records:
        if record.kind in _KINDS and not isinstance(record.data.get("content"), list):
            warnings.append(f"{record.where}: the content of this {record.kind} is no list")
        if record.kind == "AssistantMessage":
            if text := _text(record):
                messages.append(text)
            for data in _data(record, "toolUse", warnings):
                calls[str(data.get("toolUseId"))] = tools.begun(str(data.get("name")), data.get("input"))
        elif record.kind == "ToolResults":
            for data in _data(record, "toolResult", warnings):
                _answer(calls, str(data.get("toolUseId")), data, record, warnings)
    return tuple(messages), calls


def _answer(
    calls: dict[str, ToolCall], key: str, data: Mapping[str, Any], record: _Record, warnings: list[str]
) -> None:
    if key not in calls:
        warnings.append(f"{record.where}: a result of no tool call of this turn: {key[:80]}")
        return
    known, result = calls[key], dig(record.data, "results", key, "result")
    server = dig(record.data, "results", key, "tool", "kind", "Mcp", "server_name")
    if isinstance(server, str):
        known = tools.begun(known.raw_name, dict(known.input), server=server)
    came = ((str(part.get("kind")), part.get("data")) for part in listed(data.get("content")) if isinstance(part, dict))
    ok = data.get("status") == "success"
    calls[key] = tools.ended(known, came, ok=ok, cancelled=not ok and result == "Cancelled")


def _data(record: _Record, kind: str, warnings: list[str]) -> Iterator[dict[str, Any]]:
    for part in listed(record.data.get("content")):
        if dig(part, "kind") != kind:
            continue
        data = dig(part, "data")
        if isinstance(data, dict):
            yield data
        else:
            warnings.append(f"{record.where}: a {kind} without data")


def _text(record: _Record) -> str:
    """Return the text of a message; kinds beside text (thinking, images) are not what was said."""
    parts = (part for part in listed(record.data.get("content")) if dig(part, "kind") == "text")
    return "".join(part["data"] for part in parts if isinstance(part.get("data"), str))


# -- sub-agents


def _agents(
    sessions: Mapping[str, _Session],
    ours: Sequence[_Session],
    turn: Sequence[_Record],
    seen: frozenset[str] = frozenset(),
) -> tuple[Mapping[str, tuple[ToolCall, ...]], list[str]]:
    """Return sub-agents' calls by the call that started them. Sub-agents of sub-agents are included."""
    ids = {session.id for session in ours}
    seen = seen | ids  # parents in a circle, as only a broken store has them, end here
    children = [other for other in sessions.values() if other.parent in ids and other.id not in seen]
    if not turn or not children or len(seen) > _DEPTH:
        return {}, []
    told: list[Child] = []
    warnings: list[str] = []
    for other in children:
        _, calls = _said(other.records, warnings)
        inner, orphans = _agents(sessions, (other,), other.records, seen)
        warnings += [*other.warnings, *orphans]
        first = _text(other.records[other.prompts[0]]) if other.prompts else ""
        told.append(Child(other.id, other.path, first, other.created, tools.with_calls(calls, inner)))
    _, now = _said(turn, [])
    _, all_calls = _said((record for session in ours for record in session.records), [])
    parents = [Parent(key, call, call.output + dump(call.input), key in now) for key, call in all_calls.items()]
    inner, orphans = fold(parents, told, since=moment(dig(turn[0].data, "meta", "timestamp")) if turn else None)
    return inner, warnings + orphans


# -- how it ended


def _ends(metadata: Sequence[Any], records: Sequence[_Record], *, strict: bool = False) -> Sequence[Mapping[str, Any]]:
    """Return what is known of the end of these records' turn.

    Its list of message ids says which turn it ended; one without a list is taken by its place alone, unless it
    is `strict`, as in a session that may have been given the past of another.
    """
    if not records:
        return []
    ids = {words(dig(record.data, "message_id")) for record in records} - {None}
    ends = [entry for entry in metadata if isinstance(entry, dict)]
    telling = [entry for entry in ends if listed(entry.get("message_ids"))]
    if not telling or not ids:
        return [] if strict else ends[-1:]
    return [entry for entry in telling if any(isinstance(key, str) and key in ids for key in entry["message_ids"])]


def _with_end(transcript: Transcript, ends: Sequence[Mapping[str, Any]]) -> Transcript:
    if not ends:
        return transcript
    last = ends[-1]
    result = last.get("result")
    failure = result.get("Err") if isinstance(result, dict) else result
    metered = [usage for entry in ends for usage in listed(entry.get("metering_usage"))]
    times = [_seconds(entry.get("turn_duration")) for entry in ends]
    return replace(
        transcript,
        finished=isinstance(result, dict) and "Ok" in result and "Err" not in result,
        end_reason=words(last.get("end_reason")) or ("Error" if failure is not None else None),
        failure=failure if failure is None or isinstance(failure, str) else dump(failure),
        credits=total(metered, "value"),
        duration=None if None in times else sum(time for time in times if time is not None),
    )


def _seconds(duration: Any) -> float | None:
    secs, nanos = number(dig(duration, "secs")), number(dig(duration, "nanos"))
    return None if secs is None or nanos is None else secs + nanos / 1e9
