"""Writes values as JSON that people can review, and reads it again."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

#: The only key of what stands for a text of several lines; a key of such letters gets one more.
_LINES = "¶"
_SURROGATES = re.compile("[\ud800-\udfff]")
#: Hexadecimal digits of a digest that are kept.
_DIGITS = 32


def to_text(value: Any) -> str:
    """Return JSON with sorted keys; a text of several lines is one of several lines there too.

    >>> print(to_text({"b": 1, "a": "one\\ntwo"}), end="")
    {
     "a": {
      "¶": [
       "one",
       "two"
      ]
     },
     "b": 1
    }
    """
    return escaped(json.dumps(_apart(value), ensure_ascii=False, indent=1, sort_keys=True)) + "\n"


def from_text(text: str) -> Any:
    """Return the value that `to_text` was given; `ValueError` for what is no JSON.

    >>> from_text(to_text({"a": "one\\ntwo"}))
    {'a': 'one\\ntwo'}
    """
    return json.loads(text, object_hook=_together if _LINES in text else None)


def escaped(text: str) -> str:
    """Return JSON in which no character stands that UTF-8 cannot hold."""
    return _SURROGATES.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def digest_of(data: bytes) -> str:
    """Return the first digits of the SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()[:_DIGITS]


def cut_digest(digest: str) -> str:
    """Return as much of a whole digest as `digest_of` returns."""
    return digest[:_DIGITS]


def unix(data: bytes) -> bytes:
    """Return bytes with our line ends, which git may have changed."""
    return data.replace(b"\r\n", b"\n")


def _apart(value: Any) -> Any:
    if isinstance(value, str):
        return {_LINES: value.split("\n")} if "\n" in value else value
    if isinstance(value, Mapping):
        return {_LINES + key if key and not key.strip(_LINES) else key: _apart(inner) for key, inner in value.items()}
    return [_apart(inner) for inner in value] if isinstance(value, list | tuple) else value


def _together(value: dict[str, Any]) -> Any:
    if len(value) == 1 and isinstance(lines := value.get(_LINES), list):
        return "\n".join(lines)
    return {key[1:] if key and not key.strip(_LINES) else key: inner for key, inner in value.items()}
