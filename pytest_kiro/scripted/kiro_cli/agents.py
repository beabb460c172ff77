"""Agent files, and which tool calls they and the flags allow."""

from __future__ import annotations

import os

from . import screen, text_json
from .failures import Failure
from .tools import NAMES, Call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT = "kiro_default"
_ALL = ("*", "@builtin")


def find(name: str | None) -> dict[str, Any]:
    """The agent of that name: the directory's own agents win over those of the home."""
    if name is None or name == DEFAULT:
        return {"name": DEFAULT}
    kiro_home = os.environ.get("KIRO_HOME") or os.path.join(os.path.expanduser("~"), ".kiro")
    for folder in (os.path.join(".kiro", "agents"), os.path.join(kiro_home, "agents")):
        for agent in _agents(folder):
            if agent.get("name") == name:
                return agent
    raise Failure(f'error: agent "{name}" not found', 4)


def _agents(folder: str) -> list[dict[str, Any]]:
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".json"))
    except OSError:
        return []
    found = []
    for name in names:
        path = os.path.join(folder, name)
        try:
            with open(path, encoding="utf-8") as file:
                agent = text_json.loads(file.read())
        except (OSError, ValueError) as error:
            screen.write(2, f"WARNING: agent file {path} could not be read: {error}\n")
            continue
        if isinstance(agent, dict):
            found.append(agent)
    return found


def _matches(patterns: list[str], call: Call) -> bool:
    """Whether a list of an agent file or of --trust-tools names this call's tool, by whatever name."""
    for pattern in patterns:
        if pattern in _ALL or pattern == call.name or NAMES.get(pattern, "") == call.tool:
            return True
        if "*" in pattern and not pattern.startswith("@"):
            from fnmatch import fnmatchcase

            if any(fnmatchcase(n, pattern) for n, tool in NAMES.items() if tool == call.tool):
                return True
    return False


class Trust:
    """Who may run."""

    def __init__(self, agent: dict[str, Any], trust_all: bool, named: str | None, denied: Any) -> None:
        self.all = trust_all
        self.available = agent.get("tools", ["*"])
        self.named = [name for name in (named or "").split(",") if name]
        self.allowed = [*agent.get("allowedTools", []), *self.named]
        self.refused = ["*"] if denied is True else [denied] if isinstance(denied, str) else denied or []

    def warn(self) -> None:
        """An unknown name changes nothing but is mentioned."""
        for name in self.named:
            if name not in NAMES and name not in _ALL and not name.startswith("@"):
                what = f"WARNING: --trust-tools arg for custom tool {name} needs to be prepended with"
                screen.write(2, f"{what} @{{MCPSERVERNAME}}/\n")

    def permits(self, call: Call) -> bool:
        """Whether a call may run without asking, since nobody can be asked."""
        if _matches(self.refused, call) or not _matches(self.available, call):
            return False
        return self.all or _matches(self.allowed, call) or call.stays_inside
