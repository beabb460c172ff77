"""What a turn says of itself in kiro-cli's own records, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pytest_kiro.secrecy.visible import escaped

ToolStatus = Literal["completed", "failed", "denied", "unfinished"]


@dataclass(frozen=True)
class ToolCall:
    """One use of a tool.

    `name` is engine V2's word (read, write, shell, grep, glob, @server/tool) on every engine, `raw_name` what
    the record says; `input` its arguments; `output` what came back, as text; `status` is completed, failed,
    denied, or unfinished when the turn ended first; `exit_code` belongs to a shell command: one that exits
    with 1 is completed; `duration` is in seconds, None where the engine keeps none; `calls` are those of
    the sub-agents that it started.

    >>> ToolCall("shell", "shell", {"command": "ls"}, "a.txt\\n", "completed", exit_code=0).command
    'ls'
    """

    name: str
    raw_name: str
    input: Mapping[str, Any]
    output: str
    status: ToolStatus
    exit_code: int | None = None
    duration: float | None = None
    calls: tuple[ToolCall, ...] = ()

    @property
    def command(self) -> str | None:
        """The command line, of a shell call."""
        command = self.input.get("command") if self.name == "shell" else None
        return command if isinstance(command, str) else None

    def __repr__(self) -> str:
        what = self.command or self.input.get("path") or self.input.get("pattern") or ""
        code = "" if self.exit_code is None else f" exit_code={self.exit_code}"
        inner = f" calls={len(self.calls)}" if self.calls else ""
        return f"<ToolCall {escaped(self.name)} {str(what)[:120]!r} {self.status}{code}{inner}>"


@dataclass(frozen=True)
class Transcript:
    """One turn as the session store, or the event stream, has it.

    `session_id` is empty where nothing names one; `messages` are the assistant's, in order; `turns` counts the
    finished turns of the session and `prompts` all that were begun (0 in a stream, which knows only its own);
    `finished` says whether the record of this very turn says that it ended well, `end_reason` (UserTurnEnd,
    ToolUseRejected, Cancelled, Error, …) and `failure` how it ended, `stage` in which part of a run it failed
    (engine, init, prompt; only a stream tells); `agent` which one answered, None where nothing says it; `proof` what
    proves a good end (session, runFinished, credits); `credits` is None where nothing was metered; `duration` is in
    seconds.
    """

    session_id: str
    prompts: int = 0
    turns: int = 0
    messages: tuple[str, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    finished: bool = False
    end_reason: str | None = None
    failure: str | None = None
    credits: float | None = None
    model: str | None = None
    duration: float | None = None
    warnings: tuple[str, ...] = field(default=(), compare=False)
    stage: str | None = None
    agent: str | None = None
    proof: str = "session"
