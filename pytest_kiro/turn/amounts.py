"""Adds up credits as decimal numbers: added up as binary ones, ten times 0.1 is less than 1."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Context, Decimal
from functools import reduce

#: Credits that one turn cannot cost: the largest plan has 10,000 a month.
MOST = 1_000_000
#: Our own, since a test may have set another precision for its own numbers.
_CONTEXT = Context(prec=60)


def exact(value: float) -> Decimal:
    """Return the decimal number that a float is written as.

    >>> exact(0.1)
    Decimal('0.1')
    """
    return Decimal(repr(float(value)))


def added(values: Iterable[Decimal]) -> Decimal:
    """Return the exact sum, also of negative numbers.

    >>> added([exact(0.3), -exact(0.1)])
    Decimal('0.2')
    """
    return reduce(_CONTEXT.add, values, Decimal(0))


def added_up(values: Iterable[float]) -> float:
    """Return the sum of credits, to the last digit.

    >>> added_up([0.1, 0.2]), added_up([])
    (0.3, 0.0)
    """
    return float(added(map(exact, values)))
