"""Makes GitHub's annotations: commands in a job's log that put a failure beside its line."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pytest_kiro.records.plain import cut
from pytest_kiro.report.findings import Finding
from pytest_kiro.secrecy.visible import visible
from pytest_kiro.turn.shown import short

#: Of one kind GitHub shows so many of a step.
MOST = 10
#: Characters of a title, of a message, and of what Kiro did.
_TITLE, _MESSAGE, _DID = 200, 1_500, 1_500


def error_commands(findings: Sequence[Finding], path_of: Callable[[str], str] = str) -> list[str]:
    """Return a command for each finding that has a place; `path_of` makes its file's path GitHub's.

    >>> from pytest_kiro.records.phases import PhaseRecord, PlaceRecord
    >>> error_commands([Finding("t.py::test_x", "failed", "no: 1%\\nat all", at=PlaceRecord(file="t.py", line=7))])
    ['::error file=t.py,line=7,title=t.py%3A%3Atest_x::no: 1%25%0Aat all']
    """
    placed = [one for one in findings if one.place is not None]
    shown = placed if len(placed) <= MOST else placed[: MOST - 1]
    commands = [_command(one, path_of) for one in shown]
    if more := len(placed) - len(shown):
        names = ", ".join(one.name for one in placed[len(shown) :])
        commands.append(f"::error title={more} more failures::{_data(short(names, _MESSAGE))}")
    return commands


def _command(one: Finding, path_of: Callable[[str], str]) -> str:
    assert one.place is not None
    where = {"file": path_of(one.place.file), "line": str(one.place.line), "title": short(one.name, _TITLE)}
    properties = ",".join(f"{name}={_property(value)}" for name, value in where.items())
    return f"::error {properties}::{_data(_message(one))}"


def _message(one: Finding) -> str:
    parts = [one.says if not one.shown else "\n".join(one.lines)]
    for shown in one.shown[:1]:
        source = shown.phase.place.source if shown.phase.place is not None else ""
        parts += [cut(f"{source}\n{shown.phase.message}".strip("\n"), _MESSAGE)[0], cut(shown.phase.explained, _DID)[0]]
    parts.append(f"Repeat it: {one.command}" if one.command else "")
    return "\n\n".join(filter(None, parts))


def _data(text: str) -> str:
    shown = visible(text)
    return shown.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
