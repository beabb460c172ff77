"""Reads `mark.kiro_selfcheck`: which altered recordings an eval need not notice, and why."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

import pytest

from pytest_kiro.settings.table import did_you_mean

MARK = "kiro_selfcheck"
_WORDS = ["allow", "reason"]


class Allowance(NamedTuple):
    """What the marks of an eval allow: kinds, whole names, or patterns of them; and the reasons."""

    names: tuple[str, ...]
    reason: str

    def match(self, mutant: str) -> str | None:
        """Return what allows an altered recording, None for nothing.

        >>> Allowance(("no-call", "halved *.md"), "").match("no-call read 'a'")
        'no-call'
        """
        return next((name for name in self.names if mutant.startswith(f"{name} ") or fnmatchcase(mutant, name)), None)


def allowance_of(item: pytest.Item) -> Allowance:
    """Return what the marks of an eval and its module allow."""
    marks = [mark.kwargs for mark in item.iter_markers(MARK)]
    names = dict.fromkeys(name for words in marks for name in words["allow"])
    return Allowance(tuple(names), "; ".join(dict.fromkeys(str(words["reason"]) for words in marks)))


def wrong_allowance(items: Sequence[pytest.Item]) -> str | None:
    """Say what is wrong with the first wrong `mark.kiro_selfcheck`; None without one."""
    for item in items:
        for mark in item.iter_markers(MARK):
            if wrong := _wrong(mark):
                return f"{item.nodeid}: mark.{MARK}{wrong}"
    return None


def _wrong(mark: pytest.Mark) -> str:
    from pytest_kiro.recording.mutants import KINDS

    if mark.args:
        return f" takes keywords only; known: {', '.join(_WORDS)}"
    if unknown := next((word for word in mark.kwargs if word not in _WORDS), None):
        return f" has no keyword {unknown!r}{did_you_mean(unknown, _WORDS)}; known: {', '.join(_WORDS)}"
    names, reason = mark.kwargs.get("allow"), mark.kwargs.get("reason")
    if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
        return f": allow={names!r} is not right; wanted: a list of names that the self-check has told"
    if not isinstance(reason, str) or not reason.strip():
        return f": reason={reason!r} is not right; wanted: a sentence that says why the eval need not notice it"
    for name in names:
        kind = name.partition(" ")[0]
        if kind not in KINDS and not set("*?[") & set(kind):
            return f": there is no {kind!r}{did_you_mean(kind, list(KINDS))}; known: {', '.join(KINDS)}"
    return ""
