"""Makes, finds, keeps and deletes this project's sandboxes, of all runs. They are in one organisation."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_kiro.errors import SandboxError
from pytest_kiro.sandbox.daytona import labels, specs
from pytest_kiro.sandbox.daytona.client import Client
from pytest_kiro.sandbox.daytona.faults import DaytonaRefused, is_full
from pytest_kiro.sandbox.daytona.labels import OurSandbox
from pytest_kiro.sandbox.protocol import SandboxSpec
from pytest_kiro.settings.table import Settings

if TYPE_CHECKING:
    from daytona import AsyncSandbox

_log = logging.getLogger(__name__)
#: Minutes without activity after which a sandbox is stopped, and so, being ephemeral, deleted.
AUTO_STOP = 15
#: Minutes after which a sandbox is destroyed whatever happens: the only limit that needs no activity.
TTL = 120
_AT_ONCE = 16
#: A sandbox that is on its way out, or of which nothing is left.
_GONE = frozenset({"destroyed", "destroying"})


@dataclass
class Creation:
    """Requests one sandbox; made twice, the request finds the first one's sandbox by its name."""

    client: Client
    settings: Settings
    owner: str
    name: str
    spec: SandboxSpec
    #: How often it was requested; only then may the sandbox be there.
    requests: int = 0

    async def request(self, snapshot: str) -> AsyncSandbox:
        """Request the sandbox, and wait until it has started."""
        from daytona import DaytonaError

        self.requests += 1
        try:
            return await self._create(snapshot)
        except DaytonaError as error:
            # The name is taken, or the room is: by an attempt whose answer was lost.
            if not (self.requests > 1 if is_full(error) else error.status_code == 409):
                raise
            try:
                made = await self.client.sdk.get(self.name)
            except DaytonaError:
                raise error from None
            await made.wait_for_sandbox_start(timeout=0)
            return made

    async def _create(self, snapshot: str) -> AsyncSandbox:
        from daytona import CreateSandboxFromImageParams, CreateSandboxFromSnapshotParams

        spec, sdk, run = self.spec, self.client.sdk, self.settings
        common: dict[str, Any] = {
            "name": self.name,
            # Afresh for each attempt: the SDK writes into them, and its time begins now.
            "labels": {**spec.labels, **labels.make(run.run_id, run.worker, TTL, now=datetime.now(UTC), of=self.owner)},
            "env_vars": dict(spec.env),
            "ephemeral": True,
            "auto_stop_interval": AUTO_STOP,
            "ttl_minutes": TTL,
            "target": spec.region,
            "network_allow_list": ",".join(spec.network_allow_list) or None,
            "domain_allow_list": ",".join(spec.domain_allow_list) or None,
        }
        # The SDK's own timeout would race ours.
        if not spec.image:
            return await sdk.create(CreateSandboxFromSnapshotParams(snapshot=snapshot, **common), timeout=0)
        sizes = specs.of_the_sdk(specs.resources(spec))
        params = CreateSandboxFromImageParams(image=spec.image, resources=sizes, **common)
        return await sdk.create(params, timeout=0, on_snapshot_create_logs=partial(_log.info, "building the image: %s"))

    async def undo(self, failure: BaseException) -> None:
        """Delete what may have been made; one whose request was given up may come only now."""
        if not self.requests or await delete(self.client, self.name):
            return
        if isinstance(failure, DaytonaRefused) and failure.certain:
            return
        _log.info("looking whether sandbox %s was made all the same; Ctrl-C leaves at once", self.name)
        for pause in self.client.waits.looks:
            await self.client.pause(pause)
            if await delete(self.client, self.name):
                return


async def delete(client: Client, name_or_id: str, *, timeout: float | None = None, spare_kept: bool = False) -> bool:
    """Delete a sandbox by its name or id, within `timeout`; return whether there was one. A kept one may be spared."""
    timeout = client.waits.delete if timeout is None else timeout
    deadline, waited, pause, there = time.monotonic() + timeout, 0.0, 0.25, False
    while True:
        ask = partial(client.ask, timeout=max(1.0, deadline - time.monotonic()), safe=True)
        try:
            raw = await ask(f"look for sandbox {name_or_id}", partial(client.sdk.get, name_or_id))
            there = True
            if not (state_of(raw) in _GONE or (spare_kept and labels.is_kept(raw.labels or {}))):
                await ask(f"delete sandbox {name_or_id}", partial(raw.delete, timeout=0))
            return True
        except DaytonaRefused as error:
            if error.status == 404:
                return there
            # "State change in progress": the platform asks to come again.
            over = waited + pause > timeout or time.monotonic() + pause > deadline
            if error.status != 409 or over:
                raise
        await client.pause(pause)
        waited, pause = waited + pause, min(2 * pause, 5.0)


async def find(
    client: Client, wanted: Mapping[str, str] | None = None, *, timeout: float | None = None
) -> list[OurSandbox]:
    """Return this project's sandboxes of these labels; not those on their way out."""
    from daytona import ListSandboxesQuery

    query = ListSandboxesQuery(labels={**labels.OURS, **(wanted or {})}, limit=200)

    async def call() -> list[OurSandbox]:
        return [
            labels.read(str(one.id), str(one.name), state_of(one), dict(one.labels or {}))
            async for one in client.sdk.list(query)
        ]

    sandboxes = await client.ask("list sandboxes", call, timeout=timeout, safe=True)
    return [one for one in sandboxes if one.state not in _GONE]


async def sweep(client: Client, owner: str, *, now: datetime | None = None) -> list[str]:
    """Delete what dead runs of this owner have left past its time; return the names of what is gone."""
    now, timeout = now or datetime.now(UTC), client.waits.sweep / 2
    leftovers = [one for one in await find(client, {"owner": owner}, timeout=timeout) if one.is_left_over(owner, now)]
    failed = await delete_all(client, [one.id for one in leftovers], timeout=timeout)
    return [one.name for one in leftovers if one.id not in failed]


async def delete_all(
    client: Client, ids: Sequence[str], *, timeout: float | None = None, spare_kept: bool = False
) -> dict[str, SandboxError]:
    """Delete these, some at a time, each within `timeout`; return why some could not be."""
    at_once, failed = asyncio.Semaphore(_AT_ONCE), dict[str, SandboxError]()

    async def one(name_or_id: str) -> None:
        async with at_once:
            try:
                await delete(client, name_or_id, timeout=timeout, spare_kept=spare_kept)
            except SandboxError as error:
                failed[name_or_id] = error

    await asyncio.gather(*map(one, ids))
    return failed


async def extend(client: Client, raw: AsyncSandbox, minutes: int) -> None:
    """Give a sandbox so many minutes; its label says so to sweeps."""
    current = await _read_labels(client, raw)
    if labels.is_kept(current):
        return  # by another worker that shares it: it has no end any more
    until = labels.stamp(datetime.now(UTC) + timedelta(minutes=minutes))
    # The label first: at no time may it be earlier than the end, or a sweep would take what is alive.
    await client.ask("set its labels", partial(raw.set_labels, {**current, "expires-at": until}), safe=True)
    await client.ask("extend its time to live", partial(raw.set_ttl, minutes), safe=True)


async def keep(client: Client, raw: AsyncSandbox) -> None:
    """Take every limit off a sandbox; mark it so that no sweep takes it."""
    kept = {**await _read_labels(client, raw), **labels.KEPT}
    await client.ask("set its labels", partial(raw.set_labels, kept), safe=True)
    await client.ask("keep it", partial(raw.set_ttl, 0), safe=True)
    await client.ask("keep it", partial(raw.set_auto_delete_interval, -1), safe=True)


async def _read_labels(client: Client, raw: AsyncSandbox) -> dict[str, str]:
    # Setting labels replaces all of them, and another worker that shares the sandbox may have set some.
    await client.ask("read its labels", raw.refresh_data, safe=True)
    return dict(raw.labels or {})


def state_of(raw: Any) -> str:
    """Return the word for a sandbox's or a snapshot's state."""
    return str(getattr(raw.state, "value", raw.state) or "unknown")
