"""One prompt in flight: watch it, interrupt it, finish it. Every way out ends the program."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from pytest_kiro.agent.turn import Turn
from pytest_kiro.cli.evidence import LOGIN_WITHIN, Cause, Ending, waits_for_login
from pytest_kiro.errors import (
    HIDE_FRAMES,
    ConversationError,
    KiroError,
    LaunchError,
    PtyClosed,
    SandboxError,
    SandboxTimeout,
    TurnFailed,
    TurnTimeout,
    message,
)
from pytest_kiro.sandbox.protocol import Pty
from pytest_kiro.terminal.text import Kept, Plain, fold

if TYPE_CHECKING:
    from pytest_kiro.agent.conversation import Conversation

__tracebackhide__ = HIDE_FRAMES
#: Bytes of a turn that are kept; beyond it the middle is dropped, and the Turn says so.
KEPT = 16 * 1024 * 1024
#: Seconds that Kiro has to write its records after Ctrl-C, before it is killed.
GRACE = 5.0
_GAP = "\n[… the middle of this output was not kept …]\n"


class Observer(Protocol):
    """Told what happens, as it happens; an observer's exception ends the turn and is raised."""

    def started(self, conversation: Conversation, prompt: str) -> None: ...

    def printed(self, live: LiveTurn, text: str) -> None: ...

    def finished(self, turn: Turn) -> None: ...


class Printed:
    """What has been printed so far, up to the cap."""

    def __init__(self) -> None:
        self.raw = Kept(b"", KEPT)
        self._text = Kept("", KEPT)
        self._plain = Plain()

    def feed(self, data: bytes, *, final: bool = False) -> str:
        self.raw.add(data)
        text = self._plain.feed(data, final=final)
        self._text.add(text)
        return text

    @property
    def text(self) -> str:
        return fold(self._text.join(_GAP))

    @property
    def truncated(self) -> bool:
        return self.raw.dropped > 0 or self._text.dropped > 0


class LiveTurn:
    """A turn while Kiro works; iterate for text as it is printed.

    Leaving the `with` early, or by an exception, stops the turn; at the exit a failed turn raises when it
    was asked to be checked. `turn` is there once it is finished.

    >>> def test_never_deletes(kiro):
    ...     with kiro.stream("Clean up this repository.") as live:
    ...         for chunk in live:
    ...             if "rm -rf" in live.output:
    ...                 live.interrupt()
    ...     assert live.turn.status == "completed"
    """

    def __init__(
        self,
        pty: Pty,
        *,
        prompt: str,
        name: str,
        timeout: float,
        stall_timeout: float | None,
        check: bool,
        observers: tuple[Observer, ...],
        complete: Callable[[LiveTurn], Turn],
        abandon: Callable[[], None],
        release: Callable[[], None],
    ) -> None:
        self.prompt, self.name = prompt, name
        self._printed = Printed()
        self.ending: Ending | None = None
        self.exit_code: int | None = None
        self.first_output_after: float | None = None
        self._pty, self._check, self._observers = pty, check, observers
        self._complete, self._abandon, self._release = complete, abandon, release
        self._timeout, self._stall = timeout, stall_timeout
        self._started = self._last_byte = time.monotonic()
        self._grace: float | None = None
        self._turn: Turn | None = None
        self._over = self._aborted = False
        self._beginning = ""
        self._text = self._read()

    # -- what a test does with it

    def __iter__(self) -> Iterator[str]:
        return self._text

    def __enter__(self) -> LiveTurn:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and not isinstance(error, Exception):
            self.abort()  # Ctrl-C: end it at once
        self.interrupt()  # of no effect when it has ended by itself
        self._finish()
        if error is None:
            self._raise()

    @property
    def output(self) -> str:
        """What was printed so far, as `Turn.output` will have it."""
        return self._printed.text

    @property
    def raw(self) -> bytes:
        """The same as bytes, with a line of words where the middle is gone."""
        return self._printed.raw.join(_GAP.encode())

    @property
    def truncated(self) -> bool:
        """Whether the middle is gone."""
        return self._printed.truncated

    @property
    def turn(self) -> Turn:
        """The finished turn; `ConversationError` while Kiro still works."""
        if self._turn is None:
            how = (
                "was broken off" if self._aborted else "is not finished yet; leave the with statement, or call finish()"
            )
            raise ConversationError(f"the turn {how}")
        return self._turn

    @property
    def duration(self) -> float:
        """Seconds since the turn began."""
        return time.monotonic() - self._started

    def interrupt(self) -> None:
        """Press Ctrl-C: the turn ends as `stopped`, its tool calls so far are kept; idempotent."""
        self._stop(Ending("stopped", Cause.STOPPED, detail="the test stopped it"))

    def finish(self) -> Turn:
        """Wait for the end and return the turn; a failed one raises when it is checked."""
        self._finish()
        self._raise()
        return self.turn

    # -- the work

    def abort(self) -> None:
        """End the program without asking what it left; idempotent."""
        if not self._over:
            self._over = self._aborted = True
            try:
                self._pty.close()
            finally:
                self._abandon()

    def _finish(self) -> None:
        if self._turn is not None or self._aborted:
            return
        for _ in self._text:
            pass
        try:
            self._turn = self._complete(self)
            for observer in self._observers:
                observer.finished(self._turn)
        finally:
            self._release()  # only now: an observer that ran another turn would be told of that one, for ever

    def _raise(self) -> None:
        turn = self.turn
        if not self._check or turn.status in ("completed", "stopped"):
            return
        advice = "kiro.run(..., check=False) returns such a turn instead of raising"
        if turn.cause and turn.cause.advice:
            advice = f"{turn.cause.advice}; {advice}"
        text = message(f"{self.name}: {turn.summary}: {turn.detail}", output=turn.output, advice=advice)
        raise (TurnTimeout if turn.status == "timed_out" else TurnFailed)(text, turn)

    def _read(self) -> Iterator[str]:
        """Yield text until the program has ended, one way or another."""
        try:
            while data := self._next():
                now = time.monotonic()
                if self.first_output_after is None:
                    self.first_output_after = now - self._started
                self._last_byte = now
                text = self._printed.feed(data)
                self._look_for_login(text)
                yield from self._told(text)
            yield from self._told(self._printed.feed(b"", final=True))
            self.exit_code = self._wait()
        except BaseException:
            self.abort()
            raise
        self._over = True
        try:
            self._pty.close()
        except SandboxError as error:
            if self.exit_code is None and (self.ending is None or self.ending.status != "lost"):
                self._lose(f"the program could not be ended: {error}")

    def _look_for_login(self, text: str) -> None:
        """End a CLI that shows a device code and waits: nobody is there to approve it."""
        if len(self._beginning) < LOGIN_WITHIN:
            self._beginning += text
            if waits_for_login(self._beginning):
                detail = "kiro-cli is not logged in and waited for a device login"
                self._stop(Ending("failed", Cause.AUTH, detail=detail))

    def _told(self, text: str) -> Iterator[str]:
        if text:
            for observer in self._observers:
                observer.printed(self, text)
            yield text

    def _next(self) -> bytes:
        """Return the next bytes, b"" at the end or when patience is over."""
        while True:
            left = self._left()
            if left > 0:
                try:
                    return self._pty.read(left)
                except TimeoutError:
                    continue
                except LaunchError:
                    if self.ending is None:
                        raise
                    return b""  # it was stopped before it began
                except SandboxError as error:
                    self._lose(str(error))
                    return b""
            if not self._out_of_patience():
                return b""

    def _lose(self, detail: str) -> None:
        self.ending = Ending("lost", Cause.CONNECTION, detail=detail)

    def _left(self) -> float:
        now = time.monotonic()
        if self._grace is not None:
            return self._grace - now
        left = self._started + self._timeout - now
        return left if self._stall is None else min(left, self._last_byte + self._stall - now)

    def _out_of_patience(self) -> bool:
        """Ask the program to end; return False when it has been asked already."""
        if self._grace is not None:
            return False
        if self.duration >= self._timeout:
            self._stop(Ending("timed_out", Cause.OUT_OF_TIME, detail=f"its time of {self._timeout:g} s was over"))
        else:
            detail = f"it printed nothing for {self._stall:g} s"
            self._stop(Ending("timed_out", Cause.STALLED, detail=detail))
        return True

    def _stop(self, ending: Ending) -> None:
        if self._grace is not None or self._over:
            return
        self.ending = ending
        self._grace = time.monotonic() + GRACE
        try:
            self._pty.write(b"\x03")
        except (PtyClosed, SandboxTimeout):
            pass  # it has just ended by itself, or does not read what is typed
        except SandboxError as error:
            # What ran out may have been the sandbox's silence, and no time of the agent's.
            self._lose(f"{ending.detail}, and the sandbox did not answer: {error}")

    def _wait(self) -> int | None:
        """Return the exit status; a program that closed its terminal and still runs is given its time."""
        while True:
            try:
                return self._pty.wait(max(0.0, self._left()))
            except TimeoutError:
                if not self._out_of_patience():
                    return None
            except KiroError as error:
                if self.ending is None:
                    self._lose(str(error))
                return None
