"""Listens to pytest's reports of its tests, and gathers the run's records."""

from __future__ import annotations

import json
import sys
from importlib import metadata
from typing import TYPE_CHECKING, cast

import pytest

from pytest_kiro.records.plain import cut, cut_field
from pytest_kiro.records.tests import CollectionError, Gathered

if TYPE_CHECKING:
    from pytest_kiro.records.run import ResultsFile
    from pytest_kiro.records.tests import PhaseOutcome, PhaseRecord, ReportRecord
    from pytest_kiro.secrecy.redaction import Secrets
    from pytest_kiro.settings.table import Settings

#: The attribute of a report that carries its `ReportRecord`, as JSON.
CARRIED = "kiro"
#: Characters that are kept of a failure's message.
_MESSAGE = 16_384
_INTERNAL_ERROR = 3


class TestListener:
    """A plugin object of the controller; without a results file it keeps the records of evals only."""

    def __init__(self, *, every_test: bool) -> None:
        self.gathered, self._every_test = Gathered(), every_test
        self._session: pytest.Session | None = None
        self._interrupted = False

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
            worker = getattr(report, "worker_id", None) or _worker(report)
            self.gathered.phase(report.nodeid, _phase(report), carried, worker)
        return carried

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Ctrl-C, a signal or `pytest.exit`; but not what pytest and xdist themselves end a run by, as after -x."""
        self._interrupted = type(excinfo.value) is KeyboardInterrupt or excinfo.typename == "Exit"

    def write(self, file: ResultsFile, settings: Settings, secrets: Secrets, *, workers: int, died: int) -> None:
        """Write the results file, if anything was to be run.

        A file that cannot be written any more is said on stderr, and becomes pytest's exit status.
        """
        from pytest_kiro.records.run import RunEnd, RunRecord

        if self._session is None:
            return
        end = RunEnd(
            exit_status=int(self._session.exitstatus),
            interrupted=self._interrupted,
            collected=self._session.testscollected,
            workers=workers,
            workers_died=died,
            pytest=pytest.__version__,
            pytest_kiro=_own_version(),
        )
        try:
            file.write(RunRecord.of(settings, self.gathered, end), secrets)
        except OSError as error:
            sys.stderr.write(f"--kiro-results={error.filename2 or error.filename} could not be written: {error}\n")
            self._session.exitstatus = _INTERNAL_ERROR

    def _keeps(self, nodeid: str) -> bool:
        return self._every_test or nodeid in self.gathered


def carried_by(text: str | None) -> ReportRecord | None:
    """Return what a report, or a worker's last word, carries."""
    if text is None:
        return None
    from pytest_kiro.records.tests import ReportRecord

    return ReportRecord.from_json(json.loads(text))


def _own_version() -> str:
    try:
        return metadata.version("pytest-kiro")
    except metadata.PackageNotFoundError:
        return "unknown"  # run from its sources


def _phase(report: pytest.TestReport) -> PhaseRecord:
    from pytest_kiro.records.tests import PhaseRecord

    outcome: str = report.outcome
    if hasattr(report, "wasxfail"):
        outcome = {"skipped": "xfailed", "passed": "xpassed"}.get(outcome, outcome)
    return PhaseRecord(
        name=report.when if report.when in ("setup", "call", "teardown") else "crash",
        outcome=cast("PhaseOutcome", outcome),
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


def _worker(report: pytest.TestReport) -> str | None:
    gateway = getattr(getattr(report, "node", None), "gateway", None)
    return getattr(gateway, "id", None)
