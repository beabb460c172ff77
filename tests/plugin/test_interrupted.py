"""Whatever ends a run, nothing of it stays: no process, no directory (contract X3)."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from eval_runs import Evals, Turn, shell, turn, wait_until
from helpers import is_alive

WAIT = "touch {stage}; sleep 600"
#: Where a run can be when it is ended: an eval, its scenario, a conftest, options.
STAGES: dict[str, tuple[str, Mapping[str, Sequence[Turn]], str, Sequence[str]]] = {
    "sandbox": (
        "def test_it(kiro): pass",
        {},
        "def pytest_kiro_sandbox_ready(sandbox, settings):\n    sandbox.exec({wait!r})",
        (),
    ),
    "install": ("def test_it(kiro): pass", {}, "", ("--kiro-cli={path}/slow-cli",)),
    "login": ("def test_it(kiro): pass", {}, "", ("--kiro-cli={path}/slow-login",)),
    "silent_turn": (
        "def test_it(kiro): kiro.run('Hello.')",
        {"test_it": [turn(misbehave="silent")]},
        "def pytest_kiro_turn_started(kiro, prompt):\n    open({stage!r}, 'w').close()",
        (),
    ),
    "stubborn_turn": (
        "def test_it(kiro): kiro.run('Hello.')",
        {"test_it": [turn([shell(WAIT)], misbehave={"ignores_signals": True, "children": True})]},
        "",
        (),
    ),
    "stream": (
        """
        def test_it(kiro):
            with kiro.stream('Hello.') as live:
                for chunk in live:
                    open({stage!r}, 'w').close()
        """,
        {"test_it": [turn(misbehave={"endless": 0.01})]},
        "",
        (),
    ),
    "exec": ("def test_it(kiro): kiro.workspace.exec({wait!r})", {}, "", ()),
    "wide_fixture": (
        """
        import pytest
        @pytest.fixture(scope="session")
        def shop(kiro):
            kiro.workspace.seed({{"a.txt": ""}})
            return kiro.run("Hello.")
        def test_it(shop): pass
        """,
        {"fixture:shop": [turn([shell(WAIT)])]},
        "",
        (),
    ),
    "own_sandbox": (
        "def test_it(kiro): kiro.workspace.exec({wait!r})",
        {},
        """
        import pytest
        from pytest_kiro.sandbox.local import LocalProvider
        from pytest_kiro.sandbox.protocol import SandboxSpec

        @pytest.fixture(scope="session")
        def kiro_sandbox(kiro_settings):
            sandbox = LocalProvider(kiro_settings).create(SandboxSpec())
            yield sandbox
            sandbox.close()
        """,
        (),
    ),
    "teardown": (
        """
        import pytest
        @pytest.fixture(scope="module")
        def shop(kiro):
            yield kiro.workspace
            kiro.run("Clean up.")
        def test_it(shop): pass
        """,
        {"fixture:shop": [turn([shell(WAIT)])]},
        "",
        (),
    ),
}


def begin(evals: Evals, stage: str) -> list[str]:
    """Write the eval of a stage and return the arguments of its run."""
    source, tables, conftest, args = STAGES[stage]
    words = {"stage": str(evals.stage), "wait": WAIT.format(stage=evals.stage), "path": str(evals.path)}
    evals.write("test_it.py", source.format(**words) if "{" in source else source, tables)
    scenario = evals.path / "scenarios/test_it.toml"
    scenario.write_text(scenario.read_text().replace("{stage}", str(evals.stage)))
    evals.write("conftest.py", conftest.format(**words))
    version = 'if [ "$1" = --version ]; then echo "kiro-cli 2.30.1"; exit; fi\n'
    for name, before in (("slow-cli", ""), ("slow-login", version)):
        file = evals.path / name
        file.write_text(f"#!/bin/sh\n{before}{words['wait']}\n")
        file.chmod(0o755)
    return [arg.format(**words) for arg in args]


def is_asked(evals: Evals) -> bool:
    """Whether kiro-cli has a turn: before that, something of the run's own may be interrupted."""
    asked = False
    for pid in evals.processes:
        with contextlib.suppress(OSError):
            asked |= b"\0chat\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return asked


@pytest.mark.parametrize("stage", STAGES)
def test_ctrl_c(evals: Evals, stage: str) -> None:
    child = evals.start(*begin(evals, stage))
    evals.reaches_its_stage()
    if stage == "silent_turn" and sys.platform.startswith("linux"):
        wait_until(lambda: is_asked(evals), "kiro-cli to be asked")
    assert evals.sandboxes
    child.sendintr()
    status, printed = evals.ends(child)
    assert status == pytest.ExitCode.INTERRUPTED, printed
    assert "KeyboardInterrupt" in printed
    assert "INTERNALERROR" not in printed
    evals.nothing_is_left()
    assert "leaked 0" in printed or stage == "own_sandbox"  # which is not ours to count


@pytest.mark.parametrize("stage", ["sandbox", "own_sandbox", "stubborn_turn", "teardown"])
def test_sigterm(evals: Evals, stage: str) -> None:
    child = evals.start(*begin(evals, stage))
    evals.reaches_its_stage()
    child.kill(signal.SIGTERM)
    status, printed = evals.ends(child)
    assert status == 128 + signal.SIGTERM, printed
    assert "terminated by SIGTERM; sandboxes are closed" in printed
    assert "INTERNALERROR" not in printed
    evals.nothing_is_left()


def test_after_sigkill_processes_end_and_the_next_run_removes_the_rest(evals: Evals) -> None:
    child = evals.start(*begin(evals, "stubborn_turn"))
    evals.reaches_its_stage()
    child.kill(signal.SIGKILL)
    status, _ = evals.ends(child)
    assert status == -signal.SIGKILL
    wait_until(lambda: not evals.processes, "what had started them to end them, by itself")
    assert evals.sandboxes
    evals.write("test_it.py", "def test_it(kiro): assert kiro.workspace.contents() == {}")
    evals.run().assert_outcomes(passed=1)
    evals.nothing_is_left()


# -- under xdist

WORKERS = """
    import os, pytest
    from note import note

    @pytest.mark.parametrize("n", range(2))
    def test_it(kiro, n):
        note(os.getpid())
        kiro.run("Hello.")
"""


def begin_workers(evals: Evals) -> None:
    evals.note()
    wait = f"touch {evals.stage}.$$; sleep 600"
    evals.write("test_it.py", WORKERS, {"test_it": [turn([shell(wait)])]})


def both_wait(evals: Evals) -> list[int]:
    wait_until(lambda: len(list(evals.tmp.glob("stage.*"))) == 2, "both workers to wait")
    return [int(line) for line in evals.story]


def test_ctrl_c_under_xdist(evals: Evals) -> None:
    begin_workers(evals)
    child = evals.start("-n2")
    pids = both_wait(evals)
    child.sendintr()
    status, printed = evals.ends(child)
    assert status == pytest.ExitCode.INTERRUPTED, printed
    wait_until(lambda: not any(map(is_alive, pids)), "the workers to end")
    evals.nothing_is_left()


def test_sigterm_under_xdist(evals: Evals) -> None:
    begin_workers(evals)
    child = evals.start("-n2")
    pids = both_wait(evals)
    child.kill(signal.SIGTERM)
    status, printed = evals.ends(child)
    assert status == 128 + signal.SIGTERM, printed
    wait_until(lambda: not any(map(is_alive, pids)), "the workers to end")
    evals.nothing_is_left()


def test_the_controller_clears_away_what_a_dead_worker_left(evals: Evals) -> None:
    begin_workers(evals)
    child = evals.start("-n2", "--max-worker-restart=0")
    for pid in both_wait(evals):
        os.kill(pid, signal.SIGKILL)
    status, printed = evals.ends(child)
    assert status == pytest.ExitCode.TESTS_FAILED, printed
    assert "crashed" in printed
    evals.nothing_is_left()


def test_a_dead_controller(evals: Evals) -> None:
    """Its workers notice by themselves; what they cannot clear away, the next run does."""
    begin_workers(evals)
    child = evals.start("-n2")
    pids = both_wait(evals)
    child.kill(signal.SIGKILL)
    evals.ends(child)
    wait_until(lambda: not any(map(is_alive, pids)), "the workers to end")
    evals.write("test_it.py", "def test_it(kiro): assert kiro.workspace.contents() == {}")
    evals.run().assert_outcomes(passed=1)
    evals.nothing_is_left()


def test_two_runs_at_once(evals: Evals) -> None:
    """In one checkout: neither touches what is the other's."""
    evals.write(
        "test_it.py",
        f"""
        import os, select, time
        def test_it(kiro):
            kiro.workspace.seed({{"mine.txt": str(os.getpid())}})
            open({str(evals.stage)!r} + "." + str(os.getpid()), "w").close()
            end = time.monotonic() + 30
            while not os.path.exists({str(evals.stage)!r}):
                assert time.monotonic() < end
                select.select([], [], [], 0.01)
            assert kiro.run("Hello.").text == "Hi."
            assert kiro.workspace.contents() == {{"mine.txt": str(os.getpid()).encode()}}
        """,
        {"test_it": ["Hi."]},
    )
    # pytest 8.2 itself trips over a cache folder that two runs make at once.
    children = [evals.start("-p", "no:cacheprovider") for _ in range(2)]
    wait_until(lambda: len(list(evals.tmp.glob("stage.*"))) == 2, "both runs to be in their test")
    assert len([path for path in evals.sandboxes if path.is_dir()]) == 2
    evals.stage.touch()
    for child in children:
        status, printed = evals.ends(child)
        assert status == 0, printed
    evals.nothing_is_left()
