"""What the papers show is run: every code block of the README, every table that code knows better, every example."""

from __future__ import annotations

import doctest
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pytest_kiro
from pytest_kiro.sandbox import environment
from pytest_kiro.settings import table as settings
from pytest_kiro.standin import STAND_IN

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SCENARIO = (HERE / "examples.toml").read_text()
SHOP = """
import pytest

@pytest.fixture(scope="module")
def shop(kiro):
    return kiro.run("Build a price list service in shop/, with tests.")
"""

CHECKS = """
import os, subprocess, sys, unittest

class Test(unittest.TestCase):
    def slug(self, text):
        slugify = [sys.executable, "-I", f"{os.environ['WORKSPACE']}/slugify.py", text]
        return subprocess.run(slugify, capture_output=True, text=True).stdout.strip()

    def test_one(self): self.assertEqual(self.slug("Ada"), "ada")
    def test_two(self): self.assertEqual(self.slug("ADA"), "ada")
    def test_three(self): self.assertEqual(self.slug(""), "")
"""

needs_papers = pytest.mark.skipif(
    not (ROOT / "README.md").exists(), reason="a copy of the tests alone, beside the built wheel, has no papers"
)


def _blocks(language: str) -> list[str]:
    readme = ROOT / "README.md"
    text = readme.read_text() if readme.exists() else ""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def _run_eval(pytester: pytest.Pytester, source: str) -> None:
    """Run an example as an eval, beside the scenario and the project that the examples speak of."""
    if source.startswith("# conftest.py\n"):
        pytester.makepyfile(conftest=source, test_example="def test_hello(kiro):\n    kiro.run('Say hello.')")
    else:
        pytester.makepyfile(conftest=SHOP, test_example=source)
    scenarios = pytester.mkdir("scenarios")
    for name in ("test_example", "conftest"):
        (scenarios / f"{name}.toml").write_text(SCENARIO)
    agents = pytester.path / "projects" / "shop" / ".kiro" / "agents"
    agents.mkdir(parents=True)
    (agents / "reviewer.json").write_text('{"name": "reviewer", "tools": ["read", "grep"]}')
    checks = pytester.path / "checks" / "slugify"
    checks.mkdir(parents=True)
    (checks / "test_slugify.py").write_text(CHECKS)
    (pytester.path / "conftest.py").touch()
    if "collect_ignore" not in (pytester.path / "conftest.py").read_text():
        with (pytester.path / "conftest.py").open("a") as conftest:
            conftest.write("\ncollect_ignore = ['checks']\n")

    plugins = ("randomly", "hypothesispytest", "rerunfailures")
    result = pytester.runpytest_inprocess(*(f"-pno:{name}" for name in plugins))

    assert result.ret == 0, result.stdout.str()


@needs_papers
@pytest.mark.parametrize("block", _blocks("python"))
def test_readme_python_runs(pytester: pytest.Pytester, block: str) -> None:
    _run_eval(pytester, block)


@needs_papers
def test_readme_names_the_commands_that_ci_runs() -> None:
    ci = (ROOT / ".ci/run").read_text()
    commands = [line[2:] for block in _blocks("console") for line in block.splitlines() if line.startswith("$ ")]
    for command in ("uv run pytest evals", "uv run pytest tests -n 3"):
        assert command in commands
        assert re.search(rf"(^|\s){re.escape(command)}$", ci, re.MULTILINE)


def _without_what_varies(output: str) -> list[str]:
    varying = r"platform |rootdir: |configfile: |plugins: |hypothesis |Using |cachedir: "
    lines = [line.rstrip() for line in output.splitlines() if not re.match(varying, line)]
    return [re.sub(r" in [\d.]+s|=+|\s+\[ *\d+%\]", "", line).strip() for line in lines if line.strip()]


@needs_papers
def test_readme_shows_what_the_evals_print() -> None:
    shown = _blocks("console")[0]
    shown = shown.partition("$ uv run pytest evals\n")[2].partition("\n$ ")[0]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "evals"]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COVERAGE_"))}
    env |= {"COLUMNS": "80"}
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False, env=env)

    assert ran.returncode == 0, ran.stdout
    assert _without_what_varies(shown) == _without_what_varies(ran.stdout)


@needs_papers
def test_readme_has_every_option() -> None:
    lines = ["| option | default | |", "|---|---|---|"]
    for row in settings.TABLE:
        assert row.shown_default, "a reader asks what happens when nothing is said"
        lines.append(f"| `{f'{row.option} {row.metavar}'.rstrip()}` | {row.shown_default} | {row.help} |")
        assert lines[-1].count("|") == 4, "a bar in a help text would break the table"
    assert "\n".join(["", *lines, ""]) in (ROOT / "README.md").read_text()


@needs_papers
@pytest.mark.parametrize("paper", ["README.md", "docs/sandboxes.md"])
def test_the_inherited_environment_is_named(paper: str) -> None:
    assert ", ".join(f"`{name}`" for name in environment.INHERITED) in " ".join((ROOT / paper).read_text().split())


@needs_papers
def test_every_misbehaviour_is_described() -> None:
    """Those for users where scenarios are, those of our own tests where the stand-in's promises are."""
    program = "import json; from kiro_cli.misbehave import INTERNAL, KINDS; print(json.dumps([KINDS, INTERNAL]))"
    command = [sys.executable, "-c", program]
    ran = subprocess.run(command, cwd=STAND_IN.parent, capture_output=True, text=True, check=True)
    for_users = (ROOT / "docs/scenarios.md").read_text()
    internal = (ROOT / "docs/fidelity.md").read_text().partition("## Misbehaviour of our own tests")[2]

    shown = [dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.MULTILINE)) for text in (for_users, internal)]
    assert shown == json.loads(ran.stdout)


@needs_papers
def test_links_between_papers_lead_somewhere() -> None:
    for paper in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", paper.read_text()):
            assert (paper.parent / target).exists(), f"{paper.name} links to {target}"


def _examples() -> dict[str, doctest.DocTest]:
    """Return the example of every docstring, by the name of what it explains; the hooks' are run by their own tests."""
    found = {}
    package = Path(pytest_kiro.__file__).parent
    for file in sorted(package.rglob("*.py")):
        if "kiro_cli" in file.parts or file.name == "hookspecs.py":
            continue
        name = ".".join(file.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")
        for test in doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name)):
            if test.examples:
                found[test.name] = test
    return found


EXAMPLES = _examples()
EVALS = {
    name: source
    for name, test in EXAMPLES.items()
    if "def test_" in (source := "".join(example.source for example in test.examples))
}


@pytest.mark.parametrize("name", sorted(EVALS))
def test_an_example_that_is_an_eval_passes(pytester: pytest.Pytester, name: str) -> None:
    _run_eval(pytester, EVALS[name])


@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - set(EVALS)))
def test_an_example_says_what_it_prints(name: str) -> None:
    assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(EXAMPLES[name]).failed == 0
