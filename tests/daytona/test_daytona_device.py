"""Device logins in emulated sandboxes, in a real terminal: the stories of tests/plugin, and a link that is lost."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import zygote
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


class Chat:
    """A chat whose keyboard and screen are pipes."""

    def __init__(self, runs: Runs, stack: contextlib.ExitStack) -> None:
        (stdin, keyboard), (screen, stdout) = os.pipe(), os.pipe()
        self.typed = stack.enter_context(os.fdopen(keyboard, "w"))
        self.said = stack.enter_context(os.fdopen(screen))
        words = ["chat", "--kiro-sandbox=daytona", "--kiro-cli=scripted"]
        parent = zygote.zygote(*runs.preloaded)
        self._process = parent.fork("pytest_kiro", words, cwd=runs.path, stdin=stdin, stdout=stdout, stderr=2)
        stack.callback(self._process.kill)
        for theirs in (stdin, stdout):
            os.close(theirs)

    def ends_with(self, line: str) -> str:
        """Type a last line, and return what is said until its successful end."""
        self.typed.write(line)
        self.typed.close()
        said = self.said.read()
        assert self._process.wait(DEADLINE) == 0
        return said


def test_two_chats_at_once(runs: Runs) -> None:
    """Each is a run of its own: what one clears away at its end is not the other's."""
    with contextlib.ExitStack() as stack:
        one, other = (Chat(runs, stack) for _ in range(2))
        for chat in (one, other):
            assert chat.said.readline().startswith("Agent ready.")
        other.ends_with("Hello.\n")
        assert "The stand-in heard you." in one.ends_with("Hello.\n")


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
