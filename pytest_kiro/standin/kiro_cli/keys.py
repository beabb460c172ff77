"""Asks questions that need keys: a choice among rows, and a text to edit.

They are asked on stderr, as the real program does it, with the terminal in raw mode while they are open.
"""

from __future__ import annotations

import os
import select
import signal
import termios
import tty

from .failures import Failure
from .out import write
from .waiting import until_readable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: A lone ESC cancels; the rest of an arrow key comes at once, but over a network not in one piece.
ESCAPE_SECONDS = 0.3
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"

_KEYS = {
    b"": "cancel",
    b"\x03": "cancel",
    b"\r": "enter",
    b"\n": "enter",
    b"\x08": "backspace",
    b"\x7f": "backspace",
    b"\x15": "clear",
}
_ARROWS = {b"A": "up", b"B": "down"}


def require_terminal() -> None:
    """Fail where no terminal can be asked."""
    if not (os.isatty(0) and os.isatty(2)):
        raise Failure(
            "error: IO error: not a terminal. Run kiro-cli login in a terminal, "
            "or use --license free or --social, which ask for nothing."
        )


def columns() -> int:
    """Return the width of the terminal."""
    try:
        return os.get_terminal_size(2).columns or 80
    except OSError:
        return 80


class Keyboard:
    """The terminal in raw mode, key by key; afterwards it is as before, however this ends."""

    def __enter__(self) -> Keyboard:
        self._saved = termios.tcgetattr(0)
        # A signal that would end the process leaves through here too.
        self._handlers = {number: signal.signal(number, _leave) for number in (signal.SIGTERM, signal.SIGHUP)}
        # Not TCSAFLUSH: keys that were typed before are keys.
        tty.setraw(0, termios.TCSADRAIN)
        return self

    def __exit__(self, *_: object) -> None:
        if os.isatty(0):  # else the terminal is gone
            termios.tcsetattr(0, termios.TCSADRAIN, self._saved)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def key(self) -> str:
        """Read the next key: a printable character, a name, or nothing for a key without a meaning here."""
        byte = _byte(None)
        if byte == b"\x1b":
            return _escape()
        if byte in _KEYS:
            return _KEYS[byte]
        return byte.decode() if b" " <= byte < b"\x7f" else ""


def _leave(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)


def _byte(seconds: float | None) -> bytes:
    """Read one byte; none when the time is over, or when the terminal is gone."""
    if seconds is None:
        until_readable(0)
    elif not select.select([0], [], [], seconds)[0]:
        return b""
    try:
        return os.read(0, 1)
    except OSError:
        return b""


def _escape() -> str:
    """Read what follows ESC: nothing, an arrow in one of its two spellings, or a key without a meaning here."""
    opening = _byte(ESCAPE_SECONDS)
    if opening in (b"", b"\x1b"):
        return "cancel"
    if opening not in (b"[", b"O"):
        return ""
    final = _byte(ESCAPE_SECONDS)
    while final and not b"@" <= final <= b"~":
        final = _byte(ESCAPE_SECONDS)
    return _ARROWS.get(final, "")


def choose(prompt: str, rows: list[str]) -> int | None:
    """Let the user choose one of the rows; None when that was cancelled. Without a prompt nothing of it stays."""
    require_terminal()
    title = f"? {prompt} ›" if prompt else ""
    at = 0
    with Keyboard() as keyboard:
        write(2, HIDE + (f"\x1b[1m{title}\x1b[0m\r\n" if prompt else "") + _drawn(rows, at))
        try:
            while True:
                key = keyboard.key()
                if key in ("enter", "cancel"):
                    break
                step = {"down": 1, "j": 1, "up": -1, "k": -1}.get(key, 0)
                at = (at + step) % len(rows)
                if step:
                    write(2, f"\x1b[{len(rows)}A{_drawn(rows, at)}")
        finally:
            write(2, SHOW)
        if not prompt:
            write(2, f"\x1b[{len(rows)}A\r\x1b[J")
        if key == "cancel" or not prompt:
            return None if key == "cancel" else at
        up = len(rows) + 1 + (len(title) - 1) // columns()
        write(2, f"\x1b[{up}A\r\x1b[J\x1b[32m✔\x1b[0m {prompt} · {rows[at]}\r\n")
    return at


def _drawn(rows: list[str], at: int) -> str:
    """Draw the rows, none longer than a line. They are drawn over one another."""
    width = max(columns() - 3, 1)
    lines = [
        f"\x1b[36m❯ {row[:width]}\x1b[0m" if number == at else f"  {row[:width]}" for number, row in enumerate(rows)
    ]
    return "".join(f"\r\x1b[2K{line}\r\n" for line in lines)


def ask(prompt: str, text: str) -> str | None:
    """Let the user edit a text, which must not be empty; None when that was cancelled."""
    require_terminal()
    with Keyboard() as keyboard:
        write(2, f"\x1b[1m? {prompt} ›\x1b[0m {text}")
        while True:
            key = keyboard.key()
            if key == "cancel" or (key == "enter" and text.strip()):
                write(2, "\r\n")
                return text.strip() if key == "enter" else None
            if key == "backspace" and text:
                text = text[:-1]
                write(2, "\b \b")
            elif key == "clear":
                write(2, "\b \b" * len(text))
                text = ""
            elif len(key) == 1:
                text += key
                write(2, key)
