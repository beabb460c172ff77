"""One prompt on its way to kiro-cli and back: prepared, started, landed as a turn."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from secrets import token_hex

from pytest_kiro.agent.aftermath import Aftermath, Judgement, Resume, Watched, clear, collect, judged, stopped_late
from pytest_kiro.agent.bench import Bench, Conversing
from pytest_kiro.agent.options import RunOptions
from pytest_kiro.agent.printed import Printed
from pytest_kiro.agent.running import Limit, Patience, Running
from pytest_kiro.errors import HIDE_FRAMES, LoginError, SettingsError
from pytest_kiro.kirocli import commands
from pytest_kiro.standin.scenario import Reply
from pytest_kiro.terminal.attach import attach
from pytest_kiro.terminal.launch import Launch
from pytest_kiro.turn.calls import ToolCalls
from pytest_kiro.turn.changes import Changes
from pytest_kiro.turn.transcript import Transcript
from pytest_kiro.turn.turn import Turn

__tracebackhide__ = HIDE_FRAMES


@dataclass(frozen=True)
class Request:
    """What one turn is asked: its prompt, how it is run, what stops it.

    `number` counts from 1 in the conversation; `resume` is where it goes on; `history` says what a reader should know
    of how this turn came about; `reply` is what a scripted kiro-cli answers.
    """

    prompt: str
    options: RunOptions
    limits: tuple[Limit, ...]
    number: int
    resume: Resume
    history: tuple[str, ...] = ()
    reply: Reply | None = None


@dataclass(frozen=True)
class Landed:
    """What came of a flight: the turn, and what the conversation learns from it.

    `resume` is where the next turn goes on; `untouched` is whether Kiro did nothing, as far as anything tells;
    `renewed` is whether the turn was refused, and a newer login has come since.
    """

    turn: Turn
    resume: Resume
    untouched: bool
    renewed: bool

    @property
    def may_fly_again(self) -> bool:
        """Whether the same prompt may well complete in a fresh session."""
        cause = self.turn.cause
        return not self.turn.ok and self.untouched and (self.renewed or (cause is not None and cause.passing))


class Flight:
    """One turn from its start to its landing; whatever happens, what was opened for it is closed."""

    def __init__(self, bench: Bench, conversation: Conversing, request: Request) -> None:
        self.request, self.name = request, conversation.owner.name
        self._bench, self._conversation = bench, conversation
        self._launch = _launch(bench, conversation, request)
        self.printed = Printed(bench.engine.name, bench.secrets, stream=bench.streams)
        self._spending: str | None = bench.budget.admit(self.name)
        self._began = self._brought = False
        with ExitStack() as undo:
            undo.callback(self._spend, None)
            undo.callback(self._clear)
            bench.sandbox.keep_alive(request.options.timeout)
            self._pty = attach(bench.sandbox, self._launch, size=bench.settings.terminal, waits=bench.settings.waits)
            self._began = True
            with ExitStack() as broken:
                broken.callback(self._pty.close)
                for observer in bench.observers:
                    observer.started(conversation, request.prompt)
                broken.pop_all()
            self._undo = undo.pop_all()
        settings = bench.settings
        patience = Patience(request.options.timeout, settings.stall_timeout, request.limits, settings.waits)
        self.running = Running(self._pty, patience)

    @property
    def held_for(self) -> float:
        """Seconds of silence after which the beginning of a secret is shown."""
        return self._bench.settings.waits.held_for

    def tell(self, text: str) -> None:
        """Pass on what was printed."""
        for observer in self._bench.observers:
            observer.printed(self._conversation, text)

    def refusal(self, turn: Turn) -> LoginError | None:
        """Return what a refused turn means where the login is none."""
        return self._bench.admission.refusal(turn)

    def land(self) -> Landed:
        """Collect what the ended turn left, and make it a value."""
        bench, request = self._bench, self.request
        self._conversation.workspace.made |= self._pty.started
        with self._undo:
            waits = bench.settings.waits
            aftermath = collect(bench.sandbox, self._pty, self._launch, bench.secrets, waits.collect)
            self._brought = self._pty.launch_record is not None
            bench.admission.keep_in_step()
            judgement = judged(self._watched(), aftermath, self._launch, request.resume, engine=bench.engine.name)
            judgement = stopped_late(bench.secrets.within(judgement), request.limits)
            turn = self._turn(aftermath, judgement)
            self._spend(turn)
        return Landed(
            turn,
            resume=_resume(turn, judgement.transcript, request.resume),
            untouched=turn.known_changes == Changes() and not turn.tool_calls and not self.printed.announced,
            renewed=bench.admission.heard(turn),
        )

    def abandon(self) -> None:
        """End the program without asking what it left."""
        with self._undo:
            self.running.kill()

    def _watched(self) -> Watched:
        running = self.running
        return Watched(
            prompt=self.request.prompt,
            agent=self.request.options.agent,
            output=self.printed.text,
            transcript=self.printed.transcript(),
            ending=running.ending,
            exit_code=running.exit_code,
            lost=bool(self._pty.warnings),
        )

    def _turn(self, aftermath: Aftermath, judgement: Judgement) -> Turn:
        bench, request, pty = self._bench, self.request, self._pty
        workspace, record, ending = self._conversation.workspace, aftermath.record, judgement.ending
        transcript = judgement.transcript or Transcript("")
        changes = workspace.ledger.record(record.before, record.after) if record else None
        if not pty.started and ending.status != "lost":
            changes = Changes()  # it never began; of what is lost nothing is known
        turn = Turn(
            prompt=bench.secrets(request.prompt),
            number=request.number,
            output=self.printed.text,
            raw=self.printed.data,
            truncated=self.printed.truncated or pty.cut,
            diagnostics=aftermath.diagnostics,
            exit_code=judgement.exit_code,
            status=ending.status,
            cause=ending.cause,
            detail=ending.detail,
            proof=ending.proof,
            duration=self.running.duration,
            first_output_after=self.running.first_output_after,
            messages=transcript.messages,
            tool_calls=ToolCalls(transcript.tool_calls, folder=self._launch.workspace),
            credits=transcript.credits,
            model=transcript.model,
            engine=bench.engine.name,
            version=bench.installation.version,
            session_id=transcript.session_id or None,
            known_changes=changes,
            warnings=(*request.history, *map(bench.secrets, pty.warnings), *transcript.warnings),
            home=self._conversation,
        )
        if changes is None:
            workspace.ledger.miss(turn.summary)
        return turn

    def _spend(self, turn: Turn | None) -> None:
        """Enter into the budget, once, what the turn cost; the records of one that was ended may not say."""
        spending, self._spending = self._spending, None
        if spending is None:
            return
        budget = self._bench.budget
        if not self._began or self._bench.scripted or (turn is not None and (turn.ok or turn.credits is not None)):
            budget.settle(spending, turn.credits if turn else None)
        else:
            budget.forfeit(spending)

    def _clear(self) -> None:
        if not self._brought:  # else our files are gone already
            clear(self._bench.sandbox, self._launch)


def _resume(turn: Turn, transcript: Transcript | None, before: Resume) -> Resume:
    """Return where the next turn goes on: only what completed with proof can be resumed (contract C2)."""
    session = transcript.session_id if transcript else ""
    if transcript and session and (turn.ok or session == before.session_id):
        return Resume(session, transcript.prompts, transcript.turns)
    return before


def _launch(bench: Bench, conversation: Conversing, request: Request) -> Launch:
    """Return how to start Kiro for one prompt."""
    options, nonce = request.options, token_hex(8)
    folder = f".local/state/{nonce}"  # not a cache: an agent may clear those
    files, scripted = answers(bench, folder, request.reply)
    env = {"PATH": bench.path, **commands.QUIET, **options.env, **scripted}
    words = commands.chat(
        bench.engine,
        stream=bench.streams,
        resume=request.resume.session_id,
        agent=options.agent,
        model=options.model,
        effort=options.effort,
        trust=options.trust,
    )
    path, make = conversation.workspace.for_launch()
    return Launch(
        argv=(bench.installation.path, *words),
        workspace=path,
        folder=folder,
        nonce=nonce,
        stdin=commands.check_prompt(request.prompt),
        env=env,
        hidden_env=bench.identity.env,
        stores=bench.engine.stores_for(env, path),
        files=files,
        make=make,
        durable=bench.sandbox.remote,
        apart=bench.streams,
    )


def answers(bench: Bench, folder: str, reply: Reply | None) -> tuple[dict[str, bytes], dict[str, str]]:
    """Return the files and variables that tell a scripted kiro-cli its answers: none for a model."""
    if reply is None:
        return {}, {}
    if not bench.installation.scripted:
        _check_real(bench, reply)
    env = {commands.REPLIES: f"{bench.sandbox.home}/{folder}/replies.json"}
    if reply.misbehave:
        env[commands.MISBEHAVE] = json.dumps(dict(reply.misbehave))
    return {"replies.json": reply.mock_json()}, env


def _check_real(bench: Bench, reply: Reply) -> None:
    """Refuse what only the stand-in can do: the real CLI would say or ignore it."""
    if not bench.engine.scripted:
        raise SettingsError(
            f"--kiro-replies=scenario: engine {bench.engine.name} of the real kiro-cli takes no scripted replies",
            advice="use --kiro-engine=v2 or v1, or --kiro-cli=scripted",
        )
    if reply.recalls:
        what = "{recall:…}, which only the stand-in can answer"
    elif reply.misbehave:
        what = f"misbehave ({', '.join(reply.misbehave)}), which only the stand-in does"
    else:
        return
    raise SettingsError(
        f"{reply.source} has {what}, but kiro-cli {bench.installation.version} is the real one",
        advice="leave it out, or use --kiro-cli=scripted",
    )
