"""What takes long in Daytona is said while it does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from daytona_runs import Runs

pytest_plugins = ["daytona_runs"]

CREATING = r"kiro: creating sandbox pytest-kiro-[0-9a-f]{8}-main-[0-9a-f]{6}"


def test_on_a_terminal_it_is_said_while_nothing_has_come_of_it(runs: Runs) -> None:
    runs.use(TERM="xterm")
    runs.emulator.fault("sandbox_create", delay_response=600)
    runs.write("test_it.py", "def test_it(kiro): pass")
    child = runs.start()
    child.expect(rf"test_it\.py \r?\n{CREATING}\r\n")
    runs.is_held("sandbox_create")
    child.sendintr()
    status, printed = runs.ends(child)
    assert status == pytest.ExitCode.INTERRUPTED, printed


def test_elsewhere_it_is_a_plain_line(runs: Runs) -> None:
    runs.write("test_it.py", "def test_it(kiro): pass")
    result = runs.run()
    result.assert_outcomes(passed=1)
    assert len([line for line in result.outlines if re.fullmatch(CREATING, line)]) == 1
