"""`login`, `logout`, `whoami`: manages the saved login of this user."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pytest_kiro.commandline import say
from pytest_kiro.commandline.ready import Ready, for_a_login, read_settings, ready
from pytest_kiro.errors import LoginError, SettingsError
from pytest_kiro.login import credentials, device, machine
from pytest_kiro.login.credentials import Credentials
from pytest_kiro.login.login import login as log_in
from pytest_kiro.login.saved import SavedLogin


def login(options: Mapping[str, str | None]) -> int:
    """Log in by device in a sandbox, and save the login. The sandbox is deleted then."""
    settings = read_settings(for_a_login(options))
    device.check()
    with ready(settings) as here:
        _check_what_is_saved(here)
        identity = log_in(here.sandbox, here.cli, "device", here.means)
        taken = credentials.take(here.sandbox, version=here.cli.version, scripted=here.cli.scripted, who=identity.who)
        if taken is None:
            what = f"kiro-cli {here.cli.version} is logged in, but its data file has no login that could be saved"
            raise LoginError(what, advice="use --kiro-login=device, or set KIRO_API_KEY")
        return _save(here, taken)


def copy(options: Mapping[str, str | None], *, agreed: bool) -> int:
    """Save this machine's own login, if its owner agrees; return the exit code."""
    if options.get("sandbox") not in (None, "local"):
        what = f"--from-this-machine takes no login from --kiro-sandbox={options['sandbox']}"
        raise SettingsError(what, advice="leave one of the two out")
    settings = read_settings(for_a_login({**options, "sandbox": "local"}))
    file = machine.place(os.environ)
    if not agreed and not _agrees(file, SavedLogin().path):
        say("nothing was copied")
        return 1
    with ready(settings) as here:
        _check_what_is_saved(here)
        taken = machine.take(file, here.cli)
        account = here.means.whoami(here.sandbox, here.cli, machine.surroundings(os.environ))
        if account is None:
            what = f"kiro-cli {here.cli.version} does not count itself as logged in on this machine"
            raise LoginError(what, advice="log in with kiro-cli login first")
        return _save(here, replace(taken, who=account.who))


def _agrees(file: Path, saved: Path) -> bool:
    """Ask at the terminal; `LoginError` where nobody is there to answer."""
    if not sys.stdin.isatty():
        raise LoginError(
            f"the login in {file} is copied only if you agree, and there is no terminal to ask you at",
            advice="run it in a terminal, or agree by --yes",
        )
    say(f"The login in {file}, without the conversations beside it, is copied to {saved}.")
    say("Runs with --kiro-login=saved put it into their sandboxes, where all that Kiro executes can read it.")
    say("Copy it? [y/N] ", end="")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _save(here: Ready, login: Credentials) -> int:
    here.means.saved.save(login)
    stand_in = "; it is the stand-in's, and worth nothing to Kiro" if login.scripted else ""
    say(f"logged in as {login.who or 'an account'}{stand_in}")
    say(f"saved as {here.means.saved.path}, for pytest --kiro-login=saved; whoever can read it is you to Kiro")
    return 0


def _check_what_is_saved(here: Ready) -> None:
    """Refuse to replace a saved login of Kiro's by the stand-in's."""
    kept = None
    with suppress(LoginError):  # one that cannot be used may go
        kept = here.means.saved.newest()
    if kept is not None and not kept.scripted and here.cli.scripted:
        what = f"a login of Kiro's is saved ({kept.who or 'an account'}), and this one would be the stand-in's"
        raise LoginError(what, advice="run python -m pytest_kiro logout first, or use --kiro-cli=official")


def logout() -> int:
    """Remove the saved login."""
    saved = SavedLogin()
    there = saved.forget()
    say(f"the saved login {saved.path} is removed" if there else f"no login is saved ({saved.path} is not there)")
    return 0


def whoami() -> int:
    """Say whose login is saved; return 1 when none is."""
    saved = SavedLogin()
    login = saved.newest()
    if login is None:
        say(f"no login is saved ({saved.path} is not there); python -m pytest_kiro login saves one")
        return 1
    kind = "the stand-in" if login.scripted else "kiro-cli"
    say(f"{login.who or 'an account'}, saved {saved.saved_at():%Y-%m-%d %H:%M} UTC by {kind} {login.version}")
    say(f"in {saved.path}")
    return 0
