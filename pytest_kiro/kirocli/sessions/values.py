"""Reads JSON that an agent can write to: any value may be any other value."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from pytest_kiro.turn.amounts import MOST, added, exact
from pytest_kiro.turn.warnings import Warnings

_HALF = re.compile(rb"\\u[dD]")


def load(data: bytes | str) -> Any:
    """Return the value, None for what is no JSON.

    >>> load(b'{"a": 1}'), load("{")
    ({'a': 1}, None)
    """
    try:
        value = json.loads(data)
        if b"\\ud" in data.lower() if isinstance(data, bytes) else "\\ud" in data.lower():
            # Half of a character, cut by a program that counts in UTF-16 as V3 does, can be written nowhere.
            value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return value


def load_lines(lines: Sequence[bytes]) -> list[Any]:
    """Return the value of each line, None for what is no JSON.

    Read in one go, since each call of the parser takes longer than a short line.

    >>> load_lines([b'{"a": 1}', b"{", b"[]"])
    [{'a': 1}, None, []]
    """
    data = b"[%b]" % b",".join(lines)
    with suppress(ValueError, RecursionError):
        values = json.loads(data) if not _HALF.search(data) else []
        if len(values) == len(lines):
            return list(values)
    return [load(line) for line in lines]


def dig(value: Any, *keys: str) -> Any:
    """Return what is under the keys, None where one is missing."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def listed(value: Any) -> list[Any]:
    """Return a list as it is, and nothing else."""
    return value if isinstance(value, list) else []


def words(value: Any) -> str | None:
    """Return a string that is not empty, else None."""
    return value if isinstance(value, str) and value else None


def number(value: Any) -> float | None:
    """Return a finite number, else None; a bool is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def credits(value: Any) -> Decimal | None:
    """Return an amount that can have been billed, None for anything else.

    >>> credits(0.25), credits(-1), credits("2"), credits(1e300)
    (Decimal('0.25'), None, None, None)
    """
    known = number(value)
    return exact(known) if known is not None and 0 <= known <= MOST else None


def total(values: Sequence[Any], key: str, where: str, warnings: Warnings) -> Decimal | None:
    """Return the credits that were metered, None without any; what cannot be an amount becomes a warning.

    >>> warnings = Warnings()
    >>> total([{"value": 0.1, "unit": "credit"}, {"value": 0.2}, {"value": 9, "unit": "token"}], "value", "a", warnings)
    Decimal('0.3')
    >>> total([{"value": -1}], "value", "a.json", warnings)
    >>> list(warnings)
    ['a.json: credits that cannot be, and that are left out: -1']
    """
    known = []
    for told in (dig(entry, key) for entry in values if dig(entry, "unit") in ("credit", None)):
        if (amount := credits(told)) is None:
            warnings.add(f"{where}: credits that cannot be, and that are left out: {dump(told)[:80]}")
        else:
            known.append(amount)
    return added(known) if known else None


def moment(value: Any) -> float | None:
    """Return a time, ISO 8601 or seconds since 1970, as seconds.

    >>> moment("1970-01-01T00:01:00.5Z"), moment(60), moment("soon")
    (60.5, 60.0, None)
    """
    if not isinstance(value, str):
        return number(value)
    try:
        when = datetime.fromisoformat(value)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def dump(value: Any) -> str:
    """Return a value as JSON, whatever is in it."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except (RecursionError, ValueError):
        return "…"


def strings(value: Any) -> Iterator[str]:
    """Yield every string within a value, however deep."""
    rest = [value]
    while rest:
        entry = rest.pop()
        if isinstance(entry, str):
            yield entry
        elif isinstance(entry, dict):
            rest += reversed(entry.values())
        elif isinstance(entry, list):
            rest += reversed(entry)
