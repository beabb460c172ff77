"""Checks what a machine is asked to execute."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


def check_command(command: object, timeout: object = None) -> None:
    """Raise `TypeError` or `ValueError` for what no shell can be given.

    >>> check_command(["ls", "-l"])
    Traceback (most recent call last):
    TypeError: command=['ls', '-l'] is not right; wanted: an sh line as a str; shlex.join makes one of a list
    """
    if not isinstance(command, str):
        raise TypeError(
            f"command={command!r} is not right; wanted: an sh line as a str; shlex.join makes one of a list"
        )
    if re.search("[\0\ud800-\udc7f\udd00-\udfff]", command):  # others are bytes that are no UTF-8
        raise ValueError(f"command={command!r} is not right; wanted: a str without NUL and lone surrogates")
    if timeout is not None and not (isinstance(timeout, int | float) and timeout > 0):
        raise ValueError(f"timeout={timeout!r} is not right; wanted: a number of seconds above 0")


def check_env(env: Mapping[Any, Any]) -> None:
    """Raise `ValueError` for what no environment can hold; values are not shown, they may be secret."""
    for name, value in env.items():
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"environment variable {name!r} cannot be set: letters, digits and _")
        if not isinstance(value, str) or "\0" in value or re.search("[\ud800-\udfff]", value):
            raise ValueError(f"environment variable {name!r} cannot be set: a str without NUL and lone surrogates")
