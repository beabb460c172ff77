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
    "switch": ("(?i)on|off|true|false", lambda value: value.lower() in ("on", "true"), "one of on, off"),
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


#: What a number of seconds may be counted in.
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?) ?(ms|s|m|h) ?)+")
SECONDS = "a number of seconds above 0, or 90s, 2m, 1h30m"


def _seconds(value: str, wanted: str = SECONDS) -> float:
    """Read a time: a number of seconds, or numbers with their units."""
    if not _DURATION.fullmatch(value):
        return _number(value, wanted)
    parts = re.findall(r"([\d.]+) ?(ms|s|m|h)", value)
    return _number(str(sum(float(number) * _UNITS[unit] for number, unit in parts)), wanted)


def _number(value: str, wanted: str, *, zero: bool = False, most: float = math.inf) -> float:
    try:
        number = float(value)
    except ValueError:
        raise ValueError(wanted) from None
    if not 0 <= number < math.inf or number > most or (number == 0 and not zero):
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


def network(value: str) -> str:
    """Normalise what a sandbox may reach: `on`, `off`, or hosts joined by commas."""
    hosts = [host.strip().lower() for host in value.split(",")]
    alone = len(hosts) == 1 or not {"on", "off"}.intersection(hosts)
    if not alone or not all(re.fullmatch(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*(:\d{1,5})?", host) for host in hosts):
        raise ValueError("on, off, kiro, or hosts joined by commas, such as pypi.org,*.pythonhosted.org")
    return ",".join(hosts)


#: The other kinds: those that no pattern tells.
_READERS: dict[str, Callable[[str], Any]] = {
    "seconds": _seconds,
    "seconds_or_off": lambda value: (
        None if value.lower() in ("off", "false") else _seconds(value, f"{SECONDS}, or off")
    ),
    "credits": lambda value: _number(value, "a number of credits, 0 or more", zero=True),
    "share": lambda value: _number(value, "a share above 0, at most 1, such as 0.9", most=1),
    "words": _words,
    "trust": trust,
    "network": network,
}


def text(kind: str | tuple[str, ...], value: object) -> str | None:
    """Return the text of a value that TOML has typed; `ValueError` for a list where there is one value.

    >>> text("seconds", 300), text("switch", True), text("trust", ["read", "write"])
    ('300', 'on', 'read,write')
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        if kind not in ("trust", "network", "words"):
            raise ValueError("one value, and no list")
        return ",".join(map(str, value)) if kind != "words" else shlex.join(map(str, value))
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
