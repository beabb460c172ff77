"""Starts the programs of a local sandbox, and ends what they leave.

A program of its own, with the standard library only, for one sandbox. Standard input is a socket to its parent, which
sends requests: a length, three descriptors (answers, input, output), and so much JSON. Each program gets a supervisor,
a fork of this one that adopts what the program leaves (PR_SET_CHILD_SUBREAPER), by whatever way that left: setsid, a
double fork, an empty environment. Its answers are lines of JSON:

    {"pid": 7}                      it has begun; or {"error": 2}, a number of errno, and nothing more
    {"status": 0, "left": false}    it has ended: a shell's status, 128 + n for signal n; and whether it has left others
    {"killed": [...], "stuck": [..]}  to a byte that asks for the end: what it had left, as "PID name"

A parent that is gone asks for the end as well. How that treats SIGCHLD, and who else reaps there, does not matter here.
"""

import ctypes
import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import Any, NoReturn

_LINUX = sys.platform.startswith("linux")
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER, from linux/prctl.h
#: Seconds after which a killed process is called stuck: it may wait for a device.
_PATIENCE = 5.0


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
    """Begin what is asked for, until the parent is gone."""
    children, supervisors = Children(), set[int]()
    while True:
        readable = select.select([requests.fileno(), children.bell], [], [])[0]
        if children.bell in readable:
            ended = children.reap()[0]
            supervisors -= set(ended)
            if any(ended.values()):  # one was killed, by what it supervises: who was adopted by it is ours now
                for pid in below(os.getpid(), beside=supervisors):
                    kill(pid)
        if requests.fileno() in readable:
            header, descriptors = socket.recv_fds(requests, 4, 3)[:2]
            if not header:
                return
            (size,) = struct.unpack("!I", header)
            order = json.loads(requests.recv(size, socket.MSG_WAITALL))
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)  # no program may answer for its supervisor
            pid = os.fork()
            if pid == 0:
                requests.close()
                supervise(order, *descriptors)
            supervisors.add(pid)
            for descriptor in descriptors:
                os.close(descriptor)


def supervise(order: dict[str, Any], descriptor: int, stdin: int, stdout: int) -> NoReturn:
    """Run one program, until nothing is left or its end is asked."""
    adopt()
    children, answers = Children(), socket.socket(fileno=descriptor)
    told, tell = os.pipe()
    program = os.fork()
    if program == 0:
        become(order, stdin, stdout, tell)
    for used in (tell, stdin, stdout):
        os.close(used)
    error = os.read(told, 16)
    say(answers, {"error": int(error)} if error else {"pid": program})
    runs, others = not error, True
    while others:
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


def become(order: dict[str, Any], stdin: int, stdout: int, tell: int) -> NoReturn:
    """Become the program that is asked for."""
    try:
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
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
    deadline, killed, answer = time.monotonic() + _PATIENCE, dict[int, str](), dict[str, Any]()
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


if __name__ == "__main__":
    adopt()
    serve(socket.socket(fileno=0))
