"""Sets up the sandbox and the means of login for fixtures."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from pytest_kiro.agent.bench import Bench, Fly
from pytest_kiro.errors import HIDE_FRAMES, KiroError, SettingsError, SetupError
from pytest_kiro.login.device import LoginTerminal
from pytest_kiro.login.login import Identity, LoginMeans, expect_login, login
from pytest_kiro.login.saved import SavedLogin
from pytest_kiro.plugin.frames import users_part
from pytest_kiro.sandbox.protocol import Sandbox, SandboxSpec
from pytest_kiro.settings.table import did_you_mean

if TYPE_CHECKING:
    import pytest

    from pytest_kiro.kirocli.install import Installation
    from pytest_kiro.plugin.state import State

__tracebackhide__ = HIDE_FRAMES


@contextmanager
def sandbox_for(request: pytest.FixtureRequest, state: State, args: object) -> Iterator[Sandbox]:
    """Have the sandbox of this process, which a hook has prepared."""
    if sys.platform not in ("linux", "darwin"):
        raise SetupError(f"pytest-kiro runs on Linux and macOS; this is {sys.platform}", advice="use WSL there")
    spec, keeper = _specification(args), state.keeper
    replays = state.settings.replies == "recording"
    if state.settings.origins.get("sandbox") == "replay":  # local, in the place of one that can be more
        spec = SandboxSpec(env=spec.env)
    # Nobody pays for a sandbox of bubblewrap, and it says first what comes first: whether there is a kiro-cli.
    early = not replays and state.settings.sandbox != "bubblewrap"
    if early and not {"kiro", "kiro_login"}.isdisjoint(request.fixturenames):
        expect_login(login_means(state), spec, installed=keeper.installs)
    with keeper.sandbox(spec, failed=lambda: bool(request.session.testsfailed)) as sandbox:
        if (registered := keeper.provider.isolated) is not sandbox.isolated:  # by it the header said which CLI answers
            raise SettingsError(
                f"the sandbox provider {state.settings.sandbox} is registered with isolated={registered}, but its "
                f"sandbox says {sandbox.isolated}",
                advice="say the same in pytest_kiro_register_providers and in the sandbox",
            )
        if (recordings := state.config.pluginmanager.get_plugin("kiro-recordings")) and recordings.recorder:
            own = {"none": None}.get(state.settings.snapshot, state.settings.snapshot)
            recordings.recorder.image = spec.image or spec.snapshot or own
        request.config.hook.pytest_kiro_sandbox_ready(sandbox=sandbox, settings=state.settings)
        yield sandbox


def login_means(state: State) -> LoginMeans:
    """Return with what this process can log in."""

    def tell(url: str, code: str) -> None:
        state.config.hook.pytest_kiro_device_code(config=state.config, url=url, code=code)

    terminal = LoginTerminal(tell=tell, lent=state.progress.lent)
    peers = state.peer_login if state.is_worker else None
    saved = SavedLogin(waits=state.settings.waits)
    return LoginMeans(state.settings, terminal, state.secrets, os.environ, saved, peers)


def installed(request: pytest.FixtureRequest, state: State, sandbox: Sandbox) -> Installation:
    """Return the kiro-cli that is put into the sandbox; of a replay, that of the recording."""
    from pytest_kiro.kirocli.install import install

    settings = state.settings
    if settings.replies == "recording" and (recordings := state.config.pluginmanager.get_plugin("kiro-recordings")):
        installation: Installation = recordings.installation(getattr(request, "_pyfuncitem", None))
        return installation
    what = state.keeper.cli(isolated=sandbox.isolated)
    return install(sandbox, what, timeout=settings.setup_timeout, version=settings.cli_version)


def logged_in(state: State, sandbox: Sandbox, cli: Installation) -> Identity:
    """Return who is logged in; a replay needs nobody."""
    settings = state.settings
    if settings.replies == "recording":
        return Identity("unknown")
    return login(sandbox, cli, settings.login, login_means(state), scripted=settings.replies == "scenario")


def bench_on(state: State, sandbox: Sandbox, installation: Installation, identity: Identity) -> Bench:
    """Return the bench on a sandbox; `kiro` is made anew for each trial, and setting one up asks the machine."""
    bench = state.benches.get(state.variant)
    if bench is None or bench.sandbox is not sandbox or bench.identity is not identity:
        settings, variants = state.settings, state.settings.variants
        if variants is not None and state.variant is not None and not settings.aa:
            value: dict[str, Any] = {variants.name: state.variant}
            settings = replace(settings, **value)
        state.benches[state.variant] = bench = Bench.set_up(
            sandbox,
            installation,
            identity,
            settings,
            budget=state.budget,
            secrets=state.secrets,
            observers=state.observers,
            fly=_fly(state),
        )
    return bench


def _fly(state: State) -> Fly | None:
    """Return what begins turns, None for kiro-cli alone."""
    recordings = state.config.pluginmanager.get_plugin("kiro-recordings")
    return recordings.fly if recordings else None


class InFewWords:
    """Shows an error of ours without our frames, and without causes; --full-trace shows them."""

    def __init__(self, config: pytest.Config) -> None:
        self._whole = bool(config.getoption("fulltrace", False))  # an option of the terminal's

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, KiroError) and not self._whole:
            error.__cause__, error.__traceback__ = None, users_part(error.__traceback__)


def _specification(args: object) -> SandboxSpec:
    if not isinstance(args, dict):
        raise SettingsError(f"the fixture kiro_sandbox_args is {args!r}", advice="wanted: a dict")
    known = [spec.name for spec in fields(SandboxSpec)]
    for name in args:
        if name not in known:
            hint = did_you_mean(name, known)
            raise SettingsError(f"kiro_sandbox_args has no key {name!r}{hint}", advice=f"known: {', '.join(known)}")
    try:
        return SandboxSpec(**args)
    except (TypeError, ValueError) as error:
        raise SettingsError("kiro_sandbox_args has a wrong value", advice=str(error)) from None
