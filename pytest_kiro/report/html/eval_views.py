"""Makes of a run's tests what a page shows of evals: a test without trials is one of a single trial."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from statistics import median

from pytest_kiro.records.reading import turns_of
from pytest_kiro.records.run import RunRecord
from pytest_kiro.records.tests import TestRecord, by_group
from pytest_kiro.records.turns import TurnRecord, credits_of
from pytest_kiro.report.html.evidence import Evidence
from pytest_kiro.report.html.trial_views import TrialView, trial_view
from pytest_kiro.report.trials import decision, verdict
from pytest_kiro.trials.groups import Group, end_of
from pytest_kiro.trials.merging import groups_of
from pytest_kiro.turn.shown import place_and_test, short

#: Characters of an eval's own words, which a search looks through, and of a prompt's name.
_SEARCHED, _PROMPT = 1_500, 80
#: In which order evals are listed.
STATUSES = ("failed", "error", "infrastructure", "undecided", "incomplete", "passed", "skipped")


@dataclass(frozen=True)
class EvalView:
    """One eval: its trials, and what they show together.

    `flags` are what a page filters by; `group` is None where it has no trials.
    """

    id: str
    name: str
    status: str
    flags: frozenset[str]
    trials: tuple[TrialView, ...]
    group: Group | None
    why: str
    models: tuple[str, ...]
    prompts: Mapping[str, str]
    causes: tuple[str, ...]
    credits: float | None

    @property
    def file(self) -> str:
        """The file that it stands in, with its class."""
        return place_and_test(self.name)[0]

    @property
    def test(self) -> str:
        """The name of its function."""
        return place_and_test(self.name)[1]

    @property
    def passed(self) -> int:
        """How many trials passed."""
        return sum(trial.outcome == "passed" for trial in self.trials)

    @property
    def valid(self) -> int:
        """How many trials were evaluated."""
        return sum(trial.outcome in ("passed", "failed") for trial in self.trials)

    @property
    def seconds(self) -> float:
        """The median of its trials' seconds."""
        return float(median(trial.seconds for trial in self.trials)) if self.trials else 0.0

    @property
    def calls(self) -> float:
        """The median of its trials' calls."""
        return float(median(trial.calls for trial in self.trials)) if self.trials else 0.0

    @property
    def decision(self) -> str:
        """What its trials show in words."""
        return decision(self.group) if self.group is not None else ""

    @property
    def verdict(self) -> str:
        """Its verdict in words."""
        return verdict(self.group) if self.group is not None else self.status

    @property
    def searched(self) -> str:
        """What a search looks through."""
        words = [self.name, self.why, *self.prompts.values(), *self.models, *self.causes]
        commands = [call.what for trial in self.trials[:1] for turn in trial.turns for call in turn.calls]
        return short(" ".join(dict.fromkeys([*words, *commands])).lower(), _SEARCHED)


def evals_of(run: RunRecord, evidence: Mapping[str, Evidence], prefix: str = "") -> list[EvalView]:
    """Return what is shown of a run's tests, the failed ones first."""
    groups = {group.name: group for group, _ in groups_of(run)}
    ids = ids_of(by_group(run.tests), prefix)
    views = [
        _eval(run, ids[name], name, tests, groups.get(name), evidence) for name, tests in by_group(run.tests).items()
    ]
    return sorted(views, key=lambda view: (STATUSES.index(view.status), view.file))  # of a file as they were run


def ids_of(names: Iterable[str], prefix: str = "") -> dict[str, str]:
    """Return short names that stay the same from run to run.

    >>> ids_of(["test_a.py::test_x"])
    {'test_a.py::test_x': 'be25'}
    """
    digests = {name: sha256(name.encode("utf-8", "replace")).hexdigest() for name in names}
    width = 4
    while len({digest[:width] for digest in digests.values()}) < len(digests):
        width += 1
    return {name: f"{prefix}{digest[:width]}" for name, digest in digests.items()}


def _eval(
    run: RunRecord,
    id: str,
    name: str,
    tests: Sequence[TestRecord],
    group: Group | None,
    evidence: Mapping[str, Evidence],
) -> EvalView:
    ordered = sorted(tests, key=lambda test: test.trial.number if test.trial else 1)
    trials = tuple(_trial(run, test, f"{id}/{number}", evidence) for number, test in enumerate(ordered, 1))
    turns = [turn for test in tests for turn in _all_turns(run, test)]
    failed = [trial for trial in trials if trial.outcome not in ("passed", "not needed")]
    causes = {cause for turn in turns if (cause := turn.cause)}
    causes |= {trial.why for trial in trials if trial.outcome == "lost" and trial.why}
    status = _status(group, trials)
    return EvalView(
        id=id,
        name=name,
        status=status,
        flags=frozenset(_flags(status, trials)),
        trials=trials,
        group=group,
        why=Counter(trial.why for trial in failed if trial.why).most_common(1)[0][0]
        if any(trial.why for trial in failed)
        else "",
        models=tuple(sorted({turn.provenance.model for turn in turns if turn.provenance.model})),
        prompts=_prompts(turns),
        causes=tuple(sorted(causes)),
        credits=credits_of([turn for test in tests for turn in test.turns]),
    )


def _trial(run: RunRecord, test: TestRecord, id: str, evidence: Mapping[str, Evidence]) -> TrialView:
    shared = [(one.name, turn) for one in test.fixtures for turn in turns_of(run, one)]
    end = end_of(test, [turn for _, turn in shared])
    outcome, why = end.outcome, end.why
    if outcome == "failed" and not test.trial and test.outcome == "xfailed":
        outcome = "passed"
    if test.trial is None and test.outcome == "skipped":
        why = next((phase.message for phase in test.phases if phase.outcome == "skipped"), "skipped")
    if outcome == "lost":
        message = next((phase.message for phase in test.phases if phase.outcome == "failed"), "")
        why = f"{why}: {message.strip().partition(chr(10))[0]}" if message else why
    return trial_view(test, shared, evidence.get(test.nodeid, Evidence()), id=id, outcome=outcome, why=why)


def _all_turns(run: RunRecord, test: TestRecord) -> list[TurnRecord]:
    shared = [turn for one in test.fixtures for turn in partial(turns_of, run)(one)]
    return [*shared, *test.turns]


def _status(group: Group | None, trials: Sequence[TrialView]) -> str:
    if group is not None:
        outcome: str = group.verdict.outcome
        if outcome == "incomplete" and all(trial.record.outcome == "skipped" for trial in trials):
            return "skipped"
        return "infrastructure" if outcome == "error" else outcome
    record = trials[0].record
    if trials[0].outcome == "lost" and record.outcome != "skipped":
        return "infrastructure"
    words = {"xfailed": "passed", "xpassed": "passed", "rerun": "passed", "not needed": "passed"}
    words["unfinished"] = "incomplete"
    return words.get(record.outcome, record.outcome)


def _flags(status: str, trials: Sequence[TrialView]) -> Iterable[str]:
    outcomes = {trial.outcome for trial in trials}
    yield status if status != "error" else "failed"
    if {"passed", "failed"} <= outcomes or any(
        trial.record.attempts > 1 and trial.outcome == "passed" for trial in trials
    ):
        yield "flaky"
    if any(trial.outcome == "lost" and trial.record.outcome != "skipped" for trial in trials):
        yield "infrastructure"


def _prompts(turns: Iterable[TurnRecord]) -> dict[str, str]:
    prompts: defaultdict[str, str] = defaultdict(str)
    for turn in turns:
        prompts[(turn.prompt_hash or turn.prompt)[:8]] = short(" ".join(turn.prompt.split()), _PROMPT)
    return dict(prompts)
