"""Logs kiro-cli in by device: a person approves its code."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

from pytest_kiro.errors import HIDE_FRAMES, LoginError, SandboxError
from pytest_kiro.kirocli import commands
from pytest_kiro.kirocli.install import Installation
from pytest_kiro.login.box import DeviceCode, LoginTerminal, NoTerminal
from pytest_kiro.sandbox.protocol import Sandbox
from pytest_kiro.terminal.attach import attach
from pytest_kiro.terminal.launch import Launch
from pytest_kiro.terminal.text import Kept, plain_text
from pytest_kiro.turn.causes import USAGE_ERROR, exit_name

if TYPE_CHECKING:
    from pytest_kiro.secrecy.redaction import Secrets

__tracebackhide__ = HIDE_FRAMES

#: Bytes within which code and URL stand; measured: about 150.
_LONGEST = 4096
_BEGIN = b"Confirm the following code"
_CODE = re.compile(r"Code:\s*(\S+)\s+Open this URL:\s*(https?://\S+)")
_ENDED = re.compile(rb"Open this URL:[^\r\n]*https?://[^\r\n]*[\r\n]+")
_AGAIN = "run it again and approve the code in your browser in time; --kiro-login-timeout gives more of it"


def check() -> None:
    """Raise `LoginError` when this process has no terminal to log in at."""
    if not LoginTerminal.is_there():
        raise LoginError(
            "a device login needs a terminal, to choose a provider in and to show the code, and there is none here",
            advice="run it in a terminal and in the foreground; pytest also takes a KIRO_API_KEY or a saved login",
        )


def log_in(
    sandbox: Sandbox,
    cli: Installation,
    terminal: LoginTerminal,
    *,
    arguments: Sequence[str] = (),
    timeout: float,
    held_for: float,
    secrets: Secrets,
) -> None:
    """Log kiro-cli in by device, at this process's terminal.

    `arguments` are further ones for `kiro-cli login`; `timeout` is the seconds in which a person must approve it;
    `held_for` those of silence after which what looked like the beginning of a code is shown; `secrets` hides the code,
    so that it is on this terminal only. Returns when kiro-cli's login has ended with 0, which proves nothing yet.
    Raises `LoginError`, and `KeyboardInterrupt` after Ctrl-C.
    """
    check()
    sandbox.keep_alive(timeout)
    screen = _Screen(terminal, secrets, datetime.now() + timedelta(seconds=timeout), held_for)
    try:
        status = _run(sandbox, (cli.path, *commands.login(arguments)), terminal, screen, timeout)
    except TimeoutError:
        what = f"nobody approved the device login within {timeout:g} s"
        raise LoginError(what, output=screen.text, advice=_AGAIN) from None
    except NoTerminal as error:
        raise LoginError(f"the device login was given up: {error}", advice=_AGAIN) from None
    if status is None:
        what = "the link to the sandbox was lost during the device login"
        raise LoginError(what, output=screen.text, advice="run it again; look at the network")
    if status != 0:
        what = f"kiro-cli's device login ended with exit code {exit_name(status)}"
        advice = "look at --kiro-login-args" if status == USAGE_ERROR else _AGAIN
        raise LoginError(what, output=screen.text, advice=advice)


def _run(
    sandbox: Sandbox, argv: tuple[str, ...], terminal: LoginTerminal, screen: _Screen, timeout: float
) -> int | None:
    """Run kiro-cli's login; return its status, None for a lost link."""
    nonce = uuid4().hex[:16]
    folder = f".local/state/{nonce}"
    workspace = f"{sandbox.home}/{folder}/here"
    launch = Launch(argv, workspace, folder, nonce, stdin=None, env=commands.QUIET, make=True)
    try:
        with terminal.lent():
            pty = attach(sandbox, launch, size=terminal.size())
            try:
                return terminal.lend(pty, screen.show, screen.tick, timeout)
            finally:
                pty.close()
    finally:
        with suppress(SandboxError, OSError):
            sandbox.remove(folder)


class _Screen:
    """Shows what kiro-cli prints, with the box in its code's place."""

    def __init__(self, terminal: LoginTerminal, secrets: Secrets, until: datetime, held_for: float) -> None:
        self._terminal, self._secrets, self._until, self._held_for = terminal, secrets, until, held_for
        self._held, self._since = b"", 0.0
        self._printed = Kept(b"", 64 * 1024)

    @property
    def text(self) -> str:
        """All that was printed, as text, without secrets."""
        return self._secrets(plain_text(self._printed.join(b"\n")))

    def show(self, data: bytes) -> bytes:
        """Return what is to be shown of printed bytes.

        Those of a code are held until it is complete.
        """
        self._printed.add(data)
        data, self._held = self._held + data, b""
        begin = data.find(_BEGIN)
        if begin < 0:
            begin = len(data) - _overlap(data)
        before, rest = data[:begin], data[begin:]
        end = _ENDED.search(rest)
        if end is None and 0 < len(rest) < _LONGEST:
            self._held, self._since = rest, time.monotonic()
            return before
        if end is not None and (code := self._code(rest[: end.end()])):
            return before + self._terminal.show(code) + rest[end.end() :]
        return data

    def tick(self) -> bytes:
        """Return what is to be shown while nothing is printed."""
        self._terminal.check()
        if not self._held or time.monotonic() - self._since <= self._held_for:
            return b""
        held, self._held = self._held, b""
        code = self._code(held)  # its line may not have ended
        return self._terminal.show(code) if code else held

    def _code(self, data: bytes) -> DeviceCode | None:
        match = _CODE.search(plain_text(data))
        if match is None:
            return None
        self._secrets.add(match[1], "device code")
        return DeviceCode(match[2], match[1], self._until)


def _overlap(data: bytes) -> int:
    """Return how many bytes at the end may begin a code."""
    return next((size for size in range(min(len(_BEGIN) - 1, len(data)), 0, -1) if _BEGIN.startswith(data[-size:])), 0)
