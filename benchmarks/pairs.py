"""Alternating pairs and their medians: these machines are shared, so only ratios within one run say anything."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

#: Fewer pairs than this say too little on a shared machine.
PAIRS = 15


def alternate(
    first: Callable[[], float], second: Callable[[], float], pairs: int = PAIRS
) -> tuple[list[float], list[float]]:
    """Measure two things in turn, after one of each that is not counted; each callable returns its figure."""
    first(), second()
    figures = [(first(), second()) for _ in range(pairs)]
    return [a for a, _ in figures], [b for _, b in figures]


def median_difference(first: Sequence[float], second: Sequence[float]) -> float:
    return statistics.median(a - b for a, b in zip(first, second, strict=True))


def median_ratio(first: Sequence[float], second: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(first, second, strict=True))


def spread(figures: Sequence[float]) -> str:
    """Return minimum, median and maximum."""
    return f"{min(figures):10.4g} {statistics.median(figures):10.4g} {max(figures):10.4g}"


def table(title: str, rows: Sequence[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in rows)
    print(f"\n{title}")
    for name, value in rows:
        print(f"  {name:<{width}}  {value}")
