"""What most sessions do of what only some engines record: nothing."""

from __future__ import annotations

from .common import Uncounted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .mcp import Servers
    from .tools import Call


class Plain(Uncounted):
    """The base of all sessions."""

    broken = False
    """Whether its history is one that the program refuses to go on with."""
    workflow: dict[str, Any] | None = None
    """The workflow's node that it is."""
    nodes = False
    """Whether its sub-agents are the nodes of a workflow."""

    def begun_with(self, servers: Servers | None) -> None:
        """Record which MCP servers run."""

    def asked(self, key: str, question: str) -> None:
        """Record a question to the user, which has no answer yet."""

    def withheld(self, call: Call) -> None:
        """Record a call whose arguments are a note."""

    def rewound(self) -> None:
        """Record that what the turn did so far is taken back."""
