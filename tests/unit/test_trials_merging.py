"""Several results files as one: shards, samples that grow, and what cannot be merged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from test_trials_runs import FACTS, ended, run, trials, write

from pytest_kiro.__main__ import main
from pytest_kiro.errors import SettingsError
from pytest_kiro.records.reading import read_results, turns_of
from pytest_kiro.records.run import SCHEMA, RunRecord
from pytest_kiro.trials.merging import merge
from pytest_kiro.trials.sequential import confidence_sequence

NAME = "t.py::test"


def file(name: str, *tests: dict[str, Any], facts: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A results file of a run with this id."""
    return run(*tests, **{"run": {**FACTS, "id": name, **(facts or {})}, **more})


def merged(tmp_path: Path, *files: dict[str, Any], sequential: bool = False) -> RunRecord:
    """What files are together; it is as the schema wants it."""
    runs = [read_results(write(tmp_path, f"{number}.json", data)) for number, data in enumerate(files)]
    result = merge(runs, sequential=sequential)
    jsonschema.validate(result.to_json(file=True), json.loads(SCHEMA.read_text()))
    return result


def test_shards_are_put_together(tmp_path: Path) -> None:
    one = file("a", ended("t.py::a"), *trials(NAME, 3, 4, pass_rate=0.5))
    other = file("b", ended("t.py::b", passed=False), facts={"exit_status": 1, "started": "2026-11-19T01:02:03+00:00"})
    result = merged(tmp_path, one, other)
    assert [test.nodeid for test in result.tests] == [
        "t.py::a", *(f"{NAME}[trial{n}]" for n in (1, 2, 3, 4)), "t.py::b"
    ]  # fmt: skip
    (group,) = result.groups
    assert (group.passed, group.failed, group.planned, group.verdict) == (3, 1, 4, "passed")
    assert (result.totals.tests.count, result.totals.turns.count) == (6, 6)
    assert result.totals.tests.by_outcome == {"passed": 4, "failed": 2}
    facts = result.run
    assert (facts.id, facts.started, facts.exit_status, facts.collected) == ("a+b", "2026-11-19T01:02:03+00:00", 1, 2)
    assert facts.complete


def test_trials_that_shards_have_shared_out_keep_their_numbers(tmp_path: Path) -> None:
    every = trials(NAME, 2, 4)
    result = merged(tmp_path, file("a", *every[:2]), file("b", *every[2:]))
    (group,) = result.groups
    assert (group.planned, group.passed, group.failed, group.sequential) == (4, 2, 2, False)


@pytest.mark.parametrize("name", [NAME, f"{NAME}[a-b]"])
def test_the_same_trials_are_renumbered_behind_the_earlier_ones(tmp_path: Path, name: str) -> None:
    def sample(run_id: str, passes: int) -> dict[str, Any]:
        own = trials(name, passes, 3, pass_rate=0.6)
        for number, test in enumerate(own, 1):
            test["nodeid"] = f"{name[:-1]}-trial{number}]" if name.endswith("]") else f"{name}[trial{number}]"
        return file(run_id, *own)

    result = merged(tmp_path, sample("a", 3), sample("b", 1), sample("c", 2))
    (group,) = result.groups
    assert (group.planned, group.passed, group.verdict) == (9, 6, "passed")
    last = result.tests[-1]
    assert last.nodeid == ("t.py::test[a-b-trial9]" if name.endswith("]") else "t.py::test[trial9]")
    assert last.trial is not None
    assert (last.trial.number, last.trial.planned, last.outcome) == (9, 9, "failed")
    assert len({test.nodeid for test in result.tests}) == 9


def test_tests_without_trials_become_trials(tmp_path: Path) -> None:
    result = merged(
        tmp_path,
        file("a", ended(NAME)),
        file("b", ended(NAME, passed=False)),
        file("c", *trials(NAME, 2, 2, tolerant=False)),
    )
    (group,) = result.groups
    assert (group.planned, group.passed, group.failed, group.verdict) == (4, 3, 1, "failed")
    assert [test.nodeid for test in result.tests] == [f"{NAME}[trial{n}]" for n in (1, 2, 3, 4)]


@pytest.mark.parametrize("order", ["abc", "acb", "bca"])
def test_shards_are_found_whatever_was_merged_before_them(tmp_path: Path, order: str) -> None:
    """Else the trials of the second shard would be numbered behind all others, and leave a gap before them."""
    files = {"a": file("a", *trials(NAME, 4, 4)), "b": file("b", *trials(NAME, 4, 4)[:2])}
    files["c"] = file("c", *trials(NAME, 2, 4)[2:])
    (group,) = merged(tmp_path, *(files[name] for name in order)).groups
    assert (group.planned, group.passed, group.failed, group.not_run) == (8, 6, 2, 0)


@pytest.mark.parametrize("order", ["abc", "acb", "cab"])
def test_tests_without_trials_take_on_the_mark_of_others(tmp_path: Path, order: str) -> None:
    files = {"a": file("a", ended(NAME)), "b": file("b", ended(NAME, passed=False))}
    files["c"] = file("c", *trials(NAME, 2, 2, pass_rate=0.7))
    (group,) = merged(tmp_path, *(files[name] for name in order)).groups
    assert (group.planned, group.passed, group.failed, group.pass_rate, group.verdict) == (4, 3, 1, 0.7, "passed")


def test_tests_without_trials_that_were_merged_before_are_said_to_have_no_mark(tmp_path: Path) -> None:
    plain = merged(tmp_path, file("a", ended(NAME)), file("b", ended(NAME)))
    marked = read_results(write(tmp_path, "c.json", file("c", *trials(NAME, 2, 2, pass_rate=0.7))))
    with pytest.raises(SettingsError, match="take on that of others in one merge"):
        merge([plain, marked])


def test_what_was_added_to_trials_goes_on_behind_them(tmp_path: Path) -> None:
    """As `--kiro-more` numbers them; a trial that was not needed leaves its number to others."""
    more = trials(NAME, 5, 5, pass_rate=0.4, sequential=True)[2:]
    result = merged(tmp_path, left_out(NAME, 2, 5, "a"), file("b", *more))
    (group,) = result.groups
    assert (group.planned, group.passed, group.not_needed, group.not_run, group.sequential) == (5, 5, 0, 0, True)
    assert [test.nodeid for test in result.tests] == [f"{NAME}[trial{n}]" for n in (1, 2, 3, 4, 5)]


def test_a_test_that_got_another_name_is_found_by_its_kiro_id(tmp_path: Path) -> None:
    def sample(run_id: str, name: str) -> dict[str, Any]:
        words = {"comparison": name, "parameter": "p", "baseline": "a", "variant": "a", "task": name}
        own = trials(f"{name}[a]", 3, 3, variant=words)
        return file(run_id, *({**test, "kiro_id": "slug[a]"} for test in own))

    result = merged(tmp_path, sample("a", "t.py::old"), sample("b", "t.py::new"))
    (group,) = result.groups
    assert (group.name, group.planned, group.passed) == ("t.py::new[a]", 6, 6)
    assert [test.nodeid for test in result.tests] == [f"t.py::new[a-trial{n}]" for n in range(1, 7)]
    assert {test.trial.variant.task for test in result.tests if test.trial and test.trial.variant} == {"t.py::new"}


def test_a_test_that_is_no_eval_was_run_again(tmp_path: Path) -> None:
    one, other = ({**ended("plain", passed=passed), "turns": []} for passed in (False, True))
    (test,) = merged(tmp_path, file("a", one), file("b", other)).tests
    assert (test.nodeid, test.outcome, test.attempts) == ("plain", "passed", 2)
    assert [(phase.attempt, phase.outcome) for phase in test.phases] == [(1, "failed"), (2, "passed")]


def test_fixtures_stay_apart(tmp_path: Path) -> None:
    """Else a throttled turn of one run would make a trial of the other lost."""
    shop = {"name": "fixture:shop", "worker": "main", "number": 1}

    def sample(run_id: str, cause: str | None) -> dict[str, Any]:
        turn = {
            "number": 1,
            "status": "failed" if cause else "completed",
            "cause": cause,
            "infrastructure": bool(cause),
        }
        own = trials(NAME, 1, 1)[0]
        fixture = {**shop, "trial": 1, "file": "t.py", "credits": None, "turns": [turn]}
        return file(run_id, {**own, "fixtures": [shop]}, fixtures=[fixture])

    result = merged(tmp_path, sample("a", None), sample("b", "throttled"))
    assert [(one.number, one.trial) for one in result.fixtures] == [(1, 1), (2, 2)]
    causes = [[turn.cause for turn in turns_of(result, test.fixtures[0])] for test in result.tests]
    assert causes == [[None], ["throttled"]]
    (group,) = result.groups
    assert (group.passed, group.lost) == (1, {"throttled": 1})


def test_comparisons_are_computed_anew(tmp_path: Path) -> None:
    def sample(run_id: str) -> dict[str, Any]:
        words = {"comparison": NAME, "parameter": "prompt", "baseline": "plain", "task": NAME}
        arms = [
            trials(f"{NAME}[{variant}]", passes, 5, variant={**words, "variant": variant})
            for variant, passes in (("plain", 1), ("edge", 5))
        ]
        return file(run_id, *(test for arm in arms for test in arm))

    result = merged(tmp_path, sample("a"), sample("b"))
    (comparison,) = result.comparisons
    assert (comparison.finding, comparison.difference) == ("better", pytest.approx(0.8))


def test_sequential_samples_have_wider_intervals_and_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = (file(name, *trials(NAME, 9, 10, pass_rate=0.6, gate="demonstrate")) for name in "ab")
    result = merged(tmp_path, one, other, sequential=True)
    (group,) = result.groups
    interval = confidence_sequence(18, 20)
    assert (group.sequential, group.low, group.high) == (True, interval.low, interval.high)
    assert merged(tmp_path, one, other).groups[0].verdict == "passed"
    assert interval.low < 0.6  # so that a gate that asks for certainty is not passed
    assert (group.verdict, group.reason) == ("undecided", "trials were added because of what the first ones had shown")
    parts = [str(write(tmp_path, f"{name}.json", data)) for name, data in (("a", one), ("b", other))]
    output = tmp_path / "c.json"
    assert main(["merge", *parts, "-o", str(output), "--sequential"]) == 0
    assert "✗  18/20  90 % [59, 100]  sequential  demonstrate 60 %: undecided (trials were" in capsys.readouterr().out
    more = write(tmp_path, "d.json", file("d", *trials(NAME, 9, 10, pass_rate=0.6, gate="demonstrate")))
    assert main(["merge", str(output), str(more), "-o", str(output)]) == 0
    (again,) = read_results(output).groups
    assert (again.sequential, again.planned) == (True, 30)


def test_a_shard_that_was_not_run_whole_makes_the_whole_incomplete(tmp_path: Path) -> None:
    one, other = file("a", ended("t.py::a")), file("b", ended("t.py::b"), facts={"complete": False})
    assert not merged(tmp_path, one, other).run.complete


def left_out(name: str, passes: int, count: int, run_id: str) -> dict[str, Any]:
    """A run in which trials were not needed."""
    own = trials(name, passes, count, pass_rate=0.4)
    for test in own[passes:]:
        test["outcome"] = test["phases"][0]["outcome"] = "not needed"
    group = {**dict.fromkeys(("planned", "all_of", "any_of"), 1), "name": name, "rate": 0.123}
    group |= {"pass_rate": 0.4, "gate": "point", "passed": 2, "failed": 0, "lost": {}, "not_needed": 3, "not_run": 0}
    group |= {"low": 0.0, "high": 1.0, "verdict": "passed", "reason": "", "failures": {}}
    return file(run_id, *own, groups=[group])


def test_trials_that_were_left_out_are_no_fixed_sample(tmp_path: Path) -> None:
    result = merged(tmp_path, left_out(NAME, 2, 5, "a"), file("b", *trials(NAME, 3, 5, pass_rate=0.4)), sequential=True)
    (group,) = result.groups
    assert (group.planned, group.passed, group.failed, group.not_needed, group.sequential) == (7, 5, 2, 0, True)
    (kept,) = merged(tmp_path, left_out(NAME, 2, 5, "a"), file("b", ended("t.py::b"))).groups
    assert (kept.not_needed, kept.rate, kept.verdict) == (3, 0.123, "passed")


COMPARED = {"name": NAME, "parameter": "p", "baseline": "a", "variant": "b", "tasks": 1, "finding": None, "reason": ""}
REFUSED: dict[str, tuple[dict[str, Any] | str, dict[str, Any] | str, str]] = {
    "one_run_twice": (file("a+b", ended("x")), file("b", ended("y")), "the run b is in two of the files"),
    "another_format": (file("a", ended("x")), {"format": "junit"}, "is no results file of pytest-kiro"),
    "cut": (file("a", ended("x")), "{", "is no JSON, or was cut"),
    "another_rate": (
        file("a", *trials(NAME, 1, 2, pass_rate=0.5)),
        file("b", *trials(NAME, 1, 2, pass_rate=0.6)),
        "is not the same in all files: its trials differ in pass_rate",
    ),
    "left_out": (left_out(NAME, 2, 5, "a"), left_out(NAME, 2, 5, "b"), "some trials were left out"),
    "aa": (
        file("a", ended("x"), comparisons=[{**COMPARED, "alike": True}]),
        file("b", ended("y"), comparisons=[COMPARED]),
        "every variant is the baseline (--kiro-aa)",
    ),
    "one_name": (file("a", ended("x"), ended("x")), file("b", ended("y")), "two tests are named x"),
    "one_number": (
        file("a", *trials(NAME, 1, 1), {**trials(NAME, 1, 1)[0], "nodeid": "other"}),
        file("b", ended("y")),
        f"{NAME} has two trials 1",
    ),
    "beyond": (
        file("a", trials(NAME, 1, 9)[8] | {"trial": {"group": NAME, "number": 9, "planned": 5}}),
        file("b", ended("y")),
        f"{NAME} has a trial 9 of 5",
    ),
    "one_id": (
        file("a", *({**ended(name), "kiro_id": "slug"} for name in ("x", "y"))),
        file("b", ended("z")),
        "x and y have one kiro_id, slug",
    ),
    "a_million": (file("a", *trials(NAME, 1, 1, planned=10**6)), file("b", ended("x")), "trials is 1000000"),
    "no_number": (file("a", *trials(NAME, 1, 1, pass_rate=float("nan"))), file("b", ended("x")), "pass_rate is nan"),
    "no_gate": (
        file("a", *trials(NAME, 1, 2, gate="hope")),
        file("b", ended("x")),
        "its trials are no group: gate is 'hope'",
    ),
}


@pytest.mark.parametrize(("one", "other", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_merged_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], one: Any, other: Any, message: str
) -> None:
    parts = [str(write(tmp_path, f"{number}.json", data)) for number, data in enumerate((one, other))]
    assert main(["merge", *parts, "-o", str(tmp_path / "c.json")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "c.json").exists()


def test_no_file_is_lost_that_is_no_results_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = [str(write(tmp_path, f"{name}.json", file(name, ended(name)))) for name in "ab"]
    mine = write(tmp_path, "mine.txt", "my thesis")
    assert main(["merge", *parts, "-o", str(mine)]) == 2
    assert mine.read_text() == "my thesis"
    assert main(["merge", parts[0], str(tmp_path / "none.json"), "-o", str(tmp_path / "c.json")]) == 2
    said = capsys.readouterr().err
    assert "is no results file: it would be lost" in said
    assert "none.json cannot be read: No such file or directory" in said


def test_what_answered_differently_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [
        str(write(tmp_path, f"{name}.json", file(name, ended(name, provenance={"cli_version": version}))))
        for name, version in (("a", "2.29.0"), ("b", "3.5.0"))
    ]
    assert main(["merge", *files, "-o", str(tmp_path / "c.json")]) == 0
    said = capsys.readouterr()
    assert "b.json and" in said.err
    assert "kiro-cli 2.29.0 → 3.5.0" in said.err
    assert said.out.endswith("c.json: 2 runs, 2 tests, 2 turns\n")
