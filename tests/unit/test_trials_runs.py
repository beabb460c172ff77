"""Two runs beside each other, and what results files cannot be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_kiro.__main__ import main
from pytest_kiro.errors import SettingsError
from pytest_kiro.records.reading import read_results, turns_of
from pytest_kiro.report.runs import runs_lines
from pytest_kiro.trials.drift import Side
from pytest_kiro.trials.runs import RunsCompared, compare_runs

FACTS = {
    "id": "r",
    "started": "2026-11-20T01:02:03+00:00",
    "ended": "2026-11-20T01:03:03+00:00",
    "duration": 60.0,
    "exit_status": 0,
    "complete": True,
    "interrupted": False,
    "collected": 1,
    "collection_errors": [],
    "python": "3.11",
    "platform": "linux",
    "pytest": "9",
    "pytest_kiro": "0",
    "kiro_cli": [],
    "sandbox": "local",
    "settings": {},
    "workers": 0,
    "workers_died": 0,
    "scripted": True,
    "scripted_note": "",
}
TOTALS = {
    "tests": {"count": 1, "by_outcome": {}},
    "turns": {"count": 1, "by_status": {}, "infrastructure": 0, "retried": 0},
    "credits": None,
    "stopped_by_budget": 0,
}


def run(*tests: dict[str, Any], version: int = 2, **more: Any) -> dict[str, Any]:
    """A results file."""
    file = {"format": "pytest-kiro-results", "version": version, "run": FACTS, "totals": TOTALS}
    return {**file, "tests": tests, "fixtures": [], **more}


def ended(name: str, *, passed: bool = True, trial: dict[str, Any] | None = None, **turn: Any) -> dict[str, Any]:
    """An eval as results files have it."""
    phase = {
        "name": "call",
        "outcome": "passed" if passed else "failed",
        "message": "" if passed else "AssertionError: no",
    }
    return {
        "nodeid": name,
        "outcome": "passed" if passed else "failed",
        "infrastructure": False,
        "worker": "main",
        "attempts": 1,
        "duration": 1.0,
        "credits": None,
        "phases": [phase],
        "turns": [{"number": 1, "status": "completed", "duration": 2.0, **turn}],
        "trial": trial,
    }


def trials(name: str, passes: int, count: int, **more: Any) -> list[dict[str, Any]]:
    return [
        ended(
            f"{name}[trial{number}]",
            passed=number <= passes,
            trial={"group": name, "number": number, "planned": count, "tolerant": True} | more,
        )
        for number in range(1, count + 1)
    ]


def write(folder: Path, name: str, data: object) -> Path:
    file = folder / name
    file.write_text(data if isinstance(data, str) else json.dumps(data))
    return file


def compared(tmp_path: Path, before: dict[str, Any], after: dict[str, Any]) -> RunsCompared:
    runs = [read_results(write(tmp_path, f"{number}.json", data)) for number, data in enumerate((before, after))]
    return compare_runs(*map(Side.of, runs), min_valid=0.9)


def test_tests_are_tasks_and_what_one_run_has_is_named(tmp_path: Path) -> None:
    before = run(
        *(ended(f"t.py::test_{n}") for n in range(8)), ended("t.py::test_old"), {**ended("plain"), "turns": []}
    )
    after = run(*(ended(f"t.py::test_{n}", passed=n > 6) for n in range(8)), ended("t.py::test_new"))
    runs = compared(tmp_path, before, after)
    assert (runs.only_before, runs.only_after) == (("t.py::test_old",), ("t.py::test_new",))
    assert runs.compared is not None
    assert runs.compared.decision is not None
    assert runs.compared.decision.finding == "worse"
    lines = [line for line, _ in runs_lines(runs)]
    assert lines[:3] == [
        "  before      8/8  100 % [68, 100] of 8 tasks  median 2.0 s  0 calls",
        "  after       1/8   12 % [0, 42] of 8 tasks  median 2.0 s  0 calls",
        "  after − before  -88 points [-98, -40], p = 0.0078: worse",
    ]
    assert "  t.py::test_0  ✓ → ✗  1/1 → 0/1" in lines
    assert lines[-2:] == ["  only before: t.py::test_old", "  only after: t.py::test_new"]


def test_a_test_that_got_another_name_is_compared_by_its_kiro_id(tmp_path: Path) -> None:
    before, after = ({**ended(f"t.py::{name}", passed=name == "old"), "kiro_id": "slug"} for name in ("old", "new"))
    runs = compared(tmp_path, run(before), run(after))
    assert (runs.only_before, runs.only_after, len(runs.pairs)) == ((), (), 1)
    assert "  t.py::old → t.py::new  ✓ → ✗  1/1 → 0/1" in [line for line, _ in runs_lines(runs)]
    assert compared(tmp_path, run(before), run({**after, "kiro_id": ""})).compared is None


def test_a_group_of_which_trials_were_left_out_is_not_compared(tmp_path: Path) -> None:
    whole = run(*trials("t.py::test", 5, 5))
    left = trials("t.py::test", 3, 5)
    left[4]["outcome"] = left[4]["phases"][0]["outcome"] = "not needed"
    runs = compared(tmp_path, whole, run(*left))
    assert runs.curtailed == ("t.py::test",)
    assert next(runs_lines(runs))[0] == "the runs have no test in common that can be compared"


def test_the_turns_of_a_shared_fixture_are_found(tmp_path: Path) -> None:
    throttled = {"number": 1, "status": "failed", "cause": "throttled", "infrastructure": True}
    shop = {"name": "fixture:shop", "worker": "gw0", "number": 2}
    fixture = {**shop, "file": "t.py", "credits": None, "turns": [throttled]}
    looked = {**ended("t.py::test"), "fixtures": [shop]}
    file = read_results(write(tmp_path, "r.json", run(looked, fixtures=[fixture])))
    (reference,) = file.tests[0].fixtures
    assert [turn.cause for turn in turns_of(file, reference)] == ["throttled"]


def test_version_1_is_read(tmp_path: Path) -> None:
    old = ended("t.py::test", engine="v2", version="2.29.0", model="claude")
    del old["trial"]
    (read,) = read_results(write(tmp_path, "old.json", run(old, version=1))).tests
    assert (read.turns[0].provenance.cli_version, read.turns[0].provenance.model) == ("2.29.0", "claude")


UNREADABLE = {
    "cut": ('{"format": "pytest-kiro-results", "ver', "is no JSON, or was cut"),
    "deep": ("[" * 100_000, "is no JSON, or was cut"),
    "other": ({"format": "junit"}, "is no results file of pytest-kiro"),
    "list": ([1], "is no results file of pytest-kiro"),
    "newer": (run(version=3), "has version 3 of the format; versions (1, 2) can be read"),
    "outcome": (
        run({**ended("t.py::test"), "outcome": "great"}),
        "lacks what a results file has: 'great', where one of 'passed'",
    ),
    "empty": ({"format": "pytest-kiro-results", "version": 2}, "lacks what a results file has"),
}


@pytest.mark.parametrize(("data", "message"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_named(tmp_path: Path, data: object, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_results(write(tmp_path, "r.json", data))
    assert message in str(caught.value)


# -- the command


def code(tmp_path: Path, before: object, after: object, *options: str) -> int:
    files = [str(write(tmp_path, f"{number}.json", data)) for number, data in enumerate((before, after))]
    return main(["compare", *files, *options])


def many(passes: int, **turn: Any) -> dict[str, Any]:
    return run(*(ended(f"t.py::test_{n}", passed=n < passes, **turn) for n in range(8)))


def test_the_exit_code_says_what_became_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code(tmp_path, many(8), many(0)) == 1
    assert code(tmp_path, many(0), many(8)) == 0
    assert code(tmp_path, many(4), many(5)) == 0
    assert code(tmp_path, many(4), many(5), "--undecided") == 3
    assert code(tmp_path, many(8), run(ended("other.py::test"))) == 2
    assert "no test in common" in capsys.readouterr().out
    assert code(tmp_path, many(8), "{") == 2
    assert "is no JSON" in capsys.readouterr().err
    assert code(tmp_path, many(8), run(*trials("t.py::test", 1, 1, gate="hope"))) == 2
    assert "t.py::test: its trials are no group: gate is 'hope'" in capsys.readouterr().err


def test_strict_refuses_what_was_not_answered_by_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = many(8, provenance={"cli_version": "2.29.0"}), many(0, provenance={"cli_version": "3.5.0"})
    assert code(tmp_path, one, other, "--strict") == 2
    said = capsys.readouterr()
    assert "what was not the same: kiro-cli 2.29.0 → 3.5.0" in said.out
    assert "--strict" in said.err
    assert code(tmp_path, one, other) == 1


SAME = {"prompt_hash": "p", "seed_hash": "s", "sandbox": "local"}
DRIFT: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "cli": ({"provenance": {"cli_version": "2.29.0"}}, {}, "kiro-cli 2.29.0 → not known"),
    "package": ({"provenance": {"agent_version": "0.66.26"}}, {}, "agent 0.66.26 → not known"),
    "agent": ({}, {"provenance": {"agent_asked": "reviewer"}}, "agent asked not known → reviewer"),
    "asked": ({"provenance": {"model_asked": "a"}}, {"provenance": {"model_asked": "b"}}, "model asked a → b"),
    "model": ({"provenance": {"model": "a"}}, {"provenance": {"model": "b"}}, "model a → b"),
    "effort": ({"provenance": {"effort": "low"}}, {"provenance": {"effort": "high"}}, "effort low → high"),
    "memory": ({"provenance": {"memory": "off"}}, {"provenance": {"memory": "on"}}, "memory off → on"),
    "engine": ({"provenance": {"engine": "v2"}}, {"provenance": {"engine": "v3"}}, "engine v2 → v3"),
    "sandbox": ({}, {"sandbox": "daytona image python:3.12"}, "sandbox local → daytona image python:3.12"),
    "prompt": ({}, {"prompt_hash": "other"}, "prompts of 8 tests"),
    "seed": ({}, {"seed_hash": "other"}, "seeds of 8 tests"),
}


@pytest.mark.parametrize(("before", "after", "named"), DRIFT.values(), ids=DRIFT)
def test_what_was_not_the_same_is_named_and_refused_with_strict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], before: dict[str, Any], after: dict[str, Any], named: str
) -> None:
    one, other = many(8, **{**SAME, **before}), many(8, **{**SAME, **after})
    assert code(tmp_path, one, other) == 0
    assert f"    what was not the same: {named}\n" in capsys.readouterr().out
    assert code(tmp_path, one, other, "--strict") == 2
    assert code(tmp_path, one, one, "--strict") == 0
    parts = [
        str(write(tmp_path, f"{name}.json", {**data, "run": {**FACTS, "id": name}}))
        for name, data in zip("ab", (one, other), strict=True)
    ]
    capsys.readouterr()
    assert main(["merge", *parts, "-o", str(tmp_path / "c.json"), "--strict"]) == 2
    assert named in capsys.readouterr().err
    assert not (tmp_path / "c.json").exists()


def test_checks_and_the_plugin_are_compared_and_what_is_not_known_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def checked(digest: str, plugin: str, **turn: Any) -> dict[str, Any]:
        file = run({**ended("t.py::test", **turn), "check_hash": digest}, ended("t.py::other"))
        return {**file, "run": {**FACTS, "pytest_kiro": plugin}}

    code(tmp_path, checked("x", "0.1"), checked("y", "0.2"))
    assert "what was not the same: check of t.py::test, plugin 0.1 → 0.2\n" in capsys.readouterr().out
    code(tmp_path, checked("", "0.1"), checked("y", "0.1", **SAME))
    assert "not the same" not in capsys.readouterr().out
    # A prompt that trials make up differently is the same when any of them is.
    one, other = (
        run(
            *(
                {**test, "turns": [{**test["turns"][0], "prompt_hash": name}]}
                for test, name in zip(trials("t", 2, 2), names, strict=True)
            )
        )
        for names in ("ab", "bc")
    )
    code(tmp_path, one, other)
    assert "not the same" not in capsys.readouterr().out


def test_a_run_that_was_broken_off_is_said_to_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code(tmp_path, many(8), {**many(8), "run": {**FACTS, "started": "2026-11-21T00:00:00", "complete": False}})
    assert "1.json, of 2026-11-21, which was not run whole" in capsys.readouterr().out
