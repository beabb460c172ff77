"""One login for all the processes of a run: the first that needs it asks, the others are served from its memory.

No file holds it. Who asks holds a lock that the kernel frees however it dies, so the next one then asks anew; who has
asked serves what it got over a Unix socket in a directory of its own.
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

from pytest_kiro.errors import HIDE_FRAMES, LoginError, message
from pytest_kiro.login.credentials import Credentials
from pytest_kiro.sandbox.runs import transaction

__tracebackhide__ = HIDE_FRAMES

#: Seconds that a served login may take to arrive; it comes from the same machine's memory.
_CALL_TIMEOUT = 10.0
_LONGEST = 64 * 1024 * 1024
_PREFIX = "kiro-login-"
_MINUTE = 60.0
_EMPTY = {"socket": "", "failed": ""}


class Exchange:
    """The login of a run, of which `folder` is private to its processes.

    `offer` and `newest` work once `obtain` has returned in some process of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._state = folder, folder / "login.json"
        self._server: _Server | None = None

    def obtain(
        self, ask: Callable[[], Credentials], *, timeout: float, waiting: Callable[[], object] = lambda: None
    ) -> Credentials:
        """Return the login that another process has got, else `ask` for it.

        Waits for at most `timeout` seconds while another one asks, and calls `waiting` every minute. A
        failure is every process's: nobody is asked twice. Raises what `ask` raises, and `LoginError`.
        """
        from filelock import FileLock, Timeout

        with transaction(self._state, _EMPTY):
            pass  # the folder is there from now on
        end, asking = time.monotonic() + timeout, FileLock(self._folder / "login.asking")
        while True:
            with suppress(Timeout), asking.acquire(timeout=max(0.0, min(_MINUTE, end - time.monotonic()))):
                return self._ask_once(ask)
            if time.monotonic() >= end:
                advice = "look at the terminal in which it asks; --kiro-login-timeout bounds it"
                what = f"another worker has been asking for the login for more than {timeout:g} s"
                raise LoginError(message(what, advice=advice))
            waiting()

    def newest(self) -> Credentials | None:
        """Return the newest login that a process of this run knows; None when nobody serves one any more."""
        return self._call(None)

    def offer(self, login: Credentials) -> None:
        """Tell the others of a login that is newer than theirs."""
        self._call(login)

    def close(self) -> None:
        """End serving; idempotent."""
        if self._server is not None:
            self._server.end()
            self._server = None

    def remove(self) -> None:
        """Remove its files, when the run is over; idempotent."""
        self.close()
        with suppress(OSError, ValueError, KeyError, TypeError):
            _remove(json.loads(self._state.read_text())["socket"])  # of a worker that was killed
        for name in ("login.json", "login.part", "login.json.lock", "login.asking"):
            (self._folder / name).unlink(missing_ok=True)
        with suppress(OSError):  # it is not there, or somebody else's things are in it
            self._folder.rmdir()

    def _ask_once(self, ask: Callable[[], Credentials]) -> Credentials:
        with transaction(self._state, _EMPTY) as state:
            failed = state["failed"]
        if failed:
            told = LoginError(failed)  # which ends in advice already
            raise told
        if served := self._call(None):
            return served
        try:
            login = ask()
            self._server = _serve(login)
        except BaseException as error:
            ours = isinstance(error, LoginError)
            self._note(
                failed=str(error) if ours else f"the login was broken off in another worker: {error!r}; run it again"
            )
            raise
        self._note(socket=self._server.path)
        return login

    def _note(self, **told: str) -> None:
        with transaction(self._state, _EMPTY) as state:
            _remove(state["socket"])  # of a worker that was killed
            state.update(told)

    def _call(self, put: Credentials | None) -> Credentials | None:
        if self._server is not None:
            return self._server.exchange(put)
        if not self._state.exists():
            return None
        with transaction(self._state, _EMPTY) as state:
            path = state["socket"]
        if not path:
            return None
        try:
            with socket.socket(socket.AF_UNIX) as link:
                link.settimeout(_CALL_TIMEOUT)
                link.connect(path)
                link.sendall(_packed(put) + b"\n")
                with link.makefile("rb") as answer:
                    return _unpacked(answer.readline(_LONGEST))
        except (OSError, ValueError):
            return None  # who had it has ended, perhaps in the middle of a word


def _remove(served: str) -> None:
    """Remove a socket and its folder; whatever else the path may be stays."""
    place = Path(served)
    if place.parent.name.startswith(_PREFIX):
        with suppress(OSError):
            place.unlink(missing_ok=True)
            place.parent.rmdir()


def _serve(login: Credentials) -> _Server:
    try:
        return _Server(login)
    except OSError as error:
        advice = "look at /tmp and at the limits of this process; or run without -n"
        raise LoginError(message(f"the login cannot be served to the other workers: {error}", advice=advice)) from None


class _Listener(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers many at once: one that connects and says nothing holds nobody up."""

    daemon_threads, request_queue_size = True, 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a caller that ends, or talks nonsense."""


class _Server:
    """Serves one login, the newest that it was told of, in a thread of its own."""

    def __init__(self, login: Credentials) -> None:
        self._login, self._lock = login, threading.Lock()
        # A socket's path may have 104 characters at most, which the usual directory is too deep for on macOS.
        self._folder = tempfile.mkdtemp(prefix=_PREFIX, dir="/tmp")  # private to its owner
        self.path = f"{self._folder}/socket"
        exchange = self.exchange

        class Handler(socketserver.StreamRequestHandler):
            timeout = _CALL_TIMEOUT

            def handle(self) -> None:
                self.wfile.write(_packed(exchange(_unpacked(self.rfile.readline(_LONGEST)))) + b"\n")

        try:
            self._server = _Listener(self.path, Handler)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="kiro-login", daemon=True)
        self._thread.start()

    def exchange(self, put: Credentials | None) -> Credentials:
        """Take a newer login, and return the newest."""
        with self._lock:
            if put is not None and not put.older_than(self._login):
                self._login = put
            return self._login

    def end(self) -> None:
        """End the thread and remove the socket."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        shutil.rmtree(self._folder, ignore_errors=True)


def _packed(login: Credentials | None) -> bytes:
    if login is None:
        return b"null"
    data = base64.b64encode(login.data).decode()
    return json.dumps({**vars(login), "data": data}).encode()


def _unpacked(line: bytes) -> Credentials | None:
    told: Any = json.loads(line)
    return None if told is None else Credentials(**{**told, "data": base64.b64decode(told["data"])})
