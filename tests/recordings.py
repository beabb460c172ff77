"""Recorded turns for tests, as values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_kiro import Changes, ToolCall, Turn
from pytest_kiro.agent.bench import Owner
from pytest_kiro.recording.draft import Draft
from pytest_kiro.recording.places import Places, content_name
from pytest_kiro.recording.values import Asked, Made, RecordedFile, RecordedTurn
from pytest_kiro.turn.calls import ToolCalls
from pytest_kiro.turn.provenance import Provenance

MADE = Made(owner="test_shop", node="evals/test_shop.py::test_shop", file="test_shop.py", day="2026-11-29")
SOURCE = b"print('hello')\n"
TURN = Turn(
    prompt="Write a.py\nand run it.",
    number=1,
    output="",
    raw=b"",
    truncated=False,
    diagnostics="",
    exit_code=0,
    status="completed",
    cause=None,
    detail="",
    proof="session",
    duration=1.25,
    first_output_after=0.1,
    messages=("I write it.", "Done:\nsee ⟨workspace⟩/a.py"),
    tool_calls=ToolCalls(
        [ToolCall("write", "fs_write", {"path": "⟨workspace⟩/a.py"}, "", "completed")], folder="⟨workspace⟩"
    ),
    credits=0.25,
    credits_source="sidecar",
    provenance=Provenance(engine="v2", cli_version="2.29.0"),
    session_id="s-1",
    known_changes=Changes(added=frozenset({"a.py"})),
    known_outside=Changes(),
)


def recorded(conversation: int = 1, number: int = 1, **changes: Any) -> RecordedTurn:
    """A turn that wrote `a.py`, with other fields."""
    values: dict[str, Any] = {
        "asked": Asked(prompt=TURN.prompt, engine="v2"),
        "chunks": ((0.1, b"I write it.\r\n"), (0.25, "Döne\n".encode())),
        "turn": replace(TURN, number=number),
        "before": {"README.md": "file 12 0123"},
        "files": (RecordedFile(path="a.py", kind="file", mode=0o644, content=content_name(SOURCE, "a.py")),),
    }
    return RecordedTurn(conversation=conversation, number=number, **{**values, **changes})


def owner(folder: Path, table: str = "test_shop", **values: Any) -> Owner:
    """A test in `test_shop.py` of a folder."""
    return Owner(name=f"test_shop.py::{table}", tables=(table,), file=folder / "test_shop.py", **values)


def keep(folder: Path, *turns: RecordedTurn, made: Made = MADE, **end: Any) -> Path:
    """Write a recording beside `test_shop.py` of a folder; return where its files are."""
    places = Places("recordings")
    place = places.of(owner(folder, made.owner, trial=made.trial, variant=made.variant))
    draft = Draft(place, places.top(folder / "test_shop.py"), anew=True)
    for turn in turns:
        draft.add(made, turn, {content_name(SOURCE, "a.py"): SOURCE}, (120, 30))
    draft.end(made, **{"whole": True, "outcome": "passed", **end})
    return place
