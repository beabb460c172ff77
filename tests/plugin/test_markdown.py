"""A run as Markdown: failures first, in code that nothing can end, within a size."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from eval_runs import Evals, turn, write
from markdown_it import MarkdownIt

from pytest_kiro.records.reading import read_results
from pytest_kiro.records.run import RunRecord
from pytest_kiro.records.tests import CollectionError
from pytest_kiro.report.escaping import block, code, link
from pytest_kiro.report.markdown import markdown

SOURCE = """
    import pytest
    def test_passes(kiro): assert kiro.run("Hello.").ok

    @pytest.mark.kiro_trials(4, pass_rate=0.75)
    def test_rate(kiro):
        assert kiro.run("Answer yes.").text == "yes"

    @pytest.mark.parametrize("name", ["a|b`c"])
    def test_file(kiro, name):
        kiro.run("Write a.py.")
        assert kiro.workspace.exec("python3 a.py; exit 3").ok

    @pytest.fixture
    def broken():
        raise RuntimeError("<b>broke</b>")

    def test_set_up(broken, kiro): pass
"""
HOSTILE = "</details><script>alert(1)</script>\n````\n# Title\n::error::x\n##[error]y\n![i](http://h/i.png) @team #1"
ANSWERS = {
    "test_rate": ["yes", turn(["no"], trial=2), turn(["no"], trial=3), turn(["yes"], trial=4, misbehave="throttled")],
    "test_file[a|b`c]": [turn([write("a.py", "print(1)\n```\n")], [HOSTILE])],
    "test_passes": ["Hi."],
}
WANTED = """\
# ✗ Evals of Kiro: failed

4 evals: 2 failed, 1 error, 1 passed · 6 turns · N s

Every turn was answered by a script; nothing here was said by a model. `sandbox local, kiro-cli 2.29.0, auto`

## What to look at

### ✗ `test_it.py::test_rate`

```
test_it.py::test_rate  ✓✗✗·  1/3  33 % [6, 79]  1 lost (throttled)  could be 25 to 50 % with it  needs 75 %: failed
  2 of 2 failures alike: AssertionError: assert 'no' == 'yes'
  its loss: kiro-cli said: request was throttled by the service
```

`test_it.py::test_rate[trial2]`, failed, at `test_it.py:6`:

```
assert kiro.run("Answer yes.").text == "yes"
AssertionError: assert 'no' == 'yes'

  - yes
  + no
```

<details><summary>What the turns did</summary>

```diff
turn 1 completed in N s: Answer yes.
  changed: nothing
--- what turn 1 printed
| no
```

</details>

Artifacts: [`kiro-results/…/test_it.py-test_rate-trial2--91dd20de`]

`test_it.py::test_rate[trial4]`, failed, at `test_it.py:6`, by the world's fault: nothing was learnt about the agent:

```
assert kiro.run("Answer yes.").text == "yes"
"""
ROWS = """\
| ✗ failed | `test_it.py::test_rate` ✓✗✗· | 1/3 | 33 % [6, 79] | 1 `throttled` | N s |  |
| ✗ failed | ``test_it.py::test_file[a\\|b`c]`` |  |  |  | N s |  |
| ✗ error | `test_it.py::test_set_up` |  |  |  | N s |  |
| ✓ passed | `test_it.py::test_passes` |  |  |  | N s |  |
"""


class Page(HTMLParser):
    """What a page has, beside text: its tags, and their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.attributes = set[str](), set[tuple[str, str | None]]()
        self.feed(MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(text))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= set(attrs)


def plain(text: str) -> str:
    text = re.sub(r"\b\d+\.\d+ s", "N s", text)
    text = re.sub(r"(Artifacts: \[`kiro-results/)[^`]*(test_it.py-test_[^`]*)`\]\(<.*>\)", r"\1…/\2`]", text)
    return re.sub(r" +$", "", text, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def kept() -> dict[str, RunRecord]:
    return {}


@pytest.fixture
def run(evals: Evals, kept: dict[str, RunRecord]) -> RunRecord:
    """One run for all tests of this file."""
    if not kept:
        evals.write("test_it.py", SOURCE, ANSWERS)
        options = ("--kiro-retries=0", "--kiro-min-valid=0.5", "--kiro-all-trials", "--kiro-timeout=90s")
        evals.run("--kiro-results=r.json", *options, "-p", "no:cacheprovider")
        kept["run"] = read_results(evals.path / "r.json")
    return kept["run"]


def test_failures_come_first_with_what_kiro_did_and_how_to_repeat_them(run: RunRecord) -> None:
    text = plain(markdown(run))
    assert text[: len(WANTED)] == WANTED
    assert text[-len(ROWS) :] == ROWS
    assert "'python3 a.py; exit 3' ended with exit code 3: SyntaxError: invalid syntax" in text
    assert "\n+print(1)\n" in text
    options = "--kiro-timeout=90 --kiro-retries=0 --kiro-all-trials --kiro-min-valid=0.5"
    assert f"Repeat it: ``pytest 'test_it.py::test_file[a|b`c]' {options}``" in text
    assert "failed in its setup, at `test_it.py:15`:" in text


def test_nothing_that_an_agent_wrote_is_markdown_or_html_or_a_command(run: RunRecord) -> None:
    text = markdown(run)
    assert "alert(1)" in text
    page = Page(text)
    assert page.tags <= {
        *["h1", "h2", "h3", "p", "pre", "a", "code", "details", "summary", "table", "thead", "tbody", "tr", "th", "td"]
    }
    assert "a" not in Page(markdown(run, links=False)).tags
    places = {value for name, value in page.attributes if name == "href"}
    assert {str(place).partition("/")[0] for place in places} == {"kiro-results"}
    assert {name for name, _ in page.attributes} == {"class", "href"}
    assert not re.search(r"^\s*::|##\[", text, re.MULTILINE)
    for hostile in (HOSTILE, "`", "``a`", "\x1b[31m\u202ex", "|", ""):
        assert Page(f"{code(hostile)}\n\n{block(hostile)}").tags <= {"p", "code", "pre"}
        assert Page(f"|a|b|\n|-|-|\n|{code(hostile, cell=True)}|x|\n").tags <= {
            *["table", "thead", "tbody", "tr", "th", "td", "code"]
        }
    assert Page(link("a b/c(1)")).attributes == {("href", "a%20b/c(1)")}
    assert Page(link("a>b")).tags == {"p", "code"}


def test_it_keeps_to_a_size_and_says_what_is_left_out(run: RunRecord) -> None:
    many = replace(
        run, tests=tuple(replace(one, nodeid=f"{one.nodeid}é{n}", trial=None) for n in range(300) for one in run.tests)
    )
    for most in (4_000, 60_000, 262_144):
        text = markdown(many, most=most)
        assert most * 0.5 < len(text.encode()) <= most
        assert text.startswith("# ✗ Evals of Kiro: failed\n\n2100 evals: ")
        assert "\n| ✗ failed | `test_it.py::" in text
        assert most > 200_000 or re.search(r"\n\(\d+ more parts are not shown: this text is cut\.\)\n\Z", text)


def test_what_is_new_against_the_baseline(run: RunRecord) -> None:
    passed = [replace(one, outcome="passed", phases=()) for one in run.tests if "test_file" in one.nodeid]
    before = replace(
        run, tests=(*passed, *(one for one in run.tests if "passes" not in one.nodeid and one not in passed))
    )
    before = replace(before, tests=tuple({one.nodeid: one for one in reversed(before.tests)}.values()))
    text = markdown(run, before=before)
    assert "- New failures: ``test_it.py::test_file[a|b`c]``\n" in text
    assert "- Still failing: `test_it.py::test_rate`\n" in text
    assert "- New evals: `test_it.py::test_passes`\n" in text
    assert "- Fixed: ``test_it.py::test_file[a|b`c]``\n" in markdown(before, before=run)


def test_what_was_not_collected_and_what_is_not_complete_is_said(run: RunRecord) -> None:
    facts = replace(
        run.run, exit_status=2, complete=False, collection_errors=(CollectionError(nodeid="x.py", message="no\n`"),)
    )
    text = markdown(replace(run, run=facts, tests=(), groups=()))
    assert text.startswith("# · Evals of Kiro: interrupted\n\n0 evals")
    assert "\n### ✗ `x.py`\n\n````\nno\n`\n````\n" in text or "\n### ✗ `x.py`\n\n```\nno\n`\n```\n" in text
    assert "**This run is not complete:**" in text
