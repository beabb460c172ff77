"""Keeps the login in data.sqlite3 (`auth_kv`, `state`). Judges its token as the service does."""

from __future__ import annotations

import os
import sqlite3
import time
from datetime import datetime, timezone

from . import formats, steering
from .failures import Failure
from .places import database

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

Error = (sqlite3.Error, OSError)
TOKENS = ("kirocli:odic:token", "kirocli:idc:token", "kirocli:builderid:token", "kirocli:social:token")
REGISTRATION = "kirocli:odic:device-registration"
PROFILE = "api.codewhisperer.profile"
SCOPES = ["codewhisperer:completions", "codewhisperer:analysis", "codewhisperer:conversations"]

_TABLES = """
CREATE TABLE IF NOT EXISTS auth_kv (key TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, value TEXT);
"""


def connect() -> sqlite3.Connection:
    """Open the data file; a new one is for its owner only."""
    os.makedirs(os.path.dirname(database()), exist_ok=True)
    os.close(os.open(database(), os.O_RDWR | os.O_CREAT, 0o600))
    connection = sqlite3.connect(database(), timeout=30)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(_TABLES)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _existing() -> sqlite3.Connection:
    # Not mode=ro: a reader that may not write leaves the files of the write-ahead log behind.
    return sqlite3.connect(f"file:{_quoted(database())}?mode=rw", uri=True, timeout=30)


def _quoted(path: str) -> str:
    """Write a path as a URI has it: in a HOME, `?` and `#` are letters like any other."""
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def read() -> dict[str, Any] | None:
    """Read the stored login, with its key as `kind`; raises an `Error` for a file of another kind."""
    connection = _existing()
    try:
        rows = dict(connection.execute("SELECT key, value FROM auth_kv"))
    finally:
        connection.close()
    for key in TOKENS:
        if key in rows:
            return {**_object(rows[key]), "kind": key}
    return None


def profile() -> dict[str, Any]:
    """Read the profile of an organisation; empty where none was chosen."""
    connection = _existing()
    try:
        rows = connection.execute("SELECT value FROM state WHERE key = ?", (PROFILE,)).fetchall()
    except sqlite3.Error:  # the file of a login that was made elsewhere may lack the table
        return {}
    finally:
        connection.close()
    return _object(rows[0][0]) if rows else {}


def _object(text: Any) -> dict[str, Any]:
    try:
        value = formats.loads(str(text))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def store(tokens: dict[str, dict[str, Any]]) -> None:
    """Store a login; the profile of an earlier one goes."""
    _write("auth_kv", tokens)


def choose_profile(profile: dict[str, str]) -> None:
    """Store the profile of an organisation."""
    _write("state", {PROFILE: profile})


def _write(table: str, rows: dict[str, Any]) -> None:
    connection = connect()
    try:
        os.chmod(database(), 0o600)
        with connection:
            connection.execute("DELETE FROM state WHERE key = ?", (PROFILE,))
            values = [(key, formats.dumps(value)) for key, value in rows.items()]
            connection.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", values)
    finally:
        connection.close()


def forget() -> None:
    """Remove the stored login."""
    connection = sqlite3.connect(database())
    try:
        with connection:
            connection.executemany("DELETE FROM auth_kv WHERE key = ?", [(key,) for key in TOKENS])
    finally:
        connection.close()


def issue(steered: dict[str, Any], *, fixed: bool) -> dict[str, str]:
    """Issue tokens: random, unless the test has fixed those of a login."""
    import secrets  # 8 ms, which a turn on a stored login does not have to spend

    moment = time.time() + steered["token_lifetime"]
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))
    fixed_tokens = steered if fixed else {}
    return {
        "access_token": fixed_tokens.get("access_token") or f"aoa{secrets.token_urlsafe(48)}",
        "refresh_token": fixed_tokens.get("refresh_token") or f"aor{secrets.token_urlsafe(48)}",
        "expires_at": f"{stamp}.{int(moment % 1 * 10**6):06d}Z",
    }


def expired(token: dict[str, Any]) -> bool:
    """Tell whether a token's time is over; one without a time is good for ever, an unreadable one is not."""
    text = token.get("expires_at")
    if text is None:
        return False
    try:
        moment = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return True
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return moment <= datetime.now(timezone.utc)


def verdict(stored: dict[str, Any] | None) -> dict[str, Any]:
    """Judge a turn's login as the service does: nothing, `bad_key` or `expired`."""
    steered = steering.load()
    if stored is None:
        invalid = steering.names(steered.get("invalid_keys"), os.environ.get("KIRO_API_KEY", ""))
        return {"bad_key": True} if invalid else {}
    token: dict[str, Any] | None = stored
    if expired(stored):
        try:
            token = _refreshed(stored["kind"], steered)
        except Error as error:
            raise Failure(
                f"error: the login could not be refreshed in {database()}: {error}. Run kiro-cli login again."
            ) from None
    if token is None or steering.names(steered.get("revoked"), str(token.get("access_token"))):
        return {"expired": 0}
    return {}


def _refreshed(kind: str, steered: dict[str, Any]) -> dict[str, Any] | None:
    """Refresh an expired token, once for all turns at the same time; None where the service refuses."""
    connection = connect()
    try:
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            row = connection.execute("SELECT value FROM auth_kv WHERE key = ?", (kind,)).fetchone()
            token = _object(row[0]) if row else {}
            if token and not expired(token):
                return token
            current = token.get("refresh_token")
            if not current or steering.names(steered.get("revoked"), str(current)):
                return None
            token.update(issue(steered, fixed=False))
            connection.execute("UPDATE auth_kv SET value = ? WHERE key = ?", (formats.dumps(token), kind))
            return token
    finally:
        connection.close()
