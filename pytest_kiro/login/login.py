"""Logs kiro-cli in by a stored login, a key, or a device."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from pytest_kiro.errors import HIDE_FRAMES, LoginError, SandboxError
from pytest_kiro.kirocli import commands
from pytest_kiro.kirocli.install import Installation
from pytest_kiro.login import credentials, device
from pytest_kiro.login.credentials import Credentials
from pytest_kiro.login.device import LoginTerminal
from pytest_kiro.login.peer import PeerLogin
from pytest_kiro.login.saved import SavedLogin
from pytest_kiro.login.store import LoginStore, Renewal
from pytest_kiro.login.whoami import FROM_HERE, REMEDIES, KiroAccount, whoami
from pytest_kiro.run.keeper import BUILT_IN
from pytest_kiro.sandbox.protocol import Sandbox, SandboxSpec
from pytest_kiro.secrecy.redaction import Secrets
from pytest_kiro.settings.table import Secret, Settings
from pytest_kiro.terminal import keyboard

__tracebackhide__ = HIDE_FRAMES

How = Literal["stored login", "api key", "saved login", "device login", "scripted", "unknown"]
#: Why a saved login is not used by itself; by whether it is the stand-in's.
_UNUSED = {True: "is the stand-in's", False: "is not used in CI unless asked for by --kiro-login=saved"}


@dataclass(frozen=True)
class Identity:
    """Who is logged in, and how.

    `how` is the way; `who` is what whoami says (an account type, an e-mail), None where it says nothing; `plan` is the
    account's, where whoami knows it; `env` what Kiro's own process is given for it, which never shows in a repr;
    `renewal` keeps a login in step that other sandboxes share.

    >>> Identity("api key", "API key", env={"KIRO_API_KEY": "ksk_1"})
    Identity(how='api key', who='API key', plan=None)
    """

    how: How
    who: str | None = None
    plan: str | None = None
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    renewal: Renewal | None = field(default=None, repr=False, compare=False)

    @property
    def described(self) -> str:
        """Who is logged in, in words.

        It is empty where no login is needed, or none was looked for.
        """
        if self.how in ("scripted", "unknown"):
            return ""
        plan = f", plan {self.plan}" if self.plan else ""
        return f"{self.who or 'an account'} ({self.how}{plan})"


@dataclass(frozen=True)
class LoginMeans:
    """What this process can log in with.

    `environ` may have a key, `saved` a login, and a person may sit at `terminal`; `secrets` hides tokens and codes.
    `peers` is where the workers of a run share a device login, None for a process that is alone.
    """

    settings: Settings
    terminal: LoginTerminal
    secrets: Secrets = field(repr=False)
    environ: Mapping[str, str] = field(repr=False)
    saved: SavedLogin
    peers: PeerLogin | None = None

    @property
    def key(self) -> str:
        """The API key, empty without one."""
        return Secret(self.environ.get(commands.API_KEY, ""))

    def whoami(self, sandbox: Sandbox, cli: Installation, env: Mapping[str, str] = {}) -> KiroAccount | None:
        """Return the account that is logged in, None without one."""
        timeout = min(self.settings.setup_timeout, self.settings.waits.whoami)
        return whoami(sandbox, cli, timeout=timeout, env=env)


def login(sandbox: Sandbox, cli: Installation, how: str, means: LoginMeans, *, scripted: bool = False) -> Identity:
    """Log kiro-cli in, or find out who is.

    `how` is `auto` (a stored login, `KIRO_API_KEY`, the saved login except in CI, a device login where there is a
    terminal; nothing is needed for the stand-in, nor for `scripted` replies of the real CLI), `api-key`, `saved`,
    `device`, or `none` (do not look). Raises `LoginError` with the remedies.
    """
    if how == "none":
        return Identity("unknown")
    if how == "auto" and (scripted or cli.scripted):
        return Identity("scripted", env={commands.API_KEY: commands.PLACEHOLDER_KEY})
    if how in ("auto", "device") and (account := means.whoami(sandbox, cli)):
        return _alone("stored login", sandbox, cli, means, account)
    if how == "auto":
        how = _choose(means)
    return {"api-key": _by_key, "saved": _by_saved, "device": _by_device}[how](sandbox, cli, means)


def expect_login(means: LoginMeans, spec: SandboxSpec, *, installed: bool) -> None:
    """Raise `LoginError` when no login would work in a fresh sandbox.

    It is called before one is paid for; `installed` says that the official CLI is what we put into an isolated one.
    """
    settings = means.settings
    # An image may have a login in it; and what is not installed by us may be the stand-in.
    fresh = not (spec.image or spec.snapshot) and settings.snapshot in ("none", "auto")
    match settings.login:
        case "api-key":
            _key(means)
        case "saved":
            _saved(means)
        case "device":
            device.check()
        case "auto" if fresh and installed and settings.replies != "scenario" and settings.sandbox in BUILT_IN:
            _choose(means)


def _choose(means: LoginMeans) -> str:
    """Return the way that `auto` logs in where no login is stored."""
    if means.key:
        return "api-key"
    kept, ci = means.saved.newest(), means.environ.get("CI", "").lower() not in ("", "0", "false")
    if kept is not None and not kept.scripted and not ci:
        return "saved"
    if keyboard.is_there() and not ci:
        return "device"
    saved = "no login is saved" if kept is None else f"the saved login {_UNUSED[kept.scripted]}"
    nobody = "nobody is asked in CI unless by --kiro-login=device" if ci else "there is no terminal to log in at"
    what = f"kiro-cli is not logged in, KIRO_API_KEY is not set, {saved}, and {nobody}"
    if means.settings.sandbox not in ("local", "bubblewrap"):
        raise LoginError(what, advice=REMEDIES)
    what += "; a login of this machine's own kiro-cli is not seen in the sandbox, which has a HOME of its own"
    raise LoginError(what, advice=f"{REMEDIES}; to take this machine's own login: {FROM_HERE}")


# -- by key


def _key(means: LoginMeans) -> str:
    if not means.key:
        raise LoginError("KIRO_API_KEY is not set", advice=REMEDIES)
    return means.key


def _by_key(sandbox: Sandbox, cli: Installation, means: LoginMeans) -> Identity:
    env = {commands.API_KEY: _key(means)}
    account = means.whoami(sandbox, cli, env)
    if account is None:
        what = f"kiro-cli {cli.version} does not count itself as logged in although KIRO_API_KEY is set"
        raise LoginError(what, advice=REMEDIES)
    if account.stored:
        # A stored login goes before the key, which would then not be what is evaluated with.
        who = Identity("stored login", account.who, account.plan).described
        what = f"KIRO_API_KEY is set, but kiro-cli in this sandbox is logged in as {who}"
        raise LoginError(what, advice="use --kiro-login=auto to go on with that login, or log it out there")
    return Identity("api key", account.who, account.plan, env)


# -- by the saved login


def _saved(means: LoginMeans) -> Credentials:
    kept = means.saved.newest()
    if kept is None:
        advice = (
            f"save one with python -m pytest_kiro login, on a machine with a terminal; or this machine's: {FROM_HERE}"
        )
        raise LoginError(f"no login is saved ({means.saved.path} is not there)", advice=advice)
    return kept


def _by_saved(sandbox: Sandbox, cli: Installation, means: LoginMeans) -> Identity:
    kept = _saved(means)
    if kept.scripted is not cli.scripted:
        kinds = ("of the stand-in", "the real one") if kept.scripted else ("a real one", "the stand-in")
        advice = "save another with python -m pytest_kiro login, or choose the CLI that it is for by --kiro-cli"
        raise LoginError(f"the saved login is {kinds[0]}, and kiro-cli here is {kinds[1]}", advice=advice)
    return _enter("saved login", sandbox, cli, means, kept, means.saved)


def _enter(
    how: How, sandbox: Sandbox, cli: Installation, means: LoginMeans, login: Credentials, store: LoginStore
) -> Identity:
    """Put a login into the sandbox, and try it there."""
    renewal = Renewal(sandbox, store, login, means.secrets)  # which hides its tokens, before they are anywhere
    # In one that another worker has brought it into, turns may be running on it.
    if not (sandbox.joined and means.whoami(sandbox, cli)):
        credentials.put(sandbox, login)
    account = means.whoami(sandbox, cli)
    if account is None:
        wrote = "" if login.version == cli.version else f", which kiro-cli {login.version} has written"
        what = f"kiro-cli {cli.version} does not count itself as logged in with the {how}{wrote}"
        raise LoginError(what, advice="log in anew: python -m pytest_kiro login, or --kiro-login=device")
    return Identity(how, account.who, account.plan, renewal=renewal)


# -- by device


def _by_device(sandbox: Sandbox, cli: Installation, means: LoginMeans) -> Identity:
    peers, timeout = means.peers, means.settings.setup_timeout
    if peers is None:
        return _alone("device login", sandbox, cli, means, _ask(sandbox, cli, means))

    def ask() -> Credentials:
        account = _ask(sandbox, cli, means)
        if login := credentials.take(sandbox, version=cli.version, scripted=cli.scripted, who=account.who):
            return login
        what = f"kiro-cli {cli.version} is logged in, but its data file has no login that other workers could use"
        raise LoginError(what, advice="set KIRO_API_KEY, or run without -n")

    def stay() -> None:
        """Keep this sandbox alive; to a service it is idle meanwhile."""
        with suppress(SandboxError):
            sandbox.keep_alive(means.settings.login_timeout)
            sandbox.exec("true", timeout=timeout)

    login = peers.obtain(ask, timeout=means.settings.login_timeout + timeout, waiting=stay)
    return _enter("device login", sandbox, cli, means, login, peers)


def _alone(how: How, sandbox: Sandbox, cli: Installation, means: LoginMeans, account: KiroAccount) -> Identity:
    """Return the identity of a login in this sandbox only; its tokens are hidden."""
    renewal = None
    with suppress(LoginError, SandboxError, OSError):  # what cannot be read here cannot be read out by others either
        if login := credentials.take(sandbox, version=cli.version, scripted=cli.scripted):
            renewal = Renewal(sandbox, LoginStore(login), login, means.secrets)
    return Identity(how, account.who, account.plan, renewal=renewal)


def _ask(sandbox: Sandbox, cli: Installation, means: LoginMeans) -> KiroAccount:
    """Log in by device, and return the account that whoami names."""
    device.log_in(sandbox, cli, means.settings, means.terminal, means.secrets)
    if account := means.whoami(sandbox, cli):
        return account
    what = "kiro-cli's login ended with exit code 0, but its whoami says that nobody is logged in"
    raise LoginError(what, advice="run it again, and approve the code in your browser")
