"""Latency costs time and no throughput; order is kept."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import pytest
from daytona import AsyncSandbox
from daytona_client import ask, create, pty, run_in_sandbox
from emulator import Emulator
from emulator.link import Link

#: Several times less than an idle machine does, and more than one frame at a time would be with latency.
SLOWEST = 1.5e6


@pytest.mark.parametrize("latency", [0.0, 0.2])
def test_a_flood_keeps_its_speed_and_its_order(emulator: Emulator, latency: float) -> None:
    emulator.configure(latency=latency)
    size = 8_000_000
    numbers = b"".join(b"%07d\r\n" % number for number in range(size // 9))

    async def use(box: AsyncSandbox) -> float:
        async with pty(box) as one:
            await one.send(f" exec sh -c 'echo; echo b\"\"egin; seq -f %07.0f 0 {size // 9 - 1} | cat'\n")
            await one.until(b"\nbegin\r\n")
            begun = time.monotonic()
            assert (await one.exit()).exit_code == 0
            duration = time.monotonic() - begun
            assert one.output.partition(b"\nbegin\r\n")[2] == numbers
            return len(numbers) / duration

    assert run_in_sandbox(emulator, use) > SLOWEST


def test_latency_is_added_once_to_each_way(emulator: Emulator) -> None:
    path = f"/toolbox/{create(emulator)['id']}/work-dir"
    emulator.configure(latency=0.5)
    begun = time.monotonic()  # twice would be 1.0
    ask(emulator, "GET", path)
    assert 0.5 <= time.monotonic() - begun < 1.0

    async def use(box: AsyncSandbox) -> None:
        begun = time.monotonic()
        async with pty(box) as one:
            assert time.monotonic() - begun >= 0.5  # there and back, with "connected"
            await one.until(b"\x1b[?2004h")
            begun = time.monotonic()
            await one.send("echo a'nswer'\n")
            await one.until(b"answer\r\n")
            assert 0.5 <= time.monotonic() - begun < 1.0
            begun = time.monotonic()
            for letter in "exit 3\n":  # under way at the same time
                await one.send(letter)
            assert (await one.exit()).exit_code == 3
            assert time.monotonic() - begun < 3  # 3.5, one after the other

    run_in_sandbox(emulator, use)


def test_connected_comes_with_the_answer_of_the_handshake() -> None:
    """The daemon says both at once, so that a line's delay counts once."""
    heard: list[str] = []

    class Socket:
        async def send_str(self, text: str) -> None:
            heard.append(text)

    async def use() -> None:
        request, socket, terminal = (cast("Any", value) for value in (None, Socket(), None))
        await Link(request, socket, terminal, {}, latency=3600, exit_style="both", kill=lambda _: None).greet()

    asyncio.run(use())
    assert heard == ['{"type":"control","status":"connected"}']


def test_many_terminals_at_once(emulator: Emulator) -> None:
    async def use(box: AsyncSandbox) -> None:
        async def turn(number: int) -> int | None:
            async with pty(box, str(number)) as one:
                await one.send(f" exec sh -c 'echo; seq 20000; exit {number}'\n")
                outcome = await one.exit()
                assert one.output.endswith(b"\r\n20000\r\n")
                return outcome.exit_code

        assert await asyncio.gather(*map(turn, range(12))) == list(range(12))

    run_in_sandbox(emulator, use)
