"""pytest entry: options, markers, fixtures. It translates, it does not decide.

The story that `pytest --setup-show` tells: kiro_settings → kiro_sandbox → kiro_cli → kiro_login → kiro.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest

from pytest_kiro import settings as table
from pytest_kiro.errors import SettingsError, SetupError
from pytest_kiro.session import KiroSession, Registered

if TYPE_CHECKING:
    from types import FrameType

    from pytest_kiro.agent.kiro import Kiro
    from pytest_kiro.cli.install import Installation
    from pytest_kiro.cli.login import Identity
    from pytest_kiro.sandbox.protocol import Provider, Sandbox
    from pytest_kiro.settings import Settings

_MARKER = (
    "kiro(*, workspace=None, agent=None, model=None, effort=None, timeout=None, trust=None, env=None): "
    "how Kiro runs in this test; workspace is a folder beside the test's file with which the workspace is seeded."
)


SESSION = pytest.StashKey[KiroSession]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("kiro", "evaluating AWS Kiro's agent")
    for row in table.TABLE:
        default = row.shown_default or row.default
        text = f"{row.help} (default: {default}; ini {row.ini}; {row.variable})"
        group.addoption(row.option, dest=row.ini, metavar=row.metavar, default=None, help=text)
        parser.addini(row.ini, text, default=None)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    from pytest_kiro import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(trylast=True)  # after the conftests, which may register providers
def pytest_configure(config: pytest.Config) -> None:
    from pytest_kiro.agent.plugin import Ownership
    from pytest_kiro.report.plugin import Report

    config.addinivalue_line("markers", _MARKER)
    try:
        settings = _read_settings(config)
        session = KiroSession(settings, _registered(config, settings.sandbox))
    except SettingsError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[SESSION] = session
    config.pluginmanager.register(Ownership(session.owners), "kiro-ownership")
    config.pluginmanager.register(Report(config, session), "kiro-report")


def _read_settings(config: pytest.Config) -> Settings:
    # pytest only warns of an unknown key, and has no public way to ask for them.
    table.refuse_unknown_ini(getattr(config, "_get_unknown_ini_keys", list)())
    worker: dict[str, Any] = getattr(config, "workerinput", {})
    return table.read(
        option=lambda name: config.getoption(f"kiro_{name}"),
        environ=os.environ,
        ini=lambda name: config.getini(name),
        run_id=worker.get("kiro_run_id") or uuid.uuid4().hex,
        worker=worker.get("workerid", "main"),
    )


def _registered(config: pytest.Config, name: str) -> Registered:
    known: dict[str, Registered] = {}

    def register(name: str, make: Callable[[Settings], Provider], *, isolated: bool = True) -> None:
        if name in known:
            raise SettingsError(f"two plugins register a sandbox provider named {name!r}; rename one of them")
        known[name] = Registered(make, isolated)

    config.hook.pytest_kiro_register_providers(register=register)
    if name not in known:
        raise SettingsError(
            f"--kiro-sandbox={name}: no such provider{table.did_you_mean(name, list(known))}; "
            f"known: {', '.join(sorted(known))}; others come from plugins and the rootdir's conftest.py"
        )
    return known[name]


def pytest_kiro_register_providers(register: Callable[..., None]) -> None:
    def local(settings: Settings) -> Provider:
        from pytest_kiro.sandbox.local import LocalProvider

        return LocalProvider(settings)

    register("local", local, isolated=False)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell an xdist worker which run it belongs to: the controller clears away what a dead one leaves."""
    node.workerinput["kiro_run_id"] = node.config.stash[SESSION].settings.run_id
    gently = ExitStack()
    gently.enter_context(_terminated_gently())  # of no effect for the second node
    node.config.add_cleanup(gently.close)


def pytest_unconfigure(config: pytest.Config) -> None:
    session = config.stash.get(SESSION, None)
    if session is not None and session.used and not hasattr(config, "workerinput"):
        session.provider.make(session.settings).close()


# -- fixtures


@pytest.fixture(scope="session")
def kiro_settings(pytestconfig: pytest.Config) -> Settings:
    """The settings of this run, read only."""
    return pytestconfig.stash[SESSION].settings


@pytest.fixture(scope="session")
def kiro_sandbox_args() -> dict[str, Any]:
    """What the sandbox shall be (`SandboxSpec`): env, image, snapshot, resources, labels; override it to say more."""
    return {}


@pytest.fixture(scope="session")
def kiro_run_args() -> dict[str, Any]:
    """How turns are run here: agent, model, effort, timeout, trust, env; override it per folder."""
    return {}


@pytest.fixture(scope="session")
def kiro_sandbox(
    pytestconfig: pytest.Config, kiro_settings: Settings, kiro_sandbox_args: dict[str, Any]
) -> Iterator[Sandbox]:
    """The sandbox of this process; override it at the rootdir to bring your own."""
    if sys.platform not in ("linux", "darwin"):
        raise SetupError(f"pytest-kiro runs on Linux and macOS; this is {sys.platform}; use WSL there")
    from pytest_kiro.sandbox.protocol import SandboxSpec

    if not isinstance(kiro_sandbox_args, dict):
        raise SettingsError(f"the fixture kiro_sandbox_args is {kiro_sandbox_args!r}; wanted: a dict")
    known = [spec.name for spec in fields(SandboxSpec)]
    for name in kiro_sandbox_args:
        if name not in known:
            hint = table.did_you_mean(name, known)
            raise SettingsError(f"kiro_sandbox_args has no key {name!r}{hint}; known: {', '.join(known)}")
    session = pytestconfig.stash[SESSION]
    with _terminated_gently():
        session.used = True
        sandbox = session.provider.make(kiro_settings).create(SandboxSpec(**kiro_sandbox_args))
        session.created += 1
        try:
            _check_isolation(kiro_settings.sandbox, session.provider.isolated, sandbox.isolated)
            pytestconfig.hook.pytest_kiro_sandbox_ready(sandbox=sandbox, settings=kiro_settings)
            yield sandbox
        finally:
            sandbox.close()
            session.deleted += 1


@pytest.fixture(scope="session")
def kiro_cli(pytestconfig: pytest.Config, kiro_settings: Settings, kiro_sandbox: Sandbox) -> Installation:
    """The kiro-cli in the sandbox: where, which version, scripted or not."""
    from pytest_kiro.cli.install import install

    what = pytestconfig.stash[SESSION].cli(isolated=kiro_sandbox.isolated)
    return install(kiro_sandbox, what, timeout=kiro_settings.setup_timeout)


@pytest.fixture(scope="session")
def kiro_login(kiro_settings: Settings, kiro_sandbox: Sandbox, kiro_cli: Installation) -> Identity:
    """Who is logged in, and how."""
    from pytest_kiro.cli import commands
    from pytest_kiro.cli.login import login

    environ = {commands.API_KEY: table.Secret(os.environ.get(commands.API_KEY, ""))}
    timeout = kiro_settings.setup_timeout
    return login(kiro_sandbox, kiro_cli, kiro_settings.login, environ=environ, timeout=timeout)


@pytest.fixture(scope="session")
def kiro(request: pytest.FixtureRequest) -> Iterator[Kiro]:
    """Kiro, installed, logged in, ready: every test starts clean on it, in a workspace of its own."""
    from pytest_kiro.agent.kiro import Kiro

    # Asked for here and not as arguments: pytest resolves those anew for every test, and with six more names
    # collecting 2,000 evals took 1.35 times the instructions instead of 1.1 (benchmarks/collection.py).
    kiro_settings: Settings = request.getfixturevalue("kiro_settings")
    kiro_sandbox: Sandbox = request.getfixturevalue("kiro_sandbox")
    kiro_cli: Installation = request.getfixturevalue("kiro_cli")
    kiro_login: Identity = request.getfixturevalue("kiro_login")
    session = request.config.stash[SESSION]
    observers = tuple(session.observers)
    kiro = Kiro(kiro_sandbox, kiro_cli, kiro_login, kiro_settings, owners=session.owners, observers=observers)
    try:
        with _terminated_gently():  # again, for a sandbox of somebody's own
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


@contextmanager
def _terminated_gently() -> Iterator[None]:
    """Let SIGTERM, and SIGHUP of a closed terminal, end the run as Ctrl-C does: the sandbox is closed."""

    def stop(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second one ends at once
        pytest.exit(f"terminated by {signal.Signals(number).name}; sandboxes are closed", returncode=128 + number)

    ours: list[signal.Signals] = []
    if threading.current_thread() is threading.main_thread():
        ours = [s for s in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(s) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
