"""Judges groups of trials: one more report for each, so that pytest's exit status and all plugins hear of the verdict.

Where a failing trial is a failure (`pass_rate=1`), trials are the run's own tests and no report is added; else the
group's verdict is a test of the run, and trials are told apart from tests.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from pytest_kiro.plugin.artifacts import SECTION as ARTIFACTS
from pytest_kiro.plugin.failing import TURNS
from pytest_kiro.plugin.growing import growth_of
from pytest_kiro.plugin.trials import LOST, NOT_NEEDED, TOLERATED, TRIAL_FAILED, VERDICT, count_as
from pytest_kiro.plugin.verdict_reports import SILENT, Location, id_of, log, undecided_as, verdict_report
from pytest_kiro.report.trials import decision, failure_lines, group_line, saved_line, scores_line
from pytest_kiro.trials.behaviour import medians_of_scores
from pytest_kiro.trials.costs import costs_of, saved
from pytest_kiro.trials.groups import Group, end_of, group_of
from pytest_kiro.turn.shown import place_and_test

if TYPE_CHECKING:
    from pytest_kiro.plugin.growing import Growth
    from pytest_kiro.plugin.state import State
    from pytest_kiro.records.groups import GroupRecord
    from pytest_kiro.records.tests import Gathered, TestRecord
    from pytest_kiro.records.turns import FixtureReference, TurnRecord

#: Kinds of failures that a failed verdict shows.
_SHOWN = 3
#: By a trial's outcome: what pytest counts it as, its letter, its word, its colour.
_STATUS = {
    "passed": ("", ".", "TRIAL PASSED", "green"),
    TRIAL_FAILED: ("trials failed", "t", "TRIAL FAILED", "yellow"),
    LOST: ("trials lost", "l", "TRIAL LOST", "yellow"),
    NOT_NEEDED: ("trials not needed", "-", "NOT NEEDED", "yellow"),
}


class Verdicts:
    """A plugin object of the process that hears of all tests."""

    def __init__(self, state: State, gathered: Gathered) -> None:
        self._state, self._config, self._gathered = state, state.config, gathered
        #: By the name of a group: its trials by number, as they ended, and by what it says, the first such failure.
        self._trials: defaultdict[str, dict[int, str]] = defaultdict(dict)
        self._failures: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self._locations: dict[str, Location] = {}
        #: By their names, what pytest finds tests by.
        self._ids: dict[str, object] = {}
        #: Those that were judged, and those of them whose failures pytest shows.
        self._judged, self._shown = set[str](), set[str]()

    # -- trials

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, Any] | None:
        outcome: str = report.outcome  # there are more than pytest's own
        verdict = vars(report).get(VERDICT)
        if verdict == SILENT:
            return outcome, "", ""
        if verdict and outcome == "undecided":  # which pytest would not count
            return "undecided", "u", ("UNDECIDED", {"yellow": True})
        if not vars(report).get(TOLERATED) or outcome not in _STATUS:
            return None
        if outcome == "passed" and report.when != "call":
            return "", "", ""
        category, letter, word, colour = _STATUS[outcome]
        return category, letter, (word, {colour: True})

    def pytest_runtest_logstart(self, nodeid: str, location: Location) -> None:
        self._locations[nodeid] = location

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport) -> None:
        """A trial whose worker died is lost; of the worker nothing else tells that."""
        trial = self._gathered.test(crashitem).trial if crashitem in self._gathered else None
        if trial is not None and trial.tolerant:
            setattr(report, TOLERATED, True)
            count_as(report, LOST)

    @pytest.hookimpl(trylast=True)  # when it has been gathered
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        outcome, phase = str(report.outcome), str(report.when)  # there are more than pytest's own
        if vars(report).get(TOLERATED):
            self._ids[report.nodeid] = id_of(report)
        if outcome == TRIAL_FAILED and (trial := self._gathered.test(report.nodeid).trial):
            why = end_of(self._gathered.test(report.nodeid)).why
            sections = {name: text for name, text in report.sections if name in (TURNS, ARTIFACTS)}
            shown = [report.nodeid, report.longreprtext, *sections.values()]
            self._failures[trial.group].setdefault(why, "\n".join(shown))
        if phase == "???":  # its worker died, so that it does not finish
            self.pytest_runtest_logfinish(report.nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        trial = self._gathered.test(nodeid).trial if nodeid in self._gathered else None
        if trial is None:
            return
        ended = self._trials[trial.group]
        ended.pop(trial.number, None)
        ended[trial.number] = nodeid
        earlier = self._earlier(trial.group)
        # What has failed in an earlier run no test of this one says, also where each failure is a test's own.
        judged = trial.tolerant or any(test.outcome != "passed" for test in earlier)
        if judged and trial.gated and len(ended) + len(earlier) >= trial.planned:
            self._judge(self._group(trial.group))

    # -- verdicts

    def lines(self, *, full: bool) -> Iterator[tuple[str, bool]]:
        """Yield the lines on each group, and whether each is a warning."""
        shown = [self._group(name) for name in self._trials if self._is_shown(name)]
        for group in shown:
            is_warning = group.verdict.outcome != "passed"
            yield group_line(group, full=full), is_warning
            if medians := self._scores(group):
                yield scores_line(medians), False
            if group.name not in self._shown:
                yield from ((line, is_warning) for line in failure_lines(group))
        if any(group.curtailed for group in shown):
            costs = costs_of(self._gathered.tests, self._gathered.turns_of)
            counts = [(self._tests_of(group.name)[0].identity, group.not_needed) for group in shown]
            yield saved_line(sum(count for _, count in counts), saved(counts, costs)), False

    def _scores(self, group: Group) -> dict[str, float]:
        """Return the medians of a group's scores; a comparison shows those of its variants."""
        trials = [(test, test.trial) for test in self._tests_of(group.name) if test.trial is not None]
        ended = [
            test
            for test, trial in trials
            if trial.variant is None and group.ends[trial.number - 1].outcome in ("passed", "failed")
        ]
        return medians_of_scores(ended)

    def groups(self) -> Iterator[tuple[Group, Sequence[TestRecord]]]:
        """Yield the groups with their trials, as they began to end."""
        for name in self._trials:
            yield self._group(name), self._tests_of(name)

    def turns_of(self, reference: FixtureReference) -> Iterable[TurnRecord]:
        """Return a wide fixture's turns, of this run or the earlier one."""
        return (self._growth and self._growth.turns_of(reference)) or self._gathered.turns_of(reference)

    @property
    def _growth(self) -> Growth | None:
        return growth_of(self._config, self._state.settings)

    def _tests_of(self, name: str) -> list[TestRecord]:
        """Return a group's trials, and behind them those of an earlier run."""
        return [*map(self._gathered.test, self._trials[name].values()), *self._earlier(name)]

    def _earlier(self, name: str) -> list[TestRecord]:
        if (growth := self._growth) is None:
            return []
        return growth.tests_of(self._gathered.test(next(iter(self._trials[name].values()))).identity)

    def _is_shown(self, name: str) -> bool:
        """Whether a group has a line of its own."""
        trial = self._tests_of(name)[0].trial
        return trial is not None and (trial.gated or trial.variant is None)

    def records(self) -> list[GroupRecord]:
        """Return what is kept of the groups."""
        return [self._group(name).record for name in self._trials]

    def _group(self, name: str) -> Group:
        trials = self._trials[name]
        return group_of(
            self._tests_of(name),
            self.turns_of,
            min_valid=self._state.settings.min_valid,
            order=tuple(trials),
        )

    def _judge(self, group: Group) -> None:
        """Report a group's verdict, once."""
        if group.name in self._judged or group.verdict.outcome == "incomplete":
            return
        self._judged.add(group.name)
        report = self._report(group)
        log(self._config, report)
        if report.failed:
            if getattr(self._config.option, "tbstyle", "no") not in ("no", "line"):  # of which 8.2 shows a line only
                self._shown.add(group.name)
            self._count_for_xdist()
        self._tell_last_failed(group, report)

    def _report(self, group: Group) -> pytest.TestReport:
        path, line, domain = self._locations[next(iter(self._trials[group.name].values()))]
        found = group.verdict.outcome
        lines = "\n".join([group_line(group), *failure_lines(group)])
        return verdict_report(
            group.name,
            (path, line, place_and_test(group.name)[1] if "::" in group.name else domain),
            undecided_as(self._state.settings.undecided) if found == "undecided" else found,
            message=decision(group),
            text="\n\n".join([lines, *list(self._failures[group.name].values())[:_SHOWN]]),
            finding=found,
        )

    def _count_for_xdist(self) -> None:
        """Let -x and --maxfail count a failed verdict; pytest's own session has heard the report."""
        session: Any = self._config.pluginmanager.getplugin("dsession")
        if session is not None:
            session.countfailures += 1
            if session.maxfail and session.countfailures >= session.maxfail:
                session.shouldstop = f"stopping after {session.countfailures} failures"

    def _tell_last_failed(self, group: Group, report: pytest.TestReport) -> None:
        """Let --lf run all trials of a failed group, no others."""
        plugin = self._config.pluginmanager.getplugin("lfplugin")
        last_failed: dict[object, bool] = getattr(plugin, "lastfailed", {})
        last_failed.pop(id_of(report), None)
        for nodeid in self._trials[group.name].values():
            if (id := self._ids.get(nodeid)) is None:  # a trial that is a test of the run tells it itself
                continue
            last_failed.pop(id, None)
            if report.failed:
                last_failed[id] = True
