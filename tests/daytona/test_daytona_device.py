"""Device logins in emulated sandboxes, in a real terminal: the stories of tests/plugin, and a link that is lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from plugin.device_runs import STORIES, Device

if TYPE_CHECKING:
    from daytona_runs import Runs

pytest_plugins = ["daytona_runs"]


@pytest.fixture
def device(runs: Runs) -> Iterator[Device]:
    made = Device(runs, "--kiro-sandbox=daytona", "--kiro-cli=scripted")
    yield made
    made.close()


@pytest.mark.parametrize("story", STORIES)
def test_device(device: Device, story: str) -> None:
    STORIES[story](device)


def test_a_lost_link_is_told(device: Device) -> None:
    evals = device.evals
    evals.emulator.fault("pty_create_connect", cut_after=3_000)  # type: ignore[attr-defined] # these evals have one
    child = device.begin("--kiro-login-args=--license free")
    code, shown = device.ends(child)
    assert code == 1, shown
    assert "LoginError: the link to the sandbox was lost during the device login" in shown
