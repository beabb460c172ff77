"""What a PTY session does not take, and whom it drops."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from daytona import AsyncSandbox, DaytonaError
from daytona.common.pty import PtySize
from daytona_client import ask, create, frames_of, pty, run_in_sandbox
from emulator import Emulator


def test_what_cannot_be_opened(emulator: Emulator) -> None:
    async def use(box: AsyncSandbox) -> None:
        for options, why in (
            ({"cwd": "/not/there"}, "Failed to start PTY session: pty.StartWithSize: fork/exec .*: no such file"),
            ({"pty_size": PtySize(rows=1001, cols=80)}, "HTTP 400"),
        ):
            with pytest.raises(DaytonaError, match=why):
                await box.process.create_pty_session("one", lambda data: None, **options)
        assert await box.process.list_pty_sessions() == []

    run_in_sandbox(emulator, use)


def test_a_large_environment_passes_and_so_do_odd_names(emulator: Emulator) -> None:
    """Only the limit of all headers of a request is there, and the kernel's of one variable."""

    async def use(box: AsyncSandbox) -> None:
        odd = {"A-B": "c", "a b": "d", "E": "x" * 90_000}
        async with pty(box, envs=odd) as one:
            await one.send("echo ${#E}=\n")
            await one.until(b"90000=")
            assert (await box.process.get_pty_session_info("one")).envs.items() >= odd.items()

    run_in_sandbox(emulator, use)


@pytest.mark.parametrize(
    ("query", "size"), [("", b"24 80"), ("&cols=abc&rows=-1", b"24 80"), ("&cols=0&rows=0", b"0 0")]
)
def test_a_size_that_is_none(emulator: Emulator, query: str, size: bytes) -> None:
    frames = frames_of(emulator, f"id=one{query}", " exec stty size\n")
    assert size + b"\r\n" in b"".join(frame.data for frame in frames if isinstance(frame.data, bytes))


def test_an_input_frame_that_is_too_large_ends_the_link(emulator: Emulator) -> None:
    async def use(box: AsyncSandbox) -> None:
        async with pty(box) as one:
            await one.send("x" * 70_000)
            assert (await one.exit()).exit_code is None
        assert len(await box.process.list_pty_sessions()) == 1

    run_in_sandbox(emulator, use)


def test_a_client_that_does_not_read_is_dropped(emulator: Emulator) -> None:
    emulator.configure(slow_client_grace=0.1)

    async def use(box: AsyncSandbox) -> None:
        stuck = asyncio.Event()

        async def hear(data: bytes) -> None:
            await stuck.wait()

        handle = await box.process.create_pty_session("one", hear)
        await handle.send_input(" exec yes 0123456789012345678901234567890123456789\n")
        for _ in range(600):
            if not await asyncio.to_thread(clients, emulator):
                break
            await asyncio.sleep(0.02)
        assert not await asyncio.to_thread(clients, emulator)
        stuck.set()
        outcome = await asyncio.wait_for(handle.wait(), 30)
        assert (outcome.exit_code, outcome.error) == (None, None)
        assert len(await box.process.list_pty_sessions()) == 1  # the program goes on
        await handle.disconnect()

    run_in_sandbox(emulator, use)


def clients(emulator: Emulator) -> list[Any]:
    return [entry for entry in emulator.log("pty_create_connect") if entry["ended"] is None]


def test_the_older_create_is_there_too(emulator: Emulator) -> None:
    id = create(emulator)["id"]
    path = f"/toolbox/{id}/process/pty"
    assert ask(emulator, "POST", path, {"id": "one"}).body == {"sessionId": "one"}
    assert ask(emulator, "POST", path, {"id": 1}).status == 400
    assert ask(emulator, "GET", f"{path}/one").body["cols"] == 80
    assert ask(emulator, "POST", f"{path}/one/resize", {"cols": 0, "rows": 0}).body["cols"] == 0
    assert ask(emulator, "DELETE", f"{path}/one").status == 200
    assert ask(emulator, "GET", path).body == {"sessions": []}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "error"),
    [
        ("POST", "", {"id": "one"}, 409, "PTY session with ID 'one' already exists"),
        ("POST", "", {"id": ""}, 400, "session ID is required"),
        ("POST", "", {"id": "two", "cwd": "/not/there"}, 500, "failed to start PTY session"),
        ("POST", "", {"id": "two", "cols": 1001}, 400, "invalid value for cols - must be less than 1000"),
        ("GET", "/create-connect?id=one", None, 409, "PTY session with ID 'one' already exists"),
        ("GET", "/none", None, 404, "PTY session not found"),
        ("DELETE", "/none", None, 404, "PTY session not found"),
        ("POST", "/none/resize", {"cols": 1, "rows": 1}, 410, "PTY session not found"),
        ("POST", "/one/resize", {"cols": 1, "rows": 1001}, 400, "rows must be less than 1000"),
    ],
)
def test_errors_are_told_in_a_word(
    emulator: Emulator, method: str, path: str, body: Any, status: int, error: str
) -> None:
    base = f"/toolbox/{create(emulator)['id']}/process/pty"
    ask(emulator, "POST", base, {"id": "one"})
    answer = ask(emulator, method, base + path, body)
    assert (answer.status, answer.body) == (status, {"error": error})
