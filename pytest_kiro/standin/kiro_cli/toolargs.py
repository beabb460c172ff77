"""Reads the arguments of tool calls, and refuses wrong ones."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class ToolError(Exception):
    """The tool failed; `context` is set for a failure of the file system."""

    def __init__(self, text: str, context: str | None = None) -> None:
        super().__init__(text)
        self.context = context


def field(args: dict[str, Any], name: str, kind: type, *, optional: bool = False) -> Any:
    """Read one argument of a tool; the error is that of a deserializer."""
    value = args.get(name)
    if value is None and optional:
        return None
    if name not in args:
        raise ToolError(f"The tool input does not match the tool schema: missing field `{name}`")
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ToolError(f"The tool input does not match the tool schema: invalid type of `{name}`")
    return value


def absolute(path: str) -> str:
    """Resolve a path as the tools do."""
    return os.path.abspath(os.path.expanduser(path))
