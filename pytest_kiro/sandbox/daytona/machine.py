"""One machine in Daytona, on the loop's side: requests that know whether it still lives, and commands in it."""

from __future__ import annotations

import asyncio
import itertools
import math
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from pytest_kiro.errors import SandboxError, message
from pytest_kiro.sandbox.daytona import faults, guest
from pytest_kiro.sandbox.daytona.client import Client

if TYPE_CHECKING:
    from daytona import AsyncSandbox

T = TypeVar("T")
#: Seconds for an errand of our own.
ERRAND_TIMEOUT = 60.0
#: Seconds that a command's answer may take beyond the command's own time: it may be 16 MiB.
_ANSWER = 60.0
#: Seconds for which what an ended terminal has left may wait for a request that takes its end along.
_DOOM = 0.5
_STATE_TIMEOUT = 20.0
#: Names of ours that one command removes before it begins.
_CLEARED_AT_ONCE = 500
_ALIVE = frozenset({"started", "starting", "resizing", "snapshotting", "unknown"})


class Machine:
    """A sandbox as the SDK has it, with the folder in which our commands keep their output."""

    def __init__(self, client: Client, raw: AsyncSandbox) -> None:
        self.client, self.raw = client, raw
        self.home = self.tasks = ""
        # Workers that share a sandbox must not take each other's tasks for their own.
        self._token, self._numbers = secrets.token_hex(4), itertools.count(1)
        self._answered: list[str] = []  # what is to be removed along with the next command
        self._doomed: list[str] = []  # whose processes are to be killed along with it
        self._flushes = set[asyncio.Task[None]]()
        self.gone = False

    @property
    def id(self) -> str:
        return str(self.raw.id)

    async def explore(self) -> None:
        """Find out where its home and its temporary folder are."""
        command = 'cd && pwd && tasks="${TMPDIR:-/tmp}/tasks" && mkdir -p -m 700 "$tasks" && echo "$tasks"'

        async def call() -> str:
            answer = await self.raw.process.exec(command, timeout=30)
            return str(answer.result)

        answer = await self.ask("look at a new sandbox", call, safe=True)
        lines = answer.splitlines()
        if len(lines) < 2 or not all(line.startswith("/") for line in lines[-2:]):
            what = f"sandbox {self.id} has no usable home or temporary folder"
            advice = "make it from an image whose user has a HOME, and a TMPDIR that can be written"
            raise SandboxError(message(what, output=answer, advice=advice))
        self.home, self.tasks = lines[-2:]

    async def ask(
        self, what: str, call: Callable[[], Awaitable[T]], *, timeout: float = ERRAND_TIMEOUT, safe: bool = False
    ) -> T:
        """Make a request to this machine; `Gone` when it is not there any more."""

        async def looked() -> T:
            try:
                return await call()
            except Exception as error:
                # A proxy says 404 or 502 of a machine that is gone, and so it does in passing of one that is well.
                if faults.is_ambiguous(error) or faults.status_of(error) in (400, 404, 409, 410):
                    await self._check_alive(error)
                raise

        return await self.client.ask(f"sandbox {self.id}: {what}", looked, timeout=timeout, safe=safe)

    async def _check_alive(self, error: BaseException) -> None:
        try:
            fresh = await asyncio.wait_for(self.client.sdk.get(self.id), _STATE_TIMEOUT)
        except Exception as unknown:
            if faults.status_of(unknown) != 404:
                return  # the first error tells more than that nobody knows
            state, why = "destroyed", ""
        else:
            state = str(getattr(fresh.state, "value", fresh.state) or "unknown")
            why = f" ({fresh.error_reason})" if fresh.error_reason else ""
        if state not in _ALIVE:
            raise faults.Gone(
                f"sandbox {self.id} is gone: Daytona says it is {state}{why}; it may have been deleted from elsewhere, "
                "or have reached its time to live; run pytest again"
            ) from error

    def task(self, place: int = 0) -> str:
        """Return the name of a new task; a `place` above 0 is a folder whose tasks are ended together.

        Its tag is the same with a dot, so that no tag begins another's by chance.
        """
        return f"{self._token}.{place}.{next(self._numbers)}"

    def tag(self, place: int | None = None) -> str:
        """Return how the tags of a place begin, or, without one, all of ours."""
        return f"{self._token}." if place is None else f"{self._token}.{place}."

    async def execute(
        self, command: str, *, task: str, cwd: str, env: Mapping[str, str], limit: float
    ) -> tuple[guest.Ended, bool]:
        """Execute a command of the user's; return how it ended, and whether in time.

        At the limit its processes are killed from outside, so that the first request ends by itself and brings
        what had been printed: the service's own timeout would lose it.
        """
        _check_length(command, env)
        request = asyncio.ensure_future(self._execute(command, task, cwd, env, limit))
        try:
            done, _ = await asyncio.wait({request}, timeout=limit)
            if not done:
                await self.end(task)
            return guest.unwrap(await asyncio.wait_for(request, _ANSWER), task), bool(done)
        except TimeoutError as error:
            raise SandboxError(
                f"sandbox {self.id}: a command was killed at its limit, and yet did not end; run pytest again"
            ) from error
        finally:
            request.cancel()
            self._answered.append(task)

    async def _execute(self, command: str, task: str, cwd: str, env: Mapping[str, str], limit: float) -> str:
        carried = {guest.carried(name): value for name, value in env.items()}

        def text(answered: Iterable[str]) -> str:
            return guest.wrap(
                command, tasks=self.tasks, task=task, tag=f"{task}.", cwd=cwd, variables=env, answered=answered
            )

        return await self._send("exec", text, limit, carried)

    async def end(self, task: str) -> None:
        """Kill a task's processes, and see to it that it does not begin any more."""
        await self.errand("end a command", guest.reap([f"{task}."], self.tasks, void=task))

    async def errand(self, what: str, command: str, *, timeout: float = ERRAND_TIMEOUT) -> str:
        """Execute a command of ours that is short, and safe to do twice; return what it printed."""
        task = self.task()

        def text(answered: Iterable[str]) -> str:
            return guest.errand(command, tasks=self.tasks, task=task, answered=answered)

        return guest.unwrap(await self._send(what, text, timeout), task).output

    async def reap(self, tags: list[str]) -> None:
        """Kill all processes whose tags begin with these."""
        await self.errand("end processes", guest.reap(tags, self.tasks))

    def doom(self, tag: str) -> None:
        """Have the processes of an ended task killed along with the next request, or soon; to be called on the loop."""
        self._doomed.append(tag)
        asyncio.get_running_loop().call_later(_DOOM, self._flush, tag)

    def _flush(self, tag: str) -> None:
        if tag in self._doomed and not self.gone:
            flush = asyncio.ensure_future(self._reap_quietly([tag]))
            self._flushes.add(flush)
            flush.add_done_callback(self._flushes.discard)

    async def _reap_quietly(self, tags: list[str]) -> None:
        with suppress(SandboxError):  # the next request brings it along, or the machine is gone
            await self.reap(tags)
            self._doomed = [tag for tag in self._doomed if tag not in tags]

    def throw_away(self, *paths: str) -> None:
        """Have files of ours removed along with the next command."""
        self._answered += [path.rpartition("/")[2] for path in paths]

    async def _send(
        self, what: str, text: Callable[[Iterable[str]], str], limit: float, envs: dict[str, str] | None = None
    ) -> str:
        used, doomed = tuple(self._answered[:_CLEARED_AT_ONCE]), tuple(self._doomed)
        first = guest.beforehand(guest.reap(doomed, self.tasks)) if doomed else ""
        # The service's own limit is for the case that nobody is there any more to keep ours.
        backstop = math.ceil(limit + _ANSWER)

        async def call() -> str:
            answer = await self.raw.process.exec(first + text(used), env=envs or None, timeout=backstop)
            return str(answer.result)

        result = await self.ask(what, call, timeout=limit + _ANSWER, safe=True)
        self._answered = [name for name in self._answered if name not in used]
        self._doomed = [tag for tag in self._doomed if tag not in doomed]
        return result


def _check_length(command: str, env: Mapping[str, str]) -> None:
    """Refuse what no process can be given, as a machine of our own would."""
    longest = guest.LONGEST_ARGUMENT
    if len(command.encode("utf-8", "surrogateescape")) > longest:
        what = f"this command has {len(command)} characters"
    elif name := next((name for name in env if len(guest.carried(name)) + len(env[name].encode()) + 1 > longest), ""):
        what = f"the variable {name} has {len(env[name])} characters"
    else:
        return
    raise SandboxError(f"no command can be started: {what}, and Linux takes {longest} bytes; pass it in a file")
