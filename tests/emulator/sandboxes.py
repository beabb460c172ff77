"""A sandbox as the control plane knows it: its record, its life, its limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .machine import Machine
from .wire import Refused, iso

MINUTE = 60.0
#: States in which a sandbox holds memory and processors.
RUNNING = ("creating", "pending_build", "building_snapshot", "pulling_snapshot", "starting", "started", "stopping")
GONE = ("destroyed", "destroying")


@dataclass
class Sandbox:
    """The record of one sandbox."""

    id: str
    name: str
    machine: Machine
    created: float
    cpu: int
    memory: int
    disk: int
    snapshot: str | None = None
    user: str = "daytona"
    target: str = "us"
    env: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    public: bool = False
    network: dict[str, Any] = field(default_factory=dict)
    volumes: list[Any] = field(default_factory=list)
    build_info: dict[str, Any] | None = None
    auto_stop: int = 15
    auto_delete: int = -1
    auto_archive: int = 7 * 24 * 60
    ttl: int = 0
    ttl_set_at: float | None = None
    state: str = "started"
    error_reason: str | None = None
    polls_left: int = 0
    state_after: str = "started"
    last_activity: float = 0.0
    stopped_at: float | None = None
    open_requests: int = 0

    @property
    def destroys_at(self) -> float | None:
        return (self.ttl_set_at or self.created) + self.ttl * MINUTE if self.ttl else None

    @property
    def there(self) -> bool:
        return self.state not in GONE

    def look(self) -> None:
        """Somebody asks for the state; after enough questions it is another one."""
        if self.polls_left:
            self.polls_left -= 1
            if not self.polls_left:
                self.state = self.state_after
            elif self.state == "pending_build":
                self.state = "building_snapshot"

    def move(self, through: str, polls: int, to: str) -> None:
        """Be in one state for this many questions, and then in another."""
        self.state, self.polls_left, self.state_after = (through, polls, to) if polls else (to, 0, to)

    def touch(self, now: float) -> None:
        self.last_activity = max(self.last_activity, now)

    def item(self, toolbox_url: str) -> dict[str, Any]:
        """Return the sandbox as a list shows it: without environment and volumes."""
        wanted = "destroyed" if not self.there else "stopped" if self.state == "stopped" else "started"
        shown: dict[str, Any] = {
            "id": self.id,
            "organizationId": "00000000-0000-4000-8000-000000000001",
            "name": self.name,
            "snapshot": self.snapshot,
            "user": self.user,
            "labels": dict(self.labels),
            "public": self.public,
            "target": self.target,
            "cpu": self.cpu,
            "gpu": 0,
            "memory": self.memory,
            "disk": self.disk,
            "state": self.state,
            "desiredState": wanted,
            "errorReason": self.error_reason,
            "recoverable": False,
            "backupState": "None",
            "autoStopInterval": self.auto_stop,
            "autoArchiveInterval": self.auto_archive,
            "autoDeleteInterval": self.auto_delete,
            "autoDestroyAt": None if self.destroys_at is None else iso(self.destroys_at),
            "createdAt": iso(self.created),
            "updatedAt": iso(self.last_activity),
            "lastActivityAt": iso(self.last_activity),
            "sandboxClass": "container",
            "daemonVersion": "0.0.0-emulator",
            "toolboxProxyUrl": toolbox_url,
            "networkBlockAll": False,
            **self.network,
        }
        return {name: value for name, value in shown.items() if value is not None}

    def full(self, toolbox_url: str) -> dict[str, Any]:
        """Return the whole record."""
        build = {"buildInfo": self.build_info} if self.build_info else {}
        return {
            **self.item(toolbox_url),
            "env": dict(self.env),
            "volumes": list(self.volumes),
            "kvm": False,
            "spot": False,
            **build,
        }

    def seen(self) -> dict[str, Any]:
        """Return what `Emulator.sandboxes()` shows."""
        return {
            "id": self.id,
            "name": self.name,
            "state": self.state,
            "labels": dict(self.labels),
            "env": dict(self.env),
            "autoStopInterval": self.auto_stop,
            "autoDeleteInterval": self.auto_delete,
            "autoArchiveInterval": self.auto_archive,
            "ttlMinutes": self.ttl,
            "snapshot": self.snapshot,
            "cpu": self.cpu,
            "memory": self.memory,
            "disk": self.disk,
            "dockerfile": (self.build_info or {}).get("dockerfileContent"),
            "root": str(self.machine.root),
            "home": str(self.machine.home),
            "ptys": sorted(self.machine.terminals),
            "pids": self.machine.pids,
        }


def whole(body: Mapping[str, Any], name: str, default: int, least: int | None = None) -> int:
    """Return a whole number of a request's body, or say that it is none."""
    value = body.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or (least is not None and value < least):
        raise Refused(400, f"{name} must be an integer" + (f" not less than {least}" if least is not None else ""))
    return value


def texts(body: Mapping[str, Any], name: str) -> dict[str, str]:
    """Return a mapping of strings of a request's body, or say that it is none."""
    value = body.get(name) or {}
    if not isinstance(value, dict) or not all(isinstance(text, str) for pair in value.items() for text in pair):
        raise Refused(400, f"{name} must be an object of strings")
    return dict(value)
