"""Whatever ends a run in Daytona, in whatever phase, nothing of it stays; who insists is let go (contract X3)."""

from __future__ import annotations

import shutil
import signal
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest
from plugin.eval_runs import shell, turn

if TYPE_CHECKING:
    from daytona_runs import Runs

pytest_plugins = ["daytona_runs"]

FOREVER = 600
SEED = "def test_it(kiro):\n    kiro.workspace.seed({'a.txt': 'a'})\n    kiro.run('Hello.')\n"


class Phase(NamedTuple):
    """Where a run is held: at which request of which route, before or after Daytona has done what it asks for.

    `second` is the request at which its clearing away is held.
    """

    route: str
    nth: int = 1
    done: bool = False
    second: tuple[str, int] = ("sandbox_delete", 1)


PHASES = {
    "create": Phase("sandbox_create", done=True),
    "install": Phase("exec", nth=2, second=("exec", 3)),  # that ends what was executed
    "login": Phase("exec", nth=5),
    "turn": Phase("pty_create_connect"),
    "files": Phase("files_bulk_upload", nth=2),
    "delete": Phase("sandbox_delete", second=("sandbox_delete", 2)),
}


def begin(runs: Runs, phase: str) -> None:
    """Write an eval that comes to this phase and no further."""
    at = PHASES[phase]
    if at.route == "exec":  # of which one sends the stand-in
        runs.sends_the_stand_in()
    wait = turn([shell(f"touch {runs.stage}; sleep {FOREVER}")])
    runs.write("test_it.py", SEED, {"test_it": [wait if phase == "turn" else "Hi."]})
    if phase != "turn":
        runs.emulator.fault(at.route, after=at.nth - 1, **{"delay_response" if at.done else "delay": FOREVER})


def reached(runs: Runs, phase: str) -> None:
    if phase == "turn":
        runs.reaches_its_stage()
    else:
        runs.is_held(PHASES[phase].route, PHASES[phase].nth)


@pytest.mark.parametrize("phase", PHASES)
def test_ctrl_c(runs: Runs, phase: str) -> None:
    begin(runs, phase)
    child = runs.start()
    reached(runs, phase)
    child.sendintr()
    status, printed = runs.ends(child)
    assert status == pytest.ExitCode.INTERRUPTED, printed
    assert "KeyboardInterrupt" in printed
    for word in ("INTERNALERROR", "Exception ignored", "session.py"):
        assert word not in printed
    if phase != "create":  # then there was none yet
        assert "sandboxes: created 1, deleted 1, leaked 0" in printed
    runs.nothing_is_left()


@pytest.mark.parametrize("phase", ["create", "install", "turn", "delete"])
def test_ctrl_c_twice_leaves_at_once(runs: Runs, phase: str) -> None:
    begin(runs, phase)
    child = runs.start()
    reached(runs, phase)
    route, nth = PHASES[phase].second
    runs.emulator.fault(route, times=None, delay=FOREVER)
    child.sendintr()
    runs.is_held(route, nth)
    began = time.monotonic()
    child.sendintr()
    status, printed = runs.ends(child)
    assert time.monotonic() - began < 60
    assert status == pytest.ExitCode.INTERRUPTED, printed
    assert "told to stop twice, so sandboxes were not waited for" in printed
    assert phase == "create" or "sandboxes: created 1, deleted 0, leaked 1" in printed
    for word in ("INTERNALERROR", "Exception ignored", "Traceback"):
        assert word not in printed
    runs.everything_is_bounded()


@pytest.mark.parametrize("phase", ["create", "turn"])
def test_sigterm(runs: Runs, phase: str) -> None:
    begin(runs, phase)
    child = runs.start()
    reached(runs, phase)
    child.kill(signal.SIGTERM)
    status, printed = runs.ends(child)
    assert status == 128 + signal.SIGTERM, printed
    assert "terminated by SIGTERM; sandboxes are closed" in printed
    assert phase == "create" or "sandboxes: created 1, deleted 1, leaked 0" in printed
    assert "INTERNALERROR" not in printed
    runs.nothing_is_left()


def test_what_sigkill_leaves_is_bounded_and_the_next_run_sweeps_it_when_it_is_past_its_time(runs: Runs) -> None:
    begin(runs, "turn")
    child = runs.start()
    reached(runs, "turn")
    child.kill(signal.SIGKILL)
    runs.ends(child)
    (left,) = runs.emulator.sandboxes()
    assert (left["autoStopInterval"], left["autoDeleteInterval"], left["ttlMinutes"]) == (15, 0, 120)
    runs.write("test_it.py", "def test_it(kiro): pass")
    runs.run().assert_outcomes(passed=1)
    assert [one["id"] for one in runs.emulator.sandboxes()] == [left["id"]], "it may be a run that is still going on"
    runs.relabel(left, **{"expires-at": "2026-01-01T00:00:00Z"})
    result = runs.run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["kiro: deleted 1 sandboxes that dead runs had left"])
    assert runs.emulator.sandboxes() == []
    for folder in runs.run_files:
        shutil.rmtree(folder)
