"""Finds recordings on disk, and removes those that no test asks for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from pytest_kiro.errors import KiroError
from pytest_kiro.recording.places import CONTENTS, RECORDING, TRIAL


def recorded_below(folders: Iterable[Path]) -> list[Path]:
    """Return the folders of trials below these, sorted."""
    return sorted({trial for folder in folders for trial in _trials(folder)})


def _trials(folder: Path) -> Iterator[Path]:
    for root, names, _ in os.walk(folder):
        for name in [name for name in names if name.startswith(TRIAL)]:
            names.remove(name)
            if (trial := Path(root, name)).joinpath(RECORDING).is_file():
                yield trial


def prune(trials: Iterable[Path]) -> None:
    """Remove recordings, and contents that no other trial has."""
    try:
        for trial in trials:
            shutil.rmtree(trial)
            _tidy(trial.parent)
    except OSError as error:
        what = f"a recording could not be removed: {error.strerror}: {error.filename}"
        raise KiroError(what, advice="remove it yourself") from error


def _tidy(table: Path) -> None:
    """Remove what is left of a test's folder when nothing has it."""
    others = [entry for entry in table.iterdir() if entry.name.startswith(TRIAL)]
    if not others:
        shutil.rmtree(table)
        if not any(table.parent.iterdir()):
            table.parent.rmdir()
        return
    named = "".join(turn.read_text(encoding="utf-8") for one in others for turn in one.glob("*.json"))
    for content in (table / CONTENTS).glob("*"):
        if content.name not in named:
            content.unlink()
