"""Runs `kiro-cli login --use-device-flow`: shows a code, and waits until it is approved.

There is no service: the file of steering.py says what it would answer, by default a yes after two seconds.
"""

from __future__ import annotations

import os
import re
import time
from secrets import choice, token_urlsafe

from . import keys, out, steering, vault
from .failures import Failure, UsageError
from .login import NO_BROWSER, START_URL
from .places import database

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

USAGE = "kiro-cli login [OPTIONS]"
HELP = """\
Log in, by the device flow

Usage: kiro-cli login [OPTIONS]

Options:
      --use-device-flow          Show a code that is approved in a browser, on whatever machine
      --license <LICENSE>        pro (your organization), free (Builder ID)
      --identity-provider <URL>  Start URL of your organization
      --region <REGION>          Region of your organization
      --social <PROVIDER>        google, github
  -v, --verbose...               More log output
  -h, --help                     Print help
"""
METHODS = {
    "builder": "Use with Builder ID",
    "google": "Use with Google",
    "github": "Use with GitHub",
    "organization": "Use with Your Organization",
}
PROFILES = {name: f"arn:aws:codewhisperer:us-east-1:111122223333:profile/{name.upper()}" for name in ("team", "trial")}
POLL_SECONDS = 0.1
AGAIN = "Run kiro-cli login --use-device-flow again."

_VALUES = {
    "--license": ("license", "LICENSE", ("pro", "free")),
    "--identity-provider": ("start_url", "URL", ()),
    "--region": ("region", "REGION", ()),
    "--social": ("social", "PROVIDER", ("google", "github")),
}
_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"


class Options:
    """The options of the command line."""

    device_flow = help = False
    license: str | None = None
    start_url: str | None = None
    region: str | None = None
    social: str | None = None


def _parse(argv: list[str]) -> Options:
    options = Options()
    rest = list(argv)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if name in _VALUES:
            attribute, shown, choices = _VALUES[name]
            if not equals and not rest:
                raise UsageError(f"a value is required for '{name} <{shown}>' but none was supplied", USAGE)
            value = value if equals else rest.pop(0)
            if choices and value not in choices:
                known = ", ".join(choices)
                what = f"invalid value '{value}' for '{name} <{shown}>'\n  [possible values: {known}]"
                raise UsageError(what, USAGE)
            setattr(options, attribute, value)
        elif name == "--use-device-flow" and not equals:
            options.device_flow = True
        elif name in ("-h", "--help"):
            options.help = True
        elif name != "--verbose" and (not name.startswith("-v") or name.strip("-v")):
            raise UsageError(f"unexpected argument '{name}' found", USAGE)
    if options.license and options.social:
        what = "the argument '--license <LICENSE>' cannot be used with '--social <PROVIDER>'"
        raise UsageError(what, USAGE)
    return options


def main(argv: list[str]) -> int:
    """Run `login`."""
    options = _parse(argv)
    if options.help:
        out.write(1, HELP)
        return 0
    steering.load()
    if _stored():
        raise Failure("error: Already logged in, please logout with kiro-cli logout first")
    if not options.device_flow:
        raise Failure(f"{NO_BROWSER}error: Permission denied (os error 13)")
    try:
        _login(options)
    except KeyboardInterrupt:
        out.write(2, "\n")
        return 1
    return 0


def _stored() -> bool:
    if not os.path.exists(database()):
        return False
    try:
        return vault.read() is not None
    except vault.Error as error:
        if "no such table" in str(error):
            return False
        raise _unusable(error) from None


def _unusable(error: Exception) -> Failure:
    return Failure(f"error: {database()} cannot be used: {error}. Move it away and run kiro-cli login again.")


def _login(options: Options) -> None:
    method = _method(options)
    start_url, region = START_URL, "us-east-1"
    if method == "organization":
        start_url, region = _organization(options)
    steered = _authorized(start_url)
    if steered.get("pretend"):
        out.write(1, "Logged in successfully\n")
        return
    token = _token(steered, method, start_url, region)
    secret = steered.get("client_secret") or token_urlsafe(32)
    registration = {"client_id": token_urlsafe(32), "client_secret": secret, "region": region}
    registration.update(oauth_flow="DeviceCode", scopes=vault.SCOPES)
    try:
        if method in ("google", "github"):
            vault.store({"kirocli:social:token": token})
        else:
            vault.store({"kirocli:odic:token": token, vault.REGISTRATION: registration})
        if method == "organization":
            vault.choose_profile(_profile())
    except vault.Error as error:
        raise _unusable(error) from None
    out.write(1, "Logged in successfully\n")


def _method(options: Options) -> str:
    """Choose the login method: by the flags, else by the selector."""
    if options.social:
        return options.social
    if options.license:
        return "builder" if options.license == "free" else "organization"
    chosen = keys.choose("Select login method", list(METHODS.values()))
    if chosen is None:
        raise Failure("error: No login method selected")
    return list(METHODS)[chosen]


def _organization(options: Options) -> tuple[str, str]:
    """Ask for start URL and region, also where the flags have them."""
    start_url = keys.ask("Enter Start URL", options.start_url or "")
    region = None if start_url is None else keys.ask("Enter Region", options.region or "")
    if start_url is None or region is None:
        raise Failure("error: The login was cancelled. Run kiro-cli login again.")
    if not re.fullmatch(r"[a-z]{2}(-[a-z]+)+-\d", region):
        host = f"oidc.{region}.amazonaws.com"
        raise Failure(
            f"error: dispatch failure: io error: error trying to connect: dns error: failed to lookup {host}: "
            "Name or service not known. Use a region such as us-east-1."
        )
    start_url = start_url.rstrip("/")
    if not re.fullmatch(r"https://([\w-]+\.awsapps\.com/start|(?!\S*\.awsapps\.com)[\w.-]+(/\S*)?)", start_url):
        raise Failure(
            f"error: service error: InvalidRequestException: Invalid start url provided: {start_url}. "
            "Use one such as https://example.awsapps.com/start."
        )
    return start_url, region


def _new_code() -> str:
    letters = "".join(choice(_LETTERS) for _ in range(8))
    return f"{letters[:4]}-{letters[4:]}"


def _authorized(start_url: str) -> dict[str, Any]:
    """Show a code, and wait until it is approved; returns the service's settings then."""
    code = steering.load().get("code") or _new_code()
    out.write(1, f"\nConfirm the following code in the browser\nCode: {code}\n\n")
    out.write(1, f"Open this URL: {start_url}/#/device?user_code={code}\n")
    started = time.monotonic()
    draws = os.isatty(1)
    frame = 0
    if draws:
        out.write(1, keys.HIDE)
    try:
        while True:
            steered = _answer(time.monotonic() - started)
            if steered is not None:
                break
            if draws:
                out.write(1, f"\r{_FRAMES[frame % len(_FRAMES)]} Logging in...")
            frame += 1
            time.sleep(POLL_SECONDS)
    finally:
        if draws:
            out.write(1, f"\r\x1b[2K{keys.SHOW}")
    out.write(1, "Device authorized\n")
    return steered


def _answer(waited: float) -> dict[str, Any] | None:
    """Answer one poll as the service: not yet (None), yes, or no by a failure."""
    steered = steering.load()
    if waited >= steered.get("cut_after", waited + 1):
        raise Failure(
            "error: dispatch failure: io error: error trying to connect: tcp connect error: "
            f"connection refused (os error 111). {AGAIN}"
        )
    if steered.get("deny"):
        raise Failure("error: access denied")
    if waited >= steered.get("expire_after", waited + 1):
        raise Failure(f"error: the device code has expired (ExpiredTokenException). {AGAIN}")
    if "approve_when" in steered:
        approved = os.path.exists(os.path.join(os.path.expanduser("~"), steered["approve_when"]))
    else:
        approved = waited >= steered["approve_after"]
    return steered if approved else None


def _token(steered: dict[str, Any], method: str, start_url: str, region: str) -> dict[str, Any]:
    social = method in ("google", "github")
    token: dict[str, Any] = {
        **vault.issue(steered, fixed=True),
        "region": region,
        "start_url": None if social else start_url,
        "oauth_flow": "DeviceCode",
        "scopes": vault.SCOPES,
    }
    if social:
        token["provider"] = method
    email = steered.get("email") or ("someone@example.com" if social else None)
    return {**token, "email": email} if email else token


def _profile() -> dict[str, str]:
    """Choose one of an organisation's profiles."""
    rows = [f"{name} (arn: {arn})" for name, arn in PROFILES.items()]
    chosen = keys.choose("Select an IAM Identity Center profile", rows)
    if chosen is None:
        raise Failure("error: No profile selected. Run kiro-cli logout, then kiro-cli login again.")
    out.write(2, "Profile set\n")
    name, arn = list(PROFILES.items())[chosen]
    return {"arn": arn, "profile_name": name}
