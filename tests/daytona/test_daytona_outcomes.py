"""docs/outcomes.md, row by row, in emulated sandboxes (contract T)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import outcomes
import pytest

if TYPE_CHECKING:
    from daytona_runs import Runs

pytest_plugins = ["daytona_runs"]


LINK = outcomes.runs(link=True)
RUNS = outcomes.runs()


@pytest.mark.parametrize("rows", LINK)
def test_where_the_link_matters(runs: Runs, rows: str) -> None:
    outcomes.check(runs, LINK[rows])


@pytest.mark.parametrize("rows", RUNS)
def test_every_row(runs: Runs, rows: str) -> None:
    outcomes.check(runs, RUNS[rows])
