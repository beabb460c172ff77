"""What it costs to replay recorded evals, beside the same tests without their turns."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pairs import PAIRS, alternate, median_difference, spread, table
from pytest_runs import seconds

from pytest_kiro.recording.draft import Draft
from pytest_kiro.recording.places import Places
from pytest_kiro.recording.store import read_recording

EVALS = 100
_SCENARIO = """
[[test_0.turn]]
requests = [["Yes.", { name = "write", args = { command = "create", path = "a.txt", content = "a" } }], ["Written."]]
[[test_0.turn]]
requests = [["Done."]]
"""
_RECORDED = """
def test_{number}(kiro):
    kiro.run("Write a.txt.")
    assert kiro.run("Say that it is done.").text == "Done."
    assert kiro.workspace.exec("cat a.txt").output == "a"
"""
_PLAIN = """
def test_{number}(kiro):
    assert kiro.workspace.exec("echo a").output == "a\\n"
"""


def prepared(folder: Path, evals: int) -> tuple[Callable[[], float], Callable[[], float]]:
    """Return what measures the replay of so many evals, and what the same without turns."""
    recorded, plain = folder / "recorded", folder / "plain"
    for place, source in ((recorded, _RECORDED), (plain, _PLAIN)):
        (place / "scenarios").mkdir(parents=True)
        (place / "pytest.ini").touch()
        (place / "test_it.py").write_text(source.format(number=0))
    (recorded / "scenarios/test_it.toml").write_text(_SCENARIO)
    seconds(recorded, "--kiro-record=all")
    places, file = Places("recordings"), recorded / "test_it.py"
    first = read_recording(places.of_table(file, "test_0") / "trial-1")
    assert first is not None
    for number in range(1, evals):
        made = replace(first.made, owner=f"test_{number}", node=f"test_it.py::test_{number}")
        draft = Draft(places.of_table(file, made.owner) / "trial-1", places.top(file), anew=True)
        for turn in first.turns.values():
            draft.add(made, turn, {one.content: first.read(one.content) for one in turn.files}, (120, 30))
        draft.end(made, whole=True, outcome="passed")
    for place, source in ((recorded, _RECORDED), (plain, _PLAIN)):
        (place / "test_it.py").write_text("".join(source.format(number=number) for number in range(evals)))
    return lambda: seconds(recorded, "--kiro-replies=recording"), lambda: seconds(plain)


def replays(pairs: int = PAIRS, evals: int = EVALS) -> None:
    """Print what the replay of recorded evals adds."""
    with tempfile.TemporaryDirectory() as name:
        replayed, without = alternate(*prepared(Path(name), evals), pairs)
    most = 1.0 + 0.01 * evals
    table(
        f"{evals} recorded evals of two turns, one exec each (seconds: min, median, max)",
        [
            ("replayed", spread(replayed)),
            ("the execs alone", spread(without)),
            ("difference, median of pairs", f"{median_difference(replayed, without):.2f} (target: at most {most:.1f})"),
        ],
    )


if __name__ == "__main__":
    replays(*map(int, sys.argv[1:]))
