"""Reads a scenario's tables; a broken one breaks no other."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

_KEY = r"(?:[A-Za-z0-9_-]+|\"(?:\\.|[^\"\\\n])*\"|'[^'\n]*')"
#: Strings and comments, in which nothing is a header, or the header of a turn or table.
_TOKEN = re.compile(
    r'"""[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*"""|\'\'\'.*?\'\'\'|"[^"\\\n]*(?:\\.[^"\\\n]*)*"|\'[^\'\n]*\'|#[^\n]*'
    rf"|^[ \t]*(?P<header>\[\[[ \t]*(?P<turn>{_KEY})[ \t]*\.[ \t]*turn[ \t]*\]\]|\[[ \t]*(?P<table>{_KEY})[ \t]*\])"
    r"(?=[ \t]*(?:#|$))|^(?P<odd>\[)",
    re.MULTILINE | re.DOTALL,
)
#: What an array has on a line of its own, beside texts; no table is named so.
_VALUE = re.compile(r"true|false|[+-]?(?:inf|nan|\d[\d_.eE+-]*)")
#: A header with a name that only quotes can hold, as those of parametrised tests and of fixtures.
_UNQUOTED = re.compile(r"[ \t]*\[\[?[ \t]*[\w.-]+[\[:]")
_WHERE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)")


@dataclass
class Document:
    """What a file has: `tables` by name, `broken` ones with what is wrong, and the `lines` of their headers.

    What is broken and has no name that could be read is under the empty name; `end` is the line after the last.
    """

    tables: Mapping[str, object] = field(default_factory=dict)
    broken: dict[str, tuple[int, str]] = field(default_factory=dict)
    lines: dict[str, list[int]] = field(default_factory=dict)
    end: int = 1


def read(text: str) -> Document:
    """Read TOML; where the whole is none, its tables one by one.

    >>> document = read('[[a.turn]]\\nrequests = [["x"]\\n[[b.turn]]\\nrequests = [["y"]]')
    >>> document.broken, document.tables
    ({'a': (1, 'Unclosed array')}, {'b': {'turn': [{'requests': [['y']]}]}})
    """
    text = text.replace("\r\n", "\n")
    sections = list(_sections(text))
    document = Document(end=len(text.splitlines()) + 1)
    for name, line, _ in sections:
        if name:
            document.lines.setdefault(name, []).append(line)
    try:
        document.tables = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        document.tables = _one_by_one(sections, document)
        if not document.broken:
            document.broken[""] = _said(error, [(1, text)])
    return document


def _one_by_one(sections: Sequence[tuple[str, int, str]], document: Document) -> dict[str, object]:
    tables: dict[str, object] = {}
    for name in dict.fromkeys(name for name, _, _ in sections):
        parts = [(line, text) for other, line, text in sections if other == name]
        try:
            content = tomllib.loads("".join(text for _, text in parts))
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            document.broken[name] = _said(error, parts)
        else:
            if set(content) - {name}:
                document.broken[""] = parts[0][0], "a key that is in no table"
            tables.update((key, value) for key, value in content.items() if key == name)
    return tables


def _said(error: Exception, parts: Sequence[tuple[int, str]]) -> tuple[int, str]:
    """Return where and what is wrong."""
    if isinstance(error, RecursionError):
        return parts[0][0], "lists or tables in too many others"
    at = _WHERE.search(str(error))
    what = _WHERE.sub("", str(error))
    if at is None or at[1] is None:
        return parts[-1][0], what
    within = int(at[1])
    for first, text in parts:
        if within <= text.count("\n"):
            if _UNQUOTED.match(text.split("\n")[within - 1]):
                what += '; a name with brackets or a colon stands in quotes, [["test_x[id]".turn]]'
            return first + within - 1, what
        within -= text.count("\n")
    return first + within, what


def _sections(text: str) -> Iterator[tuple[str, int, str]]:
    """Yield each header's table, its line, and its text."""
    name, start, line = "", 0, 1
    for token in _TOKEN.finditer(text):
        key = token["turn"] or token["table"]
        if not key and not token["odd"]:
            continue
        if token["table"] and (_VALUE.fullmatch(key) or (key[0] in "\"'" and text[token.start()] != "[")):
            continue
        if (before := text[start : token.start()]).strip() or name:
            yield name, line, before
        line += text.count("\n", start, token.start())
        name, start = _named(key) if key else "", token.start()
    if text[start:].strip():
        yield name, line, text[start:]


def _named(key: str) -> str:
    """Return a key without its quotes."""
    try:
        return next(iter(tomllib.loads(f"{key} = 0")))
    except tomllib.TOMLDecodeError:
        return ""
