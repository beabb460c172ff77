"""Tool calls: their names, their results, and how sessions record them."""

from __future__ import annotations

import os
import time

from .toolargs import ToolError, absolute

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    #: Finds a tool of an MCP server: its name as the model sees it, the server, and its own name.
    Find = Callable[[str], "tuple[str, Any, str] | None"]

# The names that scenarios, --trust-tools and agent files may use, each with V2's word for it.
NAMES = {
    "read": "read",
    "fs_read": "read",
    "fsRead": "read",
    "write": "write",
    "fs_write": "write",
    "fsWrite": "write",
    "shell": "shell",
    "execute_bash": "shell",
    "execute_cmd": "shell",
    "executeCmd": "shell",
    "grep": "grep",
    "glob": "glob",
    "todo_list": "todo_list",
    "todo": "todo_list",
    "subagent": "subagent",
    "use_subagent": "subagent",
    "memory": "memory",
}
PURPOSE = "__tool_use_purpose"


class Call:
    """One tool call of the model."""

    def __init__(self, item: dict[str, Any], of_server: Find | None = None) -> None:
        self.id: str = item["tool_use_id"]
        self.name: str = item["name"]
        self.input: dict[str, Any] = item["args"]
        self.requests: list[list[Any]] = []
        """The replies that a sub-agent gets."""
        self.tool = NAMES.get(self.name)
        self.server = ""
        """The MCP server whose tool it is; `tool` is then `@server/tool`."""
        self.approved = False
        """Whether the server's configuration approves of it."""
        self.module: Any
        self.kind: dict[str, Any] = {}
        self.error: ToolError | None = None
        self.items: list[dict[str, Any]] = []
        self.denied = False
        self.is_workflow = False
        """Whether it runs a workflow, of which its sub-agent is a node."""
        self.milliseconds = 0
        try:
            if self.tool is None and of_server is not None:
                self._parse_of_server(of_server)
            else:
                self._parse()
        except ToolError as error:
            self.error = ToolError(f"Failed to parse the tool use: {error}")

    def _parse(self) -> None:
        if self.tool is None:
            raise ToolError(f"A tool with the name '{self.name}' does not exist")
        if self.tool in ("read", "write"):
            from . import files

            self.module = files
        elif self.tool == "shell":
            from . import shell

            self.module = shell
        elif self.tool == "todo_list":
            from . import todo

            self.module = todo
        elif self.tool == "memory":
            from . import memory

            self.module = memory
        elif self.tool == "subagent":
            from . import subagent

            self.module = subagent
            # What the child answers is the scenario's business: no model sends it.
            self.requests = subagent.script(self.id, self.input)
            self.input = {name: value for name, value in self.input.items() if name != "requests"}
        else:
            from . import search

            self.module = search
        args = {name: value for name, value in self.input.items() if name != PURPOSE}
        self.kind = self.module.parse(self.tool, args)

    def _parse_of_server(self, find: Find) -> None:
        """Read a call of a server's tool; the record has its name as the model sees it."""
        known = find(self.name)
        if known is None:
            raise ToolError(f"A tool with the name '{self.name}' does not exist")
        self.name, self.module, tool = known
        self.server, self.tool = self.module.name, f"@{self.module.name}/{tool}"
        self.approved = tool in self.module.approved or "*" in self.module.approved
        params = {name: value for name, value in self.input.items() if name != PURPOSE}
        self.kind = {"Mcp": {"toolName": tool, "serverName": self.server, "params": params}}

    @property
    def agent(self) -> str | None:
        """The agent that a sub-agent call names."""
        name: str | None = self.kind["SpawnSubagent"]["subagents"][0]["agentName"]
        return name

    @property
    def title(self) -> str:
        """The call as the screen words it."""
        return str(self.module.title(self.tool, self.kind)) if self.kind else self.name

    @property
    def stays_inside(self) -> bool:
        """Whether it only reads files under this directory, which needs no permission."""
        if self.tool in ("todo_list", "memory"):
            return True
        if self.tool not in ("read", "grep", "glob"):
            return False
        inside = os.getcwd().rstrip("/") + "/"
        return all((absolute(path) + "/").startswith(inside) for path in self.module.paths(self.kind))

    def execute(self, live: Callable[[bytes], object] | None = None) -> None:
        """Execute it, for real; `live` takes a command's output while it runs."""
        started = time.monotonic_ns()
        more = (live,) if self.tool == "shell" else ()
        try:
            self.items = self.module.execute(self.tool, self.kind, *more)
        except ToolError as error:
            self.error = error
        self.milliseconds = (time.monotonic_ns() - started) // 10**6

    def deny(self) -> None:
        """Refuse it."""
        self.denied = True
        self.error = ToolError("Tool use was denied by the user.")

    @property
    def answer(self) -> list[dict[str, Any]]:
        """The result for the model: the tool's items, or the text of the error."""
        return [{"Text": str(self.error)}] if self.error else self.items

    def tool_use(self) -> dict[str, Any]:
        """Write its part of an AssistantMessage."""
        data = {"toolUseId": self.id, "name": self.name, "input": self.input}
        return {"kind": "toolUse", "data": data}

    def tool_result(self) -> dict[str, Any]:
        """Write its part of the content of ToolResults."""
        content = [{"kind": key.lower(), "data": data} for item in self.answer for key, data in item.items()]
        status = "error" if self.error else "success"
        return {"kind": "toolResult", "data": {"toolUseId": self.id, "content": content, "status": status}}

    def record(self) -> dict[str, Any]:
        """Write its part of the results of ToolResults."""
        result: dict[str, Any] = {"Success": {"items": self.items}}
        if self.error and self.error.context is not None:
            result = {"Error": {"Io": {"context": self.error.context}}}
        elif self.error:
            result = {"Error": {"Custom": str(self.error)}}
        purpose = self.input.get(PURPOSE)
        return {
            "tool": {"tool_use_purpose": purpose, "kind": self.kind if self.server else {"BuiltIn": self.kind}},
            "result": result,
        }
