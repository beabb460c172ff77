"""pytest's entry: options, hooks, fixtures. It translates, it does not decide.

Every pytest run of the environment imports this; what only evals need is imported when the first one is collected.
"""

# The order of our hooks, where it matters. `Ownership` and `Hooks` are registered after the conftests, `Report` and
# `Hiding` when the first eval is collected: pytest calls first what is registered last.
#
# hook                  first of all                                   last of all
# configure                                                            here: conftests may register providers
# sessionstart          Hooks: results file, secrets (xdist's workers  ·
#                       start later)
# runtest_setup         Report: attempt · Ownership                    ·
# runtest_teardown      Ownership, around all                          ·
# fixture_setup         ·                                              Report: progress, innermost (--setup-show)
# makereport            ·                                              Hiding, innermost: others' wrappers see no secret
# collect reports       ·                                              Hiding, innermost
# logreport, warnings   Hiding, around all                             ·
# sessionfinish         Hiding, around all: files are written          Report, innermost: sandboxes are closed before
#                                                                      the summary counts them
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
from pytest_kiro.settings.rows import TABLE

if TYPE_CHECKING:
    from pytest_kiro.plugin.hiding import Hiding
    from pytest_kiro.plugin.state import Node

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
    config.pluginmanager.register(state.ownership, "kiro-ownership")
    config.pluginmanager.register(Hooks(state), "kiro-hooks")


def pytest_kiro_register_providers(register: Callable[..., None]) -> None:
    from pytest_kiro.plugin.providers import register_built_in

    register_built_in(register)


def pytest_kiro_device_code(config: pytest.Config, url: str) -> None:
    if config.stash[STATE].settings.open_browser:
        from pytest_kiro.login.device import open_browser

        open_browser(url)


def pytest_sessionfinish(session: pytest.Session) -> None:
    state = session.config.stash[STATE]
    if not state.awake:
        state.tell_controller("kiro_tally", {})  # so that it does not look for what this worker left


def pytest_unconfigure(config: pytest.Config) -> None:
    if (state := config.stash.get(STATE, None)) and state.awake:
        state.leave()  # a session that never started has had no end


class Hooks:
    """Hooks that come before all others, since this is registered last."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._hiding: Hiding | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        if self._state.knows_secrets:
            self._hide()
        # Historic: a conftest that is found later is asked when it is found, and each only once.
        asked: Any = session.config.hook.pytest_kiro_secrets
        asked.call_historic(lambda answer: self._hide().take(answer), kwargs={"config": session.config})
        if self._state.configured and self._state.settings.results is not None:
            self._wake()

    def pytest_collection_modifyitems(self, config: pytest.Config, items: Sequence[pytest.Item]) -> None:
        if getattr(config.option, "verbose", 0) > 0 or any(
            is_eval(item) or item.get_closest_marker("kiro") for item in items
        ):
            self._wake()
            from pytest_kiro.plugin.naming import wrong_mark

            if wrong := wrong_mark(items):
                raise self._state.usage_error(wrong)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Node) -> None:
        """Tell a worker its run. By it the controller removes what a dead worker leaves."""
        self._wake()
        node.workerinput["kiro_run_id"] = self._state.run_id
        self._state.nodes.append(node)
        self._state.stop_gently()  # from the first worker on there may be sandboxes

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
        if fixturedef.argname in EVAL_FIXTURES:
            self._wake()  # by `getfixturevalue`, which nothing tells before
            self._state.stop_gently()  # from now on there may be a sandbox, of whatever maker
        return (yield)

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
        if not self._state.awake:
            from pytest_kiro.plugin.reporting import Report

            self._state.awake = True
            self._hide()
            Report(self._state).begin()

    def _hide(self) -> Hiding:
        """Keep secrets out of what is shown from now on; idempotent."""
        if self._hiding is None:
            from pytest_kiro.plugin.hiding import Hiding

            self._hiding = Hiding(self._state)
            self._hiding.begin()
        return self._hiding
