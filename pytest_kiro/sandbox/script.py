"""Puts shell programs together: a `.sh` file of the package behind assignments of its values."""

from __future__ import annotations

import shlex
from functools import cache
from pathlib import Path


def program(file: Path, **values: str | int) -> str:
    """Return a file's `sh` program behind assignments of its values.

    A text stands in its variable as it is, a number in digits, True as 1 and False as nothing; several words come
    quoted in one text, for an `eval "set -- $words"` of the program. Lines of comments are left out: an agent can read
    what runs in its sandbox, and an image is built anew for a program that does other things, not for another comment.
    """
    return "".join(f"{name}={shlex.quote(_text(value))}\n" for name, value in values.items()) + _code(file)


def _text(value: str | int) -> str:
    return ("1" if value else "") if isinstance(value, bool) else str(value)


@cache
def _code(file: Path) -> str:
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if line.strip() and not line.lstrip().startswith("#"))
