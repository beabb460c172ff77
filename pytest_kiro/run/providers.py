"""Names the providers of sandboxes, and registers our own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pytest_kiro.sandbox.protocol import Provider
    from pytest_kiro.settings.table import Settings

#: Our own, by the names that --kiro-sandbox has for them.
BUILT_IN = ("local", "daytona")


class Registered(NamedTuple):
    """A provider that can be chosen; it is imported when it makes a sandbox."""

    make: Callable[[Settings], Provider]
    isolated: bool


def built_in(snapshot_lines: Callable[[Settings], Sequence[str]]) -> dict[str, Registered]:
    """Return our own providers, by name; `snapshot_lines` says what a snapshot is built with."""

    def local(settings: Settings) -> Provider:
        from pytest_kiro.sandbox.local import LocalProvider

        return LocalProvider(settings)

    def daytona(settings: Settings) -> Provider:
        from pytest_kiro.sandbox.daytona.provider import DaytonaProvider

        return DaytonaProvider(settings, recipe=snapshot_lines(settings))

    return {"local": Registered(local, isolated=False), "daytona": Registered(daytona, isolated=True)}
