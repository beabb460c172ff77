"""What a run may spend: the cap, turns in flight, several processes, and those that die."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_kiro.errors import BudgetExceeded, SetupError
from pytest_kiro.run.budget import Budget
from pytest_kiro.turn.causes import Cause

Make = Callable[..., Budget]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    # As a run's folder is, which is made when first used.
    return tmp_path / "base" / "run"


@pytest.fixture
def make(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder.parent.mkdir()

    def make(cap: float | None, worker: str = "main") -> Budget:
        return Budget(cap, folder, worker)

    return make


def spend(budget: Budget, *credits: float | None) -> None:
    for one in credits:
        budget.settle(budget.admit("test_it"), one)


def refused(budget: Budget) -> str:
    with pytest.raises(BudgetExceeded) as caught:
        budget.admit("test_b")
    return str(caught.value)


def test_zero_refuses_the_first_turn(make: Make) -> None:
    assert refused(make(0)) == (
        "test_b: the budget of this run is used up, so this turn was not begun: 0.00 credits spent, --kiro-budget=0; "
        "raise --kiro-budget, or run fewer turns"
    )


def test_the_turn_that_reaches_the_cap_is_the_last(make: Make) -> None:
    budget = make(1)
    spend(budget, 0.4, 0.4, 0.4)
    with pytest.raises(BudgetExceeded) as caught:
        budget.admit("test_b")
    assert isinstance(caught.value, SetupError), "nothing was evaluated"
    assert caught.value.spent == pytest.approx(1.2)
    assert caught.value.cap == 1
    assert Cause(caught.value.cause) is Cause.BUDGET
    assert caught.value.infrastructure is Cause.BUDGET.infrastructure
    assert "1.20 credits spent, --kiro-budget=1;" in str(caught.value)


def test_ten_times_a_tenth_is_one(make: Make) -> None:
    budget = make(1)
    spend(budget, *[0.1] * 10)
    refused(budget)


def test_in_flight_counts_as_one_credit_before_any_has_finished(make: Make) -> None:
    budget = make(2)
    budget.admit("a")
    budget.admit("b")
    assert "0.00 credits spent, 2 turns in flight, counted as 1.00 each, --kiro-budget=2" in refused(budget)


def test_in_flight_counts_as_the_dearest_that_has_finished(make: Make) -> None:
    budget = make(4)
    spend(budget, 0.5, 1.5, 0.25)
    first = budget.admit("a")
    second = budget.admit("b")  # 2.25 + 1.5 is below 4
    assert "2.25 credits spent, 2 turns in flight, counted as 1.50 each, --kiro-budget=4" in refused(budget)
    budget.settle(first, 0.1)
    budget.settle(second, 0.1)
    budget.admit("c")


@pytest.mark.parametrize("credits", [None, 0.0, float("nan"), float("inf"), -1.0])
def test_what_was_not_metered_is_not_counted(make: Make, credits: float | None) -> None:
    budget = make(1)
    spend(budget, *[credits] * 5, 1.0)
    assert "1.00 credits spent, --kiro-budget=1" in refused(budget)


def test_free_turns_in_flight_are_free(make: Make) -> None:
    budget = make(0.5)
    spend(budget, 0.0)
    for _ in range(5):
        budget.admit("a")


def test_one_that_does_not_tell_its_cost_is_guessed(make: Make) -> None:
    budget = make(5)
    budget.forfeit(budget.admit("a"))
    spend(budget, 2.0)
    budget.forfeit(budget.admit("b"))
    assert "5.00 credits spent (2 turns ended without telling the cost, which is guessed), --kiro" in refused(budget)


def test_one_that_tells_a_part_of_its_cost_is_guessed_unless_that_is_more(make: Make) -> None:
    budget = make(5)
    spend(budget, 2.0)
    budget.forfeit(budget.admit("a"), 0.5)
    budget.forfeit(budget.admit("b"), 2.5)
    assert "6.50 credits spent (2 turns ended without telling the cost, which is guessed), --kiro" in refused(budget)


def test_tenths_add_up(make: Make) -> None:
    budget = make(1)
    spend(budget, *[0.1] * 10)
    assert budget.spent == 1.0
    assert "1.00 credits spent, --kiro-budget=1;" in refused(budget)


def test_settling_twice_counts_once(make: Make) -> None:
    budget = make(1)
    reservation = budget.admit("a")
    for _ in range(3):
        budget.settle(reservation, 0.5)
        budget.forfeit(reservation)
    budget.admit("b")


def test_without_a_cap_nothing_is_written(make: Make, folder: Path) -> None:
    budget = make(None)
    spend(budget, 1000.0)
    budget.forfeit(budget.admit("a"))
    budget.remove()
    assert not folder.exists()


def test_it_leaves_nothing_but_what_is_not_its_own(make: Make, folder: Path) -> None:
    budget, other = make(1), make(1, "gw0")
    spend(budget, 0.1)
    spend(other, 0.1)
    assert folder.stat().st_mode & 0o777 == 0o700
    budget.remove()
    budget.remove()
    assert not folder.exists()
    spend(make(1), 0.1)
    (folder / "daytona.json").write_text("{}")
    make(1).remove()
    assert [file.name for file in folder.iterdir()] == ["daytona.json"]


# -- several processes

PROGRAM = """
import sys
from pathlib import Path
from pytest_kiro.run.budget import Budget
from pytest_kiro.turn.causes import Cause
from pytest_kiro.errors import BudgetExceeded
budget = Budget(float(sys.argv[2]), Path(sys.argv[1]), sys.argv[3])
"""


def start(folder: Path, cap: float, worker: str, program: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM + program, str(folder), str(cap), worker]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_all_processes_spend_of_one_budget(make: Make, folder: Path) -> None:
    program = """
for n in range(200):
    try:
        budget.settle(budget.admit("x"), 0.25)
    except BudgetExceeded:
        pass
"""
    running = [start(folder, 10, f"gw{n}", program) for n in range(4)]
    for process in running:
        process.communicate(timeout=60)
        assert process.returncode == 0
    state = json.loads((folder / "budget.json").read_text())
    assert state["flying"] == {}
    assert state["spent"] == 10.0
    refused(make(10))


def test_what_another_process_has_in_flight_counts_until_it_dies(make: Make, folder: Path) -> None:
    holder = start(folder, 1, "gw0", 'budget.admit("x"); print("in flight", flush=True); sys.stdin.read()')
    assert holder.stdout is not None
    assert holder.stdout.readline() == "in flight\n"
    assert "1 turn in flight" in refused(make(1))
    holder.kill()
    holder.communicate(timeout=60)
    assert make(1).admit("a"), "the kernel has let go of its lock"


def test_a_child_that_outlives_its_parent_does_not_hold_its_turn(make: Make, folder: Path) -> None:
    """Descriptors are not inherited by programs that a worker starts."""
    program = """
import subprocess, os
budget.admit("x")
child = subprocess.Popen(["sleep", "60"], close_fds=False)
print(child.pid, flush=True)
os._exit(3)
"""
    holder = start(folder, 1, "gw0", program)
    assert holder.stdout is not None
    pid = int(holder.stdout.readline())
    holder.wait(60)
    try:
        assert make(1).admit("a")
    finally:
        os.kill(pid, 9)
        holder.communicate(timeout=60)
