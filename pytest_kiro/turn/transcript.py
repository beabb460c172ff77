"""What a turn says of itself in kiro-cli's own records, as values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Literal

from pytest_kiro.secrecy.visible import escaped
from pytest_kiro.turn.warnings import Warnings

ToolStatus = Literal["completed", "failed", "denied", "unfinished"]


@dataclass(frozen=True)
class ToolCall:
    """One use of a tool.

    `name` is engine V2's word (read, write, shell, grep, glob, @server/tool) on every engine, `raw_name` what
    the record says; `input` its arguments; `output` what came back, as text; `status` is completed, failed,
    denied, or unfinished when the turn ended first; `exit_code` belongs to a shell command: one that exits
    with 1 is completed; `duration` is in seconds, None where the engine keeps none; `calls` are those of
    the sub-agents that it started; `agent` names the sub-agent, the workflow's node or the other agent that made it,
    and is empty for the conversation's own; `after` is how many of its agent's messages stand before it, None where
    nothing tells.

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
    agent: str = ""
    after: int | None = field(default=None, compare=False)

    @property
    def command(self) -> str | None:
        """The command line, of a shell call."""
        command = self.input.get("command") if self.name == "shell" else None
        return command if isinstance(command, str) else None

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths in its input, as they stand there: V2's `read` may be given several, and so may V3's."""
        operations, more = (_items(self.input.get(name)) for name in ("operations", "paths"))
        paths = [self.input.get("path"), *(one.get("path") for one in operations if isinstance(one, dict)), *more]
        return tuple(path for path in paths if isinstance(path, str) and path)

    def __repr__(self) -> str:
        what = self.command or ", ".join(self.paths) or self.input.get("pattern") or ""
        code = "" if self.exit_code is None else f" exit_code={self.exit_code}"
        inner = f" calls={len(self.calls)}" if self.calls else ""
        return f"<ToolCall {escaped(self.name)} {str(what)[:120]!r} {self.status}{code}{inner}>"


def _items(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list | tuple) else ()


@dataclass(frozen=True)
class Fallback:
    """A move to another model in the middle of a turn.

    `model` is where to, None where no name is told; `own` is False where only an agent of the turn was moved.
    """

    cause: str
    model: str | None
    own: bool = True


@dataclass(frozen=True)
class Transcript:
    """One turn as the session store, or the event stream, has it.

    `session_id` is empty where nothing names one; `messages` are the assistant's, in order; `turns` counts the
    finished turns of the session and `prompts` all that were begun (0 in a stream, which knows only its own);
    `finished` says whether the record of this very turn says that it ended well, `end_reason` (UserTurnEnd,
    ToolUseRejected, Cancelled, Error, …) and `failure` how it ended, `stage` in which part of a run it failed
    (engine, init, prompt; only a stream tells); `agent` which one answered, None where nothing says it; `proof` what
    proves a good end (session, runFinished, credits); `credits` is None where nothing was metered, and
    `credits_source` says where it stands (see `Turn`); `counted` is what of the session is counted by now, where the
    session itself keeps count; `model` is what answered last, and only an event stream has a `fallback`; `duration` is
    in seconds; `agents` are what sub-agents, workflow nodes and other agents said, by their names; `steering` and
    `servers` are steering files and MCP servers that the record names; `effort` and `features` are what the session was
    set to, where it says so.
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
    agents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    effort: str | None = None
    features: tuple[str, ...] = ()
    steering: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    credits_source: str = ""
    counted: Decimal | None = field(default=None, compare=False)
    fallback: Fallback | None = None

    def warned(self, lines: Iterable[str]) -> Transcript:
        """Return it with more warnings."""
        return replace(self, warnings=tuple(Warnings([*self.warnings, *lines])))

    def charged(self, credits: Decimal | None, source: str) -> Transcript:
        """Return it with what it cost, if anything was metered."""
        return self if credits is None else replace(self, credits=float(credits), credits_source=source)
