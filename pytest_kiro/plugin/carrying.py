"""Keeps records of turns, carries them on reports, and gathers them."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

import pytest

from pytest_kiro.agent.digests import digest
from pytest_kiro.errors import BudgetExceeded, LaunchError, LimitReached, RecordingMiss, SettingsError, SetupError
from pytest_kiro.plugin.failing import TURNS
from pytest_kiro.plugin.state import TALLY
from pytest_kiro.plugin.trials import LOST, TRIAL_FAILED, VERDICT
from pytest_kiro.records.phases import Fault, PhaseOutcome, PhaseRecord
from pytest_kiro.records.plain import cut, cut_field
from pytest_kiro.records.tests import CollectionError, Gathered, ReportRecord
from pytest_kiro.records.turns import (
    TEXT,
    FixtureReference,
    OwnerRecord,
    ProvenanceRecord,
    RecordingKind,
    TurnRecord,
)
from pytest_kiro.turn.turn import TurnError

if TYPE_CHECKING:
    from pytest_kiro.agent.bench import Conversing, Owner
    from pytest_kiro.plugin.github import GitHub
    from pytest_kiro.plugin.page_file import PageFile
    from pytest_kiro.plugin.state import State
    from pytest_kiro.records.groups import ComparisonRecord, GroupRecord
    from pytest_kiro.records.run import ResultsFile
    from pytest_kiro.turn.turn import Turn

#: The attribute of a report that carries its `ReportRecord`, as JSON.
CARRIED = "kiro"
#: Characters that are kept of a failure's message, and of what explains it.
_MESSAGE = _EXPLAINED = 16_384
_INTERNAL_ERROR = 3


class TurnObserver:
    """Keeps the records of turns that no report has carried yet; one that goes on meanwhile is carried twice."""

    def __init__(self, state: State) -> None:
        self._hook, self._secrets, self._worker = state.config.hook, state.secrets, state.worker
        self._records = state.settings.record in ("missing", "all")
        self._keeper = state.keeper
        #: By the name of a test, which attempt at it runs.
        self.attempts: Counter[str] = Counter()
        self._serial = 0
        #: By their numbers, the records that no report has carried.
        self.unsent: dict[int, TurnRecord] = {}
        self._latest: WeakKeyDictionary[Conversing, TurnRecord] = WeakKeyDictionary()
        self._owners: WeakKeyDictionary[Owner, int] = WeakKeyDictionary()

    def carried(self, nodeid: str = "", error: BaseException | None = None, **more: Any) -> ReportRecord:
        """Return what a test's or worker's report carries, with `more` fields. The turns in it are forgotten."""
        turns = tuple(self.unsent.values())
        self.unsent.clear()
        return ReportRecord(
            attempt=self.attempts[nodeid] or 1,
            fault=fault_of(error),
            turns=turns,
            **more,
        )

    def references(self, owners: Iterable[Owner]) -> tuple[FixtureReference, ...]:
        """Return references to the wide fixtures among owners that ran turns."""
        wide = [owner for owner in owners if owner.wide and owner.turns]
        return tuple(FixtureReference(name=one.name, worker=self._worker, number=self._number(one)) for one in wide)

    def latest(self, owners: Iterable[Owner]) -> list[TurnRecord]:
        """Return the last turn of each conversation of the owners."""
        conversations = [conversation for owner in owners for conversation in owner.conversations]
        return [self._latest[conversation] for conversation in conversations if conversation in self._latest]

    def _number(self, owner: Owner) -> int:
        return self._owners.setdefault(owner, len(self._owners) + 1)

    def started(self, conversation: Conversing, prompt: str) -> None:
        if conversation.retried and not conversation.turns:  # the latest turn is run again
            self._keep(conversation, replace(self._latest[conversation], retried=True))
        bench, owner = conversation.bench, conversation.owner
        self._serial += 1
        asked = self._secrets(prompt)
        record = TurnRecord(
            **cut_field("prompt", asked, TEXT),
            prompt_hash=digest(asked),
            sandbox=self._keeper.made_from,
            attempt=self.attempts[owner.name] or 1,
            conversation=owner.conversations.index(conversation) + 1,
            provenance=ProvenanceRecord(engine=bench.engine.name, cli_version=bench.installation.version),
            scripted=bench.scripted,
            owner=OwnerRecord(
                name=owner.name,
                worker=self._worker,
                number=self._number(owner),
                wide=owner.wide,
                trial=owner.trial,
                file=str(owner.file),
            ),
            serial=self._serial,
            stand_in=bench.installation.scripted,
            login=bench.identity.described,
        )
        self._keep(conversation, record)
        self._hook.pytest_kiro_turn_started(kiro=conversation.kiro, prompt=prompt, owner=owner.name)

    def received(self, conversation: Conversing, data: bytes, at: float) -> None:
        pass

    def printed(self, conversation: Conversing, text: str) -> None:
        pass

    def broken_off(self, conversation: Conversing) -> None:
        pass

    def finished(self, conversation: Conversing, turn: Turn) -> None:
        kept = self._records and any(turn is one for one in conversation.turns)
        recording: RecordingKind = "replayed" if turn.provenance.recorded else "recorded" if kept else "none"
        ended = self._latest[conversation].ended(turn)
        self._keep(conversation, replace(ended, recording=recording, seed_hash=conversation.workspace.seed_hash))
        name = conversation.owner.name
        self._hook.pytest_kiro_turn_finished(kiro=conversation.kiro, turn=turn, owner=name)

    def _keep(self, conversation: Conversing, record: TurnRecord) -> None:
        self._latest[conversation] = self.unsent[record.serial] = record


class TestListener:
    """A plugin object of the controller; without a results file it keeps the records of evals only."""

    def __init__(self, state: State) -> None:
        self._state, self.gathered = state, Gathered(state.secrets)
        #: How many workers died.
        self.died = 0
        self._ended = set[str]()
        self._results: ResultsFile | None = None
        self._page: PageFile | None = None
        self._github: GitHub | None = None
        self._evals = False
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
        if self._state.settings.report:
            from pytest_kiro.plugin.page_file import PageFile

            self._page = PageFile.begin(self._state)

        if os.environ.get("GITHUB_ACTIONS") or os.environ.get("GITHUB_STEP_SUMMARY"):
            from pytest_kiro.plugin.github import wanted

            self._github = wanted(self._state)

    def pytest_collection(self, session: pytest.Session) -> None:
        """Only a run comes here; what lists fixtures or the cache does not."""
        option = session.config.option
        if not (option.collectonly or getattr(option, "setupplan", False)):
            self._session = session

    @pytest.hookimpl(tryfirst=True)  # before what runs the tests
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Hear of the run also where listening has begun while collecting."""
        self.pytest_collection(session)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            error = CollectionError(nodeid=report.nodeid, message=cut(_message(report), _MESSAGE)[0])
            self.gathered.collection_errors.append(error)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        if self._keeps(nodeid):
            self.gathered.test_started(nodeid)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._ended.add(nodeid)
        if self._keeps(nodeid):
            self.gathered.test_finished(nodeid)

    @property
    def left(self) -> int:
        """How many tests nobody has run, since workers died for good."""
        return max(0, self._session.testscollected - len(self._ended)) if self.died and self._session else 0

    def judge_left(self) -> None:
        """Make a run fail whose tests were left.

        Trials of workers that died are lost, and so no failures of the run.
        """
        if self._session and self.left and self._session.exitstatus == pytest.ExitCode.OK:
            self._session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def hear(self, report: pytest.TestReport) -> ReportRecord | None:
        """Gather what a test's report says, and return what it carries."""
        carried = carried_by(vars(report).get(CARRIED))
        if report.when not in ("setup", "call", "teardown"):  # its worker died, so that it does not finish
            self._ended.add(report.nodeid)
        if VERDICT not in vars(report) and (carried or self._keeps(report.nodeid)):
            node = getattr(report, "node", None)  # a crash has no more than the worker that it is of
            worker = getattr(report, "worker_id", None) or (node and node.gateway.id)
            self.gathered.phase(report.nodeid, phase_of(report), carried, worker)
        self._evals = self._evals or TALLY in vars(report)
        return carried

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Ctrl-C, a signal or `pytest.exit`; but not what pytest and xdist themselves end a run by, as after -x."""
        self._interrupted = type(excinfo.value) is KeyboardInterrupt or excinfo.typename == "Exit"

    def write(self, groups: Sequence[GroupRecord], comparisons: Sequence[ComparisonRecord]) -> None:
        """Write the files, if anything was to be run; where that fails, it becomes pytest's exit status."""
        github = self._github if self._evals else None
        if self._session is None or not (self._results or self._page or github):
            return
        from pytest_kiro.plugin.growing import growth_of
        from pytest_kiro.records.run import RunEnd, RunRecord, installed_version

        end = RunEnd(
            exit_status=int(self._session.exitstatus),
            interrupted=self._interrupted,
            collected=self._session.testscollected,
            workers=len(self._state.nodes),
            workers_died=self.died,
            pytest=pytest.__version__,
            pytest_kiro=installed_version(),
        )
        run = RunRecord.of(self._state.settings, self.gathered, end, groups, comparisons)
        if growth := growth_of(self._state.config, self._state.settings):
            run = growth.with_earlier(run)
        for option, file in (
            ("--kiro-results", self._results),
            ("--kiro-report", self._page),
            ("--kiro-github", github),
        ):
            try:
                if file is not None:
                    file.write(run, self._state.secrets)
            except OSError as error:
                sys.stderr.write(f"{option}={error.filename2 or error.filename} could not be written: {error}\n")
                self._session.exitstatus = _INTERNAL_ERROR

    def _keeps(self, nodeid: str) -> bool:
        return any((self._results, self._page, self._github)) or nodeid in self.gathered


# -- reports


def carried_by(text: str | None) -> ReportRecord | None:
    """Return what a report, or a worker's last word, carries."""
    return None if text is None else ReportRecord.from_json(json.loads(text))


def phase_of(report: pytest.TestReport) -> PhaseRecord:
    """Return what became of a phase, by its report."""
    outcome: str = {TRIAL_FAILED: "failed", LOST: "failed"}.get(report.outcome, report.outcome)
    if hasattr(report, "wasxfail"):
        outcome = {"skipped": "xfailed", "passed": "xpassed"}.get(outcome, outcome)
    return PhaseRecord(
        name=report.when if report.when in ("setup", "call", "teardown") else "crash",
        outcome=cast(PhaseOutcome, outcome),
        duration=float(report.duration),
        **cut_field("message", _message(report), _MESSAGE),
        **cut_field("explained", "\n".join(text for name, text in report.sections if name == TURNS), _EXPLAINED),
    )


def _message(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return what a failure or a skip says, without its traceback."""
    if report.longrepr is None:
        return ""
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash is not None else report.longrepr)


def fault_of(error: BaseException | None) -> Fault:
    """Return whom an error blames; if the world, nothing was learnt about the agent.

    A wrong setting, mark or scenario is none of the agent's either.
    """
    if isinstance(error, TurnError):
        return "world" if error.infrastructure else "agent"
    if isinstance(error, BudgetExceeded | LimitReached):
        return "budget" if isinstance(error, BudgetExceeded) else "limit"
    return "world" if isinstance(error, SetupError | LaunchError | SettingsError | RecordingMiss) else ""
