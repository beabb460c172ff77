"""Makes trials of what is collected, and checks marks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_kiro.plugin.allowances import wrong_allowance
from pytest_kiro.plugin.comparing import all_are_the_baseline, wrong_comparison
from pytest_kiro.plugin.naming import wrong_mark
from pytest_kiro.plugin.trials import in_order, make_trials, wrong_trials

if TYPE_CHECKING:
    import pytest

    from pytest_kiro.plugin.growing import Growth
    from pytest_kiro.plugin.state import State


def make(metafunc: pytest.Metafunc, state: State) -> None:
    """Make the trials of one test."""
    growth = _growth(state)
    make_trials(metafunc, state.settings, growth.numbers_of(metafunc.definition) if growth else None)


def begin(items: list[pytest.Item], state: State) -> None:
    """Check the marks of all tests; `UsageError` for a wrong one."""
    wrong = wrong_mark(items) or wrong_trials(items) or wrong_allowance(items)
    if wrong := wrong or wrong_comparison(items, state.settings):
        raise state.usage_error(wrong)
    if state.settings.aa:
        all_are_the_baseline(items, state.settings)
    if growth := _growth(state):
        items[:] = filter(growth.is_added, items)


def end(items: list[pytest.Item], state: State) -> None:
    """Put trials in order; `UsageError` for those that cannot be added."""
    in_order(items)
    if growth := _growth(state):
        from pytest_kiro.plugin.trial_runs import record_of

        records = ((item, record_of(item, state.settings)) for item in items)
        if wrong := growth.wrong((item, trial) for item, trial in records if trial is not None):
            raise state.usage_error(wrong)


def _growth(state: State) -> Growth | None:
    """Return what trials are added to; only then is it imported, with the statistics of trials."""
    if state.settings.more is None:
        return None
    from pytest_kiro.plugin.growing import growth_of

    return growth_of(state.config, state.settings)
