"""The routes under /sandbox: create, find, change and delete sandboxes."""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any

from aiohttp import web

from . import snapshots
from .call import Call
from .machine import Machine
from .sandboxes import Sandbox, texts, whole
from .wire import Refused, iso, moment
from .world import DEFAULT_SNAPSHOT

#: The words of a list's query, and the fields that they are about.
_MOMENTS = {"createdAt": "created", "lastEvent": "last_activity", "autoDestroyAt": "destroys_at"}
_SIZES = {"Cpu": "cpu", "MemoryGiB": "memory", "DiskGiB": "disk"}
_SORTS = {
    "name": "name",
    "state": "state",
    "createdAt": "created",
    "lastActivityAt": "last_activity",
    "updatedAt": "last_activity",
}
_FILTERS = {
    *("limit", "cursor", "id", "name", "labels", "states", "snapshots", "isPublic", "includeErroredDeleted"),
    *(f"{name}{side}" for name in _MOMENTS for side in ("After", "Before")),
    *(f"{side}{name}" for name in _SIZES for side in ("min", "max")),
    *("sort", "order"),
}
_NETWORK = ("networkBlockAll", "networkAllowList", "domainAllowList")


async def create(call: Call) -> web.StreamResponse:
    body, world = await call.json(), call.world
    _count_creates(call)
    name = body.get("name")
    if name is not None and any(box.name == name and box.there for box in world.sandboxes.values()):
        raise Refused(409, f"Sandbox with name {name} already exists")
    if len([one for one in _NETWORK if body.get(one)]) > 1:
        raise Refused(400, f"{', '.join(_NETWORK)} are mutually exclusive")
    id = str(uuid.uuid4())
    sandbox = _record(call, id, body)
    world.check_quota(sandbox.cpu, sandbox.memory, sandbox.disk)
    world.sandboxes[id] = sandbox
    call.sandbox, call.entry["sandbox"] = sandbox, id
    through = "pending_build" if sandbox.build_info else "creating"
    end = call.actions.get("end_state", "started")
    polls = call.actions.get("creating_polls", world.settings.creating_polls)
    sandbox.move(through, polls, end)
    if end != "started":
        sandbox.error_reason = call.actions.get("error_reason", "the sandbox could not be started")
    return _shown(call)


def _count_creates(call: Call) -> None:
    """Hold the limit of creates per minute of the emulator's clock."""
    world, limit = call.world, call.world.settings.rate_limit
    now = world.now()
    world.creates = [at for at in world.creates if at > now - 60]
    if limit is None:
        return
    wait = str(max(1, round(world.creates[0] + 60 - now))) if world.creates else "60"
    left = limit - len(world.creates)
    headers = {"Limit": str(limit), "Remaining": str(max(0, left - 1)), "Reset": wait}
    call.entry["answer_headers"] = {f"X-RateLimit-{word}-sandbox-create": text for word, text in headers.items()}
    if left <= 0:
        raise Refused(429, "ThrottlerException: Too Many Requests", headers={"Retry-After-sandbox-create": wait})
    world.creates.append(now)


def _record(call: Call, id: str, body: dict[str, Any]) -> Sandbox:
    world, build = call.world, body.get("buildInfo")
    if build is not None:
        snapshot, dockerfile = None, str(build.get("dockerfileContent", ""))
        home = world.settings.snapshot_home if "\nRUN " in f"\n{dockerfile}" else None
        sizes = {one: whole(body, one, default, 1) for one, default in (("cpu", 1), ("memory", 1), ("disk", 3))}
    else:
        snapshot = _snapshot(call, body.get("snapshot") or DEFAULT_SNAPSHOT)
        home, sizes = snapshot.home, {"cpu": snapshot.cpu, "memory": snapshot.memory, "disk": snapshot.disk}
        if any(body.get(one) is not None for one in sizes):
            raise Refused(400, "Cannot specify Sandbox resources when using a snapshot")
    env, now = texts(body, "env"), world.now()
    machine = Machine(id, world.root / id, env, snapshot=snapshot.name if snapshot else "", home=home)
    machine.disk_full = world.settings.disk_full
    return Sandbox(
        id,
        body.get("name") or id,
        machine,
        now,
        sizes["cpu"],
        sizes["memory"],
        sizes["disk"],
        snapshot=snapshot.name if snapshot else None,
        user=body.get("user") or "daytona",
        target=body.get("target") or "us",
        env=env,
        labels=texts(body, "labels"),
        public=bool(body.get("public")),
        network={one: body[one] for one in _NETWORK if body.get(one) is not None},
        volumes=body.get("volumes") or [],
        build_info=None if build is None else _build_info(id, build, now),
        auto_stop=whole(body, "autoStopInterval", 15, 0),
        auto_delete=whole(body, "autoDeleteInterval", -1, -1),
        auto_archive=whole(body, "autoArchiveInterval", 7 * 24 * 60, 0),
        ttl=whole(body, "ttlMinutes", 0, 0),
        last_activity=now,
    )


def _build_info(id: str, build: dict[str, Any], now: float) -> dict[str, Any]:
    stamp = iso(now)
    return {
        "dockerfileContent": build.get("dockerfileContent", ""),
        "contextHashes": build.get("contextHashes") or [],
        "createdAt": stamp,
        "updatedAt": stamp,
        "snapshotRef": f"daytona-{id}:daytona",
    }


def _snapshot(call: Call, wanted: str) -> snapshots.Snapshot:
    for snapshot in call.world.snapshots.values():
        if wanted in (snapshot.id, snapshot.name):
            if snapshot.state != "active":
                raise Refused(400, f"Snapshot {wanted} is {snapshot.state}")
            snapshot.last_used = call.world.now()
            return snapshot
    raise Refused(400, f"Snapshot {wanted} not found. Did you add it through the Daytona Dashboard?")


async def listing(call: Call) -> web.StreamResponse:
    query = call.request.query
    if unknown := set(query) - _FILTERS:
        # The service would filter; to ignore it here would prove something that is not so.
        raise Refused(400, f"the emulator has no filter {', '.join(sorted(unknown))}")
    limit, order = call.number("limit", 100, 1, 200), query.get("order", "desc")
    sort = query.get("sort", "createdAt")
    if sort not in _SORTS or order not in ("asc", "desc"):
        raise Refused(400, f"the emulator does not sort by {sort} {order}")
    found = [box for box in call.world.sandboxes.values() if _passes(call, box)]
    found.sort(key=lambda box: (getattr(box, _SORTS[sort]), box.id), reverse=order == "desc")
    if cursor := query.get("cursor"):
        ids = [box.id for box in found]
        last = base64.urlsafe_b64decode(cursor).decode()
        # What was last seen may have been deleted in between; then the list begins again.
        found = found[ids.index(last) + 1 :] if last in ids else found
    page = found[:limit]
    more = base64.urlsafe_b64encode(page[-1].id.encode()).decode() if len(found) > limit else None
    items = [box.item(_toolbox_url(call)) for box in page]
    return web.json_response({"items": items, "nextCursor": more})


def _passes(call: Call, box: Sandbox) -> bool:
    query = call.request.query
    if box.state == "destroyed" or (query.get("isPublic") == "true" and not box.public):
        return False
    if not box.name.startswith(query.get("name", "")) or not box.id.startswith(query.get("id", "")):
        return False
    for name, value in (("states", box.state), ("snapshots", box.snapshot)):
        wanted = [one for text in query.getall(name, []) for one in text.split(",")]
        if wanted and value not in wanted:
            return False
    return _has_labels(box, query.get("labels")) and _is_within(call, box)


def _has_labels(box: Sandbox, text: str | None) -> bool:
    if not text:
        return True
    try:
        labels = json.loads(text)
    except ValueError as error:
        raise Refused(400, "Invalid labels JSON format") from error
    if not isinstance(labels, dict):
        raise Refused(400, "Invalid labels JSON format")
    return all(box.labels.get(name) == value for name, value in labels.items())


def _is_within(call: Call, box: Sandbox) -> bool:
    query = call.request.query
    for name, field in _MOMENTS.items():
        at = getattr(box, field)
        for side, sign in (("After", 1), ("Before", -1)):
            text = query.get(f"{name}{side}")
            if text and (at is None or (at - moment(text)) * sign < 0):
                return False
    for name, field in _SIZES.items():
        size = getattr(box, field)
        if not call.number(f"min{name}", 0, 1) <= size <= call.number(f"max{name}", 1 << 30, 1):
            return False
    return True


async def get(call: Call) -> web.StreamResponse:
    call.box.look()
    call.world.find(call.box.id)  # it may just have been the last poll of its deletion
    return _shown(call)


async def delete(call: Call) -> web.StreamResponse:
    if call.world.keys.get(call.entry["key"]) == "no-delete":
        raise Refused(403, "Forbidden: the API key lacks the permission delete:sandboxes")
    polls = call.actions.get("destroying_polls", call.world.settings.destroying_polls)
    await call.world.destroy(call.box, polls)
    return _shown(call)


async def start(call: Call) -> web.StreamResponse:
    box = call.box
    if box.state != "stopped":
        raise Refused(400, f"Sandbox is not in valid state: it is {box.state}")
    call.world.check_quota(box.cpu, box.memory, box.disk, besides=box)
    box.machine.power_on()
    box.stopped_at = None
    box.touch(call.world.now())
    box.move("starting", call.world.settings.creating_polls, "started")
    return _shown(call)


async def stop(call: Call) -> web.StreamResponse:
    if call.box.state != "started":
        raise Refused(400, f"Sandbox is not started: it is {call.box.state}")
    await call.world.stop(call.box)
    return _shown(call)


async def set_minutes(call: Call) -> web.StreamResponse:
    """One of the routes that end in a number of minutes."""
    field = {
        "sandbox_autostop": "auto_stop",
        "sandbox_autodelete": "auto_delete",
        "sandbox_autoarchive": "auto_archive",
        "sandbox_ttl": "ttl",
    }[call.route]
    text = call.request.match_info["minutes"]
    try:
        minutes = int(text)
    except ValueError as error:
        raise Refused(400, f"{text!r} is not a number of minutes") from error
    if minutes < (-1 if field == "auto_delete" else 0):
        raise Refused(400, f"{minutes} minutes: a negative number means nothing here")
    setattr(call.box, field, minutes)
    if field == "ttl":  # which counts from now, as the SDK's docstring of set_ttl says
        call.box.ttl_set_at = call.world.now()
    return _shown(call)


async def last_activity(call: Call) -> web.StreamResponse:
    call.box.touch(call.world.now())
    return web.Response(status=201)


async def labels(call: Call) -> web.StreamResponse:
    call.box.labels = texts(await call.json(), "labels")
    return web.json_response({"labels": call.box.labels})


async def toolbox_proxy_url(call: Call) -> web.StreamResponse:
    return web.json_response({"url": call.world.url.removesuffix("/api") + "/toolbox"})


async def build_logs_url(call: Call) -> web.StreamResponse:
    return web.json_response({"url": f"{call.world.url}/sandbox/{call.box.id}/build-logs"})


async def build_logs(call: Call) -> web.StreamResponse:
    box = call.box
    steps = ((box.build_info or {}).get("dockerfileContent") or "").splitlines()
    text = "".join(f"Step {number}/{len(steps)} : {step}\n" for number, step in enumerate(steps, 1))
    return await snapshots.follow(call, lambda: (text, box.state not in ("pending_build", "building_snapshot")))


async def config(call: Call) -> web.StreamResponse:
    address = call.world.url.removesuffix("/api")
    return web.json_response(
        {
            "version": "0.0.0-emulator",
            "oidc": {"issuer": f"{address}/oidc", "clientId": "emulator", "audience": "emulator"},
            "linkedAccountsEnabled": False,
            "announcements": {},
            "proxyTemplateUrl": f"{address}/{{{{PORT}}}}-{{{{sandboxId}}}}",
            "proxyToolboxUrl": f"{address}/toolbox",
            "defaultSnapshot": DEFAULT_SNAPSHOT,
            "dashboardUrl": f"{address}/dashboard",
            "maxAutoArchiveInterval": 43200,
            "maintananceMode": False,
            "environment": "emulator",
        }
    )


async def socket_io(call: Call) -> web.StreamResponse:
    raise Refused(404, "Cannot GET /api/socket.io/")


def _toolbox_url(call: Call) -> str:
    return call.world.url.removesuffix("/api") + "/toolbox" if call.world.settings.toolbox_url else ""


def _shown(call: Call) -> web.Response:
    headers = call.entry.get("answer_headers")
    return web.json_response(call.box.full(_toolbox_url(call)), headers=headers)
