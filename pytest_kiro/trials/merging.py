"""Merges the results of several runs: shards of one suite, and trials that were added to those of an earlier run."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from pytest_kiro.errors import SettingsError
from pytest_kiro.records.groups import ComparisonRecord, GroupRecord
from pytest_kiro.records.reading import read_results, turns_of
from pytest_kiro.records.run import RunFacts, RunRecord, Totals, scripted_of
from pytest_kiro.records.tests import FixtureRecord, TestRecord, by_group, by_identity
from pytest_kiro.records.turns import FixtureReference, TurnRecord
from pytest_kiro.trials.gates import MIN_VALID
from pytest_kiro.trials.groups import Group, group_of
from pytest_kiro.trials.joining import joined
from pytest_kiro.trials.variants import Contest, contests_of, sample_of

_Fixture = TypeVar("_Fixture", FixtureReference, FixtureRecord)


def merge(runs: Sequence[RunRecord], *, sequential: bool = False) -> RunRecord:
    """Return several runs as one, with groups, comparisons and totals computed anew.

    Trials of a test that several of them have become more trials of one group, and so do tests without trials. With
    `sequential` they were added because of what the earlier ones had shown. Raises `SettingsError` where runs cannot be
    merged.
    """
    _check(runs)
    parts: defaultdict[str, list[list[TestRecord]]] = defaultdict(list)
    fixtures: list[FixtureRecord] = []
    for run in runs:
        later_tests, later_fixtures = _with_fixtures_behind(fixtures, run)
        fixtures += later_fixtures
        for identity, own in by_identity(later_tests).items():
            parts[identity].append(own)
    tests = [one[0] if len(one) == 1 else joined(one, sequential=sequential) for one in parts.values()]
    every = tuple(test for own in tests for test in own)
    trials = {one: test.trial.number for test in every if test.trial for one in test.fixtures}
    merged = RunRecord(
        run=_facts(runs),
        totals=runs[0].totals,
        tests=every,
        fixtures=tuple(replace(one, trial=trials.get(_reference(one), one.trial)) for one in fixtures),
    )
    turns = turns_in(merged)
    scripted, note = scripted_of(turns)
    return replace(
        merged,
        run=replace(merged.run, scripted=scripted, scripted_note=note),
        totals=Totals.of(every, turns, sum(run.totals.stopped_by_budget for run in runs)),
        groups=tuple(_group_records(merged, runs)),
        comparisons=tuple(_comparison_records(merged, runs)),
    )


def read_run(file: Path) -> RunRecord:
    """Return the run of a results file; `SettingsError` where its tests and trials cannot be."""
    run = read_results(file)
    if wrong := _wrong_names(run.tests):
        raise SettingsError(f"{file}: {wrong}", advice="run it again: the file was changed")
    for _ in groups_of(run):  # which says what is wrong with a group
        pass
    return run


def _wrong_names(tests: Sequence[TestRecord]) -> str:
    """Say which test or trial is there twice, so not counted."""
    if twice := [name for name, count in Counter(test.nodeid for test in tests).items() if count > 1]:
        return f"two tests are named {twice[0]}"
    for identity, own in by_identity(tests).items():
        if len(names := sorted({test.group for test in own})) > 1:
            return f"{' and '.join(names)} have one kiro_id, {identity}"
        planned = max((test.trial.planned for test in own if test.trial), default=1)
        numbers = Counter(test.trial.number for test in own if test.trial)
        for number, count in numbers.items():
            if count > 1:
                return f"{own[0].group} has two trials {number}"
            if not 1 <= number <= planned:
                return f"{own[0].group} has a trial {number} of {planned}"
    return ""


def groups_of(run: RunRecord) -> Iterator[tuple[Group, Sequence[TestRecord]]]:
    """Yield a run's groups of trials, with their tests; `SettingsError` where one cannot be."""
    least = run.run.settings.get("min_valid")
    for name, tests in by_group(run.tests).items():
        if tests[0].trial is None:
            continue
        try:
            yield group_of(tests, partial(turns_of, run), min_valid=least.value if least else MIN_VALID), tests
        except (TypeError, ValueError) as error:
            raise SettingsError(f"{name}: its trials are no group: {error}", advice="run them again") from None


def turns_in(run: RunRecord) -> list[TurnRecord]:
    """Return all turns of a run."""
    return [turn for test in run.tests for turn in test.turns] + [turn for one in run.fixtures for turn in one.turns]


def contests_in(run: RunRecord) -> list[Contest]:
    """Return a run's comparisons of variants."""
    samples = (sample_of(group, tests, partial(turns_of, run)) for group, tests in groups_of(run))
    return contests_of(sample for sample in samples if sample is not None)


# -- fixtures


def _with_fixtures_behind(
    earlier: Iterable[FixtureRecord], run: RunRecord
) -> tuple[list[TestRecord], list[FixtureRecord]]:
    """Return a run's tests and fixtures, numbered behind earlier fixtures."""
    behind: Counter[tuple[str, str]] = Counter()
    for fixture in earlier:
        behind[fixture.name, fixture.worker] = max(behind[fixture.name, fixture.worker], fixture.number)

    def moved(one: _Fixture) -> _Fixture:
        return replace(one, number=one.number + behind[one.name, one.worker])

    tests = [replace(test, fixtures=tuple(map(moved, test.fixtures))) for test in run.tests]
    return tests, [moved(fixture) for fixture in run.fixtures]


def _reference(fixture: FixtureRecord) -> FixtureReference:
    return FixtureReference(name=fixture.name, worker=fixture.worker, number=fixture.number)


# -- the run


def _check(runs: Sequence[RunRecord]) -> None:
    """Refuse what would count twice, or does not belong together."""
    ids = Counter(one for run in runs for one in run.run.id.split("+"))
    if twice := [one for one, count in ids.items() if count > 1]:
        raise SettingsError(
            f"the run {twice[0]} is in two of the files, so that its trials would count twice",
            advice="name each run once",
        )
    if len({any(one.alike for one in run.comparisons) for run in runs if run.comparisons}) > 1:
        raise SettingsError(
            "in some of the files every variant is the baseline (--kiro-aa), in others not",
            advice="merge either kind by itself",
        )


def _facts(runs: Sequence[RunRecord]) -> RunFacts:
    """Return the facts of runs that were merged; the id names all of them, a setting is kept where they share it."""
    facts = [run.run for run in runs]
    statuses = [one.exit_status for one in facts if one.exit_status != 5]  # which is: no tests
    return replace(
        facts[0],
        id="+".join(one.id for one in facts),
        started=min(one.started for one in facts),
        ended=max(one.ended for one in facts),
        exit_status=max(statuses, default=5),
        complete=all(one.complete for one in facts),
        interrupted=any(one.interrupted for one in facts),
        collection_errors=tuple(error for one in facts for error in one.collection_errors),
        kiro_cli=tuple(sorted({version for one in facts for version in one.kiro_cli})),
        settings={
            name: value
            for name, value in facts[0].settings.items()
            if all(one.settings.get(name) == value for one in facts)
        },
        duration=sum(one.duration for one in facts),
        collected=sum(one.collected for one in facts),
        workers=sum(one.workers for one in facts),
        workers_died=sum(one.workers_died for one in facts),
        python=_each(one.python for one in facts),
        platform=_each(one.platform for one in facts),
        pytest=_each(one.pytest for one in facts),
        pytest_kiro=_each(one.pytest_kiro for one in facts),
        sandbox=_each(one.sandbox for one in facts),
    )


def _each(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def _group_records(merged: RunRecord, runs: Sequence[RunRecord]) -> Iterator[GroupRecord]:
    """Yield what is kept of groups; in which order trials ended, so also their rate, only the run itself knew."""
    known: defaultdict[str, list[GroupRecord]] = defaultdict(list)
    for run in runs:
        for one in run.groups:
            known[one.name].append(one)
    for group, _ in groups_of(merged):
        same = known[group.name]
        yield replace(group.record, rate=same[0].rate) if group.curtailed and len(same) == 1 else group.record


def _comparison_records(merged: RunRecord, runs: Sequence[RunRecord]) -> Iterator[ComparisonRecord]:
    alike = any(one.alike for run in runs for one in run.comparisons)
    for contest in contests_in(merged):
        yield from (replace(record, alike=alike) for record in contest.records)
