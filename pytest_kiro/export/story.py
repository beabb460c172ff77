"""Tells of a run what its formats have in common: owners, conversations, turns and when they began."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pytest_kiro.records.folders import indexes, moment, turns_in, whole_turns
from pytest_kiro.records.run import RunRecord
from pytest_kiro.records.tests import FixtureRecord, TestRecord, outcome_of
from pytest_kiro.records.turns import FixtureReference, ToolCallRecord, TurnRecord
from pytest_kiro.turn.transcript import ToolCall
from pytest_kiro.turn.turn import Turn

_NOTHING = (None, None)
#: A call is asked the same words, whether it is cut or whole.
Call = ToolCall | ToolCallRecord


@dataclass(frozen=True)
class ToldTurn:
    """A turn: `record` may be cut, `whole` is not and is there with artifacts; `started` is None where nobody knows."""

    record: TurnRecord
    whole: Turn | None = None
    started: datetime | None = None

    @property
    def messages(self) -> tuple[str, ...]:
        """What the assistant said; of a record the last message only."""
        if self.whole is not None:
            return self.whole.messages
        return (self.record.text,) if self.record.text else ()

    @property
    def prompt(self) -> str:
        """What was asked."""
        return self.record.prompt if self.whole is None else self.whole.prompt

    @property
    def calls(self) -> Sequence[Call]:
        """The tool calls, with their sub-agents' within."""
        return self.record.tool_calls if self.whole is None else self.whole.tool_calls


@dataclass(frozen=True)
class Teller:
    """A test's attempt or a wide fixture's instance, with its turns.

    `estimated` says that nobody has noted when it started.
    """

    name: str
    started: datetime
    turns: tuple[ToldTurn, ...] = ()
    estimated: bool = True
    wide: bool = False
    instance: tuple[str, int] = ("main", 0)
    attempt: int = 1
    outcome: str = ""
    failure: str = ""
    infrastructure: bool = False
    trial: int = 1
    variant: str | None = None
    duration: float = 0.0
    params: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    looked_at: tuple[FixtureReference, ...] = ()

    @property
    def conversations(self) -> dict[int, list[ToldTurn]]:
        """Its turns by the number of their conversation."""
        found: defaultdict[int, list[ToldTurn]] = defaultdict(list)
        for turn in self.turns:
            found[turn.record.conversation].append(turn)
        return dict(found)

    @property
    def key(self) -> str:
        """What tells it apart from all others of its run."""
        number = "{}-{}".format(*self.instance) if self.wide else self.attempt
        return f"{self.name} {number}"


@dataclass(frozen=True)
class Story:
    """A run: who ran turns, in the order in which they began."""

    run: str
    version: str
    started: datetime
    tellers: tuple[Teller, ...]


def of_results(run: RunRecord, file: Path) -> Story:
    """Return a results file's run, with what artifacts still have."""
    started = datetime.fromisoformat(run.run.started)
    clocks: defaultdict[str, datetime] = defaultdict(lambda: started)
    tellers = list(_fixtures(run.fixtures, started))
    for test in run.tests:
        if test.turns or test.fixtures:
            tellers += _attempts(test, clocks[test.worker], file)
        clocks[test.worker] += timedelta(seconds=test.duration)
    return Story(run.run.id, run.run.pytest_kiro, started, tuple(tellers))


def _fixtures(fixtures: Iterable[FixtureRecord], started: datetime) -> Iterator[Teller]:
    for one in fixtures:
        seconds = sum(turn.duration or 0.0 for turn in one.turns)
        turns = tuple(map(ToldTurn, one.turns))
        place = (one.worker, one.number)
        yield Teller(one.name, started, turns, wide=True, instance=place, trial=one.trial, duration=seconds)


def _attempts(test: TestRecord, started: datetime, file: Path) -> Iterator[Teller]:
    whole, when, kept = whole_turns(_artifacts(test, file))
    for attempt in range(1, test.attempts + 1):
        phases = [phase for phase in test.phases if phase.attempt == attempt]
        last = attempt == test.attempts
        own = [turn for turn in test.turns if turn.attempt == attempt]
        known = kept == attempt
        seconds = sum(phase.duration for phase in phases)
        yield Teller(
            test.nodeid,
            when if known and when else started,
            tuple(ToldTurn(turn, *(whole.get(_key(turn), _NOTHING) if known else _NOTHING)) for turn in own),
            estimated=not (known and when),
            attempt=attempt,
            outcome=test.outcome if last else outcome_of(phases, finished=True),
            failure=next((phase.message for phase in phases if phase.outcome == "failed"), ""),
            infrastructure=test.infrastructure if last else any(phase.infrastructure for phase in phases),
            trial=test.trial.number if test.trial else 1,
            variant=test.trial.variant.variant if test.trial and test.trial.variant else None,
            duration=seconds,
            params=test.params,
            scores={name: score.value for name, score in test.scores.items()} if last else {},
            looked_at=test.fixtures,
        )
        started += timedelta(seconds=seconds)


def _key(turn: TurnRecord) -> tuple[int, int | None]:
    """Return what artifacts know a turn by; one that was run again has its successor's number."""
    return turn.conversation, 0 if turn.retried else turn.number


def _artifacts(test: TestRecord, file: Path) -> Path | None:
    """Return a test's artifacts, here or beside the results."""
    named = str(getattr(test, "artifacts", "") or "")
    places = (Path(named), file.parent / named) if named else ()
    return next((place for place in places if place.is_dir()), None)


def of_folder(folder: Path) -> Story:
    """Return the run of a folder of artifacts; `SettingsError` where it is none."""
    about, found = indexes(folder)
    tellers = [_kept(place, index) for place, index in found]
    started = moment(about.get("started")) or min(teller.started for teller in tellers)
    return Story(str(about.get("run") or folder.resolve().name), "", started, tuple(tellers))


def _kept(place: Path, index: Mapping[str, Any]) -> Teller:
    turns = tuple(ToldTurn(kept.record, kept.whole, kept.started) for kept in turns_in(place, index))
    known = moment(index.get("started"))
    return Teller(
        str(index.get("nodeid") or place.name),
        known or datetime.fromtimestamp(place.stat().st_mtime, UTC),
        turns,
        estimated=known is None,
        wide=bool(index.get("wide")),
        instance=(str(index.get("worker") or "main"), 0),
        attempt=int(index.get("attempt") or 1),
        outcome=str(index.get("outcome") or ""),
        trial=int(index.get("trial") or 1),
        variant=index.get("variant"),
        duration=sum(float(phase.get("duration") or 0.0) for phase in index.get("phases") or ()),
    )
