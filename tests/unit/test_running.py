"""A program that runs: what counts as its time."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_kiro.agent.running import Running
from pytest_kiro.settings.waits import Waits


@pytest.mark.parametrize("asked", [True, False])
def test_its_time_is_from_its_begin_to_its_last_byte(asked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked of a sandbox with the end of its link is not its time, nor is what comes before and after it."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    pty: Any = SimpleNamespace(began_at=1010.0, ended_at=1017.0, launch_record=object() if asked else None)
    pty.wait, pty.close = lambda timeout: 0, lambda: None
    running = Running(pty, timeout=60, stall=60, waits=Waits())
    now = 1040.0 if asked else 1017.0
    running.end()
    now = 1050.0
    assert running.duration == 7.0
