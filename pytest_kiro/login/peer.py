"""Shares one login between the processes of a run.

One asks, and serves the others from its memory; no file holds it. The process that asks holds a lock, which the kernel
frees however it dies, so that the next one then asks anew. It serves the login over a Unix socket in a private
directory; the run's folder has the socket's path.
"""

from __future__ import annotations

import base64
import json
import shutil
import socket
import socketserver
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pytest_kiro.errors import HIDE_FRAMES, LoginError
from pytest_kiro.login.credentials import Credentials
from pytest_kiro.login.store import LoginStore
from pytest_kiro.sandbox.locks import Taken, locked
from pytest_kiro.sandbox.runs import transaction
from pytest_kiro.settings.waits import Waits

__tracebackhide__ = HIDE_FRAMES

_LONGEST = 64 * 1024 * 1024
_PREFIX = "kiro-login-"
_EMPTY = {"socket": "", "failed": "", "advice": ""}


class PeerLogin(LoginStore):
    """Stores the login of a run in one of its processes.

    `folder` is private to the run. `offer` and `newest` work once `obtain` has returned in some process of it.
    """

    def __init__(self, folder: Path, waits: Waits | None = None) -> None:
        super().__init__()
        self._folder, self._file, self._waits = folder, folder / "login.json", waits or Waits()
        self._server: _Server | None = None

    def obtain(
        self, ask: Callable[[], Credentials], *, timeout: float, waiting: Callable[[], object] = lambda: None
    ) -> Credentials:
        """Return the login that another process has got, else `ask` for it.

        While another one asks, `waiting` is called every minute. A failure is all processes', so nobody is asked twice.
        """
        self._note()  # the folder is there from now on
        end, asking = time.monotonic() + timeout, self._folder / "login.asking"
        while True:
            patience = max(0.0, min(self._waits.sign_of_life, end - time.monotonic()))
            with suppress(Taken), locked(asking, timeout=patience):
                return self._ask_once(ask)
            if time.monotonic() >= end:
                what = f"another worker has been asking for the login for more than {timeout:g} s"
                raise LoginError(what, advice="look at the terminal in which it asks; --kiro-login-timeout bounds it")
            waiting()

    def newest(self) -> Credentials | None:
        """Return the newest login, None when no process serves it."""
        return self._call(None) if self._server is None else self._server.store.newest()

    def offer(self, login: Credentials) -> None:
        """Store a renewed login, for all processes of the run."""
        if self._server is None:
            self._call(login)
        else:
            self._server.store.offer(login)

    def close(self) -> None:
        """End serving; idempotent."""
        if self._server is not None:
            self._server.end()
            self._server = None

    def remove(self) -> None:
        """Remove its files, when the run is over; idempotent."""
        self.close()
        _remove(self._socket)  # of a worker that was killed
        for name in ("login.json", "login.part", "login.json.lock", "login.asking"):
            (self._folder / name).unlink(missing_ok=True)
        with suppress(OSError):  # it is not there, or somebody else's things are in it
            self._folder.rmdir()

    def _ask_once(self, ask: Callable[[], Credentials]) -> Credentials:
        state = json.loads(self._file.read_text(encoding="utf-8"))
        if state["failed"]:
            raise LoginError(state["failed"], advice=state["advice"])
        if served := self.newest():
            return served
        _remove(self._socket)  # of a worker that was killed
        try:
            login = ask()
            self._server = _Server(login, self._waits.peer)
        except LoginError as error:
            self._note(failed=str(error))
            raise
        except BaseException as error:
            self._note(failed=f"the login was broken off in another worker: {error!r}", advice="run it again")
            raise
        self._note(socket=self._server.path)
        return login

    def _note(self, **changes: str) -> None:
        with transaction(self._file, _EMPTY) as state:
            state.update(changes)

    @property
    def _socket(self) -> str:
        """The path of the socket, empty where none is known."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            return str(json.loads(self._file.read_text(encoding="utf-8"))["socket"])
        return ""

    def _call(self, offered: Credentials | None) -> Credentials | None:
        try:
            with socket.socket(socket.AF_UNIX) as link:
                link.settimeout(self._waits.peer)
                link.connect(self._socket)
                _send(link, offered)
                return _receive(link)
        except (OSError, ValueError):
            return None  # who had it has ended, perhaps in the middle of a word


class _Server(socketserver.ThreadingUnixStreamServer):
    """Serves one login, each caller in a thread: one that says nothing holds no other up."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, login: Credentials, timeout: float) -> None:
        self.store, self.answer_timeout = LoginStore(login), timeout
        try:
            # A socket's path may have 104 characters at most, which the usual directory is too deep for on macOS.
            self.path = f"{tempfile.mkdtemp(prefix=_PREFIX, dir='/tmp')}/socket"  # private to its owner
            super().__init__(self.path, _Answer)
        except OSError as error:
            what = f"the login cannot be served to the other workers: {error}"
            raise LoginError(what, advice="look at /tmp and at the limits of this process; or run without -n") from None
        self._thread = threading.Thread(target=self.serve_forever, args=(0.1,), name="kiro-login", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """End the thread and remove the socket."""
        self.shutdown()
        self._thread.join()
        self.server_close()

    def server_close(self) -> None:
        super().server_close()
        _remove(self.path)


class _Answer(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        with suppress(Exception):  # a caller that ends, or talks nonsense, is no error of this process
            self.request.settimeout(self.server.answer_timeout)
            if offered := _receive(self.request):
                self.server.store.offer(offered)
            _send(self.request, self.server.store.newest())


def _remove(served: str) -> None:
    """Remove a socket and its folder; any other path stays."""
    folder = Path(served).parent
    if folder.name.startswith(_PREFIX):
        shutil.rmtree(folder, ignore_errors=True)


def _send(link: socket.socket, login: Credentials | None) -> None:
    fields = None if login is None else {**vars(login), "data": base64.b64encode(login.data).decode()}
    link.sendall(json.dumps(fields).encode() + b"\n")


def _receive(link: socket.socket) -> Credentials | None:
    with link.makefile("rb") as stream:
        fields: Any = json.loads(stream.readline(_LONGEST))
    return None if fields is None else Credentials(**{**fields, "data": base64.b64decode(fields["data"])})
