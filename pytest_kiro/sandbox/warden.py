"""Starts the programs of a local sandbox, and ends what they leave.

A program of its own, with the standard library only, for one sandbox. Standard input is a socket to its parent, which
sends requests: a length, three descriptors (answers, input, output), and so much JSON. Each program gets a supervisor,
a fork of this one. It takes the request, and adopts what the program leaves (PR_SET_CHILD_SUBREAPER), by whatever way
that left: setsid, a double fork, an empty environment. Its answers are lines of JSON:

    {"supervisor": 6}               who watches; an agent can stop it
    {"pid": 7}                      it has begun; or {"error": 2}, a number of errno, and nothing more
    {"status": 0, "left": false}    it has ended: a shell's status, 128 + n for signal n; and whether it has left others
    {"killed": [...], "stuck": [..]}  to a byte that asks for the end: what it had left, as "PID name"

A parent that is gone asks for the end as well. How that treats SIGCHLD, and who else reaps there, does not matter here.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import termios
import time
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from typing import Any, NoReturn

_LINUX = sys.platform.startswith("linux")
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER, from linux/prctl.h
#: Seconds after which a killed process is called stuck: it may wait for a device.
_PATIENCE = 5.0
_SIGNALS = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
_DUP = os.POSIX_SPAWN_DUP2
#: What a supervisor tells the warden: it has an order, or the parent is gone.
_TAKEN, _GONE = b"t", b"g"


class Children:
    """Tells of the end of children, through a descriptor to wait for."""

    def __init__(self) -> None:
        self.bell, write = os.pipe()
        os.set_blocking(self.bell, False)
        os.set_blocking(write, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)

    def reap(self) -> tuple[dict[int, int], bool]:
        """Return the status of ended children, and whether there are others."""
        try:
            while os.read(self.bell, 4096):
                pass
        except BlockingIOError:
            pass
        ended = dict[int, int]()
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return ended, True
                code = os.waitstatus_to_exitcode(status)
                ended[pid] = 128 - code if code < 0 else code
        except ChildProcessError:
            return ended, False


def serve(requests: socket.socket) -> None:
    """Begin what is asked for, until the parent is gone.

    A supervisor is forked before it is needed: a fork of this program takes 2 to 4 ms, for which each turn would wait
    twice.
    """
    children, supervisors = Children(), set[int]()
    events = select.poll()
    events.register(children.bell, select.POLLIN)
    events.register(requests, 0)  # its end; what is asked there is for a supervisor

    def hear(milliseconds: int | None = None) -> set[int]:
        """Return what can be read, and bury who has ended."""
        ready = {descriptor for descriptor, _ in events.poll(milliseconds)}
        ended = children.reap()[0] if children.bell in ready else {}
        supervisors.difference_update(ended)
        if any(ended.values()):  # one was killed, by what it supervises: who was adopted by it is ours now
            for orphan in below(os.getpid(), beside=supervisors):
                kill(orphan)
        return ready

    while True:
        told, tell = os.pipe()
        while (pid := fork_once()) < 0:  # what runs has spent the processes that there may be
            if requests.fileno() in hear(50):
                return
        if pid == 0:
            os.close(told)
            supervise(requests, tell)
        supervisors.add(pid)
        os.close(tell)
        events.register(told, select.POLLIN)
        while told not in (ready := hear()):
            if requests.fileno() in ready:
                kill(pid)  # who waits for an order can have been stopped, and would never say that there is none
                return
        gone = os.read(told, 1) == _GONE  # nothing comes from one that was killed
        events.unregister(told)
        os.close(told)
        if gone:
            return


def fork_once() -> int:
    """Fork; -1 when there may be no more processes."""
    try:
        return os.fork()
    except OSError:
        return -1


def supervise(requests: socket.socket, tell: int) -> NoReturn:
    """Wait for an order, then run its program.

    It is watched until nothing of it is left, or its end is asked.
    """
    adopt()
    children = Children()
    header, descriptors = socket.recv_fds(requests, 4, 3)[:2]
    order = json.loads(requests.recv(struct.unpack("!I", header)[0], socket.MSG_WAITALL)) if header else None
    requests.close()
    with suppress(BrokenPipeError):  # the warden was killed
        os.write(tell, _GONE if order is None else _TAKEN)
    os.close(tell)
    if order is None:
        os._exit(0)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)  # no program may answer for its supervisor
    descriptor, stdin, stdout = descriptors
    answers = socket.socket(fileno=descriptor)
    say(answers, {"supervisor": os.getpid()})
    program, runs, others = 0, True, True
    try:
        program = start(order, stdin, stdout)
        say(answers, {"pid": program})
    except OSError as error:
        runs = False
        say(answers, {"error": error.errno})
    for used in (stdin, stdout):
        os.close(used)
    while others and (runs or program):
        readable = select.select([answers.fileno(), children.bell], [], [])[0]
        if children.bell in readable:
            ended, others = children.reap()
            if runs and program in ended:
                runs = False
                say(answers, {"status": ended[program], "left": others})
        if others and answers.fileno() in readable:
            listen(answers)
            say(answers, end(children, program if runs else 0))
            others = False
    os._exit(0)


def start(order: dict[str, Any], stdin: int, stdout: int) -> int:
    """Start a program in a new session, or raise `OSError`."""
    if not _LINUX:  # where a terminal is not a session's by being opened
        return fork(order, stdin, stdout)
    argv, env = order["argv"], order["env"]
    first = (os.POSIX_SPAWN_OPEN, 0, os.ttyname(stdin), os.O_RDWR, 0) if order["terminal"] else (_DUP, stdin, 0)
    actions = [first, (_DUP, stdout, 1), (_DUP, stdout, 2)]
    problem: OSError = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    os.chdir(order["folder"])
    try:
        for folder in [""] if "/" in argv[0] else os.get_exec_path(env):
            try:
                # No fork, which would copy our memory. Signals that are ignored would stay so.
                return os.posix_spawn(
                    os.path.join(folder, argv[0]), argv, env, file_actions=actions, setsid=True, setsigdef=_SIGNALS
                )
            except (FileNotFoundError, NotADirectoryError):
                pass
            except OSError as error:
                problem = error
        raise problem
    finally:
        os.chdir("/")


def fork(order: dict[str, Any], stdin: int, stdout: int) -> int:
    """Start a program as `start` does, on any system."""
    told, tell = os.pipe()
    program = os.fork()
    if program == 0:
        become(order, stdin, stdout, tell)
    os.close(tell)
    error = os.read(told, 16)
    os.close(told)
    if error:
        raise OSError(int(error), os.strerror(int(error)))
    return program


def become(order: dict[str, Any], stdin: int, stdout: int, tell: int) -> NoReturn:
    """Become the program that is asked for."""
    try:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)  # what is ignored would stay so
        os.setsid()
        for standard, descriptor in enumerate((stdin, stdout, stdout)):
            os.dup2(descriptor, standard)
        if order["terminal"]:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        os.chdir(order["folder"])
        os.execvpe(order["argv"][0], order["argv"], order["env"])
    except OSError as error:
        os.write(tell, str(error.errno).encode())
    finally:
        os._exit(127)


def end(children: Children, program: int) -> dict[str, Any]:
    """Kill all below this process, and return what that was.

    A program that still runs, and what is in its session, is not told of: it had not left that behind.
    """
    deadline, killed = time.monotonic() + _PATIENCE, dict[int, str]()
    answer: dict[str, Any] = {}
    while True:
        ended, others = children.reap()
        if program in ended:
            answer["status"] = ended[program]
        if not others or time.monotonic() > deadline:
            break
        for pid, (name, session) in below(os.getpid()).items():
            if session != program:
                killed[pid] = f"{pid} {name}"
            kill(pid)
        select.select([children.bell], [], [], 0.02)
    stuck = {pid: f"{pid} {name}" for pid, (name, _) in below(os.getpid()).items()} if others else {}
    return {**answer, "killed": [told for pid, told in killed.items() if pid not in stuck], "stuck": [*stuck.values()]}


def below(top: int, beside: Collection[int] = ()) -> dict[int, tuple[str, int]]:
    """Return name and session of all living descendants. Those of `beside` are left out."""
    parents = {}
    for pid, parent, session, state, name in processes():
        if state[:1] not in "ZX" and pid not in beside:
            parents[pid] = (parent, name, session)
    found, wanted = dict[int, tuple[str, int]](), {top}
    while wanted:
        wanted = {pid for pid, (parent, _, _) in parents.items() if parent in wanted and pid not in found}
        found.update((pid, parents[pid][1:]) for pid in wanted)
    return found


def processes() -> Iterator[tuple[int, int, int, str, str]]:
    """Yield number, parent, session, state and name of every process."""
    if not _LINUX:
        import subprocess  # which takes longer than this program

        words = ["ps", "-A", "-o", "pid=", "-o", "ppid=", "-o", "sess=", "-o", "stat=", "-o", "comm="]
        for line in (
            subprocess.run(words, stdout=subprocess.PIPE, check=False).stdout.decode("utf-8", "replace").splitlines()
        ):
            pid, parent, session, state, name = line.split(None, 4)
            yield int(pid), int(parent), int(session, 16), state, name
        return
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                    name, _, rest = file.read().partition(" (")[2].rpartition(") ")
            except OSError:  # it has just ended
                continue
            state, parent, _, session = rest.split(None, 4)[:4]
            yield int(entry), int(parent), int(session), state, name


def kill(pid: int) -> None:
    """Kill a process, if it is there and ours to kill."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def listen(answers: socket.socket) -> None:
    """Take what was asked: unread, it would take our answer along."""
    with suppress(OSError):  # the parent is gone
        answers.recv(64)


def say(answers: socket.socket, words: dict[str, Any]) -> None:
    """Answer with a line; a parent that is gone hears nothing."""
    with suppress(OSError):
        answers.sendall(json.dumps(words).encode() + b"\n")


def adopt() -> None:
    """Become the parent of orphans below this process, on Linux."""
    if _LINUX:
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def main() -> NoReturn:
    """Serve who holds the other end of standard input."""
    adopt()
    gc.freeze()  # a collection in a fork would copy what it shares with this process
    serve(socket.socket(fileno=0))
    os._exit(0)
