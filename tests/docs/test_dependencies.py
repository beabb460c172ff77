"""docs/dependencies.md has a reason for everything that an installation brings, and nothing is brought in vain."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE, PROJECT = ROOT / "docs" / "dependencies.md", ROOT / "pyproject.toml"
pytestmark = pytest.mark.skipif(
    not PAGE.exists(), reason="a copy of the tests alone, beside the built wheel, has no papers"
)
#: Of which nothing is imported: the files of one are read, the hooks of the other are pytest's to call.
READ = {"mkdocs-asciinema-player", "pluggy"}
#: What is imported of what a dependency needs itself.
BROUGHT = {"aiohttp": "daytona", "markupsafe": "jinja2"}


def named(requirements: list[str]) -> set[str]:
    return {re.match(r"[\w-]+", requirement)[0] for requirement in requirements}  # type: ignore[index]


def required() -> tuple[set[str], set[str]]:
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    extras = project.get("optional-dependencies", {})
    return named(project["dependencies"]), {name for more in extras.values() for name in named(more)}


def rows() -> dict[str, list[str]]:
    """The page's tables of dependencies: what each is for, instead of what, when it is imported, what it costs."""
    table = re.findall(r"^\| ([\w-]+) \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    told = {name: cells.split(" | ") for name, cells in table}
    return {name: cells for name, cells in told.items() if len(cells) == 4 and name != "dependency"}


def imported() -> Iterator[str]:
    for path in (ROOT / "pytest_kiro").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (name.name.partition(".")[0] for name in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                yield (node.module or "").partition(".")[0]


def test_each_dependency_has_its_reason() -> None:
    own, extra = required()
    assert set(rows()) == own | extra
    assert all(all(cells) for cells in rows().values())


def test_each_dependency_is_used_and_what_is_used_is_one() -> None:
    own, extra = required()
    ours = {"pytest_kiro", "kiro_cli"}  # which is the stand-in's name in the archive that is sent to a sandbox
    used = set(imported()) - sys.stdlib_module_names - ours
    assert {BROUGHT.get(name, name) for name in used} == (own | extra) - READ


def test_none_of_ours_brings_a_plugin_into_every_run() -> None:
    """But pytest-kiro's own: platformdirs had one."""
    from importlib.metadata import entry_points

    plugins = {one.dist.name.lower() for one in entry_points(group="pytest11") if one.dist}
    own, extra = required()
    assert not (own | extra) & plugins
