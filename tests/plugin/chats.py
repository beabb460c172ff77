"""Evals of kiro-cli's interactive chat, for whatever sandbox it runs in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def _call(name: str, **args: Any) -> dict[str, Any]:
    return {"name": name, "args": args}


#: Evals of an interactive chat, and what they are answered; they hold on every provider.
CHAT = """
import pexpect
import pytest

def test_quit_leaves_cleanly(kiro):
    with kiro.terminal("chat") as terminal:
        terminal.expect("> ")
        terminal.sendline("/quit")
        terminal.expect(pexpect.EOF)
    assert terminal.exitstatus == 0

def test_it_remembers(kiro):
    with kiro.terminal("chat") as terminal:
        for prompt, answer in (("The word is blue.", "Noted."), ("Which word?", "blue")):
            terminal.expect_exact("> ")
            terminal.sendline(prompt)
            terminal.expect_exact(answer)
        terminal.expect_exact("> ")
        terminal.sendcontrol("d")
        assert terminal.wait() == 0

def test_a_permission_is_asked_for(kiro):
    with kiro.terminal("chat") as terminal:
        for answer, exists in (("n", False), ("y", True)):
            terminal.expect_exact("> ")
            terminal.sendline("Write a.txt.")
            terminal.expect_exact("[y/n/t]:")
            terminal.expect_exact("> ")
            terminal.sendline(answer)
            terminal.expect_exact("Done.")
            terminal.expect_exact("> ")
            terminal.sendline("")
            assert (kiro.workspace / "a.txt").exists() is exists
    assert not kiro.workspace.changes() and kiro.workspace.contents() == {"a.txt": b"a"}

def test_ctrl_c_interrupts_the_turn(kiro):
    with kiro.terminal("chat", "--trust-all-tools") as terminal:
        terminal.expect_exact("> ")
        terminal.sendline("Work.")
        terminal.expect_exact("working")
        terminal.sendintr()
        terminal.expect_exact("> ")
        terminal.sendline("/quit")
        assert terminal.wait() == 0

def test_its_window(kiro):
    with kiro.terminal("chat", "-a", size=(90, 20)) as terminal:
        assert terminal.getwinsize() == (20, 90)
        terminal.expect_exact("> ")
        terminal.setwinsize(25, 70)
        terminal.sendline("How large?")
        terminal.expect_exact("Done.")
    assert (kiro.workspace / "size.txt").read_text() == "25 70\\n"
"""
CHAT_REPLIES: Mapping[str, Sequence[Any]] = {
    "test_it_remembers": ["Noted.", r"{recall:word is (\w+)|unknown}"],
    "test_a_permission_is_asked_for": [
        {"requests": [["Now.", _call("write", command="create", path="a.txt", content="a")], ["Done."]]}
    ]
    * 2,
    "test_ctrl_c_interrupts_the_turn": [
        {"requests": [["On it.", _call("shell", command="echo working; exec sleep 600")], ["Done."]]}
    ],
    "test_its_window": [{"requests": [["Look.", _call("shell", command="stty size </dev/tty >size.txt")], ["Done."]]}],
}
