"""A `Conversation`: the turns that know of each other, in one workspace (contract C)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Unpack

from pytest_kiro.agent import stop
from pytest_kiro.agent.collect import Account, Left, account, clear, collect, stopped_late
from pytest_kiro.agent.live import LiveTurn
from pytest_kiro.agent.options import RunArguments, RunOptions
from pytest_kiro.agent.owner import Owner
from pytest_kiro.agent.prepare import Resume, prepare
from pytest_kiro.agent.printed import Printed
from pytest_kiro.agent.running import Patience
from pytest_kiro.agent.stop import Condition, StopWhen
from pytest_kiro.agent.workspace import Workspace
from pytest_kiro.errors import HIDE_FRAMES, ConversationError
from pytest_kiro.kirocli import commands
from pytest_kiro.run.budget import Reservation
from pytest_kiro.standin import scenario
from pytest_kiro.terminal.attach import Attached, attach
from pytest_kiro.terminal.launch import Launch
from pytest_kiro.turn.calls import ToolCalls
from pytest_kiro.turn.changes import Changes
from pytest_kiro.turn.transcript import Transcript
from pytest_kiro.turn.turn import Turn

if TYPE_CHECKING:
    from pytest_kiro.agent.kiro import Kiro

__tracebackhide__ = HIDE_FRAMES


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
        #: Attempts at the first turn that failed by the world's fault, before Kiro did anything; see `--kiro-retries`.
        self.retried: list[Turn] = []
        self._kiro, self._owner = kiro, owner
        self._seed, self._given = workspace, options or {}
        owner.enter(self)
        #: What is still open in its workspace, and closed before that is removed.
        self.terminals = ExitStack()
        self._workspace: Workspace | None = None
        self._defaults: RunOptions | None = None
        self._resume = Resume()
        self._broken: str | None = None
        self._renewed = False  # whether the last turn was refused, and a newer login has come since
        self._flight = threading.Lock()
        self._making = threading.Lock()
        self._live: LiveTurn | None = None
        self._on_end = on_end

    def __repr__(self) -> str:
        turns = len(self.turns)
        number = self._owner.conversations.index(self) + 1
        return f"<Conversation {number} of {self._owner.name}, {turns} turn{'s' * (turns != 1)}>"

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

    def run(
        self, prompt: str, *, check: bool = True, stop_when: StopWhen = None, **options: Unpack[RunArguments]
    ) -> Turn:
        """Run one prompt in this conversation; see `Kiro.run`."""
        while True:
            live = self.stream(prompt, check=check, stop_when=stop_when, **options)
            try:
                live.conclude()
            except BaseException:
                live.abort()
                raise
            if live.announced or not self._try_again(live.turn):  # what was announced may have run
                return live.finish()

    def stream(
        self, prompt: str, *, check: bool = True, stop_when: StopWhen = None, **options: Unpack[RunArguments]
    ) -> LiveTurn:
        """Run one prompt in this conversation and watch it; see `Kiro.stream`."""
        data = commands.check_prompt(prompt)
        conditions = stop.conditions(stop_when)
        merged = self.options().merged(options, "kiro.run")
        if not self._flight.acquire(blocking=False):
            raise ConversationError(
                f"{self} already has a turn in flight; wait for it, or use another kiro.conversation()"
            )
        try:
            self._check_usable()
            return self._start(prompt, data, merged, check, conditions)
        except BaseException:
            self._break_off()
            raise

    def end(self) -> None:
        """End a turn in flight and remove the workspace; idempotent."""
        with self.terminals:
            self._break_off()
        if self._workspace is not None:
            self._workspace.remove()
        self._on_end(self)

    # -- one turn

    def options(self) -> RunOptions:
        """Return how its turns are run, where they say nothing else."""
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

    def _start(
        self, prompt: str, data: bytes, options: RunOptions, check: bool, conditions: Sequence[Condition]
    ) -> LiveTurn:
        kiro, settings = self._kiro, self._kiro.settings
        kiro.admission.check()
        reply = self._reply() if kiro.scripted else None
        launch = prepare(kiro, self.workspace, data, options, self._resume, reply)
        spending = kiro.budget.admit(self._owner.name)
        try:
            kiro.sandbox.keep_alive(options.timeout)
            pty = attach(kiro.sandbox, launch, size=settings.terminal)
        except BaseException:
            kiro.budget.settle(spending, None)  # it never began
            clear(kiro.sandbox, launch)
            raise
        self._live = live = LiveTurn(
            pty,
            Printed(kiro.engine.name, kiro.secrets, stream=kiro.streams),
            Patience(options.timeout, settings.stall_timeout, conditions),
            prompt=prompt,
            name=self._owner.name,
            check=check,
            observers=kiro.observers,
            complete=lambda live: self._complete(live, pty, launch, options, conditions, spending),
            abandon=lambda: self._abandon(launch, spending),
            release=self._land,
            refusal=kiro.admission.refusal,
        )
        try:
            for observer in kiro.observers:
                observer.started(self, prompt)
        except BaseException:
            self._live = None  # nobody has seen it: the conversation may go on
            self._spend(spending, None)
            pty.close()
            clear(kiro.sandbox, launch)
            raise
        return live

    def _reply(self) -> scenario.Reply:
        owner = self._owner
        if owner.answer is not None:
            return owner.answer
        file = owner.file.parent / self._kiro.settings.scenarios / f"{owner.file.stem}.toml"
        return scenario.find(
            file,
            owner.tables,
            conversation=owner.begin(self),
            turn=len(self.turns) + 1,
            trial=1,  # a test without trials is its own first one
            retry=len(self.retried),
        )

    def _complete(
        self,
        live: LiveTurn,
        pty: Attached,
        launch: Launch,
        options: RunOptions,
        conditions: Sequence[Condition],
        spending: Reservation,
    ) -> Turn:
        """Collect what the turn left and make it a value."""
        self.workspace.made |= pty.started
        turn: Turn | None = None
        try:
            left = collect(self._kiro.sandbox, pty, launch, self._kiro.secrets)
            self._kiro.admission.keep_in_step()
            lost = bool(pty.warnings)
            kiro = self._kiro
            told = account(live, left, launch, kiro.engine, options, self._resume, lost=lost, hide=kiro.secrets)
            turn = self._turn(live, pty, left, stopped_late(told, conditions))
            self.turns.append(turn)
            self._remember(turn, told.transcript)
            self._renewed = self._kiro.admission.heard(turn)
            return turn
        finally:
            self._spend(spending, turn)
            if pty.launch_record is None:  # else they are gone already
                clear(self._kiro.sandbox, launch)
            self._live = None

    def _abandon(self, launch: Launch, spending: Reservation) -> None:
        self._broken = "a turn of it was broken off"
        self._spend(spending, None)
        clear(self._kiro.sandbox, launch)
        self._live = None
        self._land()

    def _spend(self, spending: Reservation, turn: Turn | None) -> None:
        """Enter into the budget what a turn cost; the records of one that was ended may not tell."""
        if self._kiro.scripted or (turn is not None and (turn.ok or turn.credits is not None)):
            self._kiro.budget.settle(spending, turn.credits if turn else None)
        else:
            self._kiro.budget.forfeit(spending)

    def _break_off(self) -> None:
        """End a turn in flight, wherever Ctrl-C found it; idempotent."""
        if self._live is not None:
            self._live.abort()
        self._land()

    def _land(self) -> None:
        with suppress(RuntimeError):  # it has landed already
            self._flight.release()

    def _turn(self, live: LiveTurn, pty: Attached, left: Left, account: Account) -> Turn:
        workspace, outcome, ending, printed = self.workspace, left.outcome, account.ending, live.printed
        hide = self._kiro.secrets
        told = account.transcript or Transcript("")
        changes = workspace.ledger.record(outcome.before, outcome.after) if outcome else None
        if not pty.started and ending.status != "lost":
            changes = Changes()  # it never began; of what is lost nobody knows
        turn = Turn(
            prompt=hide(live.prompt),
            number=len(self.turns) + 1,
            output=live.output,
            raw=printed.data,
            truncated=printed.truncated or pty.cut,
            diagnostics=left.diagnostics,
            exit_code=account.exit_code,
            status=ending.status,
            cause=ending.cause,
            detail=ending.detail,
            proof=ending.proof,
            duration=live.duration,
            first_output_after=live.first_output_after,
            messages=told.messages,
            tool_calls=ToolCalls(told.tool_calls, folder=workspace.for_launch()[0]),
            credits=told.credits,
            model=told.model,
            engine=self._kiro.engine.name,
            version=self._kiro.version,
            session_id=told.session_id or None,
            known_changes=changes,
            workspace=workspace,
            conversation=self,
            warnings=(*self._history(), *map(hide, pty.warnings), *told.warnings),
        )
        if changes is None:
            workspace.ledger.miss(turn.summary)
        return turn

    def _history(self) -> tuple[str, ...]:
        """Say what a reader should know of how this turn came about."""
        if self.retried and not self.turns:
            return tuple(f"run again, because {turn.summary}: {turn.detail}" for turn in self.retried)
        if self.turns and not self._resume.session_id:
            return ("this turn began the conversation anew: none before it completed, so there was nothing to resume",)
        return ()

    def _try_again(self, turn: Turn) -> bool:
        """Whether to run a prompt once more, in a fresh session: only its first turn, only before it did anything."""
        retries = self._kiro.settings.retries
        untouched = turn.known_changes is not None and not turn.known_changes and not turn.tool_calls
        passing = self._renewed or (turn.cause is not None and turn.cause.passing)
        if turn.ok or len(self.turns) > 1 or len(self.retried) >= retries or not (passing and untouched):
            return False
        self.turns.remove(turn)
        self.retried.append(turn)
        self._resume, self._broken = Resume(), None
        return True

    def _remember(self, turn: Turn, transcript: Transcript | None) -> None:
        """Keep where the next turn resumes: only what completed with proof can be resumed (contract C2)."""
        if turn.status in ("timed_out", "lost"):
            self._broken = f"{turn.summary}: {turn.detail}"
        session = transcript.session_id if transcript else ""
        if transcript and session and (turn.ok or session == self._resume.session_id):
            self._resume = Resume(transcript.session_id, transcript.prompts, transcript.turns)
