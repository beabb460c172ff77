"""Agent files, and the tool calls that they and the flags allow."""

from __future__ import annotations

import os

from . import formats, out
from .failures import Failure
from .places import kiro_home
from .tools import NAMES, Call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT = "kiro_default"
_ALL = ("*", "@builtin")


def find(name: str | None, *, falls_back: bool = False) -> dict[str, Any]:
    """Find the agent of that name: the directory's own agents win over those of the home.

    V1, and every engine of the 2.x, warn about a missing one and go on with the default agent.
    """
    if name is None or name == DEFAULT:
        return {"name": DEFAULT}
    for folder in (os.path.join(".kiro", "agents"), os.path.join(kiro_home(), "agents")):
        for agent in _agents(folder):
            if agent.get("name") == name:
                return agent
    if falls_back:
        out.write(2, f'WARNING: agent "{name}" not found, using the default agent {DEFAULT}\n')
        return {"name": DEFAULT}
    raise Failure(f'error: agent "{name}" not found', 4)


def _agents(folder: str) -> list[dict[str, Any]]:
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".json"))
    except OSError:
        return []
    agents = []
    for name in names:
        path = os.path.join(folder, name)
        try:
            with open(path, encoding="utf-8") as file:
                agent = formats.loads(file.read())
        except (OSError, ValueError) as error:
            out.write(2, f"WARNING: agent file {path} could not be read: {error}\n")
            continue
        if isinstance(agent, dict):
            agents.append(agent)
    return agents


def _matches(patterns: list[str], call: Call) -> bool:
    """Tell whether an agent file's or --trust-tools' list names this call's tool."""
    if call.server:
        return _matches_tool_of_server(patterns, call)
    for pattern in patterns:
        if pattern in _ALL or pattern == call.name or NAMES.get(pattern, "") == call.tool:
            return True
        if "*" in pattern and not pattern.startswith("@"):
            from fnmatch import fnmatchcase

            if any(fnmatchcase(n, pattern) for n, tool in NAMES.items() if tool == call.tool):
                return True
    return False


def _matches_tool_of_server(patterns: list[str], call: Call) -> bool:
    """Tell whether a list names an MCP server's tool: by the server, or by both with wildcards."""
    from fnmatch import fnmatchcase

    name = str(call.tool)
    return any(
        pattern in ("*", f"@{call.server}", f"@{call.server}/") or fnmatchcase(name, pattern) for pattern in patterns
    )


class Trust:
    """Decides which tool calls may run; a sub-agent has its parent's trust."""

    asks = False

    def __init__(
        self,
        agent: dict[str, Any],
        parent: Trust | None = None,
        *,
        everything: bool = False,
        named: str | None = None,
        denied: Any = None,
        engine: str = "v2",
    ) -> None:
        self.all: bool = parent.all if parent else everything
        self.named: list[str] = parent.named if parent else [name for name in (named or "").split(",") if name]
        self.engine: str = parent.engine if parent else engine
        refused = ["*"] if denied is True else [denied] if isinstance(denied, str) else denied or []
        self.refused: list[str] = parent.refused if parent else refused
        self.available = agent.get("tools", ["*"])
        self.allowed = agent.get("allowedTools", [])

    def warn(self) -> None:
        """Warn of unknown names, which change nothing."""
        known = set(NAMES)
        if self.engine == "v3":
            from .names import V3_NAMES

            known = V3_NAMES
        for name in self.named:
            if name not in known and name not in _ALL and not name.startswith("@"):
                what = f"WARNING: --trust-tools arg for custom tool {name} needs to be prepended with"
                out.write(2, f"{what} @{{MCPSERVERNAME}}/\n")

    def offers(self, call: Call) -> bool:
        """Tell whether the agent has this tool at all."""
        return _matches(self.available, call) and not _matches(self.refused, call)

    def permits(self, call: Call) -> bool:
        """Tell whether a call may run, without asking."""
        if not self.offers(call):
            return False
        return self.all or self._is_named(call) or _matches(self.allowed, call) or call.stays_inside or call.approved

    def trusts(self, tool: str) -> bool:
        """Tell whether all calls of a tool, by V2's name, may run."""
        named = [*self.named, *self.allowed]
        return self.all or any(name in _ALL or NAMES.get(name) == tool for name in named)

    def _is_named(self, call: Call) -> bool:
        """Tell whether --trust-tools has it; V3 takes nothing but its own names there."""
        if self.engine != "v3" or call.server:
            return _matches(self.named, call)
        from .names import v3_name

        return v3_name(call) in self.named or any(name in _ALL for name in self.named)
