"""Terminals that are typed into, in Daytona: `kiro.terminal`, and a keyboard that is lent."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pexpect
import pytest
from emulator import Emulator
from plugin.chats import CHAT, CHAT_REPLIES

from pytest_kiro.sandbox.daytona.sandbox import DaytonaSandbox
from pytest_kiro.terminal.attach import attach
from pytest_kiro.terminal.expect import Terminal
from pytest_kiro.terminal.launch import Launch

if TYPE_CHECKING:
    from daytona_runs import Runs

pytest_plugins = ["daytona_runs"]
DEADLINE = 60.0


@pytest.fixture(params=["both", "d190"], autouse=True)
def end(request: pytest.FixtureRequest, emulator: Emulator) -> str:
    """How a terminal ends: with all that it printed, or in a race with that."""
    emulator.configure(pty_exit=request.param)
    return str(request.param)


def start(sandbox: DaytonaSandbox, script: str) -> Terminal:
    nonce = secrets.token_hex(8)
    launch = Launch(("sh", "-c", script), sandbox.home, f".l/{nonce}", nonce, stdin=None)
    return Terminal(attach(sandbox, launch, size=(90, 20)), ("sh", "-c"), timeout=DEADLINE)


def test_a_chat(runs: Runs) -> None:
    runs.passes(CHAT, CHAT_REPLIES)


def test_what_is_left_open_is_closed_with_its_owner(runs: Runs) -> None:
    runs.passes(
        """
        opened = []

        def test_left_open(kiro):
            opened.extend(kiro.terminal("chat") for _ in range(2))
            opened[0].expect("> ")

        def test_they_are_closed(kiro):
            assert [terminal.closed for terminal in opened] == [True, True]
            assert not any(name.endswith("/") for name in kiro.sandbox.list_files("users"))
            assert kiro.sandbox.list_files(".local/state") == []
        """,
        {},
    )


def test_the_words(sandbox: DaytonaSandbox) -> None:
    with start(sandbox, "stty size; printf 'Who? '; read -r who; echo \"Hello, $who.\"; stty size; exit 3") as terminal:
        terminal.expect_exact("20 90\r\n")
        terminal.expect_exact("Who? ")
        terminal.setwinsize(5, 20)
        terminal.sendline("Ada")
        terminal.expect_exact("Hello, Ada.\r\n5 20")
        assert terminal.wait() == 3
    with start(sandbox, "echo ready; exec sleep 600") as terminal:
        terminal.expect("ready")
        terminal.sendintr()
        terminal.expect(pexpect.EOF)
    assert (terminal.exitstatus, terminal.signalstatus) == (130, 2)


@pytest.mark.parametrize("end", ["d190"], indirect=True)
def test_the_last_words_of_a_program_are_not_lost_by_the_end(emulator: Emulator, sandbox: DaytonaSandbox) -> None:
    """They are under way when it ends; there is no log with which they could be compared."""
    emulator.fault("pty_create_connect", hold_output=0.02)
    with start(sandbox, "printf ready; read -r _; printf 'last words'; exit 3") as terminal:
        terminal.expect_exact("ready")
        terminal.sendline()
        terminal.expect_exact("last words")
        terminal.expect(pexpect.EOF)
        assert terminal.exitstatus == 3


def test_a_lost_link(emulator: Emulator, sandbox: DaytonaSandbox) -> None:
    """No exit status, and no hang."""
    with start(sandbox, "echo ready; exec sleep 600") as terminal:
        terminal.expect("ready")
        emulator.kill_sandbox(sandbox.id)
        assert terminal.expect([pexpect.EOF]) == 0
        assert (terminal.exitstatus, terminal.isalive()) == (None, False)
        assert "the link to it was lost; it printed last:\n  | ready" in str(terminal)
