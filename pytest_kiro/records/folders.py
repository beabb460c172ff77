"""Reads the folders of artifacts that runs have kept: docs/reports.md says what is in them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pytest_kiro.errors import SettingsError
from pytest_kiro.records.turns import TurnRecord
from pytest_kiro.turn.turn import Turn

#: The files that say what is in a folder, of a run and of a test; what leads to the last run; what a failed test said.
RUN, TEST, LATEST, FAILURE = "run.json", "test.json", "latest", "failure.txt"
#: Files of a conversation: what was changed, and what was executed.
DIFF, EXECUTED = "changes.diff", "executed.json"
Whole = dict[tuple[int, int | None], tuple[Turn | None, datetime | None]]


@dataclass(frozen=True)
class KeptTurn:
    """A turn as an index names it; `whole` is None where it was broken off, or its file is gone."""

    conversation: int
    number: int
    prompt: str
    retried: bool
    started: datetime | None
    whole: Turn | None

    @property
    def record(self) -> TurnRecord:
        """Return what a run would have kept of it in its results."""
        begun = TurnRecord(number=self.number, prompt=self.prompt, conversation=self.conversation, retried=self.retried)
        return begun if self.whole is None else begun.ended(self.whole)


def indexes(folder: Path) -> tuple[dict[str, Any], list[tuple[Path, dict[str, Any]]]]:
    """Return a run's index, and its tests' with their folders; `SettingsError` where there are none.

    `folder` is a test's, a run's, or the one of all runs, of which the latest is taken.
    """
    if (folder / TEST).is_file():
        return read_index(folder.parent / RUN), [(folder, read_index(folder / TEST))]
    place = folder / LATEST if (folder / LATEST).is_dir() else folder
    found = [(file.parent, read_index(file)) for file in sorted(place.glob(f"*/{TEST}"))]
    if not found:
        what = f"{folder} has no artifacts of a run in it"
        raise SettingsError(what, advice="name a folder that --kiro-artifacts has written, or a file of --kiro-results")
    return read_index(place / RUN), sorted(found, key=lambda one: str(one[1].get("started")))


def turns_in(folder: Path, index: Mapping[str, Any]) -> Iterator[KeptTurn]:
    """Yield the turns that a test's index names, in order."""
    for conversation in mappings(index.get("conversations")):
        place = folder / str(conversation.get("folder"))
        for turn in mappings(conversation.get("turns")):
            file = place / str(turn.get("turn"))
            yield KeptTurn(
                int(conversation.get("number") or 1),
                int(turn.get("number") or 1),
                str(turn.get("prompt", "")),
                bool(turn.get("retried")),
                moment(turn.get("started")),
                _turn(file) if turn.get("turn") else None,
            )


def whole_turns(folder: Path | None) -> tuple[Whole, datetime | None, int]:
    """Return the turns in a test's folder, its start and its attempt.

    The turns are there by conversation and number.
    """
    if folder is None or not (folder / TEST).is_file():
        return {}, None, 0
    index = read_index(folder / TEST)
    kept = [turn for turn in turns_in(folder, index) if not turn.retried]
    whole: Whole = {(one.conversation, one.number): (one.whole, one.started) for one in kept}
    return whole, moment(index.get("started")), int(index.get("attempt") or 1)


def moment(text: object) -> datetime | None:
    """Return the time of an ISO text, None for another text.

    >>> moment("2026-11-29T08:00:00+00:00").hour, moment("soon")
    (8, None)
    """
    with suppress(ValueError):
        found = datetime.fromisoformat(str(text))
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    return None


def mappings(value: object) -> list[dict[str, Any]]:
    """Return the tables of a list; none where it is no list.

    >>> mappings([{}, 1]), mappings(1)
    ([{}], [])
    """
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _turn(file: Path) -> Turn | None:
    """Return a whole turn; None where its file is gone or was cut, as a killed process leaves it."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        return Turn.from_json(json.loads(file.read_text("utf-8")))
    return None


def read_index(file: Path) -> dict[str, Any]:
    """Return an index; empty where there is none, `SettingsError` where it cannot be read."""
    try:
        data = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SettingsError(f"{file} cannot be read: {error}", advice="run it again, or name another folder") from None
    return data if isinstance(data, dict) else {}
