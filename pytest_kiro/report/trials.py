"""Makes the lines on groups of trials."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_kiro.secrecy.visible import escaped
from pytest_kiro.trials.costs import Estimate
from pytest_kiro.trials.gates import Design
from pytest_kiro.trials.groups import Group
from pytest_kiro.trials.rates import (
    Interval,
    clopper_pearson,
    pass_at_k,
    pass_at_k_interval,
    pass_hat_k,
    pass_hat_k_interval,
    possible_rates,
)
from pytest_kiro.turn.shown import short

#: What is shown of failures: kinds, characters of each.
_FAILURES, _MESSAGE = 3, 160
#: One for each trial, in the order of their numbers.
_GLYPHS = {"passed": "✓", "failed": "✗", "lost": "·", "not needed": "-", "not run": "-"}


def group_line(group: Group, *, full: bool = False) -> str:
    """Say how a group's trials ended, and what that shows.

    `full` has the exact interval as well.
    """
    tally = group.tally
    parts = [group.name, strip(group), f"{tally.passes}/{tally.valid}"]
    if (interval := group.interval) is not None:
        rate = "" if group.rate is None else f"{percent(group.rate)} "
        estimated = "estimate " if rate and group.curtailed else ""  # it is no share of those that ran
        parts.append(f"{estimated}{rate}{bounds(interval)}")
        parts += ["sequential"] if group.sequential else []
        if full and not (group.curtailed or group.sequential):
            parts.append(f"exact {bounds(clopper_pearson(tally.passes, tally.valid))}")
    if several := _several(group):
        parts.append(several)
    parts += _left(group)
    return "  ".join([*parts, f"{_needs(group.design)}: {verdict(group)}"])


def failure_lines(group: Group) -> list[str]:
    """Say what failures and losses of a group say, alike ones once."""
    tally = group.tally
    failures = _alike(group.failures, tally.failures, "failure", "failures")
    return [*failures, *_alike(group.losses, tally.lost, "loss", "losses")]


def _alike(said: Mapping[str, int], total: int, one: str, several: str) -> list[str]:
    lines = []
    for why, count in list(said.items())[:_FAILURES]:
        which = f"its {one}" if total == 1 else f"{count} of {total} {several}{' alike' * (count > 1)}"
        lines.append(f"  {which}: {short(escaped(why), _MESSAGE)}")
    more = len(said) - len(lines)
    return [*lines, f"  and {more} other {several}"] if more > 0 else lines


def scores_line(medians: Mapping[str, float]) -> str:
    """Say the medians of a group's scores.

    >>> scores_line({"lines": 120.0, "points": 7.5})
    '  median lines 120, points 7.5'
    """
    return f"  median {', '.join(f'{escaped(name)} {value:.6g}' for name, value in medians.items())}"


def saved_line(trials: int, credits: float | None) -> str:
    """Say what curtailment saved.

    >>> saved_line(7, 2.1)
    '7 trials were not needed, which saved about 2.10 credits'
    """
    which = f"{trials} trial was" if trials == 1 else f"{trials} trials were"
    return f"{which} not needed" + (f", which saved about {credits:.2f} credits" if credits is not None else "")


def estimate_line(estimate: Estimate, file: str) -> str:
    """Say before anything is spent what a run will take.

    >>> from pytest_kiro.trials.costs import Estimate
    >>> estimate_line(Estimate(trials=30, turns=31.0, credits=7.4, unknown=6), "main.json")
    'kiro: 30 trials, about 31 turns and 7.40 credits if all are run (estimated from main.json, which lacks 6 of them)'
    """
    trials = f"kiro: {estimate.trials} trial{'s' * (estimate.trials != 1)}"
    if estimate.unknown == estimate.trials:
        return f"{trials}; {file} has none of them, so nothing tells what they will take"
    turns = round(estimate.turns)
    credits = f" and {estimate.credits:.2f} credits" if estimate.credits is not None else ""
    unknown = f", which lacks {estimate.unknown} of them" if estimate.unknown else ""
    taken = f"about {turns} turn{'s' * (turns != 1)}{credits} if all are run"
    return f"{trials}, {taken} (estimated from {file}{unknown})"


def decision(group: Group) -> str:
    """Say the verdict, and from how many trials.

    It is what a list of failures shows of it.
    """
    return f"{group.tally.passes} of {group.tally.valid} passed, {_needs(group.design)}: {verdict(group)}"


def verdict(group: Group) -> str:
    """Say a group's verdict, and its reason where one is needed."""
    word = {"error": "nothing was evaluated", "incomplete": "not judged"}.get(
        group.verdict.outcome, group.verdict.outcome
    )
    reason = "" if group.verdict.outcome == "error" else group.verdict.reason
    return f"{word} ({reason})" if reason else word


def strip(group: Group) -> str:
    """Show each trial by a character: ✓ passed, ✗ failed, · lost, - not run."""
    return "".join(_GLYPHS[end.outcome] for end in group.ends)


def percent(share: float | None) -> str:
    """Write a share as people read it.

    >>> percent(6 / 7)
    '86 %'
    """
    return "–" if share is None else f"{100 * share:.0f} %"


def bounds(interval: Interval) -> str:
    """Write an interval in percent."""
    return f"[{100 * interval.low:.0f}, {100 * interval.high:.0f}]"


def _several(group: Group) -> str:
    """Say the rate of several trials at once, where asked."""
    tally, design = group.tally, group.design
    k = max(design.all_of, design.any_of)
    if k == 1 or tally.valid < k:
        return ""
    all_of = design.all_of > 1
    estimate = (pass_hat_k if all_of else pass_at_k)(tally.passes, tally.valid, k)
    interval = (pass_hat_k_interval if all_of else pass_at_k_interval)(tally.passes, tally.valid, k)
    shown = "" if group.curtailed else f"{percent(estimate)} "
    return f"pass{'^' if all_of else '@'}{k} {shown}{bounds(interval)}"


def _left(group: Group) -> list[str]:
    """Say which trials say nothing, and what they leave open."""
    parts = []
    if group.lost:
        alone = len(group.lost) == 1
        reasons = ", ".join(why if alone or count == 1 else f"{why} {count}" for why, count in group.lost.items())
        parts.append(f"{group.tally.lost} lost ({reasons})")
        if group.tally.valid:
            low, high = possible_rates(group.tally.passes, group.tally.valid, group.tally.lost)
            which = "it" if group.tally.lost == 1 else "them"
            parts.append(f"could be {100 * low:.0f} to {100 * high:.0f} % with {which}")
    if group.not_needed:
        parts.append(f"{group.not_needed} not needed")
    return parts


def _needs(design: Design) -> str:
    if design.pass_rate == 1 and design.any_of == 1:
        return "needs all"
    word = {"point": "needs", "refute": "refute", "demonstrate": "demonstrate"}[design.gate]
    return f"{word} {100 * design.pass_rate:.4g} %"  # 99.5 % tolerates a failure: it is not 100
