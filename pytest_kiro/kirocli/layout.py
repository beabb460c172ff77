"""Reads tool calls from the text that a headless turn prints.

There are two layouts, that of V1 and that of V2 and V3.
The input is plain (no ANSI, LF line ends), and cut anywhere. What an agent writes can look just like it, so
this serves live control and never proves anything; only V1's line of credits, at the very end, is more.
The lines are those of logs of 2.18 (V1) and 2.27 (V2), and of the source of V1's ancestor.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

from pytest_kiro.kirocli.events import Event
from pytest_kiro.kirocli.sessions.tools import begun, is_aside
from pytest_kiro.turn.amounts import MOST
from pytest_kiro.turn.transcript import ToolCall

#: Of a line so much is looked at; a command that goes on for longer than the second is given up.
_LINE, _COMMANDS = 64 * 1024, 1024 * 1024
_CREDITS = re.compile(
    r"(?:^|\n) {0,2}▸ Credits: (?P<credits>\d{1,12}(?:\.\d{1,12})?) • Time: (?:\d+h )?(?:\d+m )?\d+(?:\.\d+)?s[ \t]*"
    # Some builds say how to go on (2.5.1); nothing else follows.
    r"(?:\n\s*(?:Resume with|To resume)[^\n]*)?\s*\Z"
)
#: What a layout announces: how the line begins, which tool that is, and what the rest of it is.
_V2_TITLES = (
    (re.compile(r"Running: @(?P<server>[^/\s]+)/(?P<tool>\S+)"), "", ""),
    (re.compile(r"Running: (?P<command>.*)", re.DOTALL), "shell", "command"),
    (re.compile(r"Running subagent: (?P<agent>.*)"), "subagent", "agent"),
    (re.compile(r"Creating task list: (?P<title>.*)"), "todo_list", ""),
    (re.compile(r"Reading listing (?P<path>.*)"), "read", "path"),
    (re.compile(r"Reading (?P<path>.*?)(?::\d+(?:-\d+)?)?"), "read", "path"),
    (re.compile(r"(?:Creating|Editing|Updating|Replacing|Appending to) (?P<path>.*)"), "write", "path"),
    (re.compile(r"Searching for '(?P<pattern>.*)'(?: in (?P<path>.*))?"), "grep", "pattern"),
    (re.compile(r"Finding (?:files )?(?:for |matching )?'?(?P<pattern>.*?)'?(?: in (?P<path>.*))?"), "glob", "pattern"),
    (re.compile(r"Searching the web.*"), "web_search", ""),
    (re.compile(r"Searching symbols: (?P<pattern>.*)"), "code", "pattern"),
    (re.compile(r"AWS: (?P<command>.*)"), "use_aws", "command"),
)
_V1_TITLES = (
    (re.compile(r"I will run the following (?:shell )?command: ?(?P<command>.*)", re.DOTALL), "command"),
    (re.compile(r"I'll (?:create|modify|replace|append to|update) the following file: (?P<path>.*)"), "path"),
    (re.compile(r"Reading (?:file|directory|images?): (?P<path>[^,\n]*?)(?: with maximum depth.*|,.*)?$"), "path"),
    (re.compile(r"Batch fs_read operation.*"), ""),
)
_HEAD = re.compile(r"\s*(?:> )?(?:I will run the|I'll \w+(?: to)? the|Reading |Batch |Searching |Running )")
_USING = re.compile(r"[ \t]?\(using tool: (?P<tool>[^(),\n]{1,256})(?:,[^()\n]*)?\)")
_COMMAND = re.compile(r"I will run the following (?:shell )?command:")
_OLDER = re.compile(r"\s*🛠️?\s*Using tool: (?P<tool>\S+)(?: \(trusted\))?(?: from mcp server (?P<server>\S+))?")
_ENDED = re.compile(r"(?:^|.*?\s)(?:-|●) (?:(?P<done>Completed in)|Execution failed after) \d+(?:\.\d+)?s:?\s*")
_DENIED = re.compile(r"Command \S+ is rejected because it matches one or more rules on the denied list:|\[denied\] .*")
_FAILED = "Tool validation failed:"
#: Without one of these in it, no line is an announcement.
_V1_WORDS = ("I will run", "sing tool: ", "Completed in ", "Execution failed", "is rejected", "[denied]", _FAILED)
_V2_WORDS = ("[tool]", "[denied]")
_IN = re.compile(r"(?P<command>.*) \(in (?P<where>[^()\n]*)\)", re.DOTALL)


def credits(text: str) -> float | None:
    """Return the credits that V1's last line tells; None without that line.

    >>> credits("> done\\n\\n ▸ Credits: 0.06 • Time: 1m 11s\\n"), credits("▸ Credits: 0.06 • Time: 3s\\nand more")
    (0.06, None)
    """
    line = _CREDITS.search(text if len(text) <= 4096 else "\0" + text[-4096:])
    return float(line["credits"]) if line and float(line["credits"]) <= MOST else None


class Layout:
    """Reads events from text, as the layout of an engine announces them.

    A tool_call has what the line tells of it, and is no proof that it ran; a tool_result has no call, since
    parallel calls interleave: its text is the line, and its data the `status` (completed, failed, denied). V1's
    line of credits is a `finished`, when nothing came after it.

    >>> [event.call.command for event in Layout("v2").events("[tool] Running: ls\\n")]
    ['ls']
    """

    def __init__(self, engine: str) -> None:
        self._v1 = engine == "v1"
        self._words = _V1_WORDS if self._v1 else _V2_WORDS
        self._line = ""  # of which no end has come
        self._open: list[str] = []  # the lines of a V1 command that goes on
        self._size = 0  # of those lines
        self._tail = ""

    def events(self, text: str, *, final: bool = False) -> list[Event]:
        """Return what the lines that are complete by now announce; `final` takes the last one as complete."""
        events: list[Event] = []
        if self._v1:
            self._tail = (self._tail + text)[-8192:]
        head, newline, rest = text.rpartition("\n")
        seen = self._line + head
        if newline and not self._open and not any(word in seen for word in self._words):
            # Agents print much and announce little; line by line, reading took seven times as long as decoding.
            self._line, text = "", rest
        *ended, rest = text.split("\n")
        for part in ended:
            events += self._read((self._line + part[:_LINE])[:_LINE])
            self._line = ""
        self._line = (self._line + rest[:_LINE])[:_LINE]
        if final:
            events += self._read(self._line)
            self._line, self._open = "", []
            if self._v1 and (cost := credits(self._tail)) is not None:
                events.append(Event("finished", self._tail.strip().rpartition("\n")[2], credits=cost))
        return events

    def _read(self, line: str) -> Iterator[Event]:
        line = line.rstrip("\r").rpartition("\r")[2]
        return self._read_v1(line) if self._v1 else _read_v2(line)

    # -- V1

    def _read_v1(self, line: str) -> Iterator[Event]:
        command = _COMMAND.search(line)
        if command is not None:
            self._open = []  # what went on until here was none: an agent spoke of one
            if not _USING.search(line, command.end()):
                self._open, self._size = [line[command.start() :]], len(line)
                return
        if self._open:
            self._open.append(line)
            self._size += len(line) + 1
            using = _USING.search(line)
            if using is None:
                self._open = self._open if self._size <= _COMMANDS else []
                return
            whole, self._open = "\n".join([*self._open[:-1], line[: using.end()]]), []
            yield _called_v1(whole)
            line = line[using.end() :]
        yield from _lines_v1(line)


def _lines_v1(line: str) -> Iterator[Event]:
    start = 0
    ends = list(itertools.islice(_USING.finditer(line), 64))
    for using in ends:
        # What follows may be on the same line, and a command may itself hold what looks like its end.
        if using is ends[-1] or _HEAD.match(line, using.end()):
            yield _called_v1(line[start : using.end()])
            start = using.end()
    rest = line[start:]
    if older := _OLDER.match(rest):
        yield Event("tool_call", rest.strip(), begun(older["tool"], {}, server=older["server"]))
    elif ended := _ENDED.fullmatch(rest):
        yield _result(rest.strip(), "completed" if ended["done"] else "failed")
    elif denied := _DENIED.search(rest):
        yield _result(denied[0], "denied")
    elif rest.strip() == _FAILED:
        yield _result(rest.strip(), "failed")


def _called_v1(text: str) -> Event:
    """Read an announcement that ends in the name of its tool."""
    using = list(_USING.finditer(text))[-1]
    title = text[: using.start()].removeprefix("> ").strip()
    arguments: dict[str, Any] = {}
    for pattern, what in _V1_TITLES:
        if match := pattern.search(title):
            title, arguments = match[0], {what: match[what]} if what else {}
            break
    if "command" in arguments and (where := _IN.fullmatch(arguments["command"])):
        arguments = {"command": where["command"], "working_dir": where["where"]}
    return Event("tool_call", title, begun(using["tool"].strip(), arguments))


# -- V2 and V3


def _read_v2(line: str) -> Iterator[Event]:
    if line.startswith("[tool] status: "):
        status = line.removeprefix("[tool] status: ").strip().lower()
        yield _result(line.strip(), status if status in ("completed", "failed") else "unknown")
    elif line.startswith("[tool] ") and line.strip() != "[tool]":
        title = line.removeprefix("[tool] ").strip()
        call = _titled(title)
        yield Event("other" if call is None else "tool_call", title, call)
    elif line.startswith("[denied] "):
        yield _result(line.strip(), "denied")


def _titled(title: str) -> ToolCall | None:
    """Return the call that a title announces, if it does."""
    for pattern, name, what in _V2_TITLES:
        if not (match := pattern.fullmatch(title)):
            continue
        parts = match.groupdict()
        if "server" in parts:
            return begun(parts["tool"], {}, server=parts["server"])
        return begun(name, {key: value for key, value in parts.items() if value and (key == what or key == "path")})
    return None if is_aside("", {"title": title}) else begun(None, {}, title=title)


def _result(line: str, status: str) -> Event:
    return Event("tool_result", line, data={"status": status})
