"""An eval that cannot fail proves nothing: the self-check finds none, and each assertion catches some agent."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from evals_process import EVALS, Run, all_noticed, copy_evals, only_nothing, run_pytest

MUTANTS = tomllib.loads((Path(__file__).parent / "mutants.toml").read_text())["mutant"]


class Death(NamedTuple):
    """The assertion at which an eval failed."""

    file: str
    line: int


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A self-check of the evals, on what their scenarios give."""
    folder = tmp_path_factory.mktemp("checked")
    copy_evals(folder / "evals")
    return run_pytest(folder, "evals", "--kiro-selfcheck")


@pytest.fixture(scope="module")
def mutants(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One run of all mutants, each in a folder of its own."""
    folder = tmp_path_factory.mktemp("mutants")
    for number, mutant in enumerate(MUTANTS):
        mutate(copy_evals(folder / f"m{number}"), mutant)
    evals = (f"m{number}/{mutant['eval']}" for number, mutant in enumerate(MUTANTS))
    return run_pytest(folder, "--import-mode=importlib", *evals)


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


def test_each_fails_when_nothing_is_done(tmp_path: Path) -> None:
    only_nothing(copy_evals(tmp_path / "evals"))
    all_noticed(run_pytest(tmp_path, "evals", "--kiro-selfcheck"))


def test_each_notices_what_the_self_check_alters(checked: Run) -> None:
    all_noticed(checked)
    assert "allows what is not there" not in checked.output


def test_a_worse_agent_fails_and_every_assertion_catches_something(checked: Run, mutants: Run) -> None:
    """One test, since the run of all mutants is a long one."""
    wrong, caught = (
        {},
        {Death(file, int(line)) for file, line in re.findall(r"killed at (\S+):(\d+): ", checked.output)},
    )
    for number, mutant in enumerate(MUTANTS):
        try:
            where = death(mutants.results[f"m{number}/{mutant['eval']}"])
        except AssertionError as error:
            wrong[f"{mutant['eval']}: {mutant['does']}"] = str(error)
            continue
        said = (EVALS / where.file).read_text().splitlines()[where.line - 1]
        if mutant["dies_at"] not in said:
            wrong[f"{mutant['eval']}: {mutant['does']}"] = f"dies at {said}"
        caught.add(where)
    assert wrong == {}

    written = {
        Death(file.name, node.lineno): file.read_text().splitlines()[node.lineno - 1].strip()
        for file in EVALS.glob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Assert)
    }

    assert {where: text for where, text in written.items() if where not in caught} == {}
