"""What one pytest process knows of its own run; the plugins share it, and nothing in it knows pytest."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pytest_kiro.errors import HIDE_FRAMES
from pytest_kiro.secrecy.redaction import Secrets

if TYPE_CHECKING:
    from types import FrameType

    from pytest_kiro.agent.live import Observer
    from pytest_kiro.run.budget import Budget
    from pytest_kiro.run.providers import Registered
    from pytest_kiro.sandbox.protocol import Provider, Sandbox, SandboxSpec
    from pytest_kiro.settings.table import Settings

__tracebackhide__ = HIDE_FRAMES


@dataclass
class Tally:
    """What became of sandboxes; under xdist the controller has one of each worker."""

    created: int = 0
    closed: int = 0
    #: By the id of what was kept, how to get back to it and how to delete it: several workers may keep the same one.
    kept: dict[str, list[str]] = field(default_factory=dict)
    #: A line on each that is known not to be deleted.
    left: list[str] = field(default_factory=list)

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.created + other.created,
            self.closed + other.closed,
            {**self.kept, **other.kept},
            [*self.left, *other.left],
        )


@dataclass
class KiroSession:
    """The settings, the provider, and what became of them."""

    settings: Settings
    provider: Registered
    observers: list[Observer] = field(default_factory=list)
    #: What this process must not write.
    secrets: Secrets = field(default_factory=lambda: Secrets.of(os.environ))
    #: Of this process; a sandbox that another worker made is counted there.
    tally: Tally = field(default_factory=Tally)
    #: Whether a sandbox was made in this process, or in one of its xdist workers.
    used: bool = False
    #: Whether the provider has said of which sandboxes something is left, after all were closed.
    certain: bool = False
    #: Why it has not, if it was to.
    trouble: str = ""
    #: How often the run was told to stop, by Ctrl-C or a signal.
    stops: int = 0
    _open: Provider | None = None

    @property
    def leaving(self) -> bool:
        """Whether it was told twice: then nothing is cleared away any more."""
        return self.stops > 1

    @cached_property
    def budget(self) -> Budget:
        """What the turns of this run may cost, on all its workers."""
        from pytest_kiro.run.budget import Budget
        from pytest_kiro.sandbox.runs import folder_of

        if self.settings.budget is None:
            return Budget()
        return Budget(self.settings.budget, folder_of(self.settings.run_id), self.settings.worker)

    def cli(self, *, isolated: bool) -> str:
        """Which CLI answers: unless told, the stand-in wherever nothing keeps Kiro off this machine."""
        return self.settings.cli or ("official" if isolated else "scripted")

    @contextmanager
    def sandbox(self, spec: SandboxSpec, *, failed: Callable[[], bool]) -> Iterator[Sandbox]:
        """Have a sandbox of the chosen provider, removed at the end unless it is to be kept.

        `failed` says at the end whether a test has failed.
        """
        self.used, broken = True, False
        sandbox = self._provider().create(spec)
        ours = not sandbox.joined
        self.tally.created += ours
        try:
            yield sandbox
        except BaseException:
            broken = not self.stops
            raise
        finally:
            if not self.leaving:
                when = self.settings.keep_sandbox
                self._end(sandbox, keep=when == "always" or (when == "on-failure" and (broken or failed())))
                self.tally.closed += ours

    def _end(self, sandbox: Sandbox, *, keep: bool) -> None:
        if keep:
            self.tally.kept[sandbox.id] = sandbox.keep()
            return
        stops = self.stops
        try:
            sandbox.close()
        except Exception as error:
            # A remote one is looked for once more, when the provider is closed.
            if stops == self.stops and not sandbox.remote:
                self.tally.left.append(f"{sandbox.id} could not be deleted: {one_line(error)}")
            raise

    def close(self) -> None:
        """Remove what this run left on all its workers; idempotent, of no effect where there was no sandbox."""
        if self.settings.budget is not None:
            self.budget.remove()
        if not self.used or self.leaving:
            return
        stops = self.stops
        try:
            told: list[str] | None = self._provider().close()
        except Exception as error:  # of whoever wrote the provider: the results of the run are worth more
            if stops < self.stops:
                raise  # it is our own, of a signal
            self.trouble = f"what this run may have left could not be cleared away: {one_line(error)}"
            told = None
        self.used, self.certain = False, told is not None  # one that keeps an older contract returns nothing
        self.tally.left += told or []

    def stop_gently(self, end: Callable[[signal.Signals], None]) -> Callable[[], None]:
        """From now on, count Ctrl-C, and have `end` raise at SIGTERM and SIGHUP; return what undoes that.

        Who says it twice does not want to wait for the clearing away.
        """

        def stop(number: int, frame: FrameType | None) -> None:
            __tracebackhide__ = True
            self.stops += 1
            if number == signal.SIGINT:
                signal.default_int_handler(number, frame)
            signal.signal(number, signal.SIG_DFL)  # a second one ends at once
            end(signal.Signals(number))

        handlers: dict[signal.Signals, Any] = dict.fromkeys((signal.SIGTERM, signal.SIGHUP), signal.SIG_DFL)
        handlers[signal.SIGINT] = signal.default_int_handler
        is_main = threading.current_thread() is threading.main_thread()
        ours = [one for one, handler in handlers.items() if is_main and signal.getsignal(one) is handler]
        for number in ours:
            signal.signal(number, stop)

        def undo() -> None:
            for number in ours:
                signal.signal(number, handlers[number])

        return undo

    def _provider(self) -> Provider:
        if self._open is None:
            self._open = self.provider.make(self.settings)
        return self._open


def one_line(error: BaseException) -> str:
    """Return what an error says, in one line.

    >>> one_line(ValueError("disk full\\nmake room"))
    'disk full; make room'
    """
    return "; ".join(line.strip() for line in str(error).splitlines()) or type(error).__name__
