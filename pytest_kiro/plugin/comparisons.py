"""Compares variants, and runs, when all tests have ended.

Statistics are imported by what has something to compare: editors collect at every save.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_kiro.plugin.comparing import plans_of
from pytest_kiro.plugin.growing import baseline_of, growth_plan, identity_of
from pytest_kiro.plugin.owners import is_eval
from pytest_kiro.plugin.verdict_reports import log, undecided_as, verdict_report

if TYPE_CHECKING:
    from pytest_kiro.plugin.state import State
    from pytest_kiro.plugin.verdicts import Verdicts
    from pytest_kiro.records.groups import ComparisonRecord
    from pytest_kiro.records.tests import Gathered
    from pytest_kiro.trials.runs import RunsCompared
    from pytest_kiro.trials.variants import Compared, Contest

_Lines = Iterator[tuple[str, bool]]
_OUTCOMES = {"better": "passed", "worse": "failed", "error": "failed"}


class Comparisons:
    """What a run compares: variants of its groups of trials, and an earlier run."""

    def __init__(self, state: State, gathered: Gathered, verdicts: Verdicts) -> None:
        self._config, self._settings = state.config, state.settings
        self._gathered, self._verdicts = gathered, verdicts

    def begin(self) -> None:
        """Read the baseline; `UsageError` where that cannot be done."""
        baseline_of(self._config, self._settings)

    def planned(self, items: Sequence[pytest.Item]) -> list[str]:
        """Say what a run can tell and will take, before it spends."""
        lines = list[str]()
        if plans := plans_of(items, self._settings):
            from pytest_kiro.report.comparing import plan_lines

            lines += plan_lines(plans)
        lines += growth_plan(self._config, self._settings, items)
        if (baseline := baseline_of(self._config, self._settings)) is None:
            return lines
        if evals := [identity_of(item) for item in items if is_eval(item)]:
            from pytest_kiro.report.trials import estimate_line
            from pytest_kiro.trials.costs import costs_of, estimate
            from pytest_kiro.trials.drift import Side

            costs = costs_of(baseline.tests, Side.of(baseline).turns_of)
            lines.append(estimate_line(estimate(evals, costs), str(self._settings.baseline)))
        return lines

    def finish(self, session: pytest.Session) -> None:
        """Report what was compared; what is worse, or was all lost, fails."""
        for name, compared, lines in self._all():
            if compared.decision is not None:
                found: str = compared.decision.finding
            elif compared.is_empty:  # no green that proves nothing, as of a group
                found = "error"
            else:
                continue
            from pytest_kiro.report.comparing import finding

            report = verdict_report(
                name,
                (name.partition("::")[0], None, name.rpartition("::")[2]),
                _OUTCOMES.get(found) or undecided_as(self._settings.undecided),
                message=finding(compared, "", None),
                text="\n".join(line for line, _ in lines),
                finding=found,
                late=True,
            )
            log(self._config, report)
            if report.failed and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _all(self) -> Iterator[tuple[str, Compared, _Lines]]:
        for contest in self._contests():
            from pytest_kiro.report.comparing import contest_lines

            for one in contest.compared:
                yield f"{contest.name}[{one.variant.name} vs {one.baseline.name}]", one, contest_lines(contest)
        runs = self._against_baseline()
        if runs is not None and runs.compared is not None and runs.compared.decision is not None:
            from pytest_kiro.report.runs import runs_lines

            yield f"{self._settings.baseline}[after vs before]", runs.compared, runs_lines(runs)

    def variant_lines(self, *, full: bool) -> _Lines:
        """Yield the lines on variants, and whether each is a warning."""
        for contest in self._contests():
            from pytest_kiro.report.comparing import contest_lines

            yield from contest_lines(contest, full=full, aa=self._settings.aa)

    def baseline_lines(self, *, full: bool) -> _Lines:
        """Yield the lines on an earlier run, with their warnings."""
        if (runs := self._against_baseline()) is not None:
            from pytest_kiro.report.runs import runs_lines

            yield from runs_lines(runs, full=full)

    def records(self) -> list[ComparisonRecord]:
        """Return what is kept of the comparisons."""
        alike = self._settings.aa
        return [replace(record, alike=alike) for contest in self._contests() for record in contest.records]

    def _contests(self) -> list[Contest]:
        if not (groups := [*self._verdicts.groups()]):
            return []
        from pytest_kiro.trials.variants import contests_of, sample_of

        samples = (sample_of(group, tests, self._verdicts.turns_of) for group, tests in groups)
        return contests_of(sample for sample in samples if sample is not None)

    def _against_baseline(self) -> RunsCompared | None:
        baseline = baseline_of(self._config, self._settings)
        if baseline is None or self._settings.more is not None:  # whose trials are then among those of this run
            return None
        if not self._gathered.tests:  # they were only collected
            return None
        from pytest_kiro.records.run import installed_version
        from pytest_kiro.trials.drift import Side
        from pytest_kiro.trials.runs import compare_runs

        return compare_runs(
            Side.of(baseline),
            Side(self._gathered.tests, self._gathered.turns_of, installed_version()),
            min_valid=self._settings.min_valid,
        )
