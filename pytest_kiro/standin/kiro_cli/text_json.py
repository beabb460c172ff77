"""JSON as the real program writes it: no blanks or an indent of two, and text as it is."""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

loads = json.loads


def dumps(value: Any, indent: int | None = None) -> str:
    """One JSON value as text."""
    return json.dumps(value, ensure_ascii=False, indent=indent, separators=(",", ": " if indent else ":"))
