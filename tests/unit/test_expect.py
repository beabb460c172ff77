"""pexpect's words over a sandbox's terminal: what they find, what they type, how they end."""

from __future__ import annotations

import io
import re
import secrets
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pexpect
import pytest
from helpers import is_alive, wait_until

from pytest_kiro.errors import LaunchError, PtyClosed, SandboxError
from pytest_kiro.sandbox.local import LocalSandbox
from pytest_kiro.sandbox.protocol import Pty
from pytest_kiro.secrecy.redaction import Secrets
from pytest_kiro.settings.waits import Waits
from pytest_kiro.terminal.attach import Attached, attach
from pytest_kiro.terminal.expect import Terminal, check_size
from pytest_kiro.terminal.launch import Launch

DEADLINE = 60.0
Start = Callable[..., Terminal]


def start_pty(sandbox: LocalSandbox, *argv: str, size: tuple[int, int] = (120, 30)) -> Attached:
    nonce = secrets.token_hex(8)
    return attach(sandbox, Launch(argv, sandbox.home, f".l/{nonce}", nonce, stdin=None), size=size)


@pytest.fixture
def start(sandbox: LocalSandbox) -> Iterator[Start]:
    """Starts a script of `sh` in a terminal."""
    opened: list[Terminal] = []

    def _start(script: str, **options: Any) -> Terminal:
        pty = start_pty(sandbox, "sh", "-c", script, size=options.pop("size", (120, 30)))
        advice = options.pop("advice", "")
        terminal = Terminal(pty, ("sh", "-c"), **{"timeout": DEADLINE, **options})
        terminal.advice = advice
        opened.append(terminal)
        return terminal

    yield _start
    for terminal in opened:
        terminal.close()


def test_a_dialogue(start: Start) -> None:
    with start("printf 'Who? '; read -r who; echo \"Hello, $who.\"; exit 3") as terminal:
        assert terminal.expect("Who. ") == 0
        assert (terminal.before, terminal.after, terminal.match[0]) == ("", "Who? ", "Who? ")
        assert terminal.sendline("Ada") == 4
        assert terminal.expect_exact(["nobody", "Hello, Ada"]) == 1
        assert terminal.before == "Ada\r\n"
        assert terminal.expect([re.compile("never"), pexpect.EOF]) == 1
        assert (terminal.before, terminal.after) == (".\r\n", pexpect.EOF)
        assert (terminal.exitstatus, terminal.signalstatus, terminal.isalive()) == (3, None, False)
    assert terminal.closed
    assert terminal.exitstatus == 3


def test_it_reads_as_a_file(start: Start) -> None:
    assert start("echo one; echo two; printf three").readlines() == ["one\r\n", "two\r\n", "three"]
    assert list(start("echo one; echo two")) == ["one\r\n", "two\r\n"]
    terminal = start("echo one; echo two")
    assert (terminal.read(2), terminal.readline(), terminal.read()) == ("on", "e\r\n", "two\r\n")
    terminal = start("echo four")
    assert terminal.read_nonblocking(1, DEADLINE) + terminal.read_nonblocking(2, DEADLINE) == "fou"
    assert terminal.expect_list([re.compile("r")]) == 0


def test_text_is_decoded_whatever_the_chunks(start: Start) -> None:
    terminal = start(r"stty -echo; printf 'gr\303'; read -r x; printf '\274n \377.'")
    terminal.expect_exact("gr")
    terminal.sendline()
    terminal.expect_exact("ün �.")


def test_ten_thousand_lines(start: Start) -> None:
    terminal = start("seq 10000")
    assert terminal.read() == "".join(f"{number}\r\n" for number in range(1, 10_001))


def test_keys(start: Start) -> None:
    show = "import os, tty; tty.setraw(0); os.write(1, b'ready')\n"
    show += "while 1: os.write(1, os.read(0, 99).hex().encode() + b'.')"
    terminal = start(f'exec {sys.executable} -c "{show}"')
    terminal.expect("ready")
    for press, seen in (
        (lambda: terminal.sendcontrol("C"), "03"),
        (lambda: terminal.sendcontrol("["), "1b"),
        (lambda: terminal.sendcontrol("?"), "7f"),
        (terminal.sendintr, "03"),
        (terminal.sendeof, "04"),
        (lambda: terminal.send("ü"), "c3bc"),
        (lambda: terminal.write("x"), "78"),
        (terminal.sendline, "0d"),  # what Enter sends
    ):
        press()
        terminal.expect_exact(f"{seen}.")
    terminal.linesep = "\n"
    terminal.sendline("y")
    terminal.expect_exact("790a.")


def test_ctrl_c_and_ctrl_d(start: Start) -> None:
    terminal = start("echo ready; exec sleep 600")
    terminal.expect("ready")
    terminal.sendintr()
    assert (terminal.wait(), terminal.exitstatus, terminal.signalstatus) == (130, 130, 2)
    terminal = start("echo ready; cat; exit 4")
    terminal.expect("ready\r\n")
    terminal.sendeof()
    terminal.expect(pexpect.EOF)
    assert (terminal.exitstatus, terminal.signalstatus) == (4, None)


def test_the_window(start: Start) -> None:
    terminal = start("trap 'stty size' WINCH; stty size; while :; do read -r x && stty size; done", size=(91, 17))
    terminal.expect_exact("17 91\r\n")
    assert terminal.getwinsize() == (17, 91)
    terminal.setwinsize(5, 20)
    terminal.sendline()
    terminal.expect_exact("5 20\r\n")
    assert terminal.getwinsize() == (5, 20)


def test_what_does_not_come(start: Start) -> None:
    terminal = start("echo Loading; printf '\\033[31mred\\033[0m'; exec sleep 600", advice="write a scenario for it")
    terminal.expect_exact("red")
    with pytest.raises(pexpect.TIMEOUT) as caught:
        terminal.expect(["green", "blue"], timeout=0.05)
    text = str(caught.value)
    assert text.startswith("Timeout exceeded.\n<Terminal sh -c>: it runs; it printed last:\n  | Loading\n  | red\n")
    assert "write a scenario for it\nsearcher: searcher_re:\n" in text
    assert "green" in text
    assert [entry.name for entry in caught.traceback][1:] == [
        "expect",
        "_without_frames",
    ]  # both hidden: none of pexpect's
    assert terminal.expect(["green", pexpect.TIMEOUT], timeout=0) == 1
    terminal.timeout = 0.05
    with pytest.raises(pexpect.TIMEOUT):
        terminal.expect_exact("green")
    assert terminal.isalive()


def test_what_ends_instead(start: Start) -> None:
    terminal = start("echo Sorry.; exit 9")
    with pytest.raises(pexpect.EOF) as caught:
        terminal.expect("> ")
    text = "End Of File (EOF).\n<Terminal sh -c>: ended with exit status 9; it printed last:\n  | Sorry.\nsearcher: "
    assert str(caught.value).startswith(text)
    assert terminal.before == "Sorry.\r\n"
    for _ in range(2):
        assert terminal.expect(pexpect.EOF) == 0
    silent = start("exit 0")
    with pytest.raises(pexpect.EOF, match="ended with exit status 0; it printed nothing\n"):
        silent.expect("> ")


def test_logs(start: Start) -> None:
    terminal = start("read -r x; echo got $x")
    terminal.logfile, terminal.logfile_read, terminal.logfile_send = io.StringIO(), io.StringIO(), io.StringIO()
    terminal.sendline("it")
    terminal.expect(pexpect.EOF)
    assert terminal.logfile_send.getvalue() == "it\r"
    assert terminal.logfile_read.getvalue() == "it\r\ngot it\r\n"
    assert sorted(terminal.logfile.getvalue()) == sorted("it\rit\r\ngot it\r\n")


def test_waiting_for_the_end(start: Start) -> None:
    """What is printed meanwhile is kept, and holds up nobody."""
    terminal = start("echo begin; head -c 300000 /dev/zero | tr '\\0' x; echo end; exit 5")
    terminal.expect("begin")
    assert terminal.wait() == 5
    terminal.expect("x{300000}end")
    running = start("echo ready; exec sleep 600")
    running.expect("ready")
    with pytest.raises(pexpect.TIMEOUT) as caught:
        running.wait(timeout=0.2)
    assert str(caught.value) == "Timeout exceeded.\n<Terminal sh -c>: it runs; it printed last:\n  | ready"
    running.expect_exact("\r\n")


def test_a_program_that_has_closed_its_terminal(start: Start, sandbox: LocalSandbox) -> None:
    terminal = start(
        "trap '' HUP; echo bye; mkfifo stage; exec <&- >&- 2>&-; : <stage; exit 6", waits=Waits(settle=0.05)
    )
    terminal.expect("bye")
    wait_until(lambda: "stage" in sandbox.list_files("."), DEADLINE)
    sandbox.exec("echo >stage", timeout=DEADLINE)
    assert terminal.wait() == 6


def test_terminate(start: Start) -> None:
    terminal = start("echo ready; exec sleep 600")
    terminal.expect("ready")
    assert terminal.terminate()
    assert terminal.terminate()
    assert terminal.exitstatus == 130
    stubborn = start("trap '' INT; echo ready; while :; do sleep 600; done", waits=Waits(grace=0.2))
    stubborn.expect("ready")
    assert not stubborn.terminate()
    assert stubborn.terminate(force=True)
    assert (stubborn.exitstatus, stubborn.signalstatus, stubborn.closed) == (137, 9, True)


def test_closing_kills_the_tree(start: Start) -> None:
    released: list[int] = []
    terminal = start(
        "(trap '' HUP INT TERM; exec sleep 600) & echo child $! of $$.; wait", release=lambda: released.append(1)
    )
    terminal.expect(r"child (\d+) of (\d+)\.")
    pids = [int(number) for number in terminal.match.groups()]
    with terminal:
        pass
    wait_until(lambda: not any(map(is_alive, pids)), DEADLINE)
    terminal.close()
    assert released == [1]
    assert str(terminal).startswith("<Terminal sh -c>: ended with exit status 137; it printed last:")


def test_after_close(start: Start) -> None:
    terminal = start("echo one; exec sleep 600")
    terminal.expect("one\r\n")
    terminal.close()
    for call in (
        lambda: terminal.send("x"),
        lambda: terminal.expect("y"),
        terminal.sendintr,
        terminal.readline,
        lambda: terminal.setwinsize(10, 10),
    ):
        with pytest.raises(PtyClosed, match="<Terminal sh -c> is closed; open another one"):
            call()
    assert not terminal.isalive()
    assert terminal.terminate()
    assert terminal.wait() == 137


def test_typing_after_the_end(start: Start) -> None:
    terminal = start("exit 0")
    terminal.expect(pexpect.EOF)
    with pytest.raises(PtyClosed, match="has ended"):
        terminal.send("x")


def test_secrets_do_not_show(start: Start) -> None:
    hidden = Secrets()
    hidden.add("ksk_0123456789", "key")
    terminal = start("printf 'ksk_01'; read -r x; echo 23456789, ksk; exec sleep 600", secrets=hidden)
    terminal.logfile = io.StringIO()
    assert terminal.expect(["ksk_01$"]) == 0  # a beginning is shown after a while
    terminal.send("ksk_0123456789 ")
    terminal.sendline()
    terminal.expect(r"\[key\]")
    with pytest.raises(pexpect.TIMEOUT) as caught:
        terminal.expect("never", timeout=0.5)
    for text in (str(caught.value), terminal.logfile.getvalue(), terminal.before):
        assert "0123456789" not in text


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda t: t.send(b"x"), TypeError, "what is typed is a str, not bytes"),
        (lambda t: t.sendline(3), TypeError, "what is typed is a str, not int"),
        (lambda t: t.send("\ud800"), ValueError, "surrogates not allowed"),
        (lambda t: t.expect(b"x"), TypeError, "as pattern, must be one of"),
        (lambda t: t.expect("x", timeout="5"), TypeError, "timeout='5' is not right; wanted: seconds"),
        (lambda t: t.wait(timeout=True), TypeError, "timeout=True is not right; wanted: seconds"),
        (lambda t: t.expect("x", async_=True), TypeError, "cannot be awaited; leave out async_"),
        (lambda t: t.sendcontrol("ä"), ValueError, "there is no Ctrl and 'ä'; use a letter or one of"),
        (lambda t: t.sendcontrol(""), ValueError, "there is no Ctrl and ''; use"),
        (lambda t: t.setwinsize("24", 80), TypeError, r"the size \(80, '24'\) is not right; wanted: columns and rows"),
        (lambda t: t.setwinsize(0, 80), ValueError, r"the size \(80, 0\) is not right; wanted: columns and rows"),
        (lambda t: t.fileno(), OSError, "has no descriptor on this machine; use expect"),
        (lambda t: t.setecho(False), AttributeError, "setecho"),
        (lambda _: check_size("80x24"), TypeError, "the size '80x24' is not right; wanted: columns and rows"),
    ],
)
def test_misuse(start: Start, call: Callable[[Terminal], object], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call(start("exec sleep 600"))


def test_a_shell_that_never_starts_it(sandbox: LocalSandbox) -> None:
    nonce = secrets.token_hex(8)
    pty = attach(sandbox, Launch(("true",), "/nowhere/at/all", f".l/{nonce}", nonce, stdin=None))
    with Terminal(pty, ("true",), timeout=DEADLINE) as terminal, pytest.raises(LaunchError, match="did not start"):
        terminal.expect("x")


class Wire:
    """A Pty whose link is lost after what it has printed; how it ended nobody can say."""

    started, size = True, (120, 30)

    def __init__(self, pty: Pty, *, fails: bool) -> None:
        self._pty, self._fails = pty, fails
        self.read, self.write, self.resize, self.close = pty.read, pty.write, pty.resize, pty.close

    def wait(self, timeout: float) -> int | None:
        self._pty.wait(timeout)
        if self._fails:
            raise SandboxError("the machine is gone; look whether it was deleted")
        return None


@pytest.mark.parametrize("fails", [False, True])
def test_a_lost_link_is_no_exit_status(sandbox: LocalSandbox, fails: bool) -> None:
    pty = Wire(start_pty(sandbox, "echo", "hello"), fails=fails)
    with Terminal(pty, ("echo",), timeout=DEADLINE) as terminal:
        terminal.expect(pexpect.EOF)
        assert (terminal.exitstatus, terminal.isalive(), terminal.wait()) == (None, False, None)
        assert str(terminal) == "<Terminal echo>: the link to it was lost; it printed last:\n  | hello"
