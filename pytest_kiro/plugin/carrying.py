"""Keeps records of turns, carries them on reports, and gathers them."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, cast
from weakref import WeakKeyDictionary

import pytest

from pytest_kiro.errors import BudgetExceeded, LaunchError, SettingsError, SetupError
from pytest_kiro.records.plain import cut, cut_field
from pytest_kiro.records.tests import CollectionError, Gathered, PhaseOutcome, PhaseRecord, ReportRecord
from pytest_kiro.records.turns import TEXT, OwnerRecord, TurnRecord, credits_of
from pytest_kiro.turn.turn import TurnError

if TYPE_CHECKING:
    from pytest_kiro.agent.bench import Conversing, Owner
    from pytest_kiro.plugin.state import State
    from pytest_kiro.records.run import ResultsFile
    from pytest_kiro.turn.turn import Turn

#: The attribute of a report that carries its `ReportRecord`, as JSON.
CARRIED = "kiro"
#: Characters that are kept of a failure's message.
_MESSAGE = 16_384
_INTERNAL_ERROR = 3
#: The property of JUnit files.
_CREDITS = "kiro_credits"


class TurnObserver:
    """Keeps the records of turns that no report has carried yet; one that goes on meanwhile is carried twice."""

    def __init__(self, state: State) -> None:
        self._hook, self._secrets = state.config.hook, state.secrets
        #: By the name of a test, which attempt at it runs.
        self.attempts: Counter[str] = Counter()
        self._serial = 0
        #: By their numbers, the records that no report has carried.
        self.unsent: dict[int, TurnRecord] = {}
        self._latest: WeakKeyDictionary[Conversing, TurnRecord] = WeakKeyDictionary()
        self._owners: WeakKeyDictionary[Owner, int] = WeakKeyDictionary()

    def carried(self, nodeid: str = "", error: BaseException | None = None) -> ReportRecord:
        """Return what a test's or worker's report carries. The turns in it are forgotten."""
        turns = tuple(self.unsent.values())
        self.unsent.clear()
        return ReportRecord(
            attempt=self.attempts[nodeid] or 1,
            infrastructure=_is_infrastructure(error),
            refused=isinstance(error, BudgetExceeded),
            turns=turns,
        )

    def started(self, conversation: Conversing, prompt: str) -> None:
        if conversation.retried and not conversation.turns:  # the latest turn is run again
            self._keep(conversation, replace(self._latest[conversation], retried=True))
        bench, owner = conversation.bench, conversation.owner
        self._serial += 1
        record = TurnRecord(
            **cut_field("prompt", self._secrets(prompt), TEXT),
            attempt=self.attempts[owner.name] or 1,
            conversation=owner.conversations.index(conversation) + 1,
            engine=bench.engine.name,
            version=bench.installation.version,
            scripted=bench.scripted,
            owner=OwnerRecord(
                name=owner.name,
                worker=bench.settings.worker,
                number=self._owners.setdefault(owner, len(self._owners) + 1),
                wide=owner.wide,
                file=str(owner.file),
            ),
            serial=self._serial,
            stand_in=bench.installation.scripted,
            login=bench.identity.described,
        )
        self._keep(conversation, record)
        self._hook.pytest_kiro_turn_started(kiro=conversation.kiro, prompt=prompt)

    def printed(self, conversation: Conversing, text: str) -> None:
        pass

    def finished(self, conversation: Conversing, turn: Turn) -> None:
        self._keep(conversation, self._latest[conversation].ended(turn))
        self._hook.pytest_kiro_turn_finished(kiro=conversation.kiro, turn=turn)

    def _keep(self, conversation: Conversing, record: TurnRecord) -> None:
        self._latest[conversation] = self.unsent[record.serial] = record


class TestListener:
    """A plugin object of the controller; without a results file it keeps the records of evals only."""

    def __init__(self, state: State) -> None:
        self._state, self.gathered = state, Gathered()
        #: How many workers died.
        self.died = 0
        self._results: ResultsFile | None = None
        self._session: pytest.Session | None = None
        self._interrupted = False

    def begin(self) -> None:
        """Listen from now on; `UsageError` where the results cannot be written."""
        self._state.config.pluginmanager.register(self, "kiro-listener")
        if file := self._state.settings.results:
            from pytest_kiro.records.run import ResultsFile

            self._results = ResultsFile(self._state.config.invocation_params.dir / Path(file).expanduser())
            try:
                self._results.check()
            except SettingsError as error:
                raise pytest.UsageError(str(error)) from None

    def pytest_collection(self, session: pytest.Session) -> None:
        """Only a run comes here; what lists fixtures or the cache does not."""
        option = session.config.option
        if not (option.collectonly or getattr(option, "setupplan", False)):
            self._session = session

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            error = CollectionError(nodeid=report.nodeid, message=cut(_message(report), _MESSAGE)[0])
            self.gathered.collection_errors.append(error)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        if self._keeps(nodeid):
            self.gathered.test_started(nodeid)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        if self._keeps(nodeid):
            self.gathered.test_finished(nodeid)

    def hear(self, report: pytest.TestReport) -> ReportRecord | None:
        """Gather what a test's report says, and return what it carries."""
        carried = carried_by(vars(report).get(CARRIED))
        if carried or self._keeps(report.nodeid):
            node = getattr(report, "node", None)  # a crash has no more than the worker that it is of
            worker = getattr(report, "worker_id", None) or (node and node.gateway.id)
            self.gathered.phase(report.nodeid, _phase(report), carried, worker)
        return carried

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Ctrl-C, a signal or `pytest.exit`; but not what pytest and xdist themselves end a run by, as after -x."""
        self._interrupted = type(excinfo.value) is KeyboardInterrupt or excinfo.typename == "Exit"

    def write(self) -> None:
        """Write the results file, if anything was to be run; where that fails, it becomes pytest's exit status."""
        if self._results is None or self._session is None:
            return
        from pytest_kiro.records.run import RunEnd, RunRecord

        version = "unknown"  # when run from its sources
        with suppress(metadata.PackageNotFoundError):
            version = metadata.version("pytest-kiro")
        end = RunEnd(
            exit_status=int(self._session.exitstatus),
            interrupted=self._interrupted,
            collected=self._session.testscollected,
            workers=len(self._state.nodes),
            workers_died=self.died,
            pytest=pytest.__version__,
            pytest_kiro=version,
        )
        try:
            self._results.write(RunRecord.of(self._state.settings, self.gathered, end), self._state.secrets)
        except OSError as error:
            sys.stderr.write(f"--kiro-results={error.filename2 or error.filename} could not be written: {error}\n")
            self._session.exitstatus = _INTERNAL_ERROR

    def _keeps(self, nodeid: str) -> bool:
        return self._results is not None or nodeid in self.gathered


# -- JUnit files


def note(places: Iterable[list[tuple[str, object]]], turns: Sequence[TurnRecord]) -> None:
    """Add to a test's properties who answered, and what its turns cost.

    A wide fixture's turns are no single test's: their cost is in the whole run's.

    >>> properties = [("kiro_credits", 0.5)]
    >>> note([properties], [TurnRecord(credits=0.25)])
    >>> properties
    [('kiro_credits', 0.75)]
    """
    spent = credits_of([turn for turn in turns if not turn.owner.wide])
    scripted = next((turn for turn in turns if turn.scripted), None)
    for properties in places:
        fresh: dict[str, object] = {}
        if scripted:
            fresh["kiro"] = f"scripted: {'the stand-in' if scripted.stand_in else 'a scenario'} answered"
        if spent is not None:
            fresh[_CREDITS] = round(spent + float(str(dict(properties).get(_CREDITS, 0))), 6)
        properties[:] = [(name, value) for name, value in properties if name not in fresh]
        properties.extend(fresh.items())


def note_run(plugins: Iterable[object], turns: Sequence[TurnRecord]) -> None:
    """Add the whole run's metered cost before the file is written."""
    spent = credits_of(turns)
    for plugin in plugins:
        add = getattr(plugin, "add_global_property", None)  # of pytest's own JUnit plugin, which has no name
        if add and spent is not None:
            add(_CREDITS, str(spent))


# -- reports


def carried_by(text: str | None) -> ReportRecord | None:
    """Return what a report, or a worker's last word, carries."""
    return None if text is None else ReportRecord.from_json(json.loads(text))


def _phase(report: pytest.TestReport) -> PhaseRecord:
    outcome: str = report.outcome
    if hasattr(report, "wasxfail"):
        outcome = {"skipped": "xfailed", "passed": "xpassed"}.get(outcome, outcome)
    return PhaseRecord(
        name=report.when if report.when in ("setup", "call", "teardown") else "crash",
        outcome=cast(PhaseOutcome, outcome),
        duration=float(report.duration),
        **cut_field("message", _message(report), _MESSAGE),
    )


def _message(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return what a failure or a skip says, without its traceback."""
    if report.longrepr is None:
        return ""
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash is not None else report.longrepr)


def _is_infrastructure(error: BaseException | None) -> bool:
    """Whether an error blames the world. Then nothing was learnt about the agent."""
    return error.infrastructure if isinstance(error, TurnError) else isinstance(error, SetupError | LaunchError)
