"""Adds trials to those of an earlier run: `--kiro-more`, with the baseline that has them.

What reads and merges runs is imported where a baseline is named: each collected eval imports this.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_kiro.errors import SettingsError
from pytest_kiro.plugin.trials import kiro_id_of, number_of, trial_of

if TYPE_CHECKING:
    from pytest_kiro.records.run import RunRecord
    from pytest_kiro.records.tests import Gathered, TestRecord, TrialRecord
    from pytest_kiro.records.turns import FixtureReference, TurnRecord
    from pytest_kiro.settings.table import Settings

#: What it does to error rates that trials are added because of what earlier ones have shown (docs/statistics.md).
ERRORS = "intervals, refute and demonstrate hold at each look; p does not, and errs in up to 8 % with as many again"
_BASELINE = pytest.StashKey["RunRecord | None"]()
_GROWTH = pytest.StashKey["Growth | None"]()


def baseline_of(config: pytest.Config, settings: Settings) -> RunRecord | None:
    """Return the earlier run, read once; `UsageError` where it cannot be."""
    if _BASELINE not in config.stash:
        config.stash[_BASELINE] = None  # it is told once
        try:
            if settings.baseline:
                from pytest_kiro.trials.merging import read_run

                file = config.invocation_params.dir / Path(settings.baseline).expanduser()
                config.stash[_BASELINE] = read_run(file)
        except SettingsError as error:
            raise pytest.UsageError(f"--kiro-baseline: {error}") from None
    return config.stash[_BASELINE]


def growth_of(config: pytest.Config, settings: Settings) -> Growth | None:
    """Return what trials are added to, None where none are."""
    if settings.more is None:
        return None
    if _GROWTH not in config.stash:
        run = baseline_of(config, settings)
        assert run is not None  # `check` of the settings has seen to it
        config.stash[_GROWTH] = Growth(run, settings)
    return config.stash[_GROWTH]


class Growth:
    """The groups of an earlier run, to which trials are added.

    Their trials are numbered without a gap, and their fixtures are told from those of this run.
    """

    def __init__(self, run: RunRecord, settings: Settings) -> None:
        from pytest_kiro.records.tests import by_identity
        from pytest_kiro.trials.joining import stored

        assert settings.more is not None
        self.run, self.more = run, settings.more
        self._file, self._alike = settings.baseline, settings.aa
        groups = {identity: stored(own) for identity, own in by_identity(run.tests).items() if own[0].trial}
        self._groups = {identity: [self._told_apart(test) for test in own] for identity, own in groups.items()}

    def tests_of(self, identity: str) -> list[TestRecord]:
        """Return the trials that a group has, by its identity."""
        return self._groups.get(identity, [])

    def planned_of(self, identity: str) -> int:
        """Return how many trials a group has; 0 where it is none."""
        return max((test.trial.planned for test in self.tests_of(identity) if test.trial), default=0)

    def numbers_of(self, definition: pytest.Item) -> range:
        """Return the numbers that added trials of a test may get."""
        name = kiro_id_of(definition) or definition.nodeid
        own = [self.planned_of(one) for one in self._groups if one == name or one.startswith(f"{name}[")] or [0]
        return range(min(own) + 1, max(own) + self.more + 1)

    def planned_with(self, item: pytest.Item) -> int:
        """Return how many trials a group has with those added."""
        return self.planned_of(identity_of(item)) + self.more if number_of(item) else self.numbers_of(item).stop - 1

    def is_added(self, item: pytest.Item) -> bool:
        """Whether an item is a trial that is to be added."""
        planned, number = self.planned_of(identity_of(item)), number_of(item)
        return number is None or planned < number <= planned + self.more

    def wrong(self, trials: Iterable[tuple[pytest.Item, TrialRecord]]) -> str | None:
        """Say what is wrong with the first test that cannot get more."""
        from pytest_kiro.trials.joining import apart

        if self.run.comparisons and self._alike != any(one.alike for one in self.run.comparisons):
            return f"--kiro-more: of {self._file} and this run one is --kiro-aa, and the other is not; make both so"
        for item, trial in trials:
            earlier = self.tests_of(identity_of(item))
            if not earlier:
                what = f"--kiro-more: {self._file} has no trials of {trial.group} that more could be added to"
                return f"{what}; choose other tests by -k, or run it without --kiro-more first"
            missing = self.planned_of(identity_of(item)) - sum(test.outcome != "unfinished" for test in earlier)
            if missing:
                what = f"--kiro-more: {missing} trials of {trial.group} in {self._file} have not been run"
                return f"{what}, so that it cannot be judged; choose other tests by -k, or run it whole first"
            assert earlier[0].trial is not None
            if words := apart(earlier[0].trial, trial):
                return f"--kiro-more: {trial.group} asks for another {words} than in {self._file}; ask for the same"
        return None

    def with_earlier(self, run: RunRecord) -> RunRecord:
        """Return both runs as one, as `merge --sequential` makes it."""
        from pytest_kiro.trials.merging import merge

        return merge([self.run, run], sequential=True)

    def turns_of(self, reference: FixtureReference) -> list[TurnRecord]:
        """Return the turns of a fixture of the earlier run."""
        from pytest_kiro.records.reading import turns_of

        worker = reference.worker.removeprefix(self._prefix)
        return list(turns_of(self.run, replace(reference, worker=worker))) if worker != reference.worker else []

    @property
    def _prefix(self) -> str:
        return f"{self.run.run.id} "

    def _told_apart(self, test: TestRecord) -> TestRecord:
        fixtures = [replace(one, worker=f"{self._prefix}{one.worker}") for one in test.fixtures]
        return replace(test, fixtures=tuple(fixtures))


def identity_of(item: pytest.Item) -> str:
    """Return what other runs find a test by."""
    trial = trial_of(item)
    return kiro_id_of(item) or (trial.group if trial else item.nodeid)


def growth_plan(config: pytest.Config, settings: Settings, items: Sequence[pytest.Item]) -> list[str]:
    """Say what is added, and what that does to error rates."""
    if (growth := growth_of(config, settings)) is None:
        return []
    more, groups = growth.more, len({identity_of(item) for item in items if number_of(item)})
    what = f"{more} more trial{'s' * (more != 1)} of {groups} test{'s' * (groups != 1)} of {settings.baseline}"
    return [f"kiro: {what}, sequential: {ERRORS}"]


def growth_lines(config: pytest.Config, settings: Settings, gathered: Gathered) -> Iterator[tuple[str, bool]]:
    """Yield what is to be known of trials of two runs.

    Beside each line stands whether it is a warning.
    """
    if gathered.tests and (growth := growth_of(config, settings)) is not None:
        from pytest_kiro.records.run import installed_version
        from pytest_kiro.trials.drift import Side, drift

        yield f"trials of both runs were judged together, sequential: {ERRORS}", False
        now = Side(gathered.tests, gathered.turns_of, installed_version())
        if differences := drift(Side.of(growth.run), now):
            yield f"what was not the same in {settings.baseline} and this run: {', '.join(differences)}", True
