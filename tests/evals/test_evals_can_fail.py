"""An eval that cannot fail proves nothing: each fails with an agent that does nothing, and at each of its asserts."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from evals_process import EVALS, Run, copy_evals, run_pytest

NOTHING = [["I have done what you asked."]]
MUTANTS = tomllib.loads((Path(__file__).parent / "mutants.toml").read_text())["mutant"]


class Death(NamedTuple):
    """The assertion at which an eval failed."""

    file: str
    line: int


@pytest.fixture(scope="module")
def nothing(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with an agent that answers and does nothing."""
    folder = tmp_path_factory.mktemp("nothing")
    evals = copy_evals(folder / "evals")
    for file in (evals / "scenarios").iterdir():
        file.write_text(do_nothing(tomllib.loads(file.read_text())))
    return run_pytest(folder, "evals")


@pytest.fixture(scope="module")
def mutants(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One run of all mutants, each in a folder of its own."""
    folder = tmp_path_factory.mktemp("mutants")
    for number, mutant in enumerate(MUTANTS):
        mutate(copy_evals(folder / f"m{number}"), mutant)
    evals = (f"m{number}/{mutant['eval']}" for number, mutant in enumerate(MUTANTS))
    return run_pytest(folder, "--import-mode=importlib", *evals)


def do_nothing(scenario: dict[str, Any]) -> str:
    """Return a scenario of the same turns in which nothing is done."""
    lines = []
    for table, value in scenario.items():
        for turn in value["turn"]:
            lines += [f"[[{json.dumps(table)}.turn]]", f"requests = {json.dumps(NOTHING)}"]
            lines += [f"{key} = {turn[key]}" for key in ("conversation", "trial") if key in turn]
    return "\n".join(lines)


def mutate(evals: Path, mutant: dict[str, Any]) -> None:
    """Edit a copy of the evals; an edit that finds nothing to change is a mistake."""
    module = mutant["eval"].partition(".py")[0]
    for edit in mutant["edits"]:
        file = evals / edit.get("file", f"scenarios/{module}.toml")
        text = file.read_text()
        begin = text.index(edit["old"])
        end = text.index(edit["to"], begin) + len(edit["to"]) if "to" in edit else begin + len(edit["old"])
        file.write_text(text[:begin] + edit["new"] + text[end:])


def death(report: str | None) -> Death:
    """Return where an eval failed: at an assertion of its own, and not because the run itself was broken."""
    assert report is not None, "it passed"
    assert report.startswith("failure: "), report
    assert re.search(r": (AssertionError|CommandFailed)\s*$", report), report
    file, line = re.findall(r"^\S*\b(test_\w+\.py):(\d+): ", report, re.MULTILINE)[-1]
    return Death(file, int(line))


def test_each_fails_when_nothing_is_done(nothing: Run) -> None:
    assert len(nothing.results) >= 15
    assert "leaked 0" in nothing.output
    passed = [name for name, report in nothing.results.items() if report is None]

    assert passed == []
    for report in nothing.results.values():
        death(report)


def test_a_worse_agent_fails_and_every_assertion_catches_something(nothing: Run, mutants: Run) -> None:
    """One test, since the run of all mutants is a long one."""
    wrong = {}
    for number, mutant in enumerate(MUTANTS):
        try:
            file, line = death(mutants.results[f"m{number}/{mutant['eval']}"])
        except AssertionError as error:
            wrong[f"{mutant['eval']}: {mutant['does']}"] = str(error)
        else:
            said = (EVALS / file).read_text().splitlines()[line - 1]
            if mutant["dies_at"] not in said:
                wrong[f"{mutant['eval']}: {mutant['does']}"] = f"dies at {said}"
    assert wrong == {}

    caught = {death(report) for run in (nothing, mutants) for report in run.results.values()}
    written = {
        Death(file.name, node.lineno): file.read_text().splitlines()[node.lineno - 1].strip()
        for file in EVALS.glob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Assert)
    }

    assert {where: text for where, text in written.items() if where not in caught} == {}
