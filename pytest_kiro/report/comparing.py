"""Makes the lines on comparisons of variants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pytest_kiro.report.trials import bounds, percent
from pytest_kiro.secrecy.visible import escaped
from pytest_kiro.trials.comparison import ALPHA, alpha_of_first
from pytest_kiro.trials.measures import FEWEST_VALUES
from pytest_kiro.trials.power import detectable_difference
from pytest_kiro.trials.rates import suite_rate, wilson
from pytest_kiro.trials.strata import smallest_mid_p
from pytest_kiro.trials.variants import Arm, Compared, Contest, ScoreCompared
from pytest_kiro.turn.shown import short

#: What is shown of how behaviour differs, and of failures.
_TRAITS, _FAILURES, _MESSAGE = 6, 2, 120
_NUMBERS = ("seconds", "credits", "calls", "turns")
#: Tools that are named of an arm's calls.
_TOOLS = 4


def contest_lines(contest: Contest, *, full: bool = False, aa: bool = False) -> Iterator[tuple[str, bool]]:
    """Yield the lines on a comparison, and whether each is a warning.

    `full` has the exact p and all numbers; `aa` says that every variant was the baseline.
    """
    same = f" (A/A: every variant is {contest.baseline.name}, so what is told apart is noise)" if aa else ""
    yield f"{contest.name}, by {contest.parameter}{same}", False
    arms = [contest.baseline, *(one.variant for one in contest.compared)]
    width = max(len(arm.name) for arm in arms)
    for arm in arms:
        yield f"  {arm.name:<{width}}  {arm_line(arm)}", False
    for one in contest.compared:
        said = finding(one, _size(contest), contest.detectable)
        yield f"  {one.variant.name} − {one.baseline.name}  {said}", is_worse(one)
        yield from ((f"    {line}", False) for line in detail_lines(one, full))


def is_worse(compared: Compared) -> bool:
    """Whether a variant is distinguishably worse than its baseline."""
    return compared.decision is not None and compared.decision.finding == "worse"


def finding(compared: Compared, size: str, detectable: float | None) -> str:
    """Say what a comparison shows, and from which numbers; so many trials could tell a `detectable` difference."""
    comparison, decision = compared.comparison, compared.decision
    if comparison is None or decision is None:
        return f"not judged ({compared.reason})"
    low, high = comparison.difference.interval
    words = f"{_points(comparison.difference.estimate)} points [{_points(low)}, {_points(high)}]"
    if decision.finding == "insufficient":
        return f"{words}: insufficient, no outcome of so few trials could tell them apart"
    adjusted = f", adjusted {_p(decision.adjusted_p)}" if decision.adjusted_p - comparison.test.mid_p > 1e-9 else ""
    words += f", {_p(comparison.test.mid_p)}{adjusted}: {decision.finding}"
    if decision.finding == "undecided" and detectable is not None:
        words += f"; {size} can tell {100 * detectable:.0f} points apart"
    return words


def plan_lines(plans: Mapping[str, tuple[int, int, int]]) -> list[str]:
    """Say what comparisons can show, by their variants, trials and tasks.

    Their p will be adjusted for each other, so one that is alone in showing anything must reach less than alpha.
    """
    able = [plan for plan in plans.values() if smallest_mid_p([(plan[1], plan[1])] * plan[2]) <= ALPHA]
    together = max(1, sum(variants - 1 for variants, *_ in able))
    return [plan_line(name, *plan, together) for name, plan in plans.items()]


def plan_line(contest: str, variants: int, trials: int, tasks: int, together: int = 1) -> str:
    """Say before anything is spent what a comparison can show; so many are read `together`.

    >>> plan_line("test_a.py::test_x", 2, 10, 1)
    'kiro: comparing 2 variants of test_a.py::test_x, 10 trials each: differences of 60 points can be told'
    """
    apart = detectable_difference(trials, tasks=tasks, alpha=alpha_of_first(together))
    told = "no difference" if apart is None else f"differences of {100 * apart:.0f} points"
    each = f"{trials} trial{'s' * (trials != 1)} {f'of each of {tasks} tasks' if tasks > 1 else 'each'}"
    first = f" by the first of {together} comparisons" if together > 1 else ""
    return f"kiro: comparing {variants} variants of {contest}, {each}: {told} can be told{first}"


def _size(contest: Contest) -> str:
    """Say of how many trials a comparison is."""
    samples = contest.baseline.samples
    trials = min(sample.group.design.trials for sample in samples)
    each = f"{trials} trial{'s' * (trials != 1)} each"
    return f"{len(samples)} tasks of {each}" if len(samples) > 1 else each


def arm_line(arm: Arm) -> str:
    """Say how an arm's trials ended, and what they took."""
    parts = [f"{arm.passes}/{arm.valid}".rjust(7)]
    if arm.valid and len(arm.samples) == 1:
        parts.append(f"{percent(arm.passes / arm.valid):>5} {bounds(wilson(arm.passes, arm.valid))}")
    elif arm.valid:  # tasks differ, so trials are not pooled into an interval
        suite = suite_rate([s.group.tally.passes / s.group.tally.valid for s in arm.samples if s.group.tally.valid])
        interval = f" {bounds(suite.interval)}" if suite.interval is not None else ""
        mean, pooled = percent(suite.mean), percent(arm.passes / arm.valid)
        # A difference weighs tasks by their trials, so where those differ its two rates are shown, too.
        tasks = f"{suite.tasks} task{'s' * (suite.tasks != 1)}"  # all trials of others may be lost
        alike = f"{mean:>5}{interval} of {tasks}"
        parts.append(alike if mean == pooled else f"{pooled:>5}  mean of {tasks} {mean}{interval}")
    if (medians := arm.medians) is not None:
        parts.append(f"median {medians.seconds:.1f} s")
        parts += [f"{medians.credits:.2f} credits"] if medians.credits is not None else []
        tools = ", ".join(f"{count:g} {escaped(tool)}" for tool, count in list(medians.tools.items())[:_TOOLS])
        calls = f"{medians.calls:g} call{'s' * (medians.calls != 1)}"
        parts.append(f"{calls} ({tools})" if tools else calls)
        parts += [f"{medians.turns:g} turns"] if medians.turns != 1 else []
    lost = sum(sample.group.tally.lost for sample in arm.samples)
    return "  ".join([*parts, *([f"{lost} lost"] if lost else [])])


def detail_lines(compared: Compared, full: bool) -> Iterator[str]:
    """Say how the behaviour of two arms differs, and what failed."""
    variant, baseline = compared.variant.name, compared.baseline.name
    traits = compared.traits
    for more, less, sign in ((variant, baseline, 1), (baseline, variant, -1)):
        own = [trait for trait in traits if trait.apart * sign > 0]
        shown = own if full else own[:_TRAITS]
        words = []
        for trait in shown:
            here, there = (trait.count, trait.trials), (trait.baseline_count, trait.baseline_trials)
            here, there = (here, there) if sign > 0 else (there, here)
            words.append(f"{escaped(trait.what)} {here[0]}/{here[1]} ({less} {there[0]}/{there[1]})")
        if words:
            left = f"; and {len(own) - len(shown)} more" if len(own) > len(shown) else ""
            yield f"more in {more}: {'; '.join(words)}{left}"
    for arm in (compared.variant, compared.baseline):
        yield from _alike(arm.failures, arm.name, "failures", "failed once")
        yield from _alike(arm.losses, arm.name, "losses", "lost a trial")
    if compared.sequential:
        yield "trials were added because of what the first ones had shown: p and interval hold for one look only"
    if compared.differences:
        yield f"what answered differs: {', '.join(compared.differences)}"
    yield from map(score_line, compared.scores)
    yield from _measures(compared, full)


def _alike(said: Mapping[str, int], arm: str, several: str, once: str) -> Iterator[str]:
    total = sum(said.values())
    for why, count in list(said.items())[:_FAILURES]:
        which = f"{count} of {arm}'s {total} {several}{' alike' * (count > 1)}"
        yield f"{which if total > 1 else f'{arm} {once}'}: {short(escaped(why), _MESSAGE)}"


def score_line(score: ScoreCompared) -> str:
    """Say how a score compares with the baseline's."""
    measured, name = score.measured, escaped(score.name)
    medians = f"median {name} {measured.baseline_median:.6g} → {measured.median:.6g}"
    if score.better is None:
        return f"{medians}, not judged (trials do not agree whether lower or higher is better)"
    direction = f"{score.better} is better"
    if measured.p is None:
        return f"{medians}, {direction}: insufficient, p needs {FEWEST_VALUES} trials each"
    return f"{medians}, {direction}, {_p(measured.p)}: {score.finding}"


def _measures(compared: Compared, full: bool) -> Iterator[str]:
    """Say which numbers differ; they are no primary comparisons, so their p are not adjusted."""
    for what in _NUMBERS:
        measured = compared.measured(what)
        if measured is None or measured.p is None or not (full or measured.p <= 0.05):
            continue
        yield f"median {what} {measured.baseline_median:.3g} → {measured.median:.3g}, {_p(measured.p)}"
    if full and compared.comparison is not None:
        yield f"exact {_p(compared.comparison.test.exact_p)}"


def _p(p: float) -> str:
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.2g}"


def _points(share: float) -> str:
    points = round(100 * share)
    return f"{points:+d}" if points else "0"
