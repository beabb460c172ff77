"""--kiro-keep-sandbox: which sandboxes outlive their run, and what is told of them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from eval_runs import DEADLINE, Evals, shell, turn

PASSES = "def test_it(kiro):\n    kiro.run('Hello.')\n"
FAILS = f"{PASSES}    assert 0\n"
BREAKS = "def test_it(kiro): pass"
TURN = {"test_it": [turn([shell("touch ~/kept")], ["Done."])]}
BROKEN = "def pytest_kiro_sandbox_ready(sandbox, settings):\n    raise RuntimeError('no git here')"


def kept(printed: str) -> dict[str, tuple[str, str]]:
    """By the id of each kept sandbox: the command that leads back, the one that deletes it."""
    found = re.findall(r"^kept (\S+); look at it: (.*?)\r?$\n^kept \1; delete it: (.*?)\r?$", printed, re.MULTILINE)
    assert len(re.findall(r"^kept ", printed, re.MULTILINE)) == 2 * len(found)
    return {name: (back, delete) for name, back, delete in found}


def delete(evals: Evals, printed: str) -> None:
    """Go back and delete as it is told, to what is there also after another run has swept."""
    evals.write("test_it.py", "def test_it(kiro): pass")
    evals.write("conftest.py", "")
    evals.run().assert_outcomes(passed=1)
    for back, command in kept(printed).values():
        subprocess.run(f"{back} && pwd", shell=True, check=True, timeout=DEADLINE)
        subprocess.run(command, shell=True, check=True, timeout=DEADLINE)
    evals.nothing_is_left()


@pytest.mark.parametrize(
    ("when", "source", "conftest", "stays"),
    [
        ("always", PASSES, "", True),
        ("always", FAILS, "", True),
        ("on-failure", PASSES, "", False),
        ("on-failure", FAILS, "", True),
        ("on-failure", BREAKS, BROKEN, True),
        ("never", FAILS, "", False),
    ],
    ids=["always", "always, failing", "passing", "failing", "failing before its test", "never"],
)
def test_what_is_kept(evals: Evals, when: str, source: str, conftest: str, stays: bool) -> None:
    evals.write("test_it.py", source, TURN)
    evals.write("conftest.py", conftest)
    result = evals.run(f"--kiro-keep-sandbox={when}", "--kiro-home=shared", "-p", "no:cacheprovider")
    printed = result.stdout.str()
    counts = "created 1, deleted 0, kept 1, leaked 0" if stays else "created 1, deleted 1, leaked 0"
    assert f"\nsandboxes: {counts}\n" in printed
    assert len(kept(printed)) == stays
    for name, (back, _) in kept(printed).items():
        home = Path(back.removeprefix("cd "))
        assert home.is_dir()
        assert home.parent.name == name
        assert source == BREAKS or (home / "kept").exists()
        assert evals.processes == []
    delete(evals, printed)


def test_each_worker_keeps_its_own(evals: Evals) -> None:
    source = "import pytest\n\n@pytest.mark.parametrize('n', range(2))\ndef test_it(kiro, n): kiro.run('Hello.')\n"
    evals.write("test_it.py", source, TURN)
    result = evals.process("-n2", "--kiro-keep-sandbox=always")
    printed = result.stdout.str()
    assert "\nsandboxes: created 2, deleted 0, kept 2, leaked 0\n" in printed
    assert len(kept(printed)) == 2
    delete(evals, printed)


@pytest.mark.parametrize("workers", [(), ("-n1",)], ids=["alone", "xdist"])
def test_ctrl_c_keeps_what_is_to_be_kept_and_says_so(evals: Evals, workers: tuple[str, ...]) -> None:
    """Nothing limits it any more, so it must not be lost from sight."""
    evals.write("test_it.py", PASSES, {"test_it": [turn([shell(f"touch {evals.stage}; sleep 600")])]})
    child = evals.start("--kiro-keep-sandbox=always", *workers)
    evals.reaches_its_stage()
    child.sendintr()
    status, printed = evals.ends(child)
    assert status == pytest.ExitCode.INTERRUPTED, printed
    assert "sandboxes: created 1, deleted 0, kept 1, leaked 0" in printed
    assert len(kept(printed)) == 1
    delete(evals, printed)


def test_ctrl_c_alone_is_no_failure(evals: Evals) -> None:
    evals.write("test_it.py", PASSES, {"test_it": [turn([shell(f"touch {evals.stage}; sleep 600")])]})
    child = evals.start("--kiro-keep-sandbox=on-failure")
    evals.reaches_its_stage()
    child.sendintr()
    _, printed = evals.ends(child)
    assert "sandboxes: created 1, deleted 1, leaked 0" in printed
