"""Evals are recorded and replayed: what a run says of it, what is a miss, what is run again, what is removed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
from eval_runs import Evals, shell, turn, write

EVALS = """
    import pytest

    @pytest.fixture(scope="module")
    def shop(kiro):
        return kiro.run("Open the shop.")

    @pytest.mark.kiro(workspace="project")
    def test_two(kiro):
        kiro.run("Write a.py.")
        kiro.workspace.exec("echo more >> notes").check()
        turn = kiro.run("Say what you did.")
        assert "done" in turn.text.lower()
        ASSERT

    def test_shop(shop):
        assert "open" in shop.text.lower()

    def test_fails(kiro):
        assert kiro.run("Add.").text == "5"
"""
SCENARIO = {
    "test_two": [turn(["I write it.", write("a.py", "print('hello')\n")], ["Written."]), "Done."],
    "fixture:shop": ["It is open."],
    "test_fails": ["4"],
}
REPLAY = "--kiro-replies=recording"


def written(evals: Evals, *, added: str = "", source: str = EVALS) -> None:
    """Write the evals, with an assert that is added."""
    evals.write("test_it.py", source.replace("ASSERT", added), SCENARIO)
    project = evals.path / "project"
    project.mkdir(exist_ok=True)
    (project / "seed.txt").write_text("seed\n")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the recordings are, once one of these tests has made them."""
    return tmp_path_factory.mktemp("kept") / "recordings"


@pytest.fixture
def recorded(evals: Evals, kept: Path) -> Evals:
    """Evals that were recorded, and of which no scenario is left."""
    written(evals)
    if not kept.exists():
        evals.run("--kiro-record=all").assert_outcomes(passed=2, failed=1)
        (evals.path / "recordings").rename(kept)
    shutil.copytree(kept, evals.path / "recordings", symlinks=True)
    shutil.rmtree(evals.path / "scenarios")
    return evals


def test_an_assert_that_is_added_later_runs_on_what_was_recorded(recorded: Evals) -> None:
    added = """assert kiro.workspace.exec("python3 a.py").output == "hello\\n"
        assert turn.conversation.turns[0].changes.added == {"a.py"}
        assert kiro.workspace.changes().added == {"a.py"}
        assert (turn.provenance.recorded, kiro.installation.path) == (DAY, "kiro-cli")"""
    day = json.loads((recorded.path / "recordings/test_it/test_two/trial-1/recording.json").read_text())["made"]["day"]
    written(recorded, added=added.replace("DAY", repr(day)))
    shutil.rmtree(recorded.path / "scenarios")
    result = recorded.run(REPLAY, "--kiro-results=r.json", "--junitxml=j.xml", "--kiro-sandbox=daytona")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "kiro: sandbox local (a replay needs no daytona), recordings answer: Kiro is not asked",
            "*kiro: 4 turns, 4 completed",
            "replayed: 4 turns, recorded today with the stand-in; Kiro was not asked for them",
            "replayed 3 trials: no verdict changed",
        ]
    )
    run = json.loads((recorded.path / "r.json").read_text())
    turns = [turn for test in run["tests"] for turn in test["turns"]]
    assert {turn["recording"] for turn in turns} == {"replayed"}
    assert {turn["provenance"]["recorded"] for turn in turns} == {day}
    assert [test["recorded_outcome"] for test in run["tests"]] == ["passed", "passed", "failed"]
    properties = ElementTree.parse(recorded.path / "j.xml").iter("property")
    said = {one.get("name"): one.get("value", "") for one in properties}
    assert said["kiro"].endswith(f"replayed: recorded {day}")
    assert f"recorded {day}" in said["kiro_provenance"]


def test_verdicts_that_changed_are_counted(recorded: Evals) -> None:
    written(recorded, added="assert False", source=EVALS.replace('"5"', '"4"'))
    result = recorded.run(REPLAY)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["replayed 3 trials: 2 verdicts changed (1 now passes, 1 now fails)"])


def test_a_miss_is_an_error_and_says_what_to_do(recorded: Evals) -> None:
    (recorded.path / "project/seed.txt").write_text("another\n")
    written(recorded, source=EVALS.replace("test_fails", "test_renamed").replace("Open the", "Close the"))
    (recorded.path / "project/seed.txt").write_text("another\n")
    result = recorded.run(REPLAY)
    result.assert_outcomes(failed=2, errors=1)
    result.stdout.fnmatch_lines_random(
        [
            "*RecordingMiss: test_it.py::test_two: before turn 1 of conversation 1, *; with another content: seed.txt",
            "*record it: pytest test_it.py::test_two --kiro-record=all",
            "*RecordingMiss: fixture:shop: turn 1 of conversation 1 has another prompt than was recorded *",
            "*RecordingMiss: test_it.py::test_renamed: there is no recording of it; *of test_fails is like it*",
        ]
    )


def test_what_is_missing_is_run_and_what_is_there_is_replayed(evals: Evals) -> None:
    written(evals)
    evals.run("--kiro-record=missing", "-k", "test_two").assert_outcomes(passed=1, deselected=2)
    scenario = evals.path / "scenarios/test_it.toml"
    scenario.write_text(scenario.read_text().replace("Done.", "Not any more."))
    result = evals.run("--kiro-record=missing", "--kiro-results=r.json")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        ["replayed: 2 turns, *", "recorded: 2 turns of the stand-in", "replayed 1 trial: no verdict changed"]
    )
    tests = json.loads((evals.path / "r.json").read_text())["tests"]
    assert [turn["recording"] for test in tests for turn in test["turns"]] == ["replayed", "replayed", "recorded"]
    shutil.rmtree(evals.path / "scenarios")
    evals.run(REPLAY).assert_outcomes(passed=2, failed=1)


def test_who_stops_a_turn_earlier_than_it_was_recorded_does_not_know(evals: Evals) -> None:
    source = """
        def test_stop(kiro):
            with kiro.stream("Go.") as live:
                live.expect("WORD")
            assert live.turn.status == "stopped"
    """
    answers = [turn(["One.", shell("true")], ["Two.", shell("true")], ["Three.", shell("sleep 600")])]
    evals.write("test_it.py", source.replace("WORD", "Three"), {"test_stop": answers})
    evals.run("--kiro-record=all").assert_outcomes(passed=1)
    evals.run(REPLAY).assert_outcomes(passed=1)
    evals.write("test_it.py", source.replace("WORD", "One"))
    result = evals.run(REPLAY)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *RecordingMiss: *recorded as stopped (the test stopped it) after more output: *"])


def test_recordings_that_no_test_asks_for_are_named_and_pruned(recorded: Evals) -> None:
    table = recorded.path / "recordings/test_it"
    written(recorded, source=EVALS.replace("def test_fails", "def not_a_test"))
    old = table / "test_old[a]/trial-1"
    shutil.copytree(table / "test_fails", old.parent)
    shutil.copytree(table / "test_two/trial-1", table / "test_two/trial-2")

    part = recorded.run(REPLAY, "--kiro-record=prune", "-k", "test_two")
    part.assert_outcomes(passed=1, deselected=1)
    part.stdout.no_fnmatch_line("*asks for*")
    new = recorded.write("test_it.py", "def test_tow(kiro):\n    kiro.run('Whatever.')\ndef test_two(kiro): pass\n")
    recorded.run(REPLAY, "-k", "test_tow").stdout.no_fnmatch_line("*of test_two is like it*")
    new.unlink()
    written(recorded, source=EVALS.replace("def test_fails", "def not_a_test"))
    named = recorded.run(REPLAY)
    named.assert_outcomes(passed=2)
    unused = "test_it/test_fails/trial-1, test_it/test_old[[]a]/trial-1, test_it/test_two/trial-2"
    named.stdout.fnmatch_lines([f"no test asked for 3 recordings: {unused}; --kiro-record=prune removes them"])
    assert old.exists()

    pruned = recorded.run(REPLAY, "--kiro-record=prune")
    pruned.stdout.fnmatch_lines([f"removed 3 recordings that no test asks for: {unused}"])
    left = sorted(str(path.relative_to(table)) for path in table.glob("*/trial-*"))
    assert left == ["fixture-shop/trial-1", "test_shop/trial-1", "test_two/trial-1"]
    recorded.run(REPLAY).assert_outcomes(passed=2)


def test_workers_tell_what_they_asked_for(recorded: Evals) -> None:
    pytest.importorskip("xdist")
    shutil.copytree(recorded.path / "recordings/test_it/test_two", recorded.path / "recordings/test_it/test_gone")
    result = recorded.run("-n", "2", REPLAY, "--kiro-record=prune")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "replayed 3 trials: no verdict changed",
            "removed 1 recording that no test asks for: test_it/test_gone/trial-1",
        ]
    )
    assert {path.name for path in Path(recorded.path / "recordings/test_it").iterdir()} == {
        "fixture-shop",
        "test_fails",
        "test_shop",
        "test_two",
    }
