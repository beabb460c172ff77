"""pytest entry: options, markers, fixtures. It translates, it does not decide.

The story that `pytest --setup-show` tells: kiro_settings → kiro_sandbox → kiro_cli → kiro_login → kiro.
"""

from __future__ import annotations

import os
import signal
import sys
import uuid
from collections.abc import Callable, Generator, Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest

from pytest_kiro.errors import HIDE_FRAMES, KiroError, SettingsError, SetupError
from pytest_kiro.run.keeper import KiroSession, Registered, built_in
from pytest_kiro.secrecy.redaction import Secrets
from pytest_kiro.settings import conflicts, table
from pytest_kiro.settings.waits import Waits

if TYPE_CHECKING:
    from pytest_kiro.agent.kiro import Kiro
    from pytest_kiro.kirocli.install import Installation
    from pytest_kiro.login.box import AtTheTerminal
    from pytest_kiro.login.login import Identity
    from pytest_kiro.sandbox.protocol import Provider, Sandbox, SandboxSpec
    from pytest_kiro.settings.table import Settings

__tracebackhide__ = HIDE_FRAMES
_MARKER = (
    "kiro(*, workspace=None, agent=None, model=None, effort=None, timeout=None, trust=None, env=None): "
    "how Kiro runs in this test; workspace is a folder beside the test's file with which the workspace is seeded."
)


SESSION = pytest.StashKey[KiroSession]()
OWNERS = pytest.StashKey[Any]()
#: Put there by a plugin's `pytest_configure`, it is how long this run waits: our own tests are in a hurry.
WAITS = pytest.StashKey[Waits]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("kiro", "evaluating AWS Kiro's agent")
    for row in table.TABLE:
        default = row.shown_default or row.default
        text = f"{row.help} (default: {default}; ini {row.ini}; {row.variable})"
        how: dict[str, Any] = {"metavar": row.metavar} if row.metavar else {"action": "store_const", "const": "on"}
        group.addoption(row.option, dest=row.ini, default=None, help=text, **how)
        parser.addini(row.ini, text, default=None)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    from pytest_kiro.plugin import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(trylast=True)  # after the conftests, which may register providers
def pytest_configure(config: pytest.Config) -> None:
    from pytest_kiro.agent.owner import Owners
    from pytest_kiro.plugin.hiding import Hiding
    from pytest_kiro.plugin.owners import Ownership
    from pytest_kiro.plugin.reporting import Report

    config.addinivalue_line("markers", _MARKER)
    try:
        settings = _read_settings(config)
        session = KiroSession(settings, _registered(config, settings.sandbox))
    except SettingsError as error:
        raise pytest.UsageError(Secrets.of(os.environ)(str(error))) from None
    config.stash[SESSION], config.stash[OWNERS] = session, Owners()
    config.pluginmanager.register(Ownership(config.stash[OWNERS]), "kiro-ownership")
    config.pluginmanager.register(Report(config, session), "kiro-report")
    config.pluginmanager.register(Hiding(config, session.secrets), "kiro-hiding")


def _read_settings(config: pytest.Config) -> Settings:
    # pytest only warns of an unknown key, and has no public way to ask for them.
    table.refuse_unknown_ini(getattr(config, "_get_unknown_ini_keys", list)())
    worker: dict[str, Any] = getattr(config, "workerinput", {})
    settings = table.read(
        option=lambda name: config.getoption(f"kiro_{name}"),
        environ=os.environ,
        ini=lambda name: config.getini(name),
        run_id=worker.get("kiro_run_id") or uuid.uuid4().hex,
        worker=worker.get("workerid", "main"),
        waits=config.stash.get(WAITS, None),
    )
    conflicts.check(settings)
    return settings


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
    for name, (make, isolated) in built_in().items():
        register(name, make, isolated=isolated)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell an xdist worker which run it belongs to: the controller clears away what a dead one leaves."""
    node.workerinput["kiro_run_id"] = node.config.stash[SESSION].settings.run_id
    _stop_gently(node.config)


@pytest.hookimpl(wrapper=True, trylast=True)  # inside of whoever tells the results, outside of the last teardowns
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Generator[None, None, None]:
    """Remove what is left of the run, before the summary counts it: a dead or slow worker may have left something."""
    kiro, report = session.config.stash[SESSION], session.config.pluginmanager.getplugin("kiro-report")
    is_controller = session.config.pluginmanager.hasplugin("dsession")  # which has to end its workers all the same
    try:
        if is_controller or not kiro.leaving:
            yield
    except KeyboardInterrupt:
        session.exitstatus = pytest.ExitCode.INTERRUPTED
    report.gather()
    try:
        _close(session.config)
    except KeyboardInterrupt:
        session.exitstatus = pytest.ExitCode.INTERRUPTED
        _close(session.config)  # unless it was the second one
    if kiro.leaving:
        pytest.exit(_LEFT_AT_ONCE, returncode=pytest.ExitCode.INTERRUPTED)


def pytest_kiro_device_code(config: pytest.Config, url: str) -> None:
    if config.stash[SESSION].settings.open_browser == "on":
        from pytest_kiro.login.box import open_browser

        open_browser(url)


def pytest_unconfigure(config: pytest.Config) -> None:
    if session := config.stash.get(SESSION, None):
        session.leave()
    _close(config)  # a session that never started has no end


def _close(config: pytest.Config) -> None:
    session = config.stash.get(SESSION, None)
    if session is not None and not hasattr(config, "workerinput"):
        session.close()


# -- fixtures


@pytest.fixture(scope="session")
def kiro_settings(pytestconfig: pytest.Config) -> Settings:
    """The settings of this run, read only."""
    return pytestconfig.stash[SESSION].settings


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
    session, spec = pytestconfig.stash[SESSION], _specification(kiro_sandbox_args)
    _stop_gently(pytestconfig)
    if not {"kiro", "kiro_login"}.isdisjoint(request.fixturenames):
        with _InFewWords(pytestconfig):
            session.expect_login(spec, _human(pytestconfig), os.environ)
    with (
        _InFewWords(pytestconfig),
        session.sandbox(spec, failed=lambda: bool(request.session.testsfailed)) as sandbox,
    ):
        _check_isolation(kiro_settings.sandbox, session.provider.isolated, sandbox.isolated)
        pytestconfig.hook.pytest_kiro_sandbox_ready(sandbox=sandbox, settings=kiro_settings)
        yield sandbox


@pytest.fixture(scope="session")
def kiro_cli(pytestconfig: pytest.Config, kiro_settings: Settings, kiro_sandbox: Sandbox) -> Installation:
    """The kiro-cli in the sandbox: where, which version, scripted or not."""
    from pytest_kiro.kirocli.install import install

    what = pytestconfig.stash[SESSION].cli(isolated=kiro_sandbox.isolated)
    with _InFewWords(pytestconfig):
        return install(kiro_sandbox, what, timeout=kiro_settings.setup_timeout, version=kiro_settings.cli_version)


@pytest.fixture(scope="session")
def kiro_login(
    pytestconfig: pytest.Config, kiro_settings: Settings, kiro_sandbox: Sandbox, kiro_cli: Installation
) -> Identity:
    """Who is logged in, and how."""
    from pytest_kiro.login.login import login

    session, settings = pytestconfig.stash[SESSION], kiro_settings
    ways = session.ways(_human(pytestconfig), os.environ)
    _stop_gently(pytestconfig)
    with _InFewWords(pytestconfig):
        return login(kiro_sandbox, kiro_cli, settings.login, ways, scripted=settings.replies == "scenario")


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
    _stop_gently(request.config)  # again, for a sandbox of somebody's own
    with _InFewWords(request.config):
        shared: dict[str, Any] = {
            "owners": request.config.stash[OWNERS],
            "observers": observers,
            "budget": session.budget,
        }
        shared["secrets"] = session.secrets
        kiro = Kiro(kiro_sandbox, kiro_cli, kiro_login, kiro_settings, **shared)
    try:
        yield kiro
    finally:
        kiro.close()


def _human(config: pytest.Config) -> AtTheTerminal:
    from pytest_kiro.login.box import AtTheTerminal

    def tell(url: str, code: str) -> None:
        config.hook.pytest_kiro_device_code(config=config, url=url, code=code)

    return AtTheTerminal(tell=tell, lent=config.pluginmanager.getplugin("kiro-report").progress.lent)


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


def _stop_gently(config: pytest.Config) -> None:
    """From now on, let SIGTERM, and SIGHUP of a closed terminal, end the run as Ctrl-C does: the sandbox is closed."""

    def end(number: signal.Signals) -> None:
        pytest.exit(f"terminated by {number.name}; sandboxes are closed", returncode=128 + number)

    config.add_cleanup(config.stash[SESSION].stop_gently(end))


_LEFT_AT_ONCE = (
    "told to stop twice, so sandboxes were not waited for: a remote one ends by itself when its time to live is over, "
    "a local one is removed by the next run"
)
