"""Paying for set-up once: a snapshot named by its content, with kiro-cli and node in it, and nothing of a login.

Only RUN lines go into it: files copied from here would travel by an object store whose upload has been seen to hang
(docs/daytona.md).
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pytest_kiro.errors import SandboxError, SandboxTimeout, message
from pytest_kiro.sandbox.daytona import faults
from pytest_kiro.sandbox.daytona.client import Client

if TYPE_CHECKING:
    from daytona import Image

_log = logging.getLogger(__name__)
#: Seconds that a build may take: the CLI's archive alone is some hundred megabytes.
BUILD_TIMEOUT = 1800.0
_POLL = 1.0
#: Has node, python3, git and curl; a tag is wanted by the platform, `latest` is refused.
_BASE = "node:22-bookworm"
_PACKAGES = "ca-certificates curl git libasound2 procps python3 sudo unzip util-linux xz-utils"
_LAST_LINES = 20
_USABLE, _BROKEN = frozenset({"active"}), frozenset({"error", "build_failed"})


def image(recipe: Sequence[str]) -> Image:
    """Return what is built: `recipe` are shell lines that the sandbox's own user runs."""
    from daytona import Image

    user = [f"RUN {line}" for line in recipe]
    return Image.base(_BASE).dockerfile_commands(
        [
            f"RUN apt-get update && apt-get install -y --no-install-recommends {_PACKAGES} "
            "&& rm -rf /var/lib/apt/lists/*",
            "RUN useradd --create-home --shell /bin/bash daytona "
            "&& echo 'daytona ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/daytona",
            "USER daytona",
            "WORKDIR /home/daytona",
            "ENV HOME=/home/daytona",
            *user,
            "RUN node --version && python3 --version",
        ]
    )


def name_of(content: str) -> str:
    """Return the name of a snapshot with this content: another recipe is another snapshot."""
    return f"pytest-kiro-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


class Builder:
    """Finds or builds one snapshot; several workers, or runs, may do so at once."""

    def __init__(self, client: Client, recipe: Sequence[str], resources: dict[str, int]) -> None:
        self._client, self._image, self._resources = client, image(recipe), resources
        self.name = name_of(f"{self._image.dockerfile()}{sorted(resources.items())}")
        self._said: list[str] = []

    async def ensure(self, *, timeout: float = BUILD_TIMEOUT) -> str:
        """Return the name of a snapshot that can be used, built or woken up if need be."""
        deadline, fresh = time.monotonic() + timeout, False
        while time.monotonic() < deadline:
            found = await self._get()
            state = str(getattr(found.state, "value", found.state)) if found else "missing"
            if state in _USABLE:
                return self.name
            if state in _BROKEN and fresh:
                raise self._failed(str(found.error_reason or "no reason was given"))
            if state in _BROKEN:
                _log.info("snapshot %s is broken (%s); it is built again", self.name, found.error_reason)
                await self._delete(found)
            if state in _BROKEN or state == "missing":
                mine = await self._build(deadline - time.monotonic())
                # What another worker builds is as new, and when it fails it would fail for everybody.
                fresh = True
                if mine:
                    continue
            elif state == "inactive":
                _log.info("snapshot %s was not used for long; it is activated", self.name)
                await self._activate(found)
            else:
                fresh = True  # it is being made, or fetched, right now
            await self._client.pause(_POLL)
        raise SandboxTimeout(message(f"snapshot {self.name} was not ready within {timeout:g} s", output=self._tail()))

    async def _get(self) -> Any:
        try:
            return await self._client.ask(
                f"look for snapshot {self.name}", lambda: self._client.sdk.snapshot.get(self.name), safe=True
            )
        except SandboxError as error:
            if faults.status_behind(error) == 404:
                return None
            raise

    async def _build(self, timeout: float) -> bool:
        """Build it; return whether it was us who did: of two that begin at once one is told of a conflict."""
        from daytona import CreateSnapshotParams, Resources

        wanted = self._resources
        _log.info("building snapshot %s, once; later runs use it", self.name)
        resources = Resources(cpu=wanted["cpu"], memory=wanted["memory"], disk=wanted["disk"])
        params = CreateSnapshotParams(name=self.name, image=self._image, resources=resources)
        service = self._client.sdk.snapshot
        try:
            await self._client.ask(
                f"build snapshot {self.name}",
                lambda: service.create(params, on_logs=self._heard, timeout=0),
                timeout=timeout,
                safe=True,  # by its name
            )
        except SandboxError as error:
            if faults.status_behind(error) == 409:
                return False
            if await self._get() is not None:
                return True  # its state says more than a link that was lost
            if isinstance(error, faults.QuotaExceeded):  # of snapshots: no other sandbox could be shared
                advice = "delete snapshots that nobody uses in Daytona's dashboard, or run with --kiro-snapshot=none"
                raise SandboxError(message(str(error), advice=advice)) from error
            raise
        return True

    def _heard(self, text: str) -> None:
        for line in text.splitlines():
            if line.strip():
                self._said = [*self._said[1 - _LAST_LINES :], line]
                _log.info("building snapshot: %s", line)

    async def _activate(self, found: Any) -> None:
        what = f"activate snapshot {self.name}"
        try:
            await self._client.ask(what, lambda: self._client.sdk.snapshot.activate(found), safe=True)
        except SandboxError as error:
            if faults.status_behind(error) not in (400, 409):  # another worker has just done it
                raise

    async def _delete(self, found: Any) -> None:
        what = f"delete snapshot {self.name}"
        try:
            await self._client.ask(what, lambda: self._client.sdk.snapshot.delete(found), safe=True)
        except SandboxError as error:
            if faults.status_behind(error) not in (404, 409):
                raise

    def _failed(self, reason: str) -> SandboxError:
        advice = "look at what the build said; --kiro-snapshot=none installs into each sandbox instead"
        what = f"snapshot {self.name} could not be built: {reason}"
        return SandboxError(message(what, output=self._tail(), advice=advice, lines=_LAST_LINES))

    def _tail(self) -> str:
        return "\n".join(self._said)
