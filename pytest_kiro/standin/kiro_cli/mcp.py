"""Reads which MCP servers an agent has, and starts them.

They are those of the agent's file, of `.kiro/settings/mcp.json` in this directory and in HOME, in this order.
"""

from __future__ import annotations

import os
import re

from . import formats, out
from .failures import Failure
from .places import kiro_home, settings_file
from .tools import NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .mcp_server import Server

DEFAULT_AGENT = "kiro_default"
#: Milliseconds for which servers are waited for, in a chat and without one, where the settings say nothing.
INIT_TIMEOUTS = {"mcp.initTimeout": 5_000, "mcp.noInteractiveTimeout": 30_000}
_FILE = os.path.join("settings", "mcp.json")
#: The names that the service takes for tools; what does not fit is left out of a name.
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]{0,63}")
_LATE = (
    "Not all mcp servers loaded. Configure non-interactive timeout with kiro-cli settings mcp.noInteractiveTimeout\n"
    "------\n"
)


class Servers:
    """The running servers of one agent, with their tools."""

    def __init__(self, running: list[Server]) -> None:
        self.running = running
        self.tools: dict[str, tuple[Server, str]] = {}
        for server in sorted(running, key=lambda one: one.name):
            for tool, description in server.tools.items():
                name = _shown_name(tool)
                # As the real program does: what the service would refuse, or has that name already, is left out.
                taken = name in NAMES.values() or name in self.tools
                if name and description and not taken and tool not in server.left_out:
                    self.tools[name] = server, tool

    def find(self, name: str) -> tuple[str, Server, str] | None:
        """Find the tool of that name: `@server/tool`, `server___tool`, or as the model sees it."""
        for shown, (server, tool) in self.tools.items():
            if name in (shown, f"@{server.name}/{tool}", f"{server.name}___{tool}"):
                return shown, server, tool
        return None

    def close(self) -> None:
        """End them all; they have a little time for it."""
        for server in self.running:
            server.close_input()
        for server in self.running:
            server.end()

    def kill(self) -> None:
        """End them at once."""
        for server in self.running:
            server.end(0)


def _shown_name(tool: str) -> str:
    """Return a tool's name as the model sees it; empty where it can have none."""
    if _NAME.fullmatch(tool):
        return tool
    kept = re.sub(r"[^a-zA-Z0-9_-]", "", tool)
    if kept and not kept[0].isalpha():
        kept = f"a{kept}"
    return kept if len(kept) <= 64 else ""


def begin(agent: dict[str, Any], *, required: bool = False, interactive: bool = False) -> Servers | None:
    """Start an agent's servers, and wait for them; None without any."""
    configured = _configured(agent)
    if not configured:
        return None
    from .mcp_server import Server

    seconds = _init_seconds("mcp.initTimeout" if interactive else "mcp.noInteractiveTimeout")
    servers = [Server(name, entry) for name, entry in configured.items()]
    try:
        for server in servers:
            server.start()
        _wait(servers, seconds)
        failed = [server for server in servers if server.error or not server.ready]
        for server in failed:
            why = server.error or f"no answer within {seconds:g} s"
            out.write(2, f"✗ {server.name} has failed to load after {server.age:.2f} s\n - {why}\n")
        if any(not server.error for server in failed):
            out.write(2, _LATE)
    except BaseException:
        Servers(servers).kill()
        raise
    if failed and required:
        Servers(servers).kill()
        names = ", ".join(f"'{server.name}'" for server in failed)
        raise Failure(f"error: MCP server {names} did not start, and --require-mcp-startup was given", 3)
    Servers(failed).kill()
    return Servers([server for server in servers if server not in failed])


def _wait(servers: list[Server], seconds: float) -> None:
    """Wait until each has its tools, or has failed."""
    import select
    import time

    end = time.monotonic() + seconds
    waiting = [server for server in servers if not server.error]
    while waiting and time.monotonic() < end:
        descriptors = {server.descriptor: server for server in waiting}
        for descriptor in select.select(list(descriptors), [], [], min(0.2, max(0.0, end - time.monotonic())))[0]:
            descriptors[descriptor].hear()
        waiting = [server for server in waiting if not server.error and not server.ready]


def _configured(agent: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Collect the servers by name; of two of one name the first counts."""
    sources = [agent.get("mcpServers")]
    own = agent.get("name") == DEFAULT_AGENT and "mcpServers" not in agent
    if own or agent.get("includeMcpJson") or agent.get("useLegacyMcpJson"):
        sources += [_of_file(os.path.join(".kiro", _FILE)), _of_file(os.path.join(kiro_home(), _FILE))]
    servers: dict[str, dict[str, Any]] = {}
    for source in sources:
        for name, entry in source.items() if isinstance(source, dict) else ():
            if isinstance(entry, dict):
                servers.setdefault(name, entry)
    return {name: entry for name, entry in servers.items() if entry.get("disabled") is not True}


def _of_file(path: str) -> Any:
    try:
        return formats.loads(formats.read(path)).get("mcpServers")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError) as error:
        out.write(2, f"WARNING: {path} could not be read: {error}\n")
        return None


def _init_seconds(key: str) -> float:
    try:
        value = formats.loads(formats.read(settings_file())).get(key)
    except (OSError, ValueError, AttributeError):
        value = None
    fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    return (value if fits else INIT_TIMEOUTS[key]) / 1000
