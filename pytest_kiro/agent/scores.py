"""Checks the numbers that tests give to their trials."""

from __future__ import annotations

from math import isfinite
from numbers import Real
from typing import TYPE_CHECKING, get_args

from pytest_kiro.errors import HIDE_FRAMES, ConversationError, SettingsError
from pytest_kiro.records.tests import Better, ScoreRecord

if TYPE_CHECKING:
    from pytest_kiro.agent.bench import Owner

__tracebackhide__ = HIDE_FRAMES

_LONGEST_NAME = 100


def score(owner: Owner, name: str, value: float, better: Better) -> None:
    """Keep a number of an owner's; a later one of the same name takes its place."""
    if owner.wide:
        raise ConversationError(
            f"kiro.score({name!r}) in {owner.name}, which is no trial's alone",
            advice="call it in a test, or in a fixture of function scope",
        )
    if not name.strip() or not name.isprintable() or len(name) > _LONGEST_NAME:
        raise SettingsError(
            f"the name of a score is {name[: 2 * _LONGEST_NAME]!r}",
            advice=f"name it in one line of at most {_LONGEST_NAME} characters",
        )
    directions = get_args(Better)
    if better not in directions:
        raise SettingsError(f"score {name}: better is {better!r}", advice=f"say one of {', '.join(directions)}")
    before = owner.scores.get(name)
    if before is not None and before.better != better:
        raise SettingsError(
            f"score {name}: better is {better!r}, and was {before.better!r}",
            advice="say the same, or name it otherwise",
        )
    owner.scores[name] = ScoreRecord(value=_number(name, value), better=better)


def _number(name: str, value: object) -> float:
    advice = "give it a finite number"
    if isinstance(value, bool) or not isinstance(value, Real):
        raise SettingsError(f"score {name} is {repr(value)[:_LONGEST_NAME]}, which is no number", advice=advice)
    try:
        number = float(value)
    except OverflowError:
        number = float("inf")
    if not isfinite(number):
        raise SettingsError(f"score {name} is {number}", advice=advice)
    return number
