"""The stand-in with a HOME and a working directory of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from standin_forks import Forks
from standin_process import DEADLINE, Standin

from pytest_kiro.standin import STAND_IN


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    result = Forks(STAND_IN.parent)
    yield result
    result.close()


@pytest.fixture
def standin(tmp_path: Path, forks: Forks) -> Iterator[Standin]:
    home, cwd = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    cwd.mkdir()
    env = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    env |= {"PATH": os.environ["PATH"], "HOME": str(home), "KIRO_API_KEY": "ksk_placeholder"}
    result = Standin(home, cwd.resolve(), env, forks)
    yield result
    for process in result.started:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait(DEADLINE)
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()
    for terminal in result.terminals:
        if not terminal.closed:
            terminal.kill(signal.SIGKILL)
            terminal.close()
