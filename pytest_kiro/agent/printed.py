"""What a turn has printed so far: bytes, the text that people read, and what Kiro told in it."""

from __future__ import annotations

from collections import deque

from pytest_kiro.cli.events import Event, EventReader, shown
from pytest_kiro.cli.layout import Layout
from pytest_kiro.cli.transcript import ToolCall, Transcript
from pytest_kiro.terminal.text import Kept, Plain, fold

#: Bytes of a turn that are kept; beyond it the middle is dropped, and the Turn says so.
KEPT = 16 * 1024 * 1024
#: Events that are kept; beyond it the oldest go.
_EVENTS_KEPT = 100_000
_GAP = "\n[… the middle of this output was not kept …]\n"


class Printed:
    """What has been printed so far, up to the cap; of an event `stream`, its text is what the events tell."""

    def __init__(self, engine: str, *, stream: bool = False) -> None:
        self.raw = Kept(b"", KEPT)
        self.announced = deque[ToolCall](maxlen=_EVENTS_KEPT)
        self._text, self._plain = Kept("", KEPT), Plain()
        self._events = deque[Event](maxlen=_EVENTS_KEPT)
        self._layout = Layout(engine)
        self._reader = EventReader() if stream else None

    def feed(self, data: bytes, *, final: bool = False) -> str:
        """Take bytes as they come; return the text that is new by them."""
        self.raw.add(data)
        if self._reader is None:
            text = self._plain.feed(data, final=final)
            events = self._layout.feed(text, final=final)
        else:
            events = self._reader.feed(data, final=final)
            text = self._plain.feed("".join(map(shown, events)).encode("utf-8", "replace"), final=final)
        self._events += events
        self.announced += [event.call for event in events if event.kind == "tool_call" and event.call]
        self._text.add(text)
        return text

    @property
    def events(self) -> list[Event]:
        """What Kiro told, in order."""
        return list(self._events)

    @property
    def text(self) -> str:
        """What a terminal shows of it."""
        return fold(self._text.join(_GAP))

    @property
    def data(self) -> bytes:
        """The bytes, with a line of words where the middle is gone."""
        return self.raw.join(_GAP.encode())

    @property
    def truncated(self) -> bool:
        """Whether the middle is gone."""
        return self.raw.dropped > 0 or self._text.dropped > 0

    def transcript(self) -> Transcript | None:
        """What an event stream says of the turn, None of text."""
        return self._reader.transcript() if self._reader else None
