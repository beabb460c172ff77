"""Nothing that is printed controls the reader's terminal, or the log of a build: live, in reports, in files."""

from __future__ import annotations

import re
from typing import Any

import pexpect
import pytest
from eval_runs import Evals, shell, turn, write

#: What an agent may print, and after each a word that must be read.
HOSTILE = {
    "clipboard": "\x1b]52;c;" + "QUFB" * 1300 + "\x07",
    "picture": "\x1bPq" + "#0~~@@vv" * 1000 + "\x1b\\",
    "c1": "\x9d52;c;QUFB\x9c\x9b2J\x9bH",
    "bells": "\x07\b\x0e\x05",
    "nested": "\x1b\x1b]52;c;QUFB\x07",
    "colours": "\x1b[" + "1;" * 3000 + "m\x1b[8m",
    "given-up": "\x1b\x18\x1b]0;x",
    "bidi": "\u202e",
}
SAID = "".join(f"{sequence}\n{word} is read\n" for word, sequence in HOSTILE.items())
COMMANDS = "::error::annotated\n ::set-output name=x::y\n##[error]marked\n##vso[task.complete]done\n"
EVAL = """
    import warnings

    def test_it(kiro, pytestconfig):
        turn = kiro.run("Say \\x1b]0;title\\x07 it.\\n::warning::asked")
        if pytestconfig.getoption("capture") != "no":  # else it would be the test that writes to the terminal
            print(turn.text)
            print(turn.raw.decode())
        warnings.warn(turn.text)
        assert turn.changes.added == {"x"}, turn.text + turn.raw.decode()

    def test_compares(kiro):
        assert kiro.run("Say it again.").text == "this\\nis what was wanted"
"""
ANSWERS: dict[str, Any] = {
    name: [turn([write("\x1b[2J\u202ename", "x"), shell("printf '\\033[2J\\233'")], [SAID + COMMANDS])]
    for name in ("test_it", "test_compares")
}


def is_text(shown: str) -> bool:
    return not re.search(r"[^\S\n\t \u00a0]|[\x00-\x08\x0e-\x1f\x7f-\x9f\u202e]", shown)


@pytest.mark.parametrize("args", [("-s", "-vv"), ("-n1", "--kiro-stream=on", "-rA"), ("--kiro-output=stream-json",)])
def test_a_terminal_shows_nothing_but_text(evals: Evals, args: tuple[str, ...]) -> None:
    evals.write("test_it.py", EVAL, ANSWERS)
    command = ["-W", "default", "--color=no", "-p", "no:terminalprogress", "--junitxml=j.xml"]
    terminal = evals.start(*command, *args, size=(400, 50))
    terminal.expect(pexpect.EOF)
    terminal.close()
    shown = terminal.before.replace("\r\n", "\n")
    shown = re.sub(r"^.*\[2 items\]", "", shown, flags=re.M)  # xdist's line that starts over
    shown = re.sub(r"collecting (\.\.\.|\d+ items?) *\r", "", shown)
    assert terminal.exitstatus == 1, shown
    for text in (shown, (evals.path / "j.xml").read_text()):
        assert is_text(text), re.findall(r".*[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e].*", text)[:3]
        assert "#x1B" not in text
        assert not re.search(r"^\s*::|##\[|##vso\[", text, re.MULTILINE), text
        assert [word for word in HOSTILE if f"{word} is read" not in text] == []
        assert ":error::annotated" in text
    assert "\n: :error::annotated" in shown
    assert "| ::error::annotated" in shown  # behind a bar it is none
    assert "| ## [error]marked" in shown
    assert r"m\x1b[8m" in shown or "-vv" not in args
    assert r"\x1b[2J\u202ename" in shown
    assert "<U+202E>" in shown


def test_colours_of_pytest_stay(evals: Evals) -> None:
    evals.write("test_it.py", EVAL, ANSWERS)
    text = evals.process("--color=yes", "-W", "default", "-k", "compares").stdout.str()
    assert "\x1b[31m" in text
    assert is_text(re.sub(r"\x1b\[[0-9;]*m", "", text))
    assert "\x1b[8m" not in text
    assert r"\x1b[90m" not in text  # pytest's own grey


def test_what_a_plain_test_prints_is_its_own(evals: Evals) -> None:
    evals.write(
        "test_it.py", "def test_plain():\n    print('\\x1b[8mhidden ##[x]')\n    assert 0\n" + "def test_it(kiro): pass"
    )
    assert "\x1b[8mhidden ##[x]" in evals.process().stdout.str()
