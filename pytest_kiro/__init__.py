"""Evaluate AWS Kiro's coding agent with pytest.

The names below are the public ones; they are imported when first used, since this package is imported in
every pytest run of its environment.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_kiro.agent.conversation import Conversation as Conversation
    from pytest_kiro.agent.kiro import Kiro as Kiro
    from pytest_kiro.agent.live import Condition as Condition
    from pytest_kiro.agent.live import LiveTurn as LiveTurn
    from pytest_kiro.agent.paths import SandboxPath as SandboxPath
    from pytest_kiro.agent.stop import on_calls as on_calls
    from pytest_kiro.agent.stop import on_command as on_command
    from pytest_kiro.agent.stop import on_silence as on_silence
    from pytest_kiro.agent.stop import on_text as on_text
    from pytest_kiro.agent.workspace import Workspace as Workspace
    from pytest_kiro.errors import BudgetExceeded as BudgetExceeded
    from pytest_kiro.errors import ConversationError as ConversationError
    from pytest_kiro.errors import InstallError as InstallError
    from pytest_kiro.errors import KiroError as KiroError
    from pytest_kiro.errors import LaunchError as LaunchError
    from pytest_kiro.errors import LimitReached as LimitReached
    from pytest_kiro.errors import LoginError as LoginError
    from pytest_kiro.errors import NotPrinted as NotPrinted
    from pytest_kiro.errors import NotRecorded as NotRecorded
    from pytest_kiro.errors import PtyClosed as PtyClosed
    from pytest_kiro.errors import RecordingMiss as RecordingMiss
    from pytest_kiro.errors import SandboxClosed as SandboxClosed
    from pytest_kiro.errors import SandboxError as SandboxError
    from pytest_kiro.errors import SandboxTimeout as SandboxTimeout
    from pytest_kiro.errors import SettingsError as SettingsError
    from pytest_kiro.errors import SetupError as SetupError
    from pytest_kiro.kirocli.events import Event as Event
    from pytest_kiro.kirocli.install import Installation as Installation
    from pytest_kiro.login.login import Identity as Identity
    from pytest_kiro.sandbox.protocol import CommandFailed as CommandFailed
    from pytest_kiro.sandbox.protocol import ExecResult as ExecResult
    from pytest_kiro.sandbox.protocol import Provider as Provider
    from pytest_kiro.sandbox.protocol import Pty as Pty
    from pytest_kiro.sandbox.protocol import Sandbox as Sandbox
    from pytest_kiro.sandbox.protocol import SandboxBase as SandboxBase
    from pytest_kiro.sandbox.protocol import SandboxSpec as SandboxSpec
    from pytest_kiro.settings.table import Settings as Settings
    from pytest_kiro.terminal.expect import Terminal as Terminal
    from pytest_kiro.turn.causes import Cause as Cause
    from pytest_kiro.turn.changes import Changes as Changes
    from pytest_kiro.turn.loaded import Loaded as Loaded
    from pytest_kiro.turn.provenance import Provenance as Provenance
    from pytest_kiro.turn.transcript import ToolCall as ToolCall
    from pytest_kiro.turn.turn import Turn as Turn
    from pytest_kiro.turn.turn import TurnError as TurnError
    from pytest_kiro.turn.turn import TurnFailed as TurnFailed
    from pytest_kiro.turn.turn import TurnTimeout as TurnTimeout

_HOMES = {
    "agent.conversation": "Conversation",
    "agent.kiro": "Kiro",
    "agent.live": "Condition LiveTurn",
    "agent.stop": "on_calls on_command on_silence on_text",
    "agent.paths": "SandboxPath",
    "agent.workspace": "Workspace",
    "errors": (
        "BudgetExceeded ConversationError InstallError KiroError LaunchError LimitReached LoginError NotPrinted "
        "NotRecorded PtyClosed RecordingMiss SandboxClosed SandboxError SandboxTimeout SettingsError SetupError"
    ),
    "kirocli.events": "Event",
    "kirocli.install": "Installation",
    "login.login": "Identity",
    "sandbox.protocol": "CommandFailed ExecResult Provider Pty Sandbox SandboxBase SandboxSpec",
    "settings.table": "Settings",
    "terminal.expect": "Terminal",
    "turn.causes": "Cause",
    "turn.changes": "Changes",
    "turn.loaded": "Loaded",
    "turn.provenance": "Provenance",
    "turn.transcript": "ToolCall",
    "turn.turn": "Turn TurnError TurnFailed TurnTimeout",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
