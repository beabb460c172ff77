"""PTY sessions, by the SDK: real interactive shells that outlive their clients."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import shutil
import uuid
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from daytona import AsyncSandbox, DaytonaConflictError, DaytonaError, DaytonaGoneError, DaytonaNotFoundError
from daytona.common.pty import PtySize
from daytona_client import ask, frames_of, pty, run_in_sandbox
from emulator import Emulator
from emulator.machine import Machine
from emulator.terminal import Terminal
from helpers import is_alive, wait_until


@pytest.fixture(params=["zsh", "bash"])
def shell(request: pytest.FixtureRequest, emulator: Emulator) -> str:
    if not shutil.which(request.param):
        pytest.skip(f"there is no {request.param} here")
    emulator.configure(shell=request.param)
    return str(request.param)


def test_a_turn(emulator: Emulator, shell: str) -> None:
    """What the harness does: type a line that prints a marker and becomes the program."""

    async def use(box: AsyncSandbox) -> None:
        async with pty(box, envs={"FOO": "bär", "HISTFILE": "/dev/null"}) as one:
            script = "echo hello $FOO; stty size; echo $TERM; pwd; test -t 0 && exit 7"
            await one.send(f" printf '\\n%s\\n' '__'READY'__'; exec sh -c '{script}'\n")
            outcome = await one.exit()
            assert (outcome.exit_code, outcome.error) == (7, "non-zero exit")
            home = await box.get_work_dir()
            said = one.output.partition(b"\n__READY__\r\n")[2].decode()
            assert said == f"hello bär\r\n30 120\r\nxterm-256color\r\n{home}\r\n"

    run_in_sandbox(emulator, use)


def test_the_shell_is_really_interactive(emulator: Emulator, shell: str) -> None:
    """So that what bites on the service bites here too: job control, a line editor, a failed exec."""

    async def use(box: AsyncSandbox) -> None:
        async with pty(box) as one:
            if shell == "bash":  # which stays where zsh ends
                await one.send("exec not-a-program-at-all\n")
                await one.until(b"not found")
            await one.send("case $- in *i*) echo inter'active';; esac; [[ -o monitor ]] && echo job'control'\n")
            await one.until(b"interactive")
            await one.until(b"jobcontrol")
            assert b"\x1b[?2004h" in one.output  # the editor is on: bracketed paste
            await one.send("exit 3\n")
            assert (await one.exit()).exit_code == 3

    run_in_sandbox(emulator, use)


def test_it_is_a_login_shell(emulator: Emulator, shell: str) -> None:
    async def use(box: AsyncSandbox) -> None:
        name = {"zsh": ".zprofile", "bash": ".bash_profile"}[shell]
        await box.fs.upload_file(b"echo from the profile\n", name)
        async with pty(box) as one:
            await one.until(b"from the profile")

    run_in_sandbox(emulator, use)


@pytest.mark.parametrize(
    ("ending", "code", "reason"),
    [
        ("exit 0", 0, None),
        ("exit 130", 130, "Ctrl+C"),
        ("exit 137", 137, "SIGKILL"),
        ("exit 143", 143, "SIGTERM"),
        ("exit 139", 139, "signal 11"),
        ("kill -9 $$", -1, "non-zero exit"),
    ],
)
def test_the_exit_code_and_its_reason(emulator: Emulator, ending: str, code: int, reason: str | None) -> None:
    async def use(box: AsyncSandbox) -> None:
        async with pty(box) as one:
            await one.send(f" exec sh -c '{ending}'\n")
            outcome = await one.exit()
            assert (outcome.exit_code, outcome.error) == (code, reason)

    run_in_sandbox(emulator, use)


def test_ctrl_c_reaches_the_program(emulator: Emulator) -> None:
    async def use(box: AsyncSandbox) -> None:
        async with pty(box) as one:
            await one.send(
                """ exec sh -c 'trap "echo caught; exit 5" INT; echo rea""dy; while :; do sleep 0.05; done'\n"""
            )
            await one.until(b"\nready")
            await one.send("\x03")
            assert (await one.exit()).exit_code == 5
            assert b"caught" in one.output

    run_in_sandbox(emulator, use)


def test_all_output_before_the_end_arrives(emulator: Emulator) -> None:
    async def use(box: AsyncSandbox) -> None:
        async with pty(box) as one:
            await one.send(" exec sh -c 'head -c 3000000 /dev/zero | tr \"\\0\" x; printf END'\n")
            assert (await one.exit()).exit_code == 0
            assert one.output.endswith(b"xEND")
            assert one.output.count(b"x") >= 3_000_000
            assert max(map(len, one.chunks)) <= 32 * 1024

    run_in_sandbox(emulator, use)


def test_what_was_written_before_the_end_is_read_after_it(tmp_path: Path) -> None:
    """Nobody has read before the shell ended, as when a slow client held the reading up."""
    offered: list[bytes] = []
    finished: list[int] = []

    class Watcher:
        full, exit_style = False, "both"
        offer, finish = offered.append, finished.append

        def overtake(self, code: int) -> None:
            pass

    async def use() -> None:
        machine = Machine(str(uuid.uuid4()), tmp_path / "box", {}, snapshot="")
        options = {"cwd": str(machine.home), "envs": {}, "size": (80, 24), "created": 0.0, "grace": 1.0}
        terminal = Terminal(machine, "one", **options)
        terminal.start("/bin/sh", 0)
        terminal.links.append(Watcher())
        assert await terminal.feed(b"printf 'last%s\\n' words; exit 3\n")
        async with asyncio.timeout(30):
            await terminal._waiter
        await machine.remove()

    asyncio.run(use())
    assert finished == [3]
    assert b"lastwords\r\n" in b"".join(offered)


def test_a_child_that_goes_on_writing_holds_nobody(emulator: Emulator) -> None:
    async def use(box: AsyncSandbox) -> None:
        async with pty(box) as one:
            await one.send(" exec sh -c 'trap \"\" HUP; yes & exit 4'\n")
            assert (await one.exit()).exit_code == 4

    run_in_sandbox(emulator, use)


def texts_in(frames: list[Any]) -> list[Any]:
    return [json.loads(frame.data) for frame in frames if frame.type is aiohttp.WSMsgType.TEXT]


@pytest.mark.parametrize(
    ("code", "close", "spoken", "reason"),
    [
        (0, 1000, None, None),
        (3, 1011, "(non-zero exit)", "non-zero exit"),
        (130, 1011, "(SIGINT - Ctrl+C)", "Ctrl+C"),
        (137, 1011, "(SIGKILL)", "SIGKILL"),
        (143, 1011, "(SIGTERM)", "SIGTERM"),
        (200, 1011, "(signal 72)", "signal 72"),
    ],
)
@pytest.mark.parametrize("offered", [("X-Daytona-Pty-Exit-Control",), ()])
def test_the_frames_on_the_wire(
    emulator: Emulator, offered: tuple[str, ...], code: int, close: int, spoken: str | None, reason: str | None
) -> None:
    """Whoever listens hears "exited"; no subprotocol is chosen; nobody waits for an answer to the close frame."""
    first, *frames, last, _ = frames_of(emulator, "id=one", f"exit {code}\n", protocols=offered)
    assert first.data == '{"type":"control","status":"connected"}'
    because = {"exitReason": reason} if reason else {}
    assert (last.data, json.loads(last.extra)) == (close, {"exitCode": code} | because)
    because = {"exitReason": spoken} if spoken else {}
    assert texts_in(frames) == [{"type": "control", "status": "exited", "exitCode": code} | because]


def test_killing_is_told_by_the_close_frame_alone(emulator: Emulator) -> None:
    first, *frames, last, _ = frames_of(emulator, "id=one", delete="one")
    assert first.data == '{"type":"control","status":"connected"}'
    assert texts_in(frames) == []
    assert (last.data, json.loads(last.extra)) == (1011, {"exitCode": 137, "exitReason": "SIGKILL"})


@pytest.mark.parametrize("query", ["id=one&cwd=/not/there", "id=one&cwd=a%00b", "id=one&cwd=.zshrc"])
def test_a_shell_that_cannot_start_is_told_behind_the_handshake(emulator: Emulator, query: str) -> None:
    emulator.configure(shell="sh")
    error, last = frames_of(emulator, query)
    assert last.type is aiohttp.WSMsgType.CLOSED, "without a close frame"
    why = {"there": "no such file or directory", "b": "invalid argument", "rc": "not a directory"}
    (reason,) = [text for end, text in why.items() if query.endswith(end)]
    said = f"Failed to start PTY session: pty.StartWithSize: fork/exec {shutil.which('sh')}: {reason}"
    assert json.loads(error.data) == {"type": "control", "status": "error", "error": said}


def test_a_variable_with_nul_starts_no_shell(emulator: Emulator) -> None:
    token = base64.urlsafe_b64encode(b'{"A":"b\\u0000c"}').decode().rstrip("=")
    error, _ = frames_of(emulator, "id=one", protocols=(f"X-Daytona-Pty-Envs~{token}",))
    assert "exec: environment variable contains NUL" in error.data


def test_a_child_that_keeps_the_terminal_holds_nobody(emulator: Emulator) -> None:
    """The end is the shell's, not the end of file."""

    async def use(box: AsyncSandbox) -> None:
        async with pty(box) as one:
            await one.send(" exec sh -c 'trap \"\" HUP; sleep 1000 & exit 4'\n")
            assert (await one.exit()).exit_code == 4
        pids = (await asyncio.to_thread(emulator.sandboxes))[0]["pids"]
        assert len(pids) == 1  # what ignores the hang-up survives, as on the service

    run_in_sandbox(emulator, use)


def test_an_id_is_taken_while_its_session_lives(emulator: Emulator) -> None:
    async def use(box: AsyncSandbox) -> None:
        async with pty(box, "same") as one:
            with pytest.raises(DaytonaConflictError, match="409"):
                await box.process.create_pty_session("same", lambda data: None)
            await one.send("exit\n")
            await one.exit()
        async with pty(box, "same"):
            pass

    run_in_sandbox(emulator, use)


def test_sessions_are_listed_shown_and_resized(emulator: Emulator) -> None:
    async def use(box: AsyncSandbox) -> None:
        assert await box.process.list_pty_sessions() == []
        await box.fs.create_folder("below", "755")
        async with pty(box, "one", cwd="below", envs={"A": "b"}) as one, pty(box, "two"):
            assert sorted(info.id for info in await box.process.list_pty_sessions()) == ["one", "two"]
            info = await box.process.get_pty_session_info("one")
            assert (info.active, info.cols, info.rows, info.envs["A"]) == (True, 120, 30, "b")
            assert info.cwd == "below"
            info = await one.handle.resize(PtySize(rows=40, cols=100))
            assert (info.cols, info.rows) == (100, 40)
            await one.send("stty size\n")
            await one.until(b"40 100")
            await one.send("exit\n")
            await one.exit()
            with pytest.raises(DaytonaNotFoundError):
                await box.process.get_pty_session_info("one")
            with pytest.raises(DaytonaGoneError):
                await box.process.resize_pty_session("one", PtySize(rows=1, cols=1))

    run_in_sandbox(emulator, use)


def test_detaching_kills_nothing_and_nothing_is_replayed(emulator: Emulator) -> None:
    async def use(box: AsyncSandbox) -> None:
        async with pty(box) as one:
            await one.send(" sh -c 'echo rea\"\"dy; exec cat > got'\n")
            await one.until(b"\nready\r\n")  # typed before, it would come as the line editor's raw input
            await one.send("first\n")
            await asyncio.to_thread(wait_until, lambda: b"first" in ask_file(emulator, "got"))
        async with pty(box, attach=True) as again:
            await again.send("second\n\x04")
            await again.send("echo a'gain'\n")
            said = await again.until(b"again\r\n")
            assert b"first" not in said
            assert await box.fs.download_file("got") == b"first\nsecond\n"

    run_in_sandbox(emulator, use)


def ask_file(emulator: Emulator, name: str) -> Any:
    (box,) = emulator.sandboxes()
    return ask(emulator, "GET", f"/toolbox/{box['id']}/files/download?path={name}").body


def test_two_clients_see_the_same(emulator: Emulator) -> None:
    async def use(box: AsyncSandbox) -> None:
        async with pty(box) as one, pty(box, attach=True) as two:
            await one.send("echo hel'lo'; exit 2\n")
            assert [(await each.exit()).exit_code for each in (one, two)] == [2, 2]
            assert b"hello\r\n" in one.output
            assert b"hello\r\n" in two.output

    run_in_sandbox(emulator, use)


def test_killing_ends_the_tree_with_137(emulator: Emulator) -> None:
    async def use(box: AsyncSandbox) -> None:
        async with pty(box) as one:
            await one.send("sleep 1000 & echo pid=$!=\n")
            pid = int(re.search(rb"pid=(\d+)=", await one.until(b"=\r\n"))[1])
            await one.handle.kill()
            outcome = await one.exit()
            assert (outcome.exit_code, outcome.error) == (137, "SIGKILL"), (
                "by the close frame, which has no parentheses"
            )
            await asyncio.to_thread(wait_until, lambda: not is_alive(pid))
        assert await box.process.list_pty_sessions() == []
        with pytest.raises(DaytonaNotFoundError):
            await box.process.kill_pty_session("one")

    run_in_sandbox(emulator, use)


def test_attaching_to_nothing_is_an_error(emulator: Emulator) -> None:
    async def use(box: AsyncSandbox) -> None:
        with pytest.raises(DaytonaError, match="PTY session nobody not found"):
            await box.process.connect_pty_session("nobody", lambda data: None)

    run_in_sandbox(emulator, use)
