"""Decides from earlier turns whether the login still works; whoami asks no server."""

from __future__ import annotations

from collections.abc import Callable

from pytest_kiro.errors import HIDE_FRAMES, LoginError
from pytest_kiro.kirocli import commands
from pytest_kiro.login.login import Identity
from pytest_kiro.turn.causes import Cause
from pytest_kiro.turn.turn import Turn

__tracebackhide__ = HIDE_FRAMES


class Admission:
    """Remembers what the turns of one `Kiro` have shown of its login."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._proven = False
        self._refused = ""

    def check(self) -> None:
        """Raise `LoginError` when an earlier turn was refused."""
        if self._refused:
            what = f"no turn was begun, since an earlier one was refused: {self._refused}"
            raise LoginError(what, advice=self._advice)

    def heard(self, turn: Turn, copy_in: Callable[[], bool]) -> bool:
        """Learn from a turn; return whether it was refused, and a newer login is put in by `copy_in`."""
        if turn.cause is not Cause.AUTH:
            self._proven |= turn.ok
            return False
        if self._identity.how == "scripted":  # a scenario says so, of this turn
            return False
        if copy_in():
            return True
        self._refused = turn.detail
        return False

    def refusal(self, turn: Turn) -> LoginError | None:
        """Return the error when Kiro refused an unproven key, else None."""
        if turn.cause is not Cause.AUTH or self._proven or self._identity.how != "api key":
            return None
        key = self._identity.env[commands.API_KEY]
        shown = f" (it ends in {key[-4:]})" if len(key) >= 4 * 4 else ""  # of a short one that would be too much
        what = f"KIRO_API_KEY{shown} is not taken: {turn.detail}"
        return LoginError(what, output=f"{turn.output}\n{turn.diagnostics}", advice=self._advice)

    @property
    def _advice(self) -> str:
        return {
            "api key": "set a valid KIRO_API_KEY; whoami cannot tell, it only looks whether there is one",
            "saved login": "log in anew: python -m pytest_kiro login",
            "device login": "run it again and log in anew",
        }.get(self._identity.how, Cause.AUTH.advice)
