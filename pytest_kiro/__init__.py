"""Evaluate AWS Kiro's coding agent with pytest.

The names below are the public ones; they are imported when first used, since this package is imported in
every pytest run of its environment.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_kiro.agent.changes import Changes
    from pytest_kiro.agent.conversation import Conversation
    from pytest_kiro.agent.kiro import Kiro
    from pytest_kiro.agent.live import LiveTurn
    from pytest_kiro.agent.stop import Condition, on_calls, on_command, on_silence, on_text
    from pytest_kiro.agent.turn import Turn
    from pytest_kiro.agent.workspace import SandboxPath, Workspace
    from pytest_kiro.cli.events import Event
    from pytest_kiro.cli.evidence import Cause
    from pytest_kiro.cli.install import Installation
    from pytest_kiro.cli.login import Identity
    from pytest_kiro.cli.transcript import ToolCall
    from pytest_kiro.errors import (
        BudgetExceeded,
        CommandFailed,
        ConversationError,
        InstallError,
        KiroError,
        LaunchError,
        LoginError,
        NotPrinted,
        PtyClosed,
        RecordingMiss,
        SandboxClosed,
        SandboxError,
        SandboxTimeout,
        SettingsError,
        SetupError,
        TurnError,
        TurnFailed,
        TurnTimeout,
    )
    from pytest_kiro.sandbox.protocol import ExecResult, Provider, Pty, Sandbox, SandboxSpec
    from pytest_kiro.settings import Settings
    from pytest_kiro.terminal.expect import Terminal

_HOMES = {
    "agent.changes": ["Changes"],
    "agent.conversation": ["Conversation"],
    "agent.kiro": ["Kiro"],
    "agent.live": ["LiveTurn"],
    "agent.stop": ["Condition", "on_calls", "on_command", "on_silence", "on_text"],
    "agent.turn": ["Turn"],
    "agent.workspace": ["SandboxPath", "Workspace"],
    "cli.events": ["Event"],
    "cli.evidence": ["Cause"],
    "cli.install": ["Installation"],
    "cli.login": ["Identity"],
    "cli.transcript": ["ToolCall"],
    "errors": [
        "BudgetExceeded",
        "CommandFailed",
        "ConversationError",
        "InstallError",
        "KiroError",
        "LaunchError",
        "LoginError",
        "NotPrinted",
        "PtyClosed",
        "RecordingMiss",
        "SandboxClosed",
        "SandboxError",
        "SandboxTimeout",
        "SettingsError",
        "SetupError",
        "TurnError",
        "TurnFailed",
        "TurnTimeout",
    ],
    "sandbox.protocol": ["ExecResult", "Provider", "Pty", "Sandbox", "SandboxSpec"],
    "settings": ["Settings"],
    "terminal.expect": ["Terminal"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "BudgetExceeded",
    "Cause",
    "Changes",
    "CommandFailed",
    "Condition",
    "Conversation",
    "ConversationError",
    "Event",
    "ExecResult",
    "Identity",
    "InstallError",
    "Installation",
    "Kiro",
    "KiroError",
    "LaunchError",
    "LiveTurn",
    "LoginError",
    "NotPrinted",
    "Provider",
    "Pty",
    "PtyClosed",
    "RecordingMiss",
    "Sandbox",
    "SandboxClosed",
    "SandboxError",
    "SandboxPath",
    "SandboxSpec",
    "SandboxTimeout",
    "Settings",
    "SettingsError",
    "SetupError",
    "Terminal",
    "ToolCall",
    "Turn",
    "TurnError",
    "TurnFailed",
    "TurnTimeout",
    "Workspace",
    "on_calls",
    "on_command",
    "on_silence",
    "on_text",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
