"""Reads engine V2's sessions: `<id>.jsonl` has the messages, `<id>.json` how each turn ended.

The shapes were read from files that CLI 2.5.0 to 2.6.0 wrote, and from the source of its log.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, Self

from pytest_kiro.kirocli.evidence import REFUSAL
from pytest_kiro.kirocli.sessions import log, tools
from pytest_kiro.kirocli.sessions.agents import Child, Parent
from pytest_kiro.kirocli.sessions.log import Record, TurnRecords, Wanted
from pytest_kiro.kirocli.sessions.values import dig, dump, listed, load, moment, number, total, words
from pytest_kiro.turn.transcript import ToolCall, Transcript
from pytest_kiro.turn.warnings import Warnings

#: Records that say something, and those that only mark a place and may have no data.
_KINDS = ("Prompt", "AssistantMessage", "ToolResults")
_REFUSALS = ("refusal", "refused", "contentfiltered")
_NO_RESUME = "kiro-cli may refuse to resume it (invalid conversation history)"
_MARKS = ("Compaction", "Clear", "ResetTo", "CancelledPrompt")


def read(files: Mapping[str, bytes], wanted: Wanted) -> Transcript | None:
    """Return the latest turn; see `sessions.read`."""
    sessions = {}
    for path in files:
        if path.endswith(".json") and isinstance(state := load(files[path]), dict):
            sessions[PurePosixPath(path).stem] = _Session(PurePosixPath(path), state, files)
    return log.latest_turn(list(sessions.values()), wanted)


class _Session(log.Session):
    def __init__(self, path: PurePosixPath, state: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
        super().__init__(path.stem, path.with_suffix(".jsonl"), state, files)
        self.folders = [state.get("cwd")]
        self.created = moment(state.get("created_at"))
        self.changed = str(state.get("updated_at", ""))
        self.parent = words(state.get("parent_session_id"))
        kept = state.get("session_state")
        self.model = words(dig(kept, "rts_model_state", "model_info", "model_id"))
        self.agent = words(dig(kept, "agent_name"))
        #: How each turn ended, oldest first.
        self._metadata = listed(dig(kept, "conversation_metadata", "user_turn_metadatas"))

    @property
    def turns(self) -> int:
        return len(self._metadata)

    @cached_property
    def prompts(self) -> list[int]:
        return [index for index, record in enumerate(self.records) if record.kind == "Prompt"]

    def record(self, where: str, value: Any) -> Record | None:
        kind, data = dig(value, "kind"), dig(value, "data")
        if kind not in _MARKS and (kind not in _KINDS or not isinstance(data, dict)):
            return None
        at = moment(dig(data, "meta", "timestamp"))
        return Record(where, kind, data if isinstance(data, dict) else {}, words(dig(data, "message_id")), at)

    def text(self, record: Record) -> str:
        """Return the text of a message; kinds beside text (thinking, images) are not what was said."""
        parts = (part for part in listed(record.data.get("content")) if dig(part, "kind") == "text")
        return "".join(part["data"] for part in parts if isinstance(part.get("data"), str))

    def said(self, records: Sequence[Record], warnings: Warnings) -> tuple[tuple[str, ...], dict[str, ToolCall]]:
        messages: list[str] = []
        calls: dict[str, ToolCall] = {}
        results: dict[str, tuple[Mapping[str, Any], Any]] = {}  # of a call that was answered twice, the last
        for record in records:
            if record.kind in _KINDS and not isinstance(record.data.get("content"), list):
                warnings.add(f"{record.where}: the content of this {record.kind} is no list")
            if record.kind == "AssistantMessage":
                if text := self.text(record):
                    messages.append(text)
                for data in _data(record, "toolUse", warnings):
                    call = tools.begun(str(data.get("name")), data.get("input"))
                    calls[str(data.get("toolUseId"))] = replace(call, after=len(messages))
            elif record.kind == "ToolResults":
                for data in _data(record, "toolResult", warnings):
                    key = str(data.get("toolUseId"))
                    if key in calls:
                        results[key] = data, dig(record.data, "results", key)
                    else:
                        warnings.add(f"{record.where}: a result of no tool call of this turn: {key[:80]}")
        for key, (answer, known) in results.items():
            calls[key] = _answered(calls[key], answer, known)
        for call in filter(tools.is_withheld, calls.values()):
            warnings.add(f"a call of {call.name} did not run: kiro-cli has put a note in place of its arguments")
        return tuple(messages), calls

    def is_over(self, turn: TurnRecords, before: int | None) -> bool:
        return bool(self._ends(turn, before))

    def continues(self, latest: Self, turn: TurnRecords, *, over: bool) -> bool:
        """Whether the turn goes on in this session.

        The evidence: it does not begin with a prompt, as every conversation does that is new (or with ours again,
        where our log ends in a compaction). It names that one as its parent, or, where it names none, that one has
        no end of its turn. A sub-agent begins with a prompt.
        """
        if self.parent != latest.id and (self.parent is not None or over):
            return False
        again = turn.prompt if turn.records[-1].kind == "Compaction" else None
        return self.records[0].kind != "Prompt" or self.last_prompt == again

    def news(self, turn: TurnRecords) -> list[Record]:
        """Return what it adds to the turn: what was kept over the compaction stands in it again."""
        return [record for record in self.records if record.id not in turn.ids]

    def parents(self, records: Sequence[Record], ours: Mapping[str, ToolCall]) -> list[Parent]:
        _, calls = self.said(records, Warnings())
        starters = ((key, call) for key, call in calls.items() if tools.is_agent(call))
        return [Parent(key, call, call.output + dump(call.input), key in ours) for key, call in starters]

    def children(
        self,
        chain: Sequence[Self],
        by_parent: Mapping[str, Sequence[Self]],
        warnings: Warnings,
        *,
        depth: int,
        since: float | None,
    ) -> Iterator[Child]:
        """Yield the sub-agents, with those that they started in turn."""
        for other in (other for one in chain for other in by_parent.get(one.id, ())):
            first = self.text(other.records[other.prompts[0]]) if other.prompts else ""
            yield other.child(first, other.records, by_parent, warnings, depth=depth)

    def _ends(self, turn: TurnRecords, before: int | None) -> Sequence[Mapping[str, Any]]:
        """Return what is known of the turn's end.

        Its list of message ids says which turn it ended; one without a list is taken by its place alone, unless the
        session may have been given the past of another.
        """
        ends = [entry for entry in self._metadata[before or 0 :] if isinstance(entry, dict)]
        telling = [entry for entry in ends if listed(entry.get("message_ids"))]
        if not telling or not turn.ids:
            return [] if before is None or not turn.records else ends[-1:]
        return [
            entry for entry in telling if any(isinstance(key, str) and key in turn.ids for key in entry["message_ids"])
        ]

    def with_end(self, transcript: Transcript, turn: TurnRecords, before: int | None) -> Transcript:
        if breaks := list(_breaks(turn.records)):
            transcript = replace(transcript, warnings=tuple(Warnings([*transcript.warnings, *breaks])))
        ends = self._ends(turn, before)
        if not ends:
            return transcript
        last = ends[-1]
        result = last.get("result")
        failure = result.get("Err") if isinstance(result, dict) else result
        # Public files of finished turns have no result; then there has to be an answer.
        answered = bool(turn.records) and turn.records[-1].kind == "AssistantMessage"
        fine = "Ok" in result and failure is None if isinstance(result, dict) else result is None and answered
        metered = [usage for entry in ends for usage in listed(entry.get("metering_usage"))]
        times = [_seconds(entry.get("turn_duration")) for entry in ends]
        warnings = Warnings()
        transcript = transcript.charged(total(metered, "value", str(self.log), warnings), "sidecar").warned(warnings)
        return replace(
            transcript,
            finished=fine,
            end_reason=_reason(words(last.get("end_reason"))) or ("Error" if failure is not None else None),
            failure=failure if failure is None or isinstance(failure, str) else dump(failure),
            duration=None if None in times else sum(time for time in times if time is not None),
        )


def _breaks(records: Sequence[Record]) -> Iterator[str]:
    """Yield what kiro-cli takes for an invalid history when it resumes."""
    for before, record in itertools.pairwise(records):
        if before.kind == record.kind == "AssistantMessage":
            yield f"{record.where}: a second answer in a row; {_NO_RESUME}"
    # A call that comes last was interrupted: its result is made up when the session is resumed.
    uses = {str(data.get("toolUseId")): record for record in records[:-1] for data in _data(record, "toolUse")}
    results = {str(data.get("toolUseId")) for record in records for data in _data(record, "toolResult")}
    for key, record in uses.items():
        if key not in results:
            yield f"{record.where}: a tool call without a result; {_NO_RESUME}"


def _answered(call: ToolCall, data: Mapping[str, Any], known: Any) -> ToolCall:
    """Return the call with its result; `known` is what the record says beside it."""
    kind = dig(known, "tool", "kind", "Mcp")
    server = dig(kind, "serverName") or dig(kind, "server_name")  # as the public tree has it, and as others read it
    if isinstance(server, str):
        call = tools.begun(call.raw_name, dict(call.input), server=server)
    came = ((str(part.get("kind")), part.get("data")) for part in listed(data.get("content")) if isinstance(part, dict))
    ok = data.get("status") == "success"
    return tools.ended(call, came, ok=ok, cancelled=not ok and dig(known, "result") == "Cancelled")


def _data(record: Record, kind: str, warnings: Warnings | None = None) -> Iterator[dict[str, Any]]:
    for part in listed(record.data.get("content")):
        if dig(part, "kind") != kind:
            continue
        data = dig(part, "data")
        if isinstance(data, dict):
            yield data
        elif warnings is not None:
            warnings.add(f"{record.where}: a {kind} without data")


def _reason(told: str | None) -> str | None:
    """Return how a turn ended; of a content filter's refusal the word is a guess."""
    return REFUSAL if told and told.lower().replace("_", "") in _REFUSALS else told


def _seconds(duration: Any) -> float | None:
    secs, nanos = number(dig(duration, "secs")), number(dig(duration, "nanos"))
    return None if secs is None or nanos is None else secs + nanos / 1e9
