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

_TITLE = "Log Kiro in: open this page and approve it, if the code is the same"
_IN_ASCII = str.maketrans("╭╮╰╯─│", "++++-|")


@dataclass(frozen=True)
class LoginTerminal:
    """What is done beside a login at the terminal of this process.

    `tell` is called with the page's URL and the code; `lent` keeps others from printing meanwhile.
    """

    tell: Callable[[str, str], object]
    lent: Callable[[], AbstractContextManager[None]] = nullcontext


def box(url: str, code: str, until: datetime, columns: int) -> bytes:
    """Draw the box.

    It has no frame where the terminal is too narrow, since a URL must stay in one piece.

    >>> box("https://x", "ABCD", datetime(2026, 1, 1, 14, 32), 20).splitlines()[1:]
    [b'https://x', b'Code: ABCD', b'until 14:32']
    """
    lines, encoding = [_TITLE, url, f"Code: {code}", f"until {until:%H:%M}"], locale.getpreferredencoding(False)
    width = max(map(len, lines))
    if width + 4 <= columns:
        edge = "─" * (width + 2)
        lines = [f"╭{edge}╮", *(f"│ {line.ljust(width)} │" for line in lines), f"╰{edge}╯"]
        if encoding.lower().replace("-", "") != "utf8":
            lines = [line.translate(_IN_ASCII) for line in lines]
    return "".join(f"{line}\r\n" for line in lines).encode(encoding, "replace")


def open_browser(url: str) -> None:
    """Open a page in the user's browser.

    Its process is apart from this one and its terminal, since some browsers would draw on that.
    """
    quiet = subprocess.DEVNULL
    argv = [sys.executable, "-m", "webbrowser", url]
    process = subprocess.Popen(argv, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
    threading.Thread(target=process.wait, name="kiro-browser", daemon=True).start()  # some end with the browser only
