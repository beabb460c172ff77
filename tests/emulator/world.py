"""Everything that the emulator holds: settings, rules, sandboxes, snapshots, the log, and a clock of its own."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from .faults import Rule
from .sandboxes import MINUTE, RUNNING, Sandbox
from .settings import Settings
from .snapshots import Snapshot
from .wire import Refused

#: The snapshots that every organisation has: cpu, memory, disk.
GENERAL = {"daytona-small": (1, 1, 3), "daytona-medium": (2, 4, 8), "daytona-large": (4, 8, 10)}
DEFAULT_SNAPSHOT = "daytona-small"


class World:
    """The state of one emulator."""

    def __init__(self, root: Path, settings: Settings, key: str | None = None) -> None:
        self.root, self.settings = root, settings
        self.url = ""
        self.key = key or f"emulator-{secrets.token_hex(8)}"
        self.keys = {self.key: "full", f"{self.key}-expired": "expired", f"{self.key}-no-delete": "no-delete"}
        self.rules: list[Rule] = []
        self.sandboxes: dict[str, Sandbox] = {}
        self.log: list[dict[str, Any]] = []
        self.crashes: list[str] = []
        self.creates: list[float] = []
        self._offset = 0.0
        self._ageing = asyncio.Lock()
        self._deleting: dict[str, asyncio.Future[None]] = {}
        self._dying: set[asyncio.Task[None]] = set()
        self.snapshots = self._general()

    def _general(self) -> dict[str, Snapshot]:
        return {
            name: Snapshot(name, self.now(), cpu, memory, disk, general=True)
            for name, (cpu, memory, disk) in GENERAL.items()
        }

    # -- time

    def now(self) -> float:
        """Return the time on the emulator's clock, which `advance` moves."""
        return time.time() + self._offset

    async def advance(self, seconds: float) -> None:
        # What is in use now is in use all the way.
        self._offset += seconds
        await self.tick()

    async def tick(self) -> None:
        """Stop and delete what is due."""
        async with self._ageing:  # whoever asks next sees it done
            for sandbox in list(self.sandboxes.values()):
                if sandbox.open_requests:
                    sandbox.touch(self.now())
                await self._age(sandbox)

    async def _age(self, sandbox: Sandbox) -> None:
        now = self.now()
        if not sandbox.there:
            return
        if sandbox.destroys_at is not None and now >= sandbox.destroys_at:
            await self.destroy(sandbox)
            return
        idle_until = sandbox.last_activity + sandbox.auto_stop * MINUTE
        if sandbox.state == "started" and sandbox.auto_stop and now >= idle_until:
            await self.stop(sandbox, at=idle_until)
        kept = sandbox.auto_delete * MINUTE
        if sandbox.stopped_at is not None and kept >= 0 and now >= sandbox.stopped_at + kept:
            await self.destroy(sandbox)

    # -- rules

    def actions(self, route: str, sandbox: Sandbox | None) -> dict[str, Any]:
        """Return what the rules want done with this request; a later rule overrides an earlier one."""
        names: Collection[str] = (sandbox.id, sandbox.name) if sandbox else ()
        wanted: dict[str, Any] = {}
        for rule in self.rules:
            if rule.takes(route, names, self.now()):
                wanted |= rule.actions
        return wanted

    # -- sandboxes

    def find(self, wanted: str) -> Sandbox:
        """Return a sandbox by its id, or one that is not being deleted by its name."""
        found = self.sandboxes.get(wanted) or next(
            (one for one in self.sandboxes.values() if one.name == wanted and one.there), None
        )
        if found is None or found.state == "destroyed":
            raise Refused(404, f"Sandbox with ID or name {wanted} not found")
        return found

    def check_quota(self, cpu: int, memory: int, disk: int, besides: Sandbox | None = None) -> None:
        """Refuse what would be too much together with what is there."""
        there = [one for one in self.sandboxes.values() if one.there and one is not besides]
        running = [one for one in there if one.state in RUNNING]
        for word, unit, used, limit in (
            ("CPU", "", cpu + sum(one.cpu for one in running), self.settings.cpu_quota),
            ("memory", "GiB", memory + sum(one.memory for one in running), self.settings.memory_quota),
            ("disk", "GiB", disk + sum(one.disk for one in there), self.settings.disk_quota),
            ("sandbox", "", 1 + len(running), self.settings.max_sandboxes),
        ):
            if limit is not None and used > limit:
                raise Refused(
                    403,
                    f"Total {word} limit exceeded. Maximum allowed: {limit}{unit}.\n"
                    "To increase concurrency limits, upgrade your organization's Tier.",
                )

    async def stop(self, sandbox: Sandbox, at: float | None = None) -> None:
        """Stop a sandbox; whether it is deleted then is a question of its age."""
        sandbox.state, sandbox.polls_left = "stopped", 0
        sandbox.stopped_at = self.now() if at is None else at
        await sandbox.machine.power_off()

    async def destroy(self, sandbox: Sandbox, polls: int = 0) -> None:
        """Delete a sandbox; it is seen as `destroying` for this many questions."""
        if sandbox.id in self._deleting:
            await asyncio.shield(self._deleting[sandbox.id])
            return
        done = self._deleting[sandbox.id] = asyncio.get_running_loop().create_future()
        try:
            sandbox.move("destroying", max(polls, 1), "destroyed")
            await sandbox.machine.remove()
        finally:
            done.set_result(None)
        sandbox.move("destroying", polls, "destroyed")

    async def die(self, sandbox: Sandbox, state: str) -> None:
        """Let the machine of a sandbox die, as when its runner is lost."""
        if state == "destroyed":
            await self.destroy(sandbox)
        else:
            sandbox.state, sandbox.polls_left, sandbox.error_reason = "error", 0, "the runner was lost"
            await sandbox.machine.power_off()

    def let_die(self, sandbox: Sandbox, state: str) -> None:
        """The same without waiting for it: whoever asks may be torn with the machine."""
        task = asyncio.create_task(self.die(sandbox, state))
        self._dying.add(task)
        task.add_done_callback(self._dying.discard)

    async def reset(self) -> None:
        """Forget everything but the key and the bugs."""
        self.rules.clear()
        await asyncio.gather(*(self.destroy(one) for one in self.sandboxes.values() if one.there))
        self.sandboxes.clear()
        self._deleting.clear()
        self.log.clear()
        self.creates.clear()
        self._offset = 0.0
        self.snapshots = self._general()

    async def close(self) -> None:
        """End everything."""
        await asyncio.gather(*(one.machine.remove() for one in self.sandboxes.values()))
