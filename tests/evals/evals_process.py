"""Runs the product's evals as their user does: `pytest evals`, in a process of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import zygote

from pytest_kiro.recording.mutants import KINDS

EVALS = Path(__file__).parents[2] / "evals"
DEADLINE = 180
#: Leaves out all altered recordings but those of the agent that does nothing.
QUICK = f"""

def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.kiro_selfcheck(allow={list(KINDS)[1:]}, reason="they take long"))
"""


@dataclass(frozen=True)
class Run:
    """What a run printed, and how each test ended: its failure's text, None when it passed."""

    code: int
    output: str
    results: Mapping[str, str | None]


def copy_evals(folder: Path) -> Path:
    """Copy the evals without what running them left behind."""
    return Path(shutil.copytree(EVALS, folder, ignore=shutil.ignore_patterns("__pycache__")))


def run_pytest(folder: Path, *words: str, env: Mapping[str, str] | None = None, background: bool = False) -> Run:
    """Run pytest in `folder`, offline, away from this repository's settings and caches."""
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\nfilterwarnings = error\n")
    junit = folder / "junit.xml"
    # What these runs execute is covered by those of tests/plugin.
    ours = ("PYTEST_", "KIRO_", "COVERAGE_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    env = {**inherited, **(env or {}), "PYTHONDONTWRITEBYTECODE": "1"}
    args = ["-p", "no:cacheprovider", f"--junitxml={junit}", "--kiro-cli=scripted", "--kiro-sandbox=local", *words]
    if background:  # as `pytest evals &` in a script, so that SIGINT is ignored and everything inherits that
        command = ["sh", "-c", '"$@" & wait "$!"', "sh", sys.executable, "-m", "pytest", *args]
        done = subprocess.run(
            command, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE
        )
    else:
        done = zygote.run("pytest", args, cwd=folder, env=env, timeout=DEADLINE)
    output = done.stdout + done.stderr
    assert junit.exists(), output
    cases = filter(_is_a_test, ElementTree.parse(junit).iter("testcase"))
    return Run(done.returncode, output, dict(map(_result, cases)))


def only_nothing(evals: Path) -> None:
    """Let the self-check try no agent but the one that does nothing."""
    with (evals / "conftest.py").open("a") as conftest:
        conftest.write(QUICK)


def all_noticed(run: Run) -> None:
    """Check that no altered recording of any eval went unnoticed."""
    assert run.code == 0, run.output
    summary = re.search(r"^(\d+) evals: (\d+) of (\d+) altered recordings noticed, (\d+) allowed$", run.output, re.M)
    assert summary, run.output
    evals, noticed, every, allowed = map(int, summary.groups())
    assert evals >= 20
    assert noticed + allowed == every
    assert "leaked 0" in run.output


def _is_a_test(case: ElementTree.Element) -> bool:
    """Whether an eval's asserts decide it: trials of a group and comparisons have no failure of their own."""
    properties = {one.get("name"): one.get("value") for one in case.iter("property")}
    return "kiro_trial" not in properties and properties.get("kiro_verdict") not in _FINDINGS


def _result(case: ElementTree.Element) -> tuple[str, str | None]:
    """Return a test's node id, and what its report says unless it passed."""
    name = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"
    reports = [f"{part.tag}: {part.get('message')}\n{part.text}" for part in case if part.tag in _NOT_PASSED]
    return name, "\n".join(reports) or None


_FINDINGS = ("better", "worse", "undecided", "insufficient")
_NOT_PASSED = ("failure", "error", "skipped")
