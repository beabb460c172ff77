"""Open a fresh terminal, start a program in it, and give back a Pty that speaks only that program."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from pytest_kiro.errors import LaunchError, PtyClosed, SandboxError, message
from pytest_kiro.sandbox.protocol import ExecResult, Pty, Sandbox
from pytest_kiro.sandbox.script import program
from pytest_kiro.terminal import follow
from pytest_kiro.terminal.launch import Filter, Launch, LaunchRecord
from pytest_kiro.terminal.text import Plain, fold

#: Seconds that a shell may take from its first byte to the marker; rc files can be slow.
LAUNCH_TIMEOUT = 60.0
#: Seconds that a terminal has, after its last byte, to say how its program ended.
_SETTLE = 5.0
#: Seconds for a question to the launch script.
_ASK_TIMEOUT = 20.0


def attach(
    sandbox: Sandbox,
    launch: Launch,
    *,
    size: tuple[int, int] = (120, 30),
    timeout: float = LAUNCH_TIMEOUT,
    pause: Callable[[float], object] = time.sleep,
) -> Attached:
    """Start `launch` in a new terminal of `sandbox`.

    `size` is (columns, rows), `timeout` the seconds until the program must have begun; `pause` waits between two
    questions when the link is lost. Returns at once; the first `read` waits for the program and raises `LaunchError`
    with what the shell said when it never comes.

    >>> attach  # doctest: +ELLIPSIS
    <function attach at ...>
    """
    folder = f"{sandbox.home}/{launch.folder}"
    files = launch.contents()
    if launch.durable:
        files["link"] = program(follow.PROGRAM).encode()
    # The usual mode, since another one is a request of its own over a network. There is no secret in them, and whoever
    # may enter this HOME is its owner.
    written = _Meanwhile(
        lambda: sandbox.write_files({f"{folder}/{name}": (data, 0o644) for name, data in files.items()}),
        apart=launch.durable,
    )
    # The typed line is harmless, yet a history file in HOME is something that the agent would see.
    try:
        pty = sandbox.open_pty(env={"HISTFILE": "/dev/null", **launch.hidden_env}, size=size)
    except Exception:
        with suppress(
            Exception
        ):  # what comes after the folder is removed would stay; the first error is the one to tell
            written.join()
        raise
    try:
        written.join()
        with suppress(PtyClosed):  # the shell has ended already; what it said is read first, and then told
            pty.write(launch.line().encode("ascii"))
    except BaseException:
        pty.close()
        raise
    return Attached(pty, sandbox, launch, timeout, pause)


class _Meanwhile:
    """Something that is done while something else is: over a network two requests then take the time of one."""

    def __init__(self, work: Callable[[], object], *, apart: bool) -> None:
        self._work, self._error = work, list[BaseException]()
        self._thread = threading.Thread(target=self._run, name="kiro-upload", daemon=True) if apart else None
        if self._thread:
            self._thread.start()
        else:
            work()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._error.append(error)

    def join(self) -> None:
        """Wait for it; what it raised is raised here."""
        if self._thread:
            self._thread.join()  # its calls have deadlines of their own (contract S12)
        if self._error:
            raise self._error[0]


class Attached:
    """A Pty (contract P) from whose output the shell is gone, and whose link may be lost: then the sandbox is asked."""

    def __init__(
        self, pty: Pty, sandbox: Sandbox, launch: Launch, timeout: float, pause: Callable[[float], object]
    ) -> None:
        self._pty, self._sandbox, self._launch, self._timeout, self._pause = pty, sandbox, launch, timeout, pause
        self._filter = Filter(launch.marker)
        self._deadline = time.monotonic() + timeout
        self._given = 0
        self._rest: follow.Follow | None = None
        self._said = ""
        #: What the launch script wrote down, where it could be had in passing; our files are gone then.
        self.launch_record: LaunchRecord | None = None

    @property
    def started(self) -> bool:
        """Whether the program has begun."""
        return self._filter.opened or (self._rest is not None and self._rest.started)

    @property
    def said(self) -> str:
        """What the terminal's shell said while the program had not begun, as text."""
        return fold(Plain().feed(self._filter.said, final=True))

    @property
    def cut(self) -> bool:
        """Whether something that the program printed is missing."""
        return self._rest is not None and (self._rest.cut or not self._rest.ended)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader should know of the link."""
        if self._rest is None:
            return ()
        if not self.cut:
            rest = "the rest came from the log in the sandbox"
        elif self._rest.has_log:
            rest = "the rest came from the log in the sandbox, and some of it may be missing"
        else:
            rest = "no log of the rest is in the sandbox, which needs util-linux' `script` for one"
        return (f"the link to its terminal was lost after {self._given} bytes of output; {rest}",)

    def read(self, timeout: float) -> bytes:
        end = time.monotonic() + timeout
        if self._rest is None:
            data = self._from_link(timeout) if self.started else self._until_it_begins(timeout)
            if data is not None:
                self._given += len(data)
                return data
        return self._from_sandbox(max(0.0, end - time.monotonic()))

    def _until_it_begins(self, timeout: float) -> bytes | None:
        end = time.monotonic() + timeout
        while not self.started:
            now = time.monotonic()
            if now > self._deadline:
                raise self._never_came(f"did not start within {self._timeout:g} s", self._filter.said)
            try:
                data = self._from_link(max(0.0, min(end, self._deadline) - now))
            except TimeoutError:
                if time.monotonic() < end:
                    continue  # the launch's deadline, not the caller's
                raise
            if data is None:
                return None
            if not data:
                raise self._never_came("did not start: its terminal ended first", self._filter.said)
            if rest := self._filter.feed(data):
                return rest
            if time.monotonic() >= end:  # the shell may talk on and on
                raise TimeoutError(f"nothing was printed for {timeout:g} s")
        return self._from_link(max(0.0, end - time.monotonic()))

    def _from_link(self, timeout: float) -> bytes | None:
        """Return the next bytes, None when the link is lost."""
        try:
            data = self._pty.read(timeout)
        except SandboxError:
            if not self._launch.durable:
                raise
        else:
            if data or not self._launch.durable or self._reported():
                return data
            # A link that ends as if the program had: meanwhile that may really have ended, with more to say.
            if not self._is_lost(_SETTLE) and (self._said == "large" or self._reported() or self._said != "cut"):
                return data
        self._lose()
        return None

    def _from_sandbox(self, timeout: float) -> bytes:
        rest = self._lose()
        data = rest.read(timeout)
        if data or rest.started:
            return data
        raise self._never_came("did not start: its terminal ended first", self._filter.said or rest.said)

    def _reported(self) -> bool:
        """Whether the sandbox says that the program has ended and that all it printed is here; a link may be wrong."""
        if self.launch_record is None and self._filter.opened:
            with suppress(SandboxError, ValueError):
                self._said, self.launch_record = follow.report(self._sandbox, self._launch, self._given)
        return self.launch_record is not None

    def _is_lost(self, timeout: float) -> bool:
        try:
            return self._pty.wait(timeout) is None
        except TimeoutError:
            return False  # it has closed its terminal, and goes on
        except SandboxError:
            return True

    def _lose(self) -> follow.Follow:
        if self._rest is None:
            self._rest = follow.Follow(
                self._sandbox,
                self._launch,
                given=self._given if self.started else None,
                deadline=self._deadline,
                pause=self._pause,
            )
        return self._rest

    def _never_came(self, what: str, said: bytes) -> LaunchError:
        plain = Plain()
        output = fold(plain.feed(said, final=True))
        advice = "look at the shell's start-up files in the sandbox's HOME, and at whether its workspace is there"
        return LaunchError(message(f"the program {what}; the shell said:", output=output, advice=advice))

    def write(self, data: bytes) -> None:
        if self._rest is None:
            try:
                return self._pty.write(data)
            except SandboxError:
                if not (self._launch.durable and self._is_lost(0)):
                    raise
        return self._lose().write(data)

    def resize(self, size: tuple[int, int]) -> None:
        if self._rest is None:  # else nobody looks at it any more
            self._pty.resize(size)

    def wait(self, timeout: float) -> int | None:
        if self.launch_record is not None:
            return self.launch_record.status
        if self._rest is None:
            try:
                status = self._pty.wait(timeout)
            except SandboxError:
                if not self._launch.durable:
                    raise
                status = None
            if status is not None or not self._launch.durable:
                return status
        return self._lose().wait(timeout)

    def terminate(self) -> bool:
        """Ask the program by SIGTERM to end; return whether it could be asked."""
        if not self.started:
            return False
        try:
            return self._launched("terminate").ok
        except SandboxError:
            return False

    def idle(self) -> float | None:
        """Return for how many seconds at least nothing was written to the session stores, None when nobody can tell."""
        try:
            answer = self._launched("idle").output.strip() if self.started else ""
        except SandboxError:
            return None
        return max(0.0, int(answer) - 1.0) if answer.isdigit() else None  # both clocks count whole seconds

    def _launched(self, word: str) -> ExecResult:
        return self._sandbox.exec(f'sh "$HOME"/{self._launch.folder}/launch {word}', timeout=_ASK_TIMEOUT)

    def close(self) -> None:
        """End the program: by its terminal, and, where a link may be lost, by the numbers of its processes first."""
        sure = self._launch.durable and (self._has_ended() or self._kill())
        try:
            self._pty.close()
        except SandboxError:
            if not sure:
                raise

    def _has_ended(self) -> bool:
        if self.launch_record is not None:
            return True
        if self._rest is not None:
            return self._rest.ended
        try:
            return self._pty.wait(0) is not None
        except (TimeoutError, SandboxError):
            return False

    def _kill(self) -> bool:
        try:
            follow.ask(self._sandbox, self._launch, "end")
        except SandboxError:
            return False
        return True
