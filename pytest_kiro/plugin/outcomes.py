"""Hears what pytest says of its tests, for the results file; `session` and `report` are pytest's."""

from __future__ import annotations

import sys
from importlib import metadata
from typing import Any

from pytest_kiro.records.results import Results, Run

#: What is asked of a test's report, beside what pytest itself tells: where it is made, and by whom it is read.
ATTEMPT, INFRASTRUCTURE = "kiro_attempt", "kiro_infrastructure"

_INTERNAL_ERROR = 3


class Outcomes:
    """A plugin object of the controller: it listens, and `write` is called at the end."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self._session: Any = None
        self._interrupted = False

    def pytest_collection(self, session: Any) -> None:
        """Only a run comes here; what lists fixtures or the cache does not."""
        option = session.config.option
        if not (option.collectonly or getattr(option, "setupplan", False)):
            self._session = session

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self._results.collection_failed(report.nodeid, _message(report))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._results.started(nodeid)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._results.finished(nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        self._results.phase(
            report.nodeid,
            name=report.when if report.when in ("setup", "call", "teardown") else "crash",
            outcome=_outcome(report),
            duration=float(report.duration),
            message=_message(report),
            attempt=getattr(report, ATTEMPT, None),
            infrastructure=bool(getattr(report, INFRASTRUCTURE, False)),
            worker=getattr(report, "worker_id", None) or _worker(report),
        )

    def pytest_keyboard_interrupt(self, excinfo: Any) -> None:
        """Ctrl-C, a signal or `pytest.exit`; but not what pytest and xdist themselves end a run by, as after -x."""
        self._interrupted = type(excinfo.value) is KeyboardInterrupt or excinfo.typename == "Exit"

    def write(self, **about: Any) -> None:
        """Write the file, if anything was to be run; `about` has what `Run` wants and pytest does not know.

        A file that cannot be written any more is said on stderr, and becomes pytest's exit status.
        """
        if self._session is None:
            return
        run = Run(
            plugin=_own_version(),
            exit_status=int(self._session.exitstatus),
            interrupted=self._interrupted,
            collected=self._session.testscollected,
            **about,
        )
        try:
            self._results.write(run)
        except OSError as error:
            sys.stderr.write(f"--kiro-results={error.filename2 or error.filename} could not be written: {error}\n")
            self._session.exitstatus = _INTERNAL_ERROR


def _own_version() -> str:
    try:
        return metadata.version("pytest-kiro")
    except metadata.PackageNotFoundError:
        return "unknown"  # run from its sources


def _outcome(report: Any) -> str:
    if hasattr(report, "wasxfail"):
        return {"skipped": "xfailed", "passed": "xpassed"}.get(report.outcome, str(report.outcome))
    return str(report.outcome)


def _message(report: Any) -> str:
    """Return what a failure or a skip says, without its traceback."""
    if report.longrepr is None:
        return ""
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash is not None else report.longrepr)


def _worker(report: Any) -> str | None:
    gateway = getattr(getattr(report, "node", None), "gateway", None)
    return getattr(gateway, "id", None)
