"""Reads the results files of earlier runs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pytest_kiro.errors import SettingsError
from pytest_kiro.records.run import RunRecord
from pytest_kiro.records.turns import FixtureReference, TurnRecord

_VERSIONS = (1, 2)


def read_results(file: Path) -> RunRecord:
    """Return the run that a results file is of; `SettingsError` where it is none that can be read."""
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"{file} cannot be read: {error.strerror}", advice="name a file of --kiro-results"
        ) from None
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{file} is no JSON, or was cut: {error}", advice="run it again, or name another") from None
    if not isinstance(data, dict) or data.get("format") != RunRecord.format:
        raise SettingsError(f"{file} is no results file of pytest-kiro", advice="name a file of --kiro-results")
    if data.get("version") not in _VERSIONS:
        what = f"{file} has version {data.get('version')!r} of the format; versions {_VERSIONS} can be read"
        raise SettingsError(what, advice="use the pytest-kiro that wrote it, or a newer one")
    if data["version"] == 1:
        _upgrade(data)
    try:
        return RunRecord.from_json(data)
    except (TypeError, ValueError, AttributeError) as error:
        raise SettingsError(f"{file} lacks what a results file has: {error}", advice="run it again") from None


def turns_of(run: RunRecord, reference: FixtureReference) -> Iterable[TurnRecord]:
    """Return the turns of a wide fixture of a run."""
    for fixture in run.fixtures:
        if (fixture.name, fixture.worker, fixture.number) == (reference.name, reference.worker, reference.number):
            yield from fixture.turns


def _upgrade(data: dict[str, Any]) -> None:
    """Say in version 2's words what answered a turn."""
    data["version"] = 2
    for place in (*data.get("tests", ()), *data.get("fixtures", ())):
        for turn in place.get("turns", ()):
            known = {
                "engine": turn.get("engine", ""),
                "cli_version": turn.get("version", ""),
                "model": turn.get("model"),
            }
            turn.setdefault("provenance", known)
