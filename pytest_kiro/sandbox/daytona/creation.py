"""How one sandbox is made, and unmade when that failed: then nobody may know whether it is there."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pytest_kiro.errors import SandboxError, SandboxTimeout, message
from pytest_kiro.sandbox.daytona import faults, fleet, labels, wanted
from pytest_kiro.sandbox.daytona.client import Client
from pytest_kiro.sandbox.daytona.run import Run
from pytest_kiro.sandbox.daytona.snapshot import Builder
from pytest_kiro.sandbox.protocol import SandboxSpec
from pytest_kiro.settings.table import Settings

if TYPE_CHECKING:
    from daytona import AsyncSandbox

_log = logging.getLogger(__name__)
SNAPSHOT = "daytona-medium"
#: Minutes without activity after which a sandbox is stopped, and so, being ephemeral, deleted.
AUTO_STOP = 15
#: Minutes after which a sandbox is destroyed whatever happens: the only limit that needs nobody's activity.
TTL = 120
#: Seconds between looks for a sandbox whose creation was given up, and may be carried out all the same.
_LOOKS = (0.5, 1, 2, 4, 8)
#: Seconds that all of these looks, and the deletion, may take.
UNDO_TIMEOUT = sum(_LOOKS) + fleet.DELETE_TIMEOUT


class Creation:
    """One attempt at a sandbox; its name is known, and noted down, before anything is requested."""

    def __init__(self, client: Client, run: Run, settings: Settings, name: str, spec: SandboxSpec) -> None:
        self._client, self._run, self._settings = client, run, settings
        self.name, self._spec = name, spec
        #: Whether it was ever requested, so that it may be there.
        self.sent = False

    async def make(self, owner: str, recipe: Sequence[str]) -> AsyncSandbox:
        """Request it and wait until it has started."""
        spec, chosen = self._spec, self._settings.snapshot
        source = spec.snapshot or (SNAPSHOT if chosen == "none" else chosen)
        if spec.image or source != "auto":
            return await self._request(source, owner)
        builder = Builder(self._client, recipe, wanted.resources(spec))
        try:
            return await self._request(await builder.ensure(), owner)
        except SandboxError as error:
            if not faults.is_snapshot_gone(error):
                raise
            _log.info("snapshot %s went away before it was used", builder.name)
        return await self._request(await builder.ensure(), owner)

    async def _request(self, source: str, owner: str) -> AsyncSandbox:
        await self._hold_back()
        _log.info("creating sandbox %s", self.name)
        timeout = self._settings.setup_timeout
        self.sent = True
        try:
            what = f"create sandbox {self.name}"
            return await self._client.ask(what, self._call(source, owner), timeout=timeout, safe=True)
        except SandboxTimeout as error:
            advice = "see status.daytona.io, or wait longer: --kiro-setup-timeout=SECONDS"
            what = f"sandbox {self.name} was not ready within {timeout:g} s"
            raise SandboxTimeout(message(what, advice=advice)) from error

    async def _hold_back(self) -> None:
        """Wait while another worker was told to: what is limited is the organisation's rate."""
        waited, longest = 0.0, self._settings.setup_timeout
        while (held := self._run.held()) > 0:
            if waited >= longest:
                raise SandboxTimeout(
                    f"sandbox {self.name} was not requested within {longest:g} s (--kiro-setup-timeout): Daytona "
                    "limits the rate at which this organisation makes sandboxes; run fewer workers"
                )
            pause = min(held, 5.0)
            await self._client.pause(pause)
            waited += pause

    def _call(self, source: str, owner: str) -> Callable[[], Awaitable[AsyncSandbox]]:
        """Return the request; made twice, it finds the first one's sandbox by its name."""
        from daytona import DaytonaError

        again = False

        async def call() -> AsyncSandbox:
            nonlocal again
            try:
                return await self._create(source, owner)
            except DaytonaError as error:
                full = faults.is_full(error)
                # The name is taken, or the room is: by an attempt whose answer was lost.
                if not (again if full else error.status_code == 409):
                    raise
                try:
                    found = await self._client.sdk.get(self.name)
                except DaytonaError:
                    raise error from None
                await found.wait_for_sandbox_start(timeout=0)
                return found
            finally:
                again = True

        return call

    async def _create(self, source: str, owner: str) -> AsyncSandbox:
        from daytona import CreateSandboxFromImageParams, CreateSandboxFromSnapshotParams, Resources

        spec, sdk = self._spec, self._client.sdk
        # Afresh for each attempt: the SDK writes into the labels. Its own timeout would race ours.
        if not spec.image:
            params = CreateSandboxFromSnapshotParams(snapshot=source, **self._made(owner))
            return await sdk.create(params, timeout=0)
        has = wanted.resources(spec)
        resources = Resources(cpu=has["cpu"], memory=has["memory"], disk=has["disk"])
        image = CreateSandboxFromImageParams(image=spec.image, resources=resources, **self._made(owner))
        return await sdk.create(image, timeout=0, on_snapshot_create_logs=_log_line)

    def _made(self, owner: str) -> dict[str, Any]:
        spec, settings = self._spec, self._settings
        ours = labels.make(settings.run_id, settings.worker, TTL, now=datetime.now(UTC), of=owner)
        return {
            "name": self.name,
            "labels": {**spec.labels, **ours},
            "env_vars": dict(spec.env),
            "ephemeral": True,
            "auto_stop_interval": AUTO_STOP,
            "ttl_minutes": TTL,
            "target": spec.region,
            "network_allow_list": ",".join(spec.network_allow_list) or None,
            "domain_allow_list": ",".join(spec.domain_allow_list) or None,
        }

    async def undo(self, failure: BaseException) -> None:
        """Delete what may have been made; one whose request was given up may come only now."""
        if not self.sent or await fleet.delete(self._client, self.name) or not faults.may_come_true(failure):
            return
        _log.info("looking whether sandbox %s was made all the same; Ctrl-C leaves at once", self.name)
        for pause in _LOOKS:
            await self._client.pause(pause)
            if await fleet.delete(self._client, self.name):
                return


def _log_line(line: str) -> None:
    _log.info("building the image: %s", line)
