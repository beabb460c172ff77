"""Open a fresh terminal, start a program in it, and give back a Pty that speaks only that program."""

from __future__ import annotations

import time
from contextlib import suppress

from pytest_kiro.errors import LaunchError, PtyClosed, message
from pytest_kiro.sandbox.protocol import Pty, Sandbox
from pytest_kiro.terminal.launch import Filter, Launch
from pytest_kiro.terminal.text import Plain, fold

#: Seconds that a shell may take from its first byte to the marker; rc files can be slow.
LAUNCH_TIMEOUT = 60.0


def attach(
    sandbox: Sandbox, launch: Launch, *, size: tuple[int, int] = (120, 30), timeout: float = LAUNCH_TIMEOUT
) -> Attached:
    """Start `launch` in a new terminal of `sandbox`.

    `size` is (columns, rows), `timeout` the seconds until the program must have begun. Returns at once; the
    first `read` waits for the program and raises `LaunchError` with what the shell said when it never comes.

    >>> attach  # doctest: +ELLIPSIS
    <function attach at ...>
    """
    folder = f"{sandbox.home}/{launch.folder}"
    sandbox.write_files({f"{folder}/{name}": (data, 0o600) for name, data in launch.contents().items()})
    # The typed line is harmless, yet a history file in HOME is something that the agent would see.
    pty = sandbox.open_pty(env={"HISTFILE": "/dev/null", **launch.secrets}, size=size)
    try:
        with suppress(PtyClosed):  # the shell has ended already; what it said is read first, and then told
            pty.write(launch.line().encode("ascii"))
    except BaseException:
        pty.close()
        raise
    return Attached(pty, launch, timeout)


class Attached:
    """A Pty (contract P) from whose output the shell is gone."""

    def __init__(self, pty: Pty, launch: Launch, timeout: float) -> None:
        self._pty, self._timeout = pty, timeout
        self._filter = Filter(launch.marker)
        self._deadline = time.monotonic() + timeout

    @property
    def started(self) -> bool:
        """Whether the program has begun."""
        return self._filter.opened

    def read(self, timeout: float) -> bytes:
        end = time.monotonic() + timeout
        while True:
            if self.started:
                return self._pty.read(max(0.0, end - time.monotonic()))
            now = time.monotonic()
            if now > self._deadline:
                raise self._never_came(f"did not start within {self._timeout:g} s")
            try:
                data = self._pty.read(max(0.0, min(end, self._deadline) - now))
            except TimeoutError:
                if time.monotonic() < end:
                    continue  # the launch's deadline, not the caller's
                raise
            if not data:
                raise self._never_came("did not start: its terminal ended first")
            if rest := self._filter.feed(data):
                return rest
            if time.monotonic() >= end:  # the shell may talk on and on
                raise TimeoutError(f"the program has not begun within {timeout:g} s")

    def _never_came(self, what: str) -> LaunchError:
        plain = Plain()
        said = fold(plain.feed(self._filter.said, final=True))
        advice = "look at the shell's start-up files in the sandbox's HOME, and at whether its workspace is there"
        return LaunchError(message(f"the program {what}; the shell said:", output=said, advice=advice))

    def write(self, data: bytes) -> None:
        self._pty.write(data)

    def resize(self, size: tuple[int, int]) -> None:
        self._pty.resize(size)

    def wait(self, timeout: float) -> int | None:
        return self._pty.wait(timeout)

    def close(self) -> None:
        self._pty.close()
