"""The fixtures.

The story that `pytest --setup-show` tells: kiro_settings → kiro_sandbox → kiro_cli → kiro_login → kiro.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest

from pytest_kiro.errors import HIDE_FRAMES, KiroError, SettingsError, SetupError
from pytest_kiro.plugin.state import STATE, State
from pytest_kiro.settings import table

if TYPE_CHECKING:
    from pytest_kiro.agent.kiro import Kiro
    from pytest_kiro.kirocli.install import Installation
    from pytest_kiro.login.login import Identity, LoginMeans
    from pytest_kiro.sandbox.protocol import Sandbox, SandboxSpec
    from pytest_kiro.settings.table import Settings

__tracebackhide__ = HIDE_FRAMES


@pytest.fixture(scope="session")
def kiro_settings(pytestconfig: pytest.Config) -> Settings:
    """The settings of this run, read only."""
    return pytestconfig.stash[STATE].settings


@pytest.fixture(scope="session")
def kiro_sandbox_args() -> dict[str, Any]:
    """What the sandbox shall be (`SandboxSpec`): env, image, snapshot, region, …; override it to say more."""
    return {}


@pytest.fixture(scope="session")
def kiro_run_args() -> dict[str, Any]:
    """How turns are run here: agent, model, effort, timeout, trust, env; override it per folder."""
    return {}


@pytest.fixture(scope="session")
def kiro_sandbox(
    request: pytest.FixtureRequest,
    pytestconfig: pytest.Config,
    kiro_settings: Settings,
    kiro_sandbox_args: dict[str, Any],
) -> Iterator[Sandbox]:
    """The sandbox of this process; override it at the rootdir to bring your own."""
    if sys.platform not in ("linux", "darwin"):
        raise SetupError(f"pytest-kiro runs on Linux and macOS; this is {sys.platform}; use WSL there")
    state, spec = pytestconfig.stash[STATE], _specification(kiro_sandbox_args)
    state.stop_gently()
    if not {"kiro", "kiro_login"}.isdisjoint(request.fixturenames):
        from pytest_kiro.login.login import expect_login

        with _InFewWords(pytestconfig):
            expect_login(_means(state), spec, installed=state.keeper.installs)
    with (
        _InFewWords(pytestconfig),
        state.keeper.sandbox(spec, failed=lambda: bool(request.session.testsfailed)) as sandbox,
    ):
        _check_isolation(kiro_settings.sandbox, state.keeper.provider.isolated, sandbox.isolated)
        pytestconfig.hook.pytest_kiro_sandbox_ready(sandbox=sandbox, settings=kiro_settings)
        yield sandbox


@pytest.fixture(scope="session")
def kiro_cli(pytestconfig: pytest.Config, kiro_settings: Settings, kiro_sandbox: Sandbox) -> Installation:
    """The kiro-cli in the sandbox: where, which version, scripted or not."""
    from pytest_kiro.kirocli.install import install

    what = pytestconfig.stash[STATE].keeper.cli(isolated=kiro_sandbox.isolated)
    with _InFewWords(pytestconfig):
        return install(kiro_sandbox, what, timeout=kiro_settings.setup_timeout, version=kiro_settings.cli_version)


@pytest.fixture(scope="session")
def kiro_login(
    pytestconfig: pytest.Config, kiro_settings: Settings, kiro_sandbox: Sandbox, kiro_cli: Installation
) -> Identity:
    """Who is logged in, and how."""
    from pytest_kiro.login.login import login

    state, scripted = pytestconfig.stash[STATE], kiro_settings.replies == "scenario"
    state.stop_gently()
    with _InFewWords(pytestconfig):
        return login(kiro_sandbox, kiro_cli, kiro_settings.login, _means(state), scripted=scripted)


@pytest.fixture(scope="session")
def kiro(request: pytest.FixtureRequest) -> Iterator[Kiro]:
    """Kiro, installed, logged in, ready: every test starts clean on it, in a workspace of its own."""
    from pytest_kiro.agent.bench import Bench
    from pytest_kiro.agent.kiro import Kiro

    # Asked for here and not as arguments: pytest resolves those anew for every test, and with six more names
    # collecting 2,000 evals took 1.35 times the instructions instead of 1.1 (benchmarks/collection.py).
    kiro_settings: Settings = request.getfixturevalue("kiro_settings")
    kiro_sandbox: Sandbox = request.getfixturevalue("kiro_sandbox")
    kiro_cli: Installation = request.getfixturevalue("kiro_cli")
    kiro_login: Identity = request.getfixturevalue("kiro_login")
    state = request.config.stash[STATE]
    state.stop_gently()  # again, for a sandbox of somebody's own
    with _InFewWords(request.config):
        bench = Bench.set_up(
            kiro_sandbox,
            kiro_cli,
            kiro_login,
            kiro_settings,
            budget=state.budget,
            secrets=state.secrets,
            observers=state.observers,
        )
        kiro = Kiro(bench, state.owners)
    try:
        yield kiro
    finally:
        kiro.close()


def _check_isolation(name: str, registered: bool, found: bool) -> None:
    """Refuse a provider that contradicts itself: which CLI answers depends on it, and the header has said so."""
    if registered is not found:
        raise SettingsError(
            f"the sandbox provider {name} is registered with isolated={registered}, but its sandbox says {found}; "
            "say the same in pytest_kiro_register_providers and in the sandbox"
        )


def _specification(args: Any) -> SandboxSpec:
    from pytest_kiro.sandbox.protocol import SandboxSpec

    if not isinstance(args, dict):
        raise SettingsError(f"the fixture kiro_sandbox_args is {args!r}; wanted: a dict")
    known = [spec.name for spec in fields(SandboxSpec)]
    for name in args:
        if name not in known:
            hint = table.did_you_mean(name, known)
            raise SettingsError(f"kiro_sandbox_args has no key {name!r}{hint}; known: {', '.join(known)}")
    try:
        return SandboxSpec(**args)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"kiro_sandbox_args has a wrong value; {error}") from None


class _InFewWords:
    """Lets an error of ours speak for itself, without the provider's frames and causes; --full-trace shows them."""

    def __init__(self, config: pytest.Config) -> None:
        self._whole = bool(config.getoption("fulltrace", False))  # an option of the terminal's

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, KiroError) and not self._whole:
            error.__cause__ = error.__traceback__ = None


def _means(state: State) -> LoginMeans:
    from pytest_kiro.login.box import LoginTerminal
    from pytest_kiro.login.login import LoginMeans

    def tell(url: str, code: str) -> None:
        state.config.hook.pytest_kiro_device_code(config=state.config, url=url, code=code)

    terminal = LoginTerminal(tell=tell, lent=state.progress.lent)
    peers = state.peer_login if state.is_worker else None
    return LoginMeans(state.settings, terminal, state.secrets, os.environ, peers=peers)
