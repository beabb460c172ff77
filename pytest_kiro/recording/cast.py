"""Keeps what a turn has printed as an asciicast, for `asciinema play`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from pytest_kiro.recording.text import escaped
from pytest_kiro.secrecy.chunks import Chunk


def to_cast(chunks: Iterable[tuple[float, str]], size: tuple[int, int]) -> bytes:
    """Return an asciicast of version 2; times are in seconds, `size` is (columns, rows)."""
    header = json.dumps({"version": 2, "width": size[0], "height": size[1]})
    encode = json.JSONEncoder(ensure_ascii=False).encode
    return b"".join(f"{line}\n".encode() for line in [header, *(encode([time, "o", text]) for time, text in chunks)])


def to_lines(chunks: Iterable[Chunk]) -> str:
    """Return chunks that are no UTF-8 as lines of JSON; lone surrogates stand for other bytes."""
    decoded = ([time, data.decode("utf-8", "surrogateescape")] for time, data in chunks)
    return "".join(f"{escaped(json.dumps(line, ensure_ascii=False))}\n" for line in decoded)


def from_lines(text: str) -> tuple[Chunk, ...]:
    """Return the chunks of a cast, or of `to_lines`; `ValueError` for what is neither."""
    return tuple(_chunks(text.split("\n")))


def _chunks(lines: Sequence[str]) -> Iterator[Chunk]:
    for line in filter(str.strip, lines):
        match json.loads(line):
            case dict():
                continue  # a cast's first line
            case [int() | float() as time, "o", str() as text] | [int() | float() as time, str() as text]:
                yield float(time), text.encode("utf-8", "surrogateescape")
            case [_, str(), str()]:
                continue  # a marker or a key, which an editor of casts has put in
            case _:
                raise ValueError(f"no line of a cast: {line[:200]}")


def whole_characters(chunks: Iterable[Chunk]) -> tuple[Chunk, ...]:
    """Return chunks none of which ends within a character of UTF-8.

    The beginning of one goes to the next chunk, where the text of a turn has it as well.
    """
    moved = list[Chunk]()
    rest = b""
    for time, data in chunks:
        data = rest + data
        cut = len(data) - _unfinished(data)
        data, rest = data[:cut], data[cut:]
        if data:
            moved.append((time, data))
        last = time
    if rest:
        moved.append((last, rest))
    return tuple(moved)


def _unfinished(data: bytes) -> int:
    """Return the size of an end that begins a character."""
    for size in range(1, min(4, len(data) + 1)):
        byte = data[-size]
        if byte >= 0xC0:
            wanted = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return size if size < wanted else 0
        if byte < 0x80:
            return 0
    return 0
