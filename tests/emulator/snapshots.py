"""Snapshots: their records and the routes under /snapshots."""

from __future__ import annotations

import asyncio
import math
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

from .line import Body, begin
from .sandboxes import whole
from .wire import Refused, iso

if TYPE_CHECKING:
    from .call import Call

STATES = ("building", "pending", "pulling", "active", "inactive", "error", "build_failed", "removing")
DONE = ("active", "inactive", "error", "build_failed")


@dataclass
class Snapshot:
    """The record of one snapshot."""

    name: str
    created: float
    cpu: int = 1
    memory: int = 1
    disk: int = 3
    state: str = "active"
    general: bool = False
    image: str | None = None
    dockerfile: str | None = None
    home: str | None = None
    entrypoint: list[str] | None = None
    error_reason: str | None = None
    polls_left: int = 0
    state_after: str = "active"
    reason_after: str | None = None
    last_used: float | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def move(self, through: str, polls: int, to: str, reason: str | None = None) -> None:
        """Be in one state for this many questions, and then in another."""
        self.state, self.polls_left = through, polls
        self.state_after, self.reason_after = to, reason
        if not polls:
            self.state, self.error_reason = to, reason

    def look(self) -> None:
        """Somebody asks for the state; after enough questions it is another one."""
        if self.polls_left:
            self.polls_left -= 1
            if not self.polls_left:
                self.state, self.error_reason = self.state_after, self.reason_after

    @property
    def build_info(self) -> dict[str, Any] | None:
        if self.dockerfile is None:
            return None
        stamp = iso(self.created)
        return {
            "dockerfileContent": self.dockerfile,
            "contextHashes": [],
            "createdAt": stamp,
            "updatedAt": stamp,
            "snapshotRef": f"daytona-{self.id}:daytona",
        }

    @property
    def log(self) -> str:
        """The build log: a step for each line of the Dockerfile, and how it ended."""
        steps = [line for line in (self.dockerfile or "").splitlines() if line.strip()]
        lines = [f"Step {number}/{len(steps)} : {step}" for number, step in enumerate(steps, 1)]
        if self.state == "build_failed":
            lines.append(f"ERROR: {self.error_reason}")
        elif self.state in DONE:
            lines.append(f"Successfully built {self.name}")
        return "".join(f"{line}\n" for line in lines)

    def shown(self) -> dict[str, Any]:
        """Return the record as a SnapshotDto."""
        more = {"imageName": self.image, "buildInfo": self.build_info}
        return {
            "id": self.id,
            "general": self.general,
            "name": self.name,
            "state": self.state,
            "size": 1.5 if self.state in ("active", "inactive") else None,
            "entrypoint": self.entrypoint,
            "cpu": self.cpu,
            "gpu": 0,
            "mem": self.memory,
            "disk": self.disk,
            "errorReason": self.error_reason,
            "createdAt": iso(self.created),
            "updatedAt": iso(self.created),
            "lastUsedAt": None if self.last_used is None else iso(self.last_used),
            "sourceSandboxId": None,
            "sandboxClass": "container",
            **{name: value for name, value in more.items() if value is not None},
        }

    def seen(self) -> dict[str, Any]:
        """Return what `Emulator.snapshots()` shows."""
        shown = self.shown()
        return {**shown, "dockerfile": self.dockerfile, "home": self.home, "polls_left": self.polls_left}


async def create(call: Call) -> web.StreamResponse:
    body, world = await call.json(), call.world
    name = body.get("name")
    if not isinstance(name, str) or not name:
        raise Refused(400, "name should not be empty")
    if name in world.snapshots:
        raise Refused(409, f'Snapshot with name "{name}" already exists for this organization')
    image, build = body.get("imageName"), body.get("buildInfo")
    if (image is None) == (build is None):
        raise Refused(400, "Must specify either an image name or build info")
    if image is not None and image.rpartition(":")[2] in ("latest", "lts", "stable", image):
        raise Refused(400, f"Image {image}: a tag is required, and latest, lts and stable are not allowed")
    snapshot = Snapshot(
        name,
        world.now(),
        cpu=whole(body, "cpu", 1, 1),
        memory=whole(body, "memory", 1, 1),
        disk=whole(body, "disk", 3, 1),
        image=image,
        dockerfile=None if build is None else build.get("dockerfileContent", ""),
        entrypoint=body.get("entrypoint"),
    )
    if snapshot.dockerfile is not None and "\nRUN " in f"\n{snapshot.dockerfile}":
        snapshot.home = world.settings.snapshot_home
    polls = call.actions.get("build_polls", world.settings.build_polls)
    reason = call.actions.get("build_fails", world.settings.build_fails)
    through, failed = ("building", "build_failed") if build is not None else ("pending", "error")
    snapshot.move(through, polls, failed if reason else "active", reason)
    world.snapshots[name] = snapshot
    return web.json_response(snapshot.shown())


async def listing(call: Call) -> web.StreamResponse:
    page, limit = call.number("page", 1, 1), call.number("limit", 100, 1, 200)
    everything = sorted(call.world.snapshots.values(), key=lambda one: (-one.created, one.name))
    if call.query.get("sourceSandboxId"):
        everything = []
    if name := call.query.get("name"):
        everything = [one for one in everything if name in one.name]
    items = [one.shown() for one in everything[(page - 1) * limit : page * limit]]
    pages = math.ceil(len(everything) / limit)
    return web.json_response({"items": items, "total": len(everything), "page": page, "totalPages": pages})


async def get(call: Call) -> web.StreamResponse:
    snapshot = find(call)
    snapshot.look()
    return web.json_response(snapshot.shown())


async def delete(call: Call) -> web.StreamResponse:
    snapshot = find(call)
    if snapshot.general:
        raise Refused(403, "General snapshots can not be deleted")
    del call.world.snapshots[snapshot.name]
    return web.Response()


async def activate(call: Call) -> web.StreamResponse:
    snapshot = find(call)
    if snapshot.state == "active":
        raise Refused(400, f"Snapshot {snapshot.name} is already active")
    if snapshot.state != "inactive":
        raise Refused(400, f"Snapshot {snapshot.name} cannot be activated - it is in {snapshot.state} state")
    snapshot.move("pending", call.world.settings.activate_polls, "active")
    return web.json_response(snapshot.shown())


async def build_logs_url(call: Call) -> web.StreamResponse:
    return web.json_response({"url": f"{call.world.url}/snapshots/{find(call).id}/build-logs"})


async def build_logs(call: Call) -> web.StreamResponse:
    snapshot = find(call)
    return await follow(call, lambda: (snapshot.log, snapshot.state in DONE))


async def follow(call: Call, read: Any) -> web.StreamResponse:
    """Stream a log; with `follow` until what it tells of is over."""
    response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
    await begin(call, response)
    body, sent = Body(call, response), 0
    while not body.over:
        text, done = read()
        await body.write(text[sent:].encode())
        sent = len(text)
        if done or call.query.get("follow") != "true":
            break
        await asyncio.sleep(0.02)
    await body.end()
    return response


def find(call: Call) -> Snapshot:
    """Return the snapshot that the path names, by its id or its name."""
    wanted = call.request.match_info["snapshot"]
    for snapshot in call.world.snapshots.values():
        if wanted in (snapshot.id, snapshot.name):
            return snapshot
    raise Refused(404, f"Snapshot with ID or name {wanted} not found")
