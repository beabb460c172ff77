"""Spells a secret as programs may write it.

It is escaped for `repr`, JSON, a URL, HTML or a shell, in Base64, or hexadecimal. Of one with several lines each long
line is a secret too, since reports indent lines and terminals end them differently.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

#: A shorter line of a secret may be anybody's.
_SHORTEST_LINE = 16

_IN_XML = {9: "&#09;", 10: "&#10;", 13: "&#13;"}
_WRITINGS: tuple[Callable[[str], str], ...] = (
    lambda text: repr(text)[1:-1],
    lambda text: repr(f"{text}'\"")[1:-4],  # beside quotes of both kinds
    lambda text: ascii(text)[1:-1],
    lambda text: repr(as_bytes(text))[2:-1],
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    lambda text: quote(as_bytes(text)),
    lambda text: quote(as_bytes(text), safe=""),
    lambda text: quote_plus(as_bytes(text)),
    html.escape,
    lambda text: html.escape(text, quote=False),
    lambda text: html.escape(text, quote=False).replace('"', "&quot;").translate(_IN_XML),
    lambda text: text.replace("'", "'\"'\"'"),
    lambda text: text.replace("'", "'\\''"),
)


def forms(value: str) -> set[str]:
    """Return a secret as it is, and as others write it."""
    lines = [line.strip() for line in value.splitlines()]
    spelled = {value, *(line for line in lines if len(line) >= _SHORTEST_LINE)}
    digits = {as_bytes(form).hex() for form in spelled}
    spelled |= {piece for form in spelled for piece in _base64(as_bytes(form))}
    for _ in range(2):  # twice, as a tool's output that is JSON stands in JSON
        spelled |= {write(form) for form in spelled for write in _WRITINGS}
    return spelled.union(digits, map(str.upper, digits))


def _base64(data: bytes) -> set[str]:
    """Return what is in the Base64 of any text with it: three cases, as three bytes become four characters."""
    return {
        encode(bytes(shift) + data)[begin : (shift + len(data)) * 8 // 6].decode()
        for shift, begin in enumerate((0, 2, 3))
        for encode in (base64.b64encode, base64.urlsafe_b64encode)
    }


def as_bytes(text: str) -> bytes:
    """Return a text's bytes, as in a process and in a file."""
    try:
        return text.encode("utf-8", "surrogateescape")  # of an environment, the very bytes
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def as_text(data: bytes) -> str:
    """Return the text of bytes, with its lone surrogates if any."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace")
