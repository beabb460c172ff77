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
    """Keeps the login of one sandbox in step with the store.

    `held` is what was put into the sandbox; `secrets` hides its tokens, and those that they become.
    """

    def __init__(self, sandbox: Sandbox, store: LoginStore, held: Credentials, secrets: Secrets) -> None:
        self._sandbox, self._store, self._secrets, self._copied = sandbox, store, secrets, False
        self._hold(held)

    @property
    def due(self) -> bool:
        """Whether kiro-cli may have renewed its token by now."""
        expires = self._held.expires
        return expires is not None and datetime.now(UTC) + _EARLY > expires

    def hand_on(self) -> None:
        """Store the sandbox's login if it was renewed; one that cannot be read was not."""
        with suppress(LoginError, SandboxError, OSError):
            taken = self._take()
            if taken is None or taken.same_login(self._held):
                return
            self._hold(taken)
            try:
                self._store.offer(taken)
            except LoginError as error:  # no reason to fail a turn, but the older token may be worth nothing any more
                logger = logging.getLogger("pytest_kiro")
                logger.warning("kiro-cli has renewed its login, and the new one is lost: %s", error)

    def copy_in(self) -> bool:
        """Put the stored login into the sandbox, once; return whether it is another one."""
        if self._copied:
            return False
        try:
            newest, there = self._store.newest(), self._take()
            if newest is None or newest.same_login(there) or (there is not None and newest.older_than(there)):
                return False
            self._copied = True
            self._hold(newest)
            credentials.put(self._sandbox, newest)
        except (LoginError, SandboxError, OSError):
            return False
        return True

    def _hold(self, login: Credentials) -> None:
        self._held = login
        for token in login.tokens:
            self._secrets.add(token, "login token")

    def _take(self) -> Credentials | None:
        held = self._held
        return credentials.take(self._sandbox, version=held.version, scripted=held.scripted, who=held.who)
