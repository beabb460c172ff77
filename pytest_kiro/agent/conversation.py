"""A `Conversation`: the turns that know of each other, in one workspace (contract C)."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, Unpack

from pytest_kiro.agent import limits, stop
from pytest_kiro.agent.bench import Bench, Owner
from pytest_kiro.agent.flight import Flight
from pytest_kiro.agent.flying import Landed
from pytest_kiro.agent.live import LiveTurn
from pytest_kiro.agent.request import Request, Resume, RunArguments, RunOptions
from pytest_kiro.agent.stop import StopWhen
from pytest_kiro.agent.workspace import Workspace
from pytest_kiro.errors import HIDE_FRAMES, ConversationError, SettingsError
from pytest_kiro.kirocli import commands
from pytest_kiro.standin import scenario
from pytest_kiro.turn.causes import Cause
from pytest_kiro.turn.turn import Turn

__tracebackhide__ = HIDE_FRAMES
#: The marker's words that are not of a turn.
_OF_NO_TURN = ("workspace", "ignore", "budget", "max_turns", "max_calls", "version", "kiro_id")


class Conversation:
    """The turns of one owner that remember each other; `kiro.conversation()` begins one more.

    >>> def test_go_on(kiro, shop):  # shop: a module fixture that returned a turn
    ...     assert shop.conversation.run("Add a test for negative prices.").ok
    """

    def __init__(
        self,
        bench: Bench,
        owner: Owner,
        *,
        workspace: str | None = None,
        options: Mapping[str, Any] | None = None,
        kiro: object = None,
    ) -> None:
        self.turns: list[Turn] = []
        #: Attempts at the first turn that failed by the world's fault, before Kiro did anything; see `--kiro-retries`.
        self.retried: list[Turn] = []
        self._bench, self._owner, self._kiro = bench, owner, kiro
        self._seed, self._given = workspace, options or {}
        owner.enter(self)
        #: What is still open in its workspace, and closed before that is removed.
        self.terminals = ExitStack()
        self._workspace: Workspace | None = None
        self._defaults: RunOptions | None = None
        self._resume = Resume()
        self._broken = ""
        self._in_flight, self._making = threading.Lock(), threading.Lock()
        self._live: LiveTurn | None = None

    def __repr__(self) -> str:
        turns = len(self.turns)
        number = self._owner.conversations.index(self) + 1
        return f"<Conversation {number} of {self._owner.name}, {turns} turn{'s' * (turns != 1)}>"

    @property
    def bench(self) -> Bench:
        """What its turns run with."""
        return self._bench

    @property
    def kiro(self) -> object:
        """The `Kiro` that began it; no type says so, since a part does not know the whole."""
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
                bench = self._bench
                home = self._owner.home(bench.homes)
                ignored = self._ignored()
                self._workspace = Workspace.seeded(bench.sandbox, home, self._owner.file.parent, seed, ignored=ignored)
                self._owner.workspaces[self] = self._workspace
            return self._workspace

    def run(
        self,
        prompt: str,
        *,
        check: bool = True,
        stop_when: StopWhen = None,
        recorded_as: str | None = None,
        **options: Unpack[RunArguments],
    ) -> Turn:
        """Run one prompt in this conversation; see `Kiro.run`."""
        while True:
            live = self._fly(prompt, check, stop_when, recorded_as, options, retries=True)
            try:
                live.conclude()
            except BaseException:
                live.abort()
                raise
            if not any(turn is live.turn for turn in self.retried):
                return live.finish()

    def stream(
        self,
        prompt: str,
        *,
        check: bool = True,
        stop_when: StopWhen = None,
        recorded_as: str | None = None,
        **options: Unpack[RunArguments],
    ) -> LiveTurn:
        """Run one prompt in this conversation and watch it; see `Kiro.stream`."""
        return self._fly(prompt, check, stop_when, recorded_as, options, retries=False)

    def end(self) -> None:
        """End a turn in flight, and its workspace; idempotent."""
        with self.terminals:
            self._break_off()
        if self._workspace is not None:
            self._workspace.end(stays=self._owner.stays)

    def _ignored(self) -> Sequence[str] | None:
        """Return the patterns that `ignore` says, None for the usual."""
        patterns = self._owner.marker().get("ignore")
        if patterns is None:
            return self._bench.settings.ignore
        if not (isinstance(patterns, list | tuple) and all(isinstance(pattern, str) for pattern in patterns)):
            advice = "wanted: a list of patterns as in a .gitignore"
            raise SettingsError(f"mark.kiro: ignore={patterns!r} is not right", advice=advice)
        return tuple(patterns)

    # -- one turn

    def options(self) -> RunOptions:
        """Return how its turns are run, where they say nothing else."""
        if self._defaults is None:
            marker = {name: value for name, value in self._owner.marker().items() if name not in _OF_NO_TURN}
            self._defaults = (
                RunOptions.of(self._bench.settings)
                .merged(self._owner.run_args(), "kiro_run_args")
                .merged(marker, "mark.kiro")
                .merged(self._given, "kiro.conversation")
            )
        return self._defaults

    def _check_usable(self) -> None:
        if self._broken:
            raise ConversationError(f"{self} cannot go on: {self._broken}", advice="begin another kiro.conversation()")
        if self._owner.ended:
            raise ConversationError(
                f"{self} is over: its owner has ended and its workspace is removed",
                advice="a fixture of a wider scope keeps one longer",
            )

    def _fly(
        self,
        prompt: str,
        check: bool,
        stop_when: StopWhen,
        recorded_as: str | None,
        options: RunArguments,
        *,
        retries: bool,
    ) -> LiveTurn:
        commands.check_prompt(prompt)
        owner, settings = self._owner, self._bench.settings
        stops = (*stop.conditions(stop_when), *limits.limit_of_calls(owner, settings))
        merged = self.options().merged(options, "kiro.run")
        if not self._in_flight.acquire(blocking=False):
            raise ConversationError(
                f"{self} already has a turn in flight", advice="wait for it, or use another kiro.conversation()"
            )
        try:
            self._check_usable()
            self._bench.admission.check()
            limits.check_turns(owner, settings)
            request = Request(
                prompt=prompt,
                options=merged,
                resume=self._resume,
                history=self._history(),
                answer=self._reply if self._bench.scripted and not self._bench.replays else None,
                recorded_as=recorded_as,
            )
            flight = (self._bench.fly or Flight)(self._bench, self, request)
            landed = partial(self._landed, retries=retries)
            self._live = LiveTurn(flight, self, stops=stops, check=check, landed=landed, over=self._over)
            return self._live
        except BaseException:
            self._break_off()
            raise

    def _reply(self) -> scenario.Reply:
        owner = self._owner
        if owner.answer is not None:
            return owner.answer
        file = owner.file.parent / self._bench.settings.scenarios / f"{owner.file.stem}.toml"
        return scenario.find(
            file,
            owner.tables,
            conversation=owner.numbers.of_turn(self),
            turn=len(self.turns) + 1,
            trial=owner.trial,
            retry=len(self.retried),
            seed=self._bench.settings.scenario_seed,
        )

    def _history(self) -> tuple[str, ...]:
        """Return the warnings that the next turn begins with."""
        if self.retried and not self.turns:
            return tuple(
                f"attempt {number} was run again: {turn.summary}: {turn.detail}"
                for number, turn in enumerate(self.retried, 1)
            )
        if self.turns and not self._resume.session_id:
            return ("this turn began the conversation anew: none before it completed, so there was nothing to resume",)
        return ()

    def _landed(self, landed: Landed, *, retries: bool) -> None:
        """Keep a turn, or note that it is run again: only a first one that did nothing."""
        turn = landed.turn
        allowed = retries and not self.turns and len(self.retried) < self._bench.settings.retries
        if allowed and landed.may_fly_again:
            self.retried.append(turn)
        else:
            self.turns.append(turn)
            self._resume = landed.resume
            if turn.status in ("timed_out", "lost") or turn.cause is Cause.HISTORY:
                self._broken = f"{turn.summary}: {turn.detail}"
        for observer in self._bench.observers:
            observer.finished(self, turn)

    def _over(self, broken: str = "") -> None:
        """Let the next turn begin, or say why none can; idempotent."""
        self._broken = self._broken or broken
        self._live = None
        with suppress(RuntimeError):  # it has landed already
            self._in_flight.release()

    def _break_off(self) -> None:
        """End a turn in flight, wherever Ctrl-C found it; idempotent."""
        if self._live is not None:
            self._live.abort()
        self._over()
