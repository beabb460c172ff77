"""Tells apart who speaks live: the test, Kiro, its tools, pytest-kiro."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_kiro.secrecy.visible import visible
from pytest_kiro.turn.calls import described, walk
from pytest_kiro.turn.turn import Turn

#: ANSI's numbers: what a test asks, what tools do, what is good, what is bad, what matters less.
ASKS, TOOL, GOOD, BAD, ASIDE = "1;36", "33", "32", "31", "2"
#: How lines begin that are a tool's, by their engine's layout; V1's announcements are long, and end on their line.
_TOOLS = {
    "v1": (
        "I will run the following ",
        "I'll create the following file",
        "I'll modify the following file",
        " - Completed in",
    ),
    "v2": ("[tool] ", "[denied] "),
}
#: Calls that are shown of a turn, characters of a command, lines of what a tool printed.
_CALLS, _COMMAND, _OUTPUT = 20, 100, 4


def coloured(text: str, style: str, *, on: bool) -> str:
    """Colour whole lines; `on` is whether colours are wanted.

    >>> coloured("a\\nb\\n", "31", on=True)
    '\\x1b[31ma\\x1b[0m\\n\\x1b[31mb\\x1b[0m\\n'
    """
    if not on:
        return text
    return "\n".join(f"\x1b[{style}m{line}\x1b[0m" if line else line for line in text.split("\n"))


class Speech:
    """Colours tools' lines in what Kiro prints, wherever it is cut.

    A beginning of a line that may become a tool's is held back.

    >>> speech = Speech("v2", on=True)
    >>> speech.feed("Now.\\n[to") + speech.feed("ol] Running: ls\\nDone")
    'Now.\\n\\x1b[33m[tool] Running: ls\\x1b[0m\\nDone'
    """

    def __init__(self, layout: str, *, on: bool) -> None:
        self._marks, self._on = _TOOLS.get(layout, _TOOLS["v2"]), on
        self._held, self._begun, self._tool = "", False, False

    def feed(self, text: str, *, final: bool = False) -> str:
        """Return what is shown of a chunk."""
        if not self._on:
            return text
        text, self._held = self._held + text, ""
        return "".join(self._line(line, final=final) for line in text.splitlines(keepends=True))

    def _line(self, line: str, *, final: bool) -> str:
        ended = line.endswith("\n")
        if not self._begun and not ended and not final and any(mark.startswith(line) for mark in self._marks):
            self._held = line
            return ""
        if not self._begun:
            self._tool = line.startswith(self._marks)
        self._begun = not ended
        return coloured(line, TOOL, on=True) if self._tool else line


def ended_lines(name: str, turn: Turn) -> Iterator[tuple[str, str]]:
    """Yield what is said of an ended turn, with each line's style.

    Its tools are told from its record: what Kiro prints of them has neither their exit codes nor what they printed.
    """
    calls = list(walk(turn.tool_calls))
    if len(calls) > _CALLS:
        yield f"  … {len(calls) - _CALLS} more calls before", ASIDE
    for call in calls[-_CALLS:]:
        failed = bool(call.exit_code) or call.status in ("failed", "denied")
        yield f"  {described(call, turn.tool_calls.folder, _COMMAND)}", BAD if failed else ASIDE
        said = visible(call.output).rstrip().splitlines() if failed or call.command is not None else []
        if len(said) > _OUTPUT:
            yield f"    ({len(said) - _OUTPUT} lines before)", ASIDE
        yield from ((f"    | {line}".rstrip(), ASIDE) for line in said[-_OUTPUT:])
    yield f"{name}: {turn.summary}", GOOD if turn.ok else BAD
