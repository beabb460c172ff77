"""Shows the code of a device login in a box."""

from __future__ import annotations

import locale
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime

from pytest_kiro.terminal import keyboard
from pytest_kiro.terminal.devtty import NoTerminal as NoTerminal  # what a login at a terminal that is gone raises
from pytest_kiro.terminal.launch import ProgramPty

_TITLE = "Log Kiro in: open this page and approve it, if the code is the same"


@dataclass(frozen=True)
class DeviceCode:
    """What a person needs to approve a login.

    `url` is the page, `code` is to be compared there, `until` is when the login is given up.
    """

    url: str
    code: str
    until: datetime


class LoginTerminal:
    """The terminal of this process, where a person logs in.

    `lent` keeps others from printing meanwhile; `tell` is called with the page's URL and the code.
    """

    def __init__(
        self,
        *,
        tell: Callable[[str, str], object],
        lent: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.lent, self._tell = lent, tell
        self._failed: BaseException | None = None

    @staticmethod
    def is_there() -> bool:
        """Whether there is a terminal, and this process may read its keys."""
        return keyboard.is_there()

    @staticmethod
    def size() -> tuple[int, int]:
        """Return its (columns, rows); `NoTerminal` without one."""
        return keyboard.size()

    def lend(
        self, pty: ProgramPty, show: Callable[[bytes], bytes], tick: Callable[[], bytes], timeout: float
    ) -> int | None:
        """Connect it with the program in `pty`, as `keyboard.lend` does."""
        return keyboard.lend(pty, show=show, tick=tick, timeout=timeout)

    def show(self, code: DeviceCode) -> bytes:
        """Return the box to be shown, and call `tell`."""
        # In a thread: while a hook takes its time, the code is to be seen, and Ctrl-C to be heard.
        threading.Thread(target=self._call, args=(code,), name="kiro-device-code", daemon=True).start()
        return box(code, self.size()[0]).encode(_encoding(), "replace")

    def check(self) -> None:
        """Raise what `tell` has raised."""
        if self._failed is not None:
            raise self._failed

    def _call(self, code: DeviceCode) -> None:
        try:
            self._tell(code.url, code.code)
        except BaseException as error:
            self._failed = error


def box(code: DeviceCode, columns: int) -> str:
    """Draw the box.

    It has no frame where the terminal is too narrow, since a URL must stay in one piece.

    >>> box(DeviceCode("https://x", "ABCD", datetime(2026, 1, 1, 14, 32)), 20).splitlines()[1:]
    ['https://x', 'Code: ABCD', 'until 14:32']
    """
    lines = [_TITLE, code.url, f"Code: {code.code}", f"until {code.until:%H:%M}"]
    width = max(map(len, lines))
    if width + 4 <= columns:
        drawable = _encoding().lower().replace("-", "") == "utf8"
        side, edge, (a, b, c, d) = ("│", "─" * (width + 2), "╭╮╰╯") if drawable else ("|", "-" * (width + 2), "++++")
        lines = [f"{a}{edge}{b}", *(f"{side} {line.ljust(width)} {side}" for line in lines), f"{c}{edge}{d}"]
    return "\r\n".join([*lines, ""])


def open_browser(url: str) -> None:
    """Open a page in the user's browser.

    Its process is apart from this one and its terminal, since some browsers would draw on that.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "webbrowser", url],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    threading.Thread(target=process.wait, name="kiro-browser", daemon=True).start()  # some end with the browser only


def _encoding() -> str:
    return locale.getpreferredencoding(False)
