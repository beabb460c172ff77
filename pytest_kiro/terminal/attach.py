"""Starts a program in a fresh terminal with its own Pty."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Protocol, TypeVar, runtime_checkable

from pytest_kiro.errors import PtyClosed, SandboxError
from pytest_kiro.sandbox.protocol import Pty, Sandbox, Survivors, TellsSurvivors
from pytest_kiro.settings.waits import Waits
from pytest_kiro.terminal.follow import Followed, Launched
from pytest_kiro.terminal.launch import Filter, Launch, never_began
from pytest_kiro.terminal.record import LaunchRecord
from pytest_kiro.terminal.text import plain_text

Answer = TypeVar("Answer")


def attach(
    sandbox: Sandbox,
    launch: Launch,
    *,
    size: tuple[int, int] = (120, 30),
    waits: Waits | None = None,
    pause: Callable[[float], object] = time.sleep,
) -> Attached:
    """Start `launch` in a new terminal of `sandbox`.

    Returns at once: the first `read` waits for the program, and raises `LaunchError` when it does not come within
    `waits.launch` seconds. `pause` waits between two questions when the link is lost.
    """
    # The end of a terminal in Daytona races with its output, and without a log there is nothing to compare that with.
    # Measured on its daemon: last words were lost in 14 to 30 of 100 terminals, in none of 60 that stayed for 0.1 s.
    launch = replace(launch.within(sandbox.home), lingers=sandbox.remote and not launch.durable)
    files = launch.contents()
    # The usual mode, since another one is a request of its own over a network. There is no secret in them, and whoever
    # may enter this HOME is its owner.
    # Over a network two requests, in a thread, then take the time of one.
    join_upload = _begin(
        lambda: sandbox.write_new({f"{launch.folder}/{name}": (data, 0o644) for name, data in files.items()}),
        in_thread=launch.durable,
    )
    try:
        pty = sandbox.open_pty(env=launch.terminal_env, size=size)
    except Exception:
        with suppress(Exception):  # what comes after the folder is removed would stay; the first error is to be seen
            join_upload()
        raise
    try:
        join_upload()
        with suppress(PtyClosed):  # the shell has ended already; what it said is read first, and then told
            pty.write(launch.line().encode("ascii"))
    except BaseException:
        pty.close()
        raise
    return Attached(pty, Launched(sandbox, launch, waits or Waits(), pause), size)


def _begin(work: Callable[[], object], *, in_thread: bool) -> Callable[[], object]:
    """Begin `work`; return what waits for it and raises its error."""
    if not in_thread:
        work()
        return lambda: None
    done = Future[object]()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, name="kiro-upload", daemon=True).start()
    return done.result  # its calls have deadlines of their own (contract S12)


@runtime_checkable
class _Linked(Protocol):
    """A terminal whose link may be lost: of its end the machine is asked."""

    @property
    def claimed(self) -> int | None:
        """The exit status that the link told, unproven; None for none."""

    @property
    def ending(self) -> str:
        """The commands that end what is left: "PID name" each."""

    def ended(self) -> None:
        """Note that these were executed."""


class _LinkLost(Exception):
    """The terminal cannot be reached any more; its program may go on."""


class Attached:
    """The Pty of a program (contract P); a lost link is replaced by the sandbox."""

    def __init__(self, pty: Pty, launched: Launched, size: tuple[int, int]) -> None:
        self._pty, self._launched, self._durable = pty, launched, launched.launch.durable
        #: (columns, rows).
        self.size = size
        #: What the program left, where that came with its end, or was collected; our files are gone then.
        self.launch_record: LaunchRecord | None = None
        #: When the program began and its output ended, by this process's clock; None when that is not known.
        self.began_at: float | None = None
        self.ended_at: float | None = None
        self._filter = Filter(launched.launch.marker)
        self._deadline = time.monotonic() + launched.waits.launch
        self._count = 0
        self._reported, self._survivors = "", tuple[str, ...]()
        self._followed: Followed | None = None

    @property
    def started(self) -> bool:
        """Whether the program has begun; what is typed before is its shell's."""
        return self._followed.started if self._followed else self._filter.opened

    @property
    def said(self) -> str:
        """What the terminal's shell printed before the program began, as text."""
        return plain_text(self._followed.said if self._followed else self._filter.said)

    @property
    def cut(self) -> bool:
        """Whether something that the program printed is missing."""
        return self._followed is not None and self._followed.cut

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader should know of the link."""
        return self._followed.warnings if self._followed else ()

    def read(self, timeout: float) -> bytes:
        end = time.monotonic() + timeout
        return self._ask(
            lambda: self._read_link(timeout), lambda followed: followed.read(max(0.0, end - time.monotonic()))
        )

    def write(self, data: bytes) -> None:
        self._ask(lambda: self._write_link(data), lambda followed: followed.write(data))

    def resize(self, size: tuple[int, int]) -> None:
        if self._followed is None:
            self._pty.resize(size)
        self.size = size

    def wait(self, timeout: float) -> int | None:
        end = time.monotonic() + timeout
        return self._ask(
            lambda: self._wait_link(timeout), lambda followed: followed.wait(max(0.0, end - time.monotonic()))
        )

    def terminate(self) -> bool:
        """Ask the program by SIGTERM to end; return whether it could be asked."""
        return self.started and self._launched.terminate()

    def idle(self) -> float | None:
        """Return the minimum age in seconds of a session store's last write; None when that is unknown."""
        return self._launched.idle() if self.started else None

    def collect(self) -> LaunchRecord | None:
        """Return what the program left, once it is closed; None when it never began. `ValueError` for what is none."""
        if self.launch_record is None and self.started:
            self.launch_record = self._survey(None)
        return self.launch_record

    @property
    def survivors(self) -> Survivors:
        """What the program had left, once that is collected."""
        told = self._pty.survivors if isinstance(self._pty, TellsSurvivors) else Survivors()
        return Survivors((*self._survivors, *told.killed), told.stuck)

    def _survey(self, read: int | None) -> LaunchRecord | None:
        digests = self._filter.digests if self._filter.opened or not self._followed else self._followed.digests
        end = self._pty.ending if isinstance(self._pty, _Linked) else ""
        self._reported, record = self._launched.survey(digests, end, read)
        if record is not None:
            self._survivors += record.survivors
            if isinstance(self._pty, _Linked):
                self._pty.ended()
        return record if self._reported == "record" else None

    def close(self) -> None:
        """End the program: by its terminal, and, where a link may be lost, by the numbers of its processes first."""
        sure = self._durable and (self._has_ended() or self._launched.kill())
        try:
            self._pty.close()
        except SandboxError:
            if not sure:
                raise

    def _has_ended(self) -> bool:
        if self._followed:
            return self._followed.ended
        with suppress(TimeoutError, SandboxError):
            return self.launch_record is not None or self._pty.wait(0) is not None
        return False

    def _ask(self, by_link: Callable[[], Answer], by_sandbox: Callable[[Followed], Answer]) -> Answer:
        """Ask the program by its link, or, once lost, by the sandbox."""
        if self._followed is None:
            with suppress(_LinkLost):
                return by_link()
            count = self._count if self.started else None
            self._followed = Followed(self._launched, read=count, said=self._filter.said, deadline=self._deadline)
        return by_sandbox(self._followed)

    # -- by the link

    @contextmanager
    def _link(self, is_lost: Callable[[], bool] = lambda: True) -> Iterator[None]:
        """Turn an error into `_LinkLost`, if the program can be followed."""
        try:
            yield
        except SandboxError as error:
            if not (self._durable and is_lost()):
                raise
            raise _LinkLost from error

    def _read_link(self, timeout: float) -> bytes:
        if self.launch_record is not None:
            return b""
        data = self._from_link(timeout) if self.started else self._first(timeout)
        self._count += len(data)
        return data

    def _first(self, timeout: float) -> bytes:
        """Return the first bytes of the program."""
        end = time.monotonic() + timeout
        while not self.started:
            now = time.monotonic()
            if now > self._deadline:
                limit = f"{self._launched.waits.launch:g} s"
                raise never_began(f"did not start within {limit}", self._filter.said)
            try:
                data = self._from_link(max(0.0, min(end, self._deadline) - now))
            except TimeoutError:
                if time.monotonic() < end:
                    continue  # the launch's deadline, not the caller's
                raise
            if not data:
                if self._durable and self._launched.has_begun():
                    raise _LinkLost  # it was so quick that all of it was under way when its terminal ended
                raise never_began("did not start: its terminal ended first", self._filter.said)
            first = self._filter.past(data)
            if self.started:
                self.began_at = time.monotonic()
            if first:
                return first
            if time.monotonic() >= end:  # the shell may talk on and on
                raise TimeoutError(f"nothing was printed for {timeout:g} s")
        return self._from_link(max(0.0, end - time.monotonic()))

    def _from_link(self, timeout: float) -> bytes:
        with self._link():
            data = self._pty.read(timeout)
        if not data and self.ended_at is None:
            self.ended_at = time.monotonic()
        if not data and self._durable and not self._is_complete():
            self.ended_at = None
            raise _LinkLost
        return data

    def _is_complete(self) -> bool:
        """Whether the end of the link is the program's: a link may end as if the program had."""
        if self._report():
            return True
        # Meanwhile it may really have ended, with more to say.
        return not self._is_lost(self._launched.waits.settle) and (self._report() or self._reported != "cut")

    def _report(self) -> bool:
        """Whether the sandbox reports the program's end and all output is here."""
        if self.launch_record is None and self.started:
            with suppress(SandboxError, ValueError):
                self.launch_record = self._survey(self._count)
        return self.launch_record is not None

    def _is_lost(self, timeout: float) -> bool:
        try:
            return self.launch_record is None and self._pty.wait(timeout) is None
        except TimeoutError:
            return False  # it has closed its terminal, and goes on
        except SandboxError:
            return True

    def _write_link(self, data: bytes) -> None:
        with self._link(lambda: self._is_lost(0)):
            self._pty.write(data)

    def _wait_link(self, timeout: float) -> int | None:
        if self.launch_record is not None:
            # A polite proxy's close is a 0 as well; another number is the terminal's own.
            claimed = self._pty.claimed if isinstance(self._pty, _Linked) else None
            return claimed or self.launch_record.status
        with self._link():
            status = self._pty.wait(timeout)
        if status is None and self._durable:
            raise _LinkLost
        return status
