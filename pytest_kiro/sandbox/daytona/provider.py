"""Provides Daytona's sandboxes; `--kiro-sandbox=daytona`."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from pytest_kiro.errors import KiroError, SandboxError, SandboxTimeout
from pytest_kiro.sandbox.daytona import fleet, labels, specs
from pytest_kiro.sandbox.daytona.client import Client
from pytest_kiro.sandbox.daytona.faults import QuotaExceeded, SnapshotGone, Unreachable, status_of
from pytest_kiro.sandbox.daytona.governor import Governor
from pytest_kiro.sandbox.daytona.labels import OurSandbox
from pytest_kiro.sandbox.daytona.machine import Machine
from pytest_kiro.sandbox.daytona.sandbox import DaytonaSandbox
from pytest_kiro.sandbox.daytona.snapshot import Builder
from pytest_kiro.sandbox.protocol import SandboxSpec
from pytest_kiro.settings.table import Settings

if TYPE_CHECKING:
    from daytona import AsyncSandbox

_log = logging.getLogger(__name__)
SNAPSHOT = "daytona-medium"


class DaytonaProvider:
    """Makes sandboxes in Daytona, one for each worker. Beyond the organisation's room, workers share them.

    `recipe` are the shell lines that `--kiro-snapshot=auto` builds in; `environ` has the keys; `pause` and `clock`
    are how it waits for Daytona, and tells the time to the other workers.
    """

    name = "daytona"
    isolated = True

    def __init__(
        self,
        settings: Settings,
        *,
        recipe: Sequence[str] = (),
        environ: Mapping[str, str] = os.environ,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings, self._recipe, self._waits = settings, recipe, settings.waits.daytona
        self._governor = Governor(settings.run_id, settings.worker, clock=clock, lock=settings.waits.lock)
        self._client = Client(environ, waits=self._waits, on_rate_limit=self._governor.hold, pause=pause)
        self._owner = labels.owner(environ)
        self._made: list[DaytonaSandbox] = []
        self._swept = False
        #: Names of sandboxes whose deletion failed, and lines on those for which the user did not wait.
        self._unsure: list[str] = []
        self._left_behind: list[str] = []

    def create(self, spec: SandboxSpec) -> DaytonaSandbox:
        """Make a sandbox, or, without room, join one of this run."""
        specs.check(spec, self._settings.snapshot)
        _ = self._client.sdk  # a key that is missing is told of before anything is asked
        if not self._swept:
            self._swept = True
            self._sweep()
        sandbox = self._find_place(spec)
        self._made.append(sandbox)
        return sandbox

    def _find_place(self, spec: SandboxSpec) -> DaytonaSandbox:
        timeout, refusal = self._settings.setup_timeout, None
        deadline = time.monotonic() + timeout
        while True:
            decision = self._governor.decide(self._settings.max_sandboxes)
            match decision.step:
                case "create":
                    try:
                        return self._create(decision.name, spec)
                    except QuotaExceeded as error:  # so what this run has is shared from now on
                        self._governor.refused()
                        refusal = error
                case "join":
                    if sandbox := self._join(decision.name):
                        return sandbox
                case "full":
                    raise _no_room(refusal, spec) from refusal
                case "wait":
                    if time.monotonic() > deadline:
                        what = f"no sandbox of this run was ready within {timeout:g} s (--kiro-setup-timeout)"
                        raise SandboxError(what, advice="look at what the other workers say")
                    time.sleep(self._waits.join)

    def close(self) -> list[str]:
        """Delete what all of this run's workers left. Leftovers of this owner's dead runs are swept too."""
        left_behind, self._left_behind = self._left_behind, []
        try:
            if left_behind:  # after Ctrl-C was pressed twice the network is not waited for a third time
                return left_behind
            for sandbox in self._made:
                with suppress(SandboxError):
                    sandbox.close()
            return self._clear() if self._has_key() else []
        finally:
            self._made.clear()
            self._client.close()
            self._governor.remove()

    def _has_key(self) -> bool:
        try:
            return self._client.sdk is not None
        except KiroError:  # no key, or no address: nothing was made
            return False

    def _clear(self) -> list[str]:
        """Delete what is left of this run; return a line on each that could not be."""
        client = self._client
        names = list(dict.fromkeys([*self._governor.names(), *self._unsure]))
        if not names and self._swept and not client.answered:
            return []  # Daytona was never reached, so there is nothing
        try:
            listed = client.wait_for(fleet.find(client, {"run": self._settings.run_id}), self._waits.request)
        except SandboxError as error:
            why = _on_one_line(error)
            return [f"{name} may be left, it could not be looked for: {why}; {_delete_line(name)}" for name in names]
        # By name as well: one whose creation was never answered may not be listed yet.
        unlisted = [name for name in names if name not in {one.name for one in listed}]
        ours = {one.id: one for one in listed if not one.keep}
        work = fleet.delete_all(client, [*ours, *unlisted], spare_kept=True)
        failed = client.wait_for(work, 2 * self._waits.delete)
        with suppress(SandboxError):
            client.wait_for(fleet.sweep(client, self._owner), self._waits.sweep)
        return [_left_line(ours.get(one), one, error) for one, error in failed.items()]

    def _sweep(self) -> None:
        try:
            if swept := self._client.wait_for(fleet.sweep(self._client, self._owner), self._waits.sweep):
                _log.info("deleted %d sandboxes that dead runs had left", len(swept))
        except SandboxError as error:
            if isinstance(error, Unreachable) or status_of(error) in (401, 403):
                raise  # whatever comes next would fail likewise
            _log.info("leftovers of dead runs could not be looked for: %s", error)

    # -- one sandbox

    def _create(self, name: str, spec: SandboxSpec) -> DaytonaSandbox:
        creation = fleet.Creation(self._client, self._settings, self._owner, name, spec)
        try:
            sandbox = self._client.wait_for(self._make(creation), self._settings.setup_timeout + self._waits.build)
            self._governor.ready(name, sandbox.id)
        except BaseException as failure:
            self._undo(creation, failure)
            raise
        return sandbox

    async def _make(self, creation: fleet.Creation) -> DaytonaSandbox:
        """Make a sandbox; its snapshot may have to be built first."""
        spec, chosen = creation.spec, self._settings.snapshot
        snapshot = spec.snapshot or (SNAPSHOT if chosen == "none" else chosen)
        if spec.image or snapshot != "auto":
            return await self._explored(await self._request(creation, snapshot), creation.name)
        builder = Builder(self._client, self._recipe, specs.resources(spec))
        try:
            raw = await self._request(creation, await builder.ensure())
        except SnapshotGone:
            _log.info("snapshot %s went away before it was used", builder.name)
            raw = await self._request(creation, await builder.ensure())
        return await self._explored(raw, creation.name)

    async def _request(self, creation: fleet.Creation, snapshot: str) -> AsyncSandbox:
        name, timeout = creation.name, self._settings.setup_timeout
        await self._hold_back(name, timeout)
        _log.info("creating sandbox %s", name)
        try:
            call = partial(creation.request, snapshot)
            return await self._client.ask(f"create sandbox {name}", call, timeout=timeout, safe=True)
        except SandboxTimeout as error:
            what = f"sandbox {name} was not ready within {timeout:g} s"
            advice = "see status.daytona.io, or wait longer: --kiro-setup-timeout=SECONDS"
            raise SandboxTimeout(what, advice=advice) from error

    async def _hold_back(self, name: str, longest: float) -> None:
        """Wait while another worker was told to: what is limited is the organisation's rate."""
        waited = 0.0
        while (held := self._governor.held()) > 0:
            if waited >= longest:
                what = f"sandbox {name} was not requested within {longest:g} s (--kiro-setup-timeout)"
                limited = "Daytona limits the rate at which this organisation makes sandboxes"
                raise SandboxTimeout(f"{what}: {limited}", advice="run fewer workers")
            pause = min(held, 5.0)
            await self._client.pause(pause)
            waited += pause

    def _undo(self, creation: fleet.Creation, failure: BaseException) -> None:
        name = creation.name
        try:
            self._client.wait_for(creation.undo(failure), sum(self._waits.looks) + self._waits.delete)
        except SandboxError as error:
            _log.info("%s may be left, until its time to live ends: %s", name, error)
            self._unsure.append(name)
        except BaseException:
            if creation.requests:
                why = f"you left before it was known; it would end by itself after {fleet.TTL} minutes"
                self._left_behind.append(f"{name} may be left: {why}; {_delete_line(name)}")
            raise
        finally:
            self._governor.drop(name)

    async def _explored(self, raw: AsyncSandbox, name: str, *, joined: bool = False) -> DaytonaSandbox:
        machine = Machine(self._client, raw)
        await machine.explore()
        return DaytonaSandbox(machine, name, end=self._end, joined=joined)

    def _join(self, name: str) -> DaytonaSandbox | None:
        """Join a sandbox that another worker made; None when it is on its way out."""

        async def work() -> DaytonaSandbox:
            raw = await self._client.ask(f"join sandbox {name}", partial(self._client.sdk.get, name), safe=True)
            return await self._explored(raw, name, joined=True)

        try:
            sandbox = self._client.wait_for(work(), 2 * self._waits.request)
        except BaseException as error:
            last = self._governor.leave(name)
            if status_of(error) == 404:
                self._governor.drop(name)
                return None
            if last:  # its maker has left it to us
                with suppress(SandboxError):
                    self._client.wait_for(fleet.delete(self._client, name), self._waits.delete)
            raise
        _log.info("sharing sandbox %s: there is no room for one more", name)
        return sandbox

    def _end(self, sandbox: DaytonaSandbox) -> None:
        """Delete a sandbox when its last worker leaves it."""
        if not self._governor.leave(sandbox.name):
            sandbox.abandon()
            return
        try:
            self._client.wait_for(fleet.delete(self._client, sandbox.id), self._waits.delete)
        except BaseException:
            self._unsure.append(sandbox.name)
            raise
        finally:
            sandbox.forget()


def _no_room(refusal: SandboxError | None, spec: SandboxSpec) -> SandboxError:
    takes = "what its snapshot says"
    if not spec.snapshot:
        has = specs.resources(spec)
        takes = f"{has['cpu']} vCPU and {has['memory']} GiB"
    advice = (
        "make room in the organisation (python -m pytest_kiro sandboxes --delete), raise its tier, or run with fewer "
        f"workers; a sandbox takes {takes}, and tier 1 holds 10 vCPU and 10 GiB: two sandboxes of 4 GiB"
    )
    why = refusal or "Daytona has refused another worker of it, whose error says which limit was reached"
    return SandboxError(f"this run got no sandbox at all: {why}", advice=advice)


def _left_line(ours: OurSandbox | None, name_or_id: str, error: SandboxError) -> str:
    """Say what is left, until when, and how to delete it."""
    name = f"{ours.name} ({ours.id})" if ours else name_or_id
    until = f"; it ends by itself at {labels.stamp(ours.expires)}" if ours and ours.expires else ""
    return f"{name} could not be deleted: {_on_one_line(error)}{until}; {_delete_line(name_or_id)}"


def _delete_line(name_or_id: str) -> str:
    return f"delete it: python -m pytest_kiro sandboxes --delete {name_or_id}"


def _on_one_line(error: SandboxError) -> str:
    return "; ".join(line.strip() for line in str(error).splitlines())
