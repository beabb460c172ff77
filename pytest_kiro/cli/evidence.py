"""From what a run left to how it ended: exit 0 proves nothing (contract T1).

kiro-cli exits with 0 after a throttled request, a used-up plan, an invalid key and a denied tool. So a turn
is completed only when its session store says that it ended well, and every other end gets a cause.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from pytest_kiro.cli.commands import exit_name
from pytest_kiro.cli.transcript import Transcript

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
    GAVE_UP = "gave up"
    OUT_OF_TIME = "out of time"
    STALLED = "stalled"
    STOPPED = "stopped"

    @property
    def infrastructure(self) -> bool:
        """Whether nothing was learnt about the agent."""
        return self not in (Cause.GAVE_UP, Cause.OUT_OF_TIME, Cause.STALLED, Cause.STOPPED)

    @property
    def advice(self) -> str:
        """What to do about it, empty where only the transcript can tell."""
        return _ADVICE.get(self, "")


_ADVICE = {
    Cause.AUTH: "log kiro-cli in, or set a valid KIRO_API_KEY",
    Cause.THROTTLED: "run it again later, or fewer turns at once",
    Cause.USAGE_LIMIT: "wait for the plan's next month, or use another account",
    Cause.CONNECTION: "run it again; look at the network, and at whether the sandbox is still there",
    Cause.REFUSED: "look at the agent, the model and the other options of this turn",
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


#: What kiro-cli prints, on versions 2.0 to 2.29 and its ancestor, when the world was at fault.
_SAYINGS = (
    (
        Cause.THROTTLED,
        r"request was throttled by the service|Too many requests, please wait|Request quota exceeded",
    ),
    (Cause.USAGE_LIMIT, r"monthly (?:usage|request) limit (?:has been )?reached"),
    (
        Cause.AUTH,
        r"Authentication failed\. Your API key|You are not logged in|Not logged in\. Set the KIRO_API_KEY"
        r"|bearer token included in the request is invalid|Failed to open browser for authentication",
    ),
    (Cause.REFUSED, r"Model '[^']*' does not exist|agent \"?[^\n\"]*\"? not found|Session not found"),
    (Cause.CRASH, r"Kiro is having trouble responding|model you've selected is temporarily unavailable"),
)
_BY_EXIT_CODE = {2: Cause.REFUSED, 3: Cause.MCP, 4: Cause.REFUSED}
_DEVICE_LOGIN = re.compile(r"Confirm the following code in the browser\s+Code: \S+\s+Open this URL:")
#: A login stands at the start of an output, within so many characters; later on it is an answer that quotes one.
LOGIN_WITHIN = 4096


def waits_for_login(output: str) -> bool:
    """Whether the CLI, instead of answering, shows a device code and waits for a human."""
    return bool(_DEVICE_LOGIN.search(output[:LOGIN_WITHIN]))


def judge(exit_code: int | None, transcript: Transcript | None, output: str) -> Ending:
    """Say how a turn ended that nobody stopped.

    `exit_code` is None when it was lost; `output` is what was printed, of which only the end is looked at,
    and only without proof: an agent may talk about throttling.
    """
    if exit_code is None:
        return Ending("lost", Cause.CONNECTION, detail="the link to the sandbox was lost and no exit status was kept")
    proven = transcript is not None and transcript.finished and transcript.end_reason == "UserTurnEnd"
    if exit_code == 0 and proven:
        return Ending("completed", proof="session")
    if waits_for_login(output):
        return Ending("failed", Cause.AUTH, detail="kiro-cli is not logged in and waited for a device login")
    failure = (transcript.failure if transcript else None) or ""
    for cause, saying in _SAYINGS:
        if found := re.search(saying, f"{failure}\n{output[-4096:]}", re.IGNORECASE):
            return Ending("failed", cause, detail=f"kiro-cli said: {found[0]}")
    named = exit_name(exit_code)
    if exit_code != 0:
        cause = _BY_EXIT_CODE.get(exit_code, Cause.CRASH)
        return Ending("failed", cause, detail=f"kiro-cli exited with {named}")
    if transcript is None or transcript.end_reason is None:
        return Ending("failed", Cause.CRASH, detail="kiro-cli exited with 0, but its session store has no such turn")
    cause = {"Cancelled": Cause.STOPPED, "ToolUseRejected": Cause.GAVE_UP}.get(transcript.end_reason, Cause.CRASH)
    detail = f"kiro-cli exited with 0, but its session store says {transcript.end_reason} {failure}".rstrip()
    return Ending("failed", cause, detail=detail)
