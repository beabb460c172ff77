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
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from pytest_kiro.errors import HIDE_FRAMES, LoginError
from pytest_kiro.login.credentials import Credentials
from pytest_kiro.login.store import LoginStore
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

        Waits for at most `timeout` seconds while another one asks, and calls `waiting` every minute. A failure counts
        for all processes, so that nobody is asked twice. Raises what `ask` raises, and `LoginError`.
        """
        from filelock import FileLock, Timeout

        with self._state():
            pass  # the folder is there from now on
        end, asking = time.monotonic() + timeout, FileLock(self._folder / "login.asking")
        while True:
            patience = max(0.0, min(self._waits.sign_of_life, end - time.monotonic()))
            with suppress(Timeout), asking.acquire(timeout=patience):
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
        with suppress(OSError, ValueError, KeyError, TypeError):
            _remove(json.loads(self._file.read_text())["socket"])  # of a worker that was killed
        for name in ("login.json", "login.part", "login.json.lock", "login.asking"):
            (self._folder / name).unlink(missing_ok=True)
        with suppress(OSError):  # it is not there, or somebody else's things are in it
            self._folder.rmdir()

    def _ask_once(self, ask: Callable[[], Credentials]) -> Credentials:
        with self._state() as state:
            pass
        if state["failed"]:
            raise LoginError(state["failed"], advice=state["advice"])
        if served := self.newest():
            return served
        try:
            login = ask()
            self._server = _serve(login, self._waits.peer)
        except LoginError as error:
            self._note(failed=str(error))
            raise
        except BaseException as error:
            self._note(failed=f"the login was broken off in another worker: {error!r}", advice="run it again")
            raise
        self._note(socket=self._server.path)
        return login

    def _state(self) -> AbstractContextManager[dict[str, Any]]:
        return transaction(self._file, _EMPTY)

    def _note(self, **changes: str) -> None:
        with self._state() as state:
            _remove(state["socket"])  # of a worker that was killed
            state.update(changes)

    def _call(self, offered: Credentials | None) -> Credentials | None:
        if not self._file.exists():
            return None
        with self._state() as state:
            path = state["socket"]
        if not path:
            return None
        try:
            with socket.socket(socket.AF_UNIX) as link:
                link.settimeout(self._waits.peer)
                link.connect(path)
                _send(link, offered)
                return _receive(link)
        except (OSError, ValueError):
            return None  # who had it has ended, perhaps in the middle of a word


class _Server:
    """Serves one login from a thread."""

    def __init__(self, login: Credentials, timeout: float) -> None:
        self.store, self._timeout, self._over = LoginStore(login), timeout, threading.Event()
        # A socket's path may have 104 characters at most, which the usual directory is too deep for on macOS.
        self._folder = tempfile.mkdtemp(prefix=_PREFIX, dir="/tmp")  # private to its owner
        self.path = f"{self._folder}/socket"
        self._listener = socket.socket(socket.AF_UNIX)
        try:
            self._listener.bind(self.path)
            self._listener.listen(128)
        except BaseException:
            self._close()
            raise
        self._listener.settimeout(0.1)  # so that it hears of the end: no close wakes an accept everywhere
        self._thread = threading.Thread(target=self._listen, name="kiro-login", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """End the thread and remove the socket."""
        self._over.set()
        self._thread.join()
        self._close()

    def _close(self) -> None:
        self._listener.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _listen(self) -> None:
        while not self._over.is_set():
            with suppress(OSError):
                link, _ = self._listener.accept()
                # In a thread, so that a caller which says nothing holds no other up.
                threading.Thread(target=self._answer, args=(link,), daemon=True).start()

    def _answer(self, link: socket.socket) -> None:
        with link, suppress(Exception):  # a caller that ends, or talks nonsense, is no error of this process
            link.settimeout(self._timeout)
            if offered := _receive(link):
                self.store.offer(offered)
            _send(link, self.store.newest())


def _serve(login: Credentials, timeout: float) -> _Server:
    try:
        return _Server(login, timeout)
    except OSError as error:
        what = f"the login cannot be served to the other workers: {error}"
        raise LoginError(what, advice="look at /tmp and at the limits of this process; or run without -n") from None


def _remove(served: str) -> None:
    """Remove a socket and its folder; any other path stays."""
    path = Path(served)
    if path.parent.name.startswith(_PREFIX):
        with suppress(OSError):
            path.unlink(missing_ok=True)
            path.parent.rmdir()


def _send(link: socket.socket, login: Credentials | None) -> None:
    fields = None if login is None else {**vars(login), "data": base64.b64encode(login.data).decode()}
    link.sendall(json.dumps(fields).encode() + b"\n")


def _receive(link: socket.socket) -> Credentials | None:
    with link.makefile("rb") as stream:
        fields: Any = json.loads(stream.readline(_LONGEST))
    return None if fields is None else Credentials(**{**fields, "data": base64.b64decode(fields["data"])})
