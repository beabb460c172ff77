"""Starts local programs by way of the warden."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pytest_kiro.sandbox.environment import base_interpreter
from pytest_kiro.sandbox.protocol import Survivors
from pytest_kiro.sandbox.ready import ready

PROGRAM = Path(__file__).with_name("warden.py")
#: Begins it as a module, whose byte code is kept: what is started by its path is compiled each time.
_BEGIN = "import sys, os; sys.path.append(os.path.dirname(sys.argv[1])); import warden; sys.path.pop(); warden.main()"
#: Seconds for an answer of the warden, which itself gives up on a process that cannot be killed after five.
_ANSWER = 30.0
#: What the kernel tells of who sends: numbers of process, user and group; Linux only.
_UCRED = struct.Struct("iII")
#: Seconds until a supervisor that does not answer is woken.
_PAUSE = 0.2


class Supervised:
    """A program that the warden has started, and a supervisor watches."""

    def __init__(self, answers: socket.socket, argv: Sequence[str]) -> None:
        self._answers, self._lock, self._unread = answers, threading.Lock(), b""
        self._heard = dict[str, Any]()
        #: Its supervisor's number here, which in a namespace of its own has another one; 0 where nobody tells it.
        self._supervisor = 0
        self.gone = False
        deadline = time.monotonic() + _ANSWER
        while not self._hear(("pid", "error"), _PAUSE) and not self.gone and time.monotonic() < deadline:
            self._signal(signal.SIGCONT)  # the program is quicker than its supervisor can say so
        if "error" in self._heard:
            self.release()
            raise OSError(self._heard["error"], os.strerror(self._heard["error"]), argv[0])

    @property
    def status(self) -> int | None:
        """The status as a shell tells it; None while unknown."""
        return self._heard.get("status")

    @property
    def ended(self) -> bool:
        """Whether the program has ended, or its supervisor was killed."""
        return self.wait(0)

    @property
    def left(self) -> bool:
        """Whether the program has left others, as far as its end tells."""
        return bool(self._heard.get("left", not self.gone))

    def fileno(self) -> int:
        """Return a descriptor that is readable when the program ends."""
        return self._answers.fileno()

    def wait(self, timeout: float) -> bool:
        """Return whether it ended, or its supervisor did, within `timeout` seconds."""
        return self._hear(("status",), timeout) or self.gone

    def end(self) -> Survivors:
        """Kill it and all that it has left; idempotent."""
        if self.left and not self.gone:
            self._signal(signal.SIGCONT)  # an agent can have stopped its supervisor
            with suppress(OSError):
                self._answers.send(b"end", socket.MSG_NOSIGNAL)
            if not self._hear(("killed",), _ANSWER) and not self.gone:
                self._signal(signal.SIGKILL)  # then the warden ends what it has supervised
        self.release()
        return Survivors(tuple(self._heard.get("killed", ())), tuple(self._heard.get("stuck", ())))

    def _signal(self, number: signal.Signals) -> None:
        if supervisor := self._supervisor or self._heard.get("supervisor"):
            with suppress(ProcessLookupError):
                os.kill(supervisor, number)

    def release(self) -> None:
        """Close the link: whatever is left ends; idempotent."""
        self.gone = True
        self._answers.close()

    def _hear(self, words: Sequence[str], timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while not any(word in self._heard for word in words):
            if self.gone or not ready(max(0.0, deadline - time.monotonic()), reading=(self._answers.fileno(),)):
                return False
            with self._lock, suppress(BlockingIOError):  # another thread has heard it
                self._take()
        return True

    def _take(self) -> None:
        try:
            data, ancillary, *_ = self._answers.recvmsg(65536, socket.CMSG_SPACE(_UCRED.size), socket.MSG_DONTWAIT)
            for _, kind, who in ancillary:
                if kind == getattr(socket, "SCM_CREDENTIALS", None):
                    self._supervisor = _UCRED.unpack(who)[0]
        except ConnectionResetError:
            data = b""
        self.gone = not data
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            self._heard.update(json.loads(line))


class Warden:
    """The program that starts the others (`warden.py`), begun with the first.

    `begin` starts it with a socket as its standard input.
    """

    def __init__(self, begin: Callable[[int], subprocess.Popen[bytes]] | None = None) -> None:
        self._program, self._lock = begin or _start, threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None

    def start(
        self, argv: Sequence[str], folder: Path, env: Mapping[str, str], *, stdin: int, output: int, terminal: bool
    ) -> Supervised:
        """Start a program in a session of its own, or raise `OSError`.

        The environment's PATH is searched for `argv[0]`; `stdin` and `output` are descriptors, of a terminal that
        becomes the session's when `terminal` says so; the caller keeps its own copies.
        """
        order = json.dumps(
            {"argv": [*argv], "folder": os.fspath(folder), "env": {**env}, "terminal": terminal}
        ).encode()
        try:
            answers = self._order(order, stdin, output)
        except (BrokenPipeError, ConnectionResetError):  # something in the sandbox has killed it
            self.close()
            answers = self._order(order, stdin, output)
        return Supervised(answers, argv)

    def _order(self, order: bytes, stdin: int, output: int) -> socket.socket:
        answers, theirs = socket.socketpair()
        if hasattr(socket, "SO_PASSCRED"):
            answers.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        try:
            with theirs, self._lock:
                requests = self._requests = self._requests or self._begin()
                if self._process is not None:
                    _wake(self._process)
                socket.send_fds(requests, [struct.pack("!I", len(order))], [theirs.fileno(), stdin, output])
                requests.sendall(order)
            return answers
        except BaseException:
            answers.close()
            raise

    def _begin(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = self._program(theirs.fileno())
        except BaseException:
            ours.close()
            raise
        return ours

    def close(self) -> None:
        """End it, but not what it has started; idempotent."""
        with self._lock:
            if self._requests is not None:
                self._requests.close()
                self._requests = None
            if self._process is not None:
                _wake(self._process)
                try:
                    self._process.wait(_ANSWER)
                except subprocess.TimeoutExpired:
                    self._process.kill()
                    self._process.wait()
                self._process = None


def _start(requests: int) -> subprocess.Popen[bytes]:
    quiet = ["-B"] if sys.dont_write_bytecode else []
    return subprocess.Popen(
        [base_interpreter(), "-I", "-S", *quiet, "-c", _BEGIN, os.fspath(PROGRAM)],
        cwd="/",
        env=dict[str, str](),
        stdin=requests,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is not for it
    )


def _wake(warden: subprocess.Popen[bytes]) -> None:
    """Wake the warden and its supervisors: an agent can have stopped them."""
    with suppress(ProcessLookupError):
        os.killpg(warden.pid, signal.SIGCONT)
