"""`{recall:REGEX|otherwise}` in a scenario: found wrong when the file is read, and not in the sandbox."""

from __future__ import annotations

import re

from pytest_kiro.errors import HIDE_FRAMES, SettingsError

__tracebackhide__ = HIDE_FRAMES
OPENING = "{recall:"


def check(where: str, text: str) -> None:
    """Find a recall that the stand-in could not read; its rules are those of the stand-in's replies.py."""
    at = text.find(OPENING)
    while at >= 0:
        end = _closing(text, at)
        regex, separator, _ = text[at + len(OPENING) : max(end, 0)].rpartition("|")
        if end < 0 or not separator:
            raise SettingsError(
                f"{where}: {text[at : at + 60]!r} is no recall. The form is {{recall:REGEX|otherwise}}."
            )
        try:
            re.compile(regex)
        except re.error as error:
            raise SettingsError(
                f"{where}: {regex!r} in a recall is no regular expression: {error}; escape what is meant literally."
            ) from None
        at = text.find(OPENING, end)


def _closing(text: str, at: int) -> int:
    depth = 1
    for match in re.compile(r"(?<!\\)[{}]").finditer(text, at + 1):
        depth += 1 if match.group() == "{" else -1
        if not depth:
            return match.start()
    return -1
