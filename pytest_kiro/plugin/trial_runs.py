"""Runs trials: those that a verdict needs, and without making a failed one the run's."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

from pytest_kiro.plugin.carrying import CARRIED, carried_by, phase_of
from pytest_kiro.plugin.comparing import variant_of
from pytest_kiro.plugin.trials import LOST, MARK, NOT_NEEDED, TOLERATED, TRIAL_FAILED, count_as, design_of, trial_of
from pytest_kiro.records.tests import Gathered, TrialRecord
from pytest_kiro.records.turns import TurnRecord
from pytest_kiro.run.endings import Endings
from pytest_kiro.sandbox.runs import folder_of

if TYPE_CHECKING:
    from pytest_kiro.plugin.state import State
    from pytest_kiro.settings.table import Settings
    from pytest_kiro.trials.groups import TrialEnd


_RECORD = pytest.StashKey[TrialRecord]()


def record_of(item: pytest.Item, settings: Settings) -> TrialRecord | None:
    """Return what is kept of a trial, if the item is one."""
    if _RECORD not in item.stash and (trial := trial_of(item)) is not None:
        growth = None
        if settings.more is not None:
            from pytest_kiro.plugin.growing import growth_of

            growth = growth_of(item.config, settings)
        design = design_of(item, settings, growth.planned_with(item) if growth else None)
        variant = variant_of(item, trial.group, settings)
        assert design is not None  # or it would be none
        mark = item.get_closest_marker(MARK)
        # Of what is compared, a rate is a requirement where somebody says so.
        gated = variant is None or bool(mark and {*mark.kwargs} - {"n"}) or settings.gate is not None
        item.stash[_RECORD] = TrialRecord(
            group=trial.group,
            number=trial.number,
            planned=design.trials,
            pass_rate=design.pass_rate,
            gate=design.gate,
            all_of=design.all_of,
            any_of=design.any_of,
            tolerant=not gated or design.pass_rate < 1 or design.any_of > 1,
            gated=gated,
            sequential=growth is not None,
            variant=variant,
        )
    return item.stash.get(_RECORD, None)


class TrialRuns:
    """A plugin object of each process that runs tests.

    It leaves trials out that no verdict needs any more, and keeps the failures of tolerant groups out of the run's.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._endings = Endings(folder_of(state.run_id) if state.is_worker else None)
        #: The trial that runs.
        self._running: Gathered | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self._running = None
        trial = record_of(item, self._state.settings)
        if trial is None or not trial.tolerant:
            return
        # What is compared needs all trials: both arms would stop for different reasons. So do those that are added.
        if trial.gated and trial.variant is None and not (trial.sequential or self._state.settings.all_trials):
            from pytest_kiro.trials.curtailment import is_certain
            from pytest_kiro.trials.gates import Tally
            from pytest_kiro.trials.groups import design_of as design_of_record

            if is_certain(
                design_of_record(trial, self._state.settings.min_valid), Tally(*self._endings.of(trial.group))
            ):
                pytest.skip(NOT_NEEDED)  # pytest's way to leave an item out; `count_as` says that it was no skip
        self._running = Gathered()

    @pytest.hookimpl(wrapper=True, tryfirst=True)  # when all others have had their look at it
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        trial = record_of(item, self._state.settings)
        if trial is None or not trial.tolerant:
            return report
        setattr(report, TOLERATED, True)
        if self._running is None:  # it was left out
            if report.skipped:
                count_as(report, NOT_NEEDED)
            if report.when == "teardown":
                report.user_properties.append(("kiro_trial", NOT_NEEDED))
            return report
        carried = carried_by(vars(report).get(CARRIED))
        self._running.phase(item.nodeid, phase_of(report), carried, None)
        if report.failed:
            fault = carried.fault if carried else ""
            lost = fault not in ("", "agent") or (report.when != "call" and fault != "agent")
            count_as(report, LOST if lost else TRIAL_FAILED)
            self._state.keeper.trial_failed = True
        if report.when == "teardown":
            end = self._end(item)
            self._endings.add(trial.group, (end.outcome == "passed", end.outcome == "failed", end.outcome == "lost"))
            report.user_properties.append(("kiro_trial", f"{end.outcome} ({end.why})" if end.why else end.outcome))
        return report

    def _end(self, item: pytest.Item) -> TrialEnd:
        """Return how the trial has ended, as the controller will say."""
        from pytest_kiro.trials.groups import end_of

        assert self._running is not None
        self._running.test_finished(item.nodeid)
        shared = [turn for owner in self._state.ownership.owners_of(item) if owner.wide for turn in owner.turns]
        return end_of(self._running.test(item.nodeid), [TurnRecord().ended(turn) for turn in shared])
