"""Parses the texts of settings; a `ValueError` says what would be right."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable
from typing import Any

#: By the kinds of rows.py, what is matched, what is made of it, and what would be right.
_PATTERNS: dict[str, tuple[str, Callable[[str], Any], str]] = {
    "text": (r"(?s).*\S.*", str.strip, "a value that is not blank"),
    "switch": ("on|off", "on".__eq__, "one of on, off"),
    "count": (r"[1-9]\d{0,5}", int, "a whole number above 0"),
    "retries": (r"\d|10", int, "a whole number from 0 to 10"),
    "version": (r"\d+\.\d+\.\d+[\w.+-]*", str, "a full version, such as 2.29.0"),
    "cli": (r"(?s)official|scripted|/.*", str, "official, scripted, or an absolute path in the sandbox"),
    "size": (
        r"(?!0+x)\d{1,4}x(?!0+$)\d{1,4}",
        lambda value: tuple(map(int, value.split("x"))),
        "columns x rows, such as 120x30",
    ),
}


def _number(value: str, wanted: str, *, zero: bool = False) -> float:
    try:
        number = float(value)
    except ValueError:
        raise ValueError(wanted) from None
    if not 0 <= number < math.inf or (number == 0 and not zero):
        raise ValueError(wanted)
    return number


def _words(value: str) -> tuple[str, ...]:
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


#: The other kinds: those that no pattern tells.
_READERS: dict[str, Callable[[str], Any]] = {
    "seconds": lambda value: _number(value, "a number of seconds above 0"),
    "seconds_or_off": lambda value: None if value == "off" else _number(value, "a number of seconds above 0, or off"),
    "credits": lambda value: _number(value, "a number of credits, 0 or more", zero=True),
    "words": _words,
    "trust": trust,
}


def text(kind: str | tuple[str, ...], value: object) -> str | None:
    """Return the text of a value that TOML has typed.

    >>> text("seconds", 300), text("switch", True), text("trust", ["read", "write"])
    ('300', 'on', 'read,write')
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return ",".join(map(str, value)) if kind == "trust" else shlex.join(map(str, value))
    return str(value)


def read(kind: str | tuple[str, ...], value: str) -> Any:
    """Read a value of that kind; a tuple has the words of which it must be one.

    >>> read(("v2", "v3"), "v2"), read("seconds", "1.5")
    ('v2', 1.5)
    """
    if isinstance(kind, tuple):
        if value not in kind:
            raise ValueError(f"one of {', '.join(kind)}")
        return value
    if kind in _READERS:
        return _READERS[kind](value)
    pattern, make, wanted = _PATTERNS[kind]
    if not re.fullmatch(pattern, value):
        raise ValueError(wanted)
    return make(value)
