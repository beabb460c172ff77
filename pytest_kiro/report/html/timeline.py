"""Puts what happened in a trial on one axis of seconds."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from pytest_kiro.records.turns import ToolCallRecord
from pytest_kiro.report.html.evidence import Cast

#: Pixels of the drawing: its width, and where its axis begins.
WIDTH, LEFT = 1000.0, 76.0
#: A terminal that says nothing for so long is said to be silent.
SILENCE = 10.0
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)")


@dataclass(frozen=True)
class Item:
    """One thing on the axis.

    `at` and `end` are seconds since the trial began, `x` and `width` its place; `ref` names what it leads to, `turn`
    and `seconds` where in which terminal.
    """

    lane: str
    kind: str
    label: str
    at: float
    end: float
    ref: str = ""
    turn: str = ""
    seconds: float | None = None
    x: float = 0.0
    width: float = 0.0


@dataclass(frozen=True)
class Timeline:
    """A drawing of a trial: its lanes with their items, and the axis' ticks."""

    lanes: tuple[tuple[str, tuple[Item, ...]], ...]
    ticks: tuple[tuple[float, str], ...]
    duration: float
    scale: float

    @property
    def height(self) -> float:
        """The drawing's height."""
        return 24.0 * len(self.lanes) + 26.0


def drawn(items: Sequence[Item], lanes: Sequence[str]) -> Timeline | None:
    """Place items on the axis; lanes that have none are left out."""
    if not items:
        return None
    duration = max(max(item.end for item in items), 0.1)
    scale = (WIDTH - LEFT - 24) / duration
    placed = [
        Item(
            **{
                **vars(item),
                "x": round(LEFT + item.at * scale, 1),
                "width": round(max((item.end - item.at) * scale, 3.0), 1),
            }
        )
        for item in items
    ]
    by_lane = [(lane, tuple(item for item in placed if item.lane == lane)) for lane in lanes]
    ticks = tuple((round(LEFT + second * scale, 1), _shown(second)) for second in _ticks(duration))
    return Timeline(tuple((lane, own) for lane, own in by_lane if own), ticks, duration, scale)


def call_times(calls: Sequence[ToolCallRecord], cast: Cast | None, duration: float) -> list[tuple[float, bool]]:
    """Return when each call was seen, and whether that is known.

    It is known where the terminal has shown its command or path; others stand between their neighbours.
    """
    seen = [None] * len(calls) if cast is None else _seen(calls, cast)
    known: list[tuple[int, float]] = [(-1, 0.0)]
    known += [(number, time) for number, time in enumerate(seen) if time is not None]
    known.append((len(calls), max(duration, known[-1][1])))
    times: list[tuple[float, bool]] = []
    for (before, start), (after, end) in pairwise(known):
        step = (end - start) / (after - before)
        times += [(start + step * (number - before), False) for number in range(before + 1, after)]
        if after < len(calls):
            times.append((end, True))
    return times


def silences(cast: Cast | None) -> Iterable[tuple[float, float]]:
    """Yield when a terminal said nothing for long."""
    events = cast.events if cast is not None else ()
    for (before, _), (after, _) in pairwise(events):
        if after - before >= SILENCE:
            yield before, after


def _seen(calls: Sequence[ToolCallRecord], cast: Cast) -> list[float | None]:
    """Find calls in what a terminal was sent, in their order."""
    starts = [0, *accumulate(len(data) for _, data in cast.events)]
    # Of the same length, so that a place in it is one in what was sent.
    text = _ESCAPES.sub(lambda found: "\0" * len(found[0]), "".join(data for _, data in cast.events))
    position, found = 0, list[float | None]()
    for call in calls:
        place = text.find(needle, position) if (needle := _needle(call)) else -1
        if place < 0:
            found.append(None)
            continue
        position = place + 1
        found.append(cast.events[bisect_right(starts, place) - 1][0])
    return found


def _needle(call: ToolCallRecord) -> str:
    value = call.input.get("command") or call.input.get("path") or call.input.get("pattern") or ""
    text = value.strip().partition("\n")[0] if isinstance(value, str) else ""
    return text[:40] if call.name == "shell" else text.rpartition("/")[2]


def _ticks(duration: float) -> Iterable[float]:
    step = next(
        (step for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600) if duration / step <= 10), 1800
    )
    return (step * number for number in range(int(duration / step) + 1))


def _shown(seconds: float) -> str:
    return f"{seconds:g} s" if seconds < 120 else f"{seconds / 60:g} min"
