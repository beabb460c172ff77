"""Reads calls of the tool `subagent`; turn.py runs them.

Its arguments are `prompt`, optionally `agent`, and `requests`: the child's replies, in the form of the parent's.
"""

from __future__ import annotations

from . import replies
from .toolargs import ToolError, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def script(call_id: str, args: dict[str, Any]) -> list[list[Any]]:
    """Read the child's replies; a call without an id gets one, the same in every run."""
    requests = field(args, "requests", list, optional=True) or []
    named = [
        [
            {"tool_use_id": f"{call_id}_{number}_{at}", **item} if isinstance(item, dict) else item
            for at, item in enumerate(request, 1)
        ]
        for number, request in enumerate(requests, 1)
        if isinstance(request, list)
    ]
    try:
        return replies.checked(named)
    except ValueError as error:
        raise ToolError(f"The tool input does not match the tool schema: requests: {error}") from None


def parse(tool: str, args: dict[str, Any]) -> dict[str, Any]:
    """Read the call as the session records it."""
    invocation = {
        "query": field(args, "prompt", str),
        "agentName": field(args, "agent", str, optional=True),
        "relevantContext": None,
    }
    return {"SpawnSubagent": {"command": "invoke_subagents", "subagents": [invocation]}}


def title(tool: str, kind: dict[str, Any]) -> str:
    """Word the call for the screen."""
    return f"Running subagent: {kind['SpawnSubagent']['subagents'][0]['agentName'] or 'kiro_default'}"
