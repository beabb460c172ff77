"""What must never be written, and by which word it is replaced.

A secret is found in all the forms that spellings.py knows; where two overlap nothing of either is left. What is to be
cut must be redacted before: half a key is one as well.
"""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, AnyStr, Generic, NamedTuple

from pytest_kiro.secrecy.spellings import as_bytes, as_text, forms

#: A shorter one would be found in half of all words.
SHORTEST = 8
#: Variables whose values are secrets wherever they stand.
VARIABLES = ("KIRO_API_KEY", "DAYTONA_API_KEY")
#: What pytest and we put where a text was cut, and how much of a secret beside it is too much.
_GAP, _SHORTEST_PART = re.compile(r"\.\.\.|…"), 6
_NAME = re.compile(r"[\w .-]+")
_DEEPEST = 100


class Secrets:
    """What must never be written, and by which word it is replaced.

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
        self._known = _Known({}, {})

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Secrets:
        """Return those that stand in the environment under a name that is known for it.

        >>> Secrets.of({"DAYTONA_API_KEY": "dtn_0123", "PATH": "/usr/bin"})("dtn_0123 /usr/bin")
        '[DAYTONA_API_KEY] /usr/bin'
        """
        made = cls()
        for name in VARIABLES:
            made.add(environ.get(name, ""), name)
        return made

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
            texts = dict.fromkeys(forms(value), f"[{name}]") | self._known.texts
            self._known = _Known(texts, {as_bytes(form): as_bytes(word) for form, word in texts.items()})

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

    def within(self, value: Any, depth: int = 0) -> Any:
        """Take the secrets out of a value: in lists, tuples, sets, mappings and dataclasses, their keys as well.

        What has none comes back as it is; what is nested deeper than anybody reads becomes its `repr` if it has one.
        """
        if not self._known.texts:
            return value
        if isinstance(value, str):
            return self(value)
        if isinstance(value, bytes):
            return self.data(value)
        parts = _inner(value)
        if parts is None:
            return value
        if depth > _DEEPEST:
            shown = _shown(value)
            return hidden if (hidden := self(shown)) != shown else value
        fresh = [self.within(part, depth + 1) for part in parts]
        same = all(new is old for new, old in zip(fresh, parts, strict=True))
        return value if same else _rebuilt(value, fresh)

    def torn(self, text: str) -> str:
        """Take the secrets out of a text that others have cut, and what is left of one beside a cut.

        >>> secrets = Secrets()
        >>> secrets.add("ksk_0123456789", "key")
        >>> secrets.torn("the key is ksk_012345...")
        'the key is [key]...'
        """
        text, known = self(text), self._known.texts
        if not known or not _GAP.search(text):
            return text
        for form, word in known.items():
            if form[:_SHORTEST_PART] in text or form[-_SHORTEST_PART:] in text:
                text = _without_rests(text, form, word)
        return text

    def stream(self) -> Stream:
        """Return what takes them out of bytes that come in chunks."""
        return Stream(lambda: self._known)


class Stream:
    """Takes secrets out of bytes that come in chunks, wherever they are cut.

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
        self._covered = self._given = 0

    @property
    def waits(self) -> bool:
        """Whether something is held back that may be let go."""
        return self._given < len(self._held) < SHORTEST

    def feed(self, data: bytes, *, final: bool = False) -> bytes:
        """Return what is certain by now; held back is only an end that may be the beginning of a secret."""
        known = self._known()
        data = self._held + data if self._held else data
        until = len(data) if final else len(data) - known.unfinished(data)
        spans = [span for span in _spans(data, known.data) if span.start < until]
        parts, covered, given = _parts_of(data, spans, until, self._covered, self._given)
        self._held, self._covered, self._given = data[until:], max(0, covered - until), max(0, given - until)
        return b"".join(parts)

    def release(self) -> bytes:
        """Return what is held back, since nothing came for a while; should a secret go on there, its rest is hidden.

        Of a beginning that is longer nothing is let go: it would be most of a secret.
        """
        if not self.waits:
            return b""
        out = self._held[self._given :]
        self._given = len(self._held)
        return out

    def text(self, text: str, *, final: bool = False) -> str:
        """Do the same as `feed` with text."""
        return as_text(self.feed(text.encode("utf-8", "surrogatepass"), final=final))


class _Known:
    """The forms of all secrets, and the word for each."""

    def __init__(self, texts: Mapping[str, str], data: Mapping[bytes, bytes]) -> None:
        self.texts, self.data = dict(texts), dict(data)
        self._beginnings = {form[:size] for form in data for size in range(1, SHORTEST)}

    def unfinished(self, data: bytes) -> int:
        """Return the size of the longest end of `data` that one of the forms may begin with."""
        size = next((size for size in range(SHORTEST - 1, 0, -1) if data[-size:] in self._beginnings), 0)
        size = min(size, len(data))
        for form in self.data:
            start, beginning = max(0, len(data) - len(form) + 1), form[:SHORTEST]
            while (start := data.find(beginning, start)) >= 0 and len(data) - start > size:
                if form.startswith(data[start:]):
                    size = len(data) - start
                start += 1
        return size


# -- where it stands


class _Span(NamedTuple, Generic[AnyStr]):
    """Where a form stands, or several of it that overlap, and its word; the first begins first, and is the longest."""

    start: int
    minus_size: int
    end: int
    word: AnyStr


def _spans(text: AnyStr, words: Mapping[AnyStr, AnyStr]) -> list[_Span[AnyStr]]:
    """Return where forms stand, in order. Most texts have none, and `find` is the quickest way to see that."""
    spans = []
    for form, word in words.items():
        size, start = len(form), text.find(form)
        while start >= 0:
            end = start + size
            # The last one that overlaps, then the last one that overlaps that, and so on.
            while (last := text.rfind(form, end - size + 1, end + size - 1)) >= 0:
                end = last + size
            spans.append(_Span(start, -size, end, word))
            start = text.find(form, end)
    return sorted(spans)


def _parts_of(
    text: AnyStr, spans: Iterable[_Span[AnyStr]], until: int, covered: int = 0, given: int = 0
) -> tuple[list[AnyStr], int, int]:
    """Return `text` up to `until` in parts, with a word for each row of spans that overlap.

    Up to `covered` a word stands for it already, up to `given` it has been given out; both are returned as they are
    afterwards.
    """
    parts: list[AnyStr] = []
    for start, _, end, word in spans:
        if start > given:
            parts.append(text[given:start])
        if start >= covered:
            parts.append(word)
        covered = max(covered, end)
        given = max(given, end)
    if given < until:
        parts.append(text[given:until])
    return parts, covered, max(given, until)


def _without(text: AnyStr, words: Mapping[AnyStr, AnyStr]) -> AnyStr:
    spans = _spans(text, words)
    return text[:0].join(_parts_of(text, spans, len(text))[0]) if spans else text


def _without_rests(text: str, form: str, word: str) -> str:
    """Replace the beginning of a form that stands before a gap, and the end of one that stands after a gap."""
    out, done = "", 0
    for gap in _GAP.finditer(text):
        before, after = text[done : gap.start()], text[gap.end() :]
        sizes = range(len(form) - 1, _SHORTEST_PART - 1, -1)
        beginning = next((size for size in sizes if before.endswith(form[:size])), 0)
        ending = next((size for size in sizes if after.startswith(form[-size:])), 0)
        if beginning:
            before = before[:-beginning] + word
        out += before + gap[0] + (word if ending else "")
        done = gap.end() + ending
    return out + text[done:]


# -- values


def _inner(value: Any) -> list[Any] | None:
    """Return the parts of a value that may have texts in them, None of one that has no parts."""
    if isinstance(value, Mapping):
        return [part for item in value.items() for part in item]
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, field.name) for field in dataclasses.fields(value) if field.init]
    return None


def _rebuilt(value: Any, parts: Sequence[Any]) -> Any:
    """Return what `value` is with other parts."""
    if isinstance(value, Mapping):
        return dict(zip(parts[::2], parts[1::2], strict=True))
    if isinstance(value, list | tuple | set | frozenset):
        kind = type(value)
        return kind._make(parts) if hasattr(kind, "_make") else kind(parts)
    names = [field.name for field in dataclasses.fields(value) if field.init]
    return dataclasses.replace(value, **dict(zip(names, parts, strict=True)))


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except RecursionError:
        return ""  # nobody can write it either
