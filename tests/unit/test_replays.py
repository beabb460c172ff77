"""What the summary says of a replay."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from pytest_kiro.errors import RecordingMiss
from pytest_kiro.plugin.carrying import fault_of
from pytest_kiro.records import tests as records
from pytest_kiro.records.turns import ProvenanceRecord, TurnRecord, credits_of
from pytest_kiro.report.replays import replayed_lines

TODAY = date(2026, 11, 29)
REPLAYED = TurnRecord(
    recording="replayed",
    credits=1.0,
    provenance=ProvenanceRecord(engine="v2", cli_version="2.29.0", model="m", recorded="2026-11-17"),
)


def judged(recorded: str | None, outcome: records.Outcome) -> records.TestRecord:
    return records.TestRecord(
        nodeid="t",
        outcome=outcome,
        infrastructure=False,
        worker="main",
        attempts=1,
        duration=0.0,
        credits=None,
        phases=(),
        turns=(),
        recorded_outcome=recorded,
    )


def lines(*turns: TurnRecord, tests: tuple[records.TestRecord, ...] = ()) -> list[str]:
    return [line for line, _ in replayed_lines(turns, tests, TODAY)]


def test_age_version_and_model_are_told() -> None:
    said = "replayed: 1 turn, recorded 12 days ago with kiro-cli 2.29.0, model m; Kiro was not asked for them"
    assert lines(REPLAYED) == [said]
    other = replace(REPLAYED, provenance=replace(REPLAYED.provenance, recorded="2026-11-28", cli_version="3.5.0"))
    assert "recorded 1 to 12 days ago with kiro-cli 2.29.0, 3.5.0, model m" in lines(REPLAYED, other)[0]
    today = replace(REPLAYED, provenance=replace(REPLAYED.provenance, recorded="2026-11-30", model=None))
    assert "recorded today with kiro-cli 2.29.0;" in lines(today)[0]


def test_nothing_is_said_where_nothing_was_replayed() -> None:
    assert lines(TurnRecord()) == []
    assert lines(TurnRecord(recording="recorded")) == ["recorded: 1 turn"]


def test_verdicts_that_changed_are_counted() -> None:
    same = [judged("passed", "passed"), judged("error", "failed"), judged(None, "failed")]
    assert lines(tests=tuple(same)) == ["replayed 2 trials: no verdict changed"]
    changed = [
        judged("failed", "passed"),
        judged("failed", "xpassed"),
        judged("passed", "error"),
        judged("passed", "skipped"),
    ]
    assert lines(tests=(*same, *changed)) == [
        "replayed 6 trials: 4 verdicts changed (1 now skipped, 2 now pass, 1 now fails)"
    ]


def test_a_miss_is_no_verdict() -> None:
    missed = replace(judged("passed", "failed"), infrastructure=True)
    assert lines(tests=(missed, judged("passed", "passed"))) == [
        "replayed 1 trial: no verdict changed; 1 more could not be judged"
    ]


def test_a_replay_costs_nothing() -> None:
    assert credits_of([REPLAYED]) is None
    assert credits_of([REPLAYED, TurnRecord(credits=0.5)]) == 0.5


def test_a_miss_is_nobodys_failure() -> None:
    assert fault_of(RecordingMiss("there is none")) == "world", "so a trial is lost by it, and not failed"
