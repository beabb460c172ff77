"""What the network costs on Daytona: round trips, time beyond the CLI's own, streaming, growth.

Against the emulator of tests/emulator, since only there a latency can be chosen; its frames and answers are delayed,
and their throughput is not.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from bench_kiro import bench_kiro, owner
from emulator import Emulator
from pairs import alternate, median_ratio, spread, table

from pytest_kiro.kirocli import commands
from pytest_kiro.sandbox.daytona.provider import DaytonaProvider
from pytest_kiro.sandbox.protocol import Provider
from pytest_kiro.settings.table import Settings

_LATENCY = 0.05
_SCENARIO = '[[turn_of_bench.turn]]\nrequests = [["Hello."]]\n'
_STREAMED = 50_000_000


def on(emulator: Emulator) -> Callable[[Settings], Provider]:
    environ = {"DAYTONA_API_URL": emulator.url, "DAYTONA_API_KEY": emulator.key}
    return lambda settings: DaytonaProvider(settings, environ=environ)


def in_a_row(requests: Sequence[dict[str, Any]]) -> int:
    """Return the length of the longest chain of requests each of which began after another had ended."""
    longest: list[tuple[float, int]] = []
    for request in sorted(requests, key=lambda one: float(one["started"])):
        before = max((length for ended, length in longest if ended <= request["started"]), default=0)
        longest.append((request["ended"] or request["started"], before + 1))
    return max((length for _, length in longest), default=0)


def turns() -> None:
    """Round trips of a turn, and its time beyond the CLI's own."""
    with Emulator(latency=_LATENCY) as emulator, bench_kiro(_SCENARIO, on(emulator)) as (kiro, owners, file):
        before: list[int] = []
        after: list[int] = []

        def by_kiro() -> float:
            with owner(owners, file, "turn_of_bench"):
                emulator.reset_log()
                started = time.monotonic()
                turn = kiro.run("Say hello.")
                elapsed = time.monotonic() - started
                assert turn.text == "Hello."
                assert turn.first_output_after is not None
                log = emulator.log()
            # The terminal is one request that lives as long as the turn; opening it is one round trip.
            terminal = next(entry for entry in log if entry["route"] == "pty_create_connect")
            ended = terminal["ended"] or started + elapsed
            others = [entry for entry in log if entry is not terminal and entry["started"] < started + elapsed]
            early = [entry for entry in others if entry["started"] < ended]
            opening = {"started": terminal["started"], "ended": terminal["started"] + _LATENCY}
            before.append(in_a_row([*early, opening]) + 1)  # and the line that is typed
            after.append(in_a_row([entry for entry in others if entry["started"] >= ended]))
            return elapsed

        def by_subprocess() -> float:
            with tempfile.TemporaryDirectory() as name:
                replies = Path(name, "replies.json")
                replies.write_text(json.dumps([["Hello."]]))
                env = {"HOME": name, "PATH": kiro.path, "TERM": "xterm-256color", **commands.QUIET}
                env |= {**kiro.identity.env, commands.REPLIES: str(replies)}
                words = [kiro.installation.path, *commands.chat(commands.ENGINES["v2"])]
                started = time.monotonic()
                subprocess.run(words, input=b"Say hello.", capture_output=True, cwd=name, env=env, check=True)
                return time.monotonic() - started

        kiro_times, plain_times = alternate(by_kiro, by_subprocess, 21)
    beyond = sorted(a - b for a, b in zip(kiro_times, plain_times, strict=True))
    table(
        f"one turn in Daytona, {_LATENCY * 1000:.0f} ms a request (seconds: min, median, max)",
        [
            ("kiro.run", spread(kiro_times)),
            ("the same CLI by subprocess, no network", spread(plain_times)),
            ("beyond the CLI, in latencies", f"{beyond[len(beyond) // 2] / _LATENCY:.1f} (target: at most 8)"),
            ("round trips in a row to the first byte", f"{max(before)} (target: at most 3)"),
            ("round trips in a row after the last byte", f"{max(after)} (target: at most 3)"),
        ],
    )


def streaming() -> None:
    """Bytes per second of a terminal through `Pty.read`, against the SDK alone on the same kind of terminal."""
    command = f" exec sh -c 'stty raw -echo; echo BEGIN; head -c {_STREAMED} /dev/zero | tr \\\\0 x'\n".encode()
    with Emulator() as emulator, bench_kiro(_SCENARIO, on(emulator)) as (kiro, _, _):

        def by_pty() -> float:
            pty = kiro.sandbox.open_pty()
            pty.write(command)
            started, size = time.perf_counter(), 0
            while data := pty.read(60):
                size += len(data)
            elapsed = time.perf_counter() - started
            pty.close()
            assert size >= _STREAMED
            return size / elapsed

        pairs = alternate(by_pty, lambda: asyncio.run(_by_sdk(emulator, kiro.sandbox.id, command)), 9)
    table(
        f"a terminal that prints {_STREAMED // 1_000_000} MB (MB per second: min, median, max)",
        [
            ("Pty.read", spread([speed / 1e6 for speed in pairs[0]])),
            ("the SDK alone", spread([speed / 1e6 for speed in pairs[1]])),
            ("ratio, median of pairs", f"{median_ratio(*pairs):.2f} (target: at least 0.8)"),
        ],
    )


async def _by_sdk(emulator: Emulator, sandbox: str, command: bytes) -> float:
    from daytona import AsyncDaytona, DaytonaConfig

    size = 0

    def heard(data: bytes) -> None:
        nonlocal size
        size += len(data)

    async with AsyncDaytona(DaytonaConfig(api_key=emulator.key, api_url=emulator.url)) as sdk:
        machine = await sdk.get(sandbox)
        handle = await machine.process.create_pty_session(os.urandom(8).hex(), heard)
        await handle.send_input(command)
        started = time.perf_counter()
        await handle.wait()
        elapsed = time.perf_counter() - started
        await handle.disconnect()
    assert size >= _STREAMED
    return size / elapsed


def growth() -> None:
    """Threads and file descriptors after many turns."""
    with Emulator() as emulator, bench_kiro(_SCENARIO, on(emulator)) as (kiro, owners, file):

        def once() -> None:
            with owner(owners, file, "turn_of_bench"):
                assert kiro.run("Say hello.").ok

        def descriptors() -> int:
            return sum(1 for _ in Path("/proc/self/fd").iterdir())

        for _ in range(20):
            once()
        first, threads = descriptors(), threading.active_count()
        for _ in range(500):
            once()
        table(
            "after 500 turns more",
            [
                ("file descriptors", f"{first} -> {descriptors()} (target: no growth)"),
                ("threads, with the main one", f"{threads} -> {threading.active_count()} (target: 2)"),
            ],
        )


def main() -> None:
    turns()
    streaming()
    growth()


if __name__ == "__main__":
    main()
