"""What a run keeps of a turn: a `TurnRecord`, which reports carry and which the results file has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pytest_kiro.records.codec import UNWRITTEN, Count, Credits, FromOne, LeftOut, Record, Seconds
from pytest_kiro.records.plain import clean, cut, cut_field, cut_values
from pytest_kiro.turn.amounts import added_up
from pytest_kiro.turn.causes import Status
from pytest_kiro.turn.provenance import Provenance
from pytest_kiro.turn.transcript import ToolStatus

if TYPE_CHECKING:
    from pytest_kiro.turn.changes import Changes
    from pytest_kiro.turn.transcript import ToolCall
    from pytest_kiro.turn.turn import Turn

#: Characters that are kept: of a prompt, an answer and an output; of a call's input and output; of a sentence; a name.
TEXT, _TOOL, _SENTENCE, _NAME = 65_536, 8_192, 4_096, 200
#: How many tool calls, changed paths, warnings, features and agents are kept of a turn, and how deep agents are nested.
_CALLS, _PATHS, _WARNINGS, _FEATURES, _AGENTS, _DEEP = 1_000, 1_000, 100, 100, 100, 10
_MORE = "How many more there were."
TurnStatus = Status | Literal["broken off"]
RecordingKind = Literal["none", "recorded", "replayed"]
AtFault = Annotated[bool, "Whether the world was at fault, so that nothing was learnt about the agent."]


@dataclass(frozen=True, kw_only=True)
class FixtureReference(Record):
    """An instance of a wide fixture, among all of a run."""

    name: str
    worker: str
    number: FromOne


@dataclass(frozen=True, kw_only=True)
class OwnerRecord(Record):
    """The test or wide fixture that ran a turn; `number` tells owners of one process apart."""

    name: str = ""
    worker: str = "main"
    number: int = 0
    wide: bool = False
    trial: int = 1
    file: str = ""

    @property
    def reference(self) -> FixtureReference:
        """What tests refer to it by, where it is a wide fixture."""
        return FixtureReference(name=self.name, worker=self.worker, number=self.number)


@dataclass(frozen=True, kw_only=True)
class ChangesRecord(Record):
    """The paths that a turn added, modified and deleted."""

    added: tuple[str, ...] = ()
    modified: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    left_out: Annotated[Count, "How many more paths there were."] = 0
    ignored: Annotated[
        ChangesRecord | None, "What programs make by the way, such as caches; it is not in the others."
    ] = None

    @classmethod
    def of(cls, changes: Changes) -> ChangesRecord:
        """Return the first thousand paths of each kind."""
        ignored = cls.of(changes.ignored) if changes.ignored else None
        kinds = [sorted(paths) for paths in (changes.added, changes.modified, changes.deleted)]
        added, modified, deleted = (tuple(clean(paths[:_PATHS])) for paths in kinds)
        left_out = sum(max(0, len(paths) - _PATHS) for paths in kinds)
        return cls(added=added, modified=modified, deleted=deleted, left_out=left_out, ignored=ignored)


@dataclass(frozen=True, kw_only=True)
class ToolCallRecord(Record):
    """One use of a tool, cut."""

    name: Annotated[str, "V2's word, such as write."]
    raw_name: Annotated[str, "The engine's own."]
    status: ToolStatus
    exit_code: Annotated[int | None, "Of a shell command."] = None
    duration: Annotated[float | None, "Seconds, null where the engine keeps none."] = None
    input: Annotated[dict[str, Any], "Its arguments; one that was too long is a text that was cut."]
    input_left_out: LeftOut = 0
    output: str = ""
    output_left_out: LeftOut = 0
    calls: Annotated[tuple[ToolCallRecord, ...], "Those of the sub-agents that it started."] = ()
    calls_left_out: Annotated[Count, _MORE] = 0
    agent: Annotated[str, "The sub-agent or workflow node that made it; empty for the conversation's own."] = ""
    after: Annotated[int | None, "How many messages of who made it stand before it; null where nothing tells."] = None

    @classmethod
    def of(cls, call: ToolCall, depth: int = 0) -> ToolCallRecord:
        """Return a call and those of its sub-agents, ten levels deep."""
        arguments, input_left_out = cut_values(clean(call.input), _TOOL)
        calls, calls_left_out = _calls(call.calls, depth + 1)
        kept = {"input": arguments, "input_left_out": input_left_out, "calls": calls, "calls_left_out": calls_left_out}
        return cls(**{**vars(call), **kept, **cut_field("output", call.output, _TOOL)})


@dataclass(frozen=True, kw_only=True)
class ProvenanceRecord(Record, Provenance):
    """What answered a turn, cut."""

    @classmethod
    def of(cls, provenance: Provenance) -> ProvenanceRecord:
        """Return it with short names: an agent can write what a session store says."""
        names = {name: _name(value) for name, value in vars(provenance).items() if isinstance(value, str)}
        features = tuple(map(_name, provenance.features[:_FEATURES]))
        return cls(**{**vars(provenance), **names, "features": features})


@dataclass(frozen=True, kw_only=True)
class TurnRecord(Record):
    """One turn, cut to a bounded size; it counts as broken off until it has `ended`.

    `serial` counts the turns of one process: of two records with one `key` the later one holds.
    """

    attempt: Annotated[FromOne, "Which attempt at the test ran it, from 1; 1 in a fixture."] = 1
    conversation: Annotated[FromOne, "Which conversation of the test or fixture it belongs to, from 1."] = 1
    number: Annotated[FromOne | None, "Which turn of its conversation it is, from 1; null when it was broken off."] = (
        None
    )
    prompt: Annotated[str, "What was asked."] = ""
    prompt_left_out: LeftOut = 0
    prompt_hash: Annotated[str, "A digest of the whole prompt, without secrets."] = ""
    seed_hash: Annotated[str, "A digest of the files that were put into its workspace; empty where none were."] = ""
    sandbox: Annotated[str, "What it ran in: the provider, and the image or snapshot; empty where a fixture's."] = ""
    status: Annotated[TurnStatus, "How it ended; broken off when nobody waited for its end."] = "broken off"
    cause: Annotated[str | None, "Why it did not complete, such as throttled."] = None
    infrastructure: AtFault = False
    detail: Annotated[str, "The cause in a sentence."] = ""
    proof: Annotated[str | None, "What proves that it completed, such as session."] = None
    exit_code: Annotated[int | None, "kiro-cli's, null when it was killed."] = None
    duration: Seconds | None = None
    first_output_after: Annotated[Seconds | None, "Seconds; null when nothing was printed."] = None
    credits: Credits = None
    credits_source: Annotated[
        str,
        "Where they stand: session, summaries, sidecar, conversation, trailer, stream; empty where they are null.",
    ] = ""
    provenance: Annotated[ProvenanceRecord, "What answered."] = ProvenanceRecord()
    session_id: Annotated[str | None, "kiro-cli's own name of the conversation."] = None
    scripted: Annotated[bool, "Whether a script answered, and no model."] = False
    retried: Annotated[bool, "Whether it was run again, as the next turn of its conversation."] = False
    recording: Annotated[
        RecordingKind, "Whether it was recorded, or a recording was replayed in its place, which costs nothing."
    ] = "none"
    changes: Annotated[
        ChangesRecord | None, "What it changed in its workspace, by content; null where nobody could tell."
    ] = None
    outside: Annotated[
        ChangesRecord | None,
        "What it changed in its HOME outside of the workspace, by size and times; null where nobody could tell.",
    ] = None
    survivors: Annotated[
        tuple[str, ...], "Processes that it left, and that had to be ended or could not be: PID and name."
    ] = ()
    warnings: Annotated[tuple[str, ...], "What a reader should know."] = ()
    text: Annotated[str, "The last message of the assistant."] = ""
    text_left_out: LeftOut = 0
    output: Annotated[str, "What a terminal showed."] = ""
    output_left_out: LeftOut = 0
    diagnostics: Annotated[str, "What kiro-cli wrote to stderr, with --kiro-output=stream-json."] = ""
    diagnostics_left_out: LeftOut = 0
    truncated: Annotated[bool, "Whether the middle of the output was lost before it could be kept."] = False
    tool_calls: tuple[ToolCallRecord, ...] = ()
    tool_calls_left_out: Annotated[Count, _MORE] = 0
    agents: Annotated[dict[str, str], "The last message of each sub-agent, workflow node or other agent, cut."] = field(
        default_factory=dict
    )
    agents_left_out: Annotated[Count, _MORE] = 0
    owner: OwnerRecord = field(default=OwnerRecord(), metadata=UNWRITTEN)
    serial: int = field(default=0, metadata=UNWRITTEN)
    stand_in: bool = field(default=False, metadata=UNWRITTEN)
    login: str = field(default="", metadata=UNWRITTEN)

    def ended(self, turn: Turn) -> TurnRecord:
        """Return the record with what became of the turn."""
        calls, calls_left_out = _calls(turn.tool_calls)
        return replace(
            self,
            number=turn.number,
            status=turn.status,
            cause=None if turn.cause is None else str(turn.cause),
            infrastructure=turn.cause is not None and turn.cause.infrastructure,
            detail=cut(turn.detail, _SENTENCE)[0],
            proof=turn.proof,
            exit_code=turn.exit_code,
            duration=turn.duration,
            first_output_after=turn.first_output_after,
            credits=turn.credits,
            credits_source=turn.credits_source,
            provenance=ProvenanceRecord.of(turn.provenance),
            session_id=turn.session_id,
            changes=None if turn.known_changes is None else ChangesRecord.of(turn.known_changes),
            outside=None if turn.known_outside is None else ChangesRecord.of(turn.known_outside),
            survivors=tuple(clean(list(turn.survivors[:_PATHS]))),
            warnings=tuple(cut(warning, _SENTENCE)[0] for warning in turn.warnings[:_WARNINGS]),
            truncated=turn.truncated,
            tool_calls=calls,
            tool_calls_left_out=calls_left_out,
            agents=clean({name: cut(said[-1], _TOOL)[0] for name, said in list(turn.agents.items())[:_AGENTS]}),
            agents_left_out=max(0, len(turn.agents) - _AGENTS),
            **cut_field("text", turn.text, TEXT),
            **cut_field("output", turn.output, TEXT),
            **cut_field("diagnostics", turn.diagnostics, TEXT),
        )

    @property
    def key(self) -> tuple[str, int]:
        """Which turn of the run it is."""
        return self.owner.worker, self.serial

    @property
    def kind(self) -> str:
        """The cause, and whether the world was at fault: `throttled: infrastructure`."""
        return f"{self.cause}: infrastructure" if self.infrastructure else self.cause or ""


def credits_of(turns: Sequence[TurnRecord]) -> float | None:
    """Add up what turns cost; None where nothing was metered. A replay costs nothing.

    >>> credits_of([TurnRecord(credits=0.1), TurnRecord(credits=0.2), TurnRecord()])
    0.3
    """
    metered = [turn.credits for turn in turns if turn.credits is not None and turn.recording != "replayed"]
    return added_up(metered) if metered else None


def _name(text: str) -> str:
    return str(clean(cut(text, _NAME)[0]))


def _calls(calls: Sequence[ToolCall], depth: int = 0) -> tuple[tuple[ToolCallRecord, ...], int]:
    """Return the records of calls, and how many are left out."""
    kept = calls[:_CALLS] if depth < _DEEP else ()
    return tuple(ToolCallRecord.of(call, depth) for call in kept), len(calls) - len(kept)
