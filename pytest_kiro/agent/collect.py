"""What a turn leaves in the sandbox, and what is made of that and of what was seen."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from pytest_kiro.agent.live import LiveTurn
from pytest_kiro.agent.prepare import Resume
from pytest_kiro.errors import HIDE_FRAMES, SandboxError
from pytest_kiro.kirocli import layout, sessions
from pytest_kiro.kirocli.commands import Engine
from pytest_kiro.kirocli.evidence import combine, contradict, judge
from pytest_kiro.sandbox.protocol import Sandbox
from pytest_kiro.terminal.attach import Attached
from pytest_kiro.terminal.launch import Launch, LaunchRecord, read_launch_record
from pytest_kiro.terminal.text import Plain, fold
from pytest_kiro.turn.causes import Cause, Ending
from pytest_kiro.turn.transcript import Transcript

if TYPE_CHECKING:
    from pytest_kiro.agent.options import RunOptions
    from pytest_kiro.agent.stop import Condition
    from pytest_kiro.secrecy.redaction import Secrets

__tracebackhide__ = HIDE_FRAMES
_COLLECT_TIMEOUT = 60.0


@dataclass(frozen=True)
class Left:
    """What was left: the outcome, or None and why it could not be read."""

    outcome: LaunchRecord | None
    trouble: str = ""
    #: What kiro-cli wrote to a stderr that was kept apart, as text.
    diagnostics: str = ""


@dataclass(frozen=True)
class Account:
    """All that is known of a turn: what Kiro's records say (None: nothing), how it ended, and its exit status."""

    transcript: Transcript | None
    ending: Ending
    exit_code: int | None


def collect(sandbox: Sandbox, pty: Attached, launch: Launch, hide: Secrets) -> Left:
    """Return what the launch script wrote down; when Kiro was killed first, let it be written now."""
    name = f"{sandbox.home}/{launch.folder}/record"
    if pty.launch_record is not None:
        return _left(pty.launch_record, hide)
    if not pty.started:
        return Left(None, "it was ended before it began")
    try:
        try:
            data = sandbox.read_file(name)
        except FileNotFoundError:
            sandbox.exec(f'sh "$HOME"/{launch.folder}/launch collect', timeout=_COLLECT_TIMEOUT)
            data = sandbox.read_file(name)
        return _left(read_launch_record(data, launch.nonce), hide)
    except (SandboxError, OSError, ValueError) as error:
        return Left(None, f"what it left could not be read: {error}")


def _left(outcome: LaunchRecord, hide: Secrets) -> Left:
    diagnostics = fold(Plain().feed(hide.data(outcome.diagnostics), final=True))
    return Left(outcome, diagnostics=hide(diagnostics))  # once more, as colours may have stood in the middle of one


def clear(sandbox: Sandbox, launch: Launch) -> None:
    """Remove the files of a launch; a sandbox that is gone has taken them along, an agent may stand in the way."""
    with suppress(SandboxError, OSError):
        sandbox.remove(launch.folder)


def account(
    live: LiveTurn,
    left: Left,
    launch: Launch,
    engine: Engine,
    options: RunOptions,
    resume: Resume,
    *,
    lost: bool,
    hide: Secrets,
) -> Account:
    """Put together what the sandbox kept and what was seen; `lost` says whether the link was lost on the way.

    `hide` takes out what nobody shall read.
    """
    stores = left.outcome.stores if left.outcome else {}
    read = partial(sessions.read, stores, engine=engine.name, cwd=launch.workspace, prompt=live.prompt)
    store = read(session_id=resume.session_id, prompts=resume.prompts, turns=resume.turns)
    stream = live.printed.transcript()
    strayed = False
    if resume.session_id and (store is None or store.end_reason is None):
        other = read()
        if other is not None and other.session_id not in ("", resume.session_id):
            strayed, store = True, other
        elif stream is not None:  # of which no store has a record
            strayed = stream.session_id not in ("", resume.session_id)
            store = None if strayed else store
    trailer = layout.credits(live.output) if engine.name == "v1" else None
    told = combine(store, stream, trailer)
    said = f"{live.output}\n{left.diagnostics}"
    exit_code, ending = _settle(live, left, told, said, lost=lost)
    ending = contradict(ending, told, agent=options.agent, resumed=resume.session_id if strayed else None, output=said)
    return Account(hide.within(told), hide.within(ending), exit_code)


def stopped_late(told: Account, conditions: Iterable[Condition]) -> Account:
    """Return what is known of a turn; a completed one is stopped when its record tells what was to stop it."""
    calls = told.transcript.tool_calls if told.transcript else ()
    for condition in conditions if told.ending.status == "completed" else ():
        if condition.recorded is not None and condition.recorded(calls):
            detail = f"{condition.name} holds for what its record tells; it was not announced in time to stop it"
            return replace(told, ending=Ending("stopped", Cause.STOPPED, detail=detail))
    return told


def _settle(
    live: LiveTurn, left: Left, transcript: Transcript | None, said: str, *, lost: bool
) -> tuple[int | None, Ending]:
    outcome = left.outcome
    status = outcome.status if outcome else None
    exit_code = live.exit_code if status is None else status
    ending = live.ending or judge(exit_code, transcript, said, live.prompt)
    if ending.status == "lost" and status is not None:
        return exit_code, judge(exit_code, transcript, said, live.prompt)  # it ended by itself, and the sandbox tells
    if outcome is None and ending.status != "lost" and (lost or ending.cause is Cause.CRASH):
        detail = f"{left.trouble}; before that: {ending.detail}" if ending.detail else left.trouble
        return exit_code, Ending("lost", Cause.CONNECTION, detail=detail)
    return exit_code, ending
