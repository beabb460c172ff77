"""A login that several sandboxes hold a copy of, kept in step: kiro-cli renews its token about once an hour.

Whether the copies of one refresh token fight is not known (no source says): so the newest is handed on, and a sandbox
whose token is refused gets it, once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Protocol

from pytest_kiro.errors import HIDE_FRAMES, LoginError, SandboxError
from pytest_kiro.login import credentials
from pytest_kiro.login.credentials import Credentials
from pytest_kiro.sandbox.protocol import Sandbox

__tracebackhide__ = HIDE_FRAMES

#: kiro-cli may renew a token before its end.
_EARLY = timedelta(minutes=10)


class Source(Protocol):
    """Where the newest login is kept: the saved one's file, or the memory of one of the run's processes."""

    def newest(self) -> Credentials | None:
        """Return it, None when there is none."""
        ...

    def offer(self, login: Credentials) -> None:
        """Keep a newer one."""
        ...


class Memory:
    """Keeps the login of a process that shares it with nobody."""

    def __init__(self, login: Credentials) -> None:
        self._login = login

    def newest(self) -> Credentials:
        """Return it."""
        return self._login

    def offer(self, login: Credentials) -> None:
        """Keep a newer one."""
        self._login = login


class Renewal:
    """The login in one sandbox, and where newer ones come from and go to.

    `held` is what was put in, `hide` is told each token that must not be written.
    """

    def __init__(
        self, sandbox: Sandbox, source: Source, held: Credentials, hide: Callable[[Credentials], None]
    ) -> None:
        self._sandbox, self._source, self._held, self._hide = sandbox, source, held, hide
        self._copied = False
        hide(held)

    @property
    def due(self) -> bool:
        """Whether kiro-cli may have renewed its token by now."""
        expires = self._held.expires
        return expires is not None and datetime.now(UTC) + _EARLY > expires

    def hand_on(self) -> None:
        """Offer the sandbox's login to the others if it was renewed; what cannot be read is no news."""
        with suppress(LoginError, SandboxError, OSError):
            found = self._take()
            if found is not None and not found.same_login(self._held):
                self._held = found
                self._hide(found)
                self._offer(found)

    def _offer(self, found: Credentials) -> None:
        try:
            self._source.offer(found)
        except LoginError as error:  # no reason to fail a turn, but the older token may be worth nothing any more
            logging.getLogger("pytest_kiro").warning(
                "kiro-cli has renewed its login, and the new one is lost: %s", error
            )

    def copy_in(self) -> bool:
        """Put the newest login into the sandbox, once; return whether it is another one than was refused there."""
        if self._copied:
            return False
        try:
            newest, there = self._source.newest(), self._take()
            if newest is None or newest.same_login(there) or (there is not None and newest.older_than(there)):
                return False
            self._copied, self._held = True, newest
            self._hide(newest)
            credentials.put(self._sandbox, newest)
        except (LoginError, SandboxError, OSError):
            return False
        return True

    def _take(self) -> Credentials | None:
        held = self._held
        return credentials.take(self._sandbox, version=held.version, scripted=held.scripted, who=held.who)
