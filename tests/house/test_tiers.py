"""Every test has a tier, and what is left to the matrix is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import tiers

TESTS = Path(__file__).parents[1]
FILES = sorted(file.relative_to(TESTS).as_posix() for file in TESTS.glob("**/test_*.py"))


@pytest.mark.parametrize("file", FILES)
def test_a_file_has_a_tier(file: str) -> None:
    assert tiers.tier(file) in (tiers.FAST, tiers.DEFAULT)


@pytest.mark.parametrize("place", tiers.TIERS)
def test_what_has_a_tier_is_there(place: str) -> None:
    assert any(file == place or file.startswith(f"{place}/") for file in FILES)


def collected(*args: str) -> set[str]:
    """The tests of the files that the matrix speaks of."""
    files = {str(TESTS / pattern.partition("::")[0]) for pattern in tiers.MATRIX}
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *sorted(files), *args]
    done = subprocess.run(command, cwd=TESTS.parent, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return {line for line in done.stdout.splitlines() if "::" in line}


def test_the_matrix_is_what_the_default_leaves_out() -> None:
    matrix, default, fast = (collected(*args) for args in (("-m", "matrix"), (), ("-m", "fast")))
    places = [line.removeprefix("tests/") for line in matrix]
    for pattern in tiers.MATRIX:
        assert any(re.match(pattern, place) for place in places), f"{pattern} names no test"
    assert matrix
    assert fast < default
    assert not matrix & default
