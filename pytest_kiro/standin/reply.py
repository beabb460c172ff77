"""The reply to one turn: texts and tool calls, and how the stand-in misbehaves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_kiro.standin import recall


@dataclass(frozen=True)
class ToolUse:
    """One tool call that the scripted model makes."""

    tool_use_id: str
    name: str
    args: Mapping[str, object]


@dataclass(frozen=True)
class Reply:
    """What one turn is answered with."""

    requests: tuple[tuple[str | ToolUse, ...], ...]
    misbehave: Mapping[str, object] = field(default_factory=dict)
    source: str = ""
    """Where it was written: `scenarios/test_x.toml [test_donut] turn 2`."""

    def mock_json(self) -> bytes:
        """Write exactly what `KIRO_MOCK_CHAT_RESPONSE` takes.

        >>> Reply((("Hello.",),)).mock_json()
        b'[["Hello."]]'
        """
        requests = [[_plain(item) for item in request] for request in self.requests]
        return json.dumps(requests, ensure_ascii=False).encode()

    @property
    def recalls(self) -> bool:
        """Whether a text has `{recall:…}`, which only the stand-in can answer."""
        return any(isinstance(item, str) and recall.OPENING in item for request in self.requests for item in request)


def _plain(item: str | ToolUse) -> object:
    if isinstance(item, str):
        return item
    return {"tool_use_id": item.tool_use_id, "name": item.name, "args": dict(item.args)}
