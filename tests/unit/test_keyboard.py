"""The keyboard, lent in real terminals: what reaches the program; and the terminal is as it was, whatever ends it."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pexpect
import pytest
from helpers import run_python, wait_until

DRIVER = Path(__file__).with_name("keyboard_driver.py")
DEADLINE = 20.0
#: Runs the driver as the only job of its terminal, and looks at the terminal before and after it.
DESK = 'stty -a >"$0/before"; "$@"; echo $? >"$0/status"; stty -a >"$0/after"; echo OVER'


class Desk:
    """A terminal with somebody before it."""

    def __init__(self, folder: Path, child: pexpect.spawn[bytes]) -> None:
        self.folder, self.child = folder, child

    def sees(self, what: str) -> bytes:
        self.child.expect(what.encode())
        return self.child.before

    def presses(self, keys: bytes) -> None:
        self.child.send(keys)

    def kill(self, number: signal.Signals) -> None:
        os.kill(int((self.folder / "pid").read_text()), number)

    def outcome(self) -> str:
        """How it ended; the terminal is as it was, and no thread is left."""
        self.sees("OVER")
        result = self.result()
        assert (self.folder / "status").read_text().strip() == "0"
        return result

    def result(self) -> str:
        file = self.folder / "result"
        wait_until(file.exists, DEADLINE)
        result = json.loads(file.read_text())
        assert result["threads"] == []
        return result["outcome"]

    def is_as_before(self) -> None:
        wait_until(lambda: (self.folder / "after").exists() and (self.folder / "after").read_text(), DEADLINE)
        assert (self.folder / "before").read_text() == (self.folder / "after").read_text() != ""


Sit = Callable[..., Desk]


def driver(folder: Path, program: str, **told: Any) -> list[str]:
    return [sys.executable, str(DRIVER), json.dumps({"folder": str(folder), "program": program, **told})]


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[Callable[..., pexpect.spawn[bytes]]]:
    children = []

    def _spawn(argv: list[str], size: tuple[int, int] = (100, 40)) -> pexpect.spawn[bytes]:
        env = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(DRIVER.parents[2])}
        with warnings.catch_warnings():  # of a fork beside threads; the child calls exec at once
            warnings.simplefilter("ignore", DeprecationWarning)
            child = pexpect.spawn(argv[0], argv[1:], timeout=DEADLINE, env=env, dimensions=(size[1], size[0]))
        child.delaybeforesend = None
        children.append(child)
        return child

    yield _spawn
    for child in children:
        child.close(force=True)


@pytest.fixture
def sit(tmp_path: Path, spawn: Callable[..., pexpect.spawn[bytes]]) -> Iterator[Sit]:
    """Sits down before a terminal in which the driver runs; what it was like before, it is after."""
    desks = []

    def _sit(program: str, *, size: tuple[int, int] = (100, 40), **told: Any) -> Desk:
        argv = ["/bin/sh", "-c", DESK, str(tmp_path), *driver(tmp_path, program, **told)]
        desks.append(Desk(tmp_path, spawn(argv, size)))
        return desks[-1]

    yield _sit
    for desk in desks:
        desk.is_as_before()


@pytest.mark.parametrize("thread", [False, True], ids=["main", "thread"])
def test_keys_go_there_and_bytes_come_back(sit: Sit, thread: bool) -> None:
    desk = sit("keys", thread=thread)
    desk.sees(r"READY \*\*\*\*\*\*")  # what is shown may be changed
    for key in (b"\x1b[A", b"\r", b"\x1a", b"\x1c", b"\x16", b"\x13", "ü".encode()):  # arrow, Enter, ^Z, ^\, ^V, ^S
        desk.presses(key)
        desk.sees(f"got {key.hex()}\\.")
    desk.presses(b"q")
    assert desk.outcome() == "7"


def test_what_was_typed_before_is_not_sent(sit: Sit) -> None:
    desk = sit("keys", before=True)
    desk.sees("TYPE NOW")
    desk.presses(b"early q\n")
    desk.sees("READY")
    desk.presses(b"x")
    desk.sees(r"got 78\.")
    desk.presses(b"q")
    assert desk.outcome() == "7"


def test_other_lines_do_not_go_down_like_stairs(sit: Sit) -> None:
    desk = sit("keys", tick="3 minutes\nleft\n")
    desk.sees("READY")
    desk.sees("3 minutes\r\nleft\r\n")
    desk.sees("3 minutes\r\nleft\r\n")
    desk.presses(b"q")
    assert desk.outcome() == "7"


def test_the_window_is_followed(sit: Sit) -> None:
    desk = sit("keys", size=(91, 31))
    desk.sees(r"size 91x31\.")
    desk.sees("READY")
    for columns, rows, seen in ((20, 5, "20x5"), (0, 0, "80x24"), (250, 70, "250x70")):
        desk.child.setwinsize(rows, columns)
        desk.sees(f"size {seen}\\.")
    desk.child.setwinsize(31, 91)  # which `stty -a` tells
    desk.sees(r"size 91x31\.")
    desk.presses(b"q")
    assert desk.outcome() == "7"


def test_ctrl_c_goes_to_the_program_and_then_ends_the_run(sit: Sit) -> None:
    desk = sit("cooked", waits={"grace": 600})
    desk.sees("READY")
    desk.presses(b"\x03")
    # What the program had switched on is off: Kitty's keys, the mouse, the hidden cursor, the colour.
    desk.sees(r"\x1b\[<u\x1b\[\?1000l\x1b\[\?1006l\x1b\[\?25h\x1b\[0m")
    assert desk.outcome() == "KeyboardInterrupt: "


@pytest.mark.parametrize("key", [b"\x03", b"\x1b[99;5u"], ids=["plain", "kitty"])
def test_ctrl_c_is_heeded_when_the_program_does_not(sit: Sit, key: bytes) -> None:
    desk = sit("keys", waits={"grace": 0.3})
    desk.sees("READY")
    desk.presses(key)
    desk.sees(f"got {key.hex()}\\.")
    assert desk.outcome() == "KeyboardInterrupt: "


def test_the_second_ctrl_c_does_not_wait(sit: Sit) -> None:
    desk = sit("keys", waits={"grace": 600})
    desk.sees("READY")
    desk.presses(b"\x03")
    desk.sees(r"got 03\.")
    desk.presses(b"\x03")
    assert desk.outcome() == "KeyboardInterrupt: "


def test_a_key_waits_for_its_program(sit: Sit) -> None:
    """Not for the shell that is still busy."""
    desk = sit("keys", gate=True, tick="lent ")
    desk.sees("lent ")
    desk.presses(b"x")
    gate = wait_until(lambda: [*desk.folder.glob("**/home/gate")], DEADLINE)
    with open(gate[0], "w"):
        pass
    desk.sees("READY")
    desk.sees(r"got 78\.")
    desk.presses(b"q")
    assert desk.outcome() == "7"


def test_ctrl_c_before_the_program_has_begun(sit: Sit) -> None:
    desk = sit("keys", gate=True, tick="lent ", waits={"grace": 600})
    desk.sees("lent ")
    desk.presses(b"\x03")
    assert desk.outcome() == "KeyboardInterrupt: "


def test_time_is_over(sit: Sit) -> None:
    desk = sit("keys", timeout=1)
    assert desk.outcome() == "TimeoutError: the program in this terminal did not end within 1 s"


@pytest.mark.parametrize(
    ("told", "error"),
    [
        ({"show": "READY"}, "ValueError: show failed"),
        ({"tick": "fails"}, "ValueError: tick failed"),
        ({"fault": "cut"}, "OSError: the wire is cut"),
    ],
    ids=["show", "tick", "pty"],
)
def test_an_exception_gives_the_terminal_back(sit: Sit, told: dict[str, Any], error: str) -> None:
    assert sit("keys", **told).outcome() == error


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGQUIT"])
def test_a_deadly_signal_gives_the_terminal_back(sit: Sit, name: str) -> None:
    number = signal.Signals[name]
    desk = sit("keys")
    desk.sees("READY")
    desk.kill(number)
    desk.sees("OVER")
    assert (desk.folder / "status").read_text().strip() == str(128 + number)


@pytest.mark.parametrize(
    ("name", "told", "error"),
    [
        ("SIGINT", {}, "KeyboardInterrupt: "),
        ("SIGTERM", {"signals": {"SIGTERM": "raise"}}, f"RuntimeError: signal {signal.SIGTERM:d}"),
    ],
)
def test_a_signal_with_a_handler_is_left_to_it(sit: Sit, name: str, told: dict[str, Any], error: str) -> None:
    desk = sit("keys", **told)
    desk.sees("READY")
    desk.kill(signal.Signals[name])
    assert desk.outcome() == error


def test_a_long_paste_arrives_whole(sit: Sit) -> None:
    """Although the program says more than it is told: neither direction holds up the other."""
    desk = sit("paste")
    desk.sees("READY")
    text = bytes(random.Random(1).choices(b"abcdefghij", k=100_000)) + b"q"
    sent = 0
    while sent < len(text):  # the terminal itself takes 4 KiB at a time
        sent += desk.child.send(text[sent : sent + 1000])
        desk.child.expect([b".{5000}", pexpect.EOF])
    desk.sees(f"sum {hashlib.sha256(text).hexdigest()}\\.")
    assert desk.outcome() == "0"


def test_a_program_that_does_not_read(sit: Sit) -> None:
    """What it does not take is dropped with a bell, and Ctrl-C still ends the run."""
    desk = sit("deaf", waits={"grace": 600, "write": 0.2})
    desk.sees("READY")
    for _ in range(8):
        desk.presses(b"x" * 4000)
    desk.sees("\a")
    desk.presses(b"\x03")
    desk.presses(b"\x03")
    assert desk.outcome() == "KeyboardInterrupt: "


def test_a_key_that_nobody_takes_does_not_hold_up_the_second_ctrl_c(sit: Sit) -> None:
    desk = sit("keys", waits={"grace": 600}, fault="stuck")
    desk.sees("READY")
    desk.presses(b"x\x03")
    desk.presses(b"\x03")
    assert desk.outcome() == "KeyboardInterrupt: "


def test_keys_for_a_program_that_has_just_ended(sit: Sit) -> None:
    desk = sit("keys", fault="late")
    desk.sees("READY")
    desk.presses(b"q")

    def presses_on() -> bool:
        with suppress(OSError):  # the terminal is over
            desk.presses(b"x")
        return (desk.folder / "result").exists()

    wait_until(presses_on, DEADLINE)
    assert desk.outcome() == "7"


def test_a_program_that_has_closed_its_terminal(sit: Sit) -> None:
    """Keys that find nobody are no error; its end is waited for."""
    desk = sit("closed")
    desk.sees("READY")
    stage = wait_until(lambda: [*desk.folder.glob("**/home/stage")], DEADLINE)
    desk.presses(b"xyz")
    with open(stage[0], "w"):
        pass
    assert desk.outcome() == "5"


def test_a_flood_can_be_left(sit: Sit) -> None:
    """Also when the screen takes nothing any more."""
    desk = sit("flood")
    desk.sees("READY")
    desk.sees("x{100000}")
    desk.presses(b"\x03\x03")
    assert desk.outcome() == "KeyboardInterrupt: "


def test_a_terminal_that_goes_away(tmp_path: Path, spawn: Callable[..., pexpect.spawn[bytes]]) -> None:
    child = spawn(driver(tmp_path, "keys", signals={"SIGHUP": "ignore"}))
    child.expect(b"READY")
    child.ptyproc.fileobj.close()
    child.ptyproc.closed = child.closed = True
    outcome = Desk(tmp_path, child).result()
    child.ptyproc.wait()
    assert outcome.startswith("NoTerminal: the terminal has gone away (")
    assert outcome.endswith("); run this again in one that stays open")


# -- with a shell that has jobs


@pytest.fixture
def shell(tmp_path: Path, spawn: Callable[..., pexpect.spawn[bytes]]) -> Desk:
    """An interactive shell in its terminal."""
    child = spawn(["/bin/bash", "--norc", "--noprofile", "--noediting", "-i"])
    child.sendline(b"PS1='at your' PS1=\"$PS1 service> \"")
    child.expect(b"at your service> ")
    return Desk(tmp_path, child)


def command(desk: Desk, line: str) -> None:
    desk.child.sendline(line.encode())


def quoted(argv: list[str]) -> str:
    return " ".join(f"'{word}'" for word in argv)


def test_stopped_and_continued(shell: Desk) -> None:
    command(shell, f"stty -a >{shell.folder}/before")
    shell.sees("at your service> ")
    command(shell, quoted(driver(shell.folder, "keys")))
    shell.sees("READY")
    for number in (signal.SIGTSTP, signal.SIGSTOP):  # the second cannot be heard: the shell tidies up, and so do we
        shell.kill(number)
        shell.sees("Stopped")
        shell.sees("at your service> ")
        if number == signal.SIGTSTP:
            command(shell, f"stty -a >{shell.folder}/after")
            shell.sees("at your service> ")
            shell.is_as_before()
        command(shell, "fg")
        shell.sees(r"size 100x40\.")  # so that it draws anew
        shell.presses(b"\x1b[B")
        shell.sees(r"got 1b5b42\.")
    shell.presses(b"q")
    shell.sees("at your service> ")
    assert shell.result() == "7"
    command(shell, f"stty -a >{shell.folder}/after; echo DO''NE")
    shell.sees("DONE")
    shell.is_as_before()


def test_continued_in_the_background(shell: Desk) -> None:
    """It takes no key there and is not stopped; what it shows is shown."""
    command(shell, quoted(driver(shell.folder, "keys", tick="tick-")))
    shell.sees("READY")
    shell.kill(signal.SIGTSTP)
    shell.sees("at your service> ")
    shell.child.setwinsize(50, 90)
    command(shell, "bg")
    shell.sees("at your service> ")
    for _ in range(3):
        shell.sees("tick-")
    command(shell, f"jobs; stty -a >{shell.folder}/before; echo he''re")
    shell.sees("Running")
    shell.sees("here")
    command(shell, f"stty -a >{shell.folder}/after; fg")
    shell.sees(r"size 90x50\.")
    shell.presses(b"x")
    shell.sees(r"got 78\.")
    shell.presses(b"q")
    shell.sees("at your service> ")
    assert shell.result() == "7"
    shell.is_as_before()


def test_in_the_background_nobody_is_asked(shell: Desk) -> None:
    command(shell, quoted(driver(shell.folder, "keys")) + " &")
    assert shell.result().startswith("NoTerminal: this process is in the background, where no key reaches it; bring it")
    assert json.loads((shell.folder / "result").read_text())["there"] is False


# -- without a terminal


def test_without_a_terminal() -> None:
    source = """
import pytest_kiro.terminal.keyboard as keyboard
assert keyboard.is_there() is False
for call in (keyboard.size, lambda: keyboard.lend(None, timeout=1)):
    try:
        call()
    except keyboard.NoTerminal as error:
        print(error)
"""
    done = subprocess.run(
        ["setsid", "-w", sys.executable, "-c", source],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )
    assert done.stdout.count("/dev/tty cannot be opened (No such device or address); run this in a terminal\n") == 2


def test_the_size_of_the_terminal(spawn: Callable[..., pexpect.spawn[bytes]]) -> None:
    source = "import pytest_kiro.terminal.keyboard as k; print(k.is_there(), k.size())"
    for size, told in (((20, 3), "(20, 3)"), ((0, 0), "(80, 24)")):
        child = spawn([sys.executable, "-c", source], size)
        child.expect_exact(f"True {told}".encode())


def test_it_costs_no_import_of_pytest() -> None:
    assert (
        run_python(
            "import sys, pytest_kiro.terminal.keyboard; print('pytest' in sys.modules, 'pexpect' in sys.modules)"
        )
        == "False False\n"
    )
