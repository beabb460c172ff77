"""Terminals over links that break in every way: what was printed is whole, or the status is None, and nothing hangs."""

from __future__ import annotations

import os
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from emulator import Emulator
from helpers import is_alive, read_all, read_until, wait_until

from pytest_kiro.errors import PtyClosed, SandboxError
from pytest_kiro.sandbox.daytona import guest
from pytest_kiro.sandbox.daytona.pty import DaytonaPty
from pytest_kiro.sandbox.daytona.sandbox import DaytonaSandbox
from pytest_kiro.sandbox.protocol import SandboxSpec, Survivors
from pytest_kiro.settings.waits import DaytonaWaits
from pytest_kiro.terminal.attach import attach
from pytest_kiro.terminal.launch import Launch

Start = Callable[..., DaytonaPty]
#: Prints 40,000 bytes of x and goes on.
LONG = "head -c 40000 /dev/zero | tr '\\0' x"


@pytest.fixture
def sandbox(provider: Callable[..., Any], clock: Any) -> Iterator[DaytonaSandbox]:
    """One whose pauses between two attempts take no time."""
    made = provider(clock=clock).create(SandboxSpec())
    yield made
    made.close()


@pytest.fixture
def start(sandbox: DaytonaSandbox) -> Iterator[Start]:
    """Starts a script as the only program of a fresh terminal that changes no byte."""
    opened: list[DaytonaPty] = []

    def _start(script: str, **options: Any) -> DaytonaPty:
        sandbox.write_file("program", f"stty raw -echo\nprintf BEGIN\n{script}\n".encode())
        pty = sandbox.open_pty(**options)
        opened.append(pty)
        with suppress(PtyClosed):  # the link may be lost already
            pty.write(b' exec sh "$HOME"/program\n')
        return pty

    yield _start
    for pty in opened:
        pty.close()


def rest(pty: DaytonaPty) -> bytes:
    """All that the program prints, to the end."""
    return read_all(pty).partition(b"BEGIN")[2]


@pytest.mark.parametrize("code", [0, 7, 130, 255])
@pytest.mark.parametrize("style", ["both", "control", "close", "late"])
def test_the_status_comes_by(emulator: Emulator, start: Start, style: str, code: int) -> None:
    emulator.fault("pty_create_connect", exit_style=style)
    pty = start(f"{LONG}; exit {code}")
    assert rest(pty) == b"x" * 40_000
    assert pty.wait(30) == code
    assert pty.wait(0) == code


@pytest.mark.parametrize("shell", ["zsh", "bash"])
@pytest.mark.parametrize(
    "rule",
    [
        {"connected_delay": 0.5},
        {"early_output": "news of the day\r\n"},
        {"shell_delay": 0.5},
        {"delay": 0.3},
        {"lose_response": True},
        {"lose_response": True, "times": 2},
        {"drop": True, "times": 2},
        {"status": 409},
        {"status": 429, "headers": {"Retry-After": "20"}},
        {"status": 502, "times": 3},
    ],
    ids=str,
)
def test_a_terminal_opens_although(emulator: Emulator, start: Start, shell: str, rule: dict[str, Any]) -> None:
    if not shutil.which(shell):
        pytest.skip(f"there is no {shell} here")
    emulator.configure(shell=shell)
    emulator.fault("pty_create_connect", **rule)
    pty = start(f'printf \'%s|\' "$(stty size)" "$GIVEN"; {LONG}; exit 3', size=(101, 37), env={"GIVEN": "it's é"})
    assert rest(pty) == "37 101|it's é|".encode() + b"x" * 40_000
    assert pty.wait(30) == 3
    pty.close()
    assert emulator.sandboxes()[0]["pids"] == []


def test_a_subprotocol_that_is_chosen_changes_nothing(emulator: Emulator, start: Start) -> None:
    emulator.configure(subprotocol=True)
    pty = start("printf hello; exit 3")
    assert rest(pty) == b"hello"
    assert pty.wait(30) == 3


BREAKS: dict[str, dict[str, Any]] = {
    "cut": {"cut_after": 20_000},
    "cut at once": {"cut_after": 0},
    "closed politely": {"close_after": 20_000},
    "closed politely at once": {"close_after": 1},
    "slow consumer": {"close_after": 20_000, "close_code": 1008, "close_reason": "slow consumer"},
    "unavailable": {"close_after": 20_000, "close_code": 1011, "close_reason": "PTY session unavailable"},
    "going away": {"close_after": 20_000, "close_code": 1001},
    "torn at its end": {"exit_style": "abort"},
}


@pytest.mark.parametrize("how", BREAKS)
def test_a_link_that_is_lost_has_no_status(emulator: Emulator, start: Start, how: str) -> None:
    """The program has printed more than that, and goes on unless its end is what is lost."""
    emulator.fault("pty_create_connect", **BREAKS[how])
    ending = "" if how == "torn at its end" else "; sleep 600"
    pty = start(LONG + ending)
    got = rest(pty)
    assert got == b"x" * len(got)
    assert pty.wait(30) is None
    assert pty.read(0) == b""
    with pytest.raises(PtyClosed):
        pty.write(b"x")
    pty.close()
    assert emulator.sandboxes()[0]["pids"] == []


def test_a_terminal_that_is_closed_has_the_status_that_its_link_told(
    emulator: Emulator, sandbox: DaytonaSandbox, start: Start
) -> None:
    emulator.fault("pty_create_connect", exit_style="none")
    untold, told, deleted = (start("sleep 600") for _ in range(3))
    for pty in (untold, told, deleted):
        read_until(pty, b"BEGIN")
    untold.close()
    told.close()
    sandbox.close()
    assert [pty.wait(0) for pty in (untold, told, deleted)] == [None, 137, None]


def test_a_polite_close_before_the_shell_has_begun_is_no_success(emulator: Emulator, start: Start) -> None:
    """Its session is not known yet."""
    emulator.fault("pty_create_connect", shell_delay=2, close_after=1)
    pty = start("sleep 600")
    assert pty.wait(30) is None


def test_a_polite_close_at_the_very_end_is_no_success_without_the_end(emulator: Emulator, start: Start) -> None:
    emulator.fault("pty_create_connect", exit_style="none", close_after=40_000)
    pty = start(f"{LONG}; exit 0")
    got = rest(pty)
    assert pty.wait(30) in (0, None)
    assert len(got) < 40_000, "the prompt and the marker were part of it"


@pytest.mark.parametrize("waits", [DaytonaWaits(silence=0.2, late=0.2)], ids=["quick"])
@pytest.mark.parametrize("rule", [{"exit_style": "none"}, {"mute_after": 20_000}], ids=str)
def test_an_end_of_which_nobody_tells_is_noticed(emulator: Emulator, start: Start, rule: dict[str, Any]) -> None:
    emulator.fault("pty_create_connect", **rule)
    pty = start(f"{LONG}; while ! [ -e go ]; do sleep 0.05; done")
    with pytest.raises(TimeoutError):
        pty.wait(0.8)
    emulator_file = f"{emulator.sandboxes()[0]['home']}/go"
    open(emulator_file, "w").close()
    rest(pty)
    assert pty.wait(30) is None


@pytest.mark.parametrize("waits", [DaytonaWaits(silence=0.05, late=0.05)], ids=["quick"])
def test_a_silent_program_is_left_alone(start: Start) -> None:
    pty = start("sleep 1; printf done; exit 5")
    assert rest(pty) == b"done"
    assert pty.wait(30) == 5


def test_a_machine_that_dies_takes_its_terminals_along(
    emulator: Emulator, sandbox: DaytonaSandbox, start: Start
) -> None:
    pty = start("sleep 600")
    read_until(pty, b"BEGIN")
    emulator.kill_sandbox(sandbox.id)
    assert pty.read(30) == b""
    assert pty.wait(30) is None
    with pytest.raises(SandboxError):
        pty.write(b"x")
    pty.close()


def test_a_machine_that_is_gone_opens_none(emulator: Emulator, sandbox: DaytonaSandbox) -> None:
    emulator.kill_sandbox(sandbox.id, state="error")
    with pytest.raises(SandboxError, match="is gone: Daytona says it is error"):
        sandbox.open_pty()


def test_an_old_daemon_is_called_one(emulator: Emulator, sandbox: DaytonaSandbox) -> None:
    emulator.fault("pty_create_connect", status=404, message="404 page not found")
    with pytest.raises(SandboxError, match=r"old daemon.*HTTP 404.*newer snapshot"):
        sandbox.open_pty()
    assert emulator.sandboxes()[0]["pids"] == []


def test_a_terminal_that_cannot_start_is_told_at_once(emulator: Emulator, sandbox: DaytonaSandbox) -> None:
    """The daemon says so in a frame, after it has agreed to a WebSocket."""
    emulator.reset_log()
    pty = DaytonaPty(sandbox._machine)
    with pytest.raises(SandboxError, match=r"could not start a terminal: .*pty.StartWithSize: .*no such file") as error:
        pty.open("/not/there", {}, (80, 24))
    assert "network" not in str(error.value)
    assert len(emulator.log("pty_create_connect")) == 1


@pytest.mark.parametrize("rule", [{"status": 503}, {"status": 401}, {"drop": True}], ids=str)
def test_a_terminal_that_never_opens_is_an_error_and_leaves_nothing(
    emulator: Emulator, sandbox: DaytonaSandbox, rule: dict[str, Any]
) -> None:
    emulator.fault("pty_create_connect", times=None, **rule)
    with pytest.raises(SandboxError, match="open a terminal"):
        sandbox.open_pty()
    assert emulator.sandboxes()[0]["pids"] == []


@pytest.mark.parametrize("env", [{"LARGE": "x" * 4100}, {"LARGE": "é" * 800}, {f"N{n}": "x" * 90 for n in range(50)}])
def test_variables_that_no_handshake_carries_are_refused_before_it(
    emulator: Emulator, sandbox: DaytonaSandbox, env: dict[str, str]
) -> None:
    emulator.reset_log()
    with pytest.raises(ValueError, match=r"come to more than 4096 bytes.*in a file"):
        sandbox.open_pty(env=env)
    assert emulator.log("pty_create_connect") == []


def test_20_terminals_at_once_on_one_thread(emulator: Emulator, sandbox: DaytonaSandbox) -> None:
    ptys: list[DaytonaPty] = []
    outputs: dict[int, bytes] = {}

    def use(number: int) -> None:
        pty = sandbox.open_pty(env={"NUMBER": str(number)})
        ptys.append(pty)
        pty.write(b" exec sh -c 'printf \"BEGIN$NUMBER\"; read line'\n")
        outputs[number] = read_until(pty, b"BEGIN%d" % number)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(outputs) == list(range(20))
    assert [thread.name for thread in threading.enumerate()].count("kiro-daytona") == 1
    for pty in ptys:
        pty.close()
    assert emulator.sandboxes()[0]["pids"] == []
    assert sandbox.list_files("../../tmp/tasks") == []


def test_neither_descriptors_nor_threads_grow(sandbox: DaytonaSandbox) -> None:
    def one_round() -> tuple[int, int]:
        for _ in range(3):
            pty = sandbox.open_pty()
            pty.write(b" exec true\n")
            read_all(pty)
            assert pty.wait(30) == 0
            pty.close()
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    first = one_round()
    for _ in range(3):
        last = one_round()
    assert last[0] <= first[0] + 1
    assert last[1] == first[1]


@pytest.mark.parametrize("waits", [DaytonaWaits(held_bytes=4 * 1024 * 1024)], ids=["quick"])
def test_what_nobody_reads_waits(emulator: Emulator, start: Start) -> None:
    """Beyond what is held here the program waits, as at a terminal that is full."""
    emulator.configure(slow_client_grace=60)
    pty = start("head -c 40000000 /dev/zero | tr '\\0' x; printf END; touch done")
    with pytest.raises(TimeoutError):
        pty.wait(0.5)
    assert len(pty._held) < 5 * 1024 * 1024
    size, end, begun = 0, b"", False
    while data := pty.read(30):
        if not begun:
            data, begun = data.partition(b"BEGIN")[2], b"BEGIN" in data
        size, end = size + len(data), (end + data)[-4:]
    assert (size, end) == (40_000_003, b"xEND")
    assert pty.wait(30) == 0


@pytest.mark.parametrize("waits", [DaytonaWaits(held_bytes=1024 * 1024)], ids=["quick"])
def test_a_link_that_is_given_up_because_nobody_read_is_lost(emulator: Emulator, start: Start) -> None:
    emulator.configure(slow_client_grace=0.1)
    pty = start("yes x")
    wait_until(lambda: emulator.log("pty_create_connect")[0]["ended"])
    while pty.read(30):
        pass
    assert pty.wait(30) is None


def test_a_megabyte_is_typed(sandbox: DaytonaSandbox, start: Start) -> None:
    data = random.Random(1).randbytes(1 << 20)
    pty = start(f"head -c {len(data)} >typed; printf DONE")
    read_until(pty, b"BEGIN")
    pty.write(data)
    read_until(pty, b"DONE")
    assert sandbox.read_file("typed") == data


def test_ctrl_c_is_a_key(sandbox: DaytonaSandbox, start: Start) -> None:
    pty = start("stty sane; trap 'printf caught; exit 9' INT; printf ready; while :; do sleep 0.05; done")
    read_until(pty, b"ready")
    pty.write(b"\x03")
    assert b"caught" in read_all(pty)
    assert pty.wait(30) == 9


def test_a_size_that_changes_and_a_refusal_of_it(emulator: Emulator, start: Start) -> None:
    pty = start("trap 'stty size; exit' WINCH; printf ready; while :; do sleep 0.05; done", size=(80, 24))
    read_until(pty, b"ready")
    emulator.fault("pty_resize", status=502, times=2)
    pty.resize((50, 12))
    assert read_all(pty) == b"12 50\n"
    pty.resize((20, 20))


@pytest.mark.parametrize("shell", ["zsh", "bash"])
def test_nothing_that_is_typed_for_us_reaches_the_reader_of_a_program(
    emulator: Emulator, sandbox: DaytonaSandbox, shell: str
) -> None:
    """Nor a history in HOME, which the agent would see."""
    if not shutil.which(shell):
        pytest.skip(f"there is no {shell} here")
    emulator.configure(shell=shell)
    emulator.fault("pty_create_connect", shell_delay=0.3, early_output="news\r\n")
    before = sandbox.list_files("")
    launch = Launch(("sh", "-c", "printf 'hello\\n'; exit 4"), f"{sandbox.home}", ".state/x", "0123abcd")
    pty = attach(sandbox, launch)
    assert read_all(pty) == b"hello\r\n"
    assert pty.wait(30) == 4
    pty.close()
    sandbox.remove(".state")
    assert sandbox.list_files("") == before


LEAVES = "trap '' HUP\nsetsid sh -c 'echo $$ >child; exec sleep 1000' & while ! [ -s child ]; do :; done; exit 3"


def test_what_an_ended_program_left_is_ended_soon_although_nothing_is_asked_any_more(
    sandbox: DaytonaSandbox, start: Start
) -> None:
    pty = start(LEAVES)
    read_all(pty)
    assert pty.wait(30) == 3
    pid = int(sandbox.read_file("child"))
    assert is_alive(pid)
    pty.close()
    assert wait_until(lambda: not is_alive(pid))


@pytest.mark.parametrize("waits", [DaytonaWaits(left_over=3600.0)], ids=["quick"])
def test_what_an_ended_program_left_is_ended_before_the_next_command(sandbox: DaytonaSandbox, start: Start) -> None:
    pty = start(LEAVES)
    read_all(pty)
    pid = int(sandbox.read_file("child"))
    pty.close()
    assert is_alive(pid)
    sandbox.exec("true")
    assert not is_alive(pid)


#: What a program does that does not want to be found; it notes its number, and waits.
DAEMONS = {
    "setsid": "setsid $p/daemon $p/pid &",
    "double fork": "(setsid $p/daemon $p/pid &) &",
    "neither environment nor descriptors": "(cd /; { ulimit -S -x unlimited || ulimit -S -x 5 || ulimit -S -w 5; } "
    "2>/dev/null; setsid env -i $p/daemon $p/pid <&- >&- 2>&- &) &",
}


@pytest.mark.parametrize("shell", ["zsh", "bash", "sh"])
@pytest.mark.parametrize("habit", DAEMONS)
def test_a_daemon_ends_with_its_terminal_and_with_its_folder(
    emulator: Emulator, sandbox: DaytonaSandbox, habit: str, shell: str
) -> None:
    if not shutil.which(shell) or (shell != "zsh" and not habit.startswith("neither")):
        pytest.skip(f"there is no {shell} here, or one shell is enough")
    emulator.configure(shell=shell)
    command = f"p={sandbox.home}; {DAEMONS[habit]} until [ -s $p/pid ]; do sleep 0.01; done"
    sandbox.write_file("daemon", b'#!/bin/sh\necho $$ >"$1"; exec sleep 1000\n', mode=0o755)

    def begun() -> int:
        daemon = int(sandbox.read_file("pid"))
        assert is_alive(daemon)
        sandbox.remove("pid")
        return daemon

    other = sandbox.open_pty()
    other.write(f" {command}; exec sleep 1000\n".encode())
    wait_until(lambda: "pid" in sandbox.list_files(""))
    stranger = begun()
    pty = sandbox.open_pty()
    pty.write(f" {command}; exit 3\n".encode())
    assert pty.wait(30) == 3
    daemon = begun()
    pty.close()
    sandbox.exec("true")
    assert not is_alive(daemon)
    assert pty.survivors.killed == (f"{daemon} sleep",)
    assert is_alive(stranger)
    other.close()
    assert not is_alive(stranger)

    sandbox.exec("mkdir work")
    assert sandbox.exec(command, cwd="work").ok
    daemon = begun()
    sandbox.remove("work")
    assert not is_alive(daemon)


def test_what_is_not_ours_is_left_alone_whatever_our_files_say(emulator: Emulator, sandbox: DaytonaSandbox) -> None:
    """An agent can write the daemon's number there."""
    machine = sandbox._machine
    script = f"setsid sh -c 'echo $$ >{sandbox.home}/pid; exec sleep 1000' >/dev/null 2>&1 &"
    sandbox._client.wait_for(machine.raw.process.exec(script), 30)
    stranger = int(wait_until(lambda: sandbox.exec("cat pid").output))
    for end in ("exit 0", "sleep 1000"):
        pty = sandbox.open_pty()
        pty.write(f" for f in {machine.tasks}/*session; do cat pid >$f; done; {end}\n".encode())
        if end == "exit 0":
            pty.wait(30)
        pty.close()
    sandbox.exec("true")
    assert is_alive(stranger)


def test_what_cannot_be_ended_is_named(sandbox: DaytonaSandbox) -> None:
    """Here: by a `kill` that does nothing."""
    pty = sandbox.open_pty()
    pty.write(b" (setsid sh -c 'echo $$ >pid; exec sleep 1000' &); until [ -s pid ]; do :; done; exit 3\n")
    assert pty.wait(30) == 3
    pid = sandbox.exec("cat pid").output.strip()
    code = guest.reap([pty._tag], sandbox._machine.tasks, report="word")
    answer = sandbox.exec(f"kill() {{ :; }}; sleep() {{ :; }}; sudo() {{ :; }}; {code}").output
    assert guest.survivors(answer, "word") == Survivors(stuck=(f"{pid} sleep",))
    pty.close()


def test_many_uploads_at_once_need_one_thread_beside_the_loops(sandbox: DaytonaSandbox) -> None:
    data = random.Random(1).randbytes(500_000)  # no command carries it
    writers = [threading.Thread(target=sandbox.write_file, args=(f"f{n}", data)) for n in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    names = [thread.name for thread in threading.enumerate()]
    assert [name for name in names if name.startswith("asyncio")] == []
    assert len([name for name in names if name.startswith("kiro-daytona-files")]) <= 1
