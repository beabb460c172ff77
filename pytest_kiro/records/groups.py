"""Defines what a run keeps of a group of trials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pytest_kiro.records.codec import Count, FromOne, Record

GroupVerdict = Literal["passed", "failed", "undecided", "error", "incomplete"]
Finding = Literal["better", "worse", "undecided", "insufficient"]
Share = Annotated[float | None, "From 0 to 1; null where there is none."]


@dataclass(frozen=True, kw_only=True)
class GroupRecord(Record):
    """All trials of one test, and what they show."""

    name: Annotated[str, "The test's name without its trials, as the tests have it in trial.group."]
    planned: FromOne
    pass_rate: Annotated[float, "The share that must pass."]
    gate: Annotated[str, "point, refute or demonstrate."]
    all_of: FromOne
    any_of: FromOne
    passed: Count
    failed: Count
    lost: Annotated[dict[str, FromOne], "How many trials the world, the budget or a skip kept from an end, by why."]
    not_needed: Annotated[Count, "How many were left out, since the verdict was certain."]
    not_run: Count
    rate: Annotated[Share, "Of those that passed or failed; if trials were left out, the unbiased estimate."]
    low: Annotated[
        Share, "The lower end of the 95 % interval of the rate; of a sequential group it holds at each look."
    ]
    high: Annotated[Share, "The upper end."]
    verdict: Annotated[GroupVerdict, "error when nothing was evaluated, incomplete when it is not judged."]
    reason: Annotated[str, "Why, where the numbers do not say it."]
    failures: Annotated[dict[str, FromOne], "How many trials failed, by what they say in their first line."]
    sequential: Annotated[bool, "Whether it was made larger because of what it had shown."] = False


@dataclass(frozen=True, kw_only=True)
class ComparisonRecord(Record):
    """A variant beside its baseline, over all their tasks."""

    name: Annotated[str, "The test whose variants they are."]
    parameter: str
    baseline: str
    variant: str
    tasks: Annotated[Count, "Those of which trials of both were evaluated."]
    finding: Annotated[Finding | None, "null when it is not judged."]
    reason: Annotated[str, "Why it is not judged."]
    difference: Annotated[float | None, "Of the rates, from -1 to 1."] = None
    low: Annotated[float | None, "The lower end of its 95 % interval."] = None
    high: Annotated[float | None, "The upper end."] = None
    p: Annotated[Share, "The mid-p of the exact test."] = None
    adjusted_p: Annotated[Share, "The same, adjusted for all comparisons of the run."] = None
    alike: Annotated[bool, "Whether all variants were the baseline (--kiro-aa)."] = False
