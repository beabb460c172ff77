"""Shows a turn in V2's layout: the assistant on stdout, everything about tools on stderr."""

from __future__ import annotations

import os

from .out import write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .protocols import RunningTurn, Screen, Session
    from .tools import Call

DENIED = (
    "[denied] tool permission approval is not supported in non-interactive mode. Use --trust-all-tools to auto-approve."
)


class NoScreen:
    """Shows nothing, as for a sub-agent; the base of the screens."""

    failure_code = 0

    def started(self) -> None:
        """The program runs; no session is known yet."""

    def begin(self, turn: RunningTurn) -> None:
        """The turn starts."""

    def message(self) -> None:
        """An assistant message begins."""

    def say(self, text: str) -> None:
        """One chunk of the assistant's text comes."""

    def spill(self, data: bytes) -> bool:
        """Print what is no part of the turn; False when nobody reads."""
        return True

    def aside(self, kind: str, content: dict[str, Any]) -> None:
        """Something is told that only events have."""

    def call(self, call: Call) -> None:
        """A tool call is announced."""

    def denied(self, call: Call) -> None:
        """A call may not run, and there is no terminal to ask."""

    def live(self, call: Call) -> Callable[[bytes], object] | None:
        """Return the function that takes a command's output while it runs."""
        return None

    def ran(self, call: Call) -> None:
        """A tool call ended."""

    def word(self, key: str, title: str, tool: str | None = None) -> None:
        """A word to the user comes as a tool call does."""

    def child(self, session: Session) -> Screen:
        """Return what shows a sub-agent that has a session of its own: a text layout shows none."""
        return NoScreen()

    def end(self, turn: RunningTurn) -> None:
        """The turn went well."""

    def cancelled(self, turn: RunningTurn) -> None:
        """The turn was interrupted."""

    def refused(self, turn: RunningTurn, text: str) -> None:
        """The service did not answer."""

    def failed(self, turn: RunningTurn | None, text: str) -> bool:
        """The command failed; True when that was shown, else it becomes an error on stderr."""
        return False


class ScreenV2(NoScreen):
    """Shows one turn of V2 or, with other titles, of V3."""

    def __init__(self, kinds: dict[str, Any], title: Callable[[Call], str] | None = None) -> None:
        self.kinds = kinds
        self.title = title
        self.hides_cursor = os.isatty(1)
        self.colour, self.reset = "", ""
        if os.isatty(2):
            # NO_COLOR takes the colours and leaves the resets, as measured on 2.0.1 and 2.18.0.
            self.colour = "\x1b[m" if os.environ.get("NO_COLOR") else "\x1b[38;5;8m"
            self.reset = "\x1b[0m"

    def begin(self, turn: RunningTurn) -> None:
        """The turn starts: the cursor goes, as it does around waits."""
        if self.hides_cursor:
            write(1, "\x1b[?25l")

    def say(self, text: str) -> None:
        """One chunk of the assistant's text comes."""
        if not text:
            return
        if "slow" in self.kinds or "split_utf8" in self.kinds:
            from . import misbehave

            misbehave.say_slowly(self.kinds, text)
        else:
            write(1, text)

    def spill(self, data: bytes) -> bool:
        """Print what is no part of the turn; False when nobody reads."""
        return write(1, data)

    def call(self, call: Call) -> None:
        """A tool call is announced; the line before it may not have ended yet."""
        title = self.title(call) if self.title else call.title
        write(2, f"\n{self.colour}[tool] {title}{self.reset}\n")

    def word(self, key: str, title: str, tool: str | None = None) -> None:
        """A word to the user comes as a tool call does."""
        write(2, f"\n{self.colour}[tool] {title}{self.reset}\n")

    def denied(self, call: Call) -> None:
        """A call may not run, and there is no terminal to ask."""
        write(2, f"{self.colour}{DENIED}{self.reset}\n")

    def ran(self, call: Call) -> None:
        """A tool call ended; the line does not say which."""
        status = "Failed" if call.error else "Completed"
        write(2, f"{self.colour}[tool] status: {status}{self.reset}\n")

    def end(self, turn: RunningTurn) -> None:
        """The turn is over: the line ends and the cursor comes back."""
        write(1, "\n" + ("\x1b[?25h" if self.hides_cursor else ""))

    def cancelled(self, turn: RunningTurn) -> None:
        """The turn was interrupted: nothing else is said."""
        self.end(turn)

    def refused(self, turn: RunningTurn, text: str) -> None:
        """The service did not answer: what was said stays as it is."""
        if self.hides_cursor:
            write(1, "\x1b[?25h")
        write(2, text + "\n")
