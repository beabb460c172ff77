"""docs/emulator-fidelity.md has a row for everything, and what its rows name is there."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from functools import cache
from pathlib import Path

import daytona
import pytest
from emulator.faults import ACTIONS
from emulator.routes import ROUTES
from emulator.settings import Settings

HERE = Path(__file__).parent
LEDGER = HERE.parents[1] / "docs" / "emulator-fidelity.md"
SDK = Path(daytona.__file__).parent
pytestmark = pytest.mark.skipif(
    not LEDGER.exists(), reason="a copy of the tests alone, beside the built wheel, has no papers"
)
SOURCES = (
    "SDK",
    "API description",
    "daemon",
    "platform source",
    "documentation",
    "measured",
    "**guess**",
    "ours",
    "reported",
)


def rows() -> list[tuple[str, list[str]]]:
    """Return the rows of the tables that have three columns, each with its section."""
    section, found = "", []
    for line in LEDGER.read_text(encoding="utf-8").splitlines() if LEDGER.exists() else ():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 3 and not cells[1].startswith(("---", "source", "what it stands")):
            found.append((section, cells))
    return found


def words(section: str) -> set[str]:
    return {word for where, cells in rows() if where == section for word in re.findall(r"`(\w+)`", cells[0])}


@pytest.mark.parametrize(
    ("section", "there"),
    [
        ("Routes", {route.name for route in ROUTES}),
        ("Knobs", {field.name for field in fields(Settings)}),
        ("Fault rules", set(ACTIONS)),
    ],
)
def test_everything_has_its_row(section: str, there: set[str]) -> None:
    assert words(section) & there == there
    if section != "Routes":
        assert words(section) == there


@cache
def names_in(name: str) -> list[str]:
    tree = ast.parse((HERE / f"test_emulator_{name}.py").read_text(encoding="utf-8"))
    return [node.name.removeprefix("test_") for node in tree.body if isinstance(node, ast.FunctionDef)]


@pytest.mark.parametrize("row", rows(), ids=[row[1][0][:40] for row in rows()])
def test_each_row_names_a_test_that_is_there(row: tuple[str, list[str]]) -> None:
    cell, named = row[1][2], 0
    for file, texts in re.findall(r"(\w+): ((?:`[^`]+`(?:, )?)+)", cell):
        for text in re.findall(r"`([^`]+)`", texts):
            known = names_in(file)
            assert text in known or (text.endswith("…") and any(one.startswith(text[:-1]) for one in known)), text
            named += 1
    assert named == cell.count("`") / 2 > 0


SOURCED = [row for row in rows() if row[0] != "Fault rules"]


@pytest.mark.parametrize("row", SOURCED, ids=[row[1][0][:40] for row in SOURCED])
def test_each_row_has_a_source_that_is_there(row: tuple[str, list[str]]) -> None:
    cell = row[1][1]
    assert cell.startswith((*SOURCES, "as `exit_style`")), cell
    for file, function in re.findall(r"SDK `([^`]+)` `([^`]+)`", cell):
        text = (SDK / file).read_text(encoding="utf-8")
        assert re.search(rf"def {function}\b", text), f"{file} has no {function}"
    if cell.startswith("daemon"):
        assert re.fullmatch(r"daemon (`[\w/-]+\.go(:\d+(-\d+)?(,\d+(-\d+)?)*)?`(, )?)+", cell), cell


def test_the_package_tells_of_every_knob_and_action() -> None:
    import emulator

    told = {
        word
        for line in emulator.__doc__.splitlines()
        if line.startswith("|")
        for word in re.findall(r"\w+", line.split("|")[1])
    }
    assert {field.name for field in fields(Settings)} | set(ACTIONS) <= told
