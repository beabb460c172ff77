"""Makes of values what JSON can say, and cuts what is long."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

_SURROGATES = re.compile("[\ud800-\udfff]")
_DEEPEST = 40


def cut(text: str, most: int) -> tuple[str, int]:
    """Keep a text's beginning and end; return how many characters are left out too.

    >>> cut("one two three", 6)
    ('one\\n[… 7 characters left out …]\\nree', 7)
    """
    if len(text) <= most:
        return text, 0
    left_out = len(text) - most
    half = most // 2
    return f"{text[: most - half]}\n[… {left_out} characters left out …]\n{text[len(text) - half :]}", left_out


def cut_field(name: str, text: str, most: int) -> dict[str, Any]:
    """Return the two fields of a record that keep a text: what is kept, and how much is left out."""
    kept, left_out = cut(text, most)
    return {name: kept, f"{name}_left_out": left_out}


def cut_values(values: Mapping[str, Any], most: int) -> tuple[dict[str, Any], int]:
    """Cut the texts in a tool call's input; another value that is too long becomes its JSON, cut."""
    kept: dict[str, Any] = {}
    total = 0
    for name, value in values.items():
        whole = value if isinstance(value, str) else json.dumps(clean(value))
        text, left_out = cut(whole, most)
        kept[name] = text if left_out or isinstance(value, str) else value
        total += left_out
    return kept, total


def clean_value(value: Any, hide: Callable[[str], str] = str) -> Any:
    """Return what valid JSON can say of a value of any type.

    >>> class Odd:
    ...     def __repr__(self):
    ...         raise OSError
    >>> clean_value([Odd(), 1])
    '<list, whose repr raises OSError>'
    """
    try:
        return clean(value, hide=hide)
    except Exception as error:
        return f"<{type(value).__name__}, whose repr raises {type(error).__name__}>"


def clean(value: Any, depth: int = 0, hide: Callable[[str], str] = str) -> Any:
    """Return what valid JSON can say of a value.

    Bytes are read as UTF-8; what JSON has no word for becomes its repr, of which `hide` takes secrets away.

    >>> clean({"a\\udc80": (b"\\xff", float("inf"), {1})})
    {'a�': ['�', 'inf', '{1}']}
    """
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        return _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if depth < _DEEPEST and isinstance(value, Mapping):
        return {str(clean(str(key))): clean(inner, depth + 1, hide) for key, inner in value.items()}
    if depth < _DEEPEST and isinstance(value, list | tuple):
        return [clean(inner, depth + 1, hide) for inner in value]
    try:
        return clean(hide(repr(value))[:1000])
    except RecursionError:
        return f"<{type(value).__name__}, nested too deeply>"
