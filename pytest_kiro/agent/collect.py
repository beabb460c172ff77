"""What a turn leaves in the sandbox, and how that and what was seen become one value."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from pytest_kiro.agent.live import LiveTurn
from pytest_kiro.cli.evidence import Cause, Ending, judge
from pytest_kiro.cli.transcript import Transcript
from pytest_kiro.errors import HIDE_FRAMES, SandboxError
from pytest_kiro.sandbox.protocol import Sandbox
from pytest_kiro.terminal.attach import Attached
from pytest_kiro.terminal.launch import Launch, Outcome, read_outcome

__tracebackhide__ = HIDE_FRAMES
_COLLECT_TIMEOUT = 60.0


@dataclass(frozen=True)
class Left:
    """What was left: the outcome, or None and why it could not be read."""

    outcome: Outcome | None
    trouble: str = ""


def collect(sandbox: Sandbox, pty: Attached, launch: Launch) -> Left:
    """Return what the launch script wrote down; when Kiro was killed first, let it be written now."""
    name = f"{sandbox.home}/{launch.folder}/outcome"
    if pty.outcome is not None:
        return Left(pty.outcome)
    if not pty.started:
        return Left(None, "it was ended before it began")
    try:
        try:
            data = sandbox.read_file(name)
        except FileNotFoundError:
            sandbox.exec(f'sh "$HOME"/{launch.folder}/launch collect', timeout=_COLLECT_TIMEOUT)
            data = sandbox.read_file(name)
        return Left(read_outcome(data, launch.nonce))
    except (SandboxError, OSError, ValueError) as error:
        return Left(None, f"what it left could not be read: {error}")


def clear(sandbox: Sandbox, launch: Launch) -> None:
    """Remove the files of a launch; a sandbox that is gone has taken them along, an agent may stand in the way."""
    with suppress(SandboxError, OSError):
        sandbox.remove(launch.folder)


def settle(live: LiveTurn, left: Left, transcript: Transcript | None, *, lost: bool) -> tuple[int | None, Ending]:
    """Return the exit status and how the turn ended; `lost` says whether the link was lost on the way."""
    outcome = left.outcome
    status = outcome.status if outcome else None
    exit_code = live.exit_code if status is None else status
    ending = live.ending or judge(exit_code, transcript, live.output)
    if ending.status == "lost" and status is not None:
        return exit_code, judge(exit_code, transcript, live.output)  # it ended by itself, and the sandbox tells now
    if outcome is None and ending.status != "lost" and (lost or ending.cause is Cause.CRASH):
        detail = f"{left.trouble}; before that: {ending.detail}" if ending.detail else left.trouble
        return exit_code, Ending("lost", Cause.CONNECTION, detail=detail)
    return exit_code, ending
