"""Evaluate AWS Kiro's coding agent with pytest.

The names below are the public ones; they are imported when first used, since this package is imported in
every pytest run of its environment.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_kiro.agent.conversation import Conversation
    from pytest_kiro.agent.kiro import Kiro
    from pytest_kiro.agent.live import LiveTurn
    from pytest_kiro.agent.stop import Condition, on_calls, on_command, on_silence, on_text
    from pytest_kiro.agent.workspace import SandboxPath, Workspace
    from pytest_kiro.errors import (
        BudgetExceeded,
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
    )
    from pytest_kiro.kirocli.events import Event
    from pytest_kiro.kirocli.install import Installation
    from pytest_kiro.login.login import Identity
    from pytest_kiro.sandbox.protocol import CommandFailed, ExecResult, Provider, Pty, Sandbox, SandboxBase, SandboxSpec
    from pytest_kiro.settings.table import Settings
    from pytest_kiro.terminal.expect import Terminal
    from pytest_kiro.turn.causes import Cause
    from pytest_kiro.turn.changes import Changes
    from pytest_kiro.turn.errors import TurnError, TurnFailed, TurnTimeout
    from pytest_kiro.turn.transcript import ToolCall
    from pytest_kiro.turn.turn import Turn

_HOMES = {
    "turn.changes": ["Changes"],
    "agent.conversation": ["Conversation"],
    "agent.kiro": ["Kiro"],
    "agent.live": ["LiveTurn"],
    "agent.stop": ["Condition", "on_calls", "on_command", "on_silence", "on_text"],
    "turn.errors": ["TurnError", "TurnFailed", "TurnTimeout"],
    "turn.turn": ["Turn"],
    "agent.workspace": ["SandboxPath", "Workspace"],
    "kirocli.events": ["Event"],
    "turn.causes": ["Cause"],
    "kirocli.install": ["Installation"],
    "login.login": ["Identity"],
    "turn.transcript": ["ToolCall"],
    "errors": [
        "BudgetExceeded",
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
    ],
    "sandbox.protocol": ["CommandFailed", "ExecResult", "Provider", "Pty", "Sandbox", "SandboxBase", "SandboxSpec"],
    "settings.table": ["Settings"],
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
    "SandboxBase",
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
