"""What `kiro.run` adds to running the same CLI by `subprocess`: workspace, launch, manifests, proof and all."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from bench_kiro import bench_kiro, owner
from pairs import alternate, median_difference, spread, table

from pytest_kiro.kirocli import commands

_PROMPT = "Say hello."
_SCENARIO = '[[turn_of_bench.turn]]\nrequests = [["Hello."]]\n'


def main() -> None:
    with bench_kiro(_SCENARIO) as (kiro, owners, file), tempfile.TemporaryDirectory() as name:
        replies = Path(name) / "replies.json"
        replies.write_text(json.dumps([["Hello."]]))
        env = {
            "HOME": kiro.sandbox.home,
            "PATH": kiro.path,
            "TERM": "xterm-256color",
            **commands.QUIET,
            **kiro.identity.env,
            commands.REPLIES: str(replies),
        }

        def by_kiro() -> float:
            with owner(owners, file, "turn_of_bench"):
                started = time.perf_counter()
                assert kiro.run(_PROMPT).text == "Hello."
                return time.perf_counter() - started

        def by_subprocess() -> float:
            folder = Path(kiro.sandbox.home, "plain")
            folder.mkdir()
            started = time.perf_counter()
            subprocess.run(
                [kiro.installation.path, *commands.chat(commands.ENGINES["v2"])],
                input=_PROMPT.encode(),
                capture_output=True,
                cwd=folder,
                env=env,
                check=True,
            )
            elapsed = time.perf_counter() - started
            shutil.rmtree(folder)
            return elapsed

        kiro_times, plain_times = alternate(by_kiro, by_subprocess, 31)
    table(
        "one turn that answers at once (seconds: min, median, max)",
        [
            ("kiro.run", spread(kiro_times)),
            ("subprocess.run of the same CLI", spread(plain_times)),
            (
                "overhead, median of pairs",
                f"{median_difference(kiro_times, plain_times) * 1000:.1f} ms (target: under 40)",
            ),
        ],
    )


if __name__ == "__main__":
    main()
