"""A link that is lost, and what the sandbox then tells: real programs, real terminals, a real log."""

from __future__ import annotations

import itertools
import random
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import is_alive, read_all, read_until, wait_until
from links import Cut, LossySandbox, after, without_script
from listings import inside

from pytest_kiro.errors import LaunchError, PtyClosed, SandboxError
from pytest_kiro.sandbox.script import program
from pytest_kiro.settings.waits import Waits
from pytest_kiro.terminal import follow
from pytest_kiro.terminal.attach import Attached, attach
from pytest_kiro.terminal.launch import Launch

pytestmark = pytest.mark.skipif(not shutil.which("script"), reason="util-linux' script is not installed")
#: What a program of ours prints, with all that could be cut badly.
SAYS = "grüß 🥊 one\ntwo\rthree\x1b[31m\nScript done on x\nend"
#: The same as a terminal shows it.
SHOWN = SAYS.replace("\n", "\r\n").encode()


class Place:
    """Sandboxes whose links are lost, and programs in them."""

    def __init__(self, tmp_path: Path) -> None:
        self.tmp_path = tmp_path
        self.sandboxes: list[LossySandbox] = []
        self.opened: list[Attached] = []

    def sandbox(self, **options: Any) -> LossySandbox:
        made = LossySandbox(**options)
        self.sandboxes.append(made)
        return made

    def start(
        self, script: str, cut: Cut | None = None, *, sandbox: LossySandbox | None = None, **options: Any
    ) -> tuple[Launch, Attached, LossySandbox]:
        """Start a script; the link is lost `cut` bytes after the marker, unless `cut` is a function."""
        sandbox = sandbox or self.sandbox()
        launch = make(sandbox, script)
        if cut is not None:
            sandbox.cut = cut
        pty = attach(sandbox, launch, pause=options.pop("pause", lambda seconds: None), **options)
        self.opened.append(pty)
        return launch, pty, sandbox

    def close(self) -> None:
        for pty in self.opened:
            pty.close()
        for sandbox in self.sandboxes:
            sandbox.close()


def make(sandbox: LossySandbox, script: str) -> Launch:
    nonce = secrets.token_hex(8)
    return Launch(
        ("/bin/sh", "-c", script),
        workspace=f"{sandbox.home}/w",
        folder=f".cache/{nonce}",
        nonce=nonce,
        make=True,
        durable=True,
    )


def marked(launch_bytes: int) -> Cut:
    """Lose the link so many bytes after the marker's line, minus for before."""

    def cut(data: bytes) -> int | None:
        at = data.find(b"\nready-")
        end = data.find(b"\n", at + 1) + 1
        if at < 0 or not end or len(data) < end + launch_bytes:
            return None
        return end + launch_bytes

    return cut


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = Place(tmp_path)
    yield made
    made.close()


def printed(text: str) -> str:
    return "printf '%b' '" + "".join(f"\\0{byte:o}" for byte in text.encode()) + "'"


# -- exactly the missing bytes


@pytest.mark.parametrize("raises", [False, True], ids=["ends", "raises"])
@pytest.mark.parametrize(
    "cut", [-160, -140, -70, -1, 0, 1, 3, 4, 8, 10, 11, len(SHOWN) - 30, len(SHOWN) - 4, len(SHOWN)]
)
def test_every_cut_gives_exactly_the_rest(place: Place, cut: int, raises: bool) -> None:
    sandbox = place.sandbox(raises=raises)
    _launch, pty, _ = place.start(f"{printed(SAYS)}; exit 3", marked(cut), sandbox=sandbox)
    assert read_all(pty) == SHOWN
    assert sandbox.links[0].lost
    assert pty.started
    assert not pty.cut
    assert pty.read(1) == b""
    assert pty.wait(30) == 3
    lost_after = f"the link to its terminal was lost after {max(0, cut)} bytes of output; "
    # When all had come, nothing may be missing already at the first question.
    told = (f"{lost_after}the rest came from the log in the sandbox",)
    assert pty.warnings == told or (cut == len(SHOWN) and pty.launch_record and not pty.warnings)
    pty.close()
    outcome = pty.collect()
    assert outcome is not None
    assert outcome.status == 3


def test_without_a_loss_one_question_brings_what_was_left_and_nothing_is_said(place: Place) -> None:
    _, pty, sandbox = place.start(f"{printed(SAYS)}; exit 3")
    assert read_all(pty) == SHOWN
    assert pty.wait(30) == 3
    pty.close()
    assert (pty.warnings, pty.cut) == ((), False)
    assert sandbox.calls[2:] == ["write", "exec", "close"]
    assert pty.launch_record is not None
    assert pty.launch_record.status == 3


def test_a_link_that_ends_politely_before_the_last_byte_is_found_out(place: Place) -> None:
    """A proxy closes as if the program had ended with 0, and meanwhile it does: only the log knows of the rest."""
    _, pty, sandbox = place.start(f"{printed(SAYS)}; exit 0", marked(3))
    link = sandbox.links[0]
    data = b""
    while not link.lost:
        data += pty.read(30)
    link.wait = lambda timeout: 0
    assert data + read_all(pty) == SHOWN
    assert pty.wait(30) == 0
    pty.close()


def test_a_link_that_is_lost_after_the_last_byte(place: Place) -> None:
    _, pty, _ = place.start("echo all; exit 5", sandbox=place.sandbox(at_end=True))
    assert read_all(pty) == b"all\r\n"
    assert pty.wait(30) == 5
    assert not pty.cut


def test_a_link_that_is_lost_while_its_end_is_waited_for(place: Place) -> None:
    _, pty, sandbox = place.start("mkfifo fifo; echo all; read x <fifo; exit 5")
    read_until(pty, b"all\r\n")
    sandbox.links[0].lose()
    sandbox.exec("echo go >w/fifo").check()
    assert pty.wait(30) == 5


def test_many_random_bytes_with_cuts_anywhere(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = place.sandbox()
    data = random.Random(7).randbytes(200_000)
    sandbox.write_file("data", data)
    script = 'stty raw -echo </dev/tty; cat "$HOME/data"'
    _, pty, _ = place.start(script, sandbox=sandbox)
    assert read_all(pty) == data
    monkeypatch.setattr(follow, "SLICE", 20_000)
    for cut in random.Random(8).sample(range(len(data)), 6):
        _, pty, _ = place.start(script, marked(cut), sandbox=sandbox)
        got = read_all(pty)
        assert sandbox.links[-1].lost
        assert len(got) == len(data)
        assert got == data
        assert not pty.cut
        pty.close()


# -- the program goes on


def test_a_program_that_goes_on_is_followed_live(place: Place) -> None:
    script = (
        "mkfifo fifo; exec 3<>fifo; echo up; while read -r line <&3; do echo got $line; [ $line = end ] && exit 4; done"
    )
    _, pty, sandbox = place.start(script, after(b"up\r\n"))
    read_until(pty, b"up\r\n")
    for word in ("one", "two", "end"):
        sandbox.exec(f"echo {word} >w/fifo").check()
        read_until(pty, f"got {word}".encode())
    assert read_all(pty).strip() == b""
    assert pty.wait(30) == 4


def test_questions_get_rarer_while_nothing_is_printed(place: Place) -> None:
    pauses: list[float] = []
    script = "mkfifo fifo; exec 3<>fifo; echo up; read x <&3; echo more; read x <&3"
    _, pty, sandbox = place.start(script, after(b"up\r\n"), pause=pauses.append)
    read_until(pty, b"up\r\n")
    while len(pauses) < 8:
        with pytest.raises(TimeoutError):
            pty.read(0.001)
    assert all(seconds <= 0.001 for seconds in pauses), "as long as the caller has"
    pauses.clear()
    sandbox.exec("echo go >w/fifo").check()
    read_until(pty, b"more")
    assert set(pauses) <= {Waits().link_pauses[-1]}
    pauses.clear()
    sandbox.exec("echo go >w/fifo").check()
    assert read_all(pty).strip() == b""
    assert pauses[0] == Waits().link_pauses[0]


def test_a_program_that_ended_while_nobody_looked(place: Place) -> None:
    _, pty, sandbox = place.start("echo one; echo two; exit 6", after(b"one\r\n"))
    read_until(pty, b"one\r\n")
    wait_until(lambda: any(name.endswith("/status") for name in sandbox.list_files(".cache")))
    assert read_all(pty) == b"two\r\n"
    assert pty.wait(0) == 6


def test_ctrl_c_reaches_the_program(place: Place) -> None:
    for asked, status in (("exec sleep 1000", 130), ("trap 'echo asked; exit 5' INT; sleep 1000 & wait", 5)):
        _launch, pty, _sandbox = place.start(f"echo made >made; echo up; {asked}", after(b"up\r\n"))
        read_until(pty, b"up\r\n")
        pty.write(b"\x03")
        assert read_all(pty) == (b"asked\r\n" if status == 5 else b"")
        assert pty.wait(30) == status
        pty.close()
        outcome = pty.collect()
        assert outcome is not None
        assert (outcome.status, list(inside(outcome.after))) == (status, ["made"])


def test_ctrl_c_reaches_who_has_the_terminal(place: Place) -> None:
    """A shell with jobs of its own gives the terminal to one of them."""
    script = "set -m; (trap 'exit 7' INT; echo up; sleep 1000 & wait); echo said $?"
    _, pty, _ = place.start(script, after(b"up\r\n"))
    read_until(pty, b"up\r\n")
    pty.write(b"\x03")
    assert read_all(pty) == b"said 7\r\n"


def test_nothing_else_can_be_typed(place: Place) -> None:
    _, pty, _ = place.start("echo up; exec sleep 1000", after(b"up\r\n"))
    read_until(pty, b"up\r\n")
    with pytest.raises(PtyClosed, match="nothing but Ctrl-C"):
        pty.write(b"hello\n")


@pytest.mark.parametrize("lost", [False, True])
def test_closing_kills_the_whole_tree(place: Place, lost: bool) -> None:
    script = "trap '' HUP INT TERM; echo $$; (sleep 1000 & echo $!; setsid sleep 1001 & echo $!; wait) & "
    script += "(sleep 1002 & echo $!); wait"  # whose parent is init
    _, pty, sandbox = place.start(script)
    pids = [int(word) for word in read_until_lines(pty, 4)]
    sandbox.links[0]._pty.close = lambda: None  # the provider's own end may reach less far
    if lost:
        sandbox.links[0].lose()
        with pytest.raises(TimeoutError):
            pty.read(0)
    pty.close()
    assert not any(map(is_alive, pids))
    del sandbox.links[0]._pty.close


def read_until_lines(pty: Attached, count: int) -> list[bytes]:
    data = b""
    while data.count(b"\n") < count:
        data += pty.read(30)
    return data.split()


# -- before it begins


def test_a_launch_that_ended_before_it_began_says_why(place: Place) -> None:
    launch = make(sandbox := place.sandbox(), "echo never")
    launch = Launch(launch.argv, workspace="/no/such/place", folder=launch.folder, nonce=launch.nonce, durable=True)
    sandbox.cut = lambda data: 0
    pty = attach(sandbox, launch, pause=lambda seconds: None)
    place.opened.append(pty)
    with pytest.raises(LaunchError, match=r"(?s)its terminal ended first.*/no/such/place"):
        read_all(pty)
    assert not pty.started


def test_a_line_that_never_arrived_is_the_links_fault(place: Place) -> None:
    sandbox = place.sandbox(cut=lambda data: 0)
    sandbox._shell = ("/bin/sh", "-c", "read x; exec sh")
    _, pty, _ = place.start("echo never", sandbox=sandbox, waits=Waits(launch=0.2))
    sandbox.links[0]._pty.write = lambda data: None
    with pytest.raises(SandboxError, match="link to the terminal was lost before the program began"):
        read_all(pty)
    assert not pty.started
    del sandbox.links[0]._pty.write


# -- a sandbox that does not answer


def test_a_sandbox_that_is_gone(place: Place) -> None:
    pauses: list[float] = []
    _, pty, sandbox = place.start("echo up; exec sleep 1000", after(b"up\r\n"), pause=pauses.append)
    read_until(pty, b"up\r\n")
    sandbox.destroy()
    with pytest.raises(SandboxError, match=r"link to the terminal was lost; asked 20 times .* is gone"):
        read_all(pty)
    assert len(pauses) == Waits().link_attempts - 1
    assert pty.cut
    pty.close()


def test_a_sandbox_that_is_closed_is_not_asked_again(place: Place) -> None:
    _, pty, sandbox = place.start("echo up; exec sleep 1000", after(b"up\r\n"))
    read_until(pty, b"up\r\n")
    sandbox.close()
    with pytest.raises(SandboxError, match=r"asked 1 time for .* is closed"):
        pty.read(30)


def test_a_few_silent_moments_are_borne(place: Place) -> None:
    _, pty, sandbox = place.start("mkfifo fifo; echo up; read x <fifo; echo end; exit 2", after(b"up\r\n"))
    read_until(pty, b"up\r\n")
    asked = itertools.count(1)

    def fail(command: str) -> None:
        if "='tell " not in command:
            return
        number = next(asked)
        if number % Waits().link_attempts:  # as often in a row as can be borne
            raise SandboxError("no route to host")
        if number == 3 * Waits().link_attempts:
            (Path(sandbox.home) / "w/fifo").write_bytes(b"go\n")

    sandbox.on_exec = fail
    assert read_all(pty) == b"end\r\n"
    assert pty.wait(30) == 2


# -- a log that is not there, or not whole


def test_without_script_the_output_ends_where_the_link_ended(place: Place) -> None:
    sandbox = place.sandbox(env=without_script(place.tmp_path / "bin"))
    _launch, pty, _ = place.start("echo one; echo two; echo x >made; exit 6", after(b"one\r\n"), sandbox=sandbox)
    assert read_all(pty) == b"one\r\n"
    assert pty.wait(30) == 6
    assert pty.cut
    assert pty.warnings == (
        "the link to its terminal was lost after 5 bytes of output; "
        "no log of the rest is in the sandbox, which needs util-linux' `script` for one",
    )
    pty.close()
    outcome = pty.collect()
    assert outcome is not None
    assert list(inside(outcome.after)) == ["made"]


def test_without_script_a_link_that_is_lost_before_the_beginning(place: Place) -> None:
    sandbox = place.sandbox(env=without_script(place.tmp_path / "bin"), cut=lambda data: 0)
    _, pty, _ = place.start("echo one; exit 6", sandbox=sandbox)
    assert read_all(pty) == b""
    assert pty.started
    assert pty.wait(30) == 6
    assert pty.cut


@pytest.mark.parametrize("script", ["exit 0", "echo 'script: illegal option -- q' >&2; exit 64"])
def test_another_script_is_not_taken_for_ours(place: Place, script: str) -> None:
    env = without_script(place.tmp_path / "bin")
    fake = place.tmp_path / "bin" / "script"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    _, pty, _ = place.start("echo one; exit 6", sandbox=place.sandbox(env=env))
    assert read_all(pty) == b"one\r\n"
    assert pty.wait(30) == 6


@pytest.mark.parametrize("harm", ["rm -f", "truncate -s 0"])
def test_a_log_that_was_harmed_is_told(place: Place, harm: str) -> None:
    logged = 'until grep -q ^one "$HOME"/.cache/*/log; do sleep 0.02; done'  # else only its head may be harmed
    script = f'echo one; {logged}; {harm} "$HOME"/.cache/*/log; echo two; exit 6'
    _, pty, _ = place.start(script, after(b"two\r\n"))
    read_all(pty)
    assert pty.wait(30) == 6
    assert pty.cut
    assert "lost after 10 bytes" in pty.warnings[0]
    assert "the rest came from the log in the sandbox" not in pty.warnings[0] or "may be missing" in pty.warnings[0]


def test_a_log_that_ends_before_the_link_did_is_told(place: Place) -> None:
    """As on a disk that is full."""
    shorten = 'truncate -s 400 "$HOME"/.cache/*/log; kill -9 $(cat "$HOME"/.cache/*/pid)'
    script = f"head -c 2000 /dev/zero | tr '\\0' x; read x <fifo; {shorten}"
    _, pty, sandbox = place.start(f"mkfifo fifo; {script}", after(b"x" * 2000))
    read_until(pty, b"x" * 2000)
    sandbox.exec("echo go >w/fifo").check()
    assert read_all(pty) == b""
    assert pty.wait(30) in (0, None)  # whether its script was quick enough to write it down
    assert pty.cut


def test_a_dead_process_that_nobody_has_reaped_is_over(tmp_path: Path) -> None:
    words = {"follow_folder": str(tmp_path), "follow_stores": "", "follow_words": "tell 0 9"}
    text = program(Path(follow.__file__).with_suffix(".sh"), **words)
    child = subprocess.Popen(["sh", "-c", "read x"], stdin=subprocess.PIPE)
    (tmp_path / "pid").write_text(f"{child.pid}\n")

    def told() -> str:
        return subprocess.check_output(["sh", "-c", text], text=True)

    try:
        assert told() == "told running - - -\n"
        child.stdin.close()
        assert wait_until(lambda: told() == "told over - - -\n")
    finally:
        child.wait()


def test_what_is_killed_cannot_write_its_end_down_first(tmp_path: Path) -> None:
    """Else a turn that was ended because its link is lost would be one whose program has crashed."""
    words = {"follow_folder": str(tmp_path), "follow_stores": "", "follow_words": "end"}
    text = program(Path(follow.__file__).with_suffix(".sh"), **words)
    many = "sleep 1000 & " * 20
    launched = subprocess.Popen(["sh", "-c", f"{many}echo up; wait"], stdout=subprocess.PIPE, text=True)
    assert launched.stdout
    assert launched.stdout.readline() == "up\n"
    for name in ("pid", "begun"):
        (tmp_path / name).write_text(f"{launched.pid}\n")
    noting = 'kill() { echo "$@" >>killed; command kill "$@"; }\n'
    subprocess.run(["sh", "-c", noting + text], check=True, timeout=60)
    launched.wait(60)
    launched.stdout.close()
    killed = (tmp_path / "killed").read_text().splitlines()[0].split()
    assert killed[:3] == ["-s", "KILL", str(launched.pid)]
    assert len(killed) == 2 + 21


def test_ctrl_c_is_for_the_launch_where_nobody_says_who_has_the_terminal(tmp_path: Path) -> None:
    """Its shell has none, or is nowhere to be found, as on a machine without /proc."""
    words = {"follow_folder": str(tmp_path), "follow_stores": "", "follow_words": "interrupt"}
    text = program(Path(follow.__file__).with_suffix(".sh"), **words)
    launched = subprocess.Popen(["sh", "-c", "read x"], stdin=subprocess.PIPE, start_new_session=True)
    assert launched.stdin
    (tmp_path / "begun").write_text(f"{launched.pid}\n")
    noting = 'kill() { echo "$@" >>killed; }\n'
    subprocess.run(["sh", "-c", noting + text], check=True, timeout=60)
    launched.stdin.close()
    launched.wait(60)
    subprocess.run(["sh", "-c", noting + text], check=True, timeout=60)
    assert (tmp_path / "killed").read_text().splitlines() == [f"-s INT -- -{launched.pid}"] * 2


def test_a_killed_program_has_no_status_and_is_never_a_pass(place: Place) -> None:
    seen = "until [ -e seen ]; do sleep 0.02; done"  # what `script` has not handed on yet would die with it
    script = f'echo up; {seen}; kill -9 $(cat "$HOME"/.cache/*/pid) $PPID; exec sleep 1000'
    launch, pty, sandbox = place.start(script, after(b"up\r\n"))
    assert read_until(pty, b"up\r\n") == b"up\r\n"
    sandbox.write_file(f"{launch.workspace}/seen", b"")
    assert read_all(pty) == b""
    assert pty.wait(30) is None
