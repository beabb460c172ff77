"""Who is logged in: `whoami`, `logout`, and what a turn needs."""

from __future__ import annotations

import os

from . import screen, text_json
from .failures import Failure, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

START_URL = "https://view.awsapps.com/start"
LOGIN_FILE = os.path.join(".kiro-standin", "login.json")
"""Relative to HOME: how a test steers the login, see steering.py."""
NO_BROWSER = "Failed to open browser for authentication.\nPlease try again with: kiro-cli login --use-device-flow\n"
_FORMATS = ("plain", "json", "json-pretty")


def database() -> str:
    """Where the login is stored, and the conversations of V1."""
    return os.path.join(os.path.expanduser("~"), ".local", "share", "kiro-cli", "data.sqlite3")


def steering_file() -> str:
    """Where a test steers the login."""
    return os.path.join(os.path.expanduser("~"), LOGIN_FILE)


def _stored() -> dict[str, Any] | None:
    """The stored login, with its key as `kind`; a damaged file has none."""
    if not os.path.exists(database()):
        return None
    from . import vault

    try:
        return vault.read()
    except vault.Error:
        return None


def _account(stored: dict[str, Any] | None) -> dict[str, Any] | None:
    """The account in force: a stored login, else an API key, else nobody."""
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


def _plain(who: dict[str, Any] | None, provider: Any) -> str:
    if who is None:
        return "Not logged in"
    if who["accountType"] == "ApiKey":
        return "Authenticated with API key"
    if who["accountType"] == "IamIdentityCenter":
        return f"Logged in with IAM Identity Center ({who['startUrl']})"
    social = "GitHub" if provider == "github" else "Google"
    name = social if who["accountType"] == "Social" else "Builder ID"
    return f"Logged in with {name}" + (f"\nEmail: {who['email']}" if who["email"] else "")


def require() -> dict[str, Any]:
    """A turn needs somebody logged in; what the service has against the login, as misbehaviours of the turn."""
    stored = _stored()
    if stored is None:
        if not os.environ.get("KIRO_API_KEY"):
            raise Failure(
                f"{NO_BROWSER}error: You are not logged in. Set the KIRO_API_KEY environment variable "
                "or run kiro-cli login first. (The stand-in takes any key.)"
            )
        if not os.path.exists(steering_file()):
            return {}
    from . import vault

    return vault.verdict(stored)


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
    stored = _stored()
    who = _account(stored)
    if form == "plain":
        screen.write(1 if who else 2, _plain(who, (stored or {}).get("provider")) + "\n")
    else:
        value: dict[str, Any] = who or {"account": None}
        screen.write(1, text_json.dumps(value, 2 if form == "json-pretty" else None) + "\n")
    if who and who["accountType"] == "IamIdentityCenter":
        _show_profile()
    return 0 if who or form != "plain" else 1


def _show_profile() -> None:
    """Whatever the form is, the profile of an organisation follows as text."""
    from . import vault

    chosen = vault.profile()
    if chosen:
        screen.write(1, f"\nProfile:\n{chosen.get('profile_name', '')}\n{chosen.get('arn', '')}\n\n")


def _logout() -> int:
    if os.path.exists(database()):
        from . import vault

        try:
            vault.forget()
        except vault.Error as error:
            raise Failure(f"error: the stored login could not be removed: {error}") from None
    screen.write(1, "You are now logged out\nRun kiro-cli login to log back in to Kiro CLI\n")
    return 0


def main(command: str, argv: list[str]) -> int:
    """Run `whoami` or `logout`."""
    if command == "whoami":
        return _whoami(argv)
    if argv:
        raise UsageError(f"unexpected argument '{argv[0]}' found", "kiro-cli logout")
    return _logout()
