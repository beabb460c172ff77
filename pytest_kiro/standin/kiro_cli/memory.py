"""Remembers from one session to the next, as V3's agent does.

Its settings are in `~/.kiro/settings/cli.json`, its memories in `~/.kiro/memories/memories.jsonl`. A new session begins
with all of them; the tool `memory` adds one.
"""

from __future__ import annotations

import os

from . import formats
from .toolargs import ToolError, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: What the setting says when nothing does: the agent's own default.
_mode = "disabled"


def _path(*names: str) -> str:
    return os.path.join(os.path.expanduser("~"), ".kiro", *names)


def begin(history: list[str]) -> None:
    """Begin a session with what is remembered, unless the settings say otherwise."""
    global _mode
    try:
        settings = formats.loads(formats.read(_path("settings", "cli.json")))
    except (OSError, ValueError):
        settings = {}
    _mode = "disabled" if settings.get("memory.enabled") is False else settings.get("memory.mode", "read_write")
    try:
        text = formats.read(_path("memories", "memories.jsonl")) if _mode != "disabled" else ""
    except OSError:
        return
    known = [formats.loads(line) for line in text.splitlines()]
    if known:
        history.insert(0, "# Memory\n" + "".join(f"{one['title']}: {one['content']}\n" for one in known))


def parse(tool: str, args: dict[str, Any]) -> dict[str, Any]:
    """Read the call; without a memory there is no such tool."""
    if _mode == "disabled":
        raise ToolError(f"A tool with the name '{tool}' does not exist")
    command = field(args, "command", str)
    if command != "add" or _mode != "read_write":
        raise ToolError(f"The tool input does not match the tool schema: unknown variant `{command}`")
    words = {
        name: field(args, name, str, optional=name == "description") for name in ("title", "description", "content")
    }
    return {"Memory": {"command": command, **words}}


def title(tool: str, kind: dict[str, Any]) -> str:
    """Word the call for the screen."""
    return f"Remembering: {kind['Memory']['title']}"


def execute(tool: str, kind: dict[str, Any]) -> list[dict[str, Any]]:
    """Keep one more memory."""
    record = {"id": formats.new_id(), **kind["Memory"], "createdAt": formats.timestamp(3)}
    del record["command"]
    os.makedirs(_path("memories"), exist_ok=True)
    with open(_path("memories", "memories.jsonl"), "ab") as file:
        file.write(formats.dumps(record).encode("utf-8", "replace") + b"\n")
    return [{"Text": f"Remembered: {record['title']}"}]
