"""Reads recordings from disk: what is asked for, when it is asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytest_kiro.agent.bench import Owner
from pytest_kiro.errors import RecordingMiss
from pytest_kiro.recording.cast import from_lines
from pytest_kiro.recording.places import CONTENTS, RECORDING, TRIAL, Places
from pytest_kiro.recording.text import digest_of, from_text, to_text, unix
from pytest_kiro.recording.values import Asked, Made, RecordedFile, RecordedTurn, Recording, TurnKey
from pytest_kiro.turn.loaded import Given
from pytest_kiro.turn.provenance import Provenance
from pytest_kiro.turn.turn import Turn

#: The version of what is written; another one is a miss (R3).
FORMAT = 1


#: Of a turn's values, what a version that lacks a part of them meant by that.
_DEFAULTS = {"provenance": Provenance().to_json(), "given": asdict(Given())}


class Store:
    """The recordings of a run's tests; a `Source`."""

    def __init__(self, places: Places) -> None:
        self.places = places

    def recording(self, owner: Owner) -> Recording | None:
        """Return the recording of an owner's trial, None without one.

        Raises `RecordingMiss` for one that is not whole JSON, or of another format.
        """
        recording = read_recording(self.places.of(owner))
        if recording is not None and recording.made.owner != (name := self.places.hide(owner.tables[0])):
            what = f"{recording.folder} has the recording of {recording.made.owner}, and not of {name}"
            raise RecordingMiss(what, advice="this file system takes their names for one, so rename one of them")
        return recording

    def others(self, owner: Owner) -> list[Recording]:
        """Return a file's other recordings, those of the same test first."""
        own = self.places.of(owner)
        folders = [*_trials(own.parent), *(f for table in _folders(own.parent.parent) for f in _trials(table))]
        found = []
        for folder in dict.fromkeys(folders):
            with suppress(RecordingMiss):
                if folder != own and (recording := read_recording(folder)):
                    found.append(recording)
        return found


def _folders(folder: Path) -> list[Path]:
    with suppress(OSError):
        return sorted(Path(entry) for entry in os.scandir(folder) if entry.is_dir())
    return []


def _trials(table: Path) -> list[Path]:
    return [folder for folder in _folders(table) if folder.name.startswith(TRIAL)]


def read_head(folder: Path) -> dict[str, Any] | None:
    """Return what `recording.json` says, None where there is none; `RecordingMiss` for another format."""
    try:
        data = (folder / RECORDING).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unreadable(folder / RECORDING, str(error.strerror)) from error
    head = _json(folder / RECORDING, data)
    if (written := head.get("format")) != FORMAT:
        what = f"{folder} has format {written!r}, and this version of pytest-kiro reads format {FORMAT}"
        raise RecordingMiss(what, advice=f"use the pytest-kiro that wrote it, or record it anew: {_again(head)}")
    return head


def parts_of(head: Mapping[str, Any]) -> dict[TurnKey, dict[str, str]]:
    """Return the digests of a recording's files, by turn and name."""
    return {_key(name): dict(parts) for name, parts in head.get("turns", {}).items()}


def read_recording(folder: Path) -> Recording | None:
    """Return the recording in a trial's folder, None where there is none; of its turns nothing is read yet."""
    if (head := read_head(folder)) is None:
        return None
    edits = set[str]()
    if head.get("digest") != digest_of_head(head):
        edits.add(RECORDING)
    try:
        made, parts = Made.from_json(head["made"]), parts_of(head)
        whole, outcome = bool(head["whole"]), head["outcome"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unreadable(folder / RECORDING, f"it lacks what it has to say: {error!r}") from error
    contents = _Contents(folder.parent / CONTENTS, edits)
    turns = _Turns(folder, parts, contents, edits)
    return Recording(
        made=made, turns=turns, contents=contents, whole=whole, outcome=outcome, edits=edits, folder=folder
    )


def digest_of_head(head: Mapping[str, Any]) -> str:
    """Return the digest of all that `recording.json` says."""
    return digest_of(to_text({name: value for name, value in head.items() if name != "digest"}).encode())


def name_of(key: TurnKey) -> str:
    """Return what the names of a turn's files begin with."""
    return f"{key[0]}.{key[1]}"


def _key(name: str) -> TurnKey:
    conversation, turn = name.split(".")
    return int(conversation), int(turn)


def _again(head: Mapping[str, Any]) -> str:
    made = head.get("made")
    node = made.get("node", "") if isinstance(made, Mapping) else ""
    return f"pytest '{node}' --kiro-record=all" if node else "--kiro-record=all"


def _unreadable(path: Path, why: str) -> RecordingMiss:
    advice = "take it from version control again, or record it anew by --kiro-record=all"
    return RecordingMiss(f"{path} cannot be read: {why}", advice=advice)


def _json(path: Path, data: bytes) -> dict[str, Any]:
    """Return the JSON of a file."""
    try:
        value = from_text(data.decode())
    except (ValueError, RecursionError) as error:
        raise _unreadable(path, f"it is no whole JSON ({error})") from error
    if not isinstance(value, dict):
        raise _unreadable(path, "it is no object of JSON")
    return value


class _Contents(Mapping[str, bytes]):
    """The contents that a test's turns share, by their names."""

    def __init__(self, folder: Path, edits: set[str]) -> None:
        self._folder, self._edits = folder, edits

    def __getitem__(self, name: str) -> bytes:
        if not name or Path(name).name != name:
            raise RecordingMiss(f"{name!r} names no contents in {self._folder}", advice="record it anew")
        try:
            data = (self._folder / name).read_bytes()
        except OSError as error:
            raise _unreadable(self._folder / name, str(error.strerror)) from error
        digest = name.partition("-")[0]
        if digest_of(data) == digest:
            return data
        if digest_of(unix(data)) == digest:  # git has changed the line ends
            return unix(data)
        self._edits.add(f"{CONTENTS}/{name}")
        return data

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(path.name for path in self._folder.iterdir()) if self._folder.is_dir() else [])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and Path(name).name == name and (self._folder / name).is_file()


class _Turns(Mapping[TurnKey, RecordedTurn]):
    """The turns of a recording, each read when it is asked for."""

    def __init__(
        self, folder: Path, parts: Mapping[TurnKey, Mapping[str, str]], contents: _Contents, edits: set[str]
    ) -> None:
        self._folder, self._parts, self._contents, self._edits = folder, parts, contents, edits
        self._read = dict[TurnKey, RecordedTurn]()

    def __getitem__(self, key: TurnKey) -> RecordedTurn:
        if key not in self._read:
            parts = self._parts[key]  # a KeyError as of any mapping
            self._read[key] = self._turn(key, parts)
        return self._read[key]

    def __iter__(self) -> Iterator[TurnKey]:
        return iter(sorted(self._parts))

    def __len__(self) -> int:
        return len(self._parts)

    def _turn(self, key: TurnKey, parts: Mapping[str, str]) -> RecordedTurn:
        name, folder = name_of(key), self._folder.parent / CONTENTS
        data = _json(self._folder / f"{name}.json", self._part(f"{name}.json", parts))
        printed = f"{name}.chunks" if f"{name}.chunks" in parts else f"{name}.cast"
        lines = self._part(printed, parts)
        try:
            chunks = from_lines(lines.decode())
        except (ValueError, RecursionError) as error:
            raise _unreadable(self._folder / printed, str(error)) from error
        try:
            return RecordedTurn(
                conversation=key[0],
                number=key[1],
                asked=Asked.from_json(data["asked"]),
                chunks=chunks,
                turn=_turn_of(data["turn"]),
                before=_json(folder / data["before"], self._contents[data["before"]]) if data["before"] else None,
                files=_files(data["files"]),
                outside=_files(data["outside"]),
                left_out=tuple(data["left_out"]),
                stopped_after=data.get("stopped_after"),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _unreadable(self._folder / f"{name}.json", f"it lacks what it has to say: {error!r}") from error

    def _part(self, name: str, parts: Mapping[str, str]) -> bytes:
        try:
            data = unix((self._folder / name).read_bytes())
        except OSError as error:
            raise _unreadable(self._folder / name, str(error.strerror)) from error
        if digest_of(data) != parts.get(name):
            self._edits.add(name)
        return data


def _turn_of(data: Mapping[str, Any]) -> Turn:
    """Read a turn that an older version may have written: what is newer has its default."""
    provenance, given = ({**older, **data[name]} for name, older in _DEFAULTS.items())
    return Turn.from_json({**data, "raw": "", "output": "", "provenance": provenance, "given": given})


def _files(entries: Mapping[str, str]) -> tuple[RecordedFile, ...]:
    return tuple(_file(path, entry) for path, entry in entries.items())


def _file(path: str, entry: str) -> RecordedFile:
    """Read an entry of a turn's files: its kind, and what belongs to that."""
    kind, _, rest = entry.partition(" ")
    match kind:
        case "file" | "redacted":
            mode, _, content = rest.partition(" ")
            return RecordedFile(path=path, kind="file", mode=int(mode, 8), content=content, redacted=kind == "redacted")
        case "folder":
            return RecordedFile(path=path, kind="folder", mode=int(rest, 8))
        case "link":
            return RecordedFile(path=path, kind="link", content=rest)
        case "deleted":
            return RecordedFile(path=path, kind="deleted")
    raise ValueError(f"{path}: {entry[:200]!r} is no entry of a file")


def entry_of(file: RecordedFile) -> str:
    """Return what is written of a turn's file; `_file` reads it."""
    match file.kind:
        case "file":
            return f"{'redacted' if file.redacted else 'file'} {file.mode:o} {file.content}"
        case "folder":
            return f"folder {file.mode:o}"
        case "link":
            return f"link {file.content}"
        case "deleted":
            return "deleted"
