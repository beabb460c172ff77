"""Ends a session that had evals: removes what remains before the summary counts it."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

from pytest_kiro.plugin.xdist import is_controller

if TYPE_CHECKING:
    from pytest_kiro.plugin.state import State

_LEFT_AT_ONCE = (
    "told to stop twice, so sandboxes were not waited for: a remote one ends by itself when its time to live is over, "
    "a local one is removed by the next run"
)


def end(session: pytest.Session, state: State) -> Generator[None, None, None]:
    """Run the last teardowns, gather what is known, and close the sandboxes.

    Those of a dead or slow worker too.
    """
    try:
        if is_controller(session.config) or not state.stops.leaving:  # it has to end its workers all the same
            yield
    except KeyboardInterrupt:
        session.exitstatus = pytest.ExitCode.INTERRUPTED
    for gather in state.at_end:
        gather()
    try:
        state.close()
    except KeyboardInterrupt:
        session.exitstatus = pytest.ExitCode.INTERRUPTED
        state.close()  # unless it was the second one
    if state.stops.leaving:
        pytest.exit(_LEFT_AT_ONCE, returncode=pytest.ExitCode.INTERRUPTED)
