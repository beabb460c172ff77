"""Makes the lines on two runs that are compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean

from pytest_kiro.report.comparing import arm_line, detail_lines, finding, is_worse
from pytest_kiro.report.trials import strip
from pytest_kiro.secrecy.visible import escaped
from pytest_kiro.trials.groups import Group
from pytest_kiro.trials.power import detectable_difference
from pytest_kiro.trials.runs import RunsCompared

#: Tests that are named of each kind.
_NAMED = 20


def runs_lines(runs: RunsCompared, *, full: bool = False) -> Iterator[tuple[str, bool]]:
    """Yield the lines on two runs, and whether each is a warning; `full` names every test."""
    most = 10**6 if full else _NAMED
    if (compared := runs.compared) is None:
        yield "the runs have no test in common that can be compared", True
    else:
        yield f"  before  {arm_line(compared.baseline)}", False
        yield f"  after   {arm_line(compared.variant)}", False
        sizes = [min(one.tally.valid, other.tally.valid) for one, other in runs.pairs]
        detectable = detectable_difference(max(1, round(fmean(sizes))), tasks=len(sizes))
        size = f"{len(sizes)} test{'s' * (len(sizes) != 1)}"
        yield f"  after − before  {finding(compared, size, detectable)}", is_worse(compared)
        yield from ((f"    {line}", False) for line in detail_lines(compared, full))
        if runs.differences:
            yield f"    what was not the same: {', '.join(runs.differences)}", True
        for one, other in runs.changed[:most]:
            name = one.name if one.name == other.name else f"{one.name} → {other.name}"
            yield f"  {escaped(name)}  {strip(one)} → {strip(other)}  {_counts(one)} → {_counts(other)}", False
        yield from ((line, False) for line in _more(len(runs.changed) - most, "whose rates moved"))
    kinds = {
        "only before": runs.only_before,
        "only after": runs.only_after,
        "not all trials were run (--kiro-all-trials)": runs.curtailed,
    }
    for title, names in kinds.items():
        yield from ((line, False) for line in _names(title, names, most))


def _counts(group: Group) -> str:
    return f"{group.tally.passes}/{group.tally.valid}"


def _names(title: str, names: Sequence[str], most: int) -> Iterator[str]:
    yield from (f"  {title}: {escaped(name)}" for name in names[:most])
    yield from _more(len(names) - most, title)


def _more(count: int, what: str) -> list[str]:
    return [f"  and {count} more {what}"] if count > 0 else []
