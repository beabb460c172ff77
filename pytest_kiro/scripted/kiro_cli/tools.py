"""Tool calls: what they are called, who may run, what they answer, and how they are recorded."""

from __future__ import annotations

import os

from .toolargs import ToolError, absolute

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Every name that scenarios, --trust-tools and agent files may use, and V2's word for it.
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
}
PURPOSE = "__tool_use_purpose"


class Call:
    """One tool call of the model."""

    def __init__(self, item: dict[str, Any]) -> None:
        self.id: str = item["tool_use_id"]
        self.name: str = item["name"]
        self.input: dict[str, Any] = item["args"]
        self.tool = NAMES.get(self.name)
        self.module: Any = None
        self.kind: dict[str, Any] = {}
        self.error: ToolError | None = None
        self.items: list[dict[str, Any]] = []
        try:
            self._parse()
        except ToolError as error:
            self.error = ToolError(f"Failed to parse the tool use: {error}")

    def _parse(self) -> None:
        if self.tool is None:
            raise ToolError(f"A tool with the name '{self.name}' does not exist")
        if self.tool in ("read", "write"):
            from . import files as module
        elif self.tool == "shell":
            from . import shell as module  # type: ignore[no-redef] # one of four, each loaded when used
        elif self.tool == "todo_list":
            from . import todo as module  # type: ignore[no-redef] # one of four, each loaded when used
        else:
            from . import search as module  # type: ignore[no-redef] # one of four, each loaded when used
        self.module = module
        args = {name: value for name, value in self.input.items() if name != PURPOSE}
        self.kind = module.parse(self.tool, args)

    @property
    def title(self) -> str:
        """What the screen calls it."""
        return str(self.module.title(self.tool, self.kind)) if self.kind else self.name

    @property
    def stays_inside(self) -> bool:
        """Whether it only looks at files under this directory, which needs nobody's permission."""
        if self.tool == "todo_list":
            return True
        if self.tool not in ("read", "grep", "glob"):
            return False
        inside = os.getcwd().rstrip("/") + "/"
        return all((absolute(path) + "/").startswith(inside) for path in self.module.paths(self.kind))

    def execute(self) -> None:
        """Do it, for real."""
        try:
            self.items = self.module.execute(self.tool, self.kind)
        except ToolError as error:
            self.error = error

    def deny(self) -> None:
        """It may not run."""
        self.error = ToolError("Tool use was denied by the user.")

    def tool_use(self) -> dict[str, Any]:
        """Its part of an AssistantMessage."""
        data = {"toolUseId": self.id, "name": self.name, "input": self.input}
        return {"kind": "toolUse", "data": data}

    def tool_result(self) -> dict[str, Any]:
        """Its part of the content of ToolResults."""
        content = [{"kind": key.lower(), "data": data} for item in self.items for key, data in item.items()]
        if self.error:
            content = [{"kind": "text", "data": str(self.error)}]
        status = "error" if self.error else "success"
        return {"kind": "toolResult", "data": {"toolUseId": self.id, "content": content, "status": status}}

    def record(self) -> dict[str, Any]:
        """Its part of the results of ToolResults."""
        result: dict[str, Any] = {"Success": {"items": self.items}}
        if self.error and self.error.context is not None:
            result = {"Error": {"Io": {"context": self.error.context}}}
        elif self.error:
            result = {"Error": {"Custom": str(self.error)}}
        purpose = self.input.get(PURPOSE)
        return {"tool": {"tool_use_purpose": purpose, "kind": {"BuiltIn": self.kind}}, "result": result}
