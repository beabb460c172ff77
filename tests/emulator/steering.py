"""The routes under /emulator/, by which `Emulator` steers: no part of the service."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from . import faults
from .routes import NAMES
from .settings import Settings, is_folder, is_text
from .snapshots import STATES, Snapshot
from .world import World

Order = dict[str, Any]


class Steering:
    """What can be asked of the emulator itself."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._verbs: dict[str, Callable[[Order], Awaitable[Any]]] = {
            "configure": self._configure,
            "reset": self._reset,
            "fault": self._fault,
            "clear_faults": self._clear_faults,
            "log": self._log,
            "reset_log": self._reset_log,
            "sandboxes": self._sandboxes,
            "snapshots": self._snapshots,
            "put_snapshot": self._put_snapshot,
            "kill_sandbox": self._kill_sandbox,
            "advance": self._advance,
            "status": self._status,
        }

    async def answer(self, request: web.Request) -> web.StreamResponse:
        verb = self._verbs.get(request.match_info["verb"])
        if request.headers.get("Authorization") != f"Bearer {self._world.key}":
            return web.json_response({"error": "the emulator's key is wrong"}, status=401)
        if verb is None:
            return web.json_response({"error": f"known: {', '.join(self._verbs)}"}, status=404)
        await self._world.tick()
        try:
            return web.json_response({"answer": await verb(json.loads(await request.read() or b"{}"))})
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)

    async def _configure(self, order: Order) -> Order:
        self._world.settings.change(order)
        for sandbox in self._world.sandboxes.values():
            sandbox.machine.disk_full = self._world.settings.disk_full
        return dataclasses.asdict(self._world.settings)

    async def _reset(self, order: Order) -> None:
        self._world.settings.change(dataclasses.asdict(Settings()))
        await self._world.reset()

    async def _fault(self, order: Order) -> None:
        self._world.rules.append(faults.read(order, NAMES, self._world.now()))

    async def _clear_faults(self, order: Order) -> None:
        self._world.rules.clear()

    async def _log(self, order: Order) -> list[Order]:
        hidden = {"key", "answer_headers"} | (set() if order.get("headers") else {"headers"})
        return [{name: value for name, value in entry.items() if name not in hidden} for entry in self._world.log]

    async def _reset_log(self, order: Order) -> None:
        self._world.log.clear()

    async def _sandboxes(self, order: Order) -> list[Order]:
        boxes = self._world.sandboxes.values()
        return [box.seen() for box in boxes if box.state != "destroyed" or order.get("destroyed")]

    async def _snapshots(self, order: Order) -> list[Order]:
        return [one.seen() for one in self._world.snapshots.values() if not one.general or order.get("general")]

    async def _put_snapshot(self, order: Order) -> Order:
        """Make a snapshot that was there before, or change one that is there."""
        name, state, home = order.pop("name"), order.pop("state", None), order.get("home")
        known = ("dockerfile", "home", "error_reason", "cpu", "memory", "disk")
        if unknown := set(order) - set(known):
            raise ValueError(
                f"put_snapshot: there is no {', '.join(sorted(unknown))}; known: {', '.join(known)}, state"
            )
        if state is not None and state not in STATES:
            raise ValueError(f"put_snapshot: state={state!r} is not one of {', '.join(STATES)}")
        if not is_text(name) or not name or not (home is None or is_folder(home)):
            raise ValueError("put_snapshot: name must be a text, and home the absolute path of a folder that is there")
        snapshot = self._world.snapshots.setdefault(name, Snapshot(name, self._world.now()))
        for field, value in order.items():
            setattr(snapshot, field, value)
        if state is not None:
            snapshot.state, snapshot.polls_left = state, 0
        return snapshot.seen()

    async def _kill_sandbox(self, order: Order) -> None:
        wanted, state = order.get("sandbox"), order.get("state", "destroyed")
        boxes = [box for box in self._world.sandboxes.values() if box.there and wanted in (box.id, box.name)]
        if not boxes:
            raise ValueError(f"kill_sandbox: there is no sandbox {wanted!r}")
        if state not in ("destroyed", "error"):
            raise ValueError(f"kill_sandbox: state={state!r} is not destroyed or error")
        await self._world.die(boxes[0], state)

    async def _advance(self, order: Order) -> float:
        seconds = order.get("seconds")
        if not isinstance(seconds, int | float) or isinstance(seconds, bool) or seconds < 0:
            raise ValueError(f"advance: {seconds!r} is not a number of seconds to go forward")
        await self._world.advance(seconds)
        return self._world.now()

    async def _status(self, order: Order) -> Order:
        world = self._world
        return {
            "root": str(world.root),
            "url": world.url,
            "now": world.now(),
            "crashes": world.crashes,
            "rules": [dataclasses.asdict(rule) for rule in world.rules],
            "tasks": len(asyncio.all_tasks()),
        }
