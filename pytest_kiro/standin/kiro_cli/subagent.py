"""The tool `subagent`: a child with a conversation of its own, whose last text is the result.

Its arguments are `prompt`, optionally `agent`, and `requests`: the child's replies, in the form of the parent's.
"""

from __future__ import annotations

from . import replies
from .failures import Failure
from .toolargs import ToolError, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .tools import Call
    from .turn import Turn


def script(call_id: str, args: dict[str, Any]) -> list[list[Any]]:
    """The child's replies; a call without an id gets one, the same in every run."""
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
    """The call as the session records it."""
    invocation = {
        "query": field(args, "prompt", str),
        "agentName": field(args, "agent", str, optional=True),
        "relevantContext": None,
    }
    return {"SpawnSubagent": {"command": "invoke_subagents", "subagents": [invocation]}}


def agent_name(kind: dict[str, Any]) -> str | None:
    """Which agent is asked."""
    name: str | None = kind["SpawnSubagent"]["subagents"][0]["agentName"]
    return name


def title(tool: str, kind: dict[str, Any]) -> str:
    """What the screen calls it."""
    return f"Running subagent: {agent_name(kind) or 'kiro_default'}"


def run(parent: Turn, call: Call) -> None:
    """Let the child answer, for real."""
    from . import agents, turn
    from .screen import Nothing

    prompt = call.kind["SpawnSubagent"]["subagents"][0]["query"]
    try:
        agent = agents.find(agent_name(call.kind))
    except Failure as failure:
        call.error = ToolError(str(failure).replace("error: ", ""))
        return
    session = parent.session.child(prompt, agent["name"], call.id)
    trust = agents.Trust(agent, parent.trust)
    child = turn.Turn(session, Nothing(), trust, call.requests, {}, agent)
    child.run(prompt)
    parent.session.joined(session, child.last_text)
    call.items = [{"Text": child.last_text}]
