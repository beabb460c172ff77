"""Counts what an agent did in trials, to tell two ways apart."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from pytest_kiro.records.tests import ScoreRecord, TestRecord
from pytest_kiro.records.turns import TurnRecord

#: A trait is told when so much of one arm's trials have it more than the other's.
_TOLD_APART = 0.4
#: Tools whose commands are traits, and what is shown of one.
_SHELL, _COMMAND = "shell", 60


@dataclass(frozen=True)
class Behaviour:
    """One trial: seconds and credits, turns, calls by tool, and its traits: commands and changed files.

    `credits` is None where none were metered; `scores` are what `kiro.score` was given.
    """

    seconds: float
    credits: float | None
    turns: int
    calls: Counter[str]
    traits: frozenset[str]
    scores: Mapping[str, ScoreRecord] = field(default_factory=dict)


def behaviour_of(test: TestRecord, shared: Iterable[TurnRecord] = ()) -> Behaviour:
    """Return what the agent did in a trial; `shared` are turns of fixtures."""
    turns = [turn for turn in (*test.turns, *shared) if not turn.retried]
    calls = [call for turn in turns for call in turn.tool_calls]
    metered = [turn.credits for turn in turns if turn.credits is not None]
    commands = [str(call.input["command"]) for call in calls if call.name == _SHELL and call.input.get("command")]
    traits = [f"`{_short(command)}`" for command in commands]
    for turn in turns:
        if turn.changes is not None:
            for kind in ("added", "modified", "deleted"):
                traits += [f"{path} {kind}" for path in getattr(turn.changes, kind)]
    return Behaviour(
        seconds=sum(turn.duration or 0.0 for turn in turns),
        credits=sum(metered) if metered else None,
        turns=len(turns),
        calls=Counter(call.name for call in calls),
        traits=frozenset(traits),
        scores=test.scores,
    )


@dataclass(frozen=True)
class Trait:
    """A command or a changed file, and how many trials had it."""

    what: str
    count: int
    trials: int
    baseline_count: int
    baseline_trials: int

    @property
    def apart(self) -> float:
        """By how much its share of trials differs from the baseline's."""
        return self.count / self.trials - self.baseline_count / self.baseline_trials


def traits_apart(trials: Sequence[Behaviour], baseline: Sequence[Behaviour]) -> list[Trait]:
    """Return what one arm did more often, the clearest first.

    >>> one = Behaviour(1.0, None, 1, Counter(shell=1), frozenset({"`pip install x`"}))
    >>> traits_apart([one, one], [Behaviour(1.0, None, 1, Counter(), frozenset())])[0].count
    2
    """
    if not trials or not baseline:
        return []
    counts = Counter(trait for trial in trials for trait in trial.traits)
    baseline_counts = Counter(trait for trial in baseline for trait in trial.traits)
    found = [
        Trait(what, counts[what], len(trials), baseline_counts[what], len(baseline))
        for what in sorted({*counts, *baseline_counts})
    ]
    return sorted((trait for trait in found if abs(trait.apart) >= _TOLD_APART), key=lambda trait: -abs(trait.apart))


@dataclass(frozen=True)
class Medians:
    """The medians of an arm's trials; `credits` is None where none were metered.

    `tools` has the medians of calls by tool that are not 0, the largest first.
    """

    seconds: float
    credits: float | None
    turns: float
    calls: float
    tools: Mapping[str, float]


def medians_of(trials: Sequence[Behaviour]) -> Medians | None:
    """Return an arm's medians, None without trials."""
    if not trials:
        return None
    metered = [trial.credits for trial in trials if trial.credits is not None]
    names = sorted({tool for trial in trials for tool in trial.calls})
    tools = {tool: float(median(trial.calls[tool] for trial in trials)) for tool in names}
    return Medians(
        seconds=median(trial.seconds for trial in trials),
        credits=median(metered) if metered else None,
        turns=median(trial.turns for trial in trials),
        calls=median(trial.calls.total() for trial in trials),
        tools=dict(sorted(((tool, count) for tool, count in tools.items() if count), key=lambda one: -one[1])),
    )


def medians_of_scores(tests: Iterable[TestRecord]) -> dict[str, float]:
    """Return the median of each score that tests gave to themselves.

    >>> medians_of_scores([])
    {}
    """
    values: defaultdict[str, list[float]] = defaultdict(list)
    for test in tests:
        for name, score in test.scores.items():
            values[name].append(score.value)
    return {name: median(each) for name, each in values.items()}


def _short(command: str) -> str:
    first = command.strip().partition("\n")[0]
    return first if len(first) <= _COMMAND else f"{first[: _COMMAND - 1]}…"
