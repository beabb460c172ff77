"""Says what a replay has shown: how old it is, and which verdicts it has changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING

from pytest_kiro.records.turns import TurnRecord
from pytest_kiro.turn.warnings import some

if TYPE_CHECKING:
    from pytest_kiro.records.tests import TestRecord

_KINDS = {"passed": "pass", "xpassed": "pass", "failed": "fail", "error": "fail"}


def replayed_lines(turns: Sequence[TurnRecord], tests: Sequence[TestRecord], today: date) -> Iterator[tuple[str, bool]]:
    """Yield the lines of a summary, and whether each is a warning; none where nothing was replayed."""
    replayed = [turn for turn in turns if turn.recording == "replayed"]
    if replayed:
        yield (
            f"replayed: {_count(len(replayed), 'turn')}, {_origin(replayed, today)}; Kiro was not asked for them",
            True,
        )
    if kept := [turn for turn in turns if turn.recording == "recorded"]:
        of = " of the stand-in" if all(turn.stand_in for turn in kept) else ""
        yield f"recorded: {_count(len(kept), 'turn')}{of}", False
    known = [test for test in tests if test.recorded_outcome is not None]
    judged = [test for test in known if not test.infrastructure]
    if known:
        unfit = f"; {len(known) - len(judged)} more could not be judged" if len(judged) < len(known) else ""
        yield f"replayed {_count(len(judged), 'trial')}: {_changed(judged)}{unfit}", False


def _origin(replayed: Sequence[TurnRecord], today: date) -> str:
    """Return how old recordings are, and what answered then."""
    days = sorted(
        {(today - date.fromisoformat(turn.provenance.recorded)).days for turn in replayed if turn.provenance.recorded}
    )
    ages = sorted({max(0, age) for age in days})
    if ages == [0]:
        when = "today"
    else:
        when = f"{_count(ages[-1], 'day')} ago" if len(ages) == 1 else f"{ages[0]} to {ages[-1]} days ago"
    if all(turn.stand_in for turn in replayed):
        return f"recorded {when} with the stand-in"
    versions = sorted({turn.provenance.cli_version for turn in replayed})
    models = sorted({turn.provenance.model for turn in replayed if turn.provenance.model})
    return f"recorded {when} with kiro-cli {some(versions)}{f', model {some(models)}' if models else ''}"


def _changed(judged: Sequence[TestRecord]) -> str:
    """Count the verdicts that are other ones than when they were recorded.

    >>> from pytest_kiro.records.tests import TestRecord
    >>> _changed([])
    'no verdict changed'
    """
    pairs = [(_kind(test.recorded_outcome or ""), _kind(test.outcome)) for test in judged]
    changed = Counter(now for was, now in pairs if was != now)
    if not changed:
        return "no verdict changed"
    words = {"pass": ("passes", "pass"), "fail": ("fails", "fail")}
    said = [f"{n} now {words[now][n > 1] if now in words else now}" for now, n in sorted(changed.items(), reverse=True)]
    return f"{_count(sum(changed.values()), 'verdict')} changed ({', '.join(said)})"


def _kind(outcome: str) -> str:
    return _KINDS.get(outcome, outcome)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"
