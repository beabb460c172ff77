"""Scripted replies, in the JSON of `KIRO_MOCK_CHAT_RESPONSE`, and recall.

The file is an array with one array per model request. In it a string is a chunk of text, an object
`{"tool_use_id", "name", "args"}` is a tool call.
A call of `subagent` has the child's replies in its arguments, see subagent.py.

`{recall:REGEX|otherwise}` in a chunk becomes what REGEX finds in the conversation that was resumed: its
first group, or the whole match if it has none. Prompts and assistant texts are searched, the newest message
that matches wins. Nothing found, or nothing resumed: `otherwise`. The form ends at the `}` that balances its
`{` (a brace after a backslash does not count), and the last `|` in it separates: `otherwise` has none.
"""

from __future__ import annotations

import os
import re

from . import formats, out
from .failures import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VARIABLE = "KIRO_MOCK_CHAT_RESPONSE"
OPENING = "{recall:"


def load() -> list[list[Any]]:
    """Read the replies of this turn; without a usable file there is no model to reach."""
    path = os.environ.get(VARIABLE)
    if path:
        try:
            with open(path, "rb") as file:
                value = formats.loads(file.read().decode("utf-8"))
            return checked(value)
        except (OSError, ValueError) as error:
            out.write(2, f"WARNING: {VARIABLE}={path} is skipped: {error}\n")
    raise Failure(
        "error: dispatch failure: no model can be reached. This is pytest-kiro's stand-in for kiro-cli: "
        f"it answers only from the JSON file that {VARIABLE} names."
    )


def checked(value: Any) -> list[list[Any]]:
    """Check the replies; a ValueError says what is wrong."""
    if not isinstance(value, list) or not all(isinstance(request, list) for request in value):
        raise ValueError("it is not an array of arrays")
    for request in value:
        for item in request:
            if not isinstance(item, str) and not _is_tool_call(item):
                raise ValueError(f"{formats.dumps(item)[:80]} is neither a text nor a tool call")
    return value


def _is_tool_call(item: Any) -> bool:
    return (
        isinstance(item, dict)
        and all(isinstance(item.get(name), str) for name in ("tool_use_id", "name"))
        and isinstance(item.get("args"), dict)
    )


def recall(text: str, history: list[str]) -> str:
    """Answer every recall in a text from these earlier messages."""
    at = text.find(OPENING)
    while at >= 0:
        end = _closing(text, at)
        regex, separator, otherwise = text[at + len(OPENING) : end].rpartition("|")
        if end < 0 or not separator:
            raise Failure(f"error: a recall has the form {{recall:REGEX|otherwise}}: {text[at : at + 80]}", 2)
        answer = _search(regex, history, otherwise)
        text = text[:at] + answer + text[end + 1 :]
        at = text.find(OPENING, at + len(answer))
    return text


def _closing(text: str, at: int) -> int:
    """Find the brace that closes the one at `at`; -1 where none does."""
    depth = 1
    for position in range(at + 1, len(text)):
        if text[position] in "{}" and text[position - 1] != "\\":
            depth += 1 if text[position] == "{" else -1
            if not depth:
                return position
    return -1


def _search(regex: str, history: list[str], otherwise: str) -> str:
    try:
        pattern = re.compile(regex)
    except re.error as error:
        raise Failure(f"error: {regex!r} in a recall is not a regular expression: {error}", 2) from None
    for message in reversed(history):
        match = pattern.search(message)
        if match:
            return (match.group(1) if pattern.groups else match.group()) or ""
    return otherwise
