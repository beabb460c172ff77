"""Checks `{recall:REGEX|otherwise}` when a scenario is read, and not in the sandbox."""

from __future__ import annotations

import re

from pytest_kiro.errors import HIDE_FRAMES, SettingsError

__tracebackhide__ = HIDE_FRAMES
OPENING = "{recall:"


def check(where: str, text: str) -> None:
    """Refuse a recall that the stand-in could not read; the rules are those of its replies.py."""
    at = text.find(OPENING)
    while at >= 0:
        end = _closing(text, at)
        regex, separator, _ = text[at + len(OPENING) : max(end, 0)].rpartition("|")
        if end < 0 or not separator:
            what = f"{where}: {text[at : at + 60]!r} is no recall"
            raise SettingsError(what, advice="the form is {recall:REGEX|otherwise}")
        try:
            re.compile(regex)
        except re.error as error:
            what = f"{where}: {regex!r} in a recall is no regular expression: {error}"
            raise SettingsError(what, advice="escape what is meant literally") from None
        at = text.find(OPENING, end)


def _closing(text: str, at: int) -> int:
    depth = 1
    for match in re.compile(r"(?<!\\)[{}]").finditer(text, at + 1):
        depth += 1 if match.group() == "{" else -1
        if not depth:
            return match.start()
    return -1
