"""What a turn shows, in V2's layout: the assistant on stdout, everything about tools on stderr.

Bytes go straight to the descriptors, so a chunk is on its way when the call returns, whatever the locale is.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DENIED = (
    "[denied] tool permission approval is not supported in non-interactive mode. Use --trust-all-tools to auto-approve."
)


def write(descriptor: int, text: str | bytes) -> bool:
    """Write all of it; False when nobody can read it any more, which does not end a turn."""
    view = memoryview(text.encode("utf-8", "replace") if isinstance(text, str) else text)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError:
        return False
    return True


class Screen:
    """The terminal, or the pipes, of one turn."""

    def __init__(self, kinds: dict[str, Any]) -> None:
        self.kinds = kinds
        self.hides_cursor = os.isatty(1)
        self.colour, self.reset = "", ""
        if os.isatty(2):
            # NO_COLOR takes the colours and leaves the resets, as measured on 2.0.1 and 2.18.0.
            self.colour = "\x1b[m" if os.environ.get("NO_COLOR") else "\x1b[38;5;8m"
            self.reset = "\x1b[0m"

    def begin(self) -> None:
        """The turn starts: the cursor goes, as it does around waits."""
        if self.hides_cursor:
            write(1, "\x1b[?25l")

    def say(self, text: str) -> None:
        """One chunk of the assistant's text."""
        if not text:
            return
        if "slow" in self.kinds or "split_utf8" in self.kinds:
            from . import misbehave

            misbehave.say_slowly(self.kinds, text)
        else:
            write(1, text)

    def tool(self, title: str) -> None:
        """A tool call is announced; the line before it may not have ended yet."""
        write(2, f"\n{self.colour}[tool] {title}{self.reset}\n")

    def denied(self) -> None:
        """Nobody can be asked for permission here."""
        write(2, f"{self.colour}{DENIED}{self.reset}\n")

    def status(self, completed: bool) -> None:
        """A tool call ended. The line says nothing about which."""
        write(2, f"{self.colour}[tool] status: {'Completed' if completed else 'Failed'}{self.reset}\n")

    def end(self, *, newline: bool = True) -> None:
        """The turn is over: the line ends and the cursor comes back."""
        write(1, ("\n" if newline else "") + ("\x1b[?25h" if self.hides_cursor else ""))
