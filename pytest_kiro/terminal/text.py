"""Turns terminal bytes into readable text, wherever the chunks are cut."""

from __future__ import annotations

import codecs
import itertools
import re
from collections import deque
from typing import AnyStr, Generic

from pytest_kiro.secrecy.visible import Uncontrolled

#: Characters of a line that are held back for its end; beyond them they are shown.
_LONGEST_LINE = 64 * 1024


class Plain:
    """Decodes UTF-8 and takes out what controls a terminal, incrementally; CRLF becomes LF, lone CRs become one.

    >>> plain = Plain()
    >>> plain.text(b"caf\\xc3") + plain.text(b"\\xa9 \\x1b[3") + plain.text(b"1mred\\r") + plain.text(b"\\n")
    'café red\\n'
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._uncontrolled = Uncontrolled()
        self._rest = ""

    def text(self, data: bytes, *, final: bool = False) -> str:
        """Return the text that is certain by now; `final` lets go of what was held back."""
        text, self._rest = self._rest + self._uncontrolled.feed(self._decoder.decode(data, final)), ""
        if "\r" in text:
            # A line end may be cut in two; several CRs before LF are one line end, since a terminal adds its own.
            text = re.sub(r"\r{2,}", "\r", text).replace("\r\n", "\n")
            if text.endswith("\r") and not final:
                text, self._rest = text[:-1], "\r"
        return text


def plain_text(data: bytes) -> str:
    """Return the text that a terminal shows after these bytes.

    >>> plain_text(b"10 %\\r\\x1b[31mdone\\r\\n")
    'done\\n'
    """
    return fold(Plain().text(data, final=True))


def fold(text: str) -> str:
    """Let a lone CR start its line over, as a spinner does.

    >>> fold("10 %\\r99 %\\rdone\\nnext\\r")
    'done\\nnext'
    """
    if "\r" not in text:
        return text
    lines = text.split("\n")  # a regular expression would look at a long line again from each of its characters
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] if "\r" in line else line for line in lines)


class Lines:
    """Gives out what no carriage return takes back; `whole` lines only, or a line's beginning at once.

    >>> lines = Lines()
    >>> [lines.feed(text) for text in ("10 %", "\\r99 %", "\\rdone\\nne", "xt")]
    ['10 %', '', '\\ndone\\nne', 'xt']
    """

    def __init__(self, *, whole: bool = False) -> None:
        self._whole = whole
        self._held, self._begun = "", False

    def feed(self, text: str) -> str:
        *ended, rest = (self._held + text).split("\n")
        lines = [self._ended(line) + "\n" for line in ended]
        start = ""
        if len(rest) > _LONGEST_LINE:
            start, rest = self._ended(rest), ""
        elif not self._whole:
            start, back, rest = rest.partition("\r")
            rest = back + rest
        self._held, self._begun = rest, self._begun or bool(start)
        return "".join([*lines, start])

    def _ended(self, line: str) -> str:
        """Return its rest; on a new one if the beginning was taken back."""
        begun, self._begun = self._begun, False
        shown = fold(line)
        return f"\n{shown}" if begun and shown.strip() and "\r" in line.rstrip("\r") else shown


class Kept(Generic[AnyStr]):
    """Bytes or text up to a cap; beyond it the middle goes, since the start and the end say the most.

    >>> kept = Kept("", cap=4)
    >>> for part in ("ab", "cd", "ef"):
    ...     kept.add(part)
    >>> kept.join("…"), kept.dropped
    ('ab…ef', 2)
    """

    def __init__(self, empty: AnyStr, cap: int) -> None:
        self._empty: AnyStr = empty
        self._half = cap // 2
        self._head: list[AnyStr] = []
        self._tail: deque[AnyStr] = deque()
        self._joined: AnyStr | None = empty
        #: How much was appended in all.
        self.size = 0

    @property
    def dropped(self) -> int:
        """How much is missing in the middle."""
        return max(0, self.size - 2 * self._half)

    def add(self, part: AnyStr) -> None:
        """Append a part; the oldest of the later half is dropped when the cap is passed."""
        if not part:
            return
        self._joined = None
        room, dropped = max(0, self._half - self.size), self.dropped
        self.size += len(part)
        if room:
            self._head.append(part[:room])
        if rest := part[room:]:
            self._tail.append(rest)
        surplus = self.dropped - dropped
        while surplus:
            first = self._tail.popleft()
            if len(first) > surplus:
                self._tail.appendleft(first[surplus:])
            surplus -= min(len(first), surplus)

    def join(self, gap: AnyStr) -> AnyStr:
        """Return all that is kept, with `gap` where something is missing."""
        if self._joined is None:
            middle = [gap] if self.dropped else []
            self._joined = self._empty.join(itertools.chain(self._head, middle, self._tail))
        return self._joined
