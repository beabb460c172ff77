"""Failures of a command; `app` turns them into text and an exit code."""

from __future__ import annotations


class UsageError(Exception):
    """A wrong command line; shown the way clap shows it, exit code 2."""

    def __init__(self, text: str, usage: str = "kiro-cli [OPTIONS] <COMMAND>") -> None:
        super().__init__(text)
        self.usage = usage


class Failure(Exception):
    """The command failed: its text goes to stderr; `reason` is how a turn ends by it."""

    def __init__(self, text: str, code: int = 1, reason: str = "Error") -> None:
        super().__init__(text)
        self.code = code
        self.reason = reason


class Refused(Exception):
    """The service refused a request: `kind` is its name for the reason, where one is recorded."""

    def __init__(self, text: str, code: int = 0, kind: str | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.record: str | dict[str, str] = {kind: text} if kind else text
