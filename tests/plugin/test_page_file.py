"""`--kiro-report` and `python -m pytest_kiro report`: the page of a run that was run."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections import defaultdict
from typing import Any

from eval_runs import Evals, shell, turn, write

SECRET = "hunter2-hunter2-hunter2"
STORY = """
    import pytest

    def test_donut(kiro):
        kiro.run("Write donut.js")
        assert kiro.workspace.exec("cat donut.js; cat donut.py").ok

    @pytest.mark.kiro_trials(3, pass_rate=0.5)
    def test_rate(kiro, kiro_trial):
        turn = kiro.run("Say one.")
        assert kiro_trial != 2, "the second <b>never</b> passes"

    @pytest.fixture(scope="module")
    def shop(kiro):
        return kiro.run("Build a shop.")

    def test_shop(shop):
        assert "shop.py" in shop.changes.added

    def test_till(shop):
        assert "till.py" in shop.changes.added
"""
TABLES = {
    "test_donut": [
        turn(["I write it.", write("donut.js", f"let word = '{SECRET}'\n")], [shell("echo done")], ["Done."])
    ],
    "test_rate": ["one"],
    "fixture:shop": [turn([write("shop.py", "PRICE = 3\n")], ["A shop."])],
}


def packed(page: str) -> dict[str, dict[str, Any]]:
    """What a page holds beside its plain HTML, by the ids of trials."""
    found: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for text in re.findall(r'data-packed="[^"]*">([^<]*)<', page):
        for id, value in json.loads(gzip.decompress(base64.b64decode(text))).items():
            found[id] |= value
    return found


def test_a_run_and_what_is_left_of_it(evals: Evals) -> None:
    evals.write("conftest.py", 'def pytest_kiro_secrets(config):\n    return ["' + SECRET + '"]\n')
    evals.write("test_it.py", STORY, TABLES)
    result = evals.process("-n2", "--kiro-report=out/report.html", "--kiro-results=results.json")
    result.stdout.fnmatch_lines(["kiro: report */out/report.html (0.* MB)"])
    page = (evals.path / "out" / "report.html").read_text(encoding="utf-8")
    for words in (
        "2 failed, 2 passed of 4 evals",
        "test_donut",
        "cat donut.py",
        "+let word =",
        "No such file or directory",
        "A shop.",
        "the second &lt;b&gt;never&lt;/b&gt; passes",
        "scripted",
        "Traceback",
        "kiro-results/",
    ):
        assert words in page, words
    raw = packed(page)
    terminals = [cast for one in raw.values() for cast in one["casts"].values()]
    assert len(terminals) == 6, "of each test, passed or not, and of the fixture where one looked at it"
    assert all(events for cast in terminals if (events := cast["events"]))
    assert "I write it." in "".join(data for cast in terminals for _, _, data in cast["events"])
    assert SECRET not in page + json.dumps(raw)
    beside = (evals.path / "out" / "report.md").read_text(encoding="utf-8")
    assert beside.startswith("# ✗ Evals of Kiro: failed")
    assert SECRET not in beside
    made(evals, "results.json", ["2 failed, 2 passed of 4 evals", "cat donut.py", "+let word ="], casts=6)
    made(evals, "kiro-results", ["test_donut", "cat donut.py", "+let word =", "A shop."], casts=5)


def made(evals: Evals, source: str, wanted: list[str], *, casts: int) -> None:
    """The page is made again of what lies there."""
    done = evals.detached("pytest_kiro", "report", source, "-o", "again.html")
    assert done.returncode == 0, done.stderr
    page = (evals.path / "again.html").read_text(encoding="utf-8")
    for words in wanted:
        assert words in page, f"{words} in the page of {source}"
    assert sum(len(one["casts"]) for one in packed(page).values()) == casts


def test_what_cannot_be_written_is_told_before_anything_is_run(evals: Evals) -> None:
    evals.write("test_it.py", "def test_it(kiro): kiro.run('Say one.')", {"test_it": ["one"]})
    (evals.path / "mine.html").write_text("<h1>mine</h1>")
    (evals.path / "notes.md").write_text("# Notes of mine")
    for name, words in {
        "mine.html": "*mine.html is there already, and is no report of pytest-kiro*",
        "notes.html": "*the file beside --kiro-report=*notes.md is there already, and is no report of pytest-kiro*",
        "notes.md": "*is HTML, and Markdown is written beside it*",
        ".": "*is no regular file*",
    }.items():
        result = evals.run(f"--kiro-report={name}")
        result.stderr.fnmatch_lines([words])
        assert result.ret == 4
    (evals.path / "test_plain.py").write_text("def test_it(): pass")
    assert evals.run("--kiro-report=mine.html", "test_plain.py").ret == 4, "where there is no eval, too"
    assert (evals.path / "mine.html").read_text() == "<h1>mine</h1>"
    evals.write("jinja2.py", "raise ImportError('as where the extra is not installed')")
    result = evals.process("--kiro-report=new.html")
    result.stderr.fnmatch_lines(["*a report needs Jinja, which is not installed; pip install 'pytest-kiro[[]report]'"])
    assert not (evals.path / "new.html").exists()
