"""The README's way into a project of one's own is gone, literally: install apart, which the wheel's check does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import shown
from eval_runs import Evals

from pytest_kiro.commandline import first

README = Path(__file__).parents[2] / "README.md"
pytestmark = pytest.mark.skipif(
    not README.exists(), reason="a copy of the tests alone, beside the built wheel, has no papers"
)


def own_project() -> str:
    return README.read_text(encoding="utf-8").partition("\n## In your own project\n")[2].partition("\n## ")[0]


def test_the_way_into_ones_own_project_is_as_shown(evals: Evals, monkeypatch: pytest.MonkeyPatch) -> None:
    """The eval is green, then it is made red as the text says."""
    monkeypatch.setenv("COLUMNS", "80")
    (eval_shown,) = re.findall(r"^```python\n(.*?)^```", own_project(), re.MULTILINE | re.DOTALL)
    outputs = dict.fromkeys(("python -m pytest_kiro init", "pytest evals"), "")
    runs = 0
    for block in re.findall(r"^```console\n(.*?)^```", own_project(), re.MULTILINE | re.DOTALL):
        command, _, output = block.removeprefix("$ ").partition("\n")
        if command not in outputs:
            continue
        if command == "python -m pytest_kiro init":
            ran = evals.detached("pytest_kiro", "init").stdout
            ran = re.sub(r"^Next: .*", "Next: pytest evals", ran, flags=re.MULTILINE)  # where pytest is not on PATH
            assert (evals.path / "evals/test_first.py").read_text().endswith(f"\n{eval_shown}")
        else:
            if runs:
                scenario = evals.path / "evals/scenarios/test_first.toml"
                scenario.write_text(scenario.read_text().replace("Hello", "Goodbye"))
            result = evals.run("evals")
            ran = result.stdout.str()
            result.assert_outcomes(passed=1 - runs, failed=runs)
            runs += 1
        shown.check(output, ran)
    assert runs == 2
    assert first.EVAL.endswith(eval_shown)
