"""Says in one line what turns do that are under way."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_kiro.secrecy.visible import escaped
from pytest_kiro.turn.shown import place_and_test, short
from pytest_kiro.turn.transcript import ToolCall

#: Characters that are shown of a test's name.
_NAME = 40
#: By V2's word for a tool, what it does.
_VERBS = {"write": "writing", "read": "reading", "shell": "running", "grep": "searching", "glob": "searching"}


@dataclass(frozen=True)
class UnderWay:
    """A turn that is under way: whose it is, how long it takes, how many calls it made, what it does now."""

    name: str
    turn: str
    seconds: float
    calls: int = 0
    doing: str = ""


def doing(call: ToolCall) -> str:
    """Say what a call does that has just begun.

    >>> doing(ToolCall("write", "fs_write", {"path": "/w/src/donut.js"}, "", "unfinished"))
    'writing donut.js'
    """
    what = call.command or ", ".join(path.rpartition("/")[2] or path for path in call.paths) or ""
    verb = _VERBS.get(call.name) or f"using {call.name}"
    return escaped(f"{verb} {' '.join(what.split())}".strip())


def status_line(turns: Sequence[UnderWay], width: int) -> str:
    """Say what is under way, within so many columns: of one turn all, of several the oldest ones first.

    >>> turn = UnderWay("t.py::test_donut", "turn 1", 43.2, 5, "writing donut.js")
    >>> status_line([turn], 80)
    'test_donut · turn 1 · 43 s · 5 calls · writing donut.js'
    >>> status_line([turn, UnderWay("test_x", "turn 2", 99)], 60)
    '2 turns · test_x 1 min 39 s · test_donut 43 s, writing don…'
    """
    if len(turns) == 1:
        return fitted(" · ".join(parts_of(turns[0])), width - 1)
    oldest = sorted(turns, key=lambda turn: -turn.seconds)
    each = [", ".join(filter(None, (f"{_name(one)} {lasted(one.seconds)}", one.doing))) for one in oldest]
    return fitted(" · ".join([f"{len(turns)} turns", *each]), width - 1)


def parts_of(turn: UnderWay) -> list[str]:
    """Return what is said of one turn."""
    calls = f"{turn.calls} call{'s' * (turn.calls != 1)}" if turn.calls else ""
    return [*filter(None, (_name(turn), turn.turn, lasted(turn.seconds), calls, turn.doing))]


def lasted(seconds: float) -> str:
    """Write a time in whole seconds.

    >>> lasted(43.9), lasted(60), lasted(125)
    ('43 s', '1 min', '2 min 5 s')
    """
    minutes, rest = divmod(int(seconds), 60)
    return " ".join([*([f"{minutes} min"] if minutes else []), *([f"{rest} s"] if rest or not minutes else [])])


def fitted(text: str, columns: int) -> str:
    """Cut a line to columns, of which wide characters take two.

    >>> fitted("日本語", 5), fitted("abc", 3)
    ('日本…', 'abc')
    """
    if sum(map(_columns, text)) <= columns:
        return text
    room, kept = columns - 1, ""
    for character in text:
        if (room := room - _columns(character)) < 0:
            break
        kept += character
    return f"{kept}…" if columns > 0 else ""


def _name(turn: UnderWay) -> str:
    return short(escaped(place_and_test(turn.name)[1]), _NAME)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
