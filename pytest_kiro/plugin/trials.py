"""Makes trials of tests: items of their own, by the parameter of a fixture that `kiro` depends on.

So pytest itself sets up anew, for each trial, whatever depends on `kiro`: a wider fixture's turns are one trial's too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import pytest

from pytest_kiro.settings.table import did_you_mean

if TYPE_CHECKING:
    from pytest_kiro.settings.table import Settings
    from pytest_kiro.trials.gates import Design

#: The mark, and the fixture by whose parameter a test has trials.
MARK, TRIAL = "kiro_trials", "kiro_trial"
#: The test's name, without its trial, by which a scenario answers; where it is not the item's own.
ANSWERED_AS = pytest.StashKey[str]()
#: Attributes of reports: of a trial whose failure is none of the run's, and of a verdict.
TOLERATED, VERDICT = "kiro_tolerated", "kiro_verdict"
#: Outcomes of such a trial's reports; pytest counts only those that are failed, passed and skipped.
TRIAL_FAILED, LOST, NOT_NEEDED = "trial failed", "trial lost", "not needed"
_WORDS = ("n", "pass_rate", "gate", "all_of", "any_of")


class TrialNumber(int):
    """The number of a trial, and the value it runs under.

    pytest sets up anew what depends on it where one is not another, by identity or equality as its versions have it.
    """

    variant: str | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TrialNumber) and (int(self), self.variant) == (int(other), other.variant)

    def __hash__(self) -> int:
        return hash((int(self), self.variant))

    @classmethod
    @cache
    def of(cls, number: int, variant: str | None) -> TrialNumber:
        made = cls(number)
        made.variant = variant
        return made


class Trial(NamedTuple):
    """Which trial a test's item is: the test's name without the trial, and its number from 1."""

    group: str
    number: int


def make_trials(metafunc: pytest.Metafunc, settings: Settings, added: range | None) -> None:
    """Make the trials that a mark and the settings want.

    Their numbers come last in their names, so that trial 2 of 5 is trial 2 of 10; `added` are those of trials that go
    on behind an earlier run's.
    """
    design = design_of(metafunc.definition, settings, added.stop - 1 if added else None)
    if design is None:
        return
    compared = settings.variants if is_compared(metafunc.definition, settings) else None
    variants: Sequence[str | None] = compared.values if compared else (None,)
    numbers = [TrialNumber.of(number, value) for number in added or range(1, design.trials + 1) for value in variants]
    ids = [f"{number.variant}-trial{number}" if number.variant else f"trial{number}" for number in numbers]
    metafunc.parametrize(TRIAL, numbers, indirect=True, ids=ids, scope="session")


def is_compared(item: pytest.Item, settings: Settings) -> bool:
    """Whether a test runs under each of several values of a setting; one whose mark says its own does not."""
    variants = settings.variants
    return variants is not None and not any(variants.name in mark.kwargs for mark in item.iter_markers("kiro"))


def design_of(item: pytest.Item, settings: Settings, planned: int | None = None) -> Design | None:
    """Return what a test's trials are to show, if it has any.

    They are so many as `planned`, else as the settings or its mark say. A wrong mark fails the collection.
    """
    mark = item.get_closest_marker(MARK)
    compared = item.get_closest_marker("kiro_compare") is not None or is_compared(item, settings)
    if planned is None:
        planned = settings.trials
    if mark is None and planned is None and not compared:
        return None
    from pytest_kiro.trials.gates import Design, refusal

    words = _words(item, mark) if mark else {}
    wanted = {"trials": words.pop("n", 1), **words, "min_valid": settings.min_valid}
    if planned is not None:
        wanted["trials"] = planned
    if settings.gate is not None:
        wanted["gate"] = settings.gate
    try:
        design = Design(**{name: value for name, value in wanted.items() if value is not None})
        never = refusal(design)
    except (TypeError, ValueError) as error:
        pytest.fail(f"{item.nodeid}: mark.{MARK}: {error}", pytrace=False)
    if never:
        pytest.fail(f"{item.nodeid}: mark.{MARK}: {never}", pytrace=False)
    return design


def _words(item: pytest.Item, mark: pytest.Mark) -> dict[str, Any]:
    """Return the words of a mark; `n` may stand alone."""
    words = {**dict(zip(_WORDS, mark.args, strict=False)), **mark.kwargs}
    unknown = next((word for word in words if word not in _WORDS), None)
    if unknown is not None:
        hint = did_you_mean(unknown, list(_WORDS))
        pytest.fail(
            f"{item.nodeid}: mark.{MARK} has no keyword {unknown!r}{hint}; known: {', '.join(_WORDS)}", pytrace=False
        )
    if len(mark.args) > 1 or "n" not in words:
        pytest.fail(
            f"{item.nodeid}: mark.{MARK} takes one number, how many trials there are, and keywords", pytrace=False
        )
    return words


def trial_of(item: pytest.Item) -> Trial | None:
    """Return which trial an item is, None where its test has none."""
    number = number_of(item)
    if number is None:
        return None
    return Trial(parameters_without(name_of(item), f"trial{number}"), int(number))


def name_of(item: pytest.Item) -> str:
    """Return a test's name without the group that `--dist=loadgroup` adds to it."""
    return f"{item.nodeid.rpartition(item.name)[0]}{item.name}"


def test_of(item: pytest.Item) -> str:
    """Return the name of an item's test, without parameters."""
    call = getattr(item, "callspec", None)
    return name_of(item).removesuffix(f"[{call.id}]") if call else name_of(item)


def kiro_id_of(item: pytest.Item) -> str:
    """Return what other runs find a test by, where its mark says.

    It is the mark's `kiro_id` with the test's parameters, without its trial; empty without one.
    """
    word = next((mark.kwargs["kiro_id"] for mark in item.iter_markers("kiro") if "kiro_id" in mark.kwargs), None)
    if word is None:
        return ""
    trial = trial_of(item)
    return f"{word}{(trial.group if trial else name_of(item)).removeprefix(test_of(item))}"


def parameters_without(nodeid: str, parameter: str, by: str = "") -> str:
    """Return a test's name with a parameter's id left out, or replaced.

    >>> parameters_without("t.py::test[a-trial1]", "trial1"), parameters_without("t.py::test[a]", "a")
    ('t.py::test[a]', 't.py::test')
    >>> parameters_without("t.py::test[a-b]", "a", by="c")
    't.py::test[c-b]'
    """
    path, colons, test = nodeid.partition("::")  # a folder may have brackets, too
    start, bracket, ids = test.partition("[")
    start = f"{path}{colons}{start}"
    places = [one.start(1) for one in re.finditer(rf"(?:^|-)({re.escape(parameter)})(?=[-\]])", ids)]
    if not places:
        return nodeid
    before, after = ids[: places[-1]], ids[places[-1] + len(parameter) :]
    if by:
        return f"{start}{bracket}{before}{by}{after}"
    ids = f"{before.removesuffix('-')}{after if before else after.removeprefix('-')}"
    return start if ids == "]" else f"{start}{bracket}{ids}"


def number_of(item: object) -> TrialNumber | None:
    """Return the number of an item's trial, if it is one."""
    call = getattr(item, "callspec", None)
    number: TrialNumber | None = call.params.get(TRIAL) if call else None
    return number


def count_as(report: pytest.TestReport, outcome: str) -> None:
    """Give a report an outcome that pytest does not count.

    It is then no test of the run; pytest-rerunfailures does the same.
    """
    report.outcome = cast(Any, outcome)


def in_order(items: list[pytest.Item]) -> None:
    """Run the first trials of all tests before any second one.

    So a drift of the service falls on all variants alike, and trials that share a fixture stay together.
    """
    if any(number_of(item) for item in items):
        items.sort(key=lambda item: number_of(item) or 1)


def wrong_trials(items: Sequence[pytest.Item]) -> str | None:
    """Say what is wrong with the first test whose trials cannot be."""
    for item in items:
        if number_of(item) and getattr(item.config, "workerinput", {}).get("kiro_dist") == "each":
            return f"{item.nodeid}: --dist=each runs every trial on every worker, so use another --dist"
        call = getattr(item, "callspec", None)
        if call is not None and any(mark.name == MARK for mark in call.marks):
            return f"{item.nodeid}: mark.{MARK} stands at a parameter; mark the test, all variants have as many"
        if item.get_closest_marker(MARK) and TRIAL not in getattr(item, "fixturenames", ()):
            return f"{item.nodeid}: mark.{MARK} is for tests that ask for kiro; this one does not"
        if number_of(item) and (item.config.getoption("reruns", 0) or item.get_closest_marker("flaky")):
            return (
                f"{item.nodeid}: trials are not run again until they pass, or an agent that passes 7 of 10 would look "
                "like one that passes 97 of 100; leave --reruns and mark.flaky out, and say pass_rate"
            )
    return None
