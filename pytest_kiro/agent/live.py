"""One prompt in flight: watch it, interrupt it, finish it. Every way out ends the program."""

from __future__ import annotations

import math
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import ClassVar

from pytest_kiro.agent.bench import Conversing
from pytest_kiro.agent.flying import Flying, Landed
from pytest_kiro.agent.request import is_number
from pytest_kiro.errors import HIDE_FRAMES, ConversationError, NotPrinted
from pytest_kiro.kirocli.events import Event
from pytest_kiro.kirocli.evidence import LOGIN_WITHIN, waits_for_login
from pytest_kiro.turn.calls import compiled
from pytest_kiro.turn.causes import Cause, Ending
from pytest_kiro.turn.transcript import ToolCall
from pytest_kiro.turn.turn import Turn, TurnFailed, TurnTimeout

__tracebackhide__ = HIDE_FRAMES
#: Characters before the latest chunk in which something that is looked for may have begun.
_OVERLAP = 64 * 1024
#: Characters that `expect` looks at.
_SEARCHED = 1024 * 1024


@dataclass(frozen=True)
class Condition:
    """Something that stops a turn when it holds: `name` is how the turn's `detail` calls it.

    `holds` is asked after each chunk; with `silence`, in seconds, it is asked as well when nothing was printed for so
    long. `recorded` is asked of the calls that a completed turn's record tells, since what Kiro announces may be cut:
    when it holds, the turn counts as stopped, if too late. `cause` is what the stopped turn has as its own.

    >>> Condition("never", lambda live: False).name
    'never'
    """

    name: str
    holds: Callable[[LiveTurn], object]
    silence: float | None = None
    recorded: Callable[[Iterable[ToolCall]], bool] | None = None
    cause: ClassVar[Cause] = Cause.STOPPED

    def __post_init__(self) -> None:
        if self.silence is not None and not (is_number(self.silence) and 0.01 <= self.silence < math.inf):
            raise ValueError(f"silence={self.silence!r} is not right; wanted: a number of seconds, 0.01 or more")


class LiveTurn:
    """A turn while Kiro works; iterate for text as it is printed.

    Leaving the `with` early, or by an exception, stops the turn; at the exit a failed turn raises when it
    was asked to be checked. `turn` is there once it is finished. `events` are what Kiro told so far: of text output
    what it announced (tool calls and their ends), of `--kiro-output=stream-json` everything.

    >>> def test_never_deletes(kiro):
    ...     with kiro.stream("Clean up this repository.") as live:
    ...         for chunk in live:
    ...             if "rm -rf" in live.output:
    ...                 live.interrupt()
    ...     assert live.turn.status == "completed"
    """

    def __init__(
        self,
        flight: Flying,
        conversation: Conversing,
        *,
        stops: Sequence[Condition],
        check: bool,
        landed: Callable[[Landed], None],
        over: Callable[[str], None],
    ) -> None:
        # `landed` is told what came of the turn, `over` that the next one may begin, or why none can.
        owner = conversation.owner
        self.prompt, self.name = flight.request.prompt, owner.name
        #: What errors begin with: a test is named by its own failure, a wide fixture by nothing else.
        self._whose = f"{owner.name}: " if owner.wide else ""
        #: The end of what was printed: the latest chunk, and some of what came before it.
        self.recent = ""
        self._flight, self._conversation, self._bench = flight, conversation, conversation.bench
        self._stops, self._check, self._landed, self._over = stops, check, landed, over
        self._printed, self._running = flight.printed, flight.running
        self._printed.taps.append(self._received)
        silences = [stop.silence for stop in stops if stop.silence is not None]
        self._running.look_after(min(silences, default=math.inf), self._look)
        self._drained = self._aborted = False
        self._turn: Turn | None = None
        self._beginning = ""
        self._unexpected, self._size = deque[str](), 0  # what `expect` has not matched yet

    # -- what a test does with it

    def __iter__(self) -> Iterator[str]:
        while (text := self._pump()) is not None:
            if text:
                yield text

    def __enter__(self) -> LiveTurn:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
            self.abort()  # at once; what pytest.fail and pytest.skip raise is no Exception either, and no hurry
        self.interrupt()  # of no effect when it has ended by itself
        self.conclude()
        if error is None:
            self.check()

    @property
    def output(self) -> str:
        """What was printed so far, as `Turn.output` will have it."""
        return self._printed.text

    @property
    def raw(self) -> bytes:
        """The same as bytes, as `Turn.raw` will have it."""
        return self._printed.data

    @property
    def truncated(self) -> bool:
        """Whether the middle of it was not kept."""
        return self._printed.truncated

    @property
    def events(self) -> list[Event]:
        """What Kiro told so far, in order."""
        return list(self._printed.events)

    @property
    def announced(self) -> list[ToolCall]:
        """The tool calls that were announced so far; they may already run."""
        return list(self._printed.announced)

    @property
    def turn(self) -> Turn:
        """The finished turn; `ConversationError` while Kiro still works."""
        if self._turn is None:
            if self._aborted:
                raise ConversationError("the turn was broken off", advice="begin another kiro.conversation()")
            raise ConversationError("the turn is not finished yet", advice="leave the with statement, or call finish()")
        return self._turn

    @property
    def ending(self) -> Ending | None:
        """Why it was ended from outside, None while it was not."""
        return self._running.ending

    @property
    def exit_code(self) -> int | None:
        """The program's exit status, None when it is not known."""
        return self._running.exit_code

    @property
    def first_output_after(self) -> float | None:
        """Seconds from its start to its first byte, None without one."""
        return self._running.first_output_after

    @property
    def duration(self) -> float:
        """Seconds since the turn began."""
        return self._running.duration

    @property
    def silent_for(self) -> float:
        """Seconds since something was printed, or since the turn began."""
        return self._running.silent_for

    def interrupt(self) -> None:
        """Press Ctrl-C: the turn ends as `stopped`, its tool calls so far are kept; idempotent."""
        self._running.stop(Ending("stopped", Cause.STOPPED, detail="the test stopped it"))

    def expect(self, pattern: str | re.Pattern[str], timeout: float | None = None) -> re.Match[str]:
        """Wait until Kiro prints something that matches, and return the match.

        It does not matter where chunks are cut. Each call looks at what was printed after the match before it (the last
        MiB of it). `timeout` is in seconds (default: as long as the turn takes). Raises `NotPrinted` when it was not
        printed in time or before the turn's end.

        >>> def test_asks_first(kiro):
        ...     with kiro.stream("Refactor the parser.") as live:
        ...         live.expect(r"(?i)plan", timeout=60)
        """
        wanted = compiled(pattern, f"live.expect({pattern!r}):")
        until = math.inf if timeout is None else time.monotonic() + timeout
        while (match := wanted.search(text := "".join(self._unexpected))) is None:
            news = self._pump(until)
            if news is None or (not news and time.monotonic() >= until):
                when = "before its turn ended" if news is None else f"within {timeout:g} s"
                what = f"{self._whose}Kiro did not print {wanted.pattern!r} {when}"
                raise NotPrinted(what, output=self.output, advice="look at what it printed instead")
        self._unexpected = deque([text[match.end() :]])
        self._size = len(self._unexpected[0])
        return match

    def finish(self) -> Turn:
        """Wait for the end and return the turn; a failed one raises when it is checked."""
        self.conclude()
        self.check()
        return self.turn

    # -- the work

    def abort(self) -> None:
        """End the program without asking what it left; idempotent."""
        if not self._running.over:
            self._aborted = True
            try:
                self._flight.abandon()
            finally:
                self._over("a turn of it was broken off")
                self._broken_off()

    def conclude(self) -> None:
        """Wait for the end and make the turn a value; idempotent."""
        if self._turn is not None or self._aborted:
            return
        for _ in self:
            pass
        if self._turn is not None:
            return  # a condition has finished it
        try:
            landed = self._flight.land(self._recorded)
            self._turn = landed.turn
            self._landed(landed)
        except BaseException:
            if self._turn is None:
                self._broken_off()
            raise
        finally:
            self._over("")  # only now: an observer that ran another turn would be told of that one, for ever

    def check(self) -> None:
        """Raise when the turn failed and is to be checked."""
        turn = self.turn
        as_asked = turn.status == "stopped" and turn.cause is not Cause.LIMIT  # of which the test knows nothing
        if not self._check or turn.ok or as_asked:
            return
        if refusal := self._bench.admission.refusal(turn):
            raise refusal
        advice = "kiro.run(..., check=False) returns such a turn instead of raising"
        if turn.cause and turn.cause.advice:
            advice = f"{turn.cause.advice}; {advice}"
        if turn.status == "timed_out" and turn.engine == "v3" and not (turn.messages or turn.tool_calls):
            advice = f"engine V3 was reported to hang where it has no terminal, so try --kiro-engine=v2; {advice}"
        printed = turn.output if not turn.diagnostics else f"{turn.output.rstrip()}\n{turn.diagnostics}"
        error = TurnTimeout if turn.status == "timed_out" else TurnFailed
        raise error(f"{self._whose}{turn.summary}: {turn.detail}", turn, output=printed, advice=advice)

    def _pump(self, until: float = math.inf) -> str | None:
        """Return the next text; "" for none until then, None at the end."""
        if self._running.over:
            return None
        try:
            if self._drained:
                self._running.end()
                return None
            if waits := self._printed.waits:
                until = min(until, time.monotonic() + self._bench.settings.waits.held_for)
            data = self._running.read(until)
            self._drained = data == b""
            if data is not None:
                return self._take(self._printed.feed(data, final=self._drained))
            return self._take(self._printed.release()) if waits else ""
        except BaseException:
            self.abort()
            raise

    def _broken_off(self) -> None:
        for observer in self._bench.observers:
            observer.broken_off(self._conversation)

    def _received(self, data: bytes) -> None:
        for observer in self._bench.observers if data else ():
            observer.received(self._conversation, data, self.duration)

    def _take(self, text: str) -> str:
        if text:
            self._look_for_login(text)
            self.recent = self.recent[-_OVERLAP:] + text
            self._unexpected.append(text)
            self._size += len(text)
            while self._size > _SEARCHED and len(self._unexpected) > 1:
                self._size -= len(self._unexpected.popleft())
            for observer in self._bench.observers:
                observer.printed(self._conversation, text)
        self._look()
        return text

    def _look(self) -> None:
        """Stop it when one of the conditions holds."""
        for stop in self._stops if self._running.ending is None else ():
            if stop.holds(self):
                where = f"at byte {self._printed.raw.size} of its output, after {self.duration:.1f} s"
                self._running.stop(Ending("stopped", stop.cause, detail=f"{stop.name} stopped it {where}"))
                return

    def _recorded(self, calls: Sequence[ToolCall]) -> Ending | None:
        """Return how a turn ended whose record tells that a condition held."""
        stop = next((one for one in self._stops if one.recorded is not None and one.recorded(calls)), None)
        if stop is None:
            return None
        detail = f"{stop.name} holds for what its record tells; it was not announced in time to stop it"
        return Ending("stopped", stop.cause, detail=f"{detail}{self._bench.unannounced}")

    def _look_for_login(self, text: str) -> None:
        """End a CLI that waits for the approval of a device code; after a call it is one that an agent shows."""
        if len(self._beginning) < LOGIN_WITHIN and not self._printed.announced:
            self._beginning += text
            if waits_for_login(self._beginning):
                detail = "kiro-cli is not logged in and waited for a device login"
                self._running.stop(Ending("failed", Cause.AUTH, detail=detail))
