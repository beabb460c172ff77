"""Ctrl-C while a sandbox is made: once, it is deleted, even if it comes late; twice, that is not waited for."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zygote
from daytona import AsyncDaytona
from emulator import Emulator
from helpers import DEADLINE, wait_until

from pytest_kiro.sandbox.daytona.snapshot import name_of

SOURCE = """
import sys
from pytest_kiro.sandbox.daytona.provider import DaytonaProvider
from pytest_kiro.sandbox.protocol import SandboxSpec
from pytest_kiro.settings.table import read

options = {"snapshot": sys.argv[1]}
settings = read(option=options.get, environ={}, ini=lambda _: None, run_id="0123456789abcdef")
provider = DaytonaProvider(settings, recipe=["true"])
try:
    provider.create(SandboxSpec())
except KeyboardInterrupt:
    print("interrupted")
print(*provider.close(), sep="\\n")
"""
Start = Callable[..., zygote.Program]


@pytest.fixture
def start(emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a process that makes a sandbox: `start(snapshot="auto")`."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("DAYTONA_API_URL", emulator.url)
    monkeypatch.setenv("DAYTONA_API_KEY", emulator.key)
    begun: list[zygote.Program] = []

    def _start(snapshot: str = "none") -> zygote.Program:
        preloaded = [AsyncDaytona.__module__]
        begun.append(zygote.Program("-c", [SOURCE, snapshot], cwd=tmp_path, env=os.environ, preloaded=preloaded))
        return begun[-1]

    yield _start
    for program in begun:
        program.process.kill()


def interrupt(program: zygote.Program) -> None:
    program.process.send_signal(signal.SIGINT)


def said(program: zygote.Program) -> list[str]:
    done = program.ends(2 * DEADLINE)
    assert done.stderr == ""
    assert done.returncode == 0
    return [line for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("route", "fault"),
    [
        ("sandbox_create", {"delay_response": 20}),
        ("sandbox_create", {"delay_response": 20, "comes_late": 2}),
        ("sandbox_create", {"creating_polls": 999}),
        ("exec", {"delay": 20}),
    ],
    ids=["made, and not answered", "made late", "creating", "made, and looked at"],
)
def test_what_was_being_made_is_deleted(emulator: Emulator, start: Start, route: str, fault: dict[str, int]) -> None:
    if late := fault.get("comes_late"):  # what is made is not to be seen at once
        emulator.fault("sandbox_get", status=404, message="not found", times=late)
    emulator.fault(route, **{name: value for name, value in fault.items() if name != "comes_late"})
    process = start()
    wait_until(lambda: emulator.log(route) and emulator.sandboxes())
    interrupt(process)
    assert said(process) == ["interrupted"]
    assert emulator.sandboxes() == []
    (made,) = emulator.sandboxes(destroyed=True)
    assert made["state"] == "destroyed"


def test_who_interrupts_twice_does_not_wait(emulator: Emulator, start: Start) -> None:
    emulator.fault("sandbox_create", delay_response=60)
    emulator.fault("sandbox_get", delay=60, times=None)
    process = start()
    wait_until(emulator.sandboxes)
    interrupt(process)
    wait_until(lambda: emulator.log("sandbox_get"))
    interrupt(process)
    interrupted, line = said(process)
    (left,) = emulator.sandboxes()
    assert interrupted == "interrupted"
    assert line.startswith(
        f"{left['name']} may be left: you left before it was known; it would end by itself after 120"
    )
    assert line.endswith(f"delete it: python -m pytest_kiro sandboxes --delete {left['name']}")
    assert [one["route"] for one in emulator.log()].count("sandbox_get") == 1
    assert left["ttlMinutes"] == 120
    emulator.clear_faults()
    emulator.kill_sandbox(left["id"])


def test_while_a_snapshot_is_built_there_is_nothing_to_delete(emulator: Emulator, start: Start) -> None:
    emulator.fault("snapshot_create", build_polls=999)
    process = start("auto")
    wait_until(emulator.snapshots)
    interrupt(process)
    assert said(process) == ["interrupted"]
    assert emulator.log("sandbox_create") == []
    assert emulator.snapshots()[0]["name"].startswith(name_of("")[:12])
