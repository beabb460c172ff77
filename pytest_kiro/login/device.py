"""The device login: kiro-cli shows a code, a human approves it in a browser, whoami says whether it worked."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

from pytest_kiro.errors import HIDE_FRAMES, LoginError, SandboxError, message
from pytest_kiro.kirocli import commands
from pytest_kiro.kirocli.install import Installation
from pytest_kiro.sandbox.protocol import Sandbox
from pytest_kiro.terminal.attach import attach
from pytest_kiro.terminal.launch import Launch
from pytest_kiro.terminal.text import Kept, Plain, fold
from pytest_kiro.turn.causes import USAGE_ERROR, exit_name

if TYPE_CHECKING:
    from pytest_kiro.secrecy.redaction import Secrets

__tracebackhide__ = HIDE_FRAMES

#: Seconds of silence after which what looked like the beginning of a code is shown as it is.
_HELD_FOR = 1.0
#: Bytes within which code and URL stand; measured: about 150.
_LONGEST = 4096
_BEGIN = b"Confirm the following code"
_CODE = re.compile(r"Code:\s*(\S+)\s+Open this URL:\s*(https?://\S+)")
_ENDED = re.compile(rb"Open this URL:[^\r\n]*https?://[^\r\n]*[\r\n]+")
_AGAIN = "run it again and approve the code in your browser in time; --kiro-login-timeout gives more of it"


@dataclass(frozen=True)
class DeviceCode:
    """What a human needs to approve a login: the page, the code to compare, and the seconds that are left for it."""

    url: str
    code: str
    seconds: float


class Human(Protocol):
    """Somebody at a terminal, who can be asked."""

    def lent(self) -> AbstractContextManager[None]:
        """Leave the terminal to the login meanwhile."""
        ...

    def told(self, code: DeviceCode) -> bytes:
        """Be told the code; return what the terminal shows of it."""
        ...

    def tick(self) -> bytes:
        """Return what the terminal shows while the human is waited for, a few times in a second."""
        ...

    def shown(self, data: bytes) -> None:
        """Be told what else the terminal shows."""
        ...


def check(_: object = None) -> None:
    """Raise `LoginError` when nobody can be asked here."""
    from pytest_kiro.terminal import keyboard

    if not keyboard.is_there():
        raise LoginError(
            message(
                "a device login needs a terminal, to choose a provider in and to show the code, and there is none here",
                advice="run it in a terminal and in the foreground; pytest also takes a KIRO_API_KEY or a saved login",
            )
        )


def log_in(
    sandbox: Sandbox,
    cli: Installation,
    human: Human,
    *,
    arguments: Sequence[str] = (),
    timeout: float,
    secrets: Secrets,
) -> None:
    """Have a human log kiro-cli in, at this process's terminal.

    `arguments` are further ones for `kiro-cli login`; `timeout` is the seconds that the human has; `secrets` is told
    the code, so that it is on this terminal only. Returns when kiro-cli's login has ended with 0, which proves
    nothing yet. Raises `LoginError`, and `KeyboardInterrupt` when the human pressed Ctrl-C.
    """
    from pytest_kiro.terminal import keyboard

    check()
    nonce = uuid4().hex[:16]
    folder = f".local/state/{nonce}"
    launch = Launch(
        argv=(cli.path, *commands.login(arguments)),
        workspace=f"{sandbox.home}/{folder}/here",
        folder=folder,
        nonce=nonce,
        stdin=None,
        env=commands.QUIET,
        make=True,
    )
    sandbox.keep_alive(timeout)
    screen = _Screen(human, secrets, time.monotonic() + timeout)
    try:
        with human.lent():
            pty = attach(sandbox, launch, size=keyboard.size())
            try:
                status = keyboard.lend(pty, show=screen.show, tick=screen.tick, timeout=timeout)
            finally:
                pty.close()
    except TimeoutError:
        what = f"nobody approved the device login within {timeout:g} s"
        raise LoginError(message(what, output=secrets(screen.text), advice=_AGAIN)) from None
    except keyboard.NoTerminal as error:
        raise LoginError(message(f"the device login was given up: {error}", advice=_AGAIN)) from None
    finally:
        with suppress(SandboxError, OSError):
            sandbox.remove(folder)
    if status is None:
        what, advice = "the link to the sandbox was lost during the device login", "run it again; look at the network"
        raise LoginError(message(what, output=secrets(screen.text), advice=advice))
    if status != 0:
        what = f"kiro-cli's device login ended with exit code {exit_name(status)}"
        advice = "look at --kiro-login-args" if status == USAGE_ERROR else _AGAIN
        raise LoginError(message(what, output=secrets(screen.text), advice=advice))


class _Screen:
    """Shows what kiro-cli prints, but for its code, which the human is told in a better way."""

    def __init__(self, human: Human, secrets: Secrets, deadline: float) -> None:
        self._human, self._secrets, self._deadline = human, secrets, deadline
        self._held, self._since = b"", 0.0
        self._said = Kept(b"", 64 * 1024)

    @property
    def text(self) -> str:
        """All that was printed, as text."""
        return fold(Plain().feed(self._said.join(b"\n"), final=True))

    def show(self, data: bytes) -> bytes:
        """Return what is to be shown now that these bytes were printed; of the code nothing before it is complete."""
        self._said.add(data)
        data, self._held = self._held + data, b""
        begin = data.find(_BEGIN)
        if begin < 0:
            begin = len(data) - _overlap(data)
        rest = data[begin:]
        if begin < len(data):
            end = _ENDED.search(rest)
            if end is None and len(rest) < _LONGEST:
                self._held, self._since, rest = rest, time.monotonic(), b""
            elif end is not None and (code := self._code(rest[: end.end()])):
                after = rest[end.end() :]
                self._human.shown(data[:begin])
                box = self._human.told(code)
                self._human.shown(after)
                return data[:begin] + box + after
        shown = data[:begin] + rest
        self._human.shown(shown)
        return shown

    def tick(self) -> bytes:
        """Return what is to be shown while nothing is printed."""
        if self._held and time.monotonic() - self._since > _HELD_FOR:
            held, self._held = self._held, b""
            if code := self._code(held):  # its line has not ended
                return self._human.told(code)
            self._human.shown(held)
            return held
        return self._human.tick()

    def _code(self, data: bytes) -> DeviceCode | None:
        found = _CODE.search(fold(Plain().feed(data, final=True)))
        if found is None:
            return None
        self._secrets.add(found[1], "device code")
        return DeviceCode(found[2], found[1], self._deadline - time.monotonic())


def _overlap(data: bytes) -> int:
    """Return how many bytes at the end may be the beginning of a code."""
    return next((size for size in range(min(len(_BEGIN) - 1, len(data)), 0, -1) if _BEGIN.startswith(data[-size:])), 0)
