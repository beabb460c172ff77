"""Sends requests to one Daytona machine, and executes commands in it. This is the loop's side."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING, TypeVar

from pytest_kiro.errors import SandboxError
from pytest_kiro.sandbox.daytona import faults, fleet, guest
from pytest_kiro.sandbox.daytona.client import Client
from pytest_kiro.sandbox.protocol import Survivors

if TYPE_CHECKING:
    from daytona import AsyncSandbox

T = TypeVar("T")
#: Files of ours that one errand removes before it begins; a command of the user's does so when there are many.
_CLEARED_AT_ONCE, _MANY = 500, 100
_ALIVE = frozenset({"started", "starting", "resizing", "snapshotting", "unknown"})
_EXPLORE = 'cd && pwd && tasks="${TMPDIR:-/tmp}/tasks" && mkdir -p -m 700 "$tasks" && echo "$tasks"'


class Machine:
    """The SDK's sandbox, with the folder for our commands' output."""

    def __init__(self, client: Client, raw: AsyncSandbox) -> None:
        self.client, self.raw, self.waits = client, raw, client.waits
        self.home = self.tasks = ""
        # Workers that share a sandbox must not take each other's tasks for their own.
        self.tag, self._numbers = guest.new_tag(), itertools.count(1)
        self.thrown_away: list[str] = []  # files of ours that are removed along with the next command
        #: The beginnings of tags whose processes go on when those of others end.
        self.alive = set[str]()
        #: Tags whose processes are killed along with it, and who is told what they were.
        self._doomed: dict[str, Callable[[Survivors], object]] = {}
        self._flushes = set[asyncio.Task[None]]()
        self.gone = False

    @property
    def id(self) -> str:
        return str(self.raw.id)

    @property
    def ptys(self) -> str:
        """The address below which its terminals are."""
        return f"{self.raw.toolbox_proxy_url.rstrip('/')}/{self.id}/process/pty"

    async def explore(self) -> None:
        """Find out where its home and its temporary folder are."""
        call = partial(self.raw.process.exec, _EXPLORE, timeout=math.ceil(self.waits.request / 2))
        answer = str((await self.ask("look at a new sandbox", call, safe=True)).result)
        lines = answer.splitlines()
        if len(lines) < 2 or not all(line.startswith("/") for line in lines[-2:]):
            what = f"sandbox {self.id} has no usable home or temporary folder"
            advice = "make it from an image whose user has a HOME, and a TMPDIR that can be written"
            raise SandboxError(what, output=answer, advice=advice)
        self.home, self.tasks = lines[-2:]

    async def ask(
        self, what: str, call: Callable[[], Awaitable[T]], *, timeout: float | None = None, safe: bool = False
    ) -> T:
        """Make a request to this machine; `SandboxGone` when it is not there any more."""

        async def attempt() -> T:
            try:
                return await call()
            except Exception as error:
                await self._look(error)
                raise

        return await self.client.ask(f"sandbox {self.id}: {what}", attempt, timeout=timeout, safe=safe)

    async def _look(self, error: Exception) -> None:
        """Raise `SandboxGone` if that is why a request failed."""
        # A proxy says 404 or 502 of a machine that is gone, and so it does in passing of one that is well.
        if not (faults.is_ambiguous(error) or faults.status_of(error) in (400, 404, 409, 410)):
            return
        try:
            fresh = await asyncio.wait_for(self.client.sdk.get(self.id), self.waits.state)
        except Exception as unknown:
            if faults.status_of(unknown) != 404:
                return  # the first error tells more than that the state is not known
            state, why = "destroyed", ""
        else:
            state, why = fleet.state_of(fresh), f" ({fresh.error_reason})" if fresh.error_reason else ""
        if state not in _ALIVE:
            advice = "it may have been deleted from elsewhere, or have reached its time to live; run pytest again"
            what = f"sandbox {self.id} is gone: Daytona says it is {state}{why}"
            raise faults.SandboxGone(what, status=404, advice=advice) from error

    # -- commands

    def task(self, place: str = "") -> str:
        """Return the name of a new task. With a dot behind it, it is the task's tag, which begins no other's."""
        return f"{place or f'{self.tag}0.'}{next(self._numbers)}"

    def new_place(self) -> str:
        """Return what the names of tasks begin with that are ended together."""
        place = f"{self.tag}{next(self._numbers)}."
        self.alive.add(place)
        return place

    async def execute(
        self, command: str, *, task: str, cwd: str, root: str, env: Mapping[str, str], limit: float
    ) -> tuple[guest.CommandEnd, bool]:
        """Execute a command of the user's; return how it ended, and whether in time.

        At the limit its processes are killed from outside: the service's own timeout would lose what was printed.
        """
        _check_length(command, env)
        text = guest.wrap(command, tasks=self.tasks, task=task, cwd=cwd, root=root, variables=env)
        carried = {guest.carried(name): value for name, value in env.items()}
        request = asyncio.ensure_future(self._send("exec", text, limit, carried))
        try:
            done, _ = await asyncio.wait({request}, timeout=limit)
            if not done:
                await self.end(task)
            return guest.unwrap(await asyncio.wait_for(request, self.waits.answer), task), bool(done)
        except TimeoutError as error:
            what = f"sandbox {self.id}: a command was killed at its limit, and yet did not end"
            raise SandboxError(what, advice="run pytest again") from error
        finally:
            request.cancel()
            self.thrown_away += guest.task_files(task, self.tasks)

    async def errand(self, what: str, command: str) -> str:
        """Execute a short command that is safe to repeat; return its output."""
        return (await self.repeatable(what, command, self.waits.request)).output

    async def repeatable(self, what: str, command: str, limit: float) -> guest.CommandEnd:
        """Execute a command that is safe to repeat; return how it ended."""
        task = self.task()
        return guest.unwrap(await self._send(what, guest.errand(command, tasks=self.tasks, task=task), limit), task)

    async def _send(self, what: str, text: str, limit: float, envs: Mapping[str, str] | None = None) -> str:
        """Execute a text by the machine's shell; return its output. What is to be tidied up comes first."""
        paths, doomed, word = self.thrown_away[:_CLEARED_AT_ONCE], dict(self._doomed), token_hex(8)
        if what == "exec" and len(paths) < _MANY:
            paths = []
        text = guest.beforehand([*doomed], self.tasks, paths, word, self.alive) + text
        # The service's own limit is for the case that ours is not kept, because this process has died.
        timeout = limit + self.waits.answer
        # Of the shell that the service chooses no file is read that an agent may have written: zsh has ~/.zshenv.
        env = {"ZDOTDIR": "/nonexistent", **(envs or {})}
        call = partial(self.raw.process.exec, text, env=env, timeout=math.ceil(timeout))
        answer = await self.ask(what, call, timeout=timeout, safe=True)
        self.thrown_away = [path for path in self.thrown_away if path not in paths]
        left, output = guest.take_survivors(str(answer.result), [*doomed], word)
        for tag in doomed:
            if tell := self._doomed.pop(tag, None):
                tell(left[tag])
        return output

    # -- what is left behind

    async def end(self, task: str) -> None:
        """Kill a task's processes, and keep it from beginning."""
        await self.errand("end a command", guest.reap([f"{task}."], self.tasks, void=task))

    async def reap(self, tag: str, *, leader: str = "") -> Survivors:
        """Kill all processes whose tags begin with this; return them, but for those in the session of `leader`."""
        word = f"left-{token_hex(8)}"
        command = guest.reap([tag], self.tasks, report=word, leader=leader, alive=self.alive)
        return guest.survivors(await self.errand("end processes", command), word)

    def doom(self, tag: str, tell: Callable[[Survivors], object]) -> None:
        """Kill an ended task's processes along with the next request, or soon; to be called on the loop."""
        self._doomed[tag] = tell
        flush = asyncio.ensure_future(self._flush(tag))
        self._flushes.add(flush)
        flush.add_done_callback(self._flushes.discard)

    async def _flush(self, tag: str) -> None:
        await asyncio.sleep(self.waits.left_over)
        if tag in self._doomed and not self.gone:
            with suppress(SandboxError):  # the next request brings it along, or the machine is gone
                await self.errand("end processes", "true")


def _check_length(command: str, env: Mapping[str, str]) -> None:
    """Refuse what no process can be given, as a local machine would."""
    sizes = {f"the variable {name} has {len(value)}": f"{guest.carried(name)}={value}" for name, value in env.items()}
    for what, text in {f"this command has {len(command)}": command, **sizes}.items():
        if len(text.encode("utf-8", "surrogateescape")) > guest.LONGEST_ARGUMENT:
            what = f"no command can be started: {what} characters, and Linux takes {guest.LONGEST_ARGUMENT} bytes"
            raise SandboxError(what, advice="pass it in a file")
