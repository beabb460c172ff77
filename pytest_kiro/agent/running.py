"""Reads a program in its terminal; ends it when patience is over."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress

from pytest_kiro.errors import KiroError, LaunchError, PtyClosed, SandboxError, SandboxTimeout
from pytest_kiro.settings.waits import Waits
from pytest_kiro.terminal.attach import Attached
from pytest_kiro.turn.causes import Cause, Ending


class Running:
    """A program that runs; `ending` is set when it was ended from outside.

    It may take `timeout` seconds, and be without a sign of life for `stall`.
    """

    def __init__(self, pty: Attached, *, timeout: float, stall: float, waits: Waits) -> None:
        self._pty, self._waits = pty, waits
        self._timeout, self._stall = timeout, stall
        self._silence = math.inf
        self._look: Callable[[], None] = lambda: None
        self.ending: Ending | None = None
        self.exit_code: int | None = None
        self.over = False
        #: When it began, when it printed last, when it showed a sign of life last, when it was looked at last.
        self._started = self._last_byte = self._last_sign = self._last_look = time.monotonic()
        self._ended: float | None = None
        self.first_output_after: float | None = None
        self._grace: float | None = None
        self._press = math.inf
        self._terminated = False

    @property
    def duration(self) -> float:
        """Seconds since it began, until it ended: of the program, and not of what is done before and after it."""
        return (self._ended or time.monotonic()) - self._began

    @property
    def _began(self) -> float:
        return self._pty.began_at or self._started

    @property
    def silent_for(self) -> float:
        """Seconds since it printed something, or since it began."""
        return time.monotonic() - self._last_byte

    def look_after(self, silence: float, look: Callable[[], None]) -> None:
        """Call `look` whenever nothing was printed for so many seconds."""
        self._silence, self._look = silence, look

    def read(self, until: float) -> bytes | None:
        """Return the next bytes; None for none until then, b"" at the end."""
        while True:
            if (remaining := self._remaining()) > 0:
                try:
                    data = self._pty.read(min(remaining, max(0.0, until - time.monotonic())))
                except TimeoutError:
                    if time.monotonic() >= until:
                        return None
                    continue
                except LaunchError:
                    if self.ending is None:
                        raise
                    return b""  # it was stopped before it began
                except SandboxError as error:
                    self._lose(str(error))
                    return b""
                if data:
                    self._last_byte = self._last_sign = time.monotonic()
                    if self.first_output_after is None:
                        self.first_output_after = self.duration
                return data
            if not self._goes_on():
                return b""

    def end(self) -> None:
        """Wait for the exit status and close the terminal; after the last byte."""
        self.exit_code = self._wait()
        self.over = True
        # What is asked of the sandbox after the last byte is not the program's time.
        self._ended = self._pty.ended_at if self._pty.launch_record is not None else time.monotonic()
        try:
            self._pty.close()
        except SandboxError as error:
            if self.exit_code is None and (self.ending is None or self.ending.status != "lost"):
                self._lose(f"the program could not be ended: {error}")

    def kill(self) -> None:
        """Close its terminal at once."""
        self.over = True
        self._ended = self._ended or time.monotonic()
        self._pty.close()

    def stop(self, ending: Ending) -> None:
        """Press Ctrl-C, because of `ending`; of no effect when it is over, or being ended."""
        if self._grace is not None or self.over:
            return
        self.ending = ending
        waits = self._waits
        grace = waits.grace if self._pty.started else min(waits.grace, waits.before_it_began)
        self._grace, self._press = time.monotonic() + grace, time.monotonic() + waits.press_again
        try:
            self._pty.write(b"\x03")
        except (PtyClosed, SandboxTimeout):
            pass  # it has just ended by itself, or does not read what is typed
        except SandboxError as error:
            # What ran out may have been the sandbox's silence, and no time of the agent's.
            self._lose(f"{ending.detail}, and the sandbox did not answer: {error}")

    def _lose(self, detail: str) -> None:
        """Note that the way to it is lost."""
        self.ending = Ending("lost", Cause.CONNECTION, detail=detail)

    def _remaining(self) -> float:
        """Return for how many seconds nothing has to be decided."""
        now = time.monotonic()
        if self._grace is not None:
            return min(self._grace, self._press) - now
        quiet = max(self._last_byte, self._last_look) + self._silence
        return min(self._began + self._timeout, self._last_sign + self._stall, quiet) - now

    def _goes_on(self) -> bool:
        """Decide what there is to decide; return False when nothing is left but to kill it."""
        now = time.monotonic()
        if self._grace is not None:
            if now >= self._grace:
                return self._terminate()
            self._press = math.inf
            with suppress(SandboxError):
                self._pty.write(b"\x03")
            return True
        self._last_look = now
        if now - self._began >= self._timeout:
            self.stop(self._out_of_time())
        elif now - self._last_sign < self._stall:
            self._look()
        elif not self._stirs():
            detail = f"it printed nothing for {self._stall:g} s, and wrote nothing into its session store"
            self.stop(Ending("timed_out", Cause.STALLED, detail=detail))
        return True

    def _out_of_time(self) -> Ending:
        over = f"its time of {self._timeout:g} s was over"
        if not self._pty.started:
            said = " ".join(self._pty.said.split())[-500:]
            detail = f"{over}, and its terminal's shell had not started it; the shell said: {said or 'nothing'}"
            return Ending("timed_out", Cause.NEVER_STARTED, detail=detail)
        so_far = "" if self.first_output_after is not None else ", and it had printed nothing"
        return Ending("timed_out", Cause.OUT_OF_TIME, detail=f"{over}{so_far}")

    def _stirs(self) -> bool:
        """Whether it wrote into its session store lately: a silent program may be a busy one."""
        idle = self._pty.idle()
        if idle is None or idle >= self._stall:
            return False
        self._last_sign = time.monotonic() - idle
        return True

    def _terminate(self) -> bool:
        if self._terminated or (self.ending is not None and self.ending.status == "lost"):
            return False  # of what is lost, the status of its own end is looked for
        self._terminated = True
        self._grace = time.monotonic() + self._waits.last_grace
        return self._pty.terminate()

    def _wait(self) -> int | None:
        """Return the exit status; a program that closed its terminal and still runs is given its time."""
        while True:
            try:
                return self._pty.wait(max(0.0, self._remaining()))
            except TimeoutError:
                if not self._goes_on():
                    return None
            except KiroError as error:
                if self.ending is None:
                    self._lose(str(error))
                return None
