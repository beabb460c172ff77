"""What every tool needs to read its arguments, and to refuse them."""

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
    """One argument of a tool, or the error that a deserializer gives."""
    value = args.get(name)
    if value is None and optional:
        return None
    if name not in args:
        raise ToolError(f"The tool input does not match the tool schema: missing field `{name}`")
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ToolError(f"The tool input does not match the tool schema: invalid type of `{name}`")
    return value


def absolute(path: str) -> str:
    """A path as the tools resolve it."""
    return os.path.abspath(os.path.expanduser(path))
