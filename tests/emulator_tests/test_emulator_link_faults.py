"""What can happen to a PTY's link, each seen through the SDK."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
from daytona import AsyncSandbox, DaytonaConflictError, DaytonaConnectionError, DaytonaError, DaytonaNotFoundError
from daytona_client import frames_of, pty, run_in_sandbox
from emulator import Emulator
from helpers import wait_until

FLOOD = " exec sh -c 'head -c 100000 /dev/zero | tr \"\\0\" x; sleep 1000'\n"


def outcome_of(emulator: Emulator, line: str, **fault: Any) -> tuple[int | None, str | None, bytes]:
    """Open a PTY under a rule, type a line, and return how it ended and what was heard."""
    emulator.fault("pty_create_connect", **fault)

    async def use(box: AsyncSandbox) -> tuple[int | None, str | None, bytes]:
        async with pty(box) as one:
            with suppress(DaytonaConnectionError):  # it may have ended already
                await one.send(line)
            outcome = await one.exit()
            return outcome.exit_code, outcome.error, one.output

    return run_in_sandbox(emulator, use)


@pytest.mark.parametrize(
    ("style", "ending", "expected"),
    [
        ("both", "exit 7", (7, "non-zero exit")),
        ("control", "exit 7", (7, "(non-zero exit)")),
        ("close", "exit 7", (7, "non-zero exit")),
        ("close", "exit 0", (0, None)),
        ("abort", "exit 7", (None, None)),
        ("d190", "exit 7", (7, "non-zero exit")),
        ("late", "exit 7", (7, "non-zero exit")),
    ],
)
@pytest.mark.parametrize("by", ["rule", "knob"])
def test_the_ways_to_tell_the_end(emulator: Emulator, style: str, ending: str, expected: Any, by: str) -> None:
    if by == "knob":
        emulator.configure(pty_exit=style)
    fault = {"exit_style": style} if by == "rule" else {"delay": 0}
    code, error, _ = outcome_of(emulator, f" exec sh -c '{ending}'\n", **fault)
    assert (code, error) == expected


def test_no_word_at_the_end_leaves_the_client_waiting(emulator: Emulator) -> None:
    emulator.fault("pty_create_connect", exit_style="none")

    async def use(box: AsyncSandbox) -> None:
        async with pty(box) as one:
            await one.send("exit 3\n")
            await asyncio.to_thread(wait_until, lambda: emulator.sandboxes()[0]["ptys"] == [])
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(one.handle.wait(), 0.3)
            assert one.handle.is_connected()

    run_in_sandbox(emulator, use)


@pytest.mark.parametrize(("style", "complete"), [("both", True), ("late", True), ("d190", False)])
def test_the_end_races_with_the_output(emulator: Emulator, style: str, complete: bool) -> None:
    """Its frames overtake the output that is still to be sent: that comes late, or never."""
    line = ' exec sh -c \'echo; echo b""egin; printf e""nd; exit 3\'\n'
    emulator.fault("pty_create_connect", exit_style=style, hold_output=True)
    frames = frames_of(emulator, "id=one", line)
    output = b"".join(frame.data for frame in frames if frame.type is aiohttp.WSMsgType.BINARY)
    assert output.endswith(b"\nbegin\r\nend") is complete
    kinds = [frame.type.name for frame in frames if frame.type is not aiohttp.WSMsgType.BINARY or style != "both"]
    assert kinds[:2] + kinds[-2:] == ["TEXT", "TEXT", "CLOSE", "CLOSED"], "in two of three ways it is overtaken"


@pytest.mark.parametrize("limit", [1, 200, 40_000])
def test_a_link_is_cut_at_a_byte(emulator: Emulator, limit: int) -> None:
    code, error, output = outcome_of(emulator, FLOOD, cut_after=limit)
    assert (code, error) == (None, None)
    assert len(output) == limit


def test_a_proxy_closes_politely_and_looks_like_success(emulator: Emulator) -> None:
    code, error, output = outcome_of(emulator, FLOOD, close_after=5000)
    assert (code, error, len(output)) == (0, None, 5000)


def test_a_close_with_a_code_and_a_reason(emulator: Emulator) -> None:
    code, error, output = outcome_of(emulator, FLOOD, close_after=5000, close_code=1008, close_reason="slow consumer")
    assert (code, error, len(output)) == (None, None, 5000)


@pytest.mark.parametrize("state", ["destroyed", "error"])
def test_a_machine_that_dies_at_a_byte(emulator: Emulator, state: str) -> None:
    code, error, output = outcome_of(emulator, FLOOD, kill_after=5000, kill_state=state)
    assert (code, error, len(output)) == (None, None, 5000)
    wait_until(lambda: [box["state"] for box in emulator.sandboxes()] == (["error"] if state == "error" else []))


def test_a_link_that_falls_silent(emulator: Emulator) -> None:
    emulator.fault("pty_create_connect", mute_after=5000)

    async def use(box: AsyncSandbox) -> None:
        async with pty(box) as one:
            await one.send(" exec sh -c 'head -c 100000 /dev/zero | tr \"\\0\" x'\n")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(one.handle.wait(), 0.5)
            assert len(one.output) == 5000
            assert one.handle.is_connected()

    run_in_sandbox(emulator, use)


def test_connected_comes_late_and_output_before_it(emulator: Emulator) -> None:
    emulator.fault("pty_create_connect", connected_delay=0.3, early_output="early bird")

    async def use(box: AsyncSandbox) -> None:
        begun = time.monotonic()
        async with pty(box) as one:
            assert time.monotonic() - begun >= 0.3
            assert one.output.startswith(b"early bird")
            await one.send("exit 3\n")
            assert (await one.exit()).exit_code == 3

    run_in_sandbox(emulator, use)


def test_connected_that_never_comes(emulator: Emulator) -> None:
    emulator.fault("pty_create_connect", no_connected=True, close_after=1)

    async def use(box: AsyncSandbox) -> None:
        with pytest.raises(DaytonaConnectionError, match="Connection failed"):
            await box.process.create_pty_session("one", lambda data: None)

    run_in_sandbox(emulator, use)


@pytest.mark.parametrize(("knob", "chosen"), [(False, None), (True, "X-Daytona-Pty-Exit-Control")])
def test_a_subprotocol_is_chosen_only_if_wanted(emulator: Emulator, knob: bool, chosen: str | None) -> None:
    emulator.configure(subprotocol=knob)

    async def use(box: AsyncSandbox) -> None:
        async with pty(box) as one:
            assert one.handle._ws.protocol == chosen
            await one.send("exit 3\n")
            assert (await one.exit()).exit_code == 3

    run_in_sandbox(emulator, use)


def test_pings_are_not_answered(emulator: Emulator) -> None:
    """The SDK's heartbeat takes 20 s; a client that is less patient sees it at once."""
    emulator.fault("pty_connect", no_pong=True, after=1)

    async def use(box: AsyncSandbox) -> list[Any]:
        async with pty(box), aiohttp.ClientSession(headers={"Authorization": f"Bearer {emulator.key}"}) as session:
            url = f"{emulator.url.removesuffix('/api')}/toolbox/{box.id}/process/pty/one/connect"
            heard = []
            for _ in range(2):
                async with session.ws_connect(url, heartbeat=0.2) as link:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(1):
                            async for _ in link:
                                pass
                    heard.append(link.closed)
            return heard

    assert run_in_sandbox(emulator, use) == [False, True]


def test_a_shell_that_starts_slowly(emulator: Emulator) -> None:
    emulator.fault("pty_create_connect", shell_delay=2)

    async def use(box: AsyncSandbox) -> None:
        begun = time.monotonic()
        async with pty(box) as one:
            await one.send(" exec sh -c 'echo s\"\"tarted; exit 3'\n")
            await one.until(b"sh -c")  # the terminal echoes what no shell has read yet
            assert time.monotonic() - begun < 2
            await one.until(b"started\r\n")
            assert time.monotonic() - begun >= 2
            assert (await one.exit()).exit_code == 3

    run_in_sandbox(emulator, use)


def test_a_daemon_without_create_connect(emulator: Emulator) -> None:
    emulator.fault("pty_create_connect", status=404, times=None)

    async def use(box: AsyncSandbox) -> None:
        with pytest.raises(DaytonaNotFoundError, match="WebSocket upgrade failed with HTTP 404"):
            await box.process.create_pty_session("one", lambda data: None)

    run_in_sandbox(emulator, use)


def test_a_handshake_that_is_lost_leaves_the_session(emulator: Emulator) -> None:
    emulator.fault("pty_create_connect", lose_response=True)

    async def use(box: AsyncSandbox) -> None:
        with pytest.raises(DaytonaError):
            await box.process.create_pty_session("one", lambda data: None, envs={"MARK": "1"})
        with pytest.raises(DaytonaConflictError):
            await box.process.create_pty_session("one", lambda data: None)
        assert (await box.process.get_pty_session_info("one")).envs["MARK"] == "1"
        async with pty(box, attach=True) as one:
            await one.send("exit 3\n")
            assert (await one.exit()).exit_code == 3

    run_in_sandbox(emulator, use)


def test_a_handshake_that_is_dropped_leaves_nothing(emulator: Emulator) -> None:
    emulator.fault("pty_create_connect", drop=True, times=None)  # GETs are tried again by the client

    async def use(box: AsyncSandbox) -> None:
        with pytest.raises(DaytonaError):
            await box.process.create_pty_session("one", lambda data: None)
        assert await box.process.list_pty_sessions() == []

    run_in_sandbox(emulator, use)


def test_a_machine_that_is_killed_tears_its_links(emulator: Emulator) -> None:
    async def use(box: AsyncSandbox) -> None:
        async with pty(box) as one, pty(box, attach=True) as two:
            await one.until(b"\x1b[?2004h")
            await asyncio.to_thread(emulator.kill_sandbox, box.id)
            for each in (one, two):
                assert (await each.exit()).exit_code is None
            with pytest.raises(DaytonaError):
                await box.process.create_pty_session("two", lambda data: None)

    run_in_sandbox(emulator, use)
    assert emulator.sandboxes() == []
