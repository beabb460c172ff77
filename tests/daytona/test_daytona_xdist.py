"""Whole runs in Daytona on several workers: who makes a sandbox, who shares one, who deletes what a dead one left."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pytest
from helpers import is_alive
from plugin.eval_runs import shell, turn, wait_until

if TYPE_CHECKING:
    from daytona_runs import Runs

pytest_plugins = ["daytona_runs"]

#: Everybody is in his own workspace at the same time, whatever sandbox that is in.
TOGETHER = """
    import os, pathlib, select, time
    import pytest

    stage = pathlib.Path({stage!r})

    @pytest.mark.parametrize("n", range({workers}))
    def test_it(kiro, n):
        kiro.workspace.seed({{"mine.txt": str(n)}})
        pathlib.Path(f"{{stage}}.{{n}}").touch()
        end = time.monotonic() + 180
        while len(list(stage.parent.glob(f"{{stage.name}}.*"))) < {workers}:
            assert time.monotonic() < end
            select.select([], [], [], 0.01)
        assert kiro.run("Hello.").commands == ["cat mine.txt"]
        assert kiro.workspace.exec("cat mine.txt").output == str(n)
        assert kiro.workspace.contents() == {{"mine.txt": str(n).encode()}}
"""
#: Says who runs where, and goes on when it is told to.
WORKERS = """
    import os, pytest
    from note import note

    @pytest.fixture(autouse=True, scope="session")
    def _noted(worker_id):
        note(worker_id, os.getpid())

    @pytest.mark.parametrize("n", range({tests}))
    def test_it(kiro, n):
        kiro.run("Hello.")
"""
#: Lets xdist and execnet wait for workers that end, however long it takes: after ten seconds they would be killed.
PATIENT = """
    from execnet.gateway_base import WorkerPool
    from xdist.workermanage import NodeManager

    NodeManager.EXIT_TIMEOUT = 600

    wait = WorkerPool.waitall
    WorkerPool.waitall = lambda pool, timeout=None: wait(pool, 600 if timeout == 10 else timeout)
"""
#: Lets a run give a deletion up after five seconds.
SHORT = """
    from dataclasses import replace
    from quick_waits import QUICK
    from pytest_kiro.plugin import WAITS

    def pytest_configure(config):
        config.stash[WAITS] = replace(QUICK, daytona=replace(QUICK.daytona, delete=5.0))
"""


def together(runs: Runs, workers: int) -> None:
    source = TOGETHER.format(stage=str(runs.stage), workers=workers)
    runs.write("test_it.py", source, {"test_it": [turn([shell("cat mine.txt")], ["Done."])]})


@pytest.mark.parametrize(
    ("workers", "args", "quota", "made"),
    [(2, (), None, 2), (2, ("--kiro-max-sandboxes=1",), None, 1), (3, (), 8, 2)],
    ids=["one each", "beyond a limit of ours", "beyond the organisation's"],
)
def test_workers_have_a_sandbox_each_or_share(
    runs: Runs, workers: int, args: tuple[str, ...], quota: int | None, made: int
) -> None:
    runs.emulator.configure(memory_quota=quota)
    together(runs, workers)
    result = runs.process(f"-n{workers}", *args)
    result.assert_outcomes(passed=workers)
    turns = f"kiro: {workers} turn{'s' * (workers > 1)}, {workers} completed"
    result.stdout.fnmatch_lines([turns, f"sandboxes: created {made}, deleted {made}, leaked 0"])
    done = [entry for entry in runs.asked("sandbox_create") if entry["status"] == 200]
    assert len(done) == made
    assert len({entry["body"]["name"] for entry in done}) == made
    for entry in done:
        labels, name = entry["body"]["labels"], entry["body"]["name"]
        assert re.fullmatch(rf"pytest-kiro-{labels['run'][:8]}-{labels['worker']}-[0-9a-f]{{6}}", name)
    said = [line for line in result.errlines if line]
    assert all(re.match(r"\[gw[012]\] kiro: (creating|sharing) sandbox pytest-kiro-", line) for line in said), said
    assert len(said) >= workers
    if made == workers:
        assert runs.workers == ["gw0", "gw1"]
        made_last = max(entry["started"] for entry in runs.asked("sandbox_create"))
        deleted_first = min(entry["started"] for entry in runs.asked("sandbox_delete"))
        assert made_last < deleted_first, "side by side, not one after the other"


TRIALS = """
    import pytest

    @pytest.mark.kiro_trials(3, pass_rate=0.5)
    def test_rate(kiro):
        assert kiro.run("?").text == "yes"

    @pytest.mark.kiro_trials(3)
    @pytest.mark.kiro_compare("prompt", baseline="plain")
    @pytest.mark.parametrize("prompt", ["plain", "loud"])
    def test_it(kiro, prompt):
        assert kiro.run(prompt).text == "yes"
"""


def test_trials_spread_over_sandboxes_and_are_judged_and_compared(runs: Runs) -> None:
    words = [turn([word], trial=number) for number, word in enumerate(("yes", "no", "yes"), 1)]
    turns = {"test_rate": words, "test_it[plain]": ["yes"], "test_it[loud]": [turn(["no"])]}
    runs.write("test_it.py", TRIALS, turns)
    result = runs.process("-n2", "--kiro-all-trials")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "test_it.py::test_rate  ✓✗✓  2/3 *needs 50 %: passed",
            "test_it.py::test_it, by prompt",
            "  plain      3/3 *",
            "  loud       0/3 *",
            "  loud − plain  -100 points *: worse",
            "kiro: 9 turns, 9 completed",
            "sandboxes: created 2, deleted 2, leaked 0",
            "*= 1 failed, 1 passed, 4 trials failed in *",
        ]
    )


def test_a_run_that_gets_no_sandbox_at_all_says_what_it_would_take(runs: Runs) -> None:
    runs.emulator.configure(memory_quota=3)
    runs.write("test_it.py", "import pytest\n\n@pytest.mark.parametrize('n', range(4))\ndef test_it(kiro, n): pass\n")
    began = time.monotonic()
    result = runs.process("-n2", "--tb=short")
    assert time.monotonic() - began < 150  # nobody tries on and on
    result.assert_outcomes(errors=4)
    result.stdout.fnmatch_lines(
        [
            "E *SandboxError: this run got no sandbox at all: *Total memory limit exceeded. Maximum allowed: 3GiB*",
            "E *make room in the organisation (python -m pytest_kiro sandboxes --delete), raise its tier, or run *",
        ]
    )
    assert len(runs.asked("sandbox_create")) <= 2, "nobody asks twice, nor once for each test"


def pids(runs: Runs) -> Mapping[str, int]:
    return {name: int(pid) for name, pid in (line.split() for line in runs.story)}


def begin_workers(runs: Runs, tests: int = 3, *, conftest: str = "") -> None:
    runs.note()
    runs.write("conftest.py", PATIENT + conftest)
    # The first turn of each waits until there is a file `go`.
    wait = f"touch {runs.stage}.$$; until [ -e {runs.tmp}/go ]; do sleep 0.1; done"
    runs.write("test_it.py", WORKERS.format(tests=tests), {"test_it": [turn([shell(wait)], ["Done."])]})


def both_wait(runs: Runs) -> None:
    wait_until(lambda: len(list(runs.tmp.glob("stage.*"))) == 2, "both workers to be in a turn")


def test_what_a_killed_worker_leaves_the_controller_deletes(runs: Runs) -> None:
    begin_workers(runs, tests=8)  # more than two for each, so that some are left for the worker that stands in
    child = runs.start("-n2")
    both_wait(runs)
    os.kill(pids(runs)["gw0"], signal.SIGKILL)
    wait_until(lambda: len(runs.workers) == 3, "the worker that stands in to have a sandbox")
    (runs.tmp / "go").touch()
    status, printed = runs.ends(child)
    assert status == pytest.ExitCode.TESTS_FAILED, printed
    assert "1 failed, 7 passed" in printed
    assert "sandboxes: created 3, deleted 3, leaked 0" in printed
    assert "workers that died: 1; what they left is cleared away" in printed
    runs.nothing_is_left()


def test_nobody_waits_for_the_sandbox_that_a_dead_worker_was_making(runs: Runs) -> None:
    runs.emulator.fault("sandbox_create", delay_response=600)
    begin_workers(runs)
    (runs.tmp / "go").touch()
    child = runs.start("-n2", "--kiro-max-sandboxes=1")
    runs.is_held("sandbox_create")
    wait_until(lambda: len(pids(runs)) == 2, "both workers to be there")
    (maker,) = runs.workers
    os.kill(pids(runs)[maker], signal.SIGKILL)
    status, printed = runs.ends(child)
    assert status == pytest.ExitCode.TESTS_FAILED, printed
    assert "1 failed, 2 passed" in printed
    assert "leaked 0" in printed
    assert len(runs.workers) >= 2
    runs.nothing_is_left()


def test_ctrl_c_is_cleared_away_by_the_workers(runs: Runs) -> None:
    begin_workers(runs)
    child = runs.start("-n2")
    both_wait(runs)
    child.sendintr()
    status, printed = runs.ends(child)
    assert status == pytest.ExitCode.INTERRUPTED, printed
    assert "sandboxes: created 2, deleted 2, leaked 0" in printed
    assert "INTERNALERROR" not in printed
    runs.nothing_is_left()


def test_what_workers_are_too_slow_to_delete_the_controller_does(runs: Runs) -> None:
    runs.emulator.fault("sandbox_delete", times=2, delay=600)
    begin_workers(runs, conftest=SHORT)
    child = runs.start("-n2")
    both_wait(runs)
    child.kill(signal.SIGTERM)
    status, printed = runs.ends(child)
    assert status == 128 + signal.SIGTERM, printed
    assert "sandboxes: created 2, deleted 2, leaked 0" in printed
    runs.nothing_is_left()


def test_workers_of_a_killed_controller_clear_away_by_themselves(runs: Runs) -> None:
    begin_workers(runs)
    child = runs.start("-n2")
    both_wait(runs)
    child.kill(signal.SIGKILL)
    runs.ends(child)
    wait_until(lambda: not runs.emulator.sandboxes(), "the workers to delete their sandboxes")
    wait_until(lambda: not any(map(is_alive, pids(runs).values())), "the workers to end")
    runs.everything_is_bounded()
