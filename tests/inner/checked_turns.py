"""Checks each turn: what is scripted shall work."""

from __future__ import annotations

from pytest_kiro import Turn


def pytest_kiro_turn_finished(turn: Turn) -> None:
    """A turn ends well, its tools do not fail, and it shows what it really saw."""
    for call in turn.tool_calls if turn.ok else ():
        assert call.status == "completed" or call.name == "@stock/order", call  # its server has not enough
        if call.command == "node donut.js":
            assert call.output in turn.text
