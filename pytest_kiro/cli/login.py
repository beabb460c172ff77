"""Who is logged in: `whoami` is read, not trusted blindly; an API key is only proven by a turn."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pytest_kiro.cli import commands
from pytest_kiro.cli.evidence import waits_for_login
from pytest_kiro.cli.install import Installation
from pytest_kiro.errors import HIDE_FRAMES, LoginError, SandboxTimeout, message
from pytest_kiro.sandbox.protocol import Sandbox

__tracebackhide__ = HIDE_FRAMES

How = Literal["stored login", "api key", "scripted", "unknown"]

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
    "remedies: set KIRO_API_KEY (plans Pro and above; --kiro-login=api-key), "
    "bring a sandbox in which kiro-cli is logged in already (override kiro_sandbox), "
    "or use --kiro-cli=scripted, which needs no account"
)


@dataclass(frozen=True)
class Identity:
    """Who is logged in, and how: `who` is what whoami says (an account type, an e-mail), None where it says nothing.

    `env` is what Kiro's own process is given for it; it never shows in a repr.

    >>> Identity("api key", "API key", {"KIRO_API_KEY": "ksk_1"})
    Identity(how='api key', who='API key')
    """

    how: How
    who: str | None = None
    env: Mapping[str, str] = field(default_factory=dict, repr=False)


def login(
    sandbox: Sandbox,
    cli: Installation,
    how: str,
    *,
    environ: Mapping[str, str],
    timeout: float,
    scripted: bool = False,
) -> Identity:
    """Find out who is logged in.

    `how` is `auto` (a stored login, else `KIRO_API_KEY` of `environ`; nothing is needed for the stand-in, nor for
    `scripted` replies of the real CLI), `api-key`, or `none` (do not look). `timeout` is seconds. Raises `LoginError`
    with the remedies.
    """
    if how == "none":
        return Identity("unknown")
    if how == "auto" and (scripted or cli.scripted):
        return Identity("scripted", env={commands.API_KEY: commands.PLACEHOLDER_KEY})
    key = environ.get(commands.API_KEY, "")
    if how == "auto" and (account := whoami(sandbox, cli, timeout=timeout)):
        return Identity("stored login", _who(account))
    if not key:
        what = (
            "KIRO_API_KEY is not set" if how == "api-key" else "kiro-cli is not logged in, and KIRO_API_KEY is not set"
        )
        raise LoginError(message(what, advice=_REMEDIES))
    env = {commands.API_KEY: key}
    account = whoami(sandbox, cli, timeout=timeout, env=env)
    if account is None:
        what = f"kiro-cli {cli.version} does not count itself as logged in although KIRO_API_KEY is set"
        raise LoginError(message(what, advice=_REMEDIES))
    return Identity("api key", _who(account), env)


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


def _who(account: Mapping[str, Any]) -> str | None:
    who = account.get("email") or account.get("accountType")
    return str(who) if who else None
