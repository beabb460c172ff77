"""`export`: writes what a run has kept in the formats of other tools."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pytest_kiro.commandline import say
from pytest_kiro.errors import SettingsError
from pytest_kiro.records.reading import read_results


def export(source: Path, form: str, output: Path | None) -> int:
    """Write a results file, or a folder of artifacts, in another format; return the exit code."""
    from pytest_kiro.export.story import of_folder, of_results

    story = of_folder(source) if source.is_dir() else of_results(read_results(source), source)
    if not any(teller.turns for teller in story.tellers):
        raise SettingsError(f"{source} has no turns", advice="name the results of a run that has asked Kiro something")
    if form == "atif":
        from pytest_kiro.export.atif import trajectories

        if output is None:
            what = "a trajectory is written for each conversation, and no folder is named for them"
            raise SettingsError(what, advice="name one: -o FOLDER")
        return _write_all(output, trajectories(story))
    if form == "otel":
        from pytest_kiro.export.otel import traces

        return _write(output, [traces(story)])
    from pytest_kiro.export.lines import rows

    return _write(output, rows(story))


def _write_all(folder: Path, documents: Iterable[tuple[str, dict[str, Any]]]) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        count = 0
        for name, document in documents:
            text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
            (folder / name).write_text(f"{text}\n", encoding="utf-8")
            count += 1
    except OSError as error:
        raise _unwritten(folder, error) from None
    say(f"{folder}: {count} trajector{'y' if count == 1 else 'ies'}")
    return 0


def _write(output: Path | None, documents: Iterable[dict[str, Any]]) -> int:
    """Write a document a line, into a file or to stdout."""
    # In ASCII: what Unicode calls the end of a line may stand in a text.
    lines = (json.dumps(document, allow_nan=False) for document in documents)
    if output is None:
        for line in lines:
            sys.stdout.write(f"{line}\n")  # as it is: for another program, not for a person
        return 0
    try:
        with output.open("w", encoding="utf-8", newline="\n") as file:
            count = sum(file.write(f"{line}\n") > 0 for line in lines)
    except OSError as error:
        raise _unwritten(output, error) from None
    say(f"{output}: {count} line{'s' * (count != 1)}")
    return 0


def _unwritten(place: Path, error: OSError) -> SettingsError:
    return SettingsError(f"{place} could not be written: {error.strerror or error}", advice="name another place")
