"""Stores the saved login of this user in a private file."""

from __future__ import annotations

import base64
import json
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from pytest_kiro.errors import HIDE_FRAMES, LoginError
from pytest_kiro.login import credentials
from pytest_kiro.login.credentials import Credentials
from pytest_kiro.login.store import LoginStore
from pytest_kiro.sandbox.locks import Taken, locked
from pytest_kiro.settings.waits import Waits

__tracebackhide__ = HIDE_FRAMES

_FORMAT = 1


def data_folder(environ: Mapping[str, str], platform: str = sys.platform) -> Path:
    """Return where programs keep their data for this user.

    >>> str(data_folder({"XDG_DATA_HOME": "/data"}))
    '/data'
    """
    named = environ.get("XDG_DATA_HOME", "").strip()
    if Path(named).is_absolute():  # a relative one is to be ignored, says the specification of these variables
        return Path(named)
    home = Path(environ.get("HOME") or Path.home())
    return home / "Library" / "Application Support" if platform == "darwin" else home / ".local" / "share"


class SavedLogin(LoginStore):
    """Stores a login in a file, between runs.

    `path` is the file, which need not be there; by default it is in the user's data directory.
    """

    def __init__(self, path: Path | None = None, waits: Waits | None = None) -> None:
        super().__init__()
        self.path = path or data_folder(os.environ) / "pytest-kiro" / "login.json"
        #: The file that is being written; a killed writer leaves it.
        self._part = self.path.with_suffix(".part")
        self._lock_timeout = (waits or Waits()).lock
        self._was_there = False

    def newest(self) -> Credentials | None:
        """Return the saved login, None without one; `LoginError` when it cannot be used."""
        try:
            status, text = self.path.stat(), self.path.read_text("utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise self._unusable(f"cannot be read: {error}") from None
        if stat.S_IMODE(status.st_mode) & 0o077:
            advice = f"see who has read it, and make it yours alone: chmod 600 {self.path}"
            raise LoginError(f"the saved login {self.path} can be read by others", advice=advice)
        try:
            kept = json.loads(text)
            if kept["format"] != _FORMAT:
                raise self._unusable(f"has format {kept['format']!r}, and this pytest-kiro knows {_FORMAT}")
            login = credentials.read(
                base64.b64decode(kept["data"], validate=True),
                version=str(kept["version"]),
                scripted=bool(kept["scripted"]),
                who=kept["who"],
                name=f"the data file in the saved login {self.path}",
            )
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self._unusable(f"is not one: {type(error).__name__}: {error}") from None
        if login is None:
            raise self._unusable("has no login in it")
        self._was_there = True
        return login

    def offer(self, login: Credentials) -> None:
        """Store a renewed login, by the rule of `Credentials.renews`.

        A login that was removed since this process has read it stays removed.
        """
        with self._locked():
            kept = None
            with suppress(LoginError):  # one that cannot be used may go
                kept = self.newest()
            removed = self._was_there and not self.path.exists()
            if not removed and login.renews(kept):
                self._write(login)

    def save(self, login: Credentials) -> None:
        """Store a login that the user asked for, whatever was saved before."""
        with self._locked():
            self._write(login)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with locked(Path(f"{self.path}.lock"), timeout=self._lock_timeout, mode=0o600):
                yield
        except (OSError, Taken) as error:
            what = f"the login cannot be saved as {self.path}: {error}"
            raise LoginError(what, advice="look at that folder, or set XDG_DATA_HOME to another") from None

    def forget(self) -> bool:
        """Remove the saved login; return whether there was one."""
        try:
            there = self.path.exists()
            for file in (self.path, self._part, Path(f"{self.path}.lock")):
                file.unlink(missing_ok=True)
        except OSError as error:
            what = f"the saved login {self.path} cannot be removed: {error}"
            raise LoginError(what, advice="look at that folder, and remove it yourself") from None
        return there

    def saved_at(self) -> datetime:
        """Return when the login was saved."""
        return datetime.fromtimestamp(self.path.stat().st_mtime, UTC)

    def _write(self, login: Credentials) -> None:
        kept = {"format": _FORMAT, **vars(login), "data": base64.b64encode(login.data).decode()}
        self._part.unlink(missing_ok=True)
        try:
            # Never, not even for a moment, readable by others.
            created = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(created, "w", encoding="utf-8") as file:
                json.dump(kept, file)
            self._part.replace(self.path)
        finally:
            self._part.unlink(missing_ok=True)

    def _unusable(self, why: str) -> LoginError:
        return LoginError(f"the saved login {self.path} {why}", advice="log in anew: python -m pytest_kiro login")
