"""Many evals on many sandboxes: what of the ideal throughput is left, from all workers ready to the last turn's end."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from emulator import Emulator
from pairs import table

_SECONDS = 2
_LATENCY = 0.02
_CONFTEST = """
    import os
    import time
    from pathlib import Path

    import pytest

    STORY = Path(os.environ["STORY"])


    @pytest.fixture(scope="session", autouse=True)
    def everybody_is_ready(kiro, worker_id, testrun_uid):
        (STORY / f"ready-{worker_id}").touch()
        deadline = time.monotonic() + 300
        while len(list(STORY.glob("ready-*"))) < int(os.environ["PYTEST_XDIST_WORKER_COUNT"]):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        (STORY / f"begun-{worker_id}").write_text(str(time.monotonic()))


    def pytest_kiro_turn_finished(kiro, turn):
        assert turn.ok
        (STORY / f"ended-{time.monotonic()}").touch()
"""
_EVALS = """
    import pytest


    @pytest.mark.parametrize("number", range({evals}))
    def test_slow(kiro, number):
        kiro.run("Think for a while.")
"""
_SCENARIO = f'[[test_slow.turn]]\nrequests = [["Done."]]\nmisbehave = {{ silent = {_SECONDS} }}\n'


def main() -> None:
    large = (os.cpu_count() or 1) >= 8
    evals, workers = (100, 16) if large else (25, 4)
    with Emulator(latency=_LATENCY) as emulator, tempfile.TemporaryDirectory() as name:
        folder, story = Path(name, "evals"), Path(name, "story")
        story.mkdir()
        (folder / "scenarios").mkdir(parents=True)
        (folder / "conftest.py").write_text(textwrap.dedent(_CONFTEST))
        (folder / "test_slow.py").write_text(textwrap.dedent(_EVALS.format(evals=evals)))
        (folder / "scenarios" / "test_slow.toml").write_text(_SCENARIO)
        ours = {"DAYTONA_API_URL": emulator.url, "DAYTONA_API_KEY": emulator.key, "STORY": str(story)}
        command = [sys.executable, "-m", "pytest", "-q", "-n", str(workers), "--dist", "worksteal", "-p", "no:randomly"]
        command += ["--kiro-sandbox=daytona", "--kiro-cli=scripted", str(folder)]
        done = subprocess.run(
            command, env={**os.environ, **ours}, capture_output=True, text=True, timeout=900, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        begun = max(float(file.read_text()) for file in story.glob("begun-*"))
        ended = sorted(float(file.name.partition("-")[2]) for file in story.glob("ended-*"))
        assert len(ended) == evals
    elapsed, even = ended[-1] - begun, evals * _SECONDS / workers
    # An eval is not divided: 25 on 4 sandboxes are 7 rounds, and nobody could end sooner than the last of them.
    ideal = math.ceil(evals / workers) * _SECONDS
    table(
        f"{evals} evals of {_SECONDS} s on {workers} sandboxes, {_LATENCY * 1000:.0f} ms a request",
        [
            ("from all workers ready to the last turn's end", f"{elapsed:.2f} s"),
            ("ideal, had they no ends and no beginnings", f"{ideal:.2f} s"),
            ("of the ideal throughput", f"{ideal / elapsed:.0%} (target: at least 80 %)"),
            ("of it, could evals be divided as well", f"{even / elapsed:.0%}"),
        ],
    )


if __name__ == "__main__":
    main()
