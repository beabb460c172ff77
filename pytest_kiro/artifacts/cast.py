"""Writes what a turn prints as an asciicast while it prints it: what was written stays, however the process ends."""

from __future__ import annotations

import codecs
import json
import os
from collections import deque
from pathlib import Path

from pytest_kiro.artifacts.folder import Folder, names_in, read_from
from pytest_kiro.secrecy.chunks import without_secrets
from pytest_kiro.secrecy.redaction import Secrets

#: Bytes that are kept of the beginning; and of each part of the end, of which there are two or three.
OF_BEGINNING, OF_PART = 8 * 1024**2, 4 * 1024**2
_PARTS = 3
_GAP = "\r\n[… the middle of this output was not kept …]\r\n"


class Cast:
    """The cast of one turn in a file; of a long one the middle goes.

    Its methods raise `OSError`.
    """

    def __init__(
        self,
        folder: Folder,
        name: str,
        *,
        size: tuple[int, int],
        title: str,
        most: tuple[int, int] = (OF_BEGINNING, OF_PART),
    ) -> None:
        self.name = name
        self._folder, self._parts, self._number, self._closed = folder, deque[str](), 0, False
        self._decode = codecs.getincrementaldecoder("utf-8")("replace")
        header = {"version": 2, "width": size[0], "height": size[1], "title": title}
        self._file = os.open(folder.claim(name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        self._size, (self._most, self._of_part) = 0, most
        self._put(json.dumps(header))

    def add(self, at: float, data: bytes | str) -> None:
        """Take what came `at` these seconds; it is on disk when this returns."""
        text = data if isinstance(data, str) else self._decode.decode(data)
        if text and self._file >= 0:
            if self._size >= self._most:
                self._next_part()
            self._put(json.dumps([round(at, 3), "o", text], ensure_ascii=False))

    def close(self, secrets: Secrets) -> None:
        """Put the parts together, without secrets that colours had torn apart; idempotent."""
        if not self._closed:
            self._end_part()
            settle(self._folder, self.name, secrets)
            self._closed = True

    def _put(self, line: str) -> None:
        data = line.encode("utf-8", "replace") + b"\n"
        self._size += len(data)
        os.write(self._file, data)

    def _end_part(self) -> None:
        """Close the file, once: after Ctrl-C its number may be another file's."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def _next_part(self) -> None:
        """Go on in another file; drop the oldest behind the beginning."""
        self._end_part()
        self._number += 1
        name = f"{self.name}.{self._number}"
        self._file = os.open(self._folder.claim(name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        self._size, self._most = 0, self._of_part
        self._parts.append(name)
        if len(self._parts) > _PARTS:
            self._folder.forget(self._parts.popleft())


def settle(folder: Folder, name: str, secrets: Secrets) -> None:
    """Put a cast's parts together, without secrets that colours had torn apart.

    It raises `OSError`. The process that wrote it may have been killed within a line.
    """
    parts, lines = _parts_of(folder, name), lines_of(folder.path / name)
    for number, part in parts.items():
        more = lines_of(folder.path / part)
        if number == min(parts) > 1 and more:
            lines.append(json.dumps([json.loads(more[0])[0], "o", _GAP], ensure_ascii=False))
        lines += more
    chunks = tuple((at, text.encode()) for at, _, text in map(json.loads, lines[1:])) if secrets.any else ()
    clean = without_secrets(chunks, secrets)
    if clean is not chunks:
        told = ((at, "o", data.decode("utf-8", "replace")) for at, data in clean)
        lines[1:] = [json.dumps(line, ensure_ascii=False) for line in told]
    elif not parts:
        return
    folder.write(name, "".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))
    for part in parts.values():
        folder.forget(part)


def lines_of(cast: Path) -> list[str]:
    """Return the whole lines of a cast; what Unicode calls an end of a line may stand within one."""
    return read_from(cast).decode("utf-8", "replace").split("\n")[:-1]


def _parts_of(folder: Folder, name: str) -> dict[int, str]:
    """Return the files in which a cast goes on, by their numbers."""
    file = folder.path / name
    found = (one.removeprefix(f"{file.name}.") for one in names_in(file.parent))
    numbers = sorted(int(rest) for rest in found if rest.isascii() and rest.isdigit())
    return {number: f"{name}.{number}" for number in numbers if folder.owns(f"{name}.{number}")}
