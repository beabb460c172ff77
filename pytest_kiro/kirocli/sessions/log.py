"""Reads a turn from sessions that are logs, as V2's and V3's."""

from __future__ import annotations

import io
import itertools
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, NamedTuple, Self, TypeVar

from pytest_kiro.kirocli.sessions import tools
from pytest_kiro.kirocli.sessions.agents import Child, Parent, fold
from pytest_kiro.kirocli.sessions.values import load_lines
from pytest_kiro.turn.transcript import ToolCall, Transcript
from pytest_kiro.turn.warnings import Warnings

#: Sub-agents start sub-agents, five deep in V3's engine; a store that goes deeper is not one.
_DEPTH = 20
#: Lines of a log that are parsed in one go.
_BATCH = 1000


@dataclass(frozen=True)
class Wanted:
    """The turn that is looked for: see `sessions.read`."""

    cwd: str
    prompt: str | None = None
    session_id: str | None = None
    prompts: int = 0
    turns: int = 0
    counted: Decimal | None = None

    def has_prompt(self, last: str | None) -> bool:
        """Whether a session whose last prompt this is may have the turn; one without may have only just begun."""
        return self._prompt is None or last is None or last.strip() == self._prompt

    @cached_property
    def _prompt(self) -> str | None:
        return None if self.prompt is None else self.prompt.strip()


class Record(NamedTuple):
    """A line of a log; `where` names it, `at` is in seconds since 1970."""

    where: str
    kind: str
    data: Mapping[str, Any]
    id: str | None
    at: float | None


class TurnRecords:
    """The records of one turn, and what decides whether it goes on; `prompt` is what it begins with."""

    def __init__(self, records: Sequence[Record], prompt: str) -> None:
        self.prompt = prompt
        self.records: list[Record] = []
        self.ids: set[str] = set()
        self.kinds: set[str] = set()
        self.add(records)

    def add(self, records: Sequence[Record]) -> None:
        self.records += records
        self.ids.update(record.id for record in records if record.id is not None)
        self.kinds.update(record.kind for record in records)


class Session(ABC):
    """One session; its log is read when it is needed, since a store keeps many."""

    #: What its state says; `is_agent` is only of a state that says so itself.
    folders: Sequence[Any]
    created: float | None
    changed: str
    parent: str | None
    is_agent = False
    model: str | None
    agent: str | None
    effort: str | None = None
    features: tuple[str, ...] = ()

    def __init__(self, name: str, log: PurePosixPath, state: Any, files: Mapping[str, bytes]) -> None:
        self.id = name
        self.log = log
        self.state: Mapping[str, Any] = state if isinstance(state, dict) else {}
        self.files = files
        self.warnings = Warnings()

    @cached_property
    def records(self) -> list[Record]:
        return self.read(self.log)

    @property
    def last_prompt(self) -> str | None:
        return self.text(self.records[self.prompts[-1]]).strip() if self.prompts else None

    def read(self, path: PurePosixPath) -> list[Record]:
        """Return the records of a log; what is none becomes a warning."""
        records = []
        lines = enumerate(io.BytesIO(self.files.get(str(path), b"")), 1)
        known = ((count, line) for count, line in lines if line.strip())
        while batch := list(itertools.islice(known, _BATCH)):
            for (count, line), value in zip(batch, load_lines([line for _, line in batch]), strict=True):
                if record := self.record(f"{path}:{count}", value):
                    records.append(record)
                else:
                    self.warnings.add(f"{path}:{count}: not a record that is known: {line.strip()[:80]!r}")
        return records

    @cached_property
    @abstractmethod
    def prompts(self) -> Sequence[int]:
        """Where each prompt is among the records."""

    @property
    @abstractmethod
    def turns(self) -> int:
        """How many turns have ended."""

    @abstractmethod
    def record(self, where: str, value: Any) -> Record | None:
        """Return a line's record, None for what is not known."""

    @abstractmethod
    def text(self, record: Record) -> str:
        """Return the text of a message."""

    @abstractmethod
    def said(self, records: Sequence[Record], warnings: Warnings) -> tuple[tuple[str, ...], dict[str, ToolCall]]:
        """Return the assistant's messages, and the tool calls by their ids."""

    @abstractmethod
    def is_over(self, turn: TurnRecords, before: int | None) -> bool:
        """Whether it has an end of the turn; see `with_end`."""

    @abstractmethod
    def continues(self, latest: Self, turn: TurnRecords, *, over: bool) -> bool:
        """Whether the turn goes on here: `latest` is older, and of the same folder; `over` is of that one."""

    def news(self, turn: TurnRecords) -> list[Record]:
        """Return what it adds to a turn that goes on in it."""
        return self.records

    @abstractmethod
    def parents(self, records: Sequence[Record], ours: Mapping[str, ToolCall]) -> list[Parent]:
        """Return all calls that start agents, as parents of sub-agents."""

    @abstractmethod
    def children(
        self,
        chain: Sequence[Self],
        by_parent: Mapping[str, Sequence[Self]],
        warnings: Warnings,
        *,
        depth: int,
        since: float | None,
    ) -> Iterator[Child]:
        """Yield the sub-agents of the sessions in `chain`.

        `by_parent` are all others, by their parent's id; `since` is when the turn began.
        """

    def adopts(self, other: Self, turn: TurnRecords) -> bool:
        """Whether a session without a parent belongs to our turn."""
        return False

    def child(
        self,
        prompt: str,
        records: Sequence[Record],
        by_parent: Mapping[str, Sequence[Self]],
        warnings: Warnings,
        *,
        depth: int,
    ) -> Child:
        """Return this session as a sub-agent, with those that it has started; `records` are its own."""
        messages, calls = self.said(records, warnings)
        inner, said = with_agents([self], by_parent, records, calls, warnings, depth + 1)
        warnings += self.warnings
        name = self.name
        return Child(self.id, str(self.log), prompt, self.created, inner, name, {**said, name: messages})

    @property
    def name(self) -> str:
        """What this session is called as a sub-agent."""
        return self.agent or self.id

    @abstractmethod
    def with_end(self, transcript: Transcript, turn: TurnRecords, before: int | None) -> Transcript:
        """Add how the turn ended.

        `before` is how many turns had ended before it, None in a session that may have been given another's past.
        """

    def with_credits(
        self,
        transcript: Transcript,
        turn: TurnRecords,
        chain: Sequence[Self],
        begun: Sequence[Self],
        counted: Decimal | None,
    ) -> Transcript:
        """Add what the turn cost, where its end does not tell.

        `begun` are the sessions that those in `chain` began; `counted` is what earlier turns were charged of the first.
        """
        return transcript


AnySession = TypeVar("AnySession", bound=Session)


def latest_turn(sessions: Sequence[AnySession], wanted: Wanted) -> Transcript | None:
    """Return the latest turn; see `sessions.read`."""
    session = _find(sessions, wanted)
    if session is None:
        return None
    chain, turn = _follow(session, sessions, wanted)
    newest = chain[-1]
    warnings = Warnings()
    messages, calls = newest.said(turn.records, warnings)
    ours = {one.id for one in chain}
    by_parent: dict[str, list[AnySession]] = defaultdict(list)
    for other in sessions:
        parent = newest.id if other.parent is None and newest.adopts(other, turn) else other.parent
        if parent is not None and other.id not in ours:
            by_parent[parent].append(other)
    tool_calls, agents = with_agents(chain, by_parent, turn.records, calls, warnings)
    transcript = Transcript(
        session_id=newest.id,
        prompts=len(newest.prompts),
        turns=newest.turns,
        messages=messages,
        tool_calls=tool_calls,
        agents=agents,
        model=newest.model,
        agent=newest.agent,
        effort=newest.effort,
        features=newest.features,
        warnings=tuple(Warnings(line for lines in (*(one.warnings for one in chain), warnings) for line in lines)),
    )
    transcript = newest.with_end(transcript, turn, wanted.turns if len(chain) == 1 else None)
    return newest.with_credits(transcript, turn, chain, list(_begun(chain, by_parent)), wanted.counted)


def _begun(chain: Sequence[AnySession], by_parent: Mapping[str, Sequence[AnySession]]) -> Iterator[AnySession]:
    """Yield the sessions that the chain began, and what these began."""
    seen, rest = set[str](), [one.id for one in chain]
    while rest:
        for other in by_parent.get(rest.pop(), ()):
            if other.id not in seen:
                seen.add(other.id)
                rest.append(other.id)
                yield other


def _find(sessions: Sequence[AnySession], wanted: Wanted) -> AnySession | None:
    """Return the newest session that may have the turn; those with a prompt come first."""
    if wanted.session_id is not None:
        return next((one for one in sessions if wanted.session_id in (one.id, one.state.get("id"))), None)
    ids = {one.id for one in sessions}
    here = [one for one in sessions if wanted.cwd in one.folders and not one.is_agent and one.parent not in ids]
    fitting = [one for one in here if wanted.has_prompt(one.last_prompt)]
    return max(fitting, key=lambda one: (bool(one.prompts), one.changed), default=None)


def _follow(
    session: AnySession, sessions: Sequence[AnySession], wanted: Wanted
) -> tuple[list[AnySession], TurnRecords]:
    """Return the sessions that have the turn, and its records.

    Auto-compaction may begin a new session in mid-turn.
    """
    chain = [session]
    if len(session.prompts) <= wanted.prompts:
        return chain, TurnRecords([], "")
    first = session.prompts[-1]
    turn = TurnRecords(session.records[first:], session.text(session.records[first]).strip())
    over = session.is_over(turn, wanted.turns)
    here = [other for other in sessions if other.folders and other.folders == session.folders]
    for other in sorted(here, key=lambda other: other.created or 0.0):
        latest = chain[-1]
        if latest.created is None or (other.created or 0.0) <= latest.created:
            continue
        if other.records and other.continues(latest, turn, over=over):
            turn.add(other.news(turn))
            chain.append(other)
            over = other.is_over(turn, None)
    return chain, turn


def with_agents(
    chain: Sequence[AnySession],
    by_parent: Mapping[str, Sequence[AnySession]],
    turn: Sequence[Record],
    calls: Mapping[str, ToolCall],
    warnings: Warnings,
    depth: int = 0,
) -> tuple[tuple[ToolCall, ...], Mapping[str, tuple[str, ...]]]:
    """Return the turn's calls with its sub-agents', and what these said."""
    session = chain[-1]
    if not turn or depth >= _DEPTH:
        return tuple(calls.values()), {}
    children = list(session.children(chain, by_parent, warnings, depth=depth, since=turn[0].at))
    if not children:
        return tuple(calls.values()), {}
    parents = session.parents([record for one in chain for record in one.records], calls)
    folded = fold(parents, children, since=turn[0].at)
    warnings += folded.warnings
    strays = tuple(call for child in folded.strays for call in child.named_calls)
    return tools.with_calls(calls, folded.calls) + strays, folded.said
