"""Writes a recording: each turn when it ends, and nothing under its final name before it is whole."""

from __future__ import annotations

import errno
import fcntl
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from pytest_kiro.errors import KiroError, RecordingMiss
from pytest_kiro.recording.cast import to_cast, to_lines
from pytest_kiro.recording.places import CONTENTS, RECORDING, content_name
from pytest_kiro.recording.store import FORMAT, digest_of_head, entry_of, name_of, parts_of, read_head
from pytest_kiro.recording.text import digest_of, to_text
from pytest_kiro.recording.values import Made, RecordedTurn, TurnKey
from pytest_kiro.secrecy.chunks import Chunk

#: What the names of files begin with that are not whole yet.
TEMPORARY = ".writing-"
_LOCK = ".lock"
#: git keeps what is recorded as it is.
_ATTRIBUTES = b"* -text\n"
_OF_A_TURN = re.compile(r"\d+\.\d+\.(?:json|cast|chunks)")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Draft:
    """The recording of one trial while its turns are run; of two processes that write it, one does.

    `top` is the folder of all recordings. With `anew` nothing stays of what is there; else a conversation's turns go
    when its first one is recorded again.
    """

    def __init__(self, folder: Path, top: Path, *, anew: bool) -> None:
        self._folder, self._top, self._anew = folder, top, anew
        self._lock: int | None = None
        self._begun = self._stale = False
        self._parts = dict[TurnKey, dict[str, str]]()

    def add(
        self,
        made: Made,
        recorded: RecordedTurn,
        contents: Mapping[str, bytes],
        size: tuple[int, int],
        shown: Sequence[tuple[float, str]] = (),
    ) -> None:
        """Write a turn and the contents that it names; `KiroError` where that cannot be.

        `size` is that of its terminal, (columns, rows); `shown` is what people see of it, where that is another text.
        """
        with _explained(self._folder):
            if not self._begin():
                return
            self._drop(made, recorded.key)
            before = _manifest(recorded.before)
            self._put_contents({**contents, **before})
            parts = _parts(recorded, next(iter(before), ""), size, shown)
            for name, data in parts.items():
                self._put(self._folder / name, data)
            self._parts[recorded.key] = {name: digest_of(data) for name, data in parts.items()}
            self._tell(made, whole=False, outcome=None)

    def end(self, made: Made, *, whole: bool, outcome: str | None) -> None:
        """Write how its owner ended, and let others write it; `KiroError` where that cannot be.

        One that is not whole leaves what was there, unless it has a turn.
        """
        try:
            with _explained(self._folder):
                if (whole or self._begun) and self._begin():
                    self._tell(made, whole=whole, outcome=outcome)
                    self._clear()
        finally:
            self.release()

    def release(self) -> None:
        """Let other processes write it; idempotent."""
        lock, self._lock = self._lock, None
        if lock is not None:
            try:
                with suppress(OSError):
                    (self._folder / _LOCK).unlink()
            finally:
                os.close(lock)

    def _begin(self) -> bool:
        """Take the folder, once; return whether it is ours."""
        if self._begun:
            return self._lock is not None
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock, self._begun = _locked(self._folder / _LOCK), True
        if self._lock is not None and not self._anew:
            with suppress(RecordingMiss):  # nobody can read it, so it is begun anew
                self._parts = parts_of(read_head(self._folder) or {})
        if self._lock is not None and not (attributes := self._top / ".gitattributes").exists():
            self._put(attributes, _ATTRIBUTES)
        self._stale = self._lock is not None
        return self._lock is not None

    def _drop(self, made: Made, key: TurnKey) -> None:
        """Let go of the turns whose place this one takes."""
        late = [known for known in self._parts if known[0] == key[0] and known[1] >= key[1]]
        for known in late:
            del self._parts[known]
        if self._stale or late:
            self._tell(made, whole=False, outcome=None)
            self._clear()

    def _clear(self) -> None:
        """Remove what no turn has."""
        self._stale = False
        kept = {name for parts in self._parts.values() for name in parts}
        for entry in list(os.scandir(self._folder)):
            if entry.name.startswith(TEMPORARY) or (_OF_A_TURN.fullmatch(entry.name) and entry.name not in kept):
                Path(entry).unlink()

    def _tell(self, made: Made, *, whole: bool, outcome: str | None) -> None:
        turns = {name_of(key): parts for key, parts in self._parts.items()}
        head = {"format": FORMAT, "made": made.to_json(), "whole": whole, "outcome": outcome, "turns": turns}
        self._put(self._folder / RECORDING, to_text({**head, "digest": digest_of_head(head)}).encode())

    def _put_contents(self, contents: Mapping[str, bytes]) -> None:
        """Write contents, unless they are there."""
        folder = self._folder.parent / CONTENTS
        folder.mkdir(exist_ok=True)
        there = {entry.name for entry in os.scandir(folder)}
        for name, data in contents.items():
            if name not in there or (folder / name).read_bytes() != data:
                self._put(folder / name, data)

    def _put(self, path: Path, data: bytes) -> None:
        """Write a file; it gets its name when it is whole, and is in our own folder until then."""
        temporary = self._folder / f"{TEMPORARY}{token_hex(8)}"
        try:
            temporary.write_bytes(data)
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise


def _manifest(before: Mapping[str, str] | None) -> dict[str, bytes]:
    """Return the contents that say what a workspace had, by their name."""
    if before is None:
        return {}
    data = to_text(dict(before)).encode()
    return {content_name(data, "before.json"): data}


def _parts(
    recorded: RecordedTurn, before: str, size: tuple[int, int], shown: Sequence[tuple[float, str]]
) -> dict[str, bytes]:
    """Return the files of a turn, by their names."""
    name, turn = name_of(recorded.key), recorded.turn.to_json()
    body = {
        "asked": recorded.asked.to_json(),
        "turn": {key: value for key, value in turn.items() if key not in ("raw", "output")},
        "before": before,
        "files": {file.path: entry_of(file) for file in recorded.files},
        "outside": {file.path: entry_of(file) for file in recorded.outside},
        "left_out": list(recorded.left_out),
        "stopped_after": recorded.stopped_after,
    }
    printed, exact = _decoded(recorded.chunks)
    lines = [(time, text.replace("\n", "\r\n")) for time, text in shown]
    parts = {f"{name}.cast": to_cast(lines or printed, size)}
    if lines or not exact:
        parts[f"{name}.chunks"] = to_lines(recorded.chunks).encode()
    return {**parts, f"{name}.json": to_text(body).encode()}


def _decoded(chunks: Iterable[Chunk]) -> tuple[list[tuple[float, str]], bool]:
    """Return chunks as text, and whether that is all of them."""
    try:
        return [(time, data.decode()) for time, data in chunks], True
    except UnicodeDecodeError:
        return [(time, data.decode("utf-8", "replace")) for time, data in chunks], False


def _locked(path: Path) -> int | None:
    """Return the descriptor of a lock that was taken; None when another process has it.

    The system lets go of it when a process dies.
    """
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(lock).st_ino == path.stat().st_ino:
                return lock
        except BlockingIOError:
            os.close(lock)
            return None
        except FileNotFoundError:
            pass  # who had it has removed it meanwhile
        os.close(lock)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Say what to do when a recording cannot be written."""
    try:
        yield
    except OSError as error:
        what = f"the recording {folder} could not be written: {error.strerror}"
        if error.filename:
            what = f"{what} ({error.filename})"
        elsewhere = "--kiro-recordings=DIR names another folder, --kiro-record=off records nothing"
        advice = "free space there" if error.errno in _FULL else elsewhere
        raise KiroError(what, advice=advice) from error
