"""What can go wrong, as one tree.

KiroError
├── SettingsError            a setting is wrong: which, from where, what would be right
├── SetupError               nothing was evaluated
│   ├── SandboxError         the machine failed, or is gone
│   │   ├── SandboxTimeout   a command did not end in time
│   │   ├── SandboxClosed    the sandbox was used after it ended
│   │   └── PtyClosed        something was typed after the program ended
│   ├── InstallError         kiro-cli is not there, or is not what was asked for
│   ├── LoginError           nobody is logged in
│   ├── BudgetExceeded       the run, or the test, has spent what it may
│   └── LimitReached         the test has had as many turns as it may
├── LaunchError              the program never started in its terminal
├── TurnError                a turn did not complete; `.turn` says how far it came
│   ├── TurnFailed
│   └── TurnTimeout
├── NotRecorded              nothing that kiro-cli has left says what was asked
├── NotPrinted               what was waited for in a turn's output did not come
├── ConversationError        a turn was asked for where no conversation can take it
├── CommandFailed            a checked command failed; `.result` is attached
└── RecordingMiss            a replay has no such turn

Every message says what happened, with which values, the last lines of output, and what to do next. An error that
carries a value is defined where the value is: `TurnError` in turn/turn.py, `CommandFailed` in sandbox/protocol.py.
"""

from __future__ import annotations

import operator


class KiroError(Exception):
    """The root of every error that pytest-kiro raises.

    `what` happened, with which values; `advice` is what to do next; `output` is what was printed, of which the last
    `lines` are shown.

    >>> import pytest, pytest_kiro
    >>> def test_says_what_failed(kiro):
    ...     with pytest.raises(pytest_kiro.KiroError, match="failed with exit code 3"):
    ...         kiro.workspace.exec("exit 3").check()
    """

    def __init__(self, what: str, *, advice: str = "", output: str = "", lines: int = 10) -> None:
        super().__init__(message(what, output=output, advice=advice, lines=lines))


#: Put into a module as `__tracebackhide__`: our errors end in advice, and our frames above them say nothing more.
HIDE_FRAMES = operator.methodcaller("errisinstance", KiroError)


_LONGEST_LINE = 500


def message(what: str, *, output: str = "", advice: str = "", lines: int = 10) -> str:
    """Put an error's text together: what happened, the last lines of output, what to do; nothing in it is hidden.

    >>> print(message("node is missing", output="sh: node: not found", advice="install node"))
    node is missing
      | sh: node: not found
    install node
    >>> print(message("node is missing", advice="install node"))
    node is missing; install node
    """
    from pytest_kiro.secrecy.visible import visible  # which a plain run need not compile

    tail = visible(output).rstrip().splitlines()[-lines:]
    shown = [f"  | {line if len(line) <= _LONGEST_LINE else line[:_LONGEST_LINE] + '…'}" for line in tail]
    if advice and not shown and not {"\n", ";"} & {*what, *advice}:  # else it reads better on a line of its own
        return visible(f"{what}; {advice}")
    return visible("\n".join([what, *shown, *([advice] if advice else [])]))


class SettingsError(KiroError):
    """A setting is wrong: the message says which, where it came from, and what would be right."""


class SetupError(KiroError):
    """Nothing was evaluated: the machine, the CLI or the login failed before a turn could start."""


class SandboxError(SetupError):
    """The sandbox failed, or its machine is gone; never the result of a command in it."""


class SandboxTimeout(SandboxError):
    """A command did not end in time and was killed; `.output` is what it had printed."""

    def __init__(self, what: str, output: str = "", *, advice: str = "") -> None:
        super().__init__(what, advice=advice, output=output)
        self.output = output


class SandboxClosed(SandboxError):
    """The sandbox was used after it was closed."""


class PtyClosed(SandboxError):
    """Something was typed into a terminal whose program has ended."""


class InstallError(SetupError):
    """kiro-cli could not be installed, or its version did not prove it."""


class LoginError(SetupError):
    """Nobody is logged in, and no way to log in was left."""


class BudgetExceeded(SetupError):
    """The run, or the test, has spent what it may; a turn was not begun; `.spent` and `.cap` are in credits."""

    #: The word of `Cause.BUDGET`, and that the world is at fault: as of a turn.
    cause, infrastructure = "budget", True

    def __init__(self, what: str, *, spent: float, cap: float, advice: str = "") -> None:
        super().__init__(what, advice=advice)
        self.spent, self.cap = spent, cap


class LimitReached(SetupError):
    """The test has had as many turns as it may; a further one was not begun."""

    #: The word of `Cause.LIMIT`, and that the agent is not at fault: as of a turn.
    cause, infrastructure = "limit", True


class LaunchError(KiroError):
    """The launch marker never came: the message has what the shell said instead."""


class NotRecorded(KiroError):
    """Nothing that kiro-cli has left says what `Turn.loaded` was asked; it is neither true nor false."""


class NotPrinted(KiroError):
    """Kiro did not print what `LiveTurn.expect` waited for."""


class ConversationError(KiroError):
    """A turn was asked for where no conversation can take it."""


class RecordingMiss(KiroError):
    """A replay was asked for a turn that was not recorded."""
