"""The fixtures.

The story that `pytest --setup-show` tells: kiro_settings → kiro_sandbox → kiro_cli → kiro_login → kiro.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from pytest_kiro.errors import HIDE_FRAMES
from pytest_kiro.plugin.state import STATE

if TYPE_CHECKING:
    from pytest_kiro.agent.kiro import Kiro
    from pytest_kiro.kirocli.install import Installation
    from pytest_kiro.login.login import Identity
    from pytest_kiro.sandbox.protocol import Sandbox
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
    from pytest_kiro.plugin.setting_up import InFewWords, sandbox_for

    state = pytestconfig.stash[STATE]
    with InFewWords(pytestconfig), sandbox_for(request, state, kiro_sandbox_args) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def kiro_cli(pytestconfig: pytest.Config, kiro_settings: Settings, kiro_sandbox: Sandbox) -> Installation:
    """The kiro-cli in the sandbox: where, which version, scripted or not."""
    from pytest_kiro.kirocli.install import install
    from pytest_kiro.plugin.setting_up import InFewWords

    what = pytestconfig.stash[STATE].keeper.cli(isolated=kiro_sandbox.isolated)
    with InFewWords(pytestconfig):
        return install(kiro_sandbox, what, timeout=kiro_settings.setup_timeout, version=kiro_settings.cli_version)


@pytest.fixture(scope="session")
def kiro_login(
    pytestconfig: pytest.Config, kiro_settings: Settings, kiro_sandbox: Sandbox, kiro_cli: Installation
) -> Identity:
    """Who is logged in, and how."""
    from pytest_kiro.login.login import login
    from pytest_kiro.plugin.setting_up import InFewWords, login_means

    means, scripted = login_means(pytestconfig.stash[STATE]), kiro_settings.replies == "scenario"
    with InFewWords(pytestconfig):
        return login(kiro_sandbox, kiro_cli, kiro_settings.login, means, scripted=scripted)


@pytest.fixture(scope="session")
def kiro(request: pytest.FixtureRequest) -> Iterator[Kiro]:
    """Kiro, installed, logged in, ready: every test starts clean on it, in a workspace of its own."""
    from pytest_kiro.agent.bench import Bench
    from pytest_kiro.agent.kiro import Kiro
    from pytest_kiro.plugin.setting_up import InFewWords

    # Asked for here and not as arguments: pytest resolves those anew for every test, and with six more names
    # collecting 2,000 evals took 1.35 times the instructions instead of 1.1 (benchmarks/collection.py).
    kiro_settings: Settings = request.getfixturevalue("kiro_settings")
    kiro_sandbox: Sandbox = request.getfixturevalue("kiro_sandbox")
    kiro_cli: Installation = request.getfixturevalue("kiro_cli")
    kiro_login: Identity = request.getfixturevalue("kiro_login")
    state = request.config.stash[STATE]
    with InFewWords(request.config):
        bench = Bench.set_up(
            kiro_sandbox,
            kiro_cli,
            kiro_login,
            kiro_settings,
            budget=state.budget,
            secrets=state.secrets,
            observers=state.observers,
        )
        kiro = Kiro(bench, state.ownership.current)
    with closing(kiro):
        yield kiro
