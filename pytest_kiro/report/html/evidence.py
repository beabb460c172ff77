"""Holds what is known of tests beside their records: terminals, commands, diffs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

#: Conversation and turn, both from 1.
TurnKey = tuple[int, int]
#: Characters that are kept of what a turn's terminal was sent: half of them its first, half its last.
CAST = 200_000


@dataclass(frozen=True, kw_only=True)
class Cast:
    """What a turn's terminal was sent, and when; `note` says what was left out."""

    width: int = 120
    height: int = 30
    events: tuple[tuple[float, str], ...] = ()
    note: str = ""

    @property
    def duration(self) -> float:
        """The time of its last event."""
        return self.events[-1][0] if self.events else 0.0


@dataclass(frozen=True, kw_only=True)
class Executed:
    """A command that a test has executed; `began` is in seconds since the test began."""

    command: str
    exit_code: int | None
    output: str = ""
    duration: float = 0.0
    began: float | None = None
    after_turn: TurnKey | None = None


@dataclass(frozen=True, kw_only=True)
class TurnEvidence:
    """What is known of a turn beside its record; `began` is in seconds since the test began."""

    cast: Cast | None = None
    began: float | None = None


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known of a test beside its record.

    `traceback` is that of its failure, `where` its line (`test_a.py:12`), `folder` where its artifacts lie, as a reader
    of the page can open it; `diffs` are by path, of what Kiro changed; `shared` are wide fixtures' turns, by name.
    """

    traceback: str = ""
    where: str = ""
    folder: str = ""
    turns: Mapping[TurnKey, TurnEvidence] = field(default_factory=dict)
    diffs: Mapping[str, str] = field(default_factory=dict)
    executed: Sequence[Executed] = ()
    shared: Mapping[str, Mapping[TurnKey, TurnEvidence]] = field(default_factory=dict)

    def without(self, hide: Callable[[str], str]) -> Evidence:
        """Return it with secrets hidden; terminals were kept without."""
        return replace(
            self,
            traceback=hide(self.traceback),
            diffs={hide(path): hide(text) for path, text in self.diffs.items()},
            executed=[replace(one, command=hide(one.command), output=hide(one.output)) for one in self.executed],
        )


def read_cast(file: Path) -> Cast | None:
    """Return the terminal that an asciicast of version 2 or 3 has; None where it is none."""
    with suppress(OSError, ValueError, TypeError, LookupError, AttributeError):
        return cast_of(file.read_text(encoding="utf-8", errors="replace"), str(file))
    return None


def cast_of(text: str, file: str = "") -> Cast:
    """Read an asciicast; what is too long loses its middle. `ValueError` and such where it is none.

    >>> cast_of('{"version": 3, "term": {"cols": 80, "rows": 24}}\\n[0.5, "o", "a"]\\n[0.5, "o", "b"]').events
    ((0.5, 'a'), (1.0, 'b'))
    """
    first, *lines = text.split("\n")  # not by what else ends a line, which stands in what was printed
    header = json.loads(first)
    relative = header["version"] == 3
    size = header["term"] if relative else header
    now, events = 0.0, []
    for line in filter(str.strip, lines):
        time, kind, data = json.loads(line)[:3]
        now = now + float(time) if relative else float(time)
        if kind == "o":
            events.append((round(now, 3), str(data)))
    columns, rows = (size["cols"], size["rows"]) if relative else (size["width"], size["height"])
    return shortened(Cast(width=int(columns), height=int(rows), events=tuple(events)), file)


def shortened(cast: Cast, file: str = "") -> Cast:
    """Leave out the middle of what is too long."""
    sizes = [len(data) for _, data in cast.events]
    if sum(sizes) <= CAST:
        return cast
    head, room = 0, CAST // 2
    while room > 0 and head < len(sizes):
        room -= sizes[head]
        head += 1
    tail, room = len(sizes), CAST // 2
    while room > 0 and tail > head:
        tail -= 1
        room -= sizes[tail]
    left_out = sum(sizes[head:tail])
    note = f"{left_out} characters of its middle are left out here{f'; {file} has them' if file else ''}"
    return replace(cast, events=(*cast.events[:head], *cast.events[tail:]), note=note)
