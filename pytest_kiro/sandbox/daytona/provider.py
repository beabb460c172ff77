"""The provider of Daytona's sandboxes; `--kiro-sandbox=daytona`."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from pytest_kiro.errors import KiroError, SandboxError, message
from pytest_kiro.sandbox.daytona import faults, fleet, labels, wanted
from pytest_kiro.sandbox.daytona.client import CALL_TIMEOUT, Client
from pytest_kiro.sandbox.daytona.creation import TTL, UNDO_TIMEOUT, Creation
from pytest_kiro.sandbox.daytona.labels import Found
from pytest_kiro.sandbox.daytona.machine import Machine
from pytest_kiro.sandbox.daytona.run import Run
from pytest_kiro.sandbox.daytona.sandbox import DaytonaSandbox
from pytest_kiro.sandbox.daytona.snapshot import BUILD_TIMEOUT
from pytest_kiro.sandbox.protocol import SandboxSpec
from pytest_kiro.settings.table import Settings

_log = logging.getLogger(__name__)
_JOIN_PAUSE = 0.5


class DaytonaProvider:
    """Makes sandboxes in Daytona, one for each worker, or as many as the organisation has room for.

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
        self._settings, self._recipe = settings, recipe
        self._run = Run(settings.run_id, settings.worker, clock=clock)
        self._client = Client(environ, on_rate_limit=self._run.hold, pause=pause)
        self._owner = labels.owner(environ)
        self._made: list[DaytonaSandbox] = []
        self._swept = False
        #: Names of sandboxes whose deletion failed, and lines on those for which the user did not wait.
        self._unsure: list[str] = []
        self._left_behind: list[str] = []

    def create(self, spec: SandboxSpec) -> DaytonaSandbox:
        """Make a sandbox, or join one of this run where there is no room for one more."""
        wanted.check(spec, self._settings.snapshot)
        _ = self._client.sdk  # a key that is missing is told of before anything is asked
        self._sweep_once()
        deadline, refusal = time.monotonic() + self._settings.setup_timeout, None
        while True:
            place = self._run.place(self._settings.max_sandboxes, refused=refusal is not None)
            if place.do == "create":
                try:
                    return self._remember(self._create(place.name, spec))
                except faults.QuotaExceeded as error:
                    refusal = error
                    continue
            if place.do == "join":
                if joined := self._join(place.name):
                    return self._remember(joined)
                continue
            if place.do == "full":
                _no_room(refusal, spec)
            if time.monotonic() > deadline:
                raise SandboxError(
                    f"no sandbox of this run was ready within {self._settings.setup_timeout:g} s "
                    "(--kiro-setup-timeout); look at what the other workers say"
                )
            time.sleep(_JOIN_PAUSE)

    def close(self) -> list[str]:
        """Delete what this run has left, on whatever worker, and sweep leftovers of this owner's dead runs."""
        left, self._left_behind = self._left_behind, []
        try:
            if left:  # whoever pressed Ctrl-C twice does not wait for the network a third time
                return left
            for sandbox in self._made:
                with suppress(SandboxError):
                    sandbox.close()
            return self._clear() if self._has_key() else []
        finally:
            self._made.clear()
            self._client.close()
            self._run.remove()

    def _has_key(self) -> bool:
        try:
            return self._client.sdk is not None
        except KiroError:  # no key, or no address: nothing was made
            return False

    def _clear(self) -> list[str]:
        """Delete what is left of this run; return a line on each that could not be."""
        names = list(dict.fromkeys([*self._run.names(), *self._unsure]))
        if not names and self._swept and not self._client.answered:
            return []  # nobody was ever reached, so there is nothing
        try:
            found = self._client.run(fleet.find(self._client, {"run": self._settings.run_id}), CALL_TIMEOUT)
        except SandboxError as error:
            why = _on_one_line(error)
            return [f"{name} may be left, it could not be looked for: {why}; {_delete_line(name)}" for name in names]
        # By name as well: one whose creation was never answered may not be listed yet.
        unlisted = [name for name in names if name not in {one.name for one in found}]
        left = {one.id: one for one in found if not one.keep}
        work = fleet.delete_all(self._client, [*left, *unlisted], spare_kept=True)
        failed = self._client.run(work, 2 * fleet.DELETE_TIMEOUT)
        with suppress(SandboxError):
            self._client.run(fleet.sweep(self._client, self._owner), fleet.SWEEP_TIMEOUT)
        return [_left_line(left.get(one), one, error) for one, error in failed.items()]

    def _sweep_once(self) -> None:
        if self._swept:
            return
        self._swept = True
        try:
            if swept := self._client.run(fleet.sweep(self._client, self._owner), fleet.SWEEP_TIMEOUT):
                _log.info("deleted %d sandboxes that dead runs had left", len(swept))
        except SandboxError as error:
            if faults.status_behind(error) in (401, 403) or faults.is_unreachable(error):
                raise  # and so would be whatever comes next
            _log.info("leftovers of dead runs could not be looked for: %s", error)

    def _remember(self, sandbox: DaytonaSandbox) -> DaytonaSandbox:
        self._made.append(sandbox)
        return sandbox

    # -- one sandbox

    def _create(self, name: str, spec: SandboxSpec) -> DaytonaSandbox:
        creation = Creation(self._client, self._run, self._settings, name, spec)

        async def work() -> DaytonaSandbox:
            return await self._explored(await creation.make(self._owner, self._recipe), name)

        try:
            sandbox = self._client.run(work(), self._settings.setup_timeout + BUILD_TIMEOUT)
            self._run.ready(name, sandbox.id)
        except BaseException as failure:
            self._undo(creation, failure)
            raise
        return sandbox

    def _undo(self, creation: Creation, failure: BaseException) -> None:
        name = creation.name
        try:
            self._client.run(creation.undo(failure), UNDO_TIMEOUT)
        except SandboxError as error:
            _log.info("%s may be left, until its time to live ends: %s", name, error)
            self._unsure.append(name)
        except BaseException:
            if creation.sent:
                why = f"you left before it was known; it would end by itself after {TTL} minutes"
                self._left_behind.append(f"{name} may be left: {why}; {_delete_line(name)}")
            raise
        finally:
            self._run.drop(name)

    async def _explored(self, raw: Any, name: str, *, joined: bool = False) -> DaytonaSandbox:
        machine = Machine(self._client, raw)
        await machine.explore()
        return DaytonaSandbox(
            machine,
            name,
            ttl_minutes=TTL,
            extend=lambda minutes: fleet.extend(self._client, raw, minutes),
            keep=lambda: fleet.keep(self._client, raw),
            end=self._end,
            joined=joined,
        )

    def _join(self, name: str) -> DaytonaSandbox | None:
        """Join a sandbox that another worker made; None when it is on its way out."""

        async def work() -> DaytonaSandbox:
            raw = await self._client.ask(f"join sandbox {name}", lambda: self._client.sdk.get(name), safe=True)
            return await self._explored(raw, name, joined=True)

        try:
            sandbox = self._client.run(work(), 2 * CALL_TIMEOUT)
        except BaseException as error:
            last = self._run.leave(name)
            if isinstance(error, faults.Gone) or faults.status_behind(error) == 404:
                self._run.drop(name)
                return None
            if last:  # its maker has left it to us
                with suppress(SandboxError):
                    self._client.run(fleet.delete(self._client, name), fleet.DELETE_TIMEOUT)
            raise
        _log.info("sharing sandbox %s: there is no room for one more", name)
        return sandbox

    def _end(self, sandbox: DaytonaSandbox) -> None:
        """Delete a sandbox when its last worker leaves it."""
        if self._run.leave(sandbox.name):
            try:
                self._client.run(fleet.delete(self._client, sandbox.id), fleet.DELETE_TIMEOUT)
            except BaseException:
                self._unsure.append(sandbox.name)
                raise
            finally:
                sandbox.forget()
        else:
            sandbox.abandon()


def _no_room(refusal: SandboxError | None, spec: SandboxSpec) -> NoReturn:
    takes = "what its snapshot says"
    if not spec.snapshot:
        has = wanted.resources(spec)
        takes = f"{has['cpu']} vCPU and {has['memory']} GiB"
    advice = (
        "make room in the organisation (python -m pytest_kiro sandboxes --delete), raise its tier, or run with fewer "
        f"workers; a sandbox takes {takes}, and tier 1 holds 10 vCPU and 10 GiB: two sandboxes of 4 GiB"
    )
    why = refusal or "Daytona has refused another worker of it, whose error says which limit was reached"
    raise SandboxError(message(f"this run got no sandbox at all: {why}", advice=advice)) from refusal


def _left_line(found: Found | None, wanted_: str, error: SandboxError) -> str:
    """Say what is left, until when, and how to be rid of it."""
    name = f"{found.name} ({found.id})" if found else wanted_
    until = f"; it ends by itself at {labels.stamp(found.expires)}" if found and found.expires else ""
    return f"{name} could not be deleted: {_on_one_line(error)}{until}; {_delete_line(wanted_)}"


def _delete_line(name_or_id: str) -> str:
    return f"delete it: python -m pytest_kiro sandboxes --delete {name_or_id}"


def _on_one_line(error: SandboxError) -> str:
    return "; ".join(line.strip() for line in str(error).splitlines())
