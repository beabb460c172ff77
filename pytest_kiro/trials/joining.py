"""Puts the trials of one test together that several runs have: shards, and samples that grow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from pytest_kiro.errors import SettingsError
from pytest_kiro.records.tests import TestRecord, TrialRecord

#: The trials of a test that one run has.
Part = Sequence[TestRecord]


class Batch(NamedTuple):
    """Trials that were planned together: those of one run, or of its shards. `trials` are by number."""

    planned: int
    trials: dict[int, TestRecord]

    @property
    def needed(self) -> Batch:
        """The same without trials that were not needed; then the others are numbered anew."""
        numbers = sorted(number for number, test in self.trials.items() if test.outcome != "not needed")
        left_out = len(self.trials) - len(numbers)
        if not left_out:
            return self
        return Batch(self.planned - left_out, {place: self.trials[n] for place, n in enumerate(numbers, 1)})


def joined(parts: Sequence[Part], *, sequential: bool = False) -> list[TestRecord]:
    """Return a test of several runs, with the trials of all.

    Those of shards keep their numbers; of other runs the later ones are numbered behind the earlier. The last run names
    it. `SettingsError` where trials do not belong together.
    """
    if not any(_is_eval(test) for part in parts for test in part):
        return [_attempts([test for part in parts for test in part])]
    name = parts[-1][0].group
    design = design_of_parts(name, parts)
    batches = _batches([_batch(part) for part in parts])
    was = any(test.trial.sequential for part in parts for test in part if test.trial)
    if len(batches) == 1:
        return in_a_row(name, replace(design, sequential=was), batches)
    if not (sequential or was) and any(batch.needed is not batch for batch in batches):
        raise SettingsError(
            f"{name}: some trials were left out, since the verdict was certain: with more its rate would be biased",
            advice="run both with --kiro-all-trials, or say --sequential",
        )
    return in_a_row(name, replace(design, sequential=sequential or was), [batch.needed for batch in batches])


def stored(tests: Part) -> list[TestRecord]:
    """Return the trials to which more are added, numbered without a gap."""
    name = tests[0].group
    design = design_of_parts(name, [tests])
    return in_a_row(name, replace(design, sequential=True), [_batch(tests).needed])


def apart(one: TrialRecord, other: TrialRecord) -> str:
    """Name what the marks of two trials do not share; empty where nothing."""
    words, others = _wanted(one).to_json(), _wanted(other).to_json()
    return ", ".join(word for word in words if words[word] != others[word])


def in_a_row(name: str, design: TrialRecord, batches: Sequence[Batch]) -> list[TestRecord]:
    """Return the trials of batches, each batch numbered behind the one before."""
    words = replace(design, planned=sum(batch.planned for batch in batches))
    tests, behind = [], 0
    for batch in batches:
        tests += [_named(name, words, number + behind, test) for number, test in batch.trials.items()]
        behind += batch.planned
    return tests


def design_of_parts(name: str, parts: Sequence[Part]) -> TrialRecord:
    """Return what the trials of all runs are to show.

    That must be the same; tests without trials take it on.
    """
    marked = [test.trial for part in parts for test in part if test.trial]
    if words := next(filter(None, (apart(marked[0], other) for other in marked[1:])), ""):
        raise SettingsError(
            f"{name} is not the same in all files: its trials differ in {words}",
            advice="merge runs of the same marks; tests without a mark take on that of others in one merge",
        )
    return replace(marked[-1] if marked else TrialRecord(group=name, number=1, planned=1), group=name)


def _wanted(trial: TrialRecord) -> TrialRecord:
    """Return what a trial's group is to show, without its name: a test that was renamed is the same."""
    variant = trial.variant and replace(trial.variant, comparison="", task="")
    return replace(trial, group="", number=1, planned=1, sequential=False, variant=variant)


def _batch(part: Part) -> Batch:
    trials = {test.trial.number if test.trial else 1: test for test in part}
    return Batch(max(test.trial.planned if test.trial else 1 for test in part), trials)


def _batches(parts: Sequence[Batch]) -> list[Batch]:
    """Put shards of one run together, and what was added behind them."""
    batches: list[Batch] = []
    for part in parts:
        for place, batch in enumerate(batches):
            added = all(test.trial and test.trial.sequential for test in part.trials.values())
            if added and min(part.trials) > batch.needed.planned:
                batches[place] = Batch(part.planned, {**batch.needed.trials, **part.trials})
                break
            if part.planned == batch.planned and not part.trials.keys() & batch.trials.keys():
                batches[place] = Batch(part.planned, {**batch.trials, **part.trials})
                break
        else:
            batches.append(part)
    return batches


def _named(name: str, words: TrialRecord, number: int, test: TestRecord) -> TestRecord:
    """Return a test as one trial; it keeps its own name where number and group are as they were."""
    trial, nodeid = replace(words, number=number), test.nodeid
    if test.trial is None or (test.trial.group, test.trial.number) != (name, number) or nodeid == name:
        nodeid = f"{name[:-1]}-trial{number}]" if name.endswith("]") else f"{name}[trial{number}]"
    return replace(test, nodeid=nodeid, trial=trial)


def _is_eval(test: TestRecord) -> bool:
    return bool(test.trial or test.turns or test.fixtures or any(phase.fault for phase in test.phases))


def _attempts(tests: Sequence[TestRecord]) -> TestRecord:
    """Return a test that is no eval as one with more attempts."""
    whole = tests[0]
    for later in tests[1:]:
        phases = [replace(phase, attempt=phase.attempt + whole.attempts) for phase in later.phases]
        whole = replace(
            later,
            attempts=whole.attempts + later.attempts,
            duration=whole.duration + later.duration,
            phases=(*whole.phases, *phases),
        )
    return whole
