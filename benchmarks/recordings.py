"""What it costs to record: a large turn with and without, and one trial among a thousand."""

from __future__ import annotations

import json
import shlex
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench_kiro import bench_kiro, owner
from pairs import PAIRS, alternate, median_ratio, spread, table

from pytest_kiro import Kiro
from pytest_kiro.agent.bench import Owner
from pytest_kiro.recording.draft import Draft
from pytest_kiro.recording.places import Places
from pytest_kiro.recording.recorder import Recorder
from pytest_kiro.recording.store import Store
from pytest_kiro.recording.values import Made

PRINTED, FILES, TRIALS = 50_000_000, 2_000, 1_000
_MAKE_FILES = f"""import os
for i in range({FILES}):
    os.makedirs(f'd{{i // 200}}', exist_ok=True)
    with open(f'd{{i // 200}}/f{{i}}.txt', 'w') as file: file.write(f'{{i}}\\\\n' * 100)"""
_CALL = json.dumps(f"python3 -c {shlex.quote(_MAKE_FILES)}")
_SCENARIO = f"""
[[large.turn]]
requests = [[{{ name = "shell", args = {{ command = {_CALL} }} }}], ["Done."]]
misbehave = {{ huge = {PRINTED} }}
"""


def large_turn(pairs: int = PAIRS) -> tuple[str, bool]:
    """Return how much longer a large turn takes that is recorded, and whether that is little enough."""
    with bench_kiro(_SCENARIO) as (kiro, owners, file):
        plain = _seconds(kiro, owners, file)
        recorder = Recorder(Places("recordings"), anew=True)
        bench = replace(kiro.bench, observers=(recorder,), fly=recorder.fly)
        recording = _seconds(Kiro(bench, lambda: owners[-1]), owners, file, recorder)
        recorded, unrecorded = alternate(lambda: next(recording), lambda: next(plain), pairs)
    ratio = median_ratio(recorded, unrecorded)
    table(
        f"a turn that prints {PRINTED // 1_000_000} MB and leaves {FILES:,} files (seconds: min, median, max)",
        [
            ("recorded", spread(recorded)),
            ("not recorded", spread(unrecorded)),
            ("ratio, median of pairs", f"{ratio:.2f} (target: at most 1.3)"),
        ],
    )
    return f"{ratio:.2f}", ratio <= 1.3


def _seconds(kiro: Kiro, owners: list[Owner], file: Path, recorder: Recorder | None = None) -> Iterator[float]:
    while True:
        with owner(owners, file, "large"):
            started = time.perf_counter()
            turn = kiro.run("Print a lot.")
            if recorder is not None:
                recorder.ended(owners[-1], "passed")
            elapsed = time.perf_counter() - started
            assert turn.truncated
            assert len(turn.changes.added) == FILES
        yield elapsed


@contextmanager
def trials(count: int) -> Iterator[tuple[Places, Path]]:
    """Yield where so many trials of one test are recorded, each without a turn."""
    with tempfile.TemporaryDirectory() as name:
        places, file = Places("recordings"), Path(name) / "test_it.py"
        for trial in range(1, count + 1):
            made = Made(owner="it", file=file.name, trial=trial)
            place = places.of(Owner("it", ("it",), file, trial=trial))
            Draft(place, places.top(file), anew=True).end(made, whole=True, outcome="passed")
        yield places, file


def look_ups(pairs: int = PAIRS) -> None:
    """Compare the look-up of a trial among many with that among few."""
    with trials(TRIALS) as many, trials(10) as few:

        def one(places: Places, file: Path) -> float:
            store = Store(places)
            started = time.perf_counter()
            for trial in range(1, 11):
                assert store.recording(Owner("it", ("it",), file, trial=trial))
            return (time.perf_counter() - started) / 10 * 1e6

        among_many, among_few = alternate(lambda: one(*many), lambda: one(*few), 10 * pairs)
    table(
        f"the look-up of a trial (microseconds: min, median, max), {TRIALS:,} trials of the same test",
        [
            (f"among {TRIALS:,}", spread(among_many)),
            ("among 10", spread(among_few)),
            ("ratio, median of pairs", f"{median_ratio(among_many, among_few):.2f} (target: constant)"),
        ],
    )


if __name__ == "__main__":
    large_turn()
    look_ups()
