"""What one pytest process knows of its own run; the plugins share it, and nothing in it knows pytest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from pytest_kiro.agent.owner import Owners

if TYPE_CHECKING:
    from pytest_kiro.agent.live import Observer
    from pytest_kiro.sandbox.protocol import Provider
    from pytest_kiro.settings import Settings


class Registered(NamedTuple):
    """A provider that can be chosen; nothing of it is imported before it makes a sandbox."""

    make: Callable[[Settings], Provider]
    isolated: bool


@dataclass
class KiroSession:
    """The settings, the provider, and what became of them."""

    settings: Settings
    provider: Registered
    owners: Owners = field(default_factory=Owners)
    observers: list[Observer] = field(default_factory=list)
    created: int = 0
    deleted: int = 0
    #: Whether a sandbox was made in this process, or in one of its xdist workers.
    used: bool = False

    def cli(self, *, isolated: bool) -> str:
        """Which CLI answers: unless told, the stand-in wherever nothing keeps Kiro off this machine."""
        return self.settings.cli or ("official" if isolated else "scripted")
