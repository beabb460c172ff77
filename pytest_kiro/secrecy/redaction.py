"""Replaces secrets by words, in texts, bytes, values and streams.

A secret is found in all the forms that spellings.py knows, also where what a terminal obeys stands within it; where two
overlap nothing of either is left. What is to be cut must be redacted before: half a key is one as well.
"""

from __future__ import annotations

import dataclasses
import itertools
import operator
import re
import threading
from bisect import bisect
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from typing import Any, AnyStr, Generic, TypeVar, cast

from pytest_kiro.secrecy import VARIABLES
from pytest_kiro.secrecy.spellings import as_bytes, as_text, forms
from pytest_kiro.secrecy.visible import apparent, has_controls

#: A shorter one would be found in half of all words.
SHORTEST = 8
#: What pytest and we put where a text was cut, and how much of a secret beside it is too much.
_GAP, _SHORTEST_PART = re.compile(r"(\.\.\.|…)"), 6
#: What may stand within a secret in bytes; C1 is two of them.
_CONTROLS = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\xc2[\x80-\x9f]")
_NAME = re.compile(r"[\w .-]+")
_DEEPEST = 100
_Value = TypeVar("_Value")


class Secrets:
    """Replaces what must never be written by its name in brackets.

    It may be added to at any time, by any thread; what is written afterwards has the word instead.

    >>> secrets = Secrets()
    >>> secrets.add('ksk_"0123', "KIRO_API_KEY")
    >>> secrets('my key is ksk_"0123')
    'my key is [KIRO_API_KEY]'
    >>> secrets.within({"as JSON": ['ksk_\\\\"0123']})
    {'as JSON': ['[KIRO_API_KEY]']}
    """

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._adding = threading.Lock()
        self._texts, self._data = _Forms[str]({}), _Forms[bytes]({})

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Secrets:
        """Return the secrets of an environment, by their variables' names."""
        secrets = cls()
        for name in VARIABLES:
            secrets.add(environ.get(name, ""), name)
        return secrets

    def add(self, value: str, name: str) -> None:
        """Hide a text from now on, behind `[name]`; idempotent. One of less than 8 characters is not hidden."""
        if not isinstance(value, str):
            raise TypeError(f"a secret of the type {type(value).__name__} cannot be hidden; wanted: a text")
        if not _NAME.fullmatch(name):
            raise ValueError(f"a secret cannot be named {name!r}; wanted: letters, digits, blanks and _ . -")
        value = value.strip()
        with self._adding:
            if len(value) < SHORTEST or value in self._names:
                return
            self._names[value] = name
            # New ones, since another thread may look through the old ones just now.
            words: dict[str, str] = {**dict.fromkeys(forms(value), f"[{name}]"), **self._texts.words}
            self._texts = _Forms(words)
            self._data = _Forms({as_bytes(form): as_bytes(word) for form, word in words.items()})

    def __repr__(self) -> str:
        return f"<Secrets: {len(self._names)} hidden>"

    @property
    def any(self) -> bool:
        """Whether there are any."""
        return bool(self._names)

    def __call__(self, text: str) -> str:
        """Take the secrets out of a text."""
        if not self._names:
            return text
        text = _without(text, self._texts.spans(text))
        return _without(text, self._texts.spans_between(text)) if has_controls(text) else text

    def data(self, data: bytes) -> bytes:
        """Take the secrets out of bytes."""
        data = _without(data, self._data.spans(data))
        if not self._names or not _CONTROLS.search(data):
            return data
        text = data.decode("utf-8", "surrogateescape")
        return _without(text, self._texts.spans_between(text)).encode("utf-8", "surrogateescape")

    def within(self, value: _Value) -> _Value:
        """Take the secrets out of a value and its parts.

        The parts of lists, tuples, sets, mappings (keys as well) and dataclasses are looked through. A value without
        secrets comes back itself; what is nested deeper than anybody reads becomes its `repr`.
        """
        return cast(_Value, self._within(value, 0)) if self._names else value

    def _within(self, value: object, depth: int) -> object:
        if isinstance(value, str):
            return self(value)
        if isinstance(value, bytes):
            return self.data(value)
        if (apart := _apart(value)) is None:
            return value
        if depth > _DEEPEST:
            with suppress(RecursionError):  # nobody can write it either
                shown = repr(value)
                return hidden if (hidden := self(shown)) != shown else value
            return value
        parts, together = apart
        fresh = [self._within(part, depth + 1) for part in parts]
        return value if all(map(operator.is_, fresh, parts)) else together(fresh)

    def torn(self, text: str) -> str:
        """Take secrets, and their halves beside a cut, out of a text."""
        parts = _GAP.split(self(text))
        for at in range(0, len(parts) - 2, 2):
            for form, word in self._texts.words.items():
                if size := overlap(parts[at], form, _SHORTEST_PART):
                    parts[at] = parts[at][:-size] + word
                if size := overlap(parts[at + 2][: len(form)][::-1], form[::-1], _SHORTEST_PART):
                    parts[at + 2] = word + parts[at + 2][size:]
        return "".join(parts)

    def stream(self) -> Stream:
        """Return what takes them out of chunks."""
        return Stream(lambda: self._data)


class Stream:
    """Takes secrets out of chunks of bytes, wherever they are cut."""

    def __init__(self, known: Callable[[], _Forms[bytes]]) -> None:
        self._known = known
        self._held = b""
        #: How much of what is held a word stands for already, and how much has been given out at least.
        self._covered = self._done = 0

    @property
    def waits(self) -> bool:
        """Whether something is held back that may be let go."""
        return self._done < len(self._held) < SHORTEST

    def feed(self, data: bytes, *, final: bool = False) -> bytes:
        """Return what is certain by now; held back is an end that may begin a secret."""
        known = self._known()
        data = self._held + data
        near = known.near(data)
        until = len(data) - (0 if final else known.unfinished(data, near))
        shown, covered, done = _replaced(data, known.spans(data, near), until, self._covered, self._done)
        self._held, self._covered, self._done = data[until:], max(0, covered - until), max(0, done - until)
        return shown

    def release(self) -> bytes:
        """Return what is held back, since nothing came for a while.

        Should a secret go on there, its rest is hidden. Of a beginning that is longer nothing is let go: it would be
        most of a secret.
        """
        if not self.waits:
            return b""
        shown, self._done = self._held[self._done :], len(self._held)
        return shown

    def text(self, text: str, *, final: bool = False) -> str:
        """Do the same as `feed` with text."""
        return as_text(self.feed(text.encode("utf-8", "surrogatepass"), final=final))


def overlap(text: AnyStr, form: AnyStr, shortest: int = 1) -> int:
    """Return the size of the longest end that begins a form; 0 if it is shorter than `shortest`."""
    start, beginning = max(0, len(text) - len(form) + 1), form[:shortest]
    while (start := text.find(beginning, start)) >= 0:
        if form.startswith(text[start:]):
            return len(text) - start
        start += 1
    return 0


# -- texts


class _Forms(Generic[AnyStr]):
    """The forms of all secrets, with the word for each."""

    def __init__(self, words: Mapping[AnyStr, AnyStr]) -> None:
        self.words: Mapping[AnyStr, AnyStr] = words
        # Most texts have none, and `find` is the quickest way to see that: of forms that begin alike, once.
        self._heads: dict[AnyStr, list[AnyStr]] = defaultdict(list)
        for form in words:
            self._heads[form[:SHORTEST]].append(form)
        self._beginnings: Set[AnyStr] = {head[:size] for head in self._heads for size in range(1, SHORTEST)}

    def near(self, text: AnyStr) -> list[AnyStr]:
        """Return the forms whose first characters stand in a text."""
        return [form for head, forms in self._heads.items() if head in text for form in forms]

    def unfinished(self, text: AnyStr, near: Iterable[AnyStr]) -> int:
        """Return the size of the longest end that begins a form."""
        if size := max((overlap(text, form, SHORTEST) for form in near), default=0):
            return size
        sizes = range(min(len(text), SHORTEST - 1), 0, -1)
        return next((size for size in sizes if text[-size:] in self._beginnings), 0)

    def spans(self, text: AnyStr, near: Iterable[AnyStr] | None = None) -> list[tuple[int, int, int, AnyStr]]:
        """Return where forms stand, in order.

        Each is a start, minus a size (so that the longer comes first), the end of all that overlap, and the word.
        """
        spans = []
        for form in self.near(text) if near is None else near:
            size, start = len(form), text.find(form)
            while start >= 0:
                end = start + size
                # The last one that overlaps, then the last one that overlaps that, and so on.
                while (last := text.rfind(form, end - size + 1, end + size - 1)) >= 0:
                    end = last + size
                spans.append((start, -size, end, self.words[form]))
                start = text.find(form, end)
        return sorted(spans)

    def spans_between(self: _Forms[str], text: str) -> list[tuple[int, int, int, str]]:
        """Return where forms stand with something between that no terminal shows."""
        parts = list(apparent(text))
        starts = list(itertools.accumulate((end - start for start, end in parts), initial=0))[:-1]

        def place(at: int) -> int:
            part = bisect(starts, at) - 1
            return parts[part][0] + at - starts[part]

        shown = "".join(text[start:end] for start, end in parts)
        return [(place(start), size, place(end - 1) + 1, word) for start, size, end, word in self.spans(shown)]


def _replaced(
    text: AnyStr, spans: Iterable[tuple[int, int, int, AnyStr]], until: int, covered: int = 0, done: int = 0
) -> tuple[AnyStr, int, int]:
    """Return a text with words in the place of spans.

    Spans that overlap get one word. Up to `covered` a word stands for the text already, up to `done` it has been given
    out; both are returned as they are afterwards.
    """
    parts: list[AnyStr] = []
    for start, _, end, word in spans:
        if start >= until:
            break
        if start > done:
            parts.append(text[done:start])
        if start >= covered:
            parts.append(word)
        covered, done = max(covered, end), max(done, end)
    parts.append(text[done:until])
    return text[:0].join(parts), covered, max(done, until)


def _without(text: AnyStr, spans: Sequence[tuple[int, int, int, AnyStr]]) -> AnyStr:
    return _replaced(text, spans, len(text))[0] if spans else text


# -- values


def _apart(value: Any) -> tuple[list[object], Callable[[list[object]], object]] | None:
    """Return a value's parts and what puts others together; None without parts."""
    if isinstance(value, Mapping):
        size = len(value)
        return [*value, *value.values()], lambda parts: dict(zip(parts[:size], parts[size:], strict=True))
    if isinstance(value, list | tuple | set | frozenset):
        return list(value), getattr(value, "_make", type(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.init]
        parts = [getattr(value, name) for name in names]
        return parts, lambda parts: dataclasses.replace(value, **dict(zip(names, parts, strict=True)))
    return None
