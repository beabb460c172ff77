"""Reads what `--kiro-artifacts` has kept: of a test for the page of its run, or of a whole run without its results."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_kiro.errors import SettingsError
from pytest_kiro.records.folders import (
    DIFF,
    EXECUTED,
    FAILURE,
    TEST,
    indexes,
    mappings,
    moment,
    read_index,
    turns_in,
)
from pytest_kiro.records.phases import PhaseRecord
from pytest_kiro.records.plain import cut
from pytest_kiro.records.run import RunFacts, RunRecord, Totals, installed_version, scripted_of
from pytest_kiro.records.tests import FixtureRecord, TestRecord
from pytest_kiro.records.turns import FixtureReference, TurnRecord, credits_of
from pytest_kiro.report.html.diffs import split
from pytest_kiro.report.html.evidence import Evidence, Executed, TurnEvidence, TurnKey, read_cast
from pytest_kiro.turn.turn import Turn

#: Characters that are kept of a failure's text and of one command's output, and commands.
_FAILURE, _OUTPUT, _EXECUTED = 16_384, 16_384, 200
_Data = Mapping[str, Any]


def evidence_in(folder: Path, shown: str = "") -> Evidence:
    """Return what a test's folder has; `shown` is how a reader finds it. What is not there is left out."""
    test = _known(folder)
    began = _seconds(test.get("started"))
    turns: dict[TurnKey, TurnEvidence] = {}
    diffs: dict[str, str] = {}
    executed: list[Executed] = []
    conversations = mappings(test.get("conversations"))
    for conversation in conversations:
        place = folder / str(conversation.get("folder", ""))
        number = int(conversation.get("number", 1))
        turns |= dict(_turns(place, number, conversation, began))
        for path, text in split(_text(place / DIFF)).items():
            diffs[f"conversation {number}: {path}" if len(conversations) > 1 else path] = text
        executed += _executed(place / EXECUTED, number, began)
    return Evidence(
        traceback=cut(_text(folder / FAILURE), _FAILURE)[0],
        folder=shown or str(folder),
        turns=turns,
        diffs=diffs,
        executed=sorted(executed, key=lambda one: one.began or 0.0)[:_EXECUTED],
        shared={
            str(_known(folder / name).get("nodeid", "")): evidence_in(folder / name).turns
            for name in test.get("fixtures", ())
        },
    )


def evidence_of(run: RunRecord, tops: Sequence[Path]) -> dict[str, Evidence]:
    """Return what artifacts have of a run's tests; their folders are sought below `tops`."""
    found: dict[str, Evidence] = {}
    runs: dict[Path, None] = {}
    for test in run.tests:
        folder = next((top / test.artifacts for top in tops if (top / test.artifacts / TEST).exists()), None)
        if test.artifacts and folder is not None:
            found[test.nodeid] = evidence_in(folder, test.artifacts)
            runs[folder.parent] = None
    shared = {
        (str(fixture["nodeid"]), str(fixture.get("worker", ""))): evidence_in(file.parent).turns
        for folder in runs
        for file in folder.glob(f"fixture-*/{TEST}")
        if (fixture := _known(file.parent)).get("wide") and "nodeid" in fixture
    }
    for test in run.tests:
        turns = {one.name: shared[key] for one in test.fixtures if (key := (one.name, one.worker)) in shared}
        if turns:
            found[test.nodeid] = replace(found.get(test.nodeid, Evidence()), shared=turns)
    return found


def run_in(folder: Path) -> tuple[RunRecord, dict[str, Evidence]]:
    """Return a run by its folder of artifacts, or one test's; `SettingsError` where it is none."""
    facts, read = indexes(folder)
    # A fixture is shown where a test that looked at it is, else by itself.
    shared = {(place / name).resolve() for place, test in read for name in test.get("fixtures", ())}
    own = [(place, test) for place, test in read if test.get("nodeid") and place.resolve() not in shared]
    if not own:
        what = f"{folder} has no test's artifacts in it"
        raise SettingsError(what, advice="name a folder that --kiro-artifacts made")
    latest = {test["nodeid"]: (place, test) for place, test in own}  # of several attempts the last
    records = [_test(place, test) for place, test in latest.values()]
    fixtures = [_fixture(place, _known(place)) for place in sorted(shared)]
    evidence = {nodeid: evidence_in(place) for nodeid, (place, _) in latest.items()}
    return replace(run_from(records, facts), fixtures=tuple(fixtures)), evidence


def run_from(tests: Sequence[TestRecord], facts: _Data) -> RunRecord:
    """Return a run of tests that no results file has; what `facts` do not say is unknown."""
    turns = [turn for test in tests for turn in test.turns]
    scripted, note = scripted_of(turns)
    started, ended = str(facts.get("started") or ""), str(facts.get("ended") or facts.get("started") or "")
    begun, over = _seconds(started), _seconds(ended)
    failed = any(test.outcome in ("failed", "error") for test in tests)
    status = facts.get("exit_status")
    return RunRecord(
        run=RunFacts(
            id=str(facts.get("run", "unknown")),
            started=started,
            ended=ended,
            duration=max(0.0, (over or 0.0) - (begun or 0.0)),
            exit_status=int(failed) if status is None else int(status),
            complete=all(test.outcome != "unfinished" for test in tests),
            interrupted=status == 2,
            collected=len(tests),
            collection_errors=(),
            python="unknown",
            platform="unknown",
            pytest="unknown",
            pytest_kiro=installed_version(),
            kiro_cli=tuple(sorted({turn.provenance.cli_version for turn in turns if turn.provenance.cli_version})),
            sandbox="unknown",
            settings={},
            workers=0,
            workers_died=0,
            scripted=scripted,
            scripted_note=note,
        ),
        totals=Totals.of(tests, turns, 0),
        tests=tuple(tests),
        fixtures=(),
    )


def turn_record(turn: Turn, conversation: int, output: str | None = None) -> TurnRecord:
    """Return the record of a turn that was read from a file."""
    record = TurnRecord(conversation=conversation, prompt=turn.prompt).ended(turn)
    return record if output is None else replace(record, output=cut(output, 65_536)[0])


def _test(folder: Path, test: _Data) -> TestRecord:
    phases = tuple(_phases(folder, test))
    turns = tuple(kept.record for kept in turns_in(folder, test))
    return TestRecord(
        nodeid=str(test["nodeid"]),
        outcome="passed" if test.get("wide") else test.get("outcome", "unfinished"),
        infrastructure=any(turn.infrastructure for turn in turns),
        worker=str(test.get("worker", "main")),
        attempts=int(test.get("attempt", 1)),
        duration=sum(phase.duration for phase in phases),
        credits=credits_of(turns),
        phases=phases,
        turns=turns,
        fixtures=tuple(_reference(_known(folder / name)) for name in test.get("fixtures", ())),
    )


def _reference(fixture: _Data) -> FixtureReference:
    return FixtureReference(name=str(fixture.get("nodeid", "")), worker=str(fixture.get("worker", "main")), number=1)


def _fixture(folder: Path, fixture: _Data) -> FixtureRecord:
    turns, reference = tuple(kept.record for kept in turns_in(folder, fixture)), _reference(fixture)
    return FixtureRecord(name=reference.name, worker=reference.worker, file="", credits=credits_of(turns), turns=turns)


def _phases(folder: Path, test: _Data) -> Iterator[PhaseRecord]:
    for phase in mappings(test.get("phases")):
        failed = phase.get("outcome") == "failed"
        lines = [line[1:].strip() for line in _text(folder / FAILURE).splitlines() if line.startswith("E ")]
        with suppress(TypeError):
            yield PhaseRecord(
                name=phase["name"],
                outcome=phase["outcome"],
                duration=float(phase.get("duration", 0.0)),
                message="\n".join(lines) if failed else "",
            )


def _turns(place: Path, conversation: int, data: _Data, began: float | None) -> Iterator[tuple[TurnKey, TurnEvidence]]:
    for turn in mappings(data.get("turns")):
        at = _seconds(turn.get("started"))
        cast = read_cast(place / str(turn["cast"])) if turn.get("cast") else None
        yield (
            (conversation, int(turn.get("number") or 0)),
            TurnEvidence(cast=cast, began=None if at is None or began is None else max(0.0, at - began)),
        )


def _executed(file: Path, conversation: int, began: float | None) -> Iterator[Executed]:
    with suppress(OSError, ValueError):
        for one in json.loads(file.read_text(encoding="utf-8")):
            at = _seconds(one.get("began"))
            yield Executed(
                command=str(one.get("command", "")),
                exit_code=one.get("exit_code"),
                output=cut(str(one.get("output", "")), _OUTPUT)[0],
                duration=float(one.get("duration") or 0.0),
                began=None if at is None or began is None else max(0.0, at - began),
                after_turn=(conversation, int(one.get("after_turn") or 0)),
            )


def _seconds(text: object) -> float | None:
    found = moment(text)
    return None if found is None else found.timestamp()


def _known(folder: Path) -> dict[str, Any]:
    """Return what a folder says of its test; nothing where that is not there, or was cut."""
    with suppress(SettingsError):
        return read_index(folder / TEST)
    return {}


def _text(file: Path) -> str:
    with suppress(OSError):
        return file.read_text(encoding="utf-8", errors="replace")
    return ""
