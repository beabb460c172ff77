"""docs/outcomes.md, row by row, on the local sandbox (contract T); tests/daytona has the same on the emulator."""

from __future__ import annotations

from pathlib import Path

import outcomes
import pytest
from eval_runs import Evals

PAGE = Path(__file__).parents[2] / "docs" / "outcomes.md"


@pytest.mark.skipif(not PAGE.exists(), reason="a copy of the tests alone, beside the built wheel, has no papers")
def test_the_page_has_the_rows_that_are_tested() -> None:
    """Print what it should be by `python -m outcomes` in tests/."""
    table = "\n".join([outcomes.HEAD, *(row.markdown() for row in outcomes.ROWS)])
    assert table in PAGE.read_text(encoding="utf-8")


RUNS = outcomes.runs()


@pytest.mark.parametrize("rows", RUNS)
def test_every_row(evals: Evals, rows: str) -> None:
    outcomes.check(evals, RUNS[rows])
