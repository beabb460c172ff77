"""What a PTY session does not take, and whom it drops."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from daytona import AsyncSandbox, DaytonaError
from daytona.common.pty import PtySize
from daytona_client import ask, create, pty, run_in_sandbox
from emulator import Emulator


def test_what_cannot_be_opened(emulator: Emulator) -> None:
    async def use(box: AsyncSandbox) -> None:
        for options, status in (
            ({"cwd": "/not/there"}, 500),
            ({"pty_size": PtySize(rows=1001, cols=80)}, 400),
            ({"pty_size": PtySize(rows=0, cols=80)}, 400),
            ({"envs": {"A-B": "c"}}, 400),
            ({"envs": {"A": "x" * 60_000}}, 400),
        ):
            with pytest.raises(DaytonaError, match=f"HTTP {status}"):
                await box.process.create_pty_session("one", lambda data: None, **options)
        assert await box.process.list_pty_sessions() == []

    run_in_sandbox(emulator, use)


def test_a_large_environment_passes(emulator: Emulator) -> None:
    async def use(box: AsyncSandbox) -> None:
        async with pty(box, envs={"A": "x" * 30_000}) as one:
            await one.send("echo ${#A}=\n")
            await one.until(b"30000=")

    run_in_sandbox(emulator, use)


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
    assert ask(emulator, "POST", path, {"id": "one"}).status == 409
    assert ask(emulator, "POST", path, {"id": 1}).status == 400
    assert ask(emulator, "GET", f"{path}/one").body["cols"] == 80
    assert ask(emulator, "DELETE", f"{path}/one").status == 200
