"""Reads the events of `--output-format stream-json`, wherever its lines are cut.

There is one JSON object a line. The objects are those that 2.19.2 to 2.29.0 printed; Kiro publishes no schema of
them. Unknown ones are passed on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pytest_kiro.kirocli.events_turn import StreamedTurn
from pytest_kiro.kirocli.sessions.values import dig, load
from pytest_kiro.turn.transcript import ToolCall, Transcript

Kind = Literal["text", "thought", "tool_call", "tool_result", "finished", "error", "stray", "other"]
#: A longer line is none of Kiro's; tool output of that size is cut by the engines themselves.
LINE_LIMIT = 16 * 1024 * 1024
#: Of a line that is not JSON so much is kept.
_STRAY = 64 * 1024
#: What the terminal shows of a Ctrl-C, wherever the line is then.
_ECHO = re.compile(rb"\A(?:\^C)+")
_TYPES = ("runStarted", "metadata", "sessionUpdate", "runFinished", "runError")


@dataclass(frozen=True)
class Event:
    """One thing that Kiro told while it worked.

    `kind` says what: a text, a tool call, its result and so on. `text` is the chunk, title, message or stray line;
    `call` belongs to tool_call (unfinished) and tool_result; `data` is the object as it came, of stream-json; `credits`
    what a text layout's last line says.

    >>> Event("text", "Hello").text
    'Hello'
    """

    kind: Kind
    text: str = ""
    call: ToolCall | None = None
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)
    credits: float | None = None


class EventReader:
    """From bytes to events, and in the end to a transcript.

    >>> reader = EventReader()
    >>> reader.events(b'{"type":"runError","data":{"stage":"init","message":"no ')
    []
    >>> [event.text for event in reader.events(b'such session"}}\\n')]
    ['no such session']
    >>> reader.transcript().stage
    'init'
    """

    def __init__(self, *, limit: int = LINE_LIMIT) -> None:
        self._limit = limit
        self._line = bytearray()
        self._skipping = False
        self._turn = StreamedTurn()
        self._known = False

    def events(self, data: bytes, *, final: bool = False) -> list[Event]:
        """Return what the lines that are complete by now say; `final` takes the last one as complete."""
        *ended, rest = data.split(b"\n")
        events: list[Event] = []
        for part in ended:
            events += [*self._add(part), *self._end()]
        events += self._add(rest)
        return [*events, *self._end()] if final else events

    def transcript(self) -> Transcript | None:
        """Return the turn so far; None when not one event of Kiro's has come."""
        return self._turn.transcript() if self._known else None

    # -- lines

    def _add(self, part: bytes) -> Iterator[Event]:
        if self._skipping:
            return
        room = self._limit - len(self._line)
        self._line += part[:room]
        if len(part) > room:  # told at once, so that no memory waits for its end
            self._skipping = True
            yield _stray(bytes(self._line))
            self._line.clear()

    def _end(self) -> Iterator[Event]:
        line = bytes(self._line).rstrip(b"\r")
        self._line.clear()
        self._skipping = False
        if line.strip():
            yield from self._read(line)

    # -- objects

    def _read(self, line: bytes) -> list[Event]:
        record = load(_ECHO.sub(b"", line))
        kind, data = dig(record, "type"), dig(record, "data")
        if not isinstance(kind, str) or not isinstance(data, dict):
            return [_stray(line)]
        known = kind in _TYPES
        self._known = self._known or known
        news = self._turn.take(kind, data) if known else ()
        return [Event(*told, data=record) for told in news] or [Event("other", data=record)]


def _stray(line: bytes) -> Event:
    return Event("stray", line[:_STRAY].decode("utf-8", "replace"))


def shown(event: Event) -> str:
    """Return an event's text in the words of the text layout.

    >>> shown(Event("tool_call", "Running: ls"))
    '\\n[tool] Running: ls\\n'
    """
    if event.kind == "text":
        return event.text
    if event.kind == "tool_call":
        return f"\n[tool] {event.text}\n"
    if event.kind == "tool_result":
        status = event.call.status if event.call else event.data.get("status")
        denied = f"[denied] {event.text.strip().partition(chr(10))[0]}\n" if status == "denied" else ""
        return f"{denied}[tool] status: {'Completed' if status == 'completed' else 'Failed'}\n"
    if event.kind == "error":
        return f"\n{event.text}\n"
    if event.kind == "stray":
        return f"{event.text}\n"
    return "\n" if event.kind == "finished" else ""
