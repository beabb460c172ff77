"""docs/outcomes.md, row by row, in emulated sandboxes (contract T)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import outcomes
import pytest

if TYPE_CHECKING:
    from daytona_runs import Runs

pytest_plugins = ["daytona_runs"]


@pytest.mark.parametrize("settings", outcomes.RUNS, ids=" ".join)
def test_every_row(runs: Runs, settings: tuple[str, ...]) -> None:
    outcomes.check(runs, settings)
