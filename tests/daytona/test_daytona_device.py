"""Device logins in emulated sandboxes, in a real terminal: the stories of tests/plugin, and a link that is lost."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from plugin.device_runs import STORIES, Device, without_a_terminal
from plugin.eval_runs import DEADLINE

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


def test_two_chats_at_once(runs: Runs) -> None:
    """Each is a run of its own: what one clears away at its end is not the other's."""
    command = [sys.executable, "-m", "pytest_kiro", "chat", "--kiro-sandbox=daytona", "--kiro-cli=scripted"]
    options: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "cwd": runs.path, "text": True}
    with subprocess.Popen(command, **options) as one, subprocess.Popen(command, **options) as other:
        for chat in (one, other):
            assert chat.stdout is not None
            assert chat.stdout.readline().startswith("Agent ready.")
        other.communicate("Hello.\n", timeout=DEADLINE)
        assert other.returncode == 0
        said, _ = one.communicate("Hello.\n", timeout=DEADLINE)
        assert one.returncode == 0
        assert "The stand-in heard you." in said


def test_ctrl_c_in_a_chat_deletes_its_sandbox(device: Device) -> None:
    child = device.begin("chat", "--kiro-sandbox=daytona", "--kiro-cli=scripted", module="pytest_kiro")
    child.expect("User: ")
    child.send("\x03")
    assert device.ends(child)[0] == 130


@pytest.mark.parametrize("how", ["api-key", "saved", "device", "auto"])
def test_no_sandbox_is_paid_for_when_nobody_can_log_in(device: Device, how: str) -> None:
    runs = device.evals
    device.args = ("--kiro-sandbox=daytona", "--kiro-cli=official")
    done = without_a_terminal(device, f"--kiro-login={how}")
    assert done.returncode == 1
    assert "LoginError" in done.stdout
    assert runs.asked("sandbox_create") == []  # type: ignore[attr-defined] # these evals have an emulator
