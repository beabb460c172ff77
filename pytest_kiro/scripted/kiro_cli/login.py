"""Who is logged in: `whoami`, `logout`, and why there is no `login`."""

from __future__ import annotations

import os

from . import screen, text_json
from .failures import Failure, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

START_URL = "https://view.awsapps.com/start"
_TOKENS = ("kirocli:odic:token", "kirocli:idc:token", "kirocli:builderid:token", "kirocli:social:token")
_FORMATS = ("plain", "json", "json-pretty")


def database() -> str:
    """Where the login is stored, and the conversations of V1."""
    return os.path.join(os.path.expanduser("~"), ".local", "share", "kiro-cli", "data.sqlite3")


def _stored() -> dict[str, Any] | None:
    """The stored login, with its key as `kind`."""
    if not os.path.exists(database()):
        return None
    import sqlite3

    try:
        connection = sqlite3.connect(f"file:{database()}?mode=ro", uri=True)
        try:
            rows = dict(connection.execute("SELECT key, value FROM auth_kv"))
        finally:
            connection.close()
    except sqlite3.Error:
        return None
    for key in _TOKENS:
        if key in rows:
            try:
                token = text_json.loads(str(rows[key]))
            except ValueError:
                token = {}
            return {**(token if isinstance(token, dict) else {}), "kind": key}
    return None


def account() -> dict[str, Any] | None:
    """The account in force: a stored login, else an API key, else nobody."""
    stored = _stored()
    if stored is None:
        if not os.environ.get("KIRO_API_KEY"):
            return None
        return {"accountType": "ApiKey", "email": None, "region": None, "startUrl": None}
    kind = "Social" if "social" in stored["kind"] else "BuilderId"
    url = stored.get("start_url") or (None if kind == "Social" else START_URL)
    if kind == "BuilderId" and url != START_URL:
        kind = "IamIdentityCenter"
    region = stored.get("region")
    return {"accountType": kind, "email": stored.get("email"), "region": region, "startUrl": url}


def _plain(who: dict[str, Any] | None) -> str:
    if who is None:
        return "Not logged in"
    if who["accountType"] == "ApiKey":
        return "Authenticated with API key"
    if who["accountType"] == "IamIdentityCenter":
        return f"Logged in with IAM Identity Center ({who['startUrl']})"
    name = "Google" if who["accountType"] == "Social" else "Builder ID"
    return f"Logged in with {name}" + (f"\nEmail: {who['email']}" if who["email"] else "")


def require() -> None:
    """A turn needs somebody logged in."""
    if account() is None:
        raise Failure(
            "Failed to open browser for authentication.\n"
            "Please try again with: kiro-cli login --use-device-flow\n"
            "error: You are not logged in. Set the KIRO_API_KEY environment variable "
            "or run kiro-cli login first. (The stand-in takes any key.)"
        )


def _whoami(argv: list[str]) -> int:
    form = "plain"
    while argv:
        name, equals, given = argv[0].partition("=")
        if name not in ("-f", "--format"):
            raise UsageError(f"unexpected argument '{argv[0]}' found", "kiro-cli whoami [OPTIONS]")
        form = given if equals else argv[1] if len(argv) > 1 else ""
        if form not in _FORMATS:
            what = f"invalid value '{form}' for '--format <FORMAT>'\n  [possible values: {', '.join(_FORMATS)}]"
            raise UsageError(what, "kiro-cli whoami [OPTIONS]")
        argv = argv[1 if equals else 2 :]
    who = account()
    if form == "plain":
        screen.write(1 if who else 2, _plain(who) + "\n")
        return 0 if who else 1
    value: dict[str, Any] = who or {"account": None}
    screen.write(1, text_json.dumps(value, 2 if form == "json-pretty" else None) + "\n")
    return 0


def _logout() -> int:
    if os.path.exists(database()):
        import sqlite3

        connection = sqlite3.connect(database())
        try:
            with connection:
                connection.executemany("DELETE FROM auth_kv WHERE key = ?", [(key,) for key in _TOKENS])
        except sqlite3.Error as error:
            raise Failure(f"error: the stored login could not be removed: {error}") from None
        finally:
            connection.close()
    screen.write(1, "You are now logged out\nRun kiro-cli login to log back in to Kiro CLI\n")
    return 0


def main(command: str, argv: list[str]) -> int:
    """Run one of the three commands."""
    if command == "whoami":
        return _whoami(argv)
    if command == "login":
        raise Failure(
            "error: pytest-kiro's stand-in for kiro-cli has no login. "
            "Set KIRO_API_KEY to any text: it counts as logged in."
        )
    if argv:
        raise UsageError(f"unexpected argument '{argv[0]}' found", "kiro-cli logout")
    return _logout()
