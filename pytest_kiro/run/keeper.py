"""Chooses a provider; creates, counts, keeps and closes the sandboxes of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from pytest_kiro.errors import HIDE_FRAMES

if TYPE_CHECKING:
    from pytest_kiro.run.stops import Stops
    from pytest_kiro.sandbox.protocol import Provider, Sandbox, SandboxSpec
    from pytest_kiro.settings.table import Settings

__tracebackhide__ = HIDE_FRAMES
#: Our own, by the names that --kiro-sandbox has for them.
BUILT_IN = ("local", "bubblewrap", "daytona")


class Registered(NamedTuple):
    """A provider that can be chosen; it is imported when it makes a sandbox."""

    make: Callable[[Settings], Provider]
    isolated: bool


def built_in(
    snapshot_lines: Callable[[Settings], Sequence[str]], hosts: Callable[[], Sequence[str]]
) -> dict[str, Registered]:
    """Return our own providers, by name.

    `snapshot_lines` says what a snapshot is built with, `hosts` what Kiro's service is reached by.
    """

    def local(settings: Settings) -> Provider:
        from pytest_kiro.sandbox.local import LocalProvider

        return LocalProvider(settings)

    def bubblewrap(settings: Settings) -> Provider:
        from pytest_kiro.sandbox.bubblewrap.provider import BubblewrapProvider

        return BubblewrapProvider(settings, hosts())

    def daytona(settings: Settings) -> Provider:
        from pytest_kiro.sandbox.daytona.provider import DaytonaProvider

        return DaytonaProvider(settings, recipe=snapshot_lines(settings))

    isolated = {"bubblewrap": bubblewrap, "daytona": daytona}
    return {"local": Registered(local, isolated=False)} | {
        name: Registered(make, isolated=True) for name, make in isolated.items()
    }


@dataclass
class Tally:
    """What became of sandboxes; under xdist the controller has one of each worker."""

    created: int = 0
    closed: int = 0
    #: By the id of what was kept, how to get back to it and how to delete it: several workers may keep the same one.
    kept: dict[str, list[str]] = field(default_factory=dict)
    #: A line on each that is known not to be deleted.
    leaked: list[str] = field(default_factory=list)

    def __add__(self, other: Tally) -> Tally:
        created, closed = self.created + other.created, self.closed + other.closed
        return Tally(created, closed, self.kept | other.kept, self.leaked + other.leaked)


class Keeper:
    """Keeps one process's sandboxes, and closes what its workers left."""

    def __init__(self, settings: Settings, provider: Registered, stops: Stops) -> None:
        self._settings, self.provider, self._stops = settings, provider, stops
        #: Of this process; a sandbox that another worker made is counted there.
        self.tally = Tally()
        #: What the latest sandbox was made from: the provider's name, and its image or snapshot.
        self.made_from = ""
        #: Whether a sandbox was made in this process, or may have been in one of its xdist workers.
        self.used = False
        #: Whether a trial has failed, or was lost, that pytest does not count as a failure.
        self.trial_failed = False
        #: Whether the provider has said of which sandboxes something is left, after all were closed.
        self.certain = False
        #: Why it has not, if it was to.
        self.trouble = ""

    def cli(self, *, isolated: bool) -> str:
        """Return which CLI answers; by default the stand-in where nothing is isolated."""
        return self._settings.cli or ("official" if isolated else "scripted")

    @property
    def installs(self) -> bool:
        """Whether the official CLI is what we put into an isolated sandbox."""
        return self.provider.isolated and self.cli(isolated=True) == "official"

    @contextmanager
    def sandbox(self, spec: SandboxSpec, *, failed: Callable[[], bool]) -> Iterator[Sandbox]:
        """Create a sandbox; at the end remove it, or keep it, as when a test has `failed`."""
        self.used, broken = True, False
        sandbox = self._open.create(spec)
        own = not sandbox.joined
        self.made_from = self._source(spec)
        self.tally.created += own
        try:
            yield sandbox
        except BaseException:
            broken = not self._stops.count
            raise
        finally:
            if not self._stops.leaving:
                when = self._settings.keep_sandbox
                wrong = broken or self.trial_failed or failed()
                self._end(sandbox, keep=when == "always" or (when == "on-failure" and wrong))
                self.tally.closed += own

    def _source(self, spec: SandboxSpec) -> str:
        snapshot = spec.snapshot or (self._settings.snapshot if self._settings.snapshot != "none" else None)
        what = f" image {spec.image}" if spec.image else f" snapshot {snapshot}" if snapshot else ""
        return f"{self._settings.sandbox}{what}"

    def _end(self, sandbox: Sandbox, *, keep: bool) -> None:
        if keep:
            self.tally.kept[sandbox.id] = sandbox.keep()
            return
        stops = self._stops.count
        try:
            sandbox.close()
        except Exception as error:
            # A remote one is looked for once more, when the provider is closed.
            if stops == self._stops.count and not sandbox.remote:
                self.tally.leaked.append(f"{sandbox.id} could not be deleted: {_one_line(error)}")
            raise

    def close(self) -> None:
        """Remove what this run left on all its workers; idempotent."""
        if not self.used or self._stops.leaving:
            return
        stops = self._stops.count
        try:
            leaked: list[str] | None = self._open.close()
        except Exception as error:  # of any provider's author: the results of the run are worth more
            if stops < self._stops.count:
                raise  # it is our own, of a signal
            self.trouble = f"what this run may have left could not be cleared away: {_one_line(error)}"
        else:
            self.certain = leaked is not None  # one that keeps an older contract returns nothing
            self.tally.leaked += leaked or []
        self.used = False

    @cached_property
    def _open(self) -> Provider:
        return self.provider.make(self._settings)


def _one_line(error: BaseException) -> str:
    return "; ".join(line.strip() for line in str(error).splitlines()) or type(error).__name__
