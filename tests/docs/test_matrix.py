"""The matrix has tests: a pattern of tests/tiers.py that names none is one that was forgotten."""

from __future__ import annotations

import os
import re
from pathlib import Path

import tiers
import zygote

TESTS = Path(__file__).parents[1]


def test_each_pattern_of_the_matrix_names_tests() -> None:
    files = {str(TESTS / pattern.partition("::")[0]) for pattern in tiers.MATRIX}
    args = ["--collect-only", "-q", "-p", "no:cacheprovider", "-m", "matrix", *files]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = zygote.run("pytest", args, cwd=TESTS.parent, env=env, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    matrix = [line.removeprefix("tests/") for line in done.stdout.splitlines() if "::" in line]
    for pattern in tiers.MATRIX:
        assert any(re.match(pattern, place) for place in matrix), f"{pattern} names no test"
    assert [place for place in matrix if not tiers.in_matrix(place)] == []
