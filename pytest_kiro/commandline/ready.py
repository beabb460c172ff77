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

from pytest_kiro.commandline import complain
from pytest_kiro.errors import SettingsError
from pytest_kiro.kirocli import official
from pytest_kiro.kirocli.install import Installation, install
from pytest_kiro.login.device import LoginTerminal, open_browser
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


def read_settings(options: Mapping[str, str | None]) -> Settings:
    """Read the settings as pytest does, but for its ini file; `SettingsError` when one is wrong."""
    settings = table.read(option=options.get, environ=os.environ, ini=lambda _: None, run_id=uuid.uuid4().hex)
    table.checked(settings)
    return settings


def for_a_login(options: Mapping[str, str | None]) -> dict[str, str | None]:
    """Choose where to log in, since a stand-in's login is worth nothing."""
    sandbox, cli = (options.get(name) or os.environ.get(f"PYTEST_KIRO_{name.upper()}") for name in ("sandbox", "cli"))
    if cli or sandbox not in (None, "local"):
        return dict(options)
    if sandbox is None and os.environ.get("DAYTONA_API_KEY"):
        return {**options, "sandbox": "daytona"}
    if shutil.which("kiro-cli"):
        return {**options, "cli": "official"}
    raise SettingsError(
        "nothing is here to log in with",
        advice="set DAYTONA_API_KEY, or install kiro-cli and have it on your PATH; --kiro-cli=scripted tries it with "
        "the stand-in",
    )


@contextmanager
def ready(settings: Settings) -> Iterator[Ready]:
    """Have a sandbox with kiro-cli in it; what takes long is said on stderr."""
    known = built_in(official.snapshot_lines, lambda: official.SERVICE_HOSTS)
    if settings.sandbox not in known:
        advice = f"known here: {', '.join(known)}; those of plugins and conftests are pytest's only"
        raise SettingsError(f"--kiro-sandbox={settings.sandbox}: no such provider", advice=advice)
    stops, secrets = Stops(), Secrets.of(os.environ)
    keeper = Keeper(settings, known[settings.sandbox], stops)
    with ExitStack() as undo:
        undo.callback(_complain_of_leaks, keeper)
        undo.callback(stops.listen(_end))
        undo.callback(keeper.close)
        logger, progress = logging.getLogger("pytest_kiro"), _Progress(secrets)
        undo.callback(logger.removeHandler, progress)
        logger.addHandler(progress)
        logger.setLevel(logging.INFO)
        sandbox = undo.enter_context(keeper.sandbox(SandboxSpec(), failed=lambda: False))
        what = keeper.cli(isolated=sandbox.isolated)
        cli = install(sandbox, what, timeout=settings.setup_timeout, version=settings.cli_version)
        terminal = LoginTerminal(tell=lambda url, _: open_browser(url) if settings.open_browser else None)
        saved = SavedLogin(waits=settings.waits)
        yield Ready(sandbox, cli, LoginMeans(settings, terminal, secrets, os.environ, saved))


def _complain_of_leaks(keeper: Keeper) -> None:
    for line in filter(None, [*keeper.tally.leaked, keeper.trouble]):
        complain(line)


class _Progress(logging.Handler):
    """Says on stderr what the package logs."""

    def __init__(self, secrets: Secrets) -> None:
        super().__init__()
        self._secrets = secrets

    def emit(self, record: logging.LogRecord) -> None:
        complain(f"kiro: {self._secrets(' '.join(record.getMessage().split()))}")


def _end(number: signal.Signals) -> None:
    raise SystemExit(128 + number)
