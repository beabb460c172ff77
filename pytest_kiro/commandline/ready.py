"""Provides a sandbox with kiro-cli outside of pytest, and deletes it afterwards."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from pytest_kiro.commandline.output import complain
from pytest_kiro.errors import SettingsError
from pytest_kiro.kirocli import official
from pytest_kiro.kirocli.install import Installation, install
from pytest_kiro.login.box import LoginTerminal, open_browser
from pytest_kiro.login.login import LoginMeans
from pytest_kiro.login.saved import SavedLogin
from pytest_kiro.run.keeper import Keeper, built_in
from pytest_kiro.run.stops import Stops
from pytest_kiro.sandbox.protocol import Sandbox, SandboxSpec
from pytest_kiro.secrecy.redaction import Secrets
from pytest_kiro.settings import table
from pytest_kiro.settings.table import Settings


@dataclass(frozen=True)
class Ready:
    """What a command works with."""

    sandbox: Sandbox
    cli: Installation
    means: LoginMeans
    secrets: Secrets


def read_settings(options: Mapping[str, str | None]) -> Settings:
    """Read the settings as pytest does, but for its ini file; `SettingsError` when one is wrong."""
    settings = table.read(option=options.get, environ=os.environ, ini=lambda _: None, run_id=uuid.uuid4().hex)
    table.check(settings)
    return settings


def for_a_login(options: Mapping[str, str | None]) -> dict[str, str | None]:
    """Choose where to log in, since a stand-in's login is worth nothing."""
    chosen = dict(options)
    sandbox, cli = (options.get(name) or os.environ.get(f"PYTEST_KIRO_{name.upper()}") for name in ("sandbox", "cli"))
    if cli or sandbox not in (None, "local"):
        return chosen
    if sandbox is None and os.environ.get("DAYTONA_API_KEY"):
        return {**chosen, "sandbox": "daytona"}
    if shutil.which("kiro-cli"):
        return {**chosen, "cli": "official"}
    raise SettingsError(
        "nothing is here to log in with",
        advice="set DAYTONA_API_KEY, or install kiro-cli and have it on your PATH; --kiro-cli=scripted tries it with "
        "the stand-in",
    )


@contextmanager
def ready(settings: Settings) -> Iterator[Ready]:
    """Have a sandbox with kiro-cli in it; what takes long is said on stderr."""
    known = built_in(official.snapshot_lines)
    if settings.sandbox not in known:
        advice = f"known here: {', '.join(known)}; those of plugins and conftests are pytest's only"
        raise SettingsError(f"--kiro-sandbox={settings.sandbox}: no such provider", advice=advice)
    stops, secrets = Stops(), Secrets.of(os.environ)
    keeper = Keeper(settings, known[settings.sandbox], stops)
    with ExitStack() as undo:
        undo.callback(_complain_of_leaks, keeper)
        undo.callback(stops.listen(_end))
        undo.callback(keeper.close)
        undo.enter_context(_progress(secrets))
        sandbox = undo.enter_context(keeper.sandbox(SandboxSpec(), failed=lambda: False))
        what = keeper.cli(isolated=sandbox.isolated)
        cli = install(sandbox, what, timeout=settings.setup_timeout, version=settings.cli_version)
        saved = SavedLogin(waits=settings.waits)
        means = LoginMeans(settings, _terminal(settings), secrets, os.environ, saved)
        yield Ready(sandbox, cli, means, secrets)


def _complain_of_leaks(keeper: Keeper) -> None:
    for line in filter(None, [*keeper.tally.leaked, keeper.trouble]):
        complain(line)


@contextmanager
def _progress(secrets: Secrets) -> Iterator[None]:
    """Say on stderr what the package logs meanwhile."""
    logger, handler = logging.getLogger("pytest_kiro"), _Progress(secrets)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _Progress(logging.Handler):
    def __init__(self, secrets: Secrets) -> None:
        super().__init__()
        self._secrets = secrets

    def emit(self, record: logging.LogRecord) -> None:
        complain(f"kiro: {self._secrets(' '.join(record.getMessage().split()))}")


def _terminal(settings: Settings) -> LoginTerminal:
    def tell(url: str, code: str) -> None:
        if settings.open_browser:
            open_browser(url)

    return LoginTerminal(tell=tell)


def _end(number: signal.Signals) -> None:
    raise SystemExit(128 + number)
