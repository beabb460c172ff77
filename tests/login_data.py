"""Data files as kiro-cli keeps them, with logins in them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

from pytest_kiro.login import credentials
from pytest_kiro.login.credentials import Credentials

TOKEN, REGISTRATION = "kirocli:odic:token", "kirocli:odic:device-registration"


def tokens(name: str = "one", **more: Any) -> dict[str, Any]:
    """A token's JSON, with canaries."""
    return {"access_token": f"{name}-access", "refresh_token": f"{name}-refresh", "region": "us-east-1", **more}


def database(
    auth: Mapping[str, Any] | None,
    *,
    state: Mapping[str, Any] | None = None,
    then: Callable[[sqlite3.Connection], None] = lambda _: None,
) -> bytes:
    """A database with these rows as JSON; of a table that is None there is none."""
    with closing(sqlite3.connect(":memory:")) as connection:
        for table, rows in (("auth_kv", auth), ("state", state)):
            if rows is not None:
                connection.execute(f"CREATE TABLE {table} (key TEXT PRIMARY KEY, value TEXT)")
                values = [(key, json.dumps(value)) for key, value in rows.items()]
                connection.executemany(f"INSERT INTO {table} VALUES (?, ?)", values)
        connection.commit()
        then(connection)
        return connection.serialize()


def login(
    name: str = "one", *, expires: str | None = None, who: str | None = "ada", scripted: bool = True
) -> Credentials:
    """A login whose tokens are called `<name>-access` and `<name>-refresh`."""
    more = {} if expires is None else {"expires_at": expires}
    found = credentials.read(database({TOKEN: tokens(name, **more)}), version="2.29.0", scripted=scripted, who=who)
    assert found is not None
    return found
