"""A plugin of inner runs: what the product waits for as a precaution, it waits for a moment only.

Each is still long enough for a stand-in on a machine that is busy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_kiro.plugin import WAITS
from pytest_kiro.settings.waits import DaytonaWaits, Waits

if TYPE_CHECKING:
    import pytest

QUICK = Waits(
    grace=1.5,
    last_grace=0.5,
    press_again=0.7,
    before_it_began=0.7,
    held_for=0.3,
    status_after=3600.0,  # on a busy machine, too, a terminal's bytes are those that a test expects
    long_turn=(3600.0, 3600.0),
    link_pauses=(0.05, 0.1, 0.2, 0.5),
    daytona=DaytonaWaits(
        pauses=(0.05, 0.1, 0.2, 0.5, 1, 2, 4), silence=2.0, looks=(0.1, 0.2, 0.5, 1, 2), join=0.1, poll=0.1
    ),
)


def pytest_configure(config: pytest.Config) -> None:
    config.stash.setdefault(WAITS, QUICK)  # a conftest may have been here, with its own
