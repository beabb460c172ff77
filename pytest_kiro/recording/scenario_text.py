"""Writes scenario files of the stand-in: TOML that people can edit."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pytest_kiro.secrecy.visible import visible
from pytest_kiro.standin.scenario_file import header
from pytest_kiro.standin.scripted_calls import RECALL

#: What a literal text cannot hold: its own end, and controls but for tabs and line ends.
_NOT_LITERAL = re.compile(r"'''|'\Z|[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
#: What is escaped in a text of which something is not shown: all but ASCII, and what begins a build's commands.
_NOT_PLAIN = re.compile(r"[^ -~]|[#:]")
_RECALL = re.compile(rf"(?<={re.escape(RECALL[0])})(?={re.escape(RECALL[1:])})")
_WIDTH = 110


@dataclass(frozen=True)
class Said:
    """One thing in a request: a text or a tool call, with a comment on it; `fails` is whether that is known."""

    text: str = ""
    tool: str = ""
    args: Mapping[str, object] = field(default_factory=dict)
    comment: str = ""
    fails: bool = False


Requests = Sequence[Sequence[Said]]


def turn_text(table: str, keys: Mapping[str, object], requests: Requests, comments: Iterable[str] = ()) -> str:
    """Return one turn of a table.

    >>> print(turn_text("test_x", {"trial": 2}, [[Said(tool="shell", args={"command": "ls"})], [Said("Done.")]]))
    [[test_x.turn]]
    trial = 2
    requests = [
      [{ name = "shell", args = { command = "ls" } }],
      ["Done."],
    ]
    """
    lines = [f"[{header(table)[:-1]}.turn]]", *(f"# {comment}" for comment in comments)]
    lines += [f"{key} = {value(one)}" for key, one in keys.items()]
    return "\n".join([*lines, "requests = [", *map(_request, requests), "]"])


def _request(items: Sequence[Said]) -> str:
    words = [(word, item.comment) for item in items for word in _words(item)]
    line = f"  [{', '.join(word for word, _ in words)}],"
    if not any(comment for _, comment in words) and "\n" not in line and len(line) <= _WIDTH:
        return line
    parts = ["  ["]
    for word, comment in words:
        parts += [f"    # {comment}"] if comment else []
        parts.append(f"    {word},")
    return "\n".join([*parts, "  ],"])


def _words(item: Said) -> Iterator[str]:
    if item.tool:
        fails = ", fails = true" if item.fails else ""
        yield f"{{ name = {value(item.tool)}, args = {value(item.args)}{fails} }}"
        return
    # In one text the stand-in would take this for a question; the parts of a request are joined.
    yield from map(value, _RECALL.split(item.text))


def value(one: object) -> str:
    """Return a value in TOML; only texts have several lines.

    >>> value({"a b": [1, True, "it's"], "c": None})
    '{ "a b" = [1, true, "it\\'s"] }'
    """
    match one:
        case bool() | int() | float():
            return json.dumps(one)
        case Mapping():
            pairs = (f"{_key(str(key))} = {value(inner)}" for key, inner in one.items() if inner is not None)
            inside = ", ".join(pairs)
            return f"{{ {inside} }}" if inside else "{}"
        case list() | tuple():
            return f"[{', '.join(value(inner) for inner in one if inner is not None)}]"
        case _:
            return _text(str(one))


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _text(key, literal=False)


def _text(text: str, *, literal: bool = True) -> str:
    """Return a string of TOML; a terminal that shows it alters nothing."""
    if literal and "\n" in text and not _NOT_LITERAL.search(text) and visible(text) == text:
        return f"'''\n{text}'''"
    quoted = json.dumps(text, ensure_ascii=False)
    return quoted if visible(quoted) == quoted else _NOT_PLAIN.sub(_escaped, quoted)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xD800 <= code <= 0xDFFF:
        return "\\uFFFD"  # TOML has no surrogates
    return f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"
