"""Makes the summary's lines from records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_kiro.records.turns import TurnRecord, credits_of
from pytest_kiro.turn.warnings import SCENARIO

if TYPE_CHECKING:
    from pytest_kiro.run.keeper import Tally

#: What is said where nothing is waited for.
LEFT_AT_ONCE = (
    "told to stop twice, so sandboxes were not waited for: a remote one ends by itself when its time to live is over, "
    "a local one is removed by the next run"
)
_RETRIED_LINES = 10
_SCENARIO_LINES = 10


def turns_line(turns: Sequence[TurnRecord]) -> str:
    """Count turns by how they ended, and add up any metered credits.

    >>> turns_line([TurnRecord(status="completed"), TurnRecord(status="failed", cause="gave up")])
    'kiro: 2 turns, 1 completed, 1 failed (gave up)'
    """
    endings = (turn.status if turn.kind in ("", turn.status) else f"{turn.status} ({turn.kind})" for turn in turns)
    counts = sorted(Counter(endings).items(), key=lambda counted: (counted[0] != "completed", counted[0]))
    parts = [f"kiro: {len(turns)} turn{'s' * (len(turns) != 1)}", *(f"{count} {ending}" for ending, count in counts)]
    if retried := sum(turn.retried for turn in turns):
        parts.append(f"{retried} retried")
    if (spent := credits_of(turns)) is not None:
        parts.append(f"credits {spent:.2f}")
    return ", ".join(parts)


def budget_line(cap: float | None, spent: float, refused: int) -> str:
    """Say what was spent of the budget, guesses included; empty without one.

    >>> budget_line(2, 2.5, refused=3)
    'budget: 2.50 of 2 credits spent, tests that it stopped: 3'
    """
    if cap is None:
        return ""
    stopped = f", tests that it stopped: {refused}" if refused else ""
    return f"budget: {spent:.2f} of {cap:g} credits spent{stopped}"


def retried_lines(turns: Sequence[TurnRecord]) -> list[str]:
    """Name the tests of which a turn was run again: one that then passes says nothing of it.

    >>> from pytest_kiro.records.turns import OwnerRecord
    >>> owner = OwnerRecord(name="test_a.py::test_x")
    >>> retried_lines([TurnRecord(owner=owner, retried=True, cause="throttled", infrastructure=True)])
    ['retried: test_a.py::test_x (throttled: infrastructure)']
    """
    lines = [f"retried: {turn.owner.name} ({turn.kind})" for turn in turns if turn.retried]
    more = len(lines) - _RETRIED_LINES
    return [*lines[:_RETRIED_LINES], *([f"and {more} more that were retried"] if more > 0 else [])]


def sandboxes_line(tally: Tally, *, certain: bool) -> str:
    """Count sandboxes by what became of them; `certain` when the provider has looked.

    >>> from pytest_kiro.run.keeper import Tally
    >>> sandboxes_line(Tally(created=4, closed=4), certain=True)
    'sandboxes: created 4, deleted 4, leaked 0'
    """
    kept, leaked = len(tally.kept), len(tally.leaked)
    if not certain:
        leaked = max(leaked, tally.created - tally.closed)
    created = max(tally.created, kept + leaked)  # of a worker that died nobody may have heard
    parts = [f"sandboxes: created {created}", f"deleted {created - kept - leaked}"]
    return ", ".join([*parts, *([f"kept {kept}"] if kept else []), f"leaked {leaked}"])


def died_lines(died: int, left: int, *, cleared: bool) -> list[tuple[str, bool]]:
    """Count workers that died, and tests that nobody has run.

    Beside the line stands whether it is a warning.

    >>> died_lines(5, 2, cleared=True)
    [('workers that died: 5; what they left is cleared away; tests not run for that: 2', True)]
    """
    parts = [f"workers that died: {died}", *["what they left is cleared away"] * cleared]
    return [("; ".join([*parts, *[f"tests not run for that: {left}"] * (left > 0)]), left > 0)] if died else []


def shared_lines(turns: Sequence[TurnRecord]) -> list[str]:
    """Name wide fixtures with turns on several xdist workers (contract O2). Each worker ran its own."""
    workers: dict[str, set[str]] = {}
    for turn in turns:
        if turn.owner.wide:
            workers.setdefault(turn.owner.name, set()).add(turn.owner.worker)
    return [
        f"{fixture} ran on {len(names)} workers, once on each; --dist loadscope keeps the tests that share it together"
        for fixture, names in sorted(workers.items())
        if len(names) > 1
    ]


def scripted_line(turns: Sequence[TurnRecord]) -> str:
    """Say that scripts answered; empty where they did not.

    >>> scripted_line([TurnRecord(scripted=True, stand_in=True)])
    'scripted: the stand-in answered; nothing above was said by Kiro'
    """
    scripted = [turn for turn in turns if turn.scripted]
    stand_in = any(turn.stand_in for turn in scripted)
    who = "the stand-in answered" if stand_in else "the answers came from scenarios"
    return f"scripted: {who}; nothing above was said by Kiro" if scripted else ""


def scenario_lines(turns: Sequence[TurnRecord]) -> list[str]:
    """Name the scripted calls that ended otherwise than their scenarios say.

    >>> from pytest_kiro.records.turns import OwnerRecord
    >>> turn = TurnRecord(owner=OwnerRecord(name="test_a.py::test_x"), warnings=("its scenario: write 'a': denied",))
    >>> scenario_lines([turn])
    ["scenario of test_a.py::test_x: write 'a': denied"]
    """
    wrong = [(turn, warning) for turn in turns for warning in turn.warnings if warning.startswith(SCENARIO)]
    lines = [f"scenario of {turn.owner.name}: {warning.removeprefix(SCENARIO)}" for turn, warning in wrong]
    more = len(lines) - _SCENARIO_LINES
    return [*lines[:_SCENARIO_LINES], *([f"and {more} more calls of scenarios"] if more > 0 else [])]
