"""What a turn has printed so far: bytes, text, events, without secrets."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from pytest_kiro.kirocli.events import Event, EventReader, Kind, shown
from pytest_kiro.kirocli.layout import Layout
from pytest_kiro.secrecy.redaction import Secrets
from pytest_kiro.secrecy.spellings import as_text
from pytest_kiro.secrecy.visible import Uncontrolled
from pytest_kiro.terminal.text import Kept, Plain, fold
from pytest_kiro.turn.transcript import ToolCall, Transcript

#: Bytes of a turn that are kept; beyond it the middle is dropped, and the Turn says so.
KEPT = 16 * 1024 * 1024
#: Events that are kept; beyond it the oldest go.
_EVENTS_KEPT = 100_000
_GAP = "\n[… the middle of this output was not kept …]\n"


class Printed:
    """What has been printed so far, up to the cap.

    Secrets are taken out of the bytes, and of the text as well, since colours, or the borders of events, may stand in
    the middle of one. One that is spread over events is taken out of what they tell, not of the lines they came in;
    what controls a terminal is taken out of their texts before.
    """

    def __init__(self, engine: str, secrets: Secrets, *, stream: bool = False) -> None:
        self.raw = Kept(b"", KEPT)
        self.events = deque[Event](maxlen=_EVENTS_KEPT)
        self.announced = deque[ToolCall](maxlen=_EVENTS_KEPT)
        self._secrets, self._bytes, self._words = secrets, secrets.stream(), secrets.stream()
        self._text, self._plain = Kept("", KEPT), Plain()
        self._layout = Layout(engine)
        self._reader = EventReader() if stream else None
        self._kind: Kind | None = None
        self._uncontrolled = Uncontrolled()
        #: Told of the bytes, without secrets.
        self.taps: list[Callable[[bytes], object]] = []

    def feed(self, data: bytes, *, final: bool = False) -> str:
        """Take bytes as they come; return the text that is new by them."""
        hidden = self._bytes.feed(data, final=final)
        self._keep(hidden)
        if self._reader is None:
            text = self._words.text(self._plain.text(hidden, final=final), final=final)
            return self._told(text, self._layout.events(text, final=final))
        # Its lines are read as they came: a word within them might make them unreadable.
        events = list(self._hidden(self._reader.events(data, final=final), final=final))
        text = self._plain.text("".join(map(shown, events)).encode("utf-8", "replace"), final=final)
        return self._told(text, events)

    @property
    def waits(self) -> bool:
        """Whether an end is held back that may begin a secret."""
        return self._bytes.waits or self._words.waits

    def release(self) -> str:
        """Let go of what is held back, after a silence; return the new text."""
        hidden = self._bytes.release()
        self._keep(hidden)
        if self._reader is None:
            text = self._words.text(self._plain.text(hidden)) + as_text(self._words.release())
            return self._told(text, self._layout.events(text))
        if self._kind is None or not (rest := as_text(self._words.release())):
            return ""
        event = Event(self._kind, rest)
        return self._told(self._plain.text(shown(event).encode("utf-8", "replace")), [event])

    def _keep(self, hidden: bytes) -> None:
        self.raw.add(hidden)
        for tap in self.taps:
            tap(hidden)

    def _hidden(self, events: Iterable[Event], *, final: bool) -> Iterator[Event]:
        """Take the secrets out of events, and of texts in a row."""
        for event in events:
            if event.kind != self._kind:
                if rest := self._words.text("", final=True):
                    yield Event(self._kind or "text", rest)
                self._kind, self._uncontrolled = event.kind, Uncontrolled()
            event = self._secrets.within(event)
            if event.kind in ("text", "thought"):
                event = replace(event, text=self._words.text(self._uncontrolled.feed(event.text)))
            yield event
        if final and (rest := self._words.text("", final=True)):
            yield Event(self._kind or "text", rest)

    def _told(self, text: str, events: list[Event]) -> str:
        self.events += events
        self.announced += [event.call for event in events if event.kind == "tool_call" and event.call]
        self._text.add(text)
        return text

    @property
    def text(self) -> str:
        """What a terminal shows of it."""
        return fold(self._text.join(_GAP))

    @property
    def data(self) -> bytes:
        """The bytes, with a line of words where the middle is gone."""
        return self._secrets.data(self.raw.join(_GAP.encode()))  # also where colours stand within a secret

    @property
    def truncated(self) -> bool:
        """Whether the middle is gone."""
        return self.raw.dropped > 0 or self._text.dropped > 0

    def transcript(self) -> Transcript | None:
        """What an event stream says of the turn, None of text; secrets are still in it."""
        return self._reader.transcript() if self._reader else None
