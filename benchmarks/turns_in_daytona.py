"""What a turn costs in Daytona, over the steps of Daytona's own guide to kiro-cli, by its SDK.

Those are: open a terminal, wait for its connection, type one line, wait for the end, disconnect. The same emulator and
the same stand-in answer both in turn. `kiro.run` proves its turn, and brings files and status, of which the guide has
nothing. Rows for the table of `turns.py`.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from bench_kiro import bench_kiro, owner
from emulator import Emulator
from pairs import alternate, median_ratio, spread, table
from remote import on
from turns import Row, at_most, show

from pytest_kiro import Kiro
from pytest_kiro.kirocli import commands

_PROMPT = "Say hello."
_SCENARIO = '[[hello.turn]]\nrequests = [["Hello."]]\n'
_READY = "__READY__"
#: In a namespace of its own the emulator sees its processes and no other's, whose marks would be looked for as well.
_APART = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc")


class Guide:
    """The guide's session: its terminal for each prompt, by the SDK and nothing else."""

    def __init__(self, emulator: Emulator, kiro: Kiro) -> None:
        from daytona import AsyncDaytona, DaytonaConfig

        self._loop = asyncio.new_event_loop()
        self._daytona = AsyncDaytona(DaytonaConfig(api_key=emulator.key, api_url=emulator.url))
        self._sandbox = self._loop.run_until_complete(self._daytona.get(kiro.sandbox.id))
        folder = f"{kiro.sandbox.home}/guide"
        replies = f"{folder}.json"
        kiro.sandbox.exec(f"mkdir {shlex.quote(folder)}").check()
        kiro.sandbox.write_file(replies, json.dumps([["Hello."]]).encode())
        words = [kiro.installation.path, *commands.chat(commands.ENGINES["v2"]), _PROMPT]
        self._line = f"cd {shlex.quote(folder)}; printf '\\n%s\\n' '{_READY}'; exec {shlex.join(words)}\n"
        self._env = {"PATH": kiro.path, **commands.QUIET, **kiro.identity.env, commands.REPLIES: replies}

    def turn(self) -> float:
        """Return the seconds of one prompt."""
        started = time.perf_counter()
        printed = self._loop.run_until_complete(self._attach())
        elapsed = time.perf_counter() - started
        assert b"Hello." in printed, printed
        return elapsed

    async def _attach(self) -> bytes:
        printed = bytearray()

        def heard(data: bytes) -> None:
            printed.extend(data)

        terminal = await self._sandbox.process.create_pty_session(uuid4().hex, heard, envs=self._env)
        await terminal.wait_for_connection()
        await terminal.send_input(self._line)
        result = await terminal.wait()
        await terminal.disconnect()
        assert result.exit_code == 0, (result, printed)
        return bytes(printed)

    def close(self) -> None:
        """End the SDK's connections."""
        self._loop.run_until_complete(self._daytona.close())
        self._loop.close()


def against_the_guide(latency: float, pairs: int = 21) -> tuple[list[float], list[float]]:
    """Return the seconds of turns by `kiro.run` and by the guide's steps."""
    with emulator_apart(latency) as emulator, bench_kiro(_SCENARIO, on(emulator)) as (kiro, owners, file):
        guide = Guide(emulator, kiro)

        def by_kiro() -> float:
            with owner(owners, file, "hello"):
                started = time.perf_counter()
                turn = kiro.run(_PROMPT)
                elapsed = time.perf_counter() - started
                assert turn.ok, turn
                assert not turn.changes.added, turn.changes
                assert not turn.warnings, turn.warnings
            return elapsed

        try:
            return alternate(by_kiro, guide.turn, pairs)
        finally:
            guide.close()


@contextmanager
def emulator_apart(latency: float = 0) -> Iterator[Emulator]:
    """Yield an emulator whose processes have a namespace of their own where that can be, as in a sandbox."""
    apart = _APART if shutil.which(_APART[0]) else ()
    words = [*apart, sys.executable, "-m", "emulator", "--handle", "--latency", str(latency)]
    folder = Path(__file__).parents[1] / "tests"
    with subprocess.Popen(words, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            said = json.loads(process.stdout.readline())
            with Emulator.at(f"http://127.0.0.1:{said['port']}/api", said["key"]) as emulator:
                yield emulator
        finally:
            process.terminate()


def counted(turns: int = 20) -> tuple[float, float, list[str]]:
    """Return processes begun in the sandbox by a turn, its requests, and the names of these."""
    with emulator_apart() as emulator, bench_kiro(_SCENARIO, on(emulator)) as (kiro, owners, file):

        def newest() -> int:
            return int(kiro.sandbox.exec("cat /proc/loadavg").check().output.split()[-1])

        def run() -> list[str]:
            with owner(owners, file, "hello"):
                emulator.reset_log()
                assert kiro.run(_PROMPT).ok
                return [entry["route"] for entry in emulator.log()]

        run()
        asked = -(newest() - newest())
        begun, requests, processes = newest(), list[list[str]](), 0
        for _ in range(turns):
            first = newest()
            with owner(owners, file, "hello"):
                emulator.reset_log()
                assert kiro.run(_PROMPT).ok
                requests.append([entry["route"] for entry in emulator.log()])
                processes += newest() - first - asked
        assert begun
    return processes / turns, sum(map(len, requests)) / turns, requests[-1]


def ratio(what: str, latency: float, target: float) -> Row:
    """Return the row of one latency, and print its figures."""
    ours, guides = against_the_guide(latency)
    table(
        f"one turn in Daytona, {latency * 1000:.0f} ms a request (seconds: min, median, max)",
        [("kiro.run", spread(ours)), ("the guide's steps by the SDK", spread(guides))],
    )
    return Row(what, *at_most(median_ratio(ours, guides), target))


def rows() -> Sequence[Row]:
    """Return the rows of Daytona."""
    found = [
        ratio("a turn in Daytona over the guide's steps by the SDK", 0, 1.5),
        ratio("the same at 50 ms a request", 0.05, 1.15),
    ]
    if shutil.which(_APART[0]):
        processes, requests, _ = counted()
        figure = f"{processes:.1f}, by {requests:.1f} requests"
        found.append(Row("processes begun in the sandbox by a turn", figure, "at most 15", processes <= 15))
    return found


if __name__ == "__main__":
    show(rows())
