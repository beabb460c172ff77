"""Recordings in memory, for tests of what is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import recordings

from pytest_kiro import Changes, ToolCall
from pytest_kiro.recording.values import Asked, Made, RecordedFile, RecordedTurn, Recording
from pytest_kiro.turn.calls import ToolCalls

FOLDER = "⟨workspace⟩"
TURN = replace(
    recordings.TURN,
    prompt="Do it.",
    duration=1.0,
    first_output_after=0.5,
    messages=(),
    tool_calls=ToolCalls((), folder=FOLDER),
    credits=0.1,
    session_id="s",
    known_changes=Changes(),
)


def call(name: str, output: str = "", *, raw: str = "", status: Any = "completed", **given: Any) -> ToolCall:
    code = 0 if name == "shell" else None
    return ToolCall(name, raw or name, given, output, status, exit_code=code)


def write(path: str, content: str) -> ToolCall:
    return call("write", command="create", path=path, content=content)


def file(path: str, content: str = "", **more: Any) -> RecordedFile:
    """A file; its content's name is the content."""
    return RecordedFile(path=path, kind="file", mode=0o644, content=content, **more)


class Same(dict[str, bytes]):
    """Contents that are their own names."""

    def __missing__(self, name: str) -> bytes:
        return name.encode("utf-8", "surrogateescape")


def recorded(
    *messages: str,
    calls: Sequence[ToolCall] = (),
    files: Sequence[RecordedFile] = (),
    outside: Sequence[RecordedFile] = (),
    before: Sequence[str] = (),
    conversation: int = 1,
    number: int = 1,
    printed: str = "",
    **more: Any,
) -> RecordedTurn:
    """A turn that left files; those that were there before were modified by it."""
    deleted = {one.path for one in files if one.kind == "deleted"}
    paths = {one.path for one in files} - deleted
    changes = Changes(frozenset(paths - set(before)), frozenset(paths & set(before)), frozenset(deleted))
    around = Changes(added=frozenset(one.path for one in outside))
    turn = replace(
        TURN,
        number=number,
        messages=messages,
        tool_calls=ToolCalls(calls, folder=FOLDER),
        known_changes=changes,
        known_outside=around,
    )
    return RecordedTurn(
        conversation=conversation,
        number=number,
        asked=Asked(prompt="Do it.", engine="v2"),
        chunks=((0.1, printed.encode()),),
        turn=replace(turn, **more),
        before=dict.fromkeys(before, "0644 abc"),
        files=tuple(files),
        outside=tuple(outside),
    )


def recording(*turns: RecordedTurn, owner: str = "test_it", **made: Any) -> Recording:
    made_by = Made(owner=owner, **{"node": f"test_a.py::{owner}", "file": "test_a.py", **made})
    return Recording(made=made_by, turns={one.key: one for one in turns}, contents=Same())
