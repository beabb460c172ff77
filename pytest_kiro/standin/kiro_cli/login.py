"""Reads the login: `whoami`, `logout`, and what a turn needs of it."""

from __future__ import annotations

import os

from . import formats, out
from .failures import Failure, UsageError
from .places import database, steering_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

START_URL = "https://view.awsapps.com/start"
NO_BROWSER = "Failed to open browser for authentication.\nPlease try again with: kiro-cli login --use-device-flow\n"
_FORMATS = ("plain", "json", "json-pretty")


def _stored() -> dict[str, Any] | None:
    """Read the stored login, with its key as `kind`; a damaged file has none."""
    if not os.path.exists(database()):
        return None
    from . import vault

    try:
        return vault.read()
    except vault.Error:
        return None


def _account(stored: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the account in force: a stored login, else an API key; None without either."""
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
    """Fail without a login; else find what the service has against it, as misbehaviours."""
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
        name, equals, value = argv[0].partition("=")
        if name not in ("-f", "--format"):
            raise UsageError(f"unexpected argument '{argv[0]}' found", "kiro-cli whoami [OPTIONS]")
        form = value if equals else argv[1] if len(argv) > 1 else ""
        if form not in _FORMATS:
            what = f"invalid value '{form}' for '--format <FORMAT>'\n  [possible values: {', '.join(_FORMATS)}]"
            raise UsageError(what, "kiro-cli whoami [OPTIONS]")
        argv = argv[1 if equals else 2 :]
    stored = _stored()
    who = _account(stored)
    if form == "plain":
        out.write(1 if who else 2, _plain(who, (stored or {}).get("provider")) + "\n")
    else:
        account: dict[str, Any] = who or {"account": None}
        out.write(1, formats.dumps(account, 2 if form == "json-pretty" else None) + "\n")
    if who and who["accountType"] == "IamIdentityCenter":
        _show_profile()
    return 0 if who or form != "plain" else 1


def _show_profile() -> None:
    """Print the profile of an organisation, as text in every format."""
    from . import vault

    chosen = vault.profile()
    if chosen:
        out.write(1, f"\nProfile:\n{chosen.get('profile_name', '')}\n{chosen.get('arn', '')}\n\n")


def _logout() -> int:
    if os.path.exists(database()):
        from . import vault

        try:
            vault.forget()
        except vault.Error as error:
            raise Failure(f"error: the stored login could not be removed: {error}") from None
    out.write(1, "You are now logged out\nRun kiro-cli login to log back in to Kiro CLI\n")
    return 0


def main(command: str, argv: list[str]) -> int:
    """Run `whoami` or `logout`."""
    if command == "whoami":
        return _whoami(argv)
    if argv:
        raise UsageError(f"unexpected argument '{argv[0]}' found", "kiro-cli logout")
    return _logout()
