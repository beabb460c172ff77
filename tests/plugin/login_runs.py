"""Evals on a kiro-cli that counts as the real one, whose login service the test steers, and whose calls are counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from eval_runs import QUIET, Evals, program, stand_in

VERSION = 'if [ "$1" = --version ]; then echo "kiro-cli 2.30.1"; exit; fi'
CONFTEST = """
from pathlib import Path

def pytest_kiro_sandbox_ready(sandbox, settings):
    steering = Path(__file__).with_name("steering.json").read_bytes()
    sandbox.write_file(".kiro-standin/login.json", steering)
"""


class Logins:
    """A folder of evals with a kiro-cli of its own."""

    def __init__(self, evals: Evals) -> None:
        self.evals, self.path = evals, evals.path
        (self.path / "replies.json").write_text('[["Hi."]]')
        replies = f"export KIRO_MOCK_CHAT_RESPONSE={self.path}/replies.json"
        self.cli = f"--kiro-cli={program(evals, stand_in(VERSION, f'echo $1 >>{self.path}/calls', replies))}"
        self.steer()
        evals.write("conftest.py", CONFTEST)

    def steer(self, **steering: Any) -> None:
        """Say what the service makes of keys and logins."""
        (self.path / "steering.json").write_text(json.dumps(steering))

    @property
    def turns(self) -> int:
        """How often the CLI was asked something."""
        calls = self.path / "calls"
        return calls.read_text().split().count("chat") if calls.exists() else 0

    def detached(self, *args: str) -> tuple[int, pytest.LineMatcher]:
        """Run pytest without any terminal, also where these tests have one; return exit code and output."""
        done = self.evals.detached("pytest", *QUIET, "-p", "no:cacheprovider", self.cli, *args)
        return done.returncode, pytest.LineMatcher((done.stdout + done.stderr).splitlines())

    def written(self, word: str) -> list[Path]:
        """The files that a run has left with this in it."""
        places = [file for top in (self.path, self.evals.tmp) for file in top.rglob("*") if file.is_file()]
        return [file for file in places if word.encode() in file.read_bytes()]
