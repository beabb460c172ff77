"""--kiro-keep-sandbox: which sandboxes outlive their run, and what is told of them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from eval_runs import DEADLINE, Evals, shell, turn, write

PASSES = "def test_it(kiro):\n    kiro.run('Hello.')\n"
FAILS = f"{PASSES}    assert 0\n"
BREAKS = "def test_it(kiro): pass"
FAILS_IN_ONE_TRIAL = (
    "import pytest\n\n@pytest.mark.kiro_trials(2, pass_rate=0.5)\ndef test_it(kiro, kiro_trial):\n"
    "    kiro.run('Hello.')\n    assert kiro_trial == 2\n"
)
TURN = {"test_it": [turn([shell("touch ~/kept")], ["Done."])]}
BROKEN = "def pytest_kiro_sandbox_ready(sandbox, settings):\n    raise RuntimeError('no git here')"


def kept(printed: str) -> dict[str, tuple[str, str]]:
    """By the id of each kept sandbox: the command that leads back, the one that deletes it."""
    found = re.findall(r"^kept (\S+); look at it: (.*?)\r?$\n^kept \1; delete it: (.*?)\r?$", printed, re.MULTILINE)
    assert len(re.findall(r"^kept ", printed, re.MULTILINE)) == 2 * len(found)
    return {name: (back, delete) for name, back, delete in found}


def delete(evals: Evals, printed: str, *, sweep: bool = True) -> None:
    """Go back and delete as it is told, to what is there also after another run has swept."""
    there = kept(printed).values()
    if there and sweep:
        evals.write("test_it.py", "def test_it(kiro): pass")
        evals.write("conftest.py", "")
        evals.run().assert_outcomes(passed=1)
    for back, command in there:
        subprocess.run(f"{back} && pwd", shell=True, check=True, timeout=DEADLINE)
        subprocess.run(command, shell=True, check=True, timeout=DEADLINE)
    evals.nothing_is_left()


@pytest.mark.parametrize(
    ("when", "source", "conftest", "stays"),
    [
        ("always", PASSES, "", True),
        ("on-failure", PASSES, "", False),
        ("on-failure", FAILS, "", True),
        ("on-failure", FAILS_IN_ONE_TRIAL, "", True),
        ("on-failure", BREAKS, BROKEN, True),
        ("never", FAILS, "", False),
    ],
    ids=["always", "passing", "failing", "failing in one trial", "failing before its test", "never"],
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


def test_what_failed_tests_left_stays_in_it(evals: Evals) -> None:
    source = """
        import os
        import pytest

        PIDS = []

        @pytest.fixture(scope="module")
        def shop(kiro): return kiro.run("Build.")

        @pytest.fixture
        def ends_badly(kiro):
            yield
            assert 0

        def test_fails(kiro):
            kiro.run("Write.")
            PIDS.append(int(kiro.workspace.exec("sleep 600 & echo $!").output))
            assert 0

        def test_shop(shop): assert 0
        def test_ends(kiro, ends_badly): kiro.run("Write.")
        def test_passes(kiro):
            kiro.run("Write.")
            with pytest.raises(ProcessLookupError):
                os.kill(PIDS.pop(), 0)
    """
    tables = {
        name: [turn([write("a.txt", name)])] for name in ("fixture:shop", "test_fails", "test_ends", "test_passes")
    }
    for when, home in (("on-failure", "fresh"), ("on-failure", "shared"), ("always", "fresh")):
        evals.write("test_it.py", source, tables)
        result = evals.run(f"--kiro-keep-sandbox={when}", f"--kiro-home={home}", "-rP", "-p", "no:cacheprovider")
        printed = result.stdout.str()
        sections = re.findall(r"^-+ kiro workspaces -+\n(.*)$", printed, re.MULTILINE)
        left = [Path(line.partition("shop: ")[2] or line) for line in dict.fromkeys(sections)]
        names = [(path / "a.txt").read_text() for path in left]
        stays = ["fixture:shop", "test_fails", "test_ends", *(["test_passes"] if when == "always" else [])]
        assert sorted(names) == sorted(stays), (when, home)
        (back, _) = next(iter(kept(printed).values()))
        assert sorted(Path(back.removeprefix("cd ")).rglob("a.txt")) == sorted(path / "a.txt" for path in left)
        result.assert_outcomes(passed=2, failed=2, errors=1)
        delete(evals, printed, sweep=False)


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
