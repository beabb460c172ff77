"""Stores the newest login, and renews the copies of it in sandboxes.

kiro-cli renews its token about once an hour. Whether the copies of one refresh token hinder each other is not known (no
source says): so the newest is handed on, and a sandbox whose token is refused gets it, once.
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from pytest_kiro.errors import LoginError, SandboxError
from pytest_kiro.kirocli.sessions import sqlite
from pytest_kiro.login import credentials
from pytest_kiro.login.credentials import Credentials
from pytest_kiro.sandbox.protocol import Sandbox
from pytest_kiro.secrecy.redaction import Secrets

#: kiro-cli may renew a token before its end.
_EARLY = timedelta(minutes=10)


class LoginStore:
    """Stores the newest login in the memory of this process.

    Its back ends store it elsewhere: `SavedLogin` in a file, `PeerLogin` in another process of the run.
    """

    def __init__(self, login: Credentials | None = None) -> None:
        self._login, self._lock = login, threading.Lock()

    def newest(self) -> Credentials | None:
        """Return the stored login, None without one; `LoginError` when it cannot be used."""
        return self._login

    def offer(self, login: Credentials) -> None:
        """Store a renewed login, by the rule of `Credentials.renews`."""
        with self._lock:
            if login.renews(self._login):
                self._login = login


class Renewal:
    """Keeps the logins in a sandbox's HOMEs in step with the store.

    `held` is the newest that is known of them; `secrets` hides its tokens, and those that they become. A `home` is the
    path of one of them, empty for the sandbox's own.
    """

    def __init__(self, sandbox: Sandbox, store: LoginStore, held: Credentials, secrets: Secrets) -> None:
        self._sandbox, self._store, self._secrets = sandbox, store, secrets
        self._copied = set[str]()
        self._hold(held)

    @property
    def due(self) -> bool:
        """Whether kiro-cli may have renewed its token by now."""
        expires = self.held.expires
        return expires is not None and datetime.now(UTC) + _EARLY > expires

    def hand_on(self, home: str = "") -> None:
        """Store a HOME's login if it was renewed there; one that cannot be read was not."""
        with suppress(LoginError, SandboxError, OSError):
            self._hand_on(self._take(home))

    def hand_on_from(self, data: bytes, wal: bytes = b"") -> None:
        """Store the login in a data file's bytes if it was renewed."""
        held = self.held
        with suppress(LoginError):
            whole = sqlite.with_wal(data, wal)
            self._hand_on(credentials.read(whole, version=held.version, scripted=held.scripted, who=held.who))

    def _hand_on(self, taken: Credentials | None) -> None:
        if taken is None or taken.same_login(self.held):
            return
        self._hold(taken)
        try:
            self._store.offer(taken)
        except LoginError as error:  # no reason to fail a turn, but the older token may be worth nothing any more
            logger = logging.getLogger("pytest_kiro")
            logger.warning("kiro-cli has renewed its login, and the new one is lost: %s", error)

    def put(self, home: str) -> None:
        """Put the held login into a HOME; it may fail, and then what is there is used."""
        with suppress(LoginError, SandboxError, OSError):
            credentials.put(self._sandbox, self.held, home)

    def copy_in(self, home: str = "") -> bool:
        """Put the stored login into a HOME, once; return whether it is another one."""
        if home in self._copied:
            return False
        try:
            newest, there = self._store.newest(), self._take(home)
            if newest is None or newest.same_login(there) or (there is not None and newest.older_than(there)):
                return False
            self._copied.add(home)
            self._hold(newest)
            credentials.put(self._sandbox, newest, home)
        except (LoginError, SandboxError, OSError):
            return False
        return True

    def _hold(self, login: Credentials) -> None:
        self.held = login
        for token in login.tokens:
            self._secrets.add(token, "login token")

    def _take(self, home: str) -> Credentials | None:
        held = self.held
        return credentials.take(self._sandbox, version=held.version, scripted=held.scripted, who=held.who, home=home)
