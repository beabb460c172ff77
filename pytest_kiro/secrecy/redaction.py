"""Replaces secrets by words, in texts, bytes, values and streams.

A secret is found in all the forms that spellings.py knows; where two overlap nothing of either is left. What is to be
cut must be redacted before: half a key is one as well.
"""

from __future__ import annotations

import dataclasses
import operator
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, AnyStr, TypeVar, cast

from pytest_kiro.secrecy import VARIABLES
from pytest_kiro.secrecy.spellings import as_bytes, as_text, forms

#: A shorter one would be found in half of all words.
SHORTEST = 8
#: What pytest and we put where a text was cut, and how much of a secret beside it is too much.
_GAP, _SHORTEST_PART = re.compile(r"(\.\.\.|…)"), 6
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
        self._known = _Known({})

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Secrets:
        """Return the secrets of an environment, by their variables' names.

        >>> Secrets.of({"DAYTONA_API_KEY": "dtn_0123", "PATH": "/usr/bin"})("dtn_0123 /usr/bin")
        '[DAYTONA_API_KEY] /usr/bin'
        """
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
            # A new one, since another thread may look through the old one just now.
            self._known = _Known(dict.fromkeys(forms(value), f"[{name}]") | self._known.texts)

    def __repr__(self) -> str:
        return f"<Secrets: {len(self._names)} hidden>"

    @property
    def any(self) -> bool:
        """Whether there are any."""
        return bool(self._names)

    def __call__(self, text: str) -> str:
        """Take the secrets out of a text."""
        return _without(text, self._known.texts)

    def data(self, data: bytes) -> bytes:
        """Take the secrets out of bytes."""
        return _without(data, self._known.data)

    def within(self, value: _Value) -> _Value:
        """Take the secrets out of a value and its parts.

        The parts of lists, tuples, sets, mappings (keys as well) and dataclasses are looked through. A value without
        secrets comes back itself; what is nested deeper than anybody reads becomes its `repr`.
        """
        return cast(_Value, self._within(value, 0)) if self._known.texts else value

    def _within(self, value: object, depth: int) -> object:
        if isinstance(value, str):
            return self(value)
        if isinstance(value, bytes):
            return self.data(value)
        if (parts := _parts(value)) is None:
            return value
        if depth > _DEEPEST:
            shown = _shown(value)
            return hidden if (hidden := self(shown)) != shown else value
        fresh = [self._within(part, depth + 1) for part in parts]
        return value if all(map(operator.is_, fresh, parts)) else _rebuilt(value, fresh)

    def torn(self, text: str) -> str:
        """Take the secrets out of a text that others have cut.

        What is left of one beside a cut goes too.

        >>> secrets = Secrets()
        >>> secrets.add("ksk_0123456789", "key")
        >>> secrets.torn("the key is ksk_012345...")
        'the key is [key]...'
        """
        parts, known = _GAP.split(self(text)), self._known.texts
        for at in range(0, len(parts) - 2, 2):
            for form, word in known.items():
                if size := overlap(parts[at], form, _SHORTEST_PART):
                    parts[at] = parts[at][:-size] + word
                if size := overlap(parts[at + 2][: len(form)][::-1], form[::-1], _SHORTEST_PART):
                    parts[at + 2] = word + parts[at + 2][size:]
        return "".join(parts)

    def stream(self) -> Stream:
        """Return what takes them out of bytes that come in chunks."""
        return Stream(lambda: self._known)


class Stream:
    """Takes secrets out of chunks of bytes, wherever they are cut.

    >>> secrets = Secrets()
    >>> secrets.add("ksk_0123456789", "key")
    >>> stream = secrets.stream()
    >>> [stream.feed(b"my key is ksk_0123"), stream.feed(b"456789, and "), stream.feed(b"ksk", final=True)]
    [b'my key is ', b'[key], and ', b'ksk']
    """

    def __init__(self, known: Callable[[], _Known]) -> None:
        self._known = known
        self._held = b""
        #: How much of what is held a word stands for already, and how much has been given out at least.
        self._covered = self._done = 0

    @property
    def waits(self) -> bool:
        """Whether something is held back that may be let go."""
        return self._done < len(self._held) < SHORTEST

    def feed(self, data: bytes, *, final: bool = False) -> bytes:
        """Return what is certain by now.

        Held back is only an end that may be the beginning of a secret.
        """
        known = self._known()
        data = self._held + data if self._held else data
        until = len(data) if final else len(data) - known.unfinished(data)
        shown, covered, done = _replaced(data, _spans(data, known.data), until, self._covered, self._done)
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


class _Known:
    """The forms of all secrets, and the word for each."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.texts = dict(texts)
        self.data = {as_bytes(form): as_bytes(word) for form, word in texts.items()}
        self._beginnings = {form[:size] for form in self.data for size in range(1, SHORTEST)}

    def unfinished(self, data: bytes) -> int:
        """Return the size of the longest end that may begin a secret."""
        short = next(
            (size for size in range(min(len(data), SHORTEST - 1), 0, -1) if data[-size:] in self._beginnings), 0
        )
        return max((short, *(overlap(data, form, SHORTEST) for form in self.data)))


def overlap(text: AnyStr, form: AnyStr, shortest: int = 1) -> int:
    """Return the size of the longest end that begins a form; 0 if it is shorter than `shortest`."""
    start, beginning = max(0, len(text) - len(form) + 1), form[:shortest]
    while (start := text.find(beginning, start)) >= 0:
        if form.startswith(text[start:]):
            return len(text) - start
        start += 1
    return 0


# -- texts


def _spans(text: AnyStr, words: Mapping[AnyStr, AnyStr]) -> list[tuple[int, int, int, AnyStr]]:
    """Return where forms stand, in order.

    Each span is a start, minus a size (so that of two the longer comes first), the end of all that overlap, and the
    word. Most texts have none, and `find` is the quickest way to see that.
    """
    spans = []
    for form, word in words.items():
        size, start = len(form), text.find(form)
        while start >= 0:
            end = start + size
            # The last one that overlaps, then the last one that overlaps that, and so on.
            while (last := text.rfind(form, end - size + 1, end + size - 1)) >= 0:
                end = last + size
            spans.append((start, -size, end, word))
            start = text.find(form, end)
    return sorted(spans)


def _replaced(
    text: AnyStr, spans: Iterable[tuple[int, int, int, AnyStr]], until: int, covered: int = 0, done: int = 0
) -> tuple[AnyStr, int, int]:
    """Return a text with words in the place of spans.

    It goes up to `until`, and has one word for each row of spans that overlap. Up to `covered` a word stands for it
    already, up to `done` it has been given out; both are returned as they are afterwards.
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


def _without(text: AnyStr, words: Mapping[AnyStr, AnyStr]) -> AnyStr:
    spans = _spans(text, words)
    return _replaced(text, spans, len(text))[0] if spans else text


# -- values


def _parts(value: object) -> list[object] | None:
    """Return the parts of a value, None of one that has none."""
    if isinstance(value, Mapping):
        return [part for item in value.items() for part in item]
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, name) for name in _fields(value)]
    return None


def _rebuilt(value: Any, parts: list[object]) -> object:
    """Return what `value` is with other parts."""
    if isinstance(value, Mapping):
        return dict(zip(parts[::2], parts[1::2], strict=True))
    if isinstance(value, list | tuple | set | frozenset):
        kind = type(value)
        return kind._make(parts) if hasattr(kind, "_make") else kind(parts)
    return dataclasses.replace(value, **dict(zip(_fields(value), parts, strict=True)))


def _fields(value: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(value) if field.init]


def _shown(value: object) -> str:
    try:
        return repr(value)
    except RecursionError:
        return ""  # nobody can write it either
