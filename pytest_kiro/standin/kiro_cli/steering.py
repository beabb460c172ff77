"""Reads `~/.kiro-standin/login.json`, by which a test steers the login service.

It is read when a command starts, and again and again while a login waits, so a test may rewrite it meanwhile.
"""

from __future__ import annotations

import time

from . import formats
from .failures import Failure
from .places import steering_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: A file that is just being rewritten is not JSON for a moment.
PATIENCE_SECONDS = 0.5
DEFAULTS = {"approve_after": 2.0, "token_lifetime": 3600}

_CODE = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def _seconds(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _code(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 9 and value[4] == "-" and set(value[:4] + value[5:]) <= set(_CODE)


def _texts(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, list) and all(isinstance(text, str) for text in value))


_KEYS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "approve_after": (_seconds, "a number of seconds, 0 or more"),
    "approve_when": (_text, "the path of a file, relative to HOME"),
    "deny": (_flag, "true or false"),
    "expire_after": (_seconds, "a number of seconds, 0 or more"),
    "cut_after": (_seconds, "a number of seconds, 0 or more"),
    "pretend": (_flag, "true or false"),
    "code": (_code, "a code such as ABCD-EFGH"),
    "token_lifetime": (_number, "a number of seconds; a negative one is a token that has expired"),
    "email": (_text, "a text"),
    "access_token": (_text, "a text"),
    "refresh_token": (_text, "a text"),
    "client_secret": (_text, "a text"),
    "revoked": (_texts, "true, or a list of tokens"),
    "invalid_keys": (_texts, "true, or a list of API keys"),
}


def load() -> dict[str, Any]:
    """Read the file over the defaults; none is all defaults, and a wrong one is an error."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with open(steering_file(), "rb") as file:
                value = formats.loads(file.read().decode("utf-8"))
            return _checked(value)
        except FileNotFoundError:
            return dict(DEFAULTS)
        except OSError as error:
            raise _wrong(f"it cannot be read: {error}") from None
        except ValueError as error:
            if time.monotonic() > end:
                raise _wrong(f"it is not JSON: {error}") from None
            time.sleep(0.02)


def _checked(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong("it is not a JSON object; use one such as {}")
    for key, setting in value.items():
        if key not in _KEYS:
            raise _wrong(f"it has the unknown key {key!r}; known: {', '.join(sorted(_KEYS))}")
        fits, wanted = _KEYS[key]
        if not fits(setting):
            raise _wrong(f"{key} is {formats.dumps(setting)}; use {wanted}")
    if "approve_after" in value and "approve_when" in value:
        raise _wrong("it has both approve_after and approve_when; use one of them")
    return {**DEFAULTS, **value}


def _wrong(what: str) -> Failure:
    return Failure(f"error: {steering_file()} is wrong: {what}", 2)


def names(listed: Any, text: str) -> bool:
    """Tell whether `revoked` or `invalid_keys` means this one."""
    return listed is True or (isinstance(listed, list) and text in listed)
