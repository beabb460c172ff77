"""Reads the recordings that a command line names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pytest_kiro.errors import SettingsError
from pytest_kiro.recording.places import RECORDING
from pytest_kiro.recording.store import read_recording
from pytest_kiro.recording.values import Recording


def recordings_in(paths: Sequence[Path]) -> Iterator[Recording]:
    """Yield the recordings in these folders, and below them, that have turns.

    `SettingsError` for a folder that has none, `RecordingMiss` for what cannot be read.
    """
    for path in paths:
        top = path.parent if path.name == RECORDING else path
        folders = [top] if (top / RECORDING).exists() else sorted(file.parent for file in top.rglob(RECORDING))
        if not folders:
            advice = f"name a folder that --kiro-record has written: one with {RECORDING} in it, or one above such"
            raise SettingsError(f"there is no recording in {path}", advice=advice)
        for folder in folders:
            if (recording := read_recording(folder)) is not None and recording.turns:
                yield recording
