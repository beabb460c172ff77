"""Checks of arguments: counts, rates and levels.

Each raises `ValueError` with the value and what it must be.
"""

from __future__ import annotations

from math import isfinite
from types import UnionType

#: More trials of one test than anybody pays for; a number above it is a slip.
MOST_TRIALS = 10_000


def check_count(name: str, value: int, *, least: int = 0, most: int = MOST_TRIALS) -> None:
    """Refuse what is no whole number from `least` to `most`."""
    if not _is_number(value, int) or not least <= value <= most:
        raise ValueError(f"{name} is {value!r}; it must be a whole number from {least} to {most}")


def check_passes(passes: int, trials: int, *, least: int = 1) -> None:
    """Refuse counts of which not so many can have passed; `least` is the fewest trials."""
    check_count("trials", trials, least=least)
    check_count("passes", passes)
    if passes > trials:
        raise ValueError(f"passes is {passes!r}; it must be at most the number of trials, {trials!r}")


def check_rate(name: str, value: float) -> None:
    """Refuse a required rate outside of 0 (excluded) to 1."""
    if not _is_number(value) or not 0 < value <= 1:
        raise ValueError(f"{name} is {value!r}; it must be above 0 and at most 1")


def check_share(name: str, value: float) -> None:
    """Refuse a share outside of 0 to 1, both included."""
    if not _is_number(value) or not 0 <= value <= 1:
        raise ValueError(f"{name} is {value!r}; it must be from 0 to 1")


def check_level(name: str, value: float) -> None:
    """Refuse a confidence, power or error rate outside of 0 to 1."""
    if not _is_number(value) or not 0 < value < 1:
        raise ValueError(f"{name} is {value!r}; it must be between 0 and 1")


def check_number(name: str, value: float) -> None:
    """Refuse what is no finite number."""
    if not _is_number(value) or not isfinite(value):
        raise ValueError(f"{name} is {value!r}; it must be a finite number")


def _is_number(value: object, kind: type | UnionType = int | float) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
