"""A login that is kept between runs, in the data directory of this user: a file that only its owner can read."""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from pytest_kiro.errors import HIDE_FRAMES, LoginError, message
from pytest_kiro.login import credentials
from pytest_kiro.login.credentials import Credentials

__tracebackhide__ = HIDE_FRAMES

_FORMAT = 1
_LOCK_TIMEOUT = 30.0
_LOG_IN = "log in anew: python -m pytest_kiro login"


class Saved:
    """The saved login of this user; `path` is its file.

    >>> Saved(Path("/nowhere/login.json")).newest() is None
    True
    """

    def __init__(self, path: Path | None = None) -> None:
        self._given, self._was_there = path, False

    @cached_property
    def path(self) -> Path:
        """The file, which need not be there."""
        return self._given or _default()

    def newest(self) -> Credentials | None:
        """Return what is saved, None when nothing is; `LoginError` when it cannot be used."""
        try:
            status, text = self.path.stat(), self.path.read_text("utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise self._unusable(f"cannot be read: {error}") from None
        if stat.S_IMODE(status.st_mode) & 0o077:
            advice = f"see who has read it, and make it yours alone: chmod 600 {self.path}"
            raise LoginError(message(f"the saved login {self.path} can be read by others", advice=advice))
        try:
            kept = json.loads(text)
            if kept["format"] != _FORMAT:
                raise self._unusable(f"has format {kept['format']!r}, and this pytest-kiro knows {_FORMAT}")
            found = credentials.read(
                base64.b64decode(kept["data"], validate=True),
                version=str(kept["version"]),
                scripted=bool(kept["scripted"]),
                who=kept["who"],
                name=f"the data file in the saved login {self.path}",
            )
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self._unusable(f"is not one: {type(error).__name__}: {error}") from None
        if found is None:
            raise self._unusable("has no login in it")
        self._was_there = True
        return found

    def offer(self, login: Credentials) -> None:
        """Keep a renewed login in the place of the saved one; of two tokens the one that ends later is the newer.

        One that was removed since this process has read it stays removed, and another account's stays what it is.
        """
        with self._locked():
            kept, removed = self._or_none(), self._was_there and not self.path.exists()
            another = kept is not None and (kept.who, kept.scripted) != (login.who, login.scripted)
            if not (removed or another or (kept is not None and login.older_than(kept))):
                self._write(login)

    def save(self, login: Credentials) -> None:
        """Keep a login that somebody asked for, whatever was saved before."""
        with self._locked():
            self._write(login)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        from filelock import FileLock, Timeout

        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with FileLock(f"{self.path}.lock", timeout=_LOCK_TIMEOUT, mode=0o600):
                yield
        except (OSError, Timeout) as error:
            what = f"the login cannot be saved as {self.path}: {error}"
            raise LoginError(message(what, advice="look at that folder, or set XDG_DATA_HOME to another")) from None

    def forget(self) -> bool:
        """Remove it; return whether there was one."""
        try:
            there = self.path.exists()
            for file in (self.path, self._part, Path(f"{self.path}.lock")):
                file.unlink(missing_ok=True)
        except OSError as error:
            what = f"the saved login {self.path} cannot be removed: {error}"
            raise LoginError(message(what, advice="look at that folder, and remove it yourself")) from None
        return there

    def saved_at(self) -> datetime:
        """Return when it was saved."""
        return datetime.fromtimestamp(self.path.stat().st_mtime, UTC)

    def _write(self, login: Credentials) -> None:
        kept: dict[str, Any] = {
            "format": _FORMAT,
            "version": login.version,
            "scripted": login.scripted,
            "who": login.who,
            "data": base64.b64encode(login.data).decode(),
        }
        part = self._part
        part.unlink(missing_ok=True)
        try:
            # Never, not even for a moment, readable by others.
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                json.dump(kept, file)
            part.replace(self.path)
        finally:
            part.unlink(missing_ok=True)

    @property
    def _part(self) -> Path:
        """What is being written; of a writer that was killed it stays."""
        return self.path.with_suffix(".part")

    def _or_none(self) -> Credentials | None:
        with suppress(LoginError):  # it is just being replaced
            return self.newest()
        return None

    def _unusable(self, why: str) -> LoginError:
        return LoginError(message(f"the saved login {self.path} {why}", advice=_LOG_IN))


def _default() -> Path:
    import platformdirs

    return platformdirs.user_data_path("pytest-kiro") / "login.json"
