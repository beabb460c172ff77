"""Contract P, Pty (pytest_kiro/sandbox/protocol.py), on every provider."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from helpers import read_all, read_until, wait_until
from machines import Machines

from pytest_kiro.errors import PtyClosed
from pytest_kiro.sandbox.protocol import Pty, Sandbox

Start = Callable[..., Pty]


def test_p1_bytes_arrive_in_order_and_unchanged(machines: Machines, sandbox: Sandbox, start: Start) -> None:
    data = random.Random(1).randbytes(300_000) + bytes(range(256))
    sandbox.write_file("data", data)
    assert machines.printed(read_all(start("cat data")), data)


def test_p1_typed_bytes_arrive_unchanged_too(sandbox: Sandbox, start: Start) -> None:
    data = bytes(range(256)) * 8
    pty = start(f"echo ready; head -c {len(data)} >typed; echo done; read line")
    read_until(pty, b"ready")
    pty.write(data)
    read_until(pty, b"done")
    assert sandbox.read_file("typed") == data


def test_p2_a_megabyte_written_right_before_the_exit_is_readable(machines: Machines, start: Start) -> None:
    pty = start("head -c 1000000 /dev/zero | tr '\\0' x; printf END")
    assert machines.printed(read_all(pty), b"x" * 1_000_000 + b"END")


def test_p2_what_was_written_before_the_exit_waits_for_its_reader(machines: Machines, start: Start) -> None:
    pty = start("read line; printf 'last words'; exit 3")
    pty.write(b"go\n")
    assert pty.wait(30) == 3
    assert machines.printed(read_all(pty), b"last words")


def test_p3_after_the_end_always_the_end(machines: Machines, start: Start) -> None:
    pty = start("printf x")
    assert machines.printed(read_all(pty), b"x")
    assert [pty.read(0), pty.read(5), pty.read(0)] == [b"", b"", b""]


@pytest.mark.parametrize("attempt", range(5))
def test_p3_children_that_go_on_printing_do_not_put_the_end_off(
    machines: Machines, sandbox: Sandbox, start: Start, attempt: int
) -> None:
    """Nor does a reader that takes its time, so that there is always something; by luck it may end anyhow."""
    pty = start("setsid sh -c 'echo $$ >child; exec yes spam' & while ! [ -s child ]; do :; done")
    assert pty.wait(30) == 0
    size = 0
    while data := pty.read(20):
        size += len(data)
        assert size < 3_000_000
        sum(range(200_000))
    assert pty.read(0) == b""
    pid = machines.pid(sandbox, "child")
    pty.close()
    assert machines.is_over(pid)


def test_p3_a_silent_child_that_holds_the_terminal_does_not_put_the_end_off(machines: Machines, start: Start) -> None:
    pty = start("setsid sh -c 'echo $$ >child; exec sleep 1000' & while ! [ -s child ]; do :; done; printf bye")
    assert machines.printed(read_all(pty, 20), b"bye")
    assert pty.wait(30) == 0


def test_p4_wait_gives_the_exit_status(start: Start) -> None:
    assert start("exit 0").wait(30) == 0
    assert start("exit 7").wait(30) == 7


@pytest.mark.parametrize(("signal", "status"), [("KILL", 137), ("TERM", 143), ("HUP", 129), ("SEGV", 139)])
def test_p4_a_death_by_signal_n_is_128_plus_n(sandbox: Sandbox, start: Start, signal: str, status: int) -> None:
    """Or 137 on a machine far away, whose service may say -1 and nothing more."""
    assert start(f"kill -{signal} $$").wait(30) in ((status, 137) if sandbox.remote else (status,))


def test_p4_a_program_that_still_runs_has_no_status(start: Start) -> None:
    pty = start("read line; exit 4")
    with pytest.raises(TimeoutError, match="still runs"):
        pty.wait(0.05)
    pty.write(b"go\r\n")
    assert pty.wait(30) == 4
    assert pty.wait(0) == 4


CHILDREN = {
    "itself": "echo $$ >child; sleep 1000",
    "stubborn": "trap '' TERM HUP INT; echo $$ >child; while :; do sleep 1000; done",
    "background": "sh -c 'echo $$ >child; exec sleep 1000' & wait",
    "nohup": "nohup sh -c 'echo $$ >child; exec sleep 1000' >/dev/null 2>&1 &\nwait",
    "setsid": "setsid sh -c 'echo $$ >child; exec sleep 1000' & sleep 1000",
    "no environment": "env -i /bin/sh -c 'echo $$ >child; exec sleep 1000' & wait",
    "job of its own": "set -m; env -i /bin/sh -c 'echo $$ >child; exec sleep 1000' & wait",
}


@pytest.mark.parametrize("child", CHILDREN)
def test_p5_close_kills_what_still_runs(machines: Machines, sandbox: Sandbox, start: Start, child: str) -> None:
    pty = start(CHILDREN[child])
    pid = machines.pid(sandbox, "child")
    assert machines.alive(pid)
    pty.close()
    pty.close()
    assert machines.is_over(pid)
    assert pty.read(0) == b""


@pytest.mark.parametrize("child", ["setsid", "no environment"])
def test_p5_close_kills_children_whose_program_has_ended(
    machines: Machines, sandbox: Sandbox, start: Start, child: str
) -> None:
    pty = start(f"trap '' HUP\n{CHILDREN[child].rpartition('&')[0]} & while ! [ -s child ]; do :; done; exit 0")
    assert pty.wait(30) == 0
    pid = machines.pid(sandbox, "child")
    assert machines.alive(pid) or sandbox.remote, (
        "where asking costs a round trip, they are ended by the first question"
    )
    pty.close()
    assert machines.is_over(pid)


def test_p5_closing_the_sandbox_closes_its_terminals(machines: Machines, sandbox: Sandbox, start: Start) -> None:
    pty = start(CHILDREN["job of its own"])
    pid = machines.pid(sandbox, "child")
    sandbox.close()
    assert machines.is_over(pid)
    assert pty.read(0) == b""


def test_p6_the_terminal_has_the_size_asked_for(start: Start) -> None:
    assert read_until(start("stty size; read line", size=(101, 37)), b"\n") == b"37 101\n"


def test_p6_resize_reaches_the_program(start: Start) -> None:
    pty = start("trap 'stty size; sleep 1000' WINCH; echo up; while :; do read line; done", size=(80, 24))
    read_until(pty, b"up")
    pty.resize((50, 12))
    with suppress(PtyClosed):  # a shell runs its traps between commands, unless the signal has ended its read already
        pty.write(b"\n")
    assert read_until(pty, b"12 50")
    pty.resize((20, 20))
    pty.close()
    pty.resize((10, 10))


def test_p7_a_write_after_the_end_raises(start: Start) -> None:
    pty = start("exit 0")
    read_all(pty)
    pty.wait(30)
    with pytest.raises(PtyClosed, match="has ended"):
        pty.write(b"x")
    pty.close()
    with pytest.raises(PtyClosed):
        pty.write(b"x")


def test_p8_silence_is_a_timeout_and_loses_nothing(start: Start) -> None:
    pty = start("read line; echo heard; read line")
    with pytest.raises(TimeoutError, match=r"nothing was printed for 0.05 s"):
        pty.read(0.05)
    with pytest.raises(TimeoutError):
        pty.read(0)
    pty.write(b"x\n")
    assert read_until(pty, b"heard")


def test_p8_a_read_comes_back_as_soon_as_there_is_something(start: Start) -> None:
    pty, started = start("read line; echo heard; read line"), time.monotonic()
    pty.write(b"x\n")
    assert pty.read(600)
    pty.write(b"x\n")
    assert read_all(pty, 600) is not None
    assert time.monotonic() - started < 30


def test_environment_and_folder_of_a_terminal(sandbox: Sandbox, start: Start) -> None:
    sandbox.exec("mkdir folder").check()
    pty = start('printf "%s|" "$(pwd)" "$MINE" "$OF_SPEC" "$TERM" END; read line', cwd="folder", env={"MINE": "a b"})
    assert read_until(pty, b"END").decode() == f"{sandbox.home}/folder|a b|spec|xterm-256color|END|"


def test_a_pipe_that_is_closed_ends_its_writer(start: Start) -> None:
    """Python ignores SIGPIPE; a program that inherits that says "Broken pipe" instead of ending."""
    assert read_until(start("yes | head -n 1; echo END; read line"), b"END\n") == b"y\nEND\n"


def test_two_threads_open_terminals_at_once(start: Start, sandbox: Sandbox) -> None:
    results: list[bytes] = []

    def run() -> None:
        pty = sandbox.open_pty()
        pty.write(b" exec sh -c 'echo $((40 + 2)); read line'\n")
        results.append(read_until(pty, b"42"))
        pty.close()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [b"42" in result for result in results] == [True] * 4


def test_closing_is_prompt(start: Start) -> None:
    pty, started = start("echo up; sleep 1000"), time.monotonic()
    read_until(pty, b"up")
    pty.close()
    assert time.monotonic() - started < 20
    assert wait_until(lambda: pty.wait(0) == 137)
