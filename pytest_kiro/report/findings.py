"""Finds in a run's record what its reader has to look at: failures, worst first, and how to repeat each."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pytest_kiro.records.phases import PhaseRecord, PlaceRecord
from pytest_kiro.records.run import RunRecord
from pytest_kiro.records.tests import TestRecord
from pytest_kiro.report.comparing import contest_lines, finding, is_worse
from pytest_kiro.report.runs import runs_lines
from pytest_kiro.report.trials import decision, failure_lines, group_line
from pytest_kiro.trials.drift import Side
from pytest_kiro.trials.gates import MIN_VALID
from pytest_kiro.trials.groups import Group, end_of
from pytest_kiro.trials.merging import contests_in, groups_of
from pytest_kiro.trials.runs import RunsCompared, compare_runs

#: Failing trials of a group that are shown whole: one of each kind.
_KINDS = 3
#: Settings that do not decide what an eval does.
_BESIDE = frozenset(
    {"results", "report", "baseline", "more", "artifacts", "artifacts_dir", "stream", "github", "keep_sandbox", "aa"}
)


@dataclass(frozen=True)
class Shown:
    """One failed phase, with its test."""

    test: TestRecord
    phase: PhaseRecord


@dataclass(frozen=True)
class Finding:
    """Something that made a run fail.

    `name` is a test's, a group's or a comparison's; `says` its message in one line; `lines` are those that a terminal
    shows of it; `shown` has failed phases, one of each kind; `command` repeats it, where that is one test's; `at` is
    its place where no phase tells it.
    """

    name: str
    word: str
    says: str
    lines: tuple[str, ...] = ()
    shown: tuple[Shown, ...] = ()
    command: str = ""
    at: PlaceRecord | None = None

    @property
    def place(self) -> PlaceRecord | None:
        """Where it failed first."""
        return next((one.phase.place for one in self.shown if one.phase.place is not None), self.at)


def findings_of(run: RunRecord, against: RunsCompared | None = None) -> list[Finding]:
    """Return what made a run fail: evals first, then comparisons, then files that were not collected."""
    options = _options(run)
    groups = {group.name: (group, tests) for group, tests in groups_of(run)}
    found: list[Finding] = []
    for name, (group, tests) in groups.items():
        found += _of_group(group, tests, name, options, fails_undecided=_setting(run, "undecided") == "fail")
    found += [_of_test(test, options) for test in run.tests if test.trial is None and _failed(test)]
    order = [test.group for test in run.tests]
    found.sort(key=lambda one: (one.word != "failed", order.index(one.name)))
    found += _worse(run, against)
    for error in run.run.collection_errors:
        at = PlaceRecord(file=error.nodeid.partition("::")[0], line=1) if error.nodeid else None
        said = error.message.strip()
        found.append(Finding(error.nodeid or "collection", "error", said, tuple(said.splitlines()), at=at))
    return found


def against_baseline(run: RunRecord, before: RunRecord | None) -> RunsCompared | None:
    """Compare a run with an earlier one, as `--kiro-baseline` does; None without one."""
    if before is None:
        return None
    least = _setting(run, "min_valid")
    min_valid = least if isinstance(least, float) else MIN_VALID
    return compare_runs(Side.of(before), Side.of(run), min_valid=min_valid)


def first_line(text: str) -> str:
    """Return a text's first line."""
    return text.strip().partition("\n")[0]


def _failed(test: TestRecord) -> bool:
    return test.outcome in ("failed", "error")


def _of_test(test: TestRecord, options: Sequence[str]) -> Finding:
    shown = _failed_phases(test)
    says = first_line(shown[0].phase.message) if shown else ""
    return Finding(test.nodeid, test.outcome, says, (), shown, repeats(test.nodeid, options))


def _of_group(
    group: Group, tests: Sequence[TestRecord], name: str, options: Sequence[str], *, fails_undecided: bool
) -> Iterator[Finding]:
    """Yield what is wrong with a group, if anything is."""
    trial = tests[0].trial
    assert trial is not None
    outcome = group.verdict.outcome
    if group.tolerant:
        wrong = trial.gated and (outcome in ("failed", "error") or (outcome == "undecided" and fails_undecided))
    else:
        wrong = any(map(_failed, tests))
    if not wrong:
        return
    kinds: dict[str, TestRecord] = {}
    for test in sorted(tests, key=lambda one: one.trial.number if one.trial else 0):
        if any(phase.outcome == "failed" for phase in test.phases):
            end = end_of(test)
            kinds.setdefault(end.why if end.outcome == "failed" else end.said or end.why, test)
    shown = [one for test in list(kinds.values())[:_KINDS] for one in _failed_phases(test)[:1]]
    repeated = name if "[" not in name else (shown[0].test.nodeid if shown else tests[0].nodeid)
    yield Finding(
        name,
        "error" if outcome == "error" else "failed",
        decision(group),
        (group_line(group), *failure_lines(group)),
        tuple(shown),
        repeats(repeated, options),
    )


def _failed_phases(test: TestRecord) -> tuple[Shown, ...]:
    last = max((phase.attempt for phase in test.phases), default=1)
    phases = [phase for phase in test.phases if phase.outcome == "failed" and phase.attempt == last]
    return tuple(Shown(test, phase) for phase in sorted(phases, key=lambda phase: phase.name != "call"))


def _worse(run: RunRecord, against: RunsCompared | None) -> Iterator[Finding]:
    for contest in contests_in(run):
        for one in contest.compared:
            if not (is_worse(one) or one.is_empty):
                continue
            name = f"{contest.name}[{one.variant.name} vs {one.baseline.name}]"
            lines = tuple(line for line, _ in contest_lines(contest))
            word = "error" if one.is_empty else "worse"
            yield Finding(name, word, finding(one, "", None), lines, at=_anywhere(run, contest.name))
    if against is not None and against.compared is not None and is_worse(against.compared):
        lines = tuple(line for line, _ in runs_lines(against))
        yield Finding("the baseline", "worse", finding(against.compared, "", None), lines)


def _anywhere(run: RunRecord, test: str) -> PlaceRecord | None:
    """Return where a trial of a test failed, else its file."""
    own = [one for one in run.tests if one.trial and one.trial.variant and one.trial.variant.comparison == test]
    places = (phase.place for one in own for phase in one.phases if phase.place is not None)
    file = own[0].nodeid.partition("::")[0] if own else ""
    return next(places, PlaceRecord(file=file, line=1) if file else None)


# -- the command that repeats it


def repeats(nodeid: str, options: Iterable[str]) -> str:
    """Return the command that runs a test again at pytest's rootdir.

    >>> repeats("test_a.py::test_x[a b]", ["--kiro-model=m"])
    "pytest 'test_a.py::test_x[a b]' --kiro-model=m"
    """
    return shlex.join(["pytest", nodeid, *options])


def _options(run: RunRecord) -> list[str]:
    """Return the options of a run as a command line has them."""
    options = []
    compared = _compared(run.tests)
    for name, setting in run.run.settings.items():
        option = f"--kiro-{name.replace('_', '-')}"
        if setting.origin != option or name in _BESIDE:
            continue
        if setting.value == "on":
            options.append(option)
            continue
        options += [f"{option}={value}" for value in compared.get(option) or [_typed(setting.value)]]
    return options


def _compared(tests: Iterable[TestRecord]) -> Mapping[str, Sequence[str]]:
    """Return the values of options given several times, the baseline first."""
    values: dict[str, dict[str, None]] = {}
    for test in tests:
        if test.trial is not None and (variant := test.trial.variant) is not None:
            values.setdefault(variant.comparison, {variant.baseline: None})[variant.variant] = None
    return {name: list(some) for name, some in values.items()}


def _typed(value: object) -> str:
    """Return a setting's value as a user types it."""
    if isinstance(value, list | tuple):
        return "x".join(map(str, value)) if all(isinstance(one, int) for one in value) else shlex.join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _setting(run: RunRecord, name: str) -> object:
    setting = run.run.settings.get(name)
    return setting.value if setting is not None else None
