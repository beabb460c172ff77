"""Chooses from the settings what a run can log in with, and whether a login is needed at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_kiro.errors import HIDE_FRAMES
from pytest_kiro.login.login import Ways, expect
from pytest_kiro.login.saved import Saved
from pytest_kiro.run.providers import BUILT_IN
from pytest_kiro.settings.table import Secret

if TYPE_CHECKING:
    from pytest_kiro.login.device import Human
    from pytest_kiro.login.exchange import Exchange
    from pytest_kiro.sandbox.protocol import SandboxSpec
    from pytest_kiro.secrecy.redaction import Secrets
    from pytest_kiro.settings.table import Settings

__tracebackhide__ = HIDE_FRAMES


def ways_of(
    settings: Settings, human: Human, secrets: Secrets, environ: Mapping[str, str], exchange: Exchange | None = None
) -> Ways:
    """Return what this process can log in with; `exchange` is for a worker only."""
    return Ways(
        environ={name: Secret(environ.get(name, "")) for name in ("KIRO_API_KEY", "CI")},
        saved=Saved(),
        human=human,
        secrets=secrets,
        timeout=settings.setup_timeout,
        exchange=exchange,
        arguments=settings.login_args or (),
        patience=settings.login_timeout,
    )


def expect_login(settings: Settings, spec: SandboxSpec, ways: Ways, *, installed: bool) -> None:
    """Raise `LoginError` before a sandbox is paid for in which no login would work.

    `installed` says that the official CLI is what we put into an isolated one.
    """
    how = settings.login
    if how == "auto":
        # An image may have somebody's login in it; and what is not installed by us may be the stand-in.
        fresh = not (spec.image or spec.snapshot) and settings.snapshot in ("none", "auto")
        asks = fresh and installed and settings.replies != "scenario"
        how = "auto" if asks and settings.sandbox in BUILT_IN else "none"
    if how != "none":
        expect(how, ways)
