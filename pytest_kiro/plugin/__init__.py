"""pytest entry: options, markers, hooks. It translates, it does not decide."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING

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
from pytest_kiro.plugin.state import STATE, State
from pytest_kiro.plugin.state import WAITS as WAITS  # named so by who waits less
from pytest_kiro.plugin.xdist import is_controller
from pytest_kiro.run.providers import built_in
from pytest_kiro.settings.rows import TABLE

if TYPE_CHECKING:
    from pytest_kiro.plugin.reporting import Report
    from pytest_kiro.settings.table import Settings

__tracebackhide__ = HIDE_FRAMES
_MARKER = (
    "kiro(*, workspace=None, agent=None, model=None, effort=None, timeout=None, trust=None, env=None): "
    "how Kiro runs in this test; workspace is a folder beside the test's file with which the workspace is seeded."
)
_REPORT: pytest.StashKey[Report] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("kiro", "evaluating AWS Kiro's agent")
    for row in TABLE:
        text = f"{row.help} (default: {row.shown_default}; ini {row.ini}; {row.variable})"
        group.addoption(row.option, dest=row.ini, default=None, help=text, **row.option_keywords)
        parser.addini(row.ini, text, default=None)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    from pytest_kiro.plugin import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(trylast=True)  # after the conftests, which may register providers
def pytest_configure(config: pytest.Config) -> None:
    from pytest_kiro.plugin.hiding import Hiding
    from pytest_kiro.plugin.owners import Ownership
    from pytest_kiro.plugin.reporting import Report

    config.addinivalue_line("markers", _MARKER)
    state = State(config)
    try:
        _ = state.keeper
    except SettingsError as error:
        raise pytest.UsageError(state.secrets(str(error))) from None
    config.stash[STATE] = state
    config.pluginmanager.register(Ownership(state.owners), "kiro-ownership")
    report = config.stash[_REPORT] = Report(state)
    config.pluginmanager.register(report, "kiro-report")
    config.pluginmanager.register(Hiding(config, state.secrets), "kiro-hiding")


def pytest_kiro_register_providers(register: Callable[..., None]) -> None:
    def snapshot_lines(settings: Settings) -> Sequence[str]:
        from pytest_kiro.kirocli import official

        return official.snapshot_lines(settings)

    for name, (make, isolated) in built_in(snapshot_lines).items():
        register(name, make, isolated=isolated)


@pytest.hookimpl(wrapper=True, trylast=True)  # inside of whoever tells the results, outside of the last teardowns
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Generator[None, None, None]:
    """Remove what is left of the run, before the summary counts it: a dead or slow worker may have left something."""
    state = session.config.stash[STATE]
    try:
        if is_controller(session.config) or not state.stops.leaving:  # it has to end its workers all the same
            yield
    except KeyboardInterrupt:
        session.exitstatus = pytest.ExitCode.INTERRUPTED
    session.config.stash[_REPORT].gather()
    try:
        state.close()
    except KeyboardInterrupt:
        session.exitstatus = pytest.ExitCode.INTERRUPTED
        state.close()  # unless it was the second one
    if state.stops.leaving:
        pytest.exit(_LEFT_AT_ONCE, returncode=pytest.ExitCode.INTERRUPTED)


def pytest_kiro_device_code(config: pytest.Config, url: str) -> None:
    if config.stash[STATE].settings.open_browser:
        from pytest_kiro.login.box import open_browser

        open_browser(url)


def pytest_unconfigure(config: pytest.Config) -> None:
    if state := config.stash.get(STATE, None):
        state.leave()
        state.close()  # a session that never started has no end


_LEFT_AT_ONCE = (
    "told to stop twice, so sandboxes were not waited for: a remote one ends by itself when its time to live is over, "
    "a local one is removed by the next run"
)
