"""Reads and writes the files of a sandbox from inside: a path means there what it means to the agent.

From outside, a link that the agent has made would lead into the developer's files. So the verbs of `Disk` are executed
by a process of their own, which has entered the sandbox's namespaces of users and mounts, and not that of its
processes: nothing in the sandbox can see it, stop it or answer in its stead. Requests and answers are pickled, behind
their length.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import pickle
import socket
import struct
import sys
from pathlib import Path
from typing import Any

from pytest_kiro.sandbox.disk import Disk
from pytest_kiro.secrecy import visible as visible  # errors need it, which import it late

LENGTH = struct.Struct("!Q")
#: Of linux/sched.h, linux/nsfs.h, linux/prctl.h and linux/capability.h.
_NEWNS, _NEWUSER, _GET_USERNS = 0x00020000, 0x10000000, 0xB701
_NO_NEW_PRIVS, _CAPABILITIES = 38, 0x20080522
_VERBS = ("check", "folder", "read", "read_many", "write_many", "write_new", "listing", "remove")


def main(mounts: int, home: str, trash: str, name: str) -> None:
    """Answer requests on standard input until their end."""
    _enter(mounts)
    # From here on every path is the agent's to choose, so nothing more is imported.
    sys.path.clear()
    sys.path_importer_cache.clear()
    disk, requests = Disk(Path(home), Path(trash), name), socket.socket(fileno=0)
    while request := receive(requests):
        verb, arguments, guarded = request
        disk.guarded = guarded
        try:
            assert verb in _VERBS
            send(requests, (getattr(disk, verb)(*arguments), None))
        except Exception as error:  # whatever it is, it is raised where it was asked for
            error.__traceback__ = error.__context__ = error.__cause__ = None
            send(requests, (None, error))


def _enter(mounts: int) -> None:
    """Enter namespaces of users and mounts, and shed all rights there."""
    libc = ctypes.CDLL(None, use_errno=True)
    users = fcntl.ioctl(mounts, _GET_USERNS)
    for descriptor, kind in ((users, _NEWUSER), (mounts, _NEWNS)):
        _done(libc.setns(descriptor, kind))
        os.close(descriptor)
    _done(libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0))
    header, nothing = struct.pack("Ii", _CAPABILITIES, 0), bytes(24)
    _done(libc.capset(header, nothing))


def _done(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def send(link: socket.socket, what: object) -> None:
    """Send a value."""
    data = pickle.dumps(what)
    link.sendall(LENGTH.pack(len(data)))
    link.sendall(data)


def receive(link: socket.socket) -> Any:
    """Return the next value; None at the end."""
    header = _exactly(link, LENGTH.size)
    return pickle.loads(_exactly(link, *LENGTH.unpack(header))) if header else None


def _exactly(link: socket.socket, size: int) -> bytes:
    data = bytearray(size)
    view, got = memoryview(data), 0
    while got < size:
        more = link.recv_into(view[got:])
        if more == 0:
            return b""
        got += more
    return bytes(data)
