"""A turn that prints 200 MB: how fast it is read, and what it leaves in memory.

Each measurement is a process of its own, since peak memory never comes down again.
"""

from __future__ import annotations

import json
import os
import pty
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_kiro import bench_kiro, owner
from pairs import PAIRS, alternate, median_ratio, spread, table

from pytest_kiro.kirocli import commands

_LARGE, _SMALL = 200_000_000, 50_000_000
_SCENARIO = '[[turn_of_bench.turn]]\nrequests = [["Done."]]\nmisbehave = {{ huge = {size} }}\n'


def by_kiro(size: int) -> tuple[float, int]:
    """Return the bytes per second of a turn, from the first byte on."""
    with bench_kiro(_SCENARIO.format(size=size)) as (kiro, owners, file), owner(owners, file, "turn_of_bench"):
        turn = kiro.run("Print a lot.")
        assert turn.truncated
        assert turn.first_output_after is not None
        return turn.duration - turn.first_output_after, len(turn.raw)


def by_os_read(size: int) -> tuple[float, int]:
    """Read the terminal of the same program with nothing but os.read."""
    with bench_kiro(_SCENARIO.format(size=size)) as (kiro, _, _), tempfile.TemporaryDirectory() as name:
        replies = Path(name) / "replies.json"
        replies.write_text(json.dumps([["Done."]]))
        env = {
            "HOME": kiro.sandbox.home,
            "PATH": kiro.path,
            "TERM": "xterm-256color",
            **kiro.identity.env,
            commands.REPLIES: str(replies),
            commands.MISBEHAVE: json.dumps({"huge": size}),
        }
        master, slave = pty.openpty()
        process = subprocess.Popen(
            [kiro.installation.path, *commands.chat(commands.ENGINES["v2"])],
            stdin=subprocess.PIPE,
            stdout=slave,
            stderr=slave,
            cwd=kiro.sandbox.home,
            env=env,
        )
        assert process.stdin is not None
        process.stdin.write(b"Print a lot.")
        process.stdin.close()
        os.close(slave)
        started, read = 0.0, 0
        try:
            while data := os.read(master, 65536):
                started = started or time.perf_counter()
                read += len(data)
        except OSError:
            pass  # the other side is closed
        elapsed = time.perf_counter() - started
        process.wait()
        os.close(master)
        assert read >= size
        return elapsed, 0


def measured(how: str, size: int) -> tuple[float, float]:
    """Run one measurement in a process of its own: (bytes per second, peak memory in MB)."""
    done = subprocess.run([sys.executable, __file__, how, str(size)], capture_output=True, text=True, check=True)
    seconds, peak = json.loads(done.stdout)
    return size / seconds, peak / 1024


def main() -> None:
    peaks: list[float] = []

    def speed_of_kiro() -> float:
        speed, peak = measured("kiro", _LARGE)
        peaks.append(peak)
        return speed

    kiro_speed, plain_speed = alternate(speed_of_kiro, lambda: measured("os.read", _LARGE)[0], PAIRS)
    _, small_peak = measured("kiro", _SMALL)
    ratio = median_ratio(kiro_speed, plain_speed)
    table(
        f"a turn of {_LARGE // 1_000_000} MB (MB per second: min, median, max)",
        [
            ("kiro.run", spread([speed / 1e6 for speed in kiro_speed])),
            ("os.read alone", spread([speed / 1e6 for speed in plain_speed])),
            ("ratio, median of pairs", f"{ratio:.2f} (target: at least 0.5)"),
            ("peak memory, 200 MB printed", f"{max(peaks):.0f} MB"),
            ("peak memory, 50 MB printed", f"{small_peak:.0f} MB"),
        ],
    )


if __name__ == "__main__":
    if len(sys.argv) == 3:
        measure = by_kiro if sys.argv[1] == "kiro" else by_os_read
        elapsed, _ = measure(int(sys.argv[2]))
        unit = 1 if sys.platform != "darwin" else 1024
        print(json.dumps([elapsed, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit]))
    else:
        main()
