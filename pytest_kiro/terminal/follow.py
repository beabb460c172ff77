"""Goes on with a program whose terminal's link is lost: from the log, and by its process numbers, in its sandbox."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import NamedTuple, Protocol, runtime_checkable

from pytest_kiro.errors import PtyClosed, SandboxClosed, SandboxError, SandboxTimeout
from pytest_kiro.sandbox.protocol import ExecResult, Sandbox
from pytest_kiro.sandbox.script import program
from pytest_kiro.settings.waits import Waits
from pytest_kiro.terminal.launch import LAST_WORDS, Filter, Launch, never_began
from pytest_kiro.terminal.record import LaunchRecord, is_brief, read_launch_record

_FOLLOW, _SURVEY = (Path(__file__).with_name(name) for name in ("follow.sh", "survey.sh"))
#: Bytes of the log that are asked for at once: as base64 well below what `exec` keeps.
SLICE = 1024 * 1024
#: Blocks of 512 bytes of an archive that come back with an answer: as base64 below what `exec` keeps.
_INLINE = 8 * 1024 * 2
#: How the start of what `script` writes when it ends may look.
_PERHAPS_LAST_WORDS = re.compile(
    rb"\n(?:%s|Script done on [^\n]{0,200}\n?)?\Z"
    % b"|".join(re.escape(b"Script done on "[:length]) for length in range(1, 15))
)


@runtime_checkable
class _RunsErrands(Protocol):
    """A sandbox in which a command of ours costs less than `exec`."""

    def errand(self, command: str, *, timeout: float) -> ExecResult:
        """Execute a `sh` program that may be carried out twice; `timeout` in seconds."""

    def discard(self, path: str) -> None:
        """Remove a file or folder along with a later request."""


@dataclass(frozen=True)
class Launched:
    """A launch in its sandbox, which is asked what became of it; `pause` waits between two questions.

    The programs that ask come with the question, so that nothing in the sandbox can be another's.
    """

    sandbox: Sandbox
    launch: Launch
    waits: Waits
    pause: Callable[[float], object] = time.sleep

    def ask(self, *words: object) -> str:
        """Ask the follow program; `SandboxError` when it does not answer."""
        given = " ".join(map(str, words))
        folder, stores = self.launch.folder, self.launch.store_words
        text = program(_FOLLOW, follow_folder=folder, follow_stores=stores, follow_words=given)
        return self._exec(f"ask for the program: {given}", text, self.waits.answer)

    def _exec(self, what: str, text: str, limit: float) -> str:
        sandbox = self.sandbox
        try:
            if isinstance(sandbox, _RunsErrands):
                answer = sandbox.errand(text, timeout=limit)
            else:
                answer = sandbox.exec(text, cwd="/", timeout=limit)
        except SandboxTimeout as error:
            # it is the sandbox that does not answer, and no program
            problem = f"{what}: the sandbox did not answer within {limit:g} s"
            raise SandboxError(problem, advice="look whether it is there") from error
        if not answer.ok:
            raise SandboxError(
                f"{what}: exit code {answer.exit_code}",
                advice=f"look at whether something in the sandbox removed {self.launch.folder}",
                output=answer.output,
            )
        return answer.output

    def survey(self, digests: tuple[str, str], end: str, read: int | None) -> tuple[str, LaunchRecord | None]:
        """End what the program left; return a word, and what is known of it.

        The word is `record` for all there is; our files are removed then. `digests` are those of the marker's line,
        `end` are commands that end what is left. With the number of bytes that were read it may be `none`, the program
        has not ended, or `cut`, it had more to say.
        """
        launch = self.launch
        text = launch.listing() + program(
            _SURVEY,
            survey_folder=launch.folder,
            survey_token=token_hex(8),
            survey_stores=launch.store_words,
            survey_marker=launch.marker,
            survey_ended=read is not None,
            survey_end=end,
            survey_before=digests[0],
            survey_brief=is_brief(digests) and not launch.lists_all,
            survey_inline=_INLINE if self.sandbox.remote else "",
        )
        answer = self._exec("look at what the program left", text, self.waits.collect)
        first, _, rest = answer.partition("\n")
        word, _, made = first.strip().partition(" ")
        if word == "none":
            return word, None
        if word not in ("record", "large"):
            raise SandboxError(f"an answer that is not known: {first[:200]!r}", advice="look at the sandbox's shell")
        data = base64.b64decode(rest) if word == "record" else self.sandbox.read_file(f"{made}-answer")
        record = read_launch_record(data, launch, made, digests)
        if read is not None and record.printed != read:
            return "cut", record
        for folder in dict.fromkeys((launch.folder, made.rpartition("/")[0])):
            self._discard(folder)
        return "record", record

    def _discard(self, folder: str) -> None:
        with suppress(SandboxError, OSError):  # an agent may stand in the way
            if isinstance(self.sandbox, _RunsErrands):
                self.sandbox.discard(folder)
            else:
                self.sandbox.remove(folder)

    def has_begun(self) -> bool:
        """Return whether the program has begun, as far as that is known."""
        with suppress(SandboxError, ValueError):
            return _parse(self.ask("tell", 0, 0)).begun
        return False

    def terminate(self) -> bool:
        """Ask the program by SIGTERM to end; return whether it could be asked."""
        return self._could("terminate")

    def kill(self) -> bool:
        """Kill the program and all that it started; return whether the sandbox did so."""
        return self._could("end")

    def _could(self, word: str) -> bool:
        with suppress(SandboxError):
            self.ask(word)
            return True
        return False

    def idle(self) -> float | None:
        """Return the minimum age in seconds of a session store's last write; None when that is unknown."""
        with suppress(SandboxError):
            answer = self.ask("idle").strip()
            if answer.isdigit():
                return max(0.0, int(answer) - 1.0)  # both clocks count whole seconds
        return None


class _Answer(NamedTuple):
    """What the sandbox says: whether the program is waiting, running or over, its status, and a piece of its log."""

    state: str
    begun: bool
    status: int | None
    size: int | None
    data: bytes


def _parse(answer: str) -> _Answer:
    head, _, body = answer.partition("\n")
    words = re.fullmatch(r"told (waiting|running|over) (\d+|-) (\S*) (\d+|-)", head)
    if not words:
        raise SandboxError(f"an answer that is not known: {head[:200]!r}", advice="look at the sandbox's shell")
    status, size = (int(word) if word.isdigit() else None for word in words.group(3, 4))
    return _Answer(words[1], words[2] != "-", status, size, base64.b64decode(body))


class Followed:
    """What a lost terminal would have said: the words of a Pty, answered by the sandbox.

    `read` bytes of the program came before the link was lost, None when it had not begun, and the shell had said
    `said`; it may begin until `deadline`.
    """

    def __init__(self, launched: Launched, *, read: int | None, said: bytes, deadline: float) -> None:
        self._launched, self._deadline, self._said = launched, deadline, said
        self._waits, self._pauses = launched.waits, iter(launched.waits.link_pauses)
        self._filter, self._offset, self._held = Filter(launched.launch.marker), 0, b""
        self._read = self._skip = read or 0
        self._at_once, self._failed = True, 0
        self.status: int | None = None
        self.started = read is not None
        self.ended = self.has_log = self._incomplete = False

    @property
    def digests(self) -> tuple[str, str]:
        """Those of the marker's line, as the log has it."""
        return self._filter.digests

    @property
    def said(self) -> bytes:
        """What the shell said before the program has begun."""
        return self._said or self._filter.said

    @property
    def cut(self) -> bool:
        """Whether something that the program printed is missing."""
        return self._incomplete or not self.ended

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader should know of the link."""
        if not self.cut:
            rest = "the rest came from the log in the sandbox"
        elif self.has_log:
            rest = "the rest came from the log in the sandbox, and some of it may be missing"
        else:
            rest = "no log of the rest is in the sandbox, which needs util-linux' `script` for one"
        return (f"the link to its terminal was lost after {self._read} bytes of output; {rest}",)

    def read(self, timeout: float) -> bytes:
        data = self._next(timeout)
        if not data and not self.started:
            raise never_began("did not start: its terminal ended first", self.said)
        return data

    def _next(self, timeout: float) -> bytes:
        end = time.monotonic() + timeout
        while not self.ended:
            if not self._at_once:
                rest = end - time.monotonic()
                if rest <= 0:
                    raise TimeoutError(f"nothing was printed for {timeout:g} s")
                self._launched.pause(min(rest, next(self._pauses, self._waits.link_pauses[-1])))
            self._at_once = False
            if (answer := self._ask()) and (data := self._take(answer)):
                self._pauses = iter(self._waits.link_pauses)
                return data
        return b""

    def _ask(self) -> _Answer | None:
        try:
            answer = _parse(self._launched.ask("tell", self._offset, SLICE))
        except (SandboxError, OSError, ValueError) as error:
            self._failed += 1
            if self._failed < self._waits.link_attempts and not isinstance(error, SandboxClosed):
                return None
            times = f"{self._failed} time{'s' * (self._failed > 1)}"
            raise SandboxError(
                f"the link to the terminal was lost; asked {times} for what became of the program, "
                f"the sandbox did not tell: {error}",
                advice="run it again",
            ) from error
        self._failed = 0
        return answer

    def _take(self, answer: _Answer) -> bytes:
        """Return what is new in an answer."""
        self._offset += len(answer.data)
        self._at_once = len(answer.data) == SLICE  # there is more already
        over = answer.state == "over" and not self._at_once
        self.has_log = answer.size is not None
        data = self._filter.past(answer.data)
        # Without a log nothing but this file tells that it has begun, and a log may have been taken away.
        self.started = self.started or self._filter.opened or (answer.begun and (over or not self.has_log))
        if self._filter.opened and self._skip:
            known, data = data[: self._skip], data[self._skip :]
            self._offset += self._skip - len(known)
            self._skip = 0
        if over:
            self.ended, self.status = True, answer.status
            self._incomplete |= self.started and not (self._filter.opened and self._offset == answer.size)
            return LAST_WORDS.sub(b"", self._held + data)
        if not self.started and time.monotonic() > self._deadline:
            raise SandboxError(
                "the link to the terminal was lost before the program began, and it never did begin",
                advice="run it again",
            )
        data, self._held = self._held + data, b""
        if perhaps := _PERHAPS_LAST_WORDS.search(data):
            data, self._held = data[: perhaps.start()], perhaps[0]
        return data

    def write(self, data: bytes) -> None:
        """Interrupt the program for a Ctrl-C; nothing else can be typed."""
        if b"\x03" not in data:
            raise PtyClosed("the link to this terminal is lost; nothing but Ctrl-C reaches the program")
        self._launched.ask("interrupt")

    def wait(self, timeout: float) -> int | None:
        """Wait for the end; what is still printed is left out."""
        end = time.monotonic() + timeout
        while self._next(max(0.0, end - time.monotonic())):
            self._incomplete = True
        return self.status
