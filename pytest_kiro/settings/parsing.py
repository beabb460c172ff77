"""Parses the texts of settings; a `ValueError` says what would be right."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable
from typing import Any


def text(value: str) -> str:
    """Read any text that is not blank."""
    if not value.strip():
        raise ValueError("a value that is not blank")
    return value.strip()


def one_of(known: tuple[str, ...], value: str) -> str:
    """Read one of the known words."""
    if value not in known:
        raise ValueError(f"one of {', '.join(known)}")
    return value


def switch(value: str) -> bool:
    """Read on or off."""
    return one_of(("on", "off"), value) == "on"


def seconds(value: str) -> float:
    """Read a number of seconds."""
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise ValueError("a number of seconds above 0")
    return number


def seconds_or_off(value: str) -> float | None:
    """Read a number of seconds, or None for off."""
    try:
        return None if value == "off" else seconds(value)
    except ValueError:
        raise ValueError("a number of seconds above 0, or off") from None


def count(value: str) -> int:
    """Read a whole number above 0."""
    if not re.fullmatch(r"[1-9]\d{0,5}", value):
        raise ValueError("a whole number above 0")
    return int(value)


def version(value: str) -> str:
    """Read a full version."""
    if not re.fullmatch(r"\d+\.\d+\.\d+[\w.+-]*", value):
        raise ValueError("a full version, such as 2.29.0")
    return value


def cli(value: str) -> str:
    """Read which kiro-cli is meant."""
    if value in ("official", "scripted") or value.startswith("/"):
        return value
    raise ValueError("official, scripted, or an absolute path in the sandbox")


def size(value: str) -> tuple[int, int]:
    """Read the size of a terminal: columns and rows."""
    match = re.fullmatch(r"(\d{1,4})x(\d{1,4})", value)
    if not match or not all(int(part) for part in match.groups()):
        raise ValueError("columns x rows, such as 120x30")
    return int(match[1]), int(match[2])


def retries(value: str) -> int:
    """Read how often something is tried again."""
    if not re.fullmatch(r"\d|10", value):
        raise ValueError("a whole number from 0 to 10")
    return int(value)


def credits(value: str) -> float:
    """Read an amount of credits."""
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise ValueError("a number of credits, 0 or more")
    return number


def words(value: str) -> tuple[str, ...]:
    """Read arguments as a shell would: in words, quoted where they have blanks."""
    try:
        arguments = tuple(shlex.split(value))
    except ValueError as error:
        raise ValueError(f"arguments as in a shell, with every quote closed ({error})") from None
    if not arguments or "\0" in value:
        raise ValueError("arguments as in a shell, such as '--license free'")
    return arguments


def trust(value: str) -> str:
    """Normalise what Kiro may use without asking: `all`, `none`, or names joined by commas."""
    names = [name.strip() for name in value.split(",")]
    alone = len(names) == 1 or not {"all", "none"}.intersection(names)
    if not alone or not all(names) or any(re.search(r"\s", name) for name in names):
        raise ValueError("all, none, or tool names joined by commas, such as read,write")
    return ",".join(names)


#: By the kinds of rows.py.
_READERS: dict[str, Callable[[str], Any]] = {
    "text": text,
    "switch": switch,
    "seconds": seconds,
    "seconds_or_off": seconds_or_off,
    "count": count,
    "version": version,
    "cli": cli,
    "size": size,
    "retries": retries,
    "credits": credits,
    "words": words,
    "trust": trust,
}


def read(kind: str | tuple[str, ...], value: str) -> Any:
    """Read a value of that kind; a tuple has the words of which it must be one.

    >>> read(("v2", "v3"), "v2"), read("seconds", "1.5")
    ('v2', 1.5)
    """
    return one_of(kind, value) if isinstance(kind, tuple) else _READERS[kind](value)
