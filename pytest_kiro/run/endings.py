"""Counts how the trials of a run have ended.

It counts those of all workers: what a verdict still needs is decided from it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from pytest_kiro.sandbox.runs import transaction

#: Passed, failed, lost.
Counts = tuple[int, int, int]
_NONE = (0, 0, 0)


class Endings:
    """How many trials of each group passed, failed and were lost; `folder` is shared by workers, None for one process.

    >>> endings = Endings()
    >>> endings.add("test_a.py::test_x", (1, 0, 0))
    >>> endings.of("test_a.py::test_x")
    (1, 0, 0)
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._file = folder and folder / "trials.json"
        self._counts: dict[str, Counts] = {}

    def of(self, group: str) -> Counts:
        """Return how many trials of a group have ended so far."""
        if self._file is None:
            return self._counts.get(group, _NONE)
        if not self._file.exists():
            return _NONE
        with transaction(self._file, {}) as state:
            passed, failed, lost = state.get(group, _NONE)
        return passed, failed, lost

    def add(self, group: str, ended: Counts) -> None:
        """Count trials that have ended."""
        if self._file is None:
            self._counts[group] = _sum(self.of(group), ended)
            return
        with transaction(self._file, {}) as state:
            state[group] = _sum(state.get(group, _NONE), ended)

    def remove(self) -> None:
        """Remove its files, when the run is over; idempotent."""
        if self._file is None:
            return
        for file in (self._file, Path(f"{self._file}.lock")):
            file.unlink(missing_ok=True)
        with suppress(OSError):  # it is not there, or somebody else's things are in it
            self._file.parent.rmdir()


def _sum(one: Counts, other: Counts) -> Counts:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]
