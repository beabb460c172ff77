"""What the contract tests need of a provider, beyond the protocol."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from emulator import Emulator
from helpers import is_alive, wait_until

from pytest_kiro.sandbox.daytona.provider import DaytonaProvider
from pytest_kiro.sandbox.local import LocalProvider
from pytest_kiro.sandbox.protocol import Provider, Pty, Sandbox
from pytest_kiro.settings.table import Settings


@dataclass
class Machines:
    """A provider, how its processes are seen, and how one of its machines is lost."""

    provider: Provider
    alive: Callable[[int], bool]
    destroy: Callable[[Sandbox], None]
    #: The number out here of a process that says that it has another one.
    number: Callable[[Sandbox, int], int] = lambda _, pid: pid
    #: Whether what a program printed last may be lost with its bare terminal (contract P2).
    loses_tails: bool = False

    def printed(self, got: bytes, wanted: bytes) -> bool:
        """Whether that is what a program that has ended printed."""
        return got == wanted or (self.loses_tails and wanted.startswith(got))

    def pid(self, sandbox: Sandbox, path: str) -> int:
        """The process number that a program writes there, as soon as it has."""

        def written() -> bytes:
            try:
                return sandbox.read_file(path).strip()
            except FileNotFoundError:
                return b""

        return self.number(sandbox, int(wait_until(written)))

    def is_over(self, *pids: int) -> bool:
        """Wait until none of these processes runs."""
        return wait_until(lambda: not any(self.alive(pid) for pid in pids))


def _local(settings: Settings, _emulator: Emulator | None) -> Machines:
    return Machines(LocalProvider(settings), is_alive, lambda sandbox: shutil.rmtree(sandbox.home))


def _bubblewrap(settings: Settings, _emulator: Emulator | None) -> Machines:
    from namespaces import end_namespaces, number_outside, why_none

    from pytest_kiro.sandbox.bubblewrap.provider import BubblewrapProvider

    if reason := why_none():
        pytest.skip(reason)
    provider = BubblewrapProvider(replace(settings, cli="scripted"))
    return Machines(provider, is_alive, end_namespaces, number_outside)


def _daytona(settings: Settings, emulator: Emulator | None) -> Machines:
    assert emulator is not None
    emulator.configure(pty_exit="both")
    provider = DaytonaProvider(settings, environ={"DAYTONA_API_URL": emulator.url, "DAYTONA_API_KEY": emulator.key})
    return Machines(provider, is_alive, lambda sandbox: emulator.kill_sandbox(sandbox.id))


def _racing(settings: Settings, emulator: Emulator | None) -> Machines:
    """The same, with the end of terminals that the daemon has: it races with what they print last."""
    made = _daytona(settings, emulator)
    assert emulator is not None
    emulator.configure(pty_exit="d190")
    made.loses_tails = True
    return made


#: A further provider is one more entry.
PROVIDERS: dict[str, Callable[[Settings, Emulator | None], Machines]] = {
    "local": _local,
    "bubblewrap": _bubblewrap,
    "daytona": _daytona,
}
#: Those whose terminals end otherwise.
PTY_PROVIDERS = PROVIDERS | {"racing": _racing}


class After:
    """A Pty some of whose output has been read already: that is handed out first."""

    def __init__(self, pty: Pty, seen: bytes) -> None:
        self._pty, self._seen = pty, seen
        self.write, self.resize, self.wait, self.close = pty.write, pty.resize, pty.wait, pty.close

    def read(self, timeout: float) -> bytes:
        seen, self._seen = self._seen, b""
        return seen or self._pty.read(timeout)
