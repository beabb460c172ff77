"""Finds folders with files of agents, of which pytest may execute none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_kiro.recording.places import CONTENTS, RECORDING, TRIAL
from pytest_kiro.records.folders import RUN, TEST

if TYPE_CHECKING:
    from pathlib import Path


def holds_agents_files(folder: Path) -> bool:
    """Whether a folder has a run's artifacts, or a recording's files.

    >>> from pathlib import Path
    >>> holds_agents_files(Path("files"))
    False
    """
    if folder.name != CONTENTS:
        return (folder / RUN).is_file()
    of_a_recording = any((trial / RECORDING).is_file() for trial in folder.parent.glob(f"{TRIAL}*"))
    return of_a_recording or (folder.parent.parent / TEST).is_file()
