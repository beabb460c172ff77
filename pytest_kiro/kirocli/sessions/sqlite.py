"""Reads V1's database in memory: it also holds login tokens, which must never reach a disk of ours."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from pytest_kiro.kirocli.sessions.values import words

if TYPE_CHECKING:
    import sqlite3

_Result = TypeVar("_Result")
_WAL_HEADER = struct.Struct(">8I")
_FRAME_HEADER = struct.Struct(">6I")
#: The WAL's checksums are over words in the byte order that its magic number tells.
_MAGIC = {0x377F0682: "little", 0x377F0683: "big"}
#: An agent can write the database: a view, an index or a trigger made to be endless is given up after so many steps.
_STEPS = 50_000_000


class Row(NamedTuple):
    """A conversation: `key` is the folder; `id` and `updated` (ms) are None in the older table."""

    table: str
    key: str
    id: str | None
    value: str
    updated: int | None


class Unreadable(Exception):
    """The database cannot be read: why."""


def rows(database: bytes, wal: bytes) -> list[Row]:
    """Return every conversation, of both generations of tables; nothing else in the database is looked at."""
    return opened(with_wal(database, wal), lambda connection: list(_rows(connection)))


def opened(data: bytes, use: Callable[[sqlite3.Connection], _Result]) -> _Result:
    """Use a database in memory; `Unreadable` when it is none."""
    try:
        import sqlite3
    except ImportError as error:
        raise Unreadable(f"this Python has no sqlite3: {error}") from None
    try:
        with closing(sqlite3.connect(":memory:")) as connection:
            if data:
                connection.deserialize(data)
            steps = iter(range(_STEPS // 100_000))
            connection.set_progress_handler(lambda: next(steps, None) is None, 100_000)
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.text_factory = _text
            return use(connection)
    except (sqlite3.Error, AttributeError, MemoryError, OverflowError, ValueError) as error:
        raise Unreadable(str(error) or type(error).__name__) from None


def _rows(connection: sqlite3.Connection) -> Iterator[Row]:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    columns = {"conversations_v2": "conversation_id, updated_at", "conversations": "NULL, NULL"}
    for table in columns.keys() & tables:
        for key, value, name, at in connection.execute(f"SELECT key, value, {columns[table]} FROM {table}"):
            told = _text(value) if isinstance(value, bytes) else value
            if isinstance(key, str) and isinstance(told, str):
                yield Row(table, key, words(name), told, at if isinstance(at, int) else None)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def with_wal(database: bytes, wal: bytes) -> bytes:
    """Return the database after the last commit in its write-ahead log.

    The format is SQLite's documented one (fileformat2.html, section 4): frames count up to the last commit as
    long as their salts are the header's and the running checksum is right; what follows was never committed,
    or is of an older generation. The result says of itself that it has no log.
    """
    pages, count, size = _committed(wal, len(database))
    if size and (len(database) < 100 or size == (int.from_bytes(database[16:18], "big") & 0xFFFE or 65536)):
        result = bytearray(database[: count * size].ljust(count * size, b"\0"))
        for page, content in pages.items():
            if page <= count:
                result[(page - 1) * size : page * size] = content
    else:
        result = bytearray(database)
    if len(result) >= 100:
        result[18:20] = b"\1\1"
    return bytes(result)


def _committed(wal: bytes, length: int) -> tuple[dict[int, bytes], int, int]:
    """Return the last commit's pages, the database's page count and page size. Without a commit both are 0."""
    pages: dict[int, bytes] = {}
    pending: dict[int, bytes] = {}
    count = found = 0
    magic, _, size, _, *salts = _WAL_HEADER.unpack_from(wal)[:6] if len(wal) >= 32 else (0,) * 6
    order = _MAGIC.get(magic, "")
    if not order or not 512 <= size <= 65536 or size & (size - 1):
        return pages, 0, 0
    checksum = _checksum(wal[:24], (0, 0), order)
    if checksum != _WAL_HEADER.unpack_from(wal)[6:]:
        return pages, 0, 0
    for at in range(32, len(wal) - 24 - size + 1, 24 + size):
        page, commit, *ours, sum1, sum2 = _FRAME_HEADER.unpack_from(wal, at)
        content = wal[at + 24 : at + 24 + size]
        checksum = _checksum(content, _checksum(wal[at : at + 8], checksum, order), order)
        if ours != salts or page == 0 or checksum != (sum1, sum2):
            break
        pending[page] = content
        # Every page is in one of the two files: a count beyond them is not SQLite's, and would fill the memory.
        if commit and commit * size <= length + len(wal):
            pages.update(pending)
            pending, count, found = {}, commit, size
    return pages, count, found


def _checksum(data: bytes, seed: tuple[int, int], order: str) -> tuple[int, int]:
    values = array("I", data)
    if order != _NATIVE:
        values.byteswap()
    one, two = seed
    for index in range(0, len(values), 2):
        one = (one + values[index] + two) & 0xFFFFFFFF
        two = (two + values[index + 1] + one) & 0xFFFFFFFF
    return one, two


_NATIVE = "little" if struct.pack("=H", 1) == b"\1\0" else "big"
