"""How a turn can end: its status, the cause where it did not complete, and what an exit code is called."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Status = Literal["completed", "failed", "timed_out", "stopped", "lost"]


class Cause(StrEnum):
    """Why a turn did not complete; `infrastructure` tells the world's fault from the agent's.

    >>> Cause.THROTTLED.infrastructure, Cause.OUT_OF_TIME.infrastructure
    (True, False)
    """

    AUTH = "auth"
    THROTTLED = "throttled"
    USAGE_LIMIT = "usage limit"
    CONNECTION = "connection"
    CRASH = "crash"
    MCP = "mcp start-up"
    REFUSED = "refused"
    IN_USE = "session in use"
    UNKNOWN_CLI = "unknown CLI"
    FILTERED = "content filter"
    HISTORY = "broken history"
    NEVER_STARTED = "never started"
    BUDGET = "budget"
    LIMIT = "limit"
    ALTERED = "altered"
    CONTEXT = "context overflow"
    GAVE_UP = "gave up"
    UNANSWERED = "unanswered"
    OUT_OF_TIME = "out of time"
    STALLED = "stalled"
    STOPPED = "stopped"

    @property
    def infrastructure(self) -> bool:
        """Whether nothing was learnt about the agent."""
        return self not in _AGENTS

    @property
    def passing(self) -> bool:
        """Whether the same turn, run again, may well complete: what `--kiro-retries` is for."""
        return self in (Cause.THROTTLED, Cause.CONNECTION, Cause.CRASH, Cause.MCP)

    @property
    def advice(self) -> str:
        """What to do about it, empty where only the transcript can tell."""
        return _ADVICE.get(self, "")


#: Those that the agent's own conduct brings about.
_AGENTS = (
    Cause.ALTERED,
    Cause.CONTEXT,
    Cause.GAVE_UP,
    Cause.UNANSWERED,
    Cause.OUT_OF_TIME,
    Cause.STALLED,
    Cause.STOPPED,
)
_ADVICE = {
    Cause.AUTH: "log kiro-cli in, or set a valid KIRO_API_KEY",
    Cause.THROTTLED: "run it again later, or fewer turns at once",
    Cause.USAGE_LIMIT: "wait for the plan's next month, or use another account",
    Cause.CONNECTION: "run it again; look at the network, and at whether the sandbox is still there",
    Cause.REFUSED: "look at the agent, the model and the other options of this turn",
    Cause.IN_USE: "end the process that has the session, remove the lock of one that is gone, or begin "
    "another kiro.conversation()",
    Cause.UNKNOWN_CLI: "name the engine that answers (--kiro-engine), install a version that is known "
    "(--kiro-cli-version), or let the stream prove its turns (--kiro-output=stream-json)",
    Cause.FILTERED: "look at what was asked and read: the service's content filter ended the answer; another model may "
    "have another one",
    Cause.HISTORY: "begin another kiro.conversation(), and have large files written in several steps",
    Cause.NEVER_STARTED: "look at the shell's start-up files in the sandbox's HOME; give it more time: timeout=...",
    Cause.BUDGET: "raise --kiro-budget, or run fewer turns",
    Cause.LIMIT: "raise the limit, or ask for less at once",
    Cause.ALTERED: "look at what it ran: it, or what it started, has removed what it ran in, or altered the files by "
    "which its end is known",
    Cause.CONTEXT: "ask for less at once, or begin another kiro.conversation()",
    Cause.UNANSWERED: "say in the prompt that nobody answers, and trust the tools that it may use: trust=...",
    Cause.OUT_OF_TIME: "give it more time: kiro.run(..., timeout=...), mark.kiro, or --kiro-timeout",
    Cause.STALLED: "give it more silence: --kiro-stall-timeout",
}


@dataclass(frozen=True)
class Ending:
    """How a turn ended: `detail` is the sentence for people, `proof` names what proves a completed one."""

    status: Status
    cause: Cause | None = None
    proof: str | None = None
    detail: str = ""


#: The exit code for arguments that it does not know.
USAGE_ERROR = 2
#: Documented for 3.x, 2 from the argument parser of its ancestor.
_EXIT_CODES = {
    0: "ended",
    1: "general failure",
    USAGE_ERROR: "usage error",
    3: "an MCP server did not start",
    4: "agent not found",
    126: "could not be executed",
    127: "not found",
    130: "interrupted",
    137: "killed",
    139: "segmentation fault",
    143: "terminated",
}


def exit_name(code: int | None) -> str:
    """Return an exit code with its name: `4, agent not found`."""
    if code is None:
        return "unknown"
    if code in _EXIT_CODES:
        return f"{code}, {_EXIT_CODES[code]}"
    return f"{code}, signal {code - 128}" if 128 < code < 192 else str(code)
