"""A `Conversation`: the turns that know of each other, in one workspace (contract C)."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack

from pytest_kiro.agent.collect import Left, clear, collect, settle
from pytest_kiro.agent.live import LiveTurn
from pytest_kiro.agent.options import RunArguments, RunOptions
from pytest_kiro.agent.owner import Owner
from pytest_kiro.agent.turn import Turn
from pytest_kiro.agent.workspace import Workspace
from pytest_kiro.cli import commands, sessions
from pytest_kiro.cli.transcript import Transcript
from pytest_kiro.errors import HIDE_FRAMES, ConversationError
from pytest_kiro.scripted import scenario
from pytest_kiro.terminal.attach import Attached, attach
from pytest_kiro.terminal.launch import Launch

if TYPE_CHECKING:
    from pytest_kiro.agent.kiro import Kiro

__tracebackhide__ = HIDE_FRAMES


class _Resume(NamedTuple):
    """Where the next turn goes on: a session, and how much of it is old."""

    session_id: str | None = None
    prompts: int = 0
    turns: int = 0


class Conversation:
    """The turns of one owner that remember each other; `kiro.conversation()` begins one more.

    >>> def test_go_on(kiro, shop):  # shop: a module fixture that returned a turn
    ...     assert shop.conversation.run("Add a test for negative prices.").ok
    """

    def __init__(
        self,
        kiro: Kiro,
        owner: Owner,
        *,
        workspace: str | None = None,
        options: Mapping[str, Any] | None = None,
        on_end: Callable[[Conversation], None] = lambda _: None,
    ) -> None:
        self.turns: list[Turn] = []
        self._kiro, self._owner = kiro, owner
        self._seed, self._given = workspace, options or {}
        owner.conversations.append(self)
        self._number = len(owner.conversations)
        self._workspace: Workspace | None = None
        self._defaults: RunOptions | None = None
        self._resume = _Resume()
        self._broken: str | None = None
        self._flight = threading.Lock()
        self._making = threading.Lock()
        self._live: LiveTurn | None = None
        self._on_end = on_end

    def __repr__(self) -> str:
        turns = len(self.turns)
        return f"<Conversation {self._number} of {self._owner.name}, {turns} turn{'s' * (turns != 1)}>"

    @property
    def kiro(self) -> Kiro:
        """The agent it is with."""
        return self._kiro

    @property
    def owner(self) -> Owner:
        """The test or fixture that it belongs to."""
        return self._owner

    @property
    def workspace(self) -> Workspace:
        """The folder that its turns work in; seeded when first asked for, and made when first used."""
        with self._making:
            if self._workspace is None:
                self._check_usable()
                seed = self._seed if self._seed is not None else self._owner.marker().get("workspace")
                kiro = self._kiro
                self._workspace = Workspace.seeded(kiro.sandbox, kiro.work, self._owner.file.parent, seed)
            return self._workspace

    def run(self, prompt: str, *, check: bool = True, **options: Unpack[RunArguments]) -> Turn:
        """Run one prompt in this conversation; see `Kiro.run`."""
        live = self.stream(prompt, check=check, **options)
        try:
            return live.finish()
        except BaseException:
            live.abort()
            raise

    def stream(self, prompt: str, *, check: bool = True, **options: Unpack[RunArguments]) -> LiveTurn:
        """Run one prompt in this conversation and watch it; see `Kiro.stream`."""
        data = commands.check_prompt(prompt)
        merged = self._options().merged(options, "kiro.run")
        if not self._flight.acquire(blocking=False):
            raise ConversationError(
                f"{self} already has a turn in flight; wait for it, or use another kiro.conversation()"
            )
        try:
            self._check_usable()
            return self._start(prompt, data, merged, check)
        except BaseException:
            self._break_off()
            raise

    def end(self) -> None:
        """End a turn in flight and remove the workspace; idempotent."""
        self._break_off()
        if self._workspace is not None:
            self._workspace.remove()
        self._on_end(self)

    # -- one turn

    def _options(self) -> RunOptions:
        if self._defaults is None:
            marker = {name: value for name, value in self._owner.marker().items() if name != "workspace"}
            self._defaults = (
                RunOptions.of(self._kiro.settings)
                .merged(self._owner.run_args(), "kiro_run_args")
                .merged(marker, "mark.kiro")
                .merged(self._given, "kiro.conversation")
            )
        return self._defaults

    def _check_usable(self) -> None:
        if self._broken is not None:
            raise ConversationError(f"{self} cannot go on: {self._broken}; begin another kiro.conversation()")
        if self._owner.ended:
            raise ConversationError(
                f"{self} is over: its owner has ended and its workspace is removed; "
                "a fixture of a wider scope keeps one longer"
            )

    def _start(self, prompt: str, data: bytes, options: RunOptions, check: bool) -> LiveTurn:
        kiro, settings = self._kiro, self._kiro.settings
        launch = self._launch(data, options)
        kiro.sandbox.keep_alive(options.timeout)
        try:
            pty = attach(kiro.sandbox, launch, size=settings.terminal)
        except BaseException:
            clear(kiro.sandbox, launch)
            raise
        self._live = live = LiveTurn(
            pty,
            prompt=prompt,
            name=self._owner.name,
            timeout=options.timeout,
            stall_timeout=settings.stall_timeout,
            check=check,
            observers=kiro.observers,
            complete=lambda live: self._complete(live, pty, launch),
            abandon=lambda: self._abandon(launch),
            release=self._land,
        )
        try:
            for observer in kiro.observers:
                observer.started(self, prompt)
        except BaseException:
            self._live = None  # nobody has seen it: the conversation may go on
            pty.close()
            clear(kiro.sandbox, launch)
            raise
        return live

    def _launch(self, stdin: bytes, options: RunOptions) -> Launch:
        kiro = self._kiro
        nonce = secrets.token_hex(8)
        folder = f".local/state/{nonce}"  # not a cache: an agent may clear those
        env = {"PATH": kiro.path, **commands.QUIET, **options.env}
        files: dict[str, bytes] = {}
        if kiro.installation.scripted:
            reply = self._reply()
            files["replies.json"] = reply.mock_json()
            env[commands.REPLIES] = f"{kiro.sandbox.home}/{folder}/replies.json"
            if reply.misbehave:
                env[commands.MISBEHAVE] = json.dumps(dict(reply.misbehave))
        words = commands.chat(
            resume=self._resume.session_id,
            agent=options.agent,
            model=options.model,
            effort=options.effort,
            trust=options.trust,
        )
        workspace, make = self.workspace.for_launch()
        return Launch(
            argv=(kiro.installation.path, *words),
            workspace=workspace,
            folder=folder,
            nonce=nonce,
            stdin=stdin,
            env=env,
            secrets=kiro.identity.env,
            stores=(commands.SESSIONS,),
            files=files,
            make=make,
            durable=kiro.sandbox.remote,
        )

    def _reply(self) -> scenario.Reply:
        owner = self._owner
        file = owner.file.parent / self._kiro.settings.scenarios / f"{owner.file.stem}.toml"
        # A test without trials is its own first one.
        return scenario.find(file, owner.tables, conversation=self._number, turn=len(self.turns) + 1, trial=1)

    def _complete(self, live: LiveTurn, pty: Attached, launch: Launch) -> Turn:
        """Collect what the turn left and make it a value."""
        self.workspace.made |= pty.started
        try:
            left = collect(self._kiro.sandbox, pty, launch)
            turn, transcript = self._turn(live, pty, launch, left)
            self.turns.append(turn)
            self._remember(turn, transcript)
            return turn
        finally:
            if pty.outcome is None:  # else they are gone already
                clear(self._kiro.sandbox, launch)
            self._live = None

    def _abandon(self, launch: Launch) -> None:
        self._broken = "a turn of it was broken off"
        clear(self._kiro.sandbox, launch)
        self._live = None
        self._land()

    def _break_off(self) -> None:
        """End a turn in flight, wherever Ctrl-C found it; idempotent."""
        if self._live is not None:
            self._live.abort()
        self._land()

    def _land(self) -> None:
        with suppress(RuntimeError):  # it has landed already
            self._flight.release()

    def _turn(self, live: LiveTurn, pty: Attached, launch: Launch, left: Left) -> tuple[Turn, Transcript | None]:
        workspace, resume, outcome = self.workspace, self._resume, left.outcome
        transcript = sessions.read(
            outcome.stores if outcome else {},
            cwd=launch.workspace,
            prompt=live.prompt,
            session_id=resume.session_id,
            prompts=resume.prompts,
            turns=resume.turns,
        )
        exit_code, ending = settle(live, left, transcript, lost=bool(pty.warnings))
        told = transcript or Transcript("")
        turn = Turn(
            prompt=live.prompt,
            number=len(self.turns) + 1,
            output=live.output,
            raw=live.raw,
            truncated=live.truncated or pty.cut,
            exit_code=exit_code,
            status=ending.status,
            cause=ending.cause,
            detail=ending.detail,
            proof=ending.proof,
            duration=live.duration,
            first_output_after=live.first_output_after,
            messages=told.messages,
            tool_calls=told.tool_calls,
            credits=told.credits,
            model=told.model,
            engine=commands.ENGINE,
            version=self._kiro.version,
            session_id=told.session_id or None,
            known_changes=workspace.ledger.record(outcome.before, outcome.after) if outcome else None,
            workspace=workspace,
            conversation=self,
            warnings=(*self._forgotten(), *pty.warnings, *told.warnings),
        )
        if outcome is None:
            workspace.ledger.miss(turn.summary)
        return turn, transcript

    def _forgotten(self) -> tuple[str, ...]:
        if not self.turns or self._resume.session_id:
            return ()
        return ("this turn began the conversation anew: none before it completed, so there was nothing to resume",)

    def _remember(self, turn: Turn, transcript: Transcript | None) -> None:
        """Keep where the next turn resumes: only what completed with proof can be resumed (contract C2)."""
        if turn.status in ("timed_out", "lost"):
            self._broken = f"{turn.summary}: {turn.detail}"
        if transcript and (turn.ok or transcript.session_id == self._resume.session_id):
            self._resume = _Resume(transcript.session_id, transcript.prompts, transcript.turns)
