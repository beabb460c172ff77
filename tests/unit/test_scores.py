"""Numbers of trials beyond passed and failed: what is one, and how those of two variants are compared."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from test_trials_variants import contest, trial

from pytest_kiro.agent.bench import Owner
from pytest_kiro.agent.scores import score
from pytest_kiro.errors import ConversationError, SettingsError
from pytest_kiro.plugin.junit import note_scores
from pytest_kiro.records import tests as records
from pytest_kiro.records.phases import PhaseRecord
from pytest_kiro.records.tests import Gathered, ReportRecord, ScoreRecord
from pytest_kiro.report.comparing import contest_lines
from pytest_kiro.trials.groups import group_of
from pytest_kiro.trials.variants import Sample, sample_of


def owner(*, wide: bool = False) -> Owner:
    return Owner("t.py::test", (), Path("t.py"), wide=wide)


def test_the_last_score_of_a_name_holds() -> None:
    one = owner()
    for value in (120, Fraction(1, 2)):
        score(one, "lines", value, "lower")
    score(one, "points", 3, "higher")
    assert one.scores == {
        "lines": ScoreRecord(value=0.5, better="lower"),
        "points": ScoreRecord(value=3.0, better="higher"),
    }


WRONG: dict[str, tuple[Any, Any, Any, str]] = {
    "nan": ("lines", float("nan"), "lower", "score lines is nan; give it a finite number"),
    "infinite": ("lines", float("-inf"), "lower", "score lines is -inf"),
    "too_large": ("lines", 10**400, "lower", "score lines is inf"),
    "text": ("lines", "120", "lower", "score lines is '120', which is no number"),
    "none": ("lines", None, "lower", "score lines is None, which is no number"),
    "bool": ("lines", True, "lower", "score lines is True, which is no number"),
    "direction": ("lines", 1, "less", "score lines: better is 'less'; say one of lower, higher"),
    "no_name": (" ", 1, "lower", "the name of a score is ' '"),
    "two_lines": ("a\nb", 1, "lower", r"the name of a score is 'a\nb'"),
    "long": ("a" * 101, 1, "lower", "name it in one line of at most 100 characters"),
    "other_direction": ("known", 1, "lower", "score known: better is 'lower', and was 'higher'"),
}


@pytest.mark.parametrize(("name", "value", "better", "message"), WRONG.values(), ids=WRONG)
def test_what_is_no_score_is_refused(name: Any, value: Any, better: Any, message: str) -> None:
    one = owner()
    score(one, "known", 1, "higher")
    with pytest.raises(SettingsError) as caught:
        score(one, name, value, better)
    assert message in str(caught.value)
    assert list(one.scores) == ["known"]


def test_a_wide_fixture_has_no_score() -> None:
    with pytest.raises(ConversationError, match="is no trial's alone"):
        score(owner(wide=True), "lines", 1, "lower")


def test_the_scores_of_the_last_attempt_are_kept() -> None:
    gathered = Gathered()
    for attempt, value in ((1, 5.0), (2, None)):
        scores = {} if value is None else {"lines": ScoreRecord(value=value, better="lower")}
        for name in ("setup", "call"):
            phase = PhaseRecord(name=name, outcome="passed")  # type: ignore[arg-type] # both are names of phases
            gathered.phase("t.py::test", phase, ReportRecord(attempt=attempt, scores=scores), None)
        assert gathered.test("t.py::test").scores == scores
    gathered.phase("t.py::test", phase, ReportRecord(scores={"a": ScoreRecord(value=1, better="lower")}), None)
    gathered.phase("t.py::test", PhaseRecord(name="crash", outcome="failed"), None, None)
    assert list(gathered.test("t.py::test").scores) == ["a"]


def test_properties_have_the_last_scores() -> None:
    properties: list[tuple[str, object]] = [("kiro_score_lines", 1.0), ("other", 2)]
    note_scores([properties], {"lines": ScoreRecord(value=5.0, better="lower")})
    assert properties == [("other", 2), ("kiro_score_lines", 5.0)]


# -- compared


def sample(variant: str, *values: float | None, better: Any = "lower") -> Sample:
    tests: list[records.TestRecord] = []
    for number, value in enumerate(values, 1):
        scores = {} if value is None else {"lines": ScoreRecord(value=value, better=better)}
        tests.append(replace(trial(variant, number, passed=True, planned=len(values)), scores=scores))
    made = sample_of(group_of(tests, lambda _: (), min_valid=0.9), tests, lambda _: ())
    assert made is not None
    return made


MANY, FEW = (141, 139, 140, 150, 130), (121, 119, 120, 110, 115)
SAID: dict[str, tuple[Sample, Sample, str]] = {
    "better": (sample("plain", *MANY), sample("x", *FEW), "140 → 119, lower is better, p = 0.0079: better"),
    "worse": (sample("plain", *FEW), sample("x", *MANY), "119 → 140, lower is better, p = 0.0079: worse"),
    "higher": (
        sample("plain", *FEW, better="higher"),
        sample("x", *MANY, better="higher"),
        "119 → 140, higher is better, p = 0.0079: better",
    ),
    "undecided": (sample("plain", *MANY), sample("x", *MANY), "140 → 140, lower is better, p = 1: undecided"),
    "insufficient": (
        sample("plain", *MANY),
        sample("x", 1, 2, None, None, None),
        "140 → 1.5, lower is better: insufficient, p needs 5 trials each",
    ),
    "disagreed": (
        sample("plain", *MANY),
        sample("x", *FEW, better="higher"),
        "140 → 119, not judged (trials do not agree whether lower or higher is better)",
    ),
}


@pytest.mark.parametrize(("baseline", "variant", "said"), SAID.values(), ids=SAID)
def test_medians_are_compared(baseline: Sample, variant: Sample, said: str) -> None:
    lines = [(line, warns) for line, warns in contest_lines(contest(baseline, variant)) if "median lines" in line]
    assert lines == [(f"    median lines {said}", False)]


def test_without_scores_in_both_nothing_is_said() -> None:
    lines = [line for line, _ in contest_lines(contest(sample("plain", *MANY), sample("x", *[None] * 5)))]
    assert not any("median lines" in line for line in lines)
