"""Every test has a tier, and what is left to the matrix is there."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import tiers

TESTS = Path(__file__).parents[1]
PYPROJECT = TESTS.parent / "pyproject.toml"
FILES = sorted(file.relative_to(TESTS).as_posix() for file in TESTS.glob("**/test_*.py"))


@pytest.mark.parametrize("file", FILES)
def test_a_file_has_a_tier(file: str) -> None:
    assert tiers.tier(file) in (tiers.FAST, tiers.DEFAULT)


@pytest.mark.parametrize("place", sorted({*tiers.TIERS, *tiers.ANY_PYTEST}))
def test_what_has_a_tier_is_there(place: str) -> None:
    assert any(file == place or file.startswith(f"{place}/") for file in FILES)


@pytest.mark.skipif(not PYPROJECT.exists(), reason="a copy of the tests alone, beside the built wheel, has none")
def test_the_default_leaves_the_matrix_out() -> None:
    options = tomllib.loads(PYPROJECT.read_text())["tool"]["pytest"]["ini_options"]
    assert " ".join(options["addopts"]).endswith("-m not matrix")
    assert [marker.partition(":")[0] for marker in options["markers"]] == ["fast", "any_pytest", "matrix"]
