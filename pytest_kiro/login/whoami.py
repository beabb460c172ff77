"""Asks kiro-cli's whoami which account is logged in.

Only its JSON counts: some builds exit with 0 while logged out, others with 1.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_kiro.errors import HIDE_FRAMES, LoginError, SandboxTimeout
from pytest_kiro.kirocli import commands
from pytest_kiro.kirocli.evidence import waits_for_login
from pytest_kiro.kirocli.install import Installation
from pytest_kiro.sandbox.protocol import Sandbox
from pytest_kiro.sandbox.script import program
from pytest_kiro.secrecy.redaction import Secrets

__tracebackhide__ = HIDE_FRAMES

_PROGRAM = Path(__file__).with_name("whoami.sh")
#: What whoami calls stored logins, in small letters; how it calls one by key is not known of every build.
_STORED = ("builderid", "iamidentitycenter", "social", "google", "github")
#: Under which names an account's plan may stand; no source tells.
_PLANS = ("plan", "planName", "subscriptionType")
FROM_HERE = "python -m pytest_kiro login --from-this-machine"
REMEDIES = (
    "remedies: set KIRO_API_KEY (plans Pro and above; --kiro-login=api-key); "
    "save a login with python -m pytest_kiro login, and use it with --kiro-login=saved; "
    "or run pytest in a terminal and log in there (--kiro-login=device; any plan). "
    "--kiro-cli=scripted needs no account"
)


@dataclass(frozen=True)
class KiroAccount:
    """The account that whoami names.

    `who` is an e-mail address or a kind of account; `stored` says that a stored login names it, and no key.
    """

    who: str | None
    plan: str | None
    stored: bool


def whoami(sandbox: Sandbox, cli: Installation, *, timeout: float, env: Mapping[str, str] = {}) -> KiroAccount | None:
    """Return the account that is logged in, None without one.

    Its first line of JSON counts, since text may follow. A CLI that shows the code of a device login says thereby that
    no account is logged in, and is ended, not waited for; no answer within `timeout` seconds is a `LoginError`.
    """
    command, hide = shlex.join([cli.path, *commands.whoami()]), Secrets.of(env)
    try:
        result = sandbox.exec(program(_PROGRAM, command=command), env={**commands.QUIET, **env}, timeout=timeout)
    except SandboxTimeout as error:
        what = f"{command} did not answer within {timeout:g} s; it seems to wait for a login"
        raise LoginError(what, output=hide(error.output), advice=REMEDIES) from None
    if waits_for_login(result.output):
        return None
    with suppress(ValueError):
        answer = json.loads(next((line for line in result.output.splitlines() if line.startswith("{")), ""))
        return _account(answer.get("account", answer))
    if "not logged in" in result.output.lower():
        return None
    raise LoginError(f"{command} said nothing that is JSON", output=hide(result.output), advice=REMEDIES)


def _account(account: Any) -> KiroAccount | None:
    if not isinstance(account, dict) or not account:
        return None
    who = account.get("email") or account.get("accountType")
    plan = next((account[word] for word in _PLANS if isinstance(account.get(word), str)), None)
    stored = re.sub(r"\W", "", str(account.get("accountType"))).lower() in _STORED
    return KiroAccount(str(who) if who else None, plan, stored)
