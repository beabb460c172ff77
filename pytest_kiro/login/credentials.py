"""Takes kiro-cli's credentials out of one sandbox, and puts them into another.

The conversations beside them stay out. Nothing touches a disk of ours on the way: the database is read and emptied in
memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from pytest_kiro.errors import HIDE_FRAMES, LoginError
from pytest_kiro.kirocli import commands
from pytest_kiro.kirocli.sessions import sqlite
from pytest_kiro.sandbox.protocol import Sandbox

if TYPE_CHECKING:
    import sqlite3

__tracebackhide__ = HIDE_FRAMES

#: What was logged in with. Keys end so: `kirocli:odic:token` (the spelling is theirs), `kirocli:social:token`, …;
#: registrations stand beside them.
_TABLE, _TOKEN = "auth_kv", ":token"
_CONVERSATIONS = frozenset({"conversations", "conversations_v2", "history"})
#: The chosen profile of an organisation, in another table.
_STATE, _PROFILE = "state", "api.codewhisperer.profile"
#: In a token's or a registration's JSON, in small letters without underscores.
_SECRETS = ("accesstoken", "refreshtoken", "idtoken", "clientsecret")


@dataclass(frozen=True)
class Credentials:
    """A login as kiro-cli stores it.

    `data` is kiro-cli's database without conversations; it never shows in a repr. `version` is the kiro-cli that wrote
    it, `scripted` whether that was the stand-in; `who` is whom whoami named.
    """

    data: bytes = field(repr=False)
    version: str
    scripted: bool
    who: str | None = None

    @property
    def tokens(self) -> tuple[str, ...]:
        """Its tokens, which must not be written anywhere."""
        return tuple(dict.fromkeys(text for _, name, text in _values(self.data) if name in _SECRETS))

    @property
    def expires(self) -> datetime | None:
        """When its access token ends; None where it does not say."""
        for key, name, text in _values(self.data):
            with suppress(ValueError):
                if key.endswith(_TOKEN) and name == "expiresat":
                    moment = datetime.fromisoformat(text)
                    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return None

    def older_than(self, other: Credentials) -> bool:
        """Whether the other login's token ends later, where both say when."""
        return self.expires is not None and other.expires is not None and self.expires < other.expires

    def same_login(self, other: Credentials | None) -> bool:
        """Whether both have the same tokens; the databases may differ otherwise."""
        return other is not None and set(self.tokens) == set(other.tokens)

    def renews(self, kept: Credentials | None) -> bool:
        """Whether it may replace a kept login: none of another account, of the other CLI, or that ends later."""
        return kept is None or ((kept.who, kept.scripted) == (self.who, self.scripted) and not self.older_than(kept))


def take(
    sandbox: Sandbox, *, version: str, scripted: bool, who: str | None = None, home: str = ""
) -> Credentials | None:
    """Return the login in a `home` of a sandbox, None without one; `LoginError` when it cannot be read."""
    try:
        data = _stored(sandbox, _database(home))
    except OSError as error:
        raise _unusable(error) from None
    return read(data, version=version, scripted=scripted, who=who)


def read(
    data: bytes, *, version: str, scripted: bool, who: str | None = None, name: str = "kiro-cli's data file"
) -> Credentials | None:
    """Return the login in a database, None without one; errors call it `name`."""
    if not data:
        return None
    try:
        kept = sqlite.opened(data, _emptied)
        login = any(key.endswith(_TOKEN) for key in sqlite.opened(kept, _rows))
    except sqlite.Unreadable as error:
        raise _unusable(error, name) from None
    return Credentials(kept, version, scripted, who) if login else None


def put(sandbox: Sandbox, credentials: Credentials, home: str = "") -> None:
    """Put a login into a `home`, for its owner only.

    The login that is there goes. The conversations stay: V1 keeps them in the same file, and they may be resumed.
    """
    data, database = credentials.data, _database(home)
    with suppress(OSError, sqlite.Unreadable):  # what cannot be read goes
        if there := _stored(sandbox, database):
            data = _merged(there, data)
    # Written first: in a guarded HOME that replaces a link which would lead the rest to another HOME's database. Who
    # still has the old one open keeps it, since ours comes by rename.
    try:
        sandbox.write_file(database, data, mode=0o600)
    except IsADirectoryError:
        sandbox.remove(database)
        sandbox.write_file(database, data, mode=0o600)
    for suffix in ("-wal", "-shm"):
        sandbox.remove(database + suffix)


def _database(home: str) -> str:
    return str(PurePosixPath(home, commands.DATABASE))


def _unusable(error: Exception, name: str = "kiro-cli's data file") -> LoginError:
    what = f"{name}, with the login in it, cannot be read: {error}"
    return LoginError(what, advice="log in anew: python -m pytest_kiro login, or --kiro-login=device")


def _stored(sandbox: Sandbox, database: str) -> bytes:
    """Return the database as it is now, empty when there is none."""
    wal = b""
    with suppress(FileNotFoundError):  # first: what moves from it into the database meanwhile is then in both
        wal = sandbox.read_file(f"{database}-wal")
    with suppress(FileNotFoundError):
        return sqlite.with_wal(sandbox.read_file(database), wal)
    return b""


def _merged(there: bytes, login: bytes) -> bytes:
    """Return a database with the login of another."""
    places = ((_TABLE, "%"), (_STATE, _PROFILE))
    fresh = [sqlite.opened(login, partial(_rows, table=table, keys=keys)) for table, keys in places]

    def replace(connection: sqlite3.Connection) -> bytes:
        for (table, keys), rows in zip(places, fresh, strict=True):
            connection.execute(f"CREATE TABLE IF NOT EXISTS {table} (key TEXT PRIMARY KEY, value TEXT)")
            connection.execute(f"DELETE FROM {table} WHERE key LIKE ?", (keys,))
            connection.executemany(f"INSERT INTO {table} (key, value) VALUES (?, ?)", rows.items())
        connection.commit()
        return connection.serialize()

    return sqlite.opened(there, replace)


def _emptied(connection: sqlite3.Connection) -> bytes:
    for table in _tables(connection):
        if table.lower() in _CONVERSATIONS:
            connection.execute(f"DELETE FROM {table}")
    connection.commit()
    connection.execute("VACUUM")  # or the free pages would keep what was deleted
    return connection.serialize()


def _tables(connection: sqlite3.Connection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]


def _rows(connection: sqlite3.Connection, table: str = _TABLE, keys: str = "%") -> dict[str, Any]:
    if table not in _tables(connection):
        return {}
    rows = connection.execute(f"SELECT key, value FROM {table} WHERE key LIKE ?", (keys,))
    return {key: value for key, value in rows if isinstance(key, str)}


def _values(data: bytes) -> Iterator[tuple[str, str, str]]:
    """Yield the texts in stored JSON, by row and name."""
    for key, value in sqlite.opened(data, _rows).items():
        with suppress(ValueError, TypeError, RecursionError):
            yield from ((key, name, text) for name, text in _texts("", json.loads(value)))


def _texts(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(str(key).lower().replace("_", ""), inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(name, inner)
