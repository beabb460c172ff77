"""Makes the summary's lines from records, a failing test's from its turns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pytest_kiro.records.turns import TurnRecord, credits_of
from pytest_kiro.secrecy.visible import escaped, visible
from pytest_kiro.turn.calls import label, walk
from pytest_kiro.turn.changes import KINDS, Changes
from pytest_kiro.turn.shown import short

if TYPE_CHECKING:
    from pytest_kiro.run.keeper import Tally
    from pytest_kiro.turn.turn import Turn

#: Characters that are shown of a prompt.
_PROMPT = 100
_TRANSCRIPT_LINES = 40
#: Files that are named of a turn.
_PLANTED = 20
_DIFF_LINES = 60
_RETRIED_LINES = 10


def turns_line(turns: Sequence[TurnRecord]) -> str:
    """Count turns by how they ended, and add up any metered credits.

    >>> turns_line([TurnRecord(status="completed"), TurnRecord(status="failed", cause="gave up")])
    'kiro: 2 turns, 1 completed, 1 failed (gave up)'
    """
    endings = (turn.status if turn.kind in ("", turn.status) else f"{turn.status} ({turn.kind})" for turn in turns)
    counts = sorted(Counter(endings).items(), key=lambda counted: (counted[0] != "completed", counted[0]))
    parts = [f"kiro: {len(turns)} turn{'s' * (len(turns) != 1)}", *(f"{count} {ending}" for ending, count in counts)]
    if retried := sum(turn.retried for turn in turns):
        parts.append(f"run again {retried}")
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
    ['run again: test_a.py::test_x (throttled: infrastructure)']
    """
    lines = [f"run again: {turn.owner.name} ({turn.kind})" for turn in turns if turn.retried]
    more = len(lines) - _RETRIED_LINES
    return [*lines[:_RETRIED_LINES], *([f"and {more} more that were run again"] if more > 0 else [])]


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


# -- a failing test


def turns_lines(turns: Sequence[Turn], *, full: bool) -> str:
    """Return turns' status lines, and the end of the last transcript; `full` has tool calls and changes too."""
    lines: list[str] = []
    for turn in turns:
        lines.append(f"{turn.summary}: {short(' '.join(visible(turn.prompt).split()), _PROMPT)}")
        lines += _details(turn) if full else []
        lines += _planted(turn)
    return "\n".join([*lines, *(line for turn in turns[-1:] for line in _transcript(turn))])


def planted_lines(turns: Sequence[Turn]) -> str:
    """Return what turns wrote that may decide a check."""
    return "\n".join(line for turn in turns if (lines := _planted(turn)) for line in (turn.summary, *lines))


def _planted(turn: Turn) -> list[str]:
    known = (turn.known_changes or Changes()).planted
    known |= {f"~/{path}": why for path, why in (turn.known_outside or Changes()).planted.items()}
    lines = [f"  may decide a check: {escaped(path)} ({why})" for path, why in known.items()]
    more = len(lines) - _PLANTED
    return [*lines[:_PLANTED], f"  (and {more} more files)"] if more > 0 else lines


def diff_lines(diff: str, *, full: bool) -> str:
    """Return the beginning of a diff; `full` cuts nothing.

    >>> diff_lines("+one\\n+two\\n", full=False)
    '+one\\n+two'
    """
    lines = visible(diff).splitlines()
    kept = lines if full else lines[:_DIFF_LINES]
    if more := len(lines) - len(kept):
        kept.append(f"({more} more lines; -vv shows all)")
    return "\n".join(kept)


def _details(turn: Turn) -> Iterator[str]:
    yield from (f"  {label(call, turn.tool_calls.folder)}" for call in walk(turn.tool_calls))
    changes, around = turn.known_changes or Changes(), turn.known_outside or Changes()
    for where, some in (("", changes), (" by the way", changes.ignored), (" outside of the workspace", around)):
        for kind in KINDS:
            yield from (f"  {kind}{where} {escaped(path)}" for path in sorted(getattr(some, kind)))
    yield from (f"  had left behind {escaped(process)}" for process in turn.survivors)


def _transcript(turn: Turn) -> Iterator[str]:
    yield from _end_of(turn.output, f"--- what turn {turn.number} printed")
    if turn.diagnostics.strip():
        yield from _end_of(turn.diagnostics, "--- what it wrote to stderr")
    notes = [turn.detail, *(f"warning: {warning}" for warning in turn.warnings)]
    yield from (visible(f"--- {note}").replace("\n", "\n| ") for note in notes if note)


def _end_of(text: str, title: str) -> Iterator[str]:
    """Yield the last lines, each behind a bar: none of them can be taken for one of ours, or for a command."""
    lines = visible("\n".join(f"| {line}".rstrip() for line in text.strip("\n").rstrip().splitlines())).splitlines()
    left_out = f", {len(lines) - _TRANSCRIPT_LINES} lines before them" if len(lines) > _TRANSCRIPT_LINES else ""
    yield f"{title}{left_out}"
    yield from lines[-_TRANSCRIPT_LINES:]
