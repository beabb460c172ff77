"""Makes text safe to show: nothing in it controls a terminal, or the log of a build.

Whatever people see and an agent, a shell or a file may have written goes through `visible`, or through `Visible` where
it comes in chunks. What a terminal would obey is found in one pass from left to right, whatever its length, and what is
taken out is never looked at again, so that nothing new can come of what stands around it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_CONTROLS = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
#: What a terminal obeys, C1 (which UTF-8 spells in two bytes) included. It begins with a set of characters, since
#: `re` looks for such a pattern quickly. A string (of a title, a clipboard, a picture) without an end stops at the
#: line's end: a stray opener hides no more than its line. At the text's end a group says that it may go on.
#: No quantifier is possessive: Python 3.11.2, Debian 12's, never comes back from such ones. None needs to be, since
#: what stands behind each is optional.
_CONTROL = re.compile(
    _CONTROLS + r"(?:"
    r"(?:(?<=\x1b)\[|(?<=\x9b))[ -?]*(?:[@-~]|(?P<csi>\Z))?"  # CSI: colours, cursor
    r"|(?:(?<=\x1b)[]PX^_]|(?<=[\x90\x98\x9d-\x9f]))"  # OSC, DCS, SOS, PM, APC
    r"[^\x07\x18\x1a\x1b\r\n\x80-\x9f]*(?:[\x07\x18\x1a\x9c]|(?P<string>\Z))?"
    r"|(?<=\x1b)[ -/]*(?:[0-~]|(?P<escape>\Z))?"  # character sets, and sequences of two
    r")?"
)
#: Colours, bold and underlined, as pytest has them: none that can hide what is written.
_COLOUR = re.compile(r"(\x1b\[(?:(?:0?[0134]|2[234]|3[1-7]|39|49|9[0-6])(?:;(?!m)|(?=m)))*m)")
#: Characters that show nothing, but turn the order of others round, join them, or carry what only machines read.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff\ud800-\udfff]"
)
#: Those that emoji and scripts such as Persian are written with: fine behind what they belong to.
_JOINERS, _SELECTORS = "\u200c\u200d", "\ufe0e\ufe0f"
#: What runners of builds take for commands: GitHub's `::error::` behind blanks, and `##[error]` anywhere in a line
#: (actions/runner, ActionCommand.cs); Azure's `##vso[` and TeamCity's `##teamcity[`.
_COMMAND = re.compile(r"^([^\S\n]*:)(?=:)|(?<=##)(?=\[)|(?<=##vso)(?=\[)|(?<=##teamcity)(?=\[)", re.M | re.I)
#: So many characters before a text decide what becomes of its beginning.
_BEFORE = len("##teamcity")


class Uncontrolled:
    """Takes out what a terminal obeys, wherever chunks are cut; lines' ends and tabs stay.

    >>> text = Uncontrolled()
    >>> text.feed("red: \\x1b[3") + text.feed("1mred\\x1b[0m, title: \\x1b]0;") + text.feed("new\\x07done")
    'red: red, title: done'
    """

    def __init__(self) -> None:
        self._open = ""  # the beginning of a sequence that goes on; what is within it is kept nowhere

    def feed(self, text: str) -> str:
        """Return what is shown of a chunk."""
        text, self._open = self._open + text, ""
        return _CONTROL.sub(self._without, text)

    def _without(self, control: re.Match[str]) -> str:
        if control.lastgroup:
            self._open = control[0][:2]
        return "\n" if control[0] in "\v\f" else ""  # a terminal feeds a line


class Visible:
    """Does what `visible` does with chunks, wherever they are cut."""

    def __init__(self) -> None:
        self._uncontrolled = Uncontrolled()
        self._before = "\n"  # the end of what was shown, as far as it decides
        self._returned = False

    def feed(self, text: str) -> str:
        """Return what is to be shown of a chunk."""
        text = self._uncontrolled.feed(text)
        if self._returned and text:
            text = text.removeprefix("\n")
        if text:
            self._returned = text.endswith("\r")
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        if not text.isascii():
            text = _with_names(self._before + text)[len(self._before) :]
        line = self._before + text
        if "::" in line or "##" in line:
            text = _COMMAND.sub(r"\1 ", line)[len(self._before) :]
        line = (self._before + text).rpartition("\n")[2]
        # Of a line that has only blanks, one will do; another one is known by its end.
        short = line.lstrip()
        self._before = f"\n {short}" if short in ("", ":") else f"\n|{line[-_BEFORE:]}"
        return text


def visible(text: str, *, exact: bool = False, colours: bool = False) -> str:
    """Return a text that controls no terminal and hides nothing.

    Of control characters only line feeds and tabs are left; carriage returns end lines. Bidi controls and other
    characters without a shape are named, and what a build's log would take for a command is broken up. An `exact` one
    has control characters escaped, for texts that are compared; `colours` leaves plain ones, for what pytest itself has
    coloured.

    >>> visible("\\x1b[2Jok \\u202egnp.exe\\n::error::no")
    'ok <U+202E>gnp.exe\\n: :error::no'
    """
    if text.isascii() and text.isprintable() and "::" not in text and "##" not in text:
        return text
    shown, parts = Visible(), _COLOUR.split(text) if colours else [text]
    for at in range(0, len(parts), 2):
        part = _UNSEEN.sub(lambda control: escaped(control[0]), parts[at]) if exact else parts[at]
        parts[at] = shown.feed(Uncontrolled().feed(part))  # of its own: a sequence ends where a colour begins
    return "".join(parts)


def escaped(text: str) -> str:
    """Escape in a name what has no shape, as `repr` does.

    >>> print(escaped("a\\x1b[2J\\u202eb"))
    a\\x1b[2J\\u202eb
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def apparent(text: str) -> Iterator[tuple[int, int]]:
    """Yield where the parts are that a terminal shows; one part of a text without controls."""
    start = 0
    for control in _CONTROL.finditer(text):
        yield start, control.start()
        start = control.end()
    yield start, len(text)


def has_controls(text: str) -> bool:
    """Whether a terminal would not show all of it."""
    return _CONTROL.search(text) is not None


def _with_names(text: str) -> str:
    """Name invisible characters, but those that belong to what stands before."""
    named = -1  # where the last name ends, which is shown in the place of its character

    def name(found: re.Match[str]) -> str:
        nonlocal named
        character, at = found[0], found.start()
        before = ">" if at == named else text[at - 1]
        if character in _JOINERS and not before.isascii() and before not in _JOINERS:
            return character
        if character in _SELECTORS and not before.isspace() and before not in _JOINERS + _SELECTORS:
            return character
        named = found.end()
        return f"<U+{ord(character):04X}>"

    return _INVISIBLE.sub(name, text)
