"""What the papers show is run: every code block of the README, every table that code knows better, every example."""

from __future__ import annotations

import doctest
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import zygote

import pytest_kiro
from pytest_kiro.sandbox import environment
from pytest_kiro.settings import table as settings
from pytest_kiro.standin import STAND_IN
from pytest_kiro.standin.scenario_file import Scenario
from pytest_kiro.standin.tool_forms import documentation
from pytest_kiro.turn.causes import Cause

# Pytester forgets what a run in this process has imported, but not what was there before.
for late in zygote.OURS:
    importlib.import_module(late)
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

#: The first line of a block that is one.
CONFTEST = "# conftest.py\n"
#: Each of their Python blocks is an eval, or a conftest; other pages are followed by tests of their own.
PAPERS = ("README.md", "docs/writing-evals.md", "docs/asserting.md", "docs/reports.md")

needs_papers = pytest.mark.skipif(
    not (ROOT / "README.md").exists(), reason="a copy of the tests alone, beside the built wheel, has no papers"
)


def _blocks(language: str, paper: str = "README.md") -> list[str]:
    file = ROOT / paper
    text = file.read_text() if file.exists() else ""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def _run_eval(pytester: pytest.Pytester, *sources: str) -> None:
    """Run examples as evals, beside the scenario and the project that the examples speak of."""
    if sources[0].startswith(CONFTEST):
        examples = {"test_example0": "def test_hello(kiro):\n    kiro.run('Say hello.')"}
        pytester.makepyfile(conftest=sources[0], **examples)
    else:
        examples = {f"test_example{n}": source for n, source in enumerate(sources)}
        pytester.makepyfile(conftest=SHOP, **examples)
    scenarios = pytester.mkdir("scenarios")
    for name in (*examples, "conftest"):
        (scenarios / f"{name}.toml").write_text(SCENARIO)
    agents = pytester.path / "projects" / "shop" / ".kiro" / "agents"
    agents.mkdir(parents=True)
    (agents / "reviewer.json").write_text('{"name": "reviewer", "tools": ["read", "grep"]}')
    skill = pytester.path / "projects" / "shop" / ".kiro" / "skills" / "release-notes" / "SKILL.md"
    skill.parent.mkdir(parents=True)
    skill.write_text("---\nname: release-notes\ndescription: How notes are written.\n---\n")
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
@pytest.mark.parametrize("paper", PAPERS)
def test_the_evals_of_a_page_run(pytester: pytest.Pytester, paper: str) -> None:
    if evals := [block for block in _blocks("python", paper) if not block.startswith(CONFTEST)]:
        _run_eval(pytester, *evals)


@needs_papers
@pytest.mark.parametrize("block", [b for paper in PAPERS for b in _blocks("python", paper) if b.startswith(CONFTEST)])
def test_a_conftest_of_a_page_is_one(pytester: pytest.Pytester, block: str) -> None:
    _run_eval(pytester, block)


@needs_papers
def test_readme_names_the_commands_that_ci_runs() -> None:
    ci = (ROOT / ".ci/run").read_text()
    commands = [line[2:] for block in _blocks("console") for line in block.splitlines() if line.startswith("$ ")]
    for command in ("uv run pytest evals", "uv run pytest tests -n 4"):
        assert command in commands
        assert re.search(rf"(^|\s){re.escape(command)}$", ci, re.MULTILINE)


@needs_papers
def test_every_option_is_in_the_table() -> None:
    lines = ["| option | default | |", "|---|---|---|"]
    for row in settings.TABLE:
        assert row.shown_default, "a reader asks what happens when nothing is said"
        lines.append(f"| `{f'{row.option} {row.metavar}'.rstrip()}` | {row.shown_default} | {row.help} |")
        assert lines[-1].count("|") == 4, "a bar in a help text would break the table"
    assert "\n".join(["", *lines, ""]) in (ROOT / "docs/options.md").read_text()


@needs_papers
def test_each_mark_fixture_and_hook_is_explained_where_options_are() -> None:
    page = (ROOT / "docs/options.md").read_text().partition("## Marks")[2]
    surface = (HERE.parent / "house/data/surface.txt").read_text()
    marks = re.findall(r"^@pytest\.mark\.(\w+)\((.*?)\): ", surface, re.MULTILINE)
    names = [name for mark, words in marks for name in (mark, *re.findall(r"(\w+)(?:=[^,]*)?(?:, |$)", words))]
    names += re.findall(r"^(kiro\w*)(?: \[\w+ scope\])?: ", surface, re.MULTILINE)
    names += re.findall(r"^(pytest_kiro_\w+)\(", surface, re.MULTILINE)
    assert len(names) > 30
    said = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"`([^`]*)`", page)))) | {"n", "parameter"}
    assert [name for name in names if name not in said] == []


@needs_papers
def test_the_inherited_environment_is_named() -> None:
    page = " ".join((ROOT / "docs/sandboxes.md").read_text().split())
    assert ", ".join(f"`{name}`" for name in environment.INHERITED) in page


@needs_papers
def test_every_misbehaviour_is_described() -> None:
    """Those for users where scenarios are, those of our own tests where the stand-in's promises are."""
    program = "import json; from kiro_cli.misbehave import INTERNAL, KINDS; print(json.dumps([KINDS, INTERNAL]))"
    command = [sys.executable, "-c", program]
    ran = subprocess.run(command, cwd=STAND_IN.parent, capture_output=True, text=True, check=True)
    for_users = (ROOT / "docs/scenarios.md").read_text().partition("## Misbehaviour")[2]
    internal = (ROOT / "docs/fidelity.md").read_text().partition("## Misbehaviour of our own tests")[2]

    shown = [dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.MULTILINE)) for text in (for_users, internal)]
    assert shown == json.loads(ran.stdout)


@needs_papers
def test_the_arguments_of_tools_are_those_that_scenarios_are_checked_by() -> None:
    assert f"\n\n{documentation()}\n\n" in (ROOT / "docs/scenarios.md").read_text()


@needs_papers
def test_links_between_papers_lead_somewhere() -> None:
    for paper in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", paper.read_text()):
            assert (paper.parent / target).exists(), f"{paper.name} links to {target}"


@needs_papers
def test_each_option_variable_and_command_that_a_page_names_is_one() -> None:
    variables = {row.variable for row in settings.TABLE}
    options = {row.option for row in settings.TABLE}
    helped = subprocess.run([sys.executable, "-m", "pytest_kiro", "-h"], capture_output=True, text=True, check=True)
    commands = set(re.findall(r"^    (\w+)(?: |$)", helped.stdout, re.MULTILINE))
    for paper in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        text = paper.read_text()
        named = set(re.findall(r"--kiro-[a-z-]*[a-z]", text))
        assert named <= options, f"{paper.name} names {named - options}"
        named = set(re.findall(r"\bPYTEST_KIRO_[A-Z_]*[A-Z]", text))
        assert named <= variables, f"{paper.name} names {named - variables}"
        named = set(re.findall(r"-m pytest_kiro ([a-z]\w*)", text))
        assert named <= commands, f"{paper.name} names {named - commands}"


@needs_papers
def test_each_scenario_that_a_page_shows_can_be_read() -> None:
    seen = 0
    for paper in (ROOT / "docs").glob("*.md"):
        for block in _blocks("toml", f"docs/{paper.name}"):
            if ".turn]]" in block:
                shown = Scenario(paper, block.encode())
                assert all(shown.turns(name) for name in shown.names)
                seen += 1
    assert seen >= 5


@needs_papers
def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 250


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


def test_the_examples_that_are_evals_pass(pytester: pytest.Pytester) -> None:
    _run_eval(pytester, *EVALS.values())


@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - set(EVALS)))
def test_an_example_says_what_it_prints(name: str) -> None:
    assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(EXAMPLES[name]).failed == 0


@needs_papers
def test_troubleshooting_quotes_what_the_code_says() -> None:
    """The causes' table is the code's; each message stands in the code, wherever a line of it ends."""
    page = (ROOT / "docs/troubleshooting.md").read_text()
    package = Path(pytest_kiro.__file__).parent
    code = "\n".join(file.read_text() for file in package.rglob("*.py"))
    said = re.sub(r'"\s*\n\s*f?"', "", code)
    messages = re.findall(r"^\| `(.*?)` \|", page.partition("## The agent")[0], re.MULTILINE)
    assert len(messages) >= 10
    assert [message for message in messages if message not in said] == []
    rows = [
        f"| {cause} | the {'world' if cause.infrastructure else 'agent'} | {cause.advice or 'look at the transcript'} |"
        for cause in Cause
    ]
    assert "\n".join(rows) in page
