"""How long the product waits for what should come at once: time is passed in, so that tests need not wait."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class DaytonaWaits:
    """Seconds that the Daytona provider waits."""


@dataclass(frozen=True)
class Waits:
    """Seconds that are waited for programs, terminals, services and locks; no user sets them.

    They travel on `Settings`, so whoever is given those need not be told of time.
    """

    #: That Kiro has to write its records after Ctrl-C, and then after SIGTERM, before it is killed.
    grace: float = 5.0
    last_grace: float = 2.0
    #: After which Ctrl-C is pressed once more, since a program that just begins may not hear the first.
    press_again: float = 2.0
    #: That a program which had not begun is waited for after Ctrl-C.
    before_it_began: float = 1.0
    #: Of silence after which what looked like the beginning of a secret is shown.
    held_for: float = 1.0
    #: For whoami's answer: it asks no server and answers within a second; more is a CLI that waits for a human.
    whoami: float = 15.0
    #: For the lock of the saved login's file.
    lock: float = 30.0
    #: That a login may take to arrive from another worker; it comes from the same machine's memory.
    peer: float = 10.0
    #: After which a sandbox is kept alive once more while another worker asks for the login.
    sign_of_life: float = 60.0
    daytona: DaytonaWaits = field(default_factory=DaytonaWaits)
