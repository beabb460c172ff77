"""What a turn leaves in the sandbox: its launch record, its session store, our files."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from pytest_kiro.agent.running import Limit
from pytest_kiro.errors import HIDE_FRAMES, SandboxError
from pytest_kiro.kirocli import layout, sessions
from pytest_kiro.kirocli.evidence import combine, contradict, judge
from pytest_kiro.sandbox.protocol import Sandbox
from pytest_kiro.secrecy.redaction import Secrets
from pytest_kiro.terminal.attach import Attached
from pytest_kiro.terminal.launch import Launch, LaunchRecord, read_launch_record
from pytest_kiro.terminal.text import plain_text
from pytest_kiro.turn.causes import Cause, Ending
from pytest_kiro.turn.transcript import Transcript

__tracebackhide__ = HIDE_FRAMES


@dataclass(frozen=True)
class Resume:
    """Where a turn goes on: a session, and how many prompts and turns of it are old."""

    session_id: str | None = None
    prompts: int = 0
    turns: int = 0


@dataclass(frozen=True)
class Aftermath:
    """What was left: the launch record, or None and why it could not be read."""

    record: LaunchRecord | None
    trouble: str = ""
    #: What kiro-cli wrote to a stderr that was kept apart, as text.
    diagnostics: str = ""


@dataclass(frozen=True)
class Watched:
    """What was asked, and seen while it ran; `lost` is whether the link was lost on the way."""

    prompt: str
    agent: str | None
    output: str
    transcript: Transcript | None
    ending: Ending | None
    exit_code: int | None
    lost: bool


@dataclass(frozen=True)
class Judgement:
    """What is known of a turn: Kiro's own records (None: nothing), how it ended, its exit status."""

    transcript: Transcript | None
    ending: Ending
    exit_code: int | None


def collect(sandbox: Sandbox, pty: Attached, launch: Launch, secrets: Secrets, timeout: float) -> Aftermath:
    """Return what the launch script wrote down; when Kiro was killed first, have it written now within `timeout`."""
    name = f"{sandbox.home}/{launch.folder}/record"
    if pty.launch_record is not None:
        return _aftermath(pty.launch_record, secrets)
    if not pty.started:
        return Aftermath(None, "it was ended before it began")
    try:
        try:
            data = sandbox.read_file(name)
        except FileNotFoundError:
            sandbox.exec(f'sh "$HOME"/{launch.folder}/launch collect', timeout=timeout)
            data = sandbox.read_file(name)
        return _aftermath(read_launch_record(data, launch.nonce), secrets)
    except (SandboxError, OSError, ValueError) as error:
        return Aftermath(None, f"what it left could not be read: {error}")


def _aftermath(record: LaunchRecord, secrets: Secrets) -> Aftermath:
    diagnostics = plain_text(secrets.data(record.diagnostics))
    # Once more, as colours may have stood in the middle of one.
    return Aftermath(record, diagnostics=secrets(diagnostics))


def clear(sandbox: Sandbox, launch: Launch) -> None:
    """Remove the files of a launch; a sandbox that is gone has taken them along, an agent may stand in the way."""
    with suppress(SandboxError, OSError):
        sandbox.remove(launch.folder)


def judged(watched: Watched, aftermath: Aftermath, launch: Launch, resume: Resume, *, engine: str) -> Judgement:
    """Put together what the sandbox kept and what was seen."""
    stores = aftermath.record.stores if aftermath.record else {}
    read = partial(sessions.read, stores, engine=engine, cwd=launch.workspace, prompt=watched.prompt)
    store = read(session_id=resume.session_id, prompts=resume.prompts, turns=resume.turns)
    stream = watched.transcript
    strayed = False
    if resume.session_id and (store is None or store.end_reason is None):
        other = read()
        if other is not None and other.session_id not in ("", resume.session_id):
            strayed, store = True, other
        elif stream is not None:  # of which no store has a record
            strayed = stream.session_id not in ("", resume.session_id)
            store = None if strayed else store
    trailer = layout.credits(watched.output) if engine == "v1" else None
    transcript = combine(store, stream, trailer)
    said = f"{watched.output}\n{aftermath.diagnostics}"
    exit_code, ending = _settled(watched, aftermath, transcript, said)
    ending = contradict(
        ending, transcript, agent=watched.agent, resumed=resume.session_id if strayed else None, output=said
    )
    return Judgement(transcript, ending, exit_code)


def stopped_late(judgement: Judgement, limits: Iterable[Limit]) -> Judgement:
    """Return what is known of a turn; a completed one is stopped when its record tells what was to stop it."""
    calls = judgement.transcript.tool_calls if judgement.transcript else ()
    for limit in limits if judgement.ending.status == "completed" else ():
        if limit.recorded is not None and limit.recorded(calls):
            detail = f"{limit.name} holds for what its record tells; it was not announced in time to stop it"
            return replace(judgement, ending=Ending("stopped", Cause.STOPPED, detail=detail))
    return judgement


def _settled(
    watched: Watched, aftermath: Aftermath, transcript: Transcript | None, said: str
) -> tuple[int | None, Ending]:
    record = aftermath.record
    status = record.status if record else None
    exit_code = watched.exit_code if status is None else status
    ending = watched.ending or judge(exit_code, transcript, said, watched.prompt)
    if ending.status == "lost" and status is not None:
        return exit_code, judge(exit_code, transcript, said, watched.prompt)  # it ended by itself: the sandbox tells
    if record is None and ending.status != "lost" and (watched.lost or ending.cause is Cause.CRASH):
        trouble = aftermath.trouble
        detail = f"{trouble}; before that: {ending.detail}" if ending.detail else trouble
        return exit_code, Ending("lost", Cause.CONNECTION, detail=detail)
    return exit_code, ending
