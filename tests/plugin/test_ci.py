"""The workflows of docs/ci.md, whose commands are run as a runner would run them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from eval_runs import DEADLINE, QUIET, Evals, turn, write

ROOT = Path(__file__).parents[2]
PAPER = ROOT / "docs/ci.md"
needs_papers = pytest.mark.skipif(not PAPER.exists(), reason="a copy of the tests alone has no papers")
SOURCE = """
    def test_writes(kiro):
        kiro.run("Write a.py.")
        assert kiro.workspace.exec("python3 a.py").output == "1\\n"
"""
ANSWERS = {"test_writes": [turn([write("a.py", "print(1)\n")], ["Done."])]}


def workflows() -> dict[str, Any]:
    blocks = re.findall(r"^```yaml\n# (\S+)\n(.*?)^```", PAPER.read_text(), re.MULTILINE | re.DOTALL)
    return {name: yaml.safe_load(text) for name, text in blocks}


class Runner:
    """Runs the steps of a job in a checkout; what it installs is there already."""

    def __init__(self, evals: Evals, **variables: str) -> None:
        self.evals, self.summary, self._variables = evals, evals.tmp / "summary.md", evals.tmp / "variables"
        (evals.path / "evals").mkdir(exist_ok=True)
        self.env = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTEST_ADDOPTS": shlex.join(QUIET),
            "GITHUB_ACTIONS": "true",
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "GITHUB_ENV": str(self._variables),
            **variables,
        }

    def run(self, command: str) -> str:
        """Run one step, which must go well; return its log. A shell is started where it has something to do."""
        words = shlex.split(command)
        if words[:3] == ["python", "-m", "pytest"] and not set(command) & set("|&;<>()$`\\\"'*?[]#~\n"):
            done = self.evals.detached("pytest", *words[3:], **self.env)
        else:
            done = subprocess.run(
                ["bash", "-e", "-c", command],
                cwd=self.evals.path,
                env=self.env,
                capture_output=True,
                text=True,
                timeout=DEADLINE,
                check=False,
            )
        log = done.stdout + done.stderr
        assert done.returncode == 0, log
        if self._variables.exists():
            self.env |= dict(line.split("=", 1) for line in self._variables.read_text().splitlines())
        return log

    def job(self, job: dict[str, Any]) -> None:
        for step in job["steps"]:
            if "run" in step and not step["run"].startswith("python -m pip install"):
                self.run(step["run"])
            elif step.get("uses", "").startswith("actions/upload-artifact"):
                for path in step["with"]["path"].split():
                    assert (self.evals.path / path).exists(), path


def project(evals: Evals) -> None:
    (evals.path / "evals").mkdir()
    evals.write("evals/test_it.py", SOURCE)
    evals.write("evals/conftest.py", "")
    scenarios = evals.path / "evals" / "scenarios"
    scenarios.mkdir()
    evals.write("test_it.py", "", ANSWERS)
    (evals.path / "scenarios" / "test_it.toml").rename(scenarios / "test_it.toml")
    (evals.path / "test_it.py").unlink()


@needs_papers
def test_on_each_push_recordings_are_replayed(evals: Evals) -> None:
    project(evals)
    job = workflows()[".github/workflows/evals.yml"]["jobs"]["replay"]
    assert job["steps"][-1] == {
        "uses": "actions/upload-artifact@v7",
        "if": "always()",
        "with": {"path": "evals.html", "archive": False},
    }
    runner = Runner(evals)
    runner.run("python -m pytest evals --kiro-record=all --kiro-github=off")
    (evals.path / "evals" / "scenarios" / "test_it.toml").unlink()  # nobody but the recording answers
    runner.job(job)
    assert runner.summary.read_text().startswith("# ✓ Evals of Kiro: passed\n\n1 eval: 1 passed · 1 turn · ")
    assert "were replayed" in runner.summary.read_text()
    (script,) = workflows()[".gitlab-ci.yml"]["evals"]["script"][1:]
    (command,) = [step["run"] for step in job["steps"] if "pytest evals" in step.get("run", "")]
    assert script == command
    artifacts = workflows()[".gitlab-ci.yml"]["evals"]["artifacts"]
    for path in (*artifacts["paths"], artifacts["reports"]["junit"]):
        assert (evals.path / path).exists(), path


@needs_papers
def test_at_night_kiro_is_asked_and_compared_with_the_last_green_night(evals: Evals) -> None:
    project(evals)
    workflow = workflows()[".github/workflows/evals-nightly.yml"]
    job = workflow["jobs"]["real"]
    assert set(workflow[True]) == {"schedule", "workflow_dispatch"}  # YAML's word for on
    given = {name: value for name, value in job["env"].items() if not value.startswith("${{ secrets.")}
    runner = Runner(evals, **{**given, "PYTEST_KIRO_SANDBOX": "local"})
    runner.job(job)
    assert "Against the baseline" not in runner.summary.read_text()
    runner.summary.unlink()
    runner.job(job)
    text = runner.summary.read_text()
    assert "\n## Against the baseline\n\n- Nothing is new.\n" in text
    assert re.search(r"\| ✓ passed \| `evals/test_it.py::test_writes` ✓✓✓✓✓ \| 5/5 \| 100 % \[57, 100\] \|", text)


@needs_papers
def test_what_the_workflows_install_is_there(evals: Evals) -> None:
    lines = re.findall(r"python -m pip install (.*)", PAPER.read_text())
    assert set(lines) == {'"pytest-kiro[report]" pytest-xdist'}
    assert "report" in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def test_what_others_read_is_in_the_junit_file(evals: Evals) -> None:
    source = """
        import pytest

        def test_red(kiro):
            kiro.run("Write a.py.")
            kiro.score("lines", 1, better="lower")
            assert kiro.workspace.exec("cat b.py").ok

        @pytest.mark.kiro_trials(3, pass_rate=0.5)
        def test_rate(kiro): assert kiro.run("?").text == "yes"
    """
    answers = {"test_red": [turn([write("a.py", "x\n")], ["Done."])], "test_rate": ["yes", turn(["no"], trial=2)]}
    evals.write("test_it.py", source, answers)
    evals.run("--junitxml=j.xml", "-o", "junit_logging=all", "-p", "no:cacheprovider", "--kiro-all-trials")
    cases = {case.attrib["name"]: case for case in ElementTree.parse(evals.path / "j.xml").iter("testcase")}
    assert {name for name, case in cases.items() if case.find("failure") is not None} == {"test_red"}
    (failure,) = cases["test_red"].iter("failure")
    assert failure.attrib["message"].startswith("AssertionError: 'cat b.py' ended with exit code 1: cat: b.py")
    properties = {one.attrib["name"]: one.attrib["value"] for one in cases["test_red"].iter("property")}
    assert properties["kiro"] == "scripted: the stand-in answered"
    assert properties["kiro_provenance"].startswith("kiro-cli 2.29.0, engine v2, ")
    assert properties["kiro_score_lines"] == "1.0"
    assert (evals.path / properties["kiro_artifacts"]).is_dir()
    verdict = {one.attrib["name"]: one.attrib["value"] for one in cases["test_rate"].iter("property")}
    assert verdict["kiro_verdict"] == "passed"
    assert [part.tag for part in cases["test_red"]] == ["properties", "failure", "system-out", "system-err"]
    said = cases["test_red"].findtext("system-out") or ""
    assert "turn 1 completed in " in said
    assert "+x" in said.splitlines()
