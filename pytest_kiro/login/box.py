"""The human who approves a device login: a box with the page, the code and the time that is left."""

from __future__ import annotations

import locale
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from pytest_kiro.login.device import DeviceCode

#: What moves the cursor to another line than the next: then nobody knows where the box is.
_MOVES = re.compile(rb"\x1b(?:\[[0-9;?]*[ABEFHJLMSTdfrsu]|[78cDEM])")
_TITLE = "Log Kiro in: open this page and approve it, if the code is the same"


class AtTheTerminal:
    """Whoever sits at this process's terminal (a `Human` of cli/device.py).

    `lent` has the terminal left alone meanwhile; `tell` is called with the page's URL and the code.
    """

    def __init__(
        self,
        *,
        tell: Callable[[str, str], object],
        lent: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.lent, self._tell = lent, tell
        self._until: float | None = None
        self._failed: BaseException | None = None
        self._size, self._below, self._last = (0, 0), 0, ""

    def told(self, code: DeviceCode) -> bytes:
        """Show the code, and tell whoever wants to know."""
        from pytest_kiro.terminal import keyboard

        self._until, self._size, self._below = time.monotonic() + code.seconds, keyboard.size(), 2
        self._last = _left(code.seconds)
        # Apart: while it takes its time, the code is to be seen, and Ctrl-C to be heard.
        threading.Thread(target=self._let_know, args=(code,), name="kiro-device-code", daemon=True).start()
        return box(code, self._size[0], self._last).encode(_encoding(), "replace")

    def _let_know(self, code: DeviceCode) -> None:
        try:
            self._tell(code.url, code.code)
        except BaseException as error:
            self._failed = error

    def shown(self, data: bytes) -> None:
        """Keep count of the lines below the box; where that is not possible its time stands still."""
        if self._until is not None:
            self._below += data.count(b"\n")
            if _MOVES.search(data) or self._below >= self._size[1] - 1:
                self._until = None

    def tick(self) -> bytes:
        """Renew the time that is left, once a second."""
        from pytest_kiro.terminal import keyboard

        if self._failed is not None:
            raise self._failed
        if self._until is None or (left := _left(self._until - time.monotonic())) == self._last:
            return b""
        if keyboard.size() != self._size:  # what was wrapped is wrapped anew
            self._until = None
            return b""
        self._last = left
        column = f"\x1b[{_INDENT + 1}G"
        return f"\x1b7\x1b[{self._below}A{column}{left}\x1b8".encode()


_INDENT = 2


def box(code: DeviceCode, columns: int, left: str) -> str:
    """Draw the box; without a frame where the terminal is too narrow, since a URL must stay in one piece.

    The time stands two lines above the end, from the third column on.

    >>> box(DeviceCode("https://x", "ABCD", 60.0), 20, "1:00 left").splitlines()[1:4]
    ['https://x', 'Code: ABCD', '  1:00 left']
    """
    lines = [_TITLE, code.url, f"Code: {code.code}", left.ljust(len(_TITLE))]
    width = max(map(len, lines))
    if width + 2 * _INDENT > columns:
        return "\r\n".join([*lines[:-1], f"  {left}", "", ""])
    down, across = ("│", "─") if _encoding().lower().replace("-", "") == "utf8" else ("|", "-")
    corners = "╭╮╰╯" if down == "│" else "++++"
    rows = [f"{down} {line.ljust(width)} {down}" for line in lines]
    top, bottom = (f"{corners[at]}{across * (width + 2)}{corners[at + 1]}" for at in (0, 2))
    return "\r\n".join([top, *rows, bottom, ""])


def open_browser(url: str) -> None:
    """Open a page in the user's browser, apart from this process and its terminal: some browsers would draw on it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "webbrowser", url],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    threading.Thread(target=process.wait, name="kiro-browser", daemon=True).start()  # some end with the browser only


def _left(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes}:{rest:02} left "


def _encoding() -> str:
    return locale.getpreferredencoding(False)
