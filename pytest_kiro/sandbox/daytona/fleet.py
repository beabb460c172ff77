"""What this project has in an organisation: make, find, keep and delete sandboxes, whoever made them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_kiro.errors import SandboxError
from pytest_kiro.sandbox.daytona import faults, labels
from pytest_kiro.sandbox.daytona.client import CALL_TIMEOUT, Client
from pytest_kiro.sandbox.daytona.labels import Found

if TYPE_CHECKING:
    from daytona import AsyncSandbox

#: Seconds for deleting one sandbox: a state change that is under way answers 409 for a while.
DELETE_TIMEOUT = 60.0
#: Seconds for a sweep, of which nothing depends: what it does not reach, the next one or the time to live does.
SWEEP_TIMEOUT = 60.0
_AT_ONCE = 16
#: A sandbox that is on its way out, or of which nothing is left.
GONE = frozenset({"destroyed", "destroying"})


async def delete(client: Client, name_or_id: str, *, timeout: float = DELETE_TIMEOUT, spare_kept: bool = False) -> bool:
    """Delete a sandbox by its name or id, unless it is kept and to be spared; return whether there was one.

    Idempotent. `timeout` (seconds) bounds it in all.
    """
    deadline, waited, pause = time.monotonic() + timeout, 0.0, 0.25
    while True:
        left = max(1.0, deadline - time.monotonic())
        try:
            raw = await _get(client, name_or_id, left)
            if raw is None or _state(raw) in GONE or (spare_kept and labels.is_kept(raw.labels or {})):
                return raw is not None
            await client.ask(f"delete sandbox {name_or_id}", partial(raw.delete, timeout=0), timeout=left, safe=True)
            return True
        except SandboxError as error:
            if faults.status_behind(error) == 404:
                return True
            # "State change in progress": the platform asks to come again.
            over = waited + pause > timeout or time.monotonic() + pause > deadline
            if faults.status_behind(error) != 409 or over:
                raise
        await client.pause(pause)
        waited, pause = waited + pause, min(2 * pause, 5.0)


async def _get(client: Client, name_or_id: str, timeout: float) -> AsyncSandbox | None:
    try:
        what = f"look for sandbox {name_or_id}"
        return await client.ask(what, lambda: client.sdk.get(name_or_id), timeout=timeout, safe=True)
    except SandboxError as error:
        if faults.status_behind(error) == 404:
            return None
        raise


async def find(
    client: Client, wanted: Mapping[str, str] | None = None, *, timeout: float = CALL_TIMEOUT
) -> list[Found]:
    """Return this project's sandboxes that have these labels, those on their way out left out."""
    from daytona import ListSandboxesQuery

    query = ListSandboxesQuery(labels={**labels.OURS, **(wanted or {})}, limit=200)

    async def call() -> list[Found]:
        return [
            labels.read(str(one.id), str(one.name), _state(one), dict(one.labels or {}))
            async for one in client.sdk.list(query)
        ]

    found = await client.ask("list sandboxes", call, timeout=timeout, safe=True)
    return [one for one in found if one.state not in GONE]


async def sweep(client: Client, owner: str, *, now: datetime | None = None) -> list[str]:
    """Delete what dead runs of this owner have left past its time; return the names of what is gone."""
    now = now or datetime.now(UTC)
    found = await find(client, {"owner": owner}, timeout=SWEEP_TIMEOUT / 2)
    left = [one for one in found if one.is_left_over(owner, now)]
    failed = await delete_all(client, [one.id for one in left], timeout=SWEEP_TIMEOUT / 2)
    return [one.name for one in left if one.id not in failed]


async def delete_all(
    client: Client, ids: Sequence[str], *, timeout: float = DELETE_TIMEOUT, spare_kept: bool = False
) -> dict[str, SandboxError]:
    """Delete these, some at a time; return why some could not be.

    `timeout` (seconds) bounds each of them; of those that are kept, none is deleted when `spare_kept`.
    """
    at_once = asyncio.Semaphore(_AT_ONCE)

    async def one(name_or_id: str) -> None:
        async with at_once:
            await delete(client, name_or_id, timeout=timeout, spare_kept=spare_kept)

    results = await asyncio.gather(*map(one, ids), return_exceptions=True)
    failed = {}
    for name_or_id, result in zip(ids, results, strict=True):
        if isinstance(result, SandboxError):
            failed[name_or_id] = result
        elif isinstance(result, BaseException):
            raise result
    return failed


async def extend(client: Client, raw: AsyncSandbox, minutes: int) -> None:
    """Give a sandbox so many minutes from now, and say so in its label, by which leftovers are told."""
    await _refresh(client, raw)
    if labels.is_kept(raw.labels or {}):
        return  # by another worker that shares it: it has no end any more
    until = datetime.now(UTC) + timedelta(minutes=minutes)
    # The label first: at no time may it be earlier than the end, or a sweep would take what is alive.
    await _label(client, raw, {"expires-at": labels.stamp(until)})
    await client.ask("extend its time to live", lambda: raw.set_ttl(minutes), safe=True)


async def keep(client: Client, raw: AsyncSandbox) -> None:
    """Take every limit off a sandbox and mark it, so that no sweep ever takes it for a leftover."""
    await _refresh(client, raw)
    await _label(client, raw, labels.KEPT)
    await client.ask("keep it", lambda: raw.set_ttl(0), safe=True)
    await client.ask("keep it", lambda: raw.set_auto_delete_interval(-1), safe=True)


async def _refresh(client: Client, raw: AsyncSandbox) -> None:
    # Setting labels replaces all of them, and another worker that shares the sandbox may have set some.
    await client.ask("read its labels", raw.refresh_data, safe=True)


async def _label(client: Client, raw: AsyncSandbox, more: Mapping[str, str]) -> None:
    merged = {**dict(raw.labels or {}), **more}
    await client.ask("set its labels", lambda: raw.set_labels(merged), safe=True)


def _state(raw: Any) -> str:
    return str(getattr(raw.state, "value", raw.state) or "unknown")
