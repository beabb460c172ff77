"""Go on with a program whose terminal's link is lost: from the log, and by the process numbers, in its sandbox."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from pytest_kiro.errors import PtyClosed, SandboxClosed, SandboxError, SandboxTimeout, message
from pytest_kiro.sandbox.protocol import Sandbox
from pytest_kiro.terminal.launch import Filter, Launch, LaunchRecord, read_launch_record

#: What is asked of the sandbox, a file beside the launch program.
PROGRAM = Path(__file__).with_name("follow.sh")
#: Bytes of the log that are asked for at once: as base64 well below what `exec` keeps.
SLICE = 1024 * 1024
#: Seconds between two questions to a program that prints nothing; the last one is repeated.
PAUSES = (0.2, 0.4, 0.8, 1.4, 2.0)
#: Questions in a row without an answer, about 35 s apart from their own time, until the sandbox is given up.
ATTEMPTS = 20
#: Bytes of a record that come back with an answer, as base64 below what `exec` keeps.
_REPORTED = 8 * 1024 * 1024
_EXEC_TIMEOUT = 20.0

#: What `script` writes when it ends, and how the start of that may look.
_LAST_WORDS = re.compile(rb"\nScript done on [^\n]*\n\Z")
_PERHAPS_LAST_WORDS = re.compile(
    rb"\n(?:%s|Script done on [^\n]{0,200}\n?)?\Z"
    % b"|".join(re.escape(b"Script done on "[:length]) for length in range(1, 15))
)


def ask(sandbox: Sandbox, launch: Launch, *words: object) -> str:
    """Ask the script above; `SandboxError` when it does not answer."""
    command = " ".join(["sh", f'"$HOME"/{launch.folder}/link', *map(str, words)])
    try:
        answer = sandbox.exec(command, timeout=_EXEC_TIMEOUT)
    except SandboxTimeout as error:
        # it is the sandbox that does not answer, and no program
        raise SandboxError(f"the sandbox did not answer; {error}") from error
    if not answer.ok:
        advice = f"look at whether something in the sandbox removed ~/{launch.folder}"
        raise SandboxError(message(f"exit code {answer.exit_code}: {command}", output=answer.output, advice=advice))
    return answer.output


def report(sandbox: Sandbox, launch: Launch, given: int) -> tuple[str, LaunchRecord | None]:
    """Return a word and, with `record`, what the launch script wrote down; our files are removed in the same request.

    `none`: it is not there (yet); `cut`: the program is over and had more to say than `given` bytes; `large`: what it
    left is to be read as a file.
    """
    what, _, encoded = ask(sandbox, launch, "report", _REPORTED, given, launch.marker).partition("\n")
    what = what.strip()
    return what, read_launch_record(base64.b64decode(encoded), launch.nonce) if what == "record" else None


class _Told(NamedTuple):
    """What the sandbox says: whether the program is waiting, running or over, its status, and a piece of its log."""

    state: str
    begun: bool
    status: int | None
    size: int | None
    data: bytes


def _parse(answer: str) -> _Told:
    head, _, body = answer.partition("\n")
    found = re.fullmatch(r"told (waiting|running|over) (\d+|-) (\S*) (\d+|-)", head)
    if not found:
        raise SandboxError(f"an answer that is not known: {head[:200]!r}")
    status, size = (int(word) if word.isdigit() else None for word in found.group(3, 4))
    return _Told(found[1], found[2] != "-", status, size, base64.b64decode(body))


class Follow:
    """What a lost terminal would have said: the words of a Pty, answered by the sandbox.

    `given` bytes of the program were read before the link was lost, None when it had not begun; until `deadline`, by
    `clock`, it may begin.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        launch: Launch,
        *,
        given: int | None,
        deadline: float,
        pause: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sandbox, self._launch, self._deadline = sandbox, launch, deadline
        self._pause, self._clock = pause, clock
        self._filter, self._skip, self._offset, self._held = Filter(launch.marker), given or 0, 0, b""
        self._pauses, self._at_once, self._failed = iter(PAUSES), True, 0
        self.status: int | None = None
        self.started = given is not None
        self.ended = self.cut = self.has_log = False

    @property
    def said(self) -> bytes:
        """What stands in the log before the program has begun."""
        return self._filter.said

    def read(self, timeout: float) -> bytes:
        end = self._clock() + timeout
        while not self.ended:
            if not self._at_once:
                left = end - self._clock()
                if left <= 0:
                    raise TimeoutError(f"nothing was printed for {timeout:g} s")
                self._pause(min(left, next(self._pauses, PAUSES[-1])))
            self._at_once = False
            if (told := self._ask()) and (data := self._take(told)):
                self._pauses = iter(PAUSES)
                return data
        return b""

    def _ask(self) -> _Told | None:
        try:
            told = _parse(ask(self._sandbox, self._launch, "tell", self._offset, SLICE))
        except (SandboxError, OSError, ValueError) as error:
            self._failed += 1
            if self._failed < ATTEMPTS and not isinstance(error, SandboxClosed):
                return None
            times = f"{self._failed} time{'s' * (self._failed > 1)}"
            raise SandboxError(
                f"the link to the terminal was lost; asked {times} for what became of the program, "
                f"the sandbox did not tell: {error}"
            ) from error
        self._failed = 0
        return told

    def _take(self, told: _Told) -> bytes:
        """Return what is new in an answer."""
        self._offset += len(told.data)
        self._at_once = len(told.data) == SLICE  # there is more already
        over = told.state == "over" and not self._at_once
        self.has_log = told.size is not None
        data = self._filter.feed(told.data)
        # Without a log nothing but this file tells that it has begun, and a log may have been taken away.
        self.started = self.started or self._filter.opened or (told.begun and (over or not self.has_log))
        if self._filter.opened and self._skip:
            known, data = data[: self._skip], data[self._skip :]
            self._offset += self._skip - len(known)
            self._skip = 0
        if over:
            self.ended, self.status = True, told.status
            self.cut |= self.started and not (self._filter.opened and self._offset == told.size)
            return _LAST_WORDS.sub(b"", self._held + data)
        if not self.started and self._clock() > self._deadline:
            raise SandboxError(
                "the link to the terminal was lost before the program began, and it never did begin; run it again"
            )
        data, self._held = self._held + data, b""
        if perhaps := _PERHAPS_LAST_WORDS.search(data):
            data, self._held = data[: perhaps.start()], perhaps[0]
        return data

    def write(self, data: bytes) -> None:
        """Interrupt the program for a Ctrl-C; nothing else can be typed."""
        if b"\x03" not in data:
            raise PtyClosed("the link to this terminal is lost; nothing but Ctrl-C reaches the program")
        ask(self._sandbox, self._launch, "interrupt")

    def wait(self, timeout: float) -> int | None:
        """Wait for the end; what is still printed is left out."""
        end = self._clock() + timeout
        while self.read(max(0.0, end - self._clock())):
            self.cut = True
        return self.status
