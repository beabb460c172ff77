"""docs/trust.md promises nothing that no test holds."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "trust.md"
pytestmark = pytest.mark.skipif(
    not PAGE.exists(), reason="a copy of the tests alone, beside the built wheel, has no papers"
)


def promises() -> list[tuple[str, str]]:
    """Return what is promised and its tests: the rows of the tables that have such a column."""
    rows, tested = [], False
    for line in PAGE.read_text(encoding="utf-8").splitlines() if PAGE.exists() else ():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if not line.startswith("|") or len(cells) != 2:
            tested = False
        elif cells == ["what", "tests"]:
            tested = True
        elif tested and not cells[0].startswith("---"):
            rows.append((cells[0], cells[1]))
    return rows


@cache
def names_in(name: str) -> list[str]:
    (file,) = TESTS.glob(f"*/test_{name}.py")
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return [node.name.removeprefix("test_") for node in tree.body if isinstance(node, ast.FunctionDef)]


def test_there_are_promises() -> None:
    assert len(promises()) >= 10


@pytest.mark.parametrize("promise", promises(), ids=[what[:40] for what, _ in promises()])
def test_each_promise_names_tests_that_are_there(promise: tuple[str, str]) -> None:
    cell, named = promise[1], 0
    for file, texts in re.findall(r"(\w+): ((?:`\w+`(?:, )?)+)", cell):
        for text in re.findall(r"`(\w+)`", texts):
            assert text in names_in(file)
            named += 1
    assert named == cell.count("`") / 2 > 0


def test_the_readme_leads_there() -> None:
    readme = (TESTS.parent / "README.md").read_text(encoding="utf-8")
    assert "(docs/trust.md)" in readme.partition("## Safety")[2].partition("\n## ")[0]
