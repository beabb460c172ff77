"""Builds snapshots named by their content: kiro-cli and node are in them, and nothing of a login.

Only by RUN lines: what is copied travels by an object store whose upload has been seen to hang (docs/daytona.md).
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_kiro.errors import SandboxError, SandboxTimeout
from pytest_kiro.sandbox.daytona import specs
from pytest_kiro.sandbox.daytona.client import Client
from pytest_kiro.sandbox.daytona.faults import DaytonaRefused, QuotaExceeded, tolerated
from pytest_kiro.sandbox.daytona.fleet import state_of

if TYPE_CHECKING:
    from daytona import Image

T = TypeVar("T")
_log = logging.getLogger(__name__)
#: Has node, python3, git and curl; a tag is wanted by the platform, `latest` is refused.
_BASE = "node:22-bookworm"
_PACKAGES = "ca-certificates curl git libasound2 procps python3 sudo unzip util-linux xz-utils"
_LAST_LINES = 20
_BROKEN = frozenset({"error", "build_failed"})


def image(recipe: Sequence[str]) -> Image:
    """Return the image to build: `recipe` are shell lines that the sandbox's own user runs."""
    from daytona import Image

    return Image.base(_BASE).dockerfile_commands(
        [
            f"RUN apt-get update && apt-get install -y --no-install-recommends {_PACKAGES} "
            "&& rm -rf /var/lib/apt/lists/*",
            "RUN useradd --create-home --shell /bin/bash daytona "
            "&& echo 'daytona ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/daytona",
            "USER daytona",
            "WORKDIR /home/daytona",
            "ENV HOME=/home/daytona",
            *(f"RUN {line}" for line in recipe),
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
        self._said = deque[str](maxlen=_LAST_LINES)

    async def ensure(self) -> str:
        """Return the name of a usable snapshot; build or wake it within `waits.build` s."""
        service, timeout = self._client.sdk.snapshot, self._client.waits.build
        deadline, fresh = time.monotonic() + timeout, False
        while time.monotonic() < deadline:
            snapshot = await self._get()
            state = state_of(snapshot) if snapshot else "missing"
            if state == "active":
                return self.name
            if state in _BROKEN:
                if fresh:
                    what = f"snapshot {self.name} could not be built: {snapshot.error_reason or 'no reason was given'}"
                    advice = "look at what the build said; --kiro-snapshot=none installs into each sandbox instead"
                    raise SandboxError(what, output="\n".join(self._said), advice=advice, lines=_LAST_LINES)
                _log.info("snapshot %s is broken (%s); it is built again", self.name, snapshot.error_reason)
                with tolerated(404, 409):
                    await self._ask("delete", partial(service.delete, snapshot))
            if state in _BROKEN or state == "missing":
                mine = await self._build(deadline - time.monotonic())
                # What another worker builds is as new, and when it fails it would fail for all workers.
                fresh = True
                if mine:
                    continue
            elif state == "inactive":
                _log.info("snapshot %s was not used for long; it is activated", self.name)
                with tolerated(400, 409):  # another worker has just done it
                    await self._ask("activate", partial(service.activate, snapshot))
            else:
                fresh = True  # it is being made, or fetched, right now
            await self._client.pause(self._client.waits.poll)
        raise SandboxTimeout(f"snapshot {self.name} was not ready within {timeout:g} s", "\n".join(self._said))

    async def _ask(self, verb: str, call: Callable[[], Awaitable[T]], timeout: float | None = None) -> T:
        return await self._client.ask(f"{verb} snapshot {self.name}", call, timeout=timeout, safe=True)  # by its name

    async def _get(self) -> Any:
        with tolerated(404):
            return await self._ask("look for", partial(self._client.sdk.snapshot.get, self.name))
        return None

    async def _build(self, timeout: float) -> bool:
        """Build it; return whether this worker did: of two that begin at once one is told of a conflict."""
        from daytona import CreateSnapshotParams

        _log.info("building snapshot %s, once; later runs use it", self.name)
        params = CreateSnapshotParams(name=self.name, image=self._image, resources=specs.of_the_sdk(self._resources))
        create = partial(self._client.sdk.snapshot.create, params, on_logs=self._heard, timeout=0)
        try:
            await self._ask("build", create, timeout)
        except SandboxError as error:
            if isinstance(error, DaytonaRefused) and error.status == 409:
                return False
            if await self._get() is not None:
                return True  # its state says more than a link that was lost
            if isinstance(error, QuotaExceeded):  # of snapshots: no other sandbox could be shared
                advice = "delete snapshots that nobody uses in Daytona's dashboard, or run with --kiro-snapshot=none"
                raise SandboxError(str(error), advice=advice) from error
            raise
        return True

    def _heard(self, text: str) -> None:
        for line in filter(str.strip, text.splitlines()):
            self._said.append(line)
            _log.info("building snapshot: %s", line)
