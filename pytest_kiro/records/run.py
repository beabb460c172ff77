"""What a run keeps of itself: a `RunRecord`, and the results file that has it as JSON."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal

from pytest_kiro.records.codec import Count, Credits, FromOne, Keyword, Record, Seconds
from pytest_kiro.records.groups import ComparisonRecord, GroupRecord
from pytest_kiro.records.output import OutputFile
from pytest_kiro.records.plain import clean
from pytest_kiro.records.tests import CollectionError, FixtureRecord, Gathered, Outcome, TestRecord, fixtures_of
from pytest_kiro.records.turns import TurnRecord, TurnStatus, credits_of
from pytest_kiro.secrecy.redaction import Secrets
from pytest_kiro.settings.table import Settings, shown

#: The schema says what is in the file.
SCHEMA = Path(__file__).with_name("results.schema.json")
Instant = Annotated[str, Keyword("format", "date-time"), "UTC."]
Scripted = Literal[True, False, "partly", None]


@dataclass(frozen=True, kw_only=True)
class RunEnd:
    """How pytest ended, and what it counted."""

    exit_status: int
    interrupted: bool
    collected: int
    workers: int
    workers_died: int
    pytest: str
    pytest_kiro: str


@dataclass(frozen=True, kw_only=True)
class SettingRecord(Record):
    """A setting that was given."""

    value: Any
    origin: Annotated[str, "The option, environment variable or ini key."]


@dataclass(frozen=True, kw_only=True)
class RunFacts(Record):
    """When, where and how a run ran."""

    id: str
    started: Instant
    ended: Instant
    duration: Seconds
    exit_status: Annotated[int, "pytest's."]
    complete: Annotated[bool, "Whether every test that was collected has an outcome, and nothing stopped the run."]
    interrupted: Annotated[bool, "Whether Ctrl-C, a signal or pytest.exit ended it."]
    collected: Annotated[Count, "How many tests were to be run."]
    collection_errors: tuple[CollectionError, ...]
    python: str
    platform: str
    pytest: str
    pytest_kiro: str
    kiro_cli: Annotated[tuple[str, ...], "The versions of kiro-cli that answered."]
    sandbox: Annotated[str, "Where Kiro worked."]
    settings: Annotated[
        dict[str, SettingRecord], "The settings that were given, by name; the others had their defaults."
    ]
    workers: Annotated[Count, "xdist workers that were started, 0 without xdist."]
    workers_died: Count
    scripted: Annotated[Scripted, "Whether scripts answered, and no model; null when no turn was run."]
    scripted_note: Annotated[str, "The same in a sentence."]


@dataclass(frozen=True, kw_only=True)
class TestTotals(Record):
    """How many tests there were, by outcome."""

    count: Count
    by_outcome: dict[Outcome, FromOne]


@dataclass(frozen=True, kw_only=True)
class TurnTotals(Record):
    """How many turns there were, by status."""

    count: Annotated[Count, "With those that were run again."]
    by_status: dict[TurnStatus, FromOne]
    infrastructure: Annotated[Count, "How many of them ended by the world's fault."]
    retried: Annotated[Count, "How many of them were run again."]


@dataclass(frozen=True, kw_only=True)
class Totals(Record):
    """The numbers of a run."""

    tests: TestTotals
    turns: TurnTotals
    credits: Credits
    stopped_by_budget: Annotated[Count, "Tests in which a turn was refused, since the budget was used up."]

    @classmethod
    def of(cls, tests: Sequence[TestRecord], turns: Sequence[TurnRecord], stopped_by_budget: int) -> Totals:
        """Count tests and turns."""
        return cls(
            tests=TestTotals(count=len(tests), by_outcome=dict(Counter(test.outcome for test in tests))),
            turns=TurnTotals(
                count=len(turns),
                by_status=dict(Counter(turn.status for turn in turns)),
                infrastructure=sum(turn.infrastructure for turn in turns),
                retried=sum(turn.retried for turn in turns),
            ),
            credits=credits_of(turns),
            stopped_by_budget=stopped_by_budget,
        )


@dataclass(frozen=True, kw_only=True)
class RunRecord(Record):
    """A run with all its tests, fixtures and turns."""

    format: Literal["pytest-kiro-results"] = "pytest-kiro-results"
    version: Literal[2] = 2
    run: RunFacts
    totals: Totals
    tests: Annotated[tuple[TestRecord, ...], "Every test that was begun, in that order."]
    fixtures: Annotated[tuple[FixtureRecord, ...], "Fixtures of a wider scope that ran turns, once for each instance."]
    groups: Annotated[tuple[GroupRecord, ...], "Of the tests that have trials."] = ()
    comparisons: tuple[ComparisonRecord, ...] = ()

    @classmethod
    def of(
        cls,
        settings: Settings,
        gathered: Gathered,
        end: RunEnd,
        groups: Sequence[GroupRecord] = (),
        comparisons: Sequence[ComparisonRecord] = (),
    ) -> RunRecord:
        """Return the record of a run that is over."""
        tests, turns = gathered.tests, gathered.turns
        return cls(
            run=_facts(settings, gathered, end, tests),
            totals=Totals.of(tests, turns, gathered.refused),
            tests=tests,
            fixtures=fixtures_of(turns),
            groups=tuple(groups),
            comparisons=tuple(comparisons),
        )


def _facts(settings: Settings, gathered: Gathered, end: RunEnd, tests: Sequence[TestRecord]) -> RunFacts:
    ended, turns = datetime.now(UTC), gathered.turns
    done = sum(test.outcome != "unfinished" for test in tests)
    whole = end.exit_status in (0, 1, 5) and not gathered.collection_errors and done >= end.collected
    scripted, note = scripted_of(turns)
    return RunFacts(
        id=settings.run_id,
        started=gathered.began.isoformat(timespec="milliseconds"),
        ended=ended.isoformat(timespec="milliseconds"),
        duration=(ended - gathered.began).total_seconds(),
        complete=whole and not end.interrupted,
        collection_errors=tuple(gathered.collection_errors),
        python=".".join(map(str, sys.version_info[:3])),
        platform=sys.platform,
        kiro_cli=tuple(sorted({turn.provenance.cli_version for turn in turns})),
        sandbox=settings.sandbox,
        settings={
            name: SettingRecord(value=clean(shown(settings, name)), origin=origin)
            for name, origin in settings.origins.items()
            if origin != "default"
        },
        scripted=scripted,
        scripted_note=note,
        **vars(end),
    )


def scripted_of(turns: Sequence[TurnRecord]) -> tuple[Scripted, str]:
    """Say whether scripts answered, and say it in a sentence."""
    scripted = sum(turn.scripted for turn in turns)
    if not turns:
        return None, "No turn was run, so nobody answered."
    replayed = sum(turn.recording == "replayed" for turn in turns)
    again = f" Of recordings {replayed} of them were replayed." if replayed else ""
    if scripted == len(turns):
        return True, f"Every turn was answered by a script; nothing here was said by a model.{again}"
    if scripted:
        return "partly", f"{scripted} of {len(turns)} turns were answered by a script, the others by Kiro.{again}"
    return False, f"Every turn was answered by Kiro.{again}"


def installed_version() -> str:
    """Return the version of pytest-kiro; unknown when it runs from its sources."""
    with suppress(metadata.PackageNotFoundError):
        return metadata.version("pytest-kiro")
    return "unknown"


class ResultsFile(OutputFile):
    """The file that `--kiro-results` names, or another `option`."""

    def __init__(self, file: Path, option: str = "--kiro-results") -> None:
        super().__init__(file, option, mark=RunRecord.format, kind="results file")

    def write(self, run: RunRecord, secrets: Secrets) -> None:
        """Write the file without secrets; readers see the old one or the new one. Raises `OSError`."""
        document = clean(secrets.within(run.to_json(file=True)))
        self.write_text(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
