"""The matrix has tests: a pattern of tests/tiers.py that names none is one that was forgotten."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import tiers
import zygote

TESTS = Path(__file__).parents[1]


def collected(files: set[str]) -> set[str]:
    """What of these files is of the matrix, as `-m matrix` has it."""
    args = ["--collect-only", "-q", "-p", "no:cacheprovider", "-m", "matrix", *(str(TESTS / file) for file in files)]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = zygote.run("pytest", args, cwd=TESTS.parent, env=env, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return {line.removeprefix("tests/") for line in done.stdout.splitlines() if "::" in line}


def test_each_pattern_of_the_matrix_names_tests(request: pytest.FixtureRequest) -> None:
    files = {pattern.partition("::")[0] for pattern in tiers.MATRIX}
    whole = files <= tiers.FILES and not any("::" in arg for arg in request.config.args)
    matrix = tiers.OF_MATRIX if whole else collected(files)  # it takes five seconds to collect them once more
    for pattern in tiers.MATRIX:
        assert any(re.match(pattern, place) for place in matrix), f"{pattern} names no test"


def test_the_matrix_is_what_is_selected() -> None:
    matrix = collected({"evals/test_evals_pass.py"})
    assert matrix
    assert [place for place in matrix if not tiers.in_matrix(place)] == []
