"""Logs kiro-cli in by device: a person approves the code in a box."""

from __future__ import annotations

import locale
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from pytest_kiro.errors import HIDE_FRAMES, LoginError, SandboxError
from pytest_kiro.kirocli import commands
from pytest_kiro.kirocli.install import Installation
from pytest_kiro.sandbox.protocol import Sandbox
from pytest_kiro.secrecy.redaction import Secrets, overlap
from pytest_kiro.settings.table import Settings
from pytest_kiro.terminal import keyboard
from pytest_kiro.terminal.attach import attach
from pytest_kiro.terminal.launch import Launch
from pytest_kiro.terminal.text import Kept, plain_text
from pytest_kiro.turn.causes import USAGE_ERROR, exit_name

__tracebackhide__ = HIDE_FRAMES

#: Bytes within which code and URL stand; measured: about 150.
_LONGEST = 4096
_BEGIN = b"Confirm the following code"
_CODE = re.compile(r"Code:\s*(\S+)\s+Open this URL:\s*(https?://\S+)")
_ENDED = re.compile(rb"Open this URL:[^\r\n]*https?://[^\r\n]*[\r\n]+")
_AGAIN = "run it again and approve the code in your browser in time; --kiro-login-timeout gives more of it"
_TITLE = "Log Kiro in: open this page and approve it, if the code is the same"
_IN_ASCII = str.maketrans("╭╮╰╯─│", "++++-|")


@dataclass(frozen=True)
class LoginTerminal:
    """What is done beside a login at the terminal of this process.

    `tell` is called with the page's URL and the code; `lent` keeps others from printing meanwhile.
    """

    tell: Callable[[str, str], object]
    lent: Callable[[], AbstractContextManager[None]] = nullcontext


def check() -> None:
    """Raise `LoginError` when this process has no terminal to log in at."""
    if not keyboard.is_there():
        raise LoginError(
            "a device login needs a terminal, to choose a provider in and to show the code, and there is none here",
            advice="run it in a terminal and in the foreground; pytest also takes a KIRO_API_KEY or a saved login",
        )


def log_in(sandbox: Sandbox, cli: Installation, settings: Settings, terminal: LoginTerminal, secrets: Secrets) -> None:
    """Log kiro-cli in by device, at this process's terminal.

    `secrets` hides the code, so that it is on this terminal only. That kiro-cli's login ended with 0 proves nothing
    yet. Raises `LoginError`, and `KeyboardInterrupt` after Ctrl-C.
    """
    check()
    sandbox.keep_alive(settings.login_timeout)
    screen = _Screen(settings, terminal, secrets)
    try:
        status = _run(sandbox, (cli.path, *commands.login(settings.login_args or ())), screen, settings.login_timeout)
    except TimeoutError:
        what = f"nobody approved the device login within {settings.login_timeout:g} s"
        raise LoginError(what, output=screen.text, advice=_AGAIN) from None
    except keyboard.NoTerminal as error:
        raise LoginError(f"the device login was given up: {error}", advice=_AGAIN) from None
    if status is None:
        what = "the link to the sandbox was lost during the device login"
        raise LoginError(what, output=screen.text, advice="run it again; look at the network")
    if status != 0:
        what = f"kiro-cli's device login ended with exit code {exit_name(status)}"
        advice = "look at --kiro-login-args" if status == USAGE_ERROR else _AGAIN
        raise LoginError(what, output=screen.text, advice=advice)


def _run(sandbox: Sandbox, argv: tuple[str, ...], screen: _Screen, timeout: float) -> int | None:
    """Run kiro-cli's login; return its status, None for a lost link."""
    nonce = uuid4().hex[:16]
    folder = f".local/state/{nonce}"
    workspace = f"{sandbox.home}/{folder}/here"
    launch = Launch(argv, workspace, folder, nonce, stdin=None, env=commands.QUIET, make=True)
    try:
        with screen.terminal.lent(), closing(attach(sandbox, launch, size=keyboard.size())) as pty:
            return keyboard.lend(pty, show=screen.show, tick=screen.tick, timeout=timeout)
    finally:
        with suppress(SandboxError, OSError):
            sandbox.remove(folder)


class _Screen:
    """Shows what kiro-cli prints, with the box in its code's place."""

    def __init__(self, settings: Settings, terminal: LoginTerminal, secrets: Secrets) -> None:
        self.terminal, self._secrets, self._held_for = terminal, secrets, settings.waits.held_for
        self._until = datetime.now() + timedelta(seconds=settings.login_timeout)
        self._held, self._since = b"", 0.0
        self._printed = Kept(b"", 64 * 1024)
        self._failed: BaseException | None = None

    @property
    def text(self) -> str:
        """All that was printed, as text, without secrets."""
        return self._secrets(plain_text(self._printed.join(b"\n")))

    def show(self, data: bytes) -> bytes:
        """Return what is to be shown; bytes of a code wait for its end."""
        self._printed.add(data)
        data, self._held = self._held + data, b""
        begin = data.find(_BEGIN)
        if begin < 0:
            begin = len(data) - overlap(data, _BEGIN)
        before, rest = data[:begin], data[begin:]
        end = _ENDED.search(rest)
        if end is None and 0 < len(rest) < _LONGEST:
            self._held, self._since = rest, time.monotonic()
            return before
        if end is not None and (shown := self._boxed(rest[: end.end()])):
            return before + shown + rest[end.end() :]
        return data

    def tick(self) -> bytes:
        """Return what is shown in silence; raise what `tell` has raised."""
        if self._failed is not None:
            raise self._failed
        if not self._held or time.monotonic() - self._since <= self._held_for:
            return b""
        held, self._held = self._held, b""
        return self._boxed(held) or held  # its line may not have ended

    def _boxed(self, data: bytes) -> bytes:
        """Hand the code on, and return its box, empty without one."""
        match = _CODE.search(plain_text(data))
        if match is None:
            return b""
        code, url = match.groups()
        self._secrets.add(code, "device code")
        # In a thread: while a hook takes its time, the code is to be seen, and Ctrl-C to be heard.
        threading.Thread(target=self._tell, args=(url, code), name="kiro-device-code", daemon=True).start()
        return _box(url, code, self._until, keyboard.size()[0])

    def _tell(self, url: str, code: str) -> None:
        try:
            self.terminal.tell(url, code)
        except BaseException as error:
            self._failed = error


def _box(url: str, code: str, until: datetime, columns: int) -> bytes:
    """Draw the box; a narrow terminal has it without a frame, since a URL must stay in one piece."""
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
