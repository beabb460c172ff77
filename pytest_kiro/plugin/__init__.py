"""pytest's entry: options, hooks, fixtures. It translates, it does not decide.

Every pytest run of the environment imports this; what only evals need is imported when the first one is collected.
"""

# The order of our hooks, where it matters. `Hooks` is registered after the conftests, `Report` and `Hiding` when the
# first eval is collected: pytest calls first what is registered last.
#
# hook                  first of all                                   last of all
# configure                                                            here: conftests may register providers
# sessionstart          Hooks: results file, secrets (xdist's workers  ·
#                       start later)
# runtest_setup         Hooks: owner · Report: attempt                 ·
# runtest_teardown      Hooks, around all                              ·
# fixture_setup         ·                                              Report: progress, innermost (--setup-show)
# makereport            ·                                              Hiding, innermost: others' wrappers see no secret
# collect reports       ·                                              Hiding, innermost
# logreport, warnings   Hiding, around all                             ·
# sessionfinish         Hiding, around all: files are written ·        here, innermost: sandboxes are closed before the
#                       Report: the JUnit file's numbers               summary counts them
# unconfigure           Report: a summary that was not said            here: sandboxes of a session that had no end

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from pytest_kiro.plugin.fixtures import (  # noqa: F401 - pytest finds fixtures in the module of the plugin
    kiro,
    kiro_cli,
    kiro_login,
    kiro_run_args,
    kiro_sandbox,
    kiro_sandbox_args,
    kiro_settings,
)
from pytest_kiro.plugin.owners import EVAL_FIXTURES, is_eval
from pytest_kiro.plugin.state import STATE, State
from pytest_kiro.plugin.state import WAITS as WAITS  # named so by who waits less
from pytest_kiro.plugin.xdist import tell_controller
from pytest_kiro.settings.rows import TABLE

if TYPE_CHECKING:
    from pytest_kiro.plugin.hiding import Hiding
    from pytest_kiro.plugin.xdist import Node

_MARKER = (
    "kiro(*, workspace=None, agent=None, model=None, effort=None, timeout=None, trust=None, env=None): "
    "how Kiro runs in this test; workspace is a folder beside the test's file with which the workspace is seeded."
)


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
    config.addinivalue_line("markers", _MARKER)
    state = State(config)
    state.check()
    config.stash[STATE] = state
    config.pluginmanager.register(Hooks(state), "kiro-hooks")


def pytest_kiro_register_providers(register: Callable[..., None]) -> None:
    from pytest_kiro.plugin.configuration import register_built_in

    register_built_in(register)


def pytest_kiro_device_code(config: pytest.Config, url: str) -> None:
    if config.stash[STATE].settings.open_browser:
        from pytest_kiro.login.device import open_browser

        open_browser(url)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, None, None]:
    state = session.config.stash[STATE]
    if not state.awake:
        tell_controller(session.config, "kiro_tally", {})  # so that it does not look for what this worker left
        return (yield)
    from pytest_kiro.plugin.ending import end

    return (yield from end(session, state))


def pytest_unconfigure(config: pytest.Config) -> None:
    if (state := config.stash.get(STATE, None)) and state.awake:
        state.leave()
        state.close()  # a session that never started has no end


class Hooks:
    """Hooks that come before all others, since this is registered last."""

    def __init__(self, state: State) -> None:
        self._state, self._ownership = state, state.ownership
        self._hiding: Hiding | None = None

    # -- what begins

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        if self._state.knows_secrets:
            self._hide()
        # Historic: a conftest that is found later is asked when it is found, and each only once.
        asked: Any = session.config.hook.pytest_kiro_secrets
        asked.call_historic(result_callback=self._take_secrets, kwargs={"config": session.config})
        if self._state.configured and self._state.settings.results is not None:
            self._wake()

    def pytest_collection_modifyitems(self, config: pytest.Config, items: Sequence[pytest.Item]) -> None:
        if getattr(config.option, "verbose", 0) > 0 or any(
            is_eval(item) or item.get_closest_marker("kiro") for item in items
        ):
            self._wake()
            from pytest_kiro.plugin.naming import check_markers

            check_markers(config, items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Node) -> None:
        """Tell a worker its run. By it the controller removes what a dead worker leaves."""
        self._wake()
        node.workerinput["kiro_run_id"] = self._state.run_id
        self._state.nodes.append(node)
        self._state.stop_gently()  # from the first worker on there may be sandboxes

    # -- whose turn it is

    @pytest.hookimpl(tryfirst=True)  # inside of everybody's wrappers, which a refusal must not skip
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self._ownership.begin_test(item)
        if "kiro" in getattr(item, "fixturenames", ()):
            from pytest_kiro.plugin.naming import refuse_second_sandbox

            refuse_second_sandbox(item)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        self._ownership.call_test(item)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, None, None]:
        try:
            return (yield)
        finally:
            self._ownership.end_test(item)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, Any, Any]:
        if fixturedef.argname in EVAL_FIXTURES:
            self._wake()  # by `getfixturevalue`, which nothing tells before
            self._state.stop_gently()  # from now on there may be a sandbox, of whatever maker
        if fixturedef.scope == "function":
            return (yield)  # the test's own
        with self._ownership.fixture(fixturedef, request):
            return (yield)

    # -- what is said

    def pytest_assertrepr_compare(
        self, config: pytest.Config, op: str, left: object, right: object
    ) -> list[str] | None:
        if "pytest_kiro.turn" not in sys.modules:  # so neither is one of our values
            return None
        from pytest_kiro.report.explain import explain

        verbose = hasattr(config.option, "verbose") and config.get_verbosity(pytest.Config.VERBOSITY_ASSERTIONS) > 1
        return explain(op, left, right, full=verbose)

    # -- what only evals need

    def _wake(self) -> None:
        """Import and register what only evals need; idempotent."""
        if self._state.awake:
            return
        from pytest_kiro.plugin.reporting import Report

        self._state.awake = True
        report = Report(self._state)
        self._state.config.pluginmanager.register(report, "kiro-report")
        self._hide()
        report.begin()

    def _hide(self) -> Hiding:
        """Keep secrets out of what is shown from now on; idempotent."""
        if self._hiding is None:
            from pytest_kiro.plugin.hiding import Hiding

            self._hiding = Hiding(self._state.config, self._state.secrets)
            self._state.config.pluginmanager.register(self._hiding, "kiro-hiding")
            self._hiding.begin()
        return self._hiding

    def _take_secrets(self, answer: object) -> None:
        self._hide().take(answer)
