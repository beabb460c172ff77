"""Says of a failed test what Kiro did, and which command failed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_kiro.secrecy.visible import escaped, visible
from pytest_kiro.turn.calls import described, walk
from pytest_kiro.turn.changes import KINDS, Changes
from pytest_kiro.turn.shown import short
from pytest_kiro.turn.warnings import SCENARIO

if TYPE_CHECKING:
    from pytest_kiro.sandbox.protocol import ExecResult
    from pytest_kiro.turn.turn import Turn

#: Characters that are shown of a prompt and of a command.
_PROMPT, _COMMAND = 100, 100
#: Lines that are shown of a transcript, and of each where there are several; of an output; of a diff, and of one file.
_TRANSCRIPT, _EACH, _OUTPUT, _DIFF, _FILE = 40, 15, 20, 60, 30
#: Calls that are shown of a turn: its first ones and its last ones.
_FIRST, _LAST = 4, 8
#: Files that are named of a turn.
_NAMED = 20
#: ANSI's numbers for lines of a diff, by how they begin, and for a title.
_COLOURS, _BOLD = {"+": "32", "-": "31", "@": "36"}, "1"
#: A path that would fill the line; its last part tells enough.
_DEEP = re.compile(r"/(?:[^\s'\"/:]+/){3,}")
#: How pytest explains a False answer of a `SandboxPath`, pytest 8.2 with more words; and what was asked.
_ASKED = re.compile(r" \+  where False = (?:<.*\.)?(exists|is_file|is_dir)\b.*\(\)\n \+    where .*? = (.*)\.\1$", re.M)
_PARTS = re.compile(r" / '([^']*)'")
_ANSWERS = {"exists": "does not exist", "is_file": "is no file", "is_dir": "is no folder"}
_SAYS_WHY = re.compile(r"^(?:[\w.]*(?:Error|Exception|Exit|Interrupt)\b.*|\S+: .*(?:not found|No such file).*)$", re.M)


@dataclass(frozen=True)
class LookedAt:
    """One conversation that a failed test looked at.

    `name` tells it from others, and is empty where there are none; `diffs` are by path, of what Kiro changed, None
    where nobody can tell any more; `failed` is the last command of the eval that failed there.
    """

    name: str
    turns: Sequence[Turn]
    diffs: Mapping[str, str] | None
    ignored: int = 0
    failed: ExecResult | None = None


def failure_lines(looked_at: Sequence[LookedAt], failure: str, *, full: bool) -> str:
    """Return what Kiro did, the failed command, diff, and transcript's end.

    `failure` is what the test's error says: files that it names come first. `full` cuts nothing but the transcript, and
    has what answered and all changes too.
    """
    most = _TRANSCRIPT if len(looked_at) == 1 else _EACH
    return "\n".join(line for one in looked_at for line in _one(one, failure, most, full))


def planted_lines(turns: Sequence[Turn]) -> str:
    """Return what turns wrote that may decide a check."""
    return "\n".join(line for turn in turns if (lines := _planted(turn)) for line in (turn.summary, *lines))


def surprise_lines(turns: Sequence[Turn]) -> str:
    """Return which scripted calls of turns ended otherwise than their scenario says."""
    return "\n".join(line for turn in turns if (lines := _surprises(turn)) for line in (turn.summary, *lines))


def coloured(text: str) -> str:
    """Colour the diffs in what `failure_lines` has returned.

    >>> coloured("turn 1 completed\\n+one\\n| +two") == "turn 1 completed\\n\\x1b[32m+one\\x1b[0m\\n| +two"
    True
    """
    lines = []
    for line in text.split("\n"):
        title = line.startswith("--- ") and not line.startswith(("--- a/", "--- /dev/null"))
        colour = _BOLD if title else _COLOURS.get(line[:1])
        lines.append(f"\x1b[{colour}m{line}\x1b[0m" if colour else line)
    return "\n".join(lines)


def clarified(message: str, executed: Iterable[ExecResult], turns: Iterable[Turn]) -> str:
    """Say in a False assert's first line what it is about; other messages stay.

    >>> from pytest_kiro.sandbox.protocol import ExecResult
    >>> result = ExecResult("make", 2, "make: *** No rule to make target 'all'.  Stop.\\n", 0.1)
    >>> print(clarified(f"assert False\\n +  where False = {result!r}.ok\\n +    where {result!r} = x", [result], []))
    'make' ended with exit code 2: make: *** No rule to make target 'all'.  Stop.
    assert False
     +  where False = <ExecResult 'make' exit_code=2 output="make: *** No rule to make target 'all'.  Stop.\\n">.ok
    >>> print(clarified("assert False\\n +  where False = exists()\\n +    where exists = (x / 'a.py').exists", [], []))
    a.py does not exist; no turn was run
    assert False
     +  where False = exists()
     +    where exists = (x / 'a.py').exists
    """
    first, _, rest = message.partition("\n")
    where = rest.partition("\n")[0]
    if first == "assert False" and (asked := _ASKED.match(rest)):
        return f"{_missing(asked, turns)}\n{message}"
    if first != "assert False" or not where.endswith(".ok"):
        return message
    for result in executed:
        if f" = {_beginning(result)}" in where:
            return f"{failed_line(result)}\n{first}\n{where}"
    for turn in turns:
        if f" = {turn!r}" in where:
            return f"{turn.summary}{f': {turn.detail}' if turn.detail else ''}\n{first}\n{where}"
    return message


def _missing(asked: re.Match[str], turns: Iterable[Turn]) -> str:
    """Return a line on a missing path, with what turns changed instead."""
    turns = list(turns)
    path = "/".join(_PARTS.findall(asked[2])) or asked[2].partition("'")[2].rstrip("')")
    for turn in turns:
        path = path.removeprefix(f"{turn.workspace.path}/")
    path = _DEEP.sub("…/", escaped(path))
    changed = dict.fromkeys(path for turn in turns for path in sorted((turn.known_changes or Changes()).paths))
    did = f"{_turns(turns)} changed {short(escaped(', '.join(changed)), _COMMAND) or 'no file'}"
    return f"{path} {_ANSWERS[asked[1]]}; {did if turns else 'no turn was run'}"


def _turns(turns: Sequence[Turn]) -> str:
    """Name who did something: a stand-in's turn is none of Kiro's."""
    return "the turn" if len(turns) == 1 else "the turns"


def failed_line(result: ExecResult) -> str:
    """Return in one line that a command failed, and why."""
    ended = f"{short(escaped(result.command), _COMMAND)!r} ended with exit code {result.exit_code}"
    return f"{ended}: {why}" if (why := _why(result.output)) else f"{ended} and printed nothing"


def _why(output: str) -> str:
    """Return the line of an output that says why, or its last."""
    said = _DEEP.sub("…/", visible(output).strip())
    lines = [match[0] for match in _SAYS_WHY.finditer(said)] or said.splitlines()
    return short(lines[-1].strip(), _COMMAND) if lines else ""


def _beginning(result: ExecResult) -> str:
    return f"<ExecResult {result.command!r} exit_code={result.exit_code} "


def _one(looked_at: LookedAt, failure: str, most: int, full: bool) -> Iterator[str]:
    """Yield the lines on one conversation."""
    before = f"{looked_at.name}, " if looked_at.name else ""
    for turn in looked_at.turns:
        yield f"{before}{turn.summary}: {short(' '.join(visible(turn.prompt).split()), _PROMPT)}"
        if full:
            yield f"  answered by {turn.provenance.described}"
        yield from _calls(turn, full)
        yield from _all_changes(turn) if full else ()
        yield from (*_planted(turn), *_surprises(turn))
    diffs = {path: visible(text).splitlines() for path, text in (looked_at.diffs or {}).items()}
    if looked_at.diffs is not None:
        yield f"  changed: {_counted(diffs, looked_at.ignored, full) or 'nothing'}"
    if (result := looked_at.failed) is not None:
        yield from _end_of(result.output, f"--- {failed_line(result)}", 10**9 if full else _OUTPUT)
    if diffs:
        yield f"--- what {_turns(looked_at.turns)} changed{f' in {looked_at.name}' if looked_at.name else ''}"
        yield from _diff(diffs, failure, full)
    for turn in looked_at.turns[-1:]:
        yield from _transcript(turn, before, most)


# -- what Kiro did


def _calls(turn: Turn, full: bool) -> Iterator[str]:
    calls = list(walk(turn.tool_calls))
    left_out = 0 if full else max(0, len(calls) - _FIRST - _LAST)
    for number, call in enumerate(calls):
        if number == _FIRST and left_out > 1:
            yield f"  … {left_out} more calls (-vv shows all)"
        if number < _FIRST or number >= _FIRST + left_out or left_out <= 1:
            yield f"  {described(call, turn.tool_calls.folder, 10**9 if full else _COMMAND)}"
            if (call.exit_code or call.status == "failed") and (why := _why(call.output)):
                yield f"    | {why}"


def _planted(turn: Turn) -> list[str]:
    known = (turn.known_changes or Changes()).planted
    known |= {f"~/{path}": why for path, why in (turn.known_outside or Changes()).planted.items()}
    lines = [f"  may decide a check: {escaped(path)} ({why})" for path, why in known.items()]
    more = len(lines) - _NAMED
    return [*lines[:_NAMED], f"  (and {more} more files)"] if more > 0 else lines


def _surprises(turn: Turn) -> list[str]:
    return [f"  {visible(warning)}" for warning in turn.warnings if warning.startswith(SCENARIO)]


def _all_changes(turn: Turn) -> Iterator[str]:
    changes, around = turn.known_changes or Changes(), turn.known_outside or Changes()
    for where, some in (("", changes), (" by the way", changes.ignored), (" outside of the workspace", around)):
        for kind in KINDS:
            yield from (f"  {kind}{where} {escaped(path)}" for path in sorted(getattr(some, kind)))
    yield from (f"  had left behind {escaped(process)}" for process in turn.survivors)


# -- what it left


def _counted(diffs: Mapping[str, Sequence[str]], ignored: int, full: bool) -> str:
    """Name the changed files, with how many lines came and went."""
    names = [f"{escaped(path)} {_size(lines)}" for path, lines in diffs.items()]
    if len(names) > _NAMED and not full:
        names[_NAMED:] = [f"{len(names) - _NAMED} more (-vv shows all)"]
    return ", ".join([*names, *([f"and {ignored} by the way, as caches are"] if ignored else [])])


def _size(lines: Sequence[str]) -> str:
    if len(lines) > 1 and lines[1] == "+++ /dev/null":
        return "deleted"
    body = lines[2:]
    counts = [(sign, sum(line.startswith(mark) for line in body)) for sign, mark in (("+", "+"), ("−", "-"))]
    return " ".join(f"{sign}{count}" for sign, count in counts if count) or "changed"


def _diff(diffs: Mapping[str, Sequence[str]], failure: str, full: bool) -> Iterator[str]:
    """Yield the diffs; of files that the failure names first."""
    room, hidden = _DIFF, []
    for path in sorted(diffs, key=lambda path: (not _names(failure, path), path)):
        lines = diffs[path]
        shown = len(lines) if full else min(len(lines), _FILE, room)
        if len(lines) - shown <= 1:  # not worth the line that says so
            shown = len(lines)
        if shown < 3:
            hidden.append(escaped(path))
            continue
        room -= shown
        yield from lines[:shown]
        if more := len(lines) - shown:
            yield f"({more} more lines of {escaped(path)}; -vv shows all)"
    if hidden:
        yield f"(not shown: {short(', '.join(hidden), 200)}; -vv shows all)"


def _names(failure: str, path: str) -> bool:
    return path in failure or path.rpartition("/")[2] in failure


# -- what it printed


def _transcript(turn: Turn, before: str, most: int) -> Iterator[str]:
    yield from _end_of(turn.output, f"--- what {before}turn {turn.number} printed", most)
    if turn.diagnostics.strip():
        yield from _end_of(turn.diagnostics, "--- what it wrote to stderr", most)
    notes = [turn.detail, *(f"warning: {one}" for one in turn.warnings if not one.startswith(SCENARIO))]
    yield from (visible(f"--- {note}").replace("\n", "\n| ") for note in notes if note)


def _end_of(text: str, title: str, most: int) -> Iterator[str]:
    """Yield the last lines, each behind a bar: none of them can be taken for one of ours, or for a command."""
    lines = visible("\n".join(f"| {line}".rstrip() for line in text.strip("\n").rstrip().splitlines())).splitlines()
    left_out = f", {len(lines) - most} lines before them" if len(lines) > most else ""
    yield f"{title}{left_out}"
    yield from lines[-most:]
