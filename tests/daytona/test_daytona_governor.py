"""What one run has in Daytona, on all its workers: who makes, who joins, who deletes, who waits."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from helpers import run_python

from pytest_kiro.errors import SandboxError
from pytest_kiro.sandbox.daytona.governor import Governor


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path / f"pytest-kiro-{os.getuid()}"


def made(run: Governor, limit: int | None = None) -> str:
    decision = run.decide(limit)
    assert decision.step == "create"
    run.ready(decision.name, f"id of {decision.name}")
    return decision.name


def test_without_a_limit_everybody_makes_one_with_a_name_of_its_own() -> None:
    names = {made(Governor("r", f"gw{n}")) for n in range(5)}
    assert len(names) == 5
    assert all(name.startswith("pytest-kiro-r-gw") for name in names)
    assert set(Governor("r", "x").names()) == names
    assert Governor("another", "x").names() == []


def test_beyond_the_limit_one_joins_the_sandbox_with_the_fewest_workers() -> None:
    first, second = made(Governor("r", "gw0"), 2), made(Governor("r", "gw1"), 2)
    joined = [Governor("r", f"gw{n}").decide(2) for n in range(2, 6)]
    assert [decision.step for decision in joined] == ["join"] * 4
    assert sorted(decision.name for decision in joined) == sorted([first, second] * 2)


def test_one_that_is_still_being_made_is_waited_for() -> None:
    run = Governor("r", "gw0")
    name = run.decide(1).name
    assert Governor("r", "gw1").decide(1).step == "wait"
    run.ready(name, "id")
    assert Governor("r", "gw1").decide(1) == ("join", name)


def test_where_daytona_has_refused_those_that_there_are_must_do() -> None:
    name = made(Governor("r", "gw0"))
    refused = Governor("r", "gw1")
    wanted = refused.decide(None).name
    refused.drop(wanted)
    refused.refused()
    assert refused.decide(None) == ("join", name)
    assert Governor("r", "gw2").decide(None) == ("join", name), "nobody asks again"


def test_a_run_that_gets_none_at_all_is_full() -> None:
    run = Governor("r", "gw0")
    run.drop(run.decide(None).name)
    run.refused()
    assert run.decide(None).step == "full"


def test_the_last_one_out_deletes_and_nobody_joins_what_is_being_deleted() -> None:
    first, second = Governor("r", "gw0"), Governor("r", "gw1")
    name = made(first, 1)
    second.decide(1)
    assert first.leave(name) is False
    assert first.leave(name) is False, "a second close changes nothing"
    assert second.leave(name) is True
    assert second.leave(name) is False
    assert Governor("r", "gw2").decide(1).step == "create"


def test_one_worker_that_is_told_to_wait_holds_all_of_them() -> None:
    now = [1000.0]
    one, other = Governor("r", "gw0", clock=lambda: now[0]), Governor("r", "gw1", clock=lambda: now[0])
    assert other.held() == 0
    one.hold(30)
    one.hold(5)
    assert other.held() == 30
    now[0] += 31
    assert other.held() == 0


def test_many_at_once_never_exceed_the_limit() -> None:
    places = []

    def work(number: int) -> None:
        run = Governor("r", f"gw{number}")
        decision = run.decide(3)
        if decision.step == "create":
            run.ready(decision.name, "id")
        places.append(decision.step)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert places.count("create") == 3
    assert len(Governor("r", "x").names()) == 3


def test_processes_see_each_other(tmp_path: Path) -> None:
    name = made(Governor("r", "gw0"), 1)
    source = "from pytest_kiro.sandbox.daytona.governor import Governor; print(*Governor('r', 'gw1').decide(1))"
    assert run_python(source, env={"TMPDIR": str(tmp_path)}).split() == ["join", name]


def place_and_die(tmp_path: Path, worker: str, *, ready: bool) -> str:
    """Have a worker begin a sandbox, in a process of its own, and perhaps finish it; return its name."""
    finish = "run.ready(name, 'id');" if ready else ""
    source = (
        f"import os; from pytest_kiro.sandbox.daytona.governor import Governor; run = Governor('r', {worker!r}); "
        f"name = run.decide(1).name; {finish} print(name, flush=True); os._exit(0)"
    )
    return run_python(source, env={"TMPDIR": str(tmp_path)}).strip()


def test_what_a_dead_worker_was_making_is_not_waited_for_and_not_forgotten(tmp_path: Path) -> None:
    orphan = place_and_die(tmp_path, "gw0", ready=False)
    run = Governor("r", "gw1")
    name = made(run, 1)
    assert sorted(run.names()) == sorted([orphan, name])


def test_a_dead_worker_is_not_counted_among_those_who_need_a_sandbox(tmp_path: Path) -> None:
    name = place_and_die(tmp_path, "gw0", ready=True)
    run = Governor("r", "gw1")
    assert run.decide(1) == ("join", name)
    assert run.leave(name) is True


def test_runs_that_nobody_lives_in_any_more_are_forgotten_after_a_day(base: Path) -> None:
    old, alive, young = Governor("old", "gw0"), Governor("alive", "gw0"), Governor("young", "gw0")
    made(old)
    made(alive)
    made(young)
    old.remove()  # and with it its worker's lock
    (base / "old").mkdir()
    (base / "old" / "daytona.json").write_text("{}")
    long_ago = time.time() - 2 * 24 * 3600
    for path in [base / "old", *(base / "old").iterdir(), base / "alive", *(base / "alive").iterdir()]:
        os.utime(path, (long_ago, long_ago))
    Governor("new", "gw0").names()
    assert sorted(path.name for path in base.iterdir()) == ["alive", "new", "young"]


def test_what_it_leaves_is_nothing(base: Path) -> None:
    run = Governor("r", "gw0")
    made(run)
    run.remove()
    run.remove()
    assert list(base.iterdir()) == []


def test_a_folder_that_somebody_else_can_read_is_refused(base: Path) -> None:
    base.mkdir(mode=0o755)
    base.chmod(0o755)
    with pytest.raises(SandboxError, match=r"is not a private directory of yours; remove it, or point TMPDIR"):
        Governor("r", "gw0").names()


def test_a_file_in_its_place_is_an_error_with_advice(base: Path) -> None:
    base.write_text("")
    with pytest.raises(SandboxError, match="TMPDIR"):
        Governor("r", "gw0").names()
