"""What our hooks and fixtures share in one pytest process."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from pytest_kiro.run.keeper import KiroSession

if TYPE_CHECKING:
    from pytest_kiro.login.exchange import Exchange

SESSION = pytest.StashKey[KiroSession]()
EXCHANGE = pytest.StashKey["Exchange"]()
OWNERS = pytest.StashKey[Any]()


def exchange_of(config: pytest.Config) -> Exchange:
    """Return where the workers of this run share a device login."""
    from pytest_kiro.login.exchange import Exchange
    from pytest_kiro.sandbox.runs import folder_of

    folder = folder_of(config.stash[SESSION].settings.run_id)
    return config.stash.setdefault(EXCHANGE, Exchange(folder))


def stop_gently(config: pytest.Config) -> None:
    """From now on, let SIGTERM, and SIGHUP of a closed terminal, end the run as Ctrl-C does: the sandbox is closed."""

    def end(number: signal.Signals) -> None:
        pytest.exit(f"terminated by {number.name}; sandboxes are closed", returncode=128 + number)

    config.add_cleanup(config.stash[SESSION].stop_gently(end))
