"""pytest entry: options, markers, hooks. It translates, it does not decide."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from pytest_kiro.errors import HIDE_FRAMES, SettingsError
from pytest_kiro.plugin.fixtures import (  # noqa: F401 - pytest finds fixtures in the module of the plugin
    kiro,
    kiro_cli,
    kiro_login,
    kiro_run_args,
    kiro_sandbox,
    kiro_sandbox_args,
    kiro_settings,
)
from pytest_kiro.plugin.state import EXCHANGE, OWNERS, SESSION, exchange_of, stop_gently
from pytest_kiro.run.keeper import KiroSession
from pytest_kiro.run.providers import Registered, built_in
from pytest_kiro.secrecy.redaction import Secrets
from pytest_kiro.settings import conflicts, table
from pytest_kiro.settings.waits import Waits

if TYPE_CHECKING:
    from pytest_kiro.sandbox.protocol import Provider
    from pytest_kiro.settings.table import Settings

__tracebackhide__ = HIDE_FRAMES
_MARKER = (
    "kiro(*, workspace=None, agent=None, model=None, effort=None, timeout=None, trust=None, env=None): "
    "how Kiro runs in this test; workspace is a folder beside the test's file with which the workspace is seeded."
)


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
    def snapshot_lines(settings: Settings) -> Sequence[str]:
        from pytest_kiro.kirocli import official

        return official.snapshot_lines(settings)

    for name, (make, isolated) in built_in(snapshot_lines).items():
        register(name, make, isolated=isolated)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell an xdist worker which run it belongs to: the controller clears away what a dead one leaves."""
    node.workerinput["kiro_run_id"] = node.config.stash[SESSION].settings.run_id
    stop_gently(node.config)


@pytest.hookimpl(wrapper=True, trylast=True)  # inside of whoever tells the results, outside of the last teardowns
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Generator[None, None, None]:
    """Remove what is left of the run, before the summary counts it: a dead or slow worker may have left something."""
    own, report = session.config.stash[SESSION], session.config.pluginmanager.getplugin("kiro-report")
    is_controller = session.config.pluginmanager.hasplugin("dsession")  # which has to end its workers all the same
    try:
        if is_controller or not own.leaving:
            yield
    except KeyboardInterrupt:
        session.exitstatus = pytest.ExitCode.INTERRUPTED
    report.gather()
    try:
        _close(session.config)
    except KeyboardInterrupt:
        session.exitstatus = pytest.ExitCode.INTERRUPTED
        _close(session.config)  # unless it was the second one
    if own.leaving:
        pytest.exit(_LEFT_AT_ONCE, returncode=pytest.ExitCode.INTERRUPTED)


def pytest_kiro_device_code(config: pytest.Config, url: str) -> None:
    if config.stash[SESSION].settings.open_browser == "on":
        from pytest_kiro.login.box import open_browser

        open_browser(url)


def pytest_unconfigure(config: pytest.Config) -> None:
    if exchange := config.stash.get(EXCHANGE, None):
        exchange.close()
    _close(config)  # a session that never started has no end


def _close(config: pytest.Config) -> None:
    session = config.stash.get(SESSION, None)
    if session is not None and not hasattr(config, "workerinput"):
        if session.used and not session.leaving:
            exchange_of(config).remove()
        session.close()


_LEFT_AT_ONCE = (
    "told to stop twice, so sandboxes were not waited for: a remote one ends by itself when its time to live is over, "
    "a local one is removed by the next run"
)
