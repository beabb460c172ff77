"""Who is logged in: `whoami` is read, not trusted blindly; an API key is only proven by a turn."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pytest_kiro.errors import HIDE_FRAMES, LoginError, SandboxError, SandboxTimeout, message
from pytest_kiro.kirocli import commands
from pytest_kiro.kirocli.evidence import waits_for_login
from pytest_kiro.kirocli.install import Installation
from pytest_kiro.login import credentials, device
from pytest_kiro.login.credentials import Credentials
from pytest_kiro.login.device import Human
from pytest_kiro.login.exchange import Exchange
from pytest_kiro.login.renewal import Memory, Renewal, Source
from pytest_kiro.login.saved import Saved
from pytest_kiro.sandbox.protocol import Sandbox

if TYPE_CHECKING:
    from pytest_kiro.secrecy.redaction import Secrets

__tracebackhide__ = HIDE_FRAMES

How = Literal["stored login", "api key", "saved login", "device login", "scripted", "unknown"]
#: What whoami calls stored logins, in small letters; how it calls one by key is not known of every build.
_STORED = ("builderid", "iamidentitycenter", "social", "google", "github")
#: Why a saved login is not used by itself; by whether it is the stand-in's.
_UNUSED = {True: "is the stand-in's", False: "is not used in CI unless asked for by --kiro-login=saved"}
#: Under which names an account's plan may stand; no source tells.
_PLANS = ("plan", "planName", "subscriptionType")

#: whoami asks no server and answers within a second; more is a CLI that waits for a human.
_WHOAMI_TIMEOUT = 15.0
#: Runs a command and ends it at the last line of a device login, which would wait for a human.
_WATCHED = """sh -c 'echo $$; exec "$@"' sh {command} 2>&1 | {{
  read -r pid
  while IFS= read -r line || [ -n "$line" ]; do
    printf '%s\\n' "$line"
    case $line in 'Open this URL:'*) kill -9 "$pid"; break ;; esac
  done
}}"""
_REMEDIES = (
    "remedies: set KIRO_API_KEY (plans Pro and above; --kiro-login=api-key); "
    "save a login with python -m pytest_kiro login, and use it with --kiro-login=saved; "
    "or run pytest in a terminal and log in there (--kiro-login=device; any plan). "
    "--kiro-cli=scripted needs no account"
)


@dataclass(frozen=True)
class Identity:
    """Who is logged in, and how: `who` is what whoami says (an account type, an e-mail), None where it says nothing.

    `plan` is the account's, where whoami knows it; `env` what Kiro's own process is given for it, which never shows in
    a repr; `renewal` keeps a login in step that other sandboxes share.

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
        """Who is logged in, in words; empty where nobody has to be, or nobody was looked for."""
        if self.how in ("scripted", "unknown"):
            return ""
        plan = f", plan {self.plan}" if self.plan else ""
        return f"{self.who or 'an account'} ({self.how}{plan})"


@dataclass(frozen=True)
class Ways:
    """What this process can log in with: the variables, the saved login, the human at its terminal.

    `exchange` is where the workers of a run share a device login, None for a process that is alone; `arguments` are
    further ones of `kiro-cli login`, `patience` the seconds that a human has, `timeout` those of each other step.
    """

    environ: Mapping[str, str] = field(repr=False)
    saved: Saved
    human: Human
    secrets: Secrets = field(repr=False)
    timeout: float
    exchange: Exchange | None = None
    arguments: Sequence[str] = ()
    patience: float = 600.0

    @property
    def key(self) -> str:
        """The API key, empty without one."""
        return self.environ.get(commands.API_KEY, "")

    @property
    def ci(self) -> bool:
        """Whether this is a CI's machine, which others may use as well."""
        return self.environ.get("CI", "").lower() not in ("", "0", "false")

    def hide(self, login: Credentials) -> None:
        """Keep the tokens of a login out of all that is written."""
        for token in login.tokens:
            self.secrets.add(token, "login token")


def login(sandbox: Sandbox, cli: Installation, how: str, ways: Ways, *, scripted: bool = False) -> Identity:
    """Log kiro-cli in, or find out who is.

    `how` is `auto` (a stored login, `KIRO_API_KEY`, the saved login except in CI, a device login where there is a
    terminal; nothing is needed for the stand-in, nor for `scripted` replies of the real CLI), `api-key`, `saved`,
    `device`, or `none` (do not look). Raises `LoginError` with the remedies.
    """
    if how == "none":
        return Identity("unknown")
    if how == "auto" and (scripted or cli.scripted):
        return Identity("scripted", env={commands.API_KEY: commands.PLACEHOLDER_KEY})
    if how in ("auto", "device") and (account := whoami(sandbox, cli, timeout=ways.timeout)):
        return _alone("stored login", sandbox, cli, ways, account)
    if how == "auto":
        how = _choose(ways)
    return {"api-key": _by_key, "saved": _by_saved, "device": _by_device}[how](sandbox, cli, ways)


def expect(how: str, ways: Ways) -> None:
    """Raise the `LoginError` that no sandbox could help with, before one is paid for; `auto` is of a fresh sandbox."""
    checks: Mapping[str, Callable[[Ways], object]] = {
        "api-key": _key,
        "saved": _saved,
        "device": device.check,
        "auto": _choose,
    }
    checks[how](ways)


def _key(ways: Ways) -> None:
    if not ways.key:
        raise LoginError(message("KIRO_API_KEY is not set", advice=_REMEDIES))


def _saved(ways: Ways) -> Credentials:
    found = ways.saved.newest()
    if found is None:
        advice = "save one with python -m pytest_kiro login, on a machine with a terminal"
        raise LoginError(message(f"no login is saved ({ways.saved.path} is not there)", advice=advice))
    return found


def _choose(ways: Ways) -> str:
    from pytest_kiro.terminal import keyboard

    if ways.key:
        return "api-key"
    kept = ways.saved.newest()
    if kept is not None and not kept.scripted and not ways.ci:
        return "saved"
    if keyboard.is_there() and not ways.ci:
        return "device"
    saved = "no login is saved" if kept is None else f"the saved login {_UNUSED[kept.scripted]}"
    nobody = "nobody is asked in CI unless by --kiro-login=device" if ways.ci else "there is no terminal to log in at"
    what = f"kiro-cli is not logged in, KIRO_API_KEY is not set, {saved}, and {nobody}"
    raise LoginError(message(what, advice=_REMEDIES))


def _by_key(sandbox: Sandbox, cli: Installation, ways: Ways) -> Identity:
    _key(ways)
    env = {commands.API_KEY: ways.key}
    account = whoami(sandbox, cli, timeout=ways.timeout, env=env)
    if account is None:
        what = f"kiro-cli {cli.version} does not count itself as logged in although KIRO_API_KEY is set"
        raise LoginError(message(what, advice=_REMEDIES))
    if re.sub(r"\W", "", str(account.get("accountType"))).lower() in _STORED:
        # A stored login goes before the key, which would then not be what is evaluated with.
        who = _identity("stored login", account).described
        what = f"KIRO_API_KEY is set, but kiro-cli in this sandbox is logged in as {who}"
        raise LoginError(message(what, advice="use --kiro-login=auto to go on with that login, or log it out there"))
    return _identity("api key", account, env=env)


def _by_saved(sandbox: Sandbox, cli: Installation, ways: Ways) -> Identity:
    found = _saved(ways)
    if found.scripted is not cli.scripted:
        kinds = ("of the stand-in", "the real one") if found.scripted else ("a real one", "the stand-in")
        advice = "save another with python -m pytest_kiro login, or choose the CLI that it is for by --kiro-cli"
        raise LoginError(message(f"the saved login is {kinds[0]}, and kiro-cli here is {kinds[1]}", advice=advice))
    return _enter("saved login", sandbox, cli, ways, found, ways.saved)


def _by_device(sandbox: Sandbox, cli: Installation, ways: Ways) -> Identity:
    if ways.exchange is None:
        return _alone("device login", sandbox, cli, ways, _ask(sandbox, cli, ways))
    asked = False

    def ask() -> Credentials:
        nonlocal asked
        asked = True
        who = _who(_ask(sandbox, cli, ways))
        if found := credentials.take(sandbox, version=cli.version, scripted=cli.scripted, who=who):
            return found
        what = f"kiro-cli {cli.version} is logged in, but its data file has no login that other workers could use"
        raise LoginError(message(what, advice="set KIRO_API_KEY, or run without -n"))

    def stay() -> None:
        """Keep this sandbox while another worker asks: to a service it is idle meanwhile."""
        with suppress(SandboxError):
            sandbox.keep_alive(ways.patience)
            sandbox.exec("true", timeout=ways.timeout)

    found = ways.exchange.obtain(ask, timeout=ways.patience + ways.timeout, waiting=stay)
    return _enter("device login", sandbox, cli, ways, found, ways.exchange, there=asked)


def _alone(how: How, sandbox: Sandbox, cli: Installation, ways: Ways, account: Mapping[str, Any]) -> Identity:
    """Return whom a login is of that is in this sandbox only; nothing writes its tokens, nor those that they become."""
    renewal = None
    with suppress(LoginError, SandboxError, OSError):  # where it cannot be read nobody else can read it out either
        if found := credentials.take(sandbox, version=cli.version, scripted=cli.scripted):
            renewal = Renewal(sandbox, Memory(found), found, ways.hide)
    return _identity(how, account, renewal=renewal)


def _ask(sandbox: Sandbox, cli: Installation, ways: Ways) -> Mapping[str, Any]:
    """Have a human log in, and return the account that whoami then names."""
    device.log_in(sandbox, cli, ways.human, arguments=ways.arguments, timeout=ways.patience, secrets=ways.secrets)
    if account := whoami(sandbox, cli, timeout=ways.timeout):
        return account
    what = "kiro-cli's login ended with exit code 0, but its whoami says that nobody is logged in"
    raise LoginError(message(what, advice="run it again, and approve the code in your browser"))


def _enter(
    how: How,
    sandbox: Sandbox,
    cli: Installation,
    ways: Ways,
    found: Credentials,
    source: Source,
    *,
    there: bool = False,
) -> Identity:
    """Put a login into the sandbox, unless it is `there`, and see that kiro-cli takes it."""
    ways.hide(found)
    # In one that another worker has brought it into, turns may be running on it.
    there = there or (sandbox.joined and whoami(sandbox, cli, timeout=ways.timeout) is not None)
    if not there:
        credentials.put(sandbox, found)
    account = whoami(sandbox, cli, timeout=ways.timeout)
    if account is None:
        wrote = "" if found.version == cli.version else f", which kiro-cli {found.version} has written"
        what = f"kiro-cli {cli.version} does not count itself as logged in with the {how}{wrote}"
        raise LoginError(message(what, advice="log in anew: python -m pytest_kiro login, or --kiro-login=device"))
    return _identity(how, account, renewal=Renewal(sandbox, source, found, ways.hide))


def whoami(
    sandbox: Sandbox, cli: Installation, *, timeout: float, env: Mapping[str, str] | None = None
) -> Mapping[str, Any] | None:
    """Ask kiro-cli who is logged in; None when nobody is, whatever the exit code says.

    Some builds exit with 0 while logged out, others with 1, so only the JSON counts; its first line, since
    text may follow. A CLI that shows the code of a device login says thereby that nobody is logged in, and is
    ended, not waited for; one that waits without a word is given 15 s, or `timeout` if that is less.
    """
    command = shlex.join([cli.path, *commands.whoami()])
    timeout = min(timeout, _WHOAMI_TIMEOUT)
    try:
        result = sandbox.exec(_WATCHED.format(command=command), env={**commands.QUIET, **(env or {})}, timeout=timeout)
    except SandboxTimeout as error:
        what = f"{command} did not answer within {timeout:g} s; it seems to wait for a login"
        raise LoginError(message(what, output=_hidden(error.output, env), advice=_REMEDIES)) from None
    if waits_for_login(result.output):
        return None
    for line in result.output.splitlines():
        if line.startswith("{"):
            try:
                answer = json.loads(line)
            except ValueError:
                break
            account = answer.get("account", answer)
            return account if isinstance(account, dict) and account else None
    if "not logged in" in result.output.lower():
        return None
    what = f"{command} said nothing that is JSON"
    raise LoginError(message(what, output=_hidden(result.output, env), advice=_REMEDIES))


def _hidden(output: str, env: Mapping[str, str] | None) -> str:
    """Take the key out of what a CLI said."""
    key = (env or {}).get(commands.API_KEY)
    return output.replace(key, "[KIRO_API_KEY]") if key else output


def _identity(how: How, account: Mapping[str, Any], **more: Any) -> Identity:
    plan = next((account[word] for word in _PLANS if isinstance(account.get(word), str)), None)
    return Identity(how, _who(account), plan, **more)


def _who(account: Mapping[str, Any]) -> str | None:
    who = account.get("email") or account.get("accountType")
    return str(who) if who else None
