"""docs/api.md is what the docstrings say, they say enough, and every page is on the site and in llms.txt."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import api_page
import pytest

import pytest_kiro

DOCS = api_page.DOCS
pytestmark = pytest.mark.skipif(
    not DOCS.exists(), reason="a copy of the tests alone, beside the built wheel, has no papers"
)
ANEW = "python tests/docs/api_page.py writes it anew"
ERRORS = {
    name
    for name in pytest_kiro.__all__
    if isinstance(value := getattr(pytest_kiro, name), type) and issubclass(value, Exception)
}


@pytest.fixture(scope="module")
def package() -> Any:
    return api_page.source()


def test_api_is_what_the_docstrings_say() -> None:
    assert (DOCS / "api.md").read_text(encoding="utf-8") == api_page.api(), ANEW


def test_llms_txt_lists_every_page_of_the_site() -> None:
    assert (DOCS / "llms.txt").read_text(encoding="utf-8") == api_page.llms(), ANEW
    listed = [file for entries in api_page.pages().values() for _, file in entries]
    assert sorted(listed) == sorted(file.name for file in DOCS.glob("*.md")), "docs/site/zensical.toml has the list"


def test_every_public_name_has_its_group() -> None:
    names = [name for names in api_page.GROUPS.values() for name in names.split()]
    assert sorted(names) == list(pytest_kiro.__all__)


def things(package: Any) -> Iterator[tuple[str, Any]]:
    for name in pytest_kiro.__all__:
        yield name, package[api_page.home(package, name)]


def docstring(thing: Any) -> str:
    return thing.docstring.value if thing.docstring else ""


def test_every_field_is_explained(package: Any) -> None:
    """With its unit, where it has one: the docstring of its class says what it is, options.md what a setting is."""
    unsaid = [
        f"{name}.{field.name}"
        for name, thing in things(package)
        if thing.is_class and name != "Settings"
        for field in api_page.fields(thing)
        if f"`{field.name}`" not in docstring(thing) and f"`.{field.name}`" not in docstring(thing)
    ]
    assert unsaid == []


def test_every_name_has_an_example(package: Any) -> None:
    """Its own, or one of its members'; an error is shown by the one that it derives from, protocols by their page."""
    elsewhere = ERRORS | {"Provider", "Pty", "Sandbox"}
    without = []
    for name, thing in things(package):
        texts = [docstring(thing), *map(docstring, thing.members.values() if thing.is_class else ())]
        if not any(">>>" in text for text in texts) and name not in elsewhere:
            without.append(name)
    assert without == []
    assert ">>>" in docstring(package["errors.KiroError"])


def test_what_a_method_raises_stands_with_it(package: Any) -> None:
    unsaid = []
    for name, thing in things(package):
        for member in thing.members.values() if thing.is_class else ():
            if member.docstring and not member.name.startswith("_"):
                text = docstring(member) + docstring(thing)
                unsaid += [f"{name}.{member.name}: {error}" for error in raised(name, member.name) if error not in text]
    assert unsaid == []


def raised(name: str, member: str) -> set[str]:
    """The names of errors of ours that a method raises in its own lines."""
    found = inspect.getattr_static(getattr(pytest_kiro, name), member)
    function = getattr(found, "fget", getattr(found, "__func__", found))
    if not inspect.isfunction(function):
        return set()
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    calls = [node.exc.func for node in ast.walk(tree) if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)]
    return {call.id for call in calls if isinstance(call, ast.Name)} & ERRORS


def test_links_of_the_sites_pages_lead_to_pages() -> None:
    """What leads to a source file, or out of docs/, is text there."""
    sys.path.insert(0, str(DOCS / "site"))
    try:
        import build  # type: ignore[import-not-found, unused-ignore]
    finally:
        sys.path.pop(0)
    text = "[evals](evals), [login](docs/login.md#saved), [x](https://x.y/docs/), [down](#safety), [l](LICENSE)"
    assert build.page(text, top=True) == (
        "evals, [login](login.md#saved), [x](https://x.y/docs/), [down](#safety), l (`LICENSE`)"
    )
    code = "```\nmedian([1, 2](x)\n```\n"
    assert build.page(f"[1\n{code}[evals/](evals)", top=True) == f"[1\n{code}evals/"
    text = "[pair](../evals/test_skill.py), [login](login.md), [test_a.py](../evals/test_a.py)"
    assert (
        build.page(text, top=False) == "pair (`evals/test_skill.py`), [login](login.md), test_a.py (`evals/test_a.py`)"
    )


def test_the_site_is_built_and_a_link_that_leads_nowhere_ends_it(tmp_path: Path) -> None:
    pytest.importorskip("zensical", reason="the group docs is not installed; .ci/run has it")
    program = [sys.executable, str(DOCS / "site" / "build.py")]
    built = subprocess.run([*program, str(tmp_path / "site")], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    pages = {file.parent.name for file in (tmp_path / "site" / "site").glob("*/index.html")}
    assert pages == {file.stem for file in DOCS.glob("*.md")}
    assert re.search("<h1[^>]*>pytest-kiro", (tmp_path / "site" / "site" / "index.html").read_text(encoding="utf-8"))
    assert (tmp_path / "site" / "site" / "llms.txt").exists()

    page = tmp_path / "site" / "docs" / "login.md"
    for broken in ("[x](nowhere.md)", "[x](trials.md#nowhere)"):
        text = page.read_text(encoding="utf-8")
        page.write_text(f"{text}\n{broken}\n", encoding="utf-8")
        command = [sys.executable, "-m", "zensical", "build", "--strict"]
        ended = subprocess.run(command, cwd=tmp_path / "site", capture_output=True, check=False)
        page.write_text(text, encoding="utf-8")
        assert ended.returncode != 0, broken
