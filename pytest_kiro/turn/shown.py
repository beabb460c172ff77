"""Shortens what a value shows of itself when an assert fails; divides the names of tests."""

from __future__ import annotations

from collections.abc import Sequence

#: Characters that pytest shows of a value before it cuts the middle out of it.
SHOWN = 240
_MOST = 40


def listed(words: Sequence[str], room: int, none: str = "") -> str:
    """Join as many words as there is room for; count the others.

    >>> listed(["a.py", "b.py", "long.py"], 16), listed([], 17, none="nothing")
    ('a.py, and 2 more', 'nothing')
    """
    for count in range(min(len(words), _MOST), 0, -1):
        more = [f"and {len(words) - count} more"] if count < len(words) else []
        if len(text := ", ".join([*words[:count], *more])) <= room:
            return text
    return f"{len(words)}" if words else none


def short(text: str, most: int) -> str:
    """Cut a text, and say that it was.

    >>> short("node donut.js", 5)
    'node…'
    """
    # As a name of a file may have a lone surrogate, and xdist sends none.
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= most else f"{text[: most - 1]}…"


def place_and_test(name: str) -> tuple[str, str]:
    """Return a test's file with its classes, and its own name; what is no test has no place.

    >>> place_and_test("evals/test_a.py::TestB::test_c[std::move/x]"), place_and_test("fixture:shop[a/b]")
    (('evals/test_a.py::TestB', 'test_c[std::move/x]'), ('', 'fixture:shop[a/b]'))
    """
    file, colons, rest = name.partition("::")
    if not colons:
        return "", name
    inner, bracket, parameters = rest.partition("[")
    *classes, test = inner.split("::")
    return "::".join([file, *classes]), f"{test}{bracket}{parameters}"


def without_folders(name: str) -> str:
    """Return a test's name without the folders of its file.

    >>> without_folders("evals/test_a.py::test_c[a/b]"), without_folders("fixture:shop[a/b]")
    ('test_a.py::test_c[a/b]', 'fixture:shop[a/b]')
    """
    file, colons, rest = name.partition("::")
    return f"{file.rpartition('/')[2]}::{rest}" if colons else name
