"""Defines a run's records of tests and wide fixtures, and gathers them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pytest_kiro.records.codec import Credits, FromOne, Record, Seconds
from pytest_kiro.records.phases import Fault, PhaseOutcome, PhaseRecord, PlaceRecord
from pytest_kiro.records.turns import FixtureReference, OwnerRecord, TurnRecord, credits_of

Outcome = Literal["passed", "failed", "error", "skipped", "xfailed", "xpassed", "rerun", "not needed", "unfinished"]
_SPECIAL: tuple[PhaseOutcome, ...] = ("rerun", "xfailed", "xpassed", "not needed", "skipped")
#: Which numbers of a score are better.
Better = Literal["lower", "higher"]


@dataclass(frozen=True, kw_only=True)
class VariantRecord(Record):
    """What a trial is compared as."""

    comparison: Annotated[str, "The test whose variants are compared, or the option that names them."]
    parameter: str
    variant: str
    baseline: str
    task: Annotated[str, "The trial's group, with the variant left out of its name."]
    min_effect: Annotated[float, "A smaller difference does not matter."] = 0.1


@dataclass(frozen=True, kw_only=True)
class TrialRecord(Record):
    """Which trial a test is, and what its group is to show."""

    group: Annotated[str, "The test's name without its trial."]
    number: FromOne
    planned: Annotated[FromOne, "How many trials there are to be."]
    pass_rate: Annotated[float, "The share that must pass."] = 1.0
    gate: Annotated[str, "point, refute or demonstrate."] = "point"
    all_of: Annotated[FromOne, "The rate is that so many trials in a row pass."] = 1
    any_of: Annotated[FromOne, "The rate is that one of so many trials passes."] = 1
    tolerant: Annotated[bool, "Whether a trial that fails is no failure of the run."] = False
    gated: Annotated[bool, "Whether its group has a verdict, and is not only compared."] = True
    sequential: Annotated[bool, "Whether its group was made larger because of what it had shown."] = False
    variant: VariantRecord | None = None


@dataclass(frozen=True, kw_only=True)
class ScoreRecord(Record):
    """A number that a test has given to itself by `kiro.score`."""

    value: float
    better: Better


@dataclass(frozen=True, kw_only=True)
class PropertyRecord(Record):
    """What a test has recorded by `record_property`: as a parameter is kept."""

    name: str
    value: Any


@dataclass(frozen=True, kw_only=True)
class ReportRecord(Record):
    """What a phase's report carries beside pytest's own data; `fixtures` are those whose turns the test looked at."""

    attempt: int = 1
    fault: Fault = ""
    place: PlaceRecord | None = None
    trial: TrialRecord | None = None
    fixtures: tuple[FixtureReference, ...] = ()
    scores: dict[str, ScoreRecord] = field(default_factory=dict)
    kiro_id: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    properties: tuple[PropertyRecord, ...] = ()
    check_hash: str = ""
    turns: tuple[TurnRecord, ...] = ()
    recorded_outcome: str | None = None
    artifacts: str = ""


@dataclass(frozen=True, kw_only=True)
class TestRecord(Record):
    """What became of a test in all its attempts."""

    nodeid: str
    outcome: Annotated[
        Outcome, "Of the last attempt, as pytest counts it; unfinished when the run ended before the test did."
    ]
    infrastructure: Annotated[
        bool, "Whether it failed by the world's fault, so that nothing was learnt about the agent."
    ]
    worker: Annotated[str, "The xdist worker, main without xdist."]
    attempts: FromOne
    duration: Annotated[Seconds, "Seconds, of all attempts."]
    credits: Credits
    phases: tuple[PhaseRecord, ...]
    turns: Annotated[tuple[TurnRecord, ...], "Its own; those of fixtures that it shares are in fixtures."]
    trial: TrialRecord | None = None
    fixtures: Annotated[tuple[FixtureReference, ...], "Those whose turns it looked at."] = ()
    scores: Annotated[dict[str, ScoreRecord], "By name, what kiro.score was given in its last attempt."] = field(
        default_factory=dict
    )
    params: Annotated[
        dict[str, Any], "Of a parametrised test, by name; what no JSON can say is its repr, what is long is cut."
    ] = field(default_factory=dict)
    properties: Annotated[tuple[PropertyRecord, ...], "What it recorded by record_property."] = ()
    check_hash: Annotated[str, "A digest of what judges it: its function, and what workspace.check executed."] = ""
    kiro_id: Annotated[str, "What mark.kiro(kiro_id=…) calls it, with its parameters; empty where it does not."] = ""
    recorded_outcome: Annotated[str | None, "How it ended when it was recorded; null unless that is replayed."] = None
    artifacts: Annotated[
        str, "The folder of its artifacts, relative to where pytest was started if it is below; empty without one."
    ] = ""

    @property
    def group(self) -> str:
        """The name of its group of trials; its own where it has none."""
        return self.trial.group if self.trial else self.nodeid

    @property
    def identity(self) -> str:
        """What it is found by in another run, perhaps under another name."""
        return self.kiro_id or self.group


@dataclass(frozen=True, kw_only=True)
class FixtureRecord(Record):
    """One instance of a wide fixture that ran turns."""

    name: Annotated[str, "Such as fixture:shop[id]."]
    number: Annotated[FromOne, "With name and worker, which instance it is."] = 1
    trial: Annotated[FromOne, "Of which trial of its tests."] = 1
    file: Annotated[str, "That defines it."]
    worker: str
    credits: Credits
    turns: tuple[TurnRecord, ...]


@dataclass(frozen=True, kw_only=True)
class CollectionError(Record):
    """A file whose tests are not known."""

    nodeid: str
    message: str


@dataclass
class _TestSoFar:
    worker: str = "main"
    finished: bool = False
    phases: list[PhaseRecord] = field(default_factory=list)
    trial: TrialRecord | None = None
    fixtures: dict[FixtureReference, None] = field(default_factory=dict)
    scores: dict[str, ScoreRecord] = field(default_factory=dict)
    kiro_id: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    properties: tuple[PropertyRecord, ...] = ()
    check_hash: str = ""
    turns: dict[tuple[str, int], TurnRecord] = field(default_factory=dict)
    recorded_outcome: str | None = None
    artifacts: str = ""

    def record(self, nodeid: str) -> TestRecord:
        turns = tuple(self.turns.values())
        last = max((phase.attempt for phase in self.phases), default=1)
        outcome = outcome_of([phase for phase in self.phases if phase.attempt == last], finished=self.finished)
        return TestRecord(
            nodeid=nodeid,
            outcome=outcome,
            infrastructure=outcome in ("failed", "error") and any(phase.infrastructure for phase in self.phases),
            worker=self.worker,
            attempts=max([last, *(turn.attempt for turn in turns)]),
            duration=sum(phase.duration for phase in self.phases),
            credits=credits_of(turns),
            phases=tuple(self.phases),
            turns=turns,
            trial=self.trial,
            fixtures=tuple(self.fixtures),
            scores=dict(self.scores),
            kiro_id=self.kiro_id,
            recorded_outcome=self.recorded_outcome,
            artifacts=self.artifacts,
            params=self.params,
            properties=self.properties,
            check_hash=self.check_hash,
        )


class Gathered:
    """All records of a run so far: on the controller, where there are xdist workers.

    `named` returns a test's name as its turns have it: without the secrets in a parameter.
    """

    def __init__(self, named: Callable[[str], str] = str) -> None:
        self.began = datetime.now(UTC)
        self.collection_errors: list[CollectionError] = []
        #: How many tests the budget stopped.
        self.refused = 0
        self._named, self._tests = named, dict[str, _TestSoFar]()
        self._turns: dict[tuple[str, int], TurnRecord] = {}
        self._shared: defaultdict[FixtureReference, dict[tuple[str, int], TurnRecord]] = defaultdict(dict)

    def __contains__(self, nodeid: str) -> bool:
        return self._named(nodeid) in self._tests

    @property
    def turns(self) -> list[TurnRecord]:
        """The turns, in the order in which they were heard of."""
        return list(self._turns.values())

    @property
    def tests(self) -> tuple[TestRecord, ...]:
        """The tests, in the order in which they began."""
        return tuple(test.record(nodeid) for nodeid, test in self._tests.items())

    def test(self, nodeid: str) -> TestRecord:
        """Return one test, as far as it is known."""
        return self._test(nodeid).record(self._named(nodeid))

    def turns_of(self, fixture: FixtureReference) -> Iterable[TurnRecord]:
        """Return the turns of a wide fixture."""
        return self._shared[fixture].values()

    def test_started(self, nodeid: str) -> None:
        """Note that a test, or another attempt at it, was begun."""
        self._test(nodeid).finished = False

    def test_finished(self, nodeid: str) -> None:
        """Note that nothing more comes of a test."""
        self._test(nodeid).finished = True

    def phase(self, nodeid: str, phase: PhaseRecord, carried: ReportRecord | None, worker: str | None) -> None:
        """Note what became of one phase of a test; of a crash nothing is carried."""
        test = self._test(nodeid)
        test.worker = worker or test.worker
        carried = carried or ReportRecord(attempt=max((one.attempt for one in test.phases), default=1))
        test.phases.append(replace(phase, attempt=carried.attempt, fault=carried.fault, place=carried.place))
        test.trial = carried.trial or test.trial
        test.kiro_id, test.params = carried.kiro_id or test.kiro_id, carried.params or test.params
        test.properties = carried.properties or test.properties
        test.check_hash = carried.check_hash or test.check_hash
        test.fixtures |= dict.fromkeys(carried.fixtures)
        test.scores = carried.scores if phase.name != "crash" else test.scores
        test.recorded_outcome = carried.recorded_outcome or test.recorded_outcome
        test.artifacts = carried.artifacts or test.artifacts
        self.refused += carried.fault == "budget"
        self.add_turns(carried.turns)

    def add_turns(self, turns: Iterable[TurnRecord]) -> None:
        """Note turns; a later record of the same turn replaces the earlier one."""
        for turn in turns:
            self._turns[turn.key] = turn
            if not turn.owner.wide:  # of a worker that died there may be no other sign of the test
                self._test(turn.owner.name).turns[turn.key] = turn
            else:
                self._shared[turn.owner.reference][turn.key] = turn

    def _test(self, nodeid: str) -> _TestSoFar:
        return self._tests.setdefault(self._named(nodeid), _TestSoFar())


def outcome_of(phases: Sequence[PhaseRecord], *, finished: bool) -> Outcome:
    """Return what pytest counts the phases of one attempt as."""
    failed = {phase.name for phase in phases if phase.outcome == "failed"}
    if failed:
        return "failed" if failed - {"setup", "teardown"} else "error"
    if not finished:
        return "unfinished"
    outcomes = {phase.outcome for phase in phases}
    return next((word for word in _SPECIAL if word in outcomes), "passed")


def by_group(tests: Iterable[TestRecord]) -> dict[str, list[TestRecord]]:
    """Return tests by the names of their groups."""
    groups: defaultdict[str, list[TestRecord]] = defaultdict(list)
    for test in tests:
        groups[test.group].append(test)
    return dict(groups)


def by_identity(tests: Iterable[TestRecord]) -> dict[str, list[TestRecord]]:
    """Return tests by what other runs find them by."""
    found: defaultdict[str, list[TestRecord]] = defaultdict(list)
    for test in tests:
        found[test.identity].append(test)
    return dict(found)


def fixtures_of(turns: Iterable[TurnRecord]) -> tuple[FixtureRecord, ...]:
    """Return the wide fixtures that ran these turns, instance by instance."""
    instances: defaultdict[OwnerRecord, list[TurnRecord]] = defaultdict(list)
    for turn in turns:
        if turn.owner.wide:
            instances[turn.owner].append(turn)
    return tuple(
        FixtureRecord(
            name=owner.name,
            number=owner.number,
            trial=owner.trial,
            file=owner.file,
            worker=owner.worker,
            credits=credits_of(own),
            turns=tuple(own),
        )
        for owner, own in instances.items()
    )
