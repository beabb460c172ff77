"""Comparisons of variants: from records to what is said, and what is never judged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pytest_kiro.records import tests as records
from pytest_kiro.records.phases import PhaseRecord
from pytest_kiro.records.tests import TrialRecord, VariantRecord
from pytest_kiro.records.turns import ChangesRecord, ProvenanceRecord, ToolCallRecord, TurnRecord
from pytest_kiro.report.comparing import contest_lines, plan_line, plan_lines
from pytest_kiro.trials.behaviour import behaviour_of
from pytest_kiro.trials.groups import group_of
from pytest_kiro.trials.power import detectable_difference
from pytest_kiro.trials.variants import Contest, Sample, contests_of, sample_of


def call(command: str) -> ToolCallRecord:
    return ToolCallRecord(name="shell", raw_name="execute_bash", status="completed", input={"command": command})


def trial(variant: str, number: int, *, passed: bool, planned: int, task: str = "t.py::test", **turn: Any) -> Any:
    """One trial of a variant."""
    phases = () if passed else (PhaseRecord(name="call", outcome="failed", message="AssertionError: no"),)
    group = f"{task}[{variant}]"
    return records.TestRecord(
        nodeid=f"{group}-{number}",
        outcome="passed" if passed else "failed",
        infrastructure=False,
        worker="main",
        attempts=1,
        duration=0.0,
        credits=None,
        phases=phases,
        turns=(TurnRecord(number=1, duration=2.0, **turn),),
        trial=TrialRecord(
            group=group,
            number=number,
            planned=planned,
            tolerant=True,
            gated=False,
            variant=VariantRecord(
                comparison="t.py::test", parameter="prompt", variant=variant, baseline="plain", task=task
            ),
        ),
    )


def sample(
    variant: str, passes: int, trials: int, *, run: int | None = None, task: str = "t.py::test", **turn: Any
) -> Sample:
    tests = [
        trial(variant, number, passed=number <= passes, planned=trials, task=task, **turn)
        for number in range(1, (trials if run is None else run) + 1)
    ]
    made = sample_of(group_of(tests, lambda _: (), min_valid=0.9), tests, lambda _: ())
    assert made is not None
    return made


def contest(*samples: Sample) -> Contest:
    (one,) = contests_of(samples)
    return one


def lines(*samples: Sample, full: bool = False) -> list[str]:
    return [line for line, _ in contest_lines(contest(*samples), full=full)]


def findings(*samples: Sample) -> dict[str, str]:
    return {
        one.variant.name: one.decision.finding if one.decision else one.reason for one in contest(*samples).compared
    }


def test_a_variant_is_better_worse_or_undecided() -> None:
    found = findings(sample("plain", 5, 10), sample("good", 10, 10), sample("bad", 0, 10), sample("same", 6, 10))
    assert found == {"good": "better", "bad": "worse", "same": "undecided"}


def test_tasks_are_strata_and_only_those_of_both_arms_count() -> None:
    tasks = [f"t.py::test[{letter}]" for letter in "abc"]
    whole = contest(
        *(sample("plain", 2, 5, task=task) for task in tasks),
        *(sample("good", 5, 5, task=task) for task in tasks),
        sample("good", 0, 5, task="t.py::test[only-here]"),
    )
    (one,) = whole.compared
    assert one.comparison is not None
    assert len(one.comparison.strata) == 3
    assert one.decision is not None
    assert one.decision.finding == "better"
    shown = [line for line, _ in contest_lines(whole)]
    assert shown[1].startswith("  plain     6/15   40 % of 3 tasks")  # tasks differ: no pooled interval


def test_the_rate_of_a_suite_has_an_interval_over_tasks() -> None:
    """From five tasks on; their trials are not pooled, which would be surer than tasks that differ allow."""
    passed = {"a": 5, "b": 4, "c": 3, "d": 5, "e": 1, "f": 2}
    suite = [sample("plain", passes, 5, task=f"t.py::test[{task}]") for task, passes in passed.items()]
    shown = lines(*suite, *(sample("good", 5, 5, task=f"t.py::test[{task}]") for task in passed))
    assert shown[1].startswith("  plain    20/30   67 % [32, 100] of 6 tasks")
    assert shown[2].startswith("  good     30/30  100 % [61, 100] of 6 tasks")


def test_where_tasks_have_other_numbers_of_trials_both_rates_are_shown() -> None:
    """A difference weighs tasks by their trials: 100 less 75 are the points that it tells."""
    tasks = {"t.py::test[a]": (6, 6), "t.py::test[b]": (0, 2)}
    shown = lines(
        *(sample("plain", passes, trials, task=task) for task, (passes, trials) in tasks.items()),
        *(sample("good", trials, trials, task=task) for task, (_, trials) in tasks.items()),
    )
    assert shown[1].startswith("  plain      6/8   75 %  mean of 2 tasks 50 %")
    assert shown[2].startswith("  good       8/8  100 % of 2 tasks")
    assert shown[3].startswith("  good − plain  +25 points")


def test_a_task_all_of_whose_trials_were_lost_is_not_counted() -> None:
    lost = {"task": "t.py::test[b]", "cause": "throttled", "infrastructure": True}
    shown = lines(*(sample(one, 5, 5, **words) for one in ("plain", "good") for words in ({}, lost)))
    assert shown[1].startswith("  plain      5/5  100 % of 1 task  ")


@pytest.mark.parametrize(
    "provenance",
    [
        ProvenanceRecord(model_asked="one", model="two"),
        ProvenanceRecord(model_asked="one", model="auto"),
        ProvenanceRecord(model="two", model_fallback="unavailable"),
    ],
)
def test_what_another_model_has_answered_is_not_judged(provenance: ProvenanceRecord) -> None:
    plain, good = sample("plain", 5, 10), sample("good", 10, 10, provenance=provenance)
    reason = "in t.py::test[good] another model answered than was asked for"
    assert findings(plain, good) == {"good": reason}
    fine = ProvenanceRecord(model_asked="auto", model="two")
    assert findings(plain, sample("good", 10, 10, provenance=fine)) == {"good": "better"}


def test_what_was_not_run_whole_is_not_judged() -> None:
    assert findings(sample("plain", 5, 10), sample("good", 4, 10, run=4)) == {
        "good": "t.py::test[good] was not run whole"
    }


def test_too_few_trials_are_insufficient_whatever_comes() -> None:
    assert findings(sample("plain", 0, 2), sample("good", 2, 2)) == {"good": "insufficient"}
    assert (
        "insufficient, no outcome of so few trials could tell them apart"
        in lines(sample("plain", 0, 2), sample("good", 2, 2))[-1 - 1]
    )


def test_the_table_says_rates_costs_and_how_behaviour_differs() -> None:
    changes = ChangesRecord(added=("slug.py", "test_slug.py"))
    careful = {"tool_calls": (call("python3 -m unittest"), call("ls")), "changes": changes, "credits": 0.5}
    careless = {"tool_calls": (call("ls"),), "changes": ChangesRecord(added=("slug.py",)), "credits": 0.25}
    shown = lines(sample("plain", 3, 8, **careless), sample("careful", 8, 8, **careful))
    assert shown == [
        "t.py::test, by prompt",
        "  plain        3/8   38 % [14, 69]  median 2.0 s  0.25 credits  1 call (1 shell)",
        "  careful      8/8  100 % [68, 100]  median 2.0 s  0.50 credits  2 calls (2 shell)",
        "  careful − plain  +62 points [+17, +86], p = 0.013: better",
        "    more in careful: `python3 -m unittest` 8/8 (plain 0/8); test_slug.py added 8/8 (plain 0/8)",
        "    5 of plain's 5 failures alike: AssertionError: no",
        "    median credits 0.25 → 0.5, p = 0.00016",
        "    median calls 1 → 2, p = 0.00016",
    ]
    assert "    exact p = 0.026" in lines(sample("plain", 3, 8), sample("careful", 8, 8), full=True)


def test_what_answered_differently_is_named() -> None:
    one, other = ProvenanceRecord(model="a", engine="v2"), ProvenanceRecord(model="b", engine="v2")
    shown = lines(sample("plain", 3, 8, provenance=one), sample("good", 8, 8, provenance=other))
    assert "    what answered differs: model a → b" in shown


def test_what_an_option_compares_is_not_named_as_a_difference() -> None:
    def arm(name: str, passes: int, parameter: str) -> Sample:
        made = sample(name, passes, 5, provenance=ProvenanceRecord(model_asked=name, model=name, cli_version=name))
        words = replace(made.variant, comparison=f"--kiro-{parameter}", parameter=parameter)
        return replace(made, variant=words)

    for parameter, named in (
        ("model", ("kiro-cli plain → x",)),
        ("effort", ("kiro-cli plain → x", "model asked plain → x", "model plain → x")),
    ):
        (compared,) = contest(arm("plain", 1, parameter), arm("x", 2, parameter)).compared
        assert compared.differences == named


def test_calls_are_told_by_tool_the_most_frequent_first() -> None:
    calls = (
        *[call(str(number)) for number in range(3)],
        *[ToolCallRecord(name=tool, raw_name=tool, status="completed", input={}) for tool in "abcd"],
    )
    shown = lines(sample("plain", 3, 8), sample("good", 8, 8, tool_calls=calls))
    assert shown[1].endswith("median 2.0 s  0 calls")
    assert shown[2].endswith("median 2.0 s  7 calls (3 shell, 1 a, 1 b, 1 c)")


def test_a_small_p_is_no_power_of_ten() -> None:
    shown = lines(sample("plain", 0, 30), sample("good", 30, 30), full=True)
    assert shown[3].endswith(", p < 0.0001: better")
    assert "    exact p < 0.0001" in shown


def test_a_command_cannot_steer_a_terminal() -> None:
    shown = lines(sample("plain", 0, 5), sample("evil", 5, 5, tool_calls=(call("echo \x1b[2J"),)))
    assert not any("\x1b" in line for line in shown)


def test_a_turn_that_was_run_again_is_no_behaviour() -> None:
    record = trial("plain", 1, passed=True, planned=1, retried=True, tool_calls=(call("ls"),))
    assert behaviour_of(record).calls == {}


def test_of_several_comparisons_the_first_must_show_more() -> None:
    """Their p are adjusted: one that is alone must reach 0.05 / 3, unless the others cannot show anything."""
    three, none = {"t": (4, 10, 1)}, {"t": (2, 10, 1), "few": (3, 2, 1)}
    assert plan_lines(three) == [
        "kiro: comparing 4 variants of t, 10 trials each: differences of 69 points can be told by the first of 3 "
        "comparisons"
    ]
    assert plan_lines(none)[0] == plan_line("t", 2, 10, 1)
    variants = contest(*(sample(name, passes, 10) for name, passes in (("plain", 5), ("a", 4), ("b", 6), ("c", 5))))
    assert variants.detectable == detectable_difference(10, alpha=0.05 / 3) == 0.69
    assert any("10 trials each can tell 69 points apart" in line for line, _ in contest_lines(variants))


@pytest.mark.parametrize(
    ("plan", "line"),
    [
        ((2, 10, 1), "comparing 2 variants of t, 10 trials each: differences of 60 points can be told"),
        (
            (3, 5, 4),
            "comparing 3 variants of t, 5 trials of each of 4 tasks: differences of 45 points can be told",
        ),
        ((2, 1, 1), "comparing 2 variants of t, 1 trial each: no difference can be told"),
    ],
)
def test_the_plan_says_what_can_be_told(plan: tuple[int, int, int], line: str) -> None:
    assert plan_line("t", *plan) == f"kiro: {line}"
