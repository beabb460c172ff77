"""Makes reports of verdicts: tests for pytest that nobody has collected."""

from __future__ import annotations

from typing import Any, cast

import pytest

from pytest_kiro.plugin.trials import VERDICT

#: The value of that attribute while a verdict is logged after all tests: pytest has ended its line of letters.
SILENT = "silent"
Location = tuple[str, int | None, str]


def verdict_report(
    name: str, location: Location, outcome: str, *, message: str, text: str, finding: str, late: bool = False
) -> pytest.TestReport:
    """Return a verdict's report: its outcome is passed, failed, error or undecided.

    `message` is what pytest's list of failures says, `text` what is shown of it where it did not pass.
    """
    report = pytest.TestReport(
        nodeid=name,
        location=location,
        keywords={},
        outcome=cast(Any, "failed" if outcome == "error" else outcome),  # pytest passes others' outcomes on
        longrepr=cast(
            Any, None if outcome == "passed" else _Shown(name, message, text)
        ),  # whose type it does not export
        when="setup" if outcome == "error" else "call",  # by which it tells an error from a failure
        user_properties=[("kiro_verdict", finding)],
    )
    setattr(report, VERDICT, SILENT if late else True)
    return report


def log(config: pytest.Config, report: pytest.TestReport) -> None:
    """Let pytest and its plugins hear of a verdict."""
    end = pytest.TestReport(
        nodeid=report.nodeid,
        location=report.location,
        keywords={},
        outcome="passed",
        longrepr=None,
        when="teardown",
        user_properties=report.user_properties,
    )
    setattr(end, VERDICT, True)
    for one in (report, end):  # JUnit's testcase is whole with the second
        config.hook.pytest_runtest_logreport(report=one)
    setattr(report, VERDICT, True)
    if terminal := config.pluginmanager.getplugin("terminalreporter"):
        # It is none of the tests that were collected, of which pytest shows how many per cent have run.
        getattr(terminal, "_progress_nodeids_reported", set()).discard(id_of(report))


def id_of(report: pytest.TestReport) -> object:
    """Return what pytest finds a report's test by: since 9.2 it is no text."""
    return getattr(report, "id", report.nodeid)


def undecided_as(setting: str | None) -> str:
    """Return the outcome of a verdict that is undecided, as `--kiro-undecided` says."""
    return {"fail": "failed", "pass": "passed", None: "undecided"}[setting]


class _Shown:
    """What a report shows; pytest's list of failures takes the message of its `reprcrash`."""

    def __init__(self, name: str, message: str, text: str) -> None:
        self.reprcrash = _Crash(name, message)
        self._text = text

    def toterminal(self, writer: Any) -> None:
        writer.line(self._text)

    def __str__(self) -> str:
        return self._text


class _Crash:
    def __init__(self, name: str, message: str) -> None:
        self.name, self.message = name, message

    def __str__(self) -> str:
        return f"{self.name}: {self.message}"  # which --tb=line shows
