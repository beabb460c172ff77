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
# generate_tests        ·                                              here: the trial is last in a test's name
# modifyitems           Hooks, around all: marks are checked before    Hooks: trials are put in order, whatever
#                       -k leaves tests out                            shuffled them
# runtest_setup         TrialRuns: not needed · Report: attempt ·      ·
#                       Ownership
# runtest_teardown      Ownership, around all                          ·
# fixture_setup         ·                                              Report: progress, innermost (--setup-show)
# makereport            TrialRuns, outermost: a trial's outcome        Hiding, innermost: others' wrappers see no secret
# collect reports       ·                                              Hiding, innermost
# logreport, warnings   Hiding, around all                             Verdicts: when a test has been gathered
# sessionfinish         Hiding, around all: files are written          Report, innermost: sandboxes are closed before
#                                                                      the summary counts them
# unconfigure           Report: a summary that was not said            here: sandboxes of a session that had no end

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from pytest_kiro.errors import HIDE_FRAMES
from pytest_kiro.plugin.owners import EVAL_FIXTURES, is_eval
from pytest_kiro.plugin.state import STATE, TALLY, State
from pytest_kiro.plugin.state import WAITS as WAITS  # named so by who waits less
from pytest_kiro.settings.rows import TABLE

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_kiro.agent.kiro import Kiro
    from pytest_kiro.kirocli.install import Installation
    from pytest_kiro.login.login import Identity
    from pytest_kiro.plugin.hiding import Hiding
    from pytest_kiro.plugin.state import Node
    from pytest_kiro.sandbox.protocol import Sandbox
    from pytest_kiro.settings.table import Settings

__tracebackhide__ = HIDE_FRAMES

#: Names of folders that may hold what agents left.
_KEPT = re.compile(r"files|latest|\d{8}-\d{6}-\w+")
_MARKERS = (
    "kiro(*, workspace=None, agent=None, model=None, effort=None, timeout=None, trust=None, env=None, memory=None, "
    "ignore=None, budget=None, max_turns=None, max_calls=None, version=None, kiro_id=None): "
    "how Kiro runs in this test; workspace is a folder beside its file with its seed, kiro_id its name for other runs.",
    "kiro_trials(n, *, pass_rate=1.0, gate='point', all_of=1, any_of=1): "
    "run this test n times; its verdict is whether the share of them that passed reaches pass_rate.",
    "kiro_compare(parameter, *, baseline, min_effect=0.1): "
    "compare the variants of a parameter of mark.parametrize with the one whose id is the baseline.",
    "kiro_selfcheck(*, allow, reason): what --kiro-selfcheck alters, and this test need not notice.",
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
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)
    state = State(config)
    state.check()
    config.stash[STATE] = state
    config.pluginmanager.register(state.ownership, "kiro-ownership")
    config.pluginmanager.register(Hooks(state), "kiro-hooks")


def pytest_kiro_register_providers(register: Callable[..., None]) -> None:
    from pytest_kiro.run.keeper import built_in

    def snapshot_lines(settings: Settings) -> Sequence[str]:
        from pytest_kiro.kirocli import official

        return official.snapshot_lines(settings)

    def service_hosts() -> Sequence[str]:
        from pytest_kiro.kirocli import official

        return official.SERVICE_HOSTS

    for name, (make, isolated) in built_in(snapshot_lines, service_hosts).items():
        register(name, make, isolated=isolated)


def pytest_kiro_device_code(config: pytest.Config, url: str) -> None:
    if config.stash[STATE].settings.open_browser:
        from pytest_kiro.login.device import open_browser

        open_browser(url)


def pytest_sessionfinish(session: pytest.Session) -> None:
    state = session.config.stash[STATE]
    if not state.awake:
        state.tell_controller(TALLY, {})  # so that it does not look for what this worker left


def pytest_unconfigure(config: pytest.Config) -> None:
    if (state := config.stash.get(STATE, None)) and state.awake:
        state.leave()  # a session that never started has had no end


@pytest.hookimpl(tryfirst=True)
def pytest_ignore_collect(collection_path: Path) -> bool | None:
    # Collecting is executing, outside of any sandbox: no conftest.py and no test that an agent wrote may be.
    if not _KEPT.fullmatch(collection_path.name):
        return None
    from pytest_kiro.plugin.not_collected import holds_agents_files

    return holds_agents_files(collection_path) or None


@pytest.hookimpl(trylast=True)  # so that the trial comes last in a test's name
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kiro_trial" in metafunc.fixturenames:
        from pytest_kiro.plugin import collecting

        collecting.make(metafunc, metafunc.config.stash[STATE])


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
        if self._state.configured and (
            self._state.settings.results or self._state.settings.report or self._state.settings.more
        ):
            self._wake()  # files that cannot be read or written are told before anything else

    @pytest.hookimpl(wrapper=True, tryfirst=True)  # before -k leaves tests out, and after what shuffles them
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> Generator[None, None, None]:
        if not getattr(config.option, "verbose", 0) > 0 and not any(
            is_eval(item) or any(map(item.get_closest_marker, ("kiro", "kiro_trials", "kiro_compare")))
            for item in items
        ):
            return (yield)
        self._wake()
        from pytest_kiro.plugin import collecting

        collecting.begin(items, self._state)
        result = yield
        collecting.end(items, self._state)
        return result

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Node) -> None:
        """Tell a worker its run. By it the controller removes what a dead worker leaves."""
        self._wake()
        told = {"kiro_run_id": self._state.run_id, "kiro_shows_turns": self._state.shows_turns}
        node.workerinput |= {**told, "kiro_dist": node.config.getoption("dist")}
        node.workerinput["kiro_artifacts"] = str(self._state.artifacts.path)
        self._state.nodes.append(node)
        self._state.stop_gently()  # from the first worker on there may be sandboxes

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
        if fixturedef.argname in EVAL_FIXTURES or fixturedef.argname == "kiro_artifacts":
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


# -- the fixtures; `pytest --setup-show` tells: kiro_settings → kiro_sandbox → kiro_cli → kiro_login → kiro


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
    """How turns are run here: agent, model, effort, timeout, trust, env, memory; override it per folder."""
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
def kiro_cli(request: pytest.FixtureRequest, kiro_settings: Settings, kiro_sandbox: Sandbox) -> Installation:
    """The kiro-cli in the sandbox: where, which version, scripted or not."""
    from pytest_kiro.plugin.setting_up import InFewWords, installed

    with InFewWords(request.config):
        return installed(request, request.config.stash[STATE], kiro_sandbox)


@pytest.fixture(scope="session")
def kiro_login(
    pytestconfig: pytest.Config, kiro_settings: Settings, kiro_sandbox: Sandbox, kiro_cli: Installation
) -> Identity:
    """Who is logged in, and how."""
    from pytest_kiro.plugin.setting_up import InFewWords, logged_in

    with InFewWords(pytestconfig):
        return logged_in(pytestconfig.stash[STATE], kiro_sandbox, kiro_cli)


@pytest.fixture
def kiro_artifacts(request: pytest.FixtureRequest) -> Path:
    """The folder of this test's artifacts: what it puts there is kept, also when it passes."""
    from pytest_kiro.plugin.artifacts import folder_for

    return folder_for(request)


@pytest.fixture(scope="session")
def kiro_trial(request: pytest.FixtureRequest) -> int:
    """Which trial of its test this is, from 1; 1 without `mark.kiro_trials`."""
    number = getattr(request, "param", 1)
    request.config.stash[STATE].variant = getattr(number, "variant", None)
    return int(number)


@pytest.fixture(scope="session")
def kiro(request: pytest.FixtureRequest, kiro_trial: int) -> Iterator[Kiro]:
    """Kiro, installed, logged in, ready: every test starts clean on it, in a workspace of its own."""
    from pytest_kiro.agent.kiro import Kiro
    from pytest_kiro.plugin.setting_up import InFewWords, bench_on

    # Not as arguments: with six more names, collecting 2,000 evals took 1.35 times the instructions, not 1.1.
    parts = [request.getfixturevalue(name) for name in ("kiro_sandbox", "kiro_cli", "kiro_login")]
    state = request.config.stash[STATE]
    with InFewWords(request.config):
        kiro = Kiro(bench_on(state, *parts), state.ownership.current)
    with closing(kiro):
        yield kiro
