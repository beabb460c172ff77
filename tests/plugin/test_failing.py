"""What a failed test shows: what Kiro did, the command that failed, the diff, where in the user's lines."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from eval_runs import Evals, shell, turn, write

from pytest_kiro.report.failure import LookedAt, clarified, failed_line, failure_lines
from pytest_kiro.sandbox.protocol import ExecResult

DATA = Path(__file__).parent / "data"
PAGE = Path(__file__).parents[2] / "docs" / "asserting.md"
SOURCE = """
    def test_wrong_name(kiro):
        kiro.run("Write donut.py and run it.")
        assert kiro.workspace.exec("python3 donut.py").ok

    def test_two(kiro):
        first = kiro.conversation().run("Write a.py.")
        assert first.text == kiro.conversation().run("Write b.py.").text

    def test_not_ok(kiro):
        assert kiro.run("Work.", check=False).ok

    def test_missing(kiro):
        kiro.run("Write a.py.")
        path = kiro.workspace / "src" / "a.py"
        assert path.exists()

    def test_missing_file(kiro):
        assert (kiro.workspace / "src" / "a.py").is_file()
"""
TABLES = {
    "test_wrong_name": [
        turn(
            ["I'll write it.", write("doughnut.py", "print(1)\n"), shell("mkdir node_modules; touch node_modules/x")],
            [shell("cat recipe.txt")],
            ["doughnut.py is there."],
        )
    ],
    "test_two": [
        turn([write("a.py", "a = 1\n")], ["A."]),
        turn([write("b.py", "b = 1\n")], ["B."], conversation=2),
    ],
    "test_not_ok": [turn(misbehave="throttled")],
    "test_missing": [turn([write("lib/b.py", "b = 1\n"), write("lib/a.py", "a = 1\n")], ["A."])],
}
WHY = "python3: can't open file '{}/donut.py': [Errno 2] No such file or directory"
WRONG_NAME = f"""\
turn 1 completed in # s, 3 tool calls: Write donut.py and run it.
  write   doughnut.py
  shell   mkdir node_modules; touch node_modules/x  → exit 0
  shell   cat recipe.txt  → exit 1
    | cat: recipe.txt: No such file or directory
  changed: doughnut.py +1, and 1 by the way, as caches are
--- 'python3 donut.py' ended with exit code 2: {WHY.format("…")}
| {WHY.format("#")}
--- what the turn changed
--- /dev/null
+++ b/doughnut.py
@@ -0,0 +1 @@
+print(1)
--- what turn 1 printed
| I'll write it.
"""


def test_a_failed_test_says_what_kiro_did_and_why_it_is_red(evals: Evals, monkeypatch: pytest.MonkeyPatch) -> None:
    evals.write("test_it.py", SOURCE, TABLES)
    junit = evals.tmp / "junit.xml"
    monkeypatch.setenv("COLUMNS", "160")
    result = evals.run("--color=yes", "-p", "no:cacheprovider", "--kiro-retries=0", f"--junit-xml={junit}")
    result.assert_outcomes(failed=5)
    coloured = result.stdout.str()
    assert "\x1b[32m+print(1)\x1b[0m" in coloured
    assert "\x1b[1m--- what the turn changed\x1b[0m" in coloured
    assert "#x1B[32m+print" not in junit.read_text()
    text = re.sub(r"\x1b\[[\d;]*m", "", coloured)
    wrong, two, not_ok, _ = [section.partition("\n")[2] for section in text.split("- kiro turns -")[1:]]
    wrong = re.sub(r"in \d+\.\d s", "in # s", re.sub(r"'/[^']*/donut", "'#/donut", wrong))
    assert wrong.startswith(WRONG_NAME)
    assert re.findall(r"^(conversation \d, turn 1|--- what .*)", two, re.M) == [
        *("conversation 1, turn 1", "--- what the turn changed in conversation 1"),
        *("--- what conversation 1, turn 1 printed", "conversation 2, turn 1"),
        *("--- what the turn changed in conversation 2", "--- what conversation 2, turn 1 printed"),
    ]
    assert not_ok.startswith("turn 1 failed (throttled: infrastructure)")
    # The line that is seen first says more than `assert False`.
    result.stdout.fnmatch_lines(
        [
            "*FAILED*test_wrong_name*AssertionError: 'python3 donut.py' ended with exit code 2: python3: can't open*",
            "*FAILED*test_not_ok*AssertionError: turn 1 failed (throttled: infrastructure)*",
            "*FAILED*test_missing*AssertionError: src/a.py does not exist; the turn changed lib/a.py, lib/b.py",
            "*FAILED*test_missing_file*AssertionError: src/a.py is no file; no turn was run",
        ]
    )


@pytest.mark.parametrize(("columns", "colour"), [(80, "no"), (120, "yes")])
def test_what_a_terminal_shows_is_as_it_is_kept(
    evals: Evals, monkeypatch: pytest.MonkeyPatch, columns: int, colour: str
) -> None:
    """Between the lines of pytest, and without what varies: seconds and folders."""
    evals.write("test_it.py", SOURCE, TABLES)
    monkeypatch.setenv("COLUMNS", str(columns))
    text = evals.run("-k", "wrong_name or missing", f"--color={colour}", "-p", "no:cacheprovider").stdout.str()
    parts = re.findall(r"^-+ (kiro turns|kiro artifacts|kiro) -+\n(.*?)(?=^\S*[-_=]{6,})", text, re.M | re.S)
    assert len(parts) == 6
    told = "".join(f"{title}:\n{lines}" for title, lines in parts)
    told = re.sub(r"in \d+\.\d s", "in # s", re.sub(r"'/[^']*/donut", "'#/donut", told))
    told = re.sub(r"kiro-results/\S+", lambda match: re.sub(r"\d{8}-\d+-\w+|--\w{8}$", "#", match[0]), told)
    assert told.replace("\x1b", "ESC") == (DATA / f"failure-{columns}.txt").read_text(encoding="utf-8")


@pytest.mark.skipif(not PAGE.exists(), reason="the wheel is tested without it")
def test_the_page_shows_it() -> None:
    page = re.sub(r"in \d+\.\d s", "in # s", PAGE.read_text()).replace("'/tmp/…/donut", "'#/donut")
    assert WRONG_NAME in page


HOOKS = """
    import os, pytest

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(fixturedef):  # as pytest-asyncio has one
        return (yield)

    def pytest_kiro_sandbox_ready(sandbox):
        sandbox.exec(os.environ.get("AT_FIRST", "true")).check()
"""


def test_errors_end_in_the_users_line(evals: Evals, monkeypatch: pytest.MonkeyPatch) -> None:
    source = """
        import pytest

        def test_throttled(kiro):
            kiro.run("Work.")

        def test_typo(kiro):
            kiro.run("Work.")

        @pytest.fixture
        def shop(kiro):
            return kiro.run("Build.")

        def test_shop(shop): pass

        def test_not_there(kiro):
            (kiro.workspace / "nothing.txt").read_text()

        def test_no_folder(kiro):
            list((kiro.workspace / "nothing").iterdir())
    """
    evals.write("test_it.py", source, {kind: [turn(misbehave=kind[5:])] for kind in ("test_throttled", "test_typo")})
    evals.write("test_b.py", "def test_no_cli(kiro): pass")
    evals.write("conftest.py", HOOKS)
    text = evals.run("--kiro-retries=0", "test_it.py").stdout.str()
    assert "unknown kind 'typo'" in text
    assert "pytest_kiro/" not in text
    assert text.count("E       FileNotFoundError: ") == 2
    assert "functools" not in text
    native = evals.run("--kiro-retries=0", "--tb=native", "test_it.py::test_throttled").stdout.str()
    frames = re.findall(r'^  File "(.*)", line', native, re.M)
    assert frames[-1] == str(evals.path / "test_it.py")
    missing = evals.run("--kiro-cli=/nowhere/kiro-cli", "test_b.py")
    _, *lines = missing.stdout.str().partition("ERROR at setup of")[2].splitlines()
    first = next(line for line in lines if line.strip())
    assert first.startswith("E "), "no frame, no source line"
    assert "InstallError: " in first
    monkeypatch.setenv("AT_FIRST", "exit 3")
    unready = evals.run("test_b.py").stdout.str()
    assert "pytest_kiro/" not in unready
    assert unready.index(">       sandbox.exec(") < unready.index("E       pytest_kiro.CommandFailed: ")
    monkeypatch.delenv("AT_FIRST")

    debugger = evals.start("--kiro-retries=0", "--pdb", "test_it.py::test_throttled")
    debugger.expect_exact('-> kiro.run("Work.")')
    debugger.expect_exact("(Pdb)")
    debugger.sendline("q")
    evals.ends(debugger)


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["one-process", "workers"])
def test_an_error_of_the_sessions_set_up_is_told_whole_once(evals: Evals, workers: list[str]) -> None:
    """JUnit and results have it for each test; what a user's own fixture raises is pytest's to show."""
    source = """
        import pytest
        from pytest_kiro import SetupError

        @pytest.fixture(scope="session")
        def own():
            raise SetupError("mine is broken", output="why " * 40)

        @pytest.mark.parametrize("n", [1, 2, 3])
        def test_one(kiro, n): pass

        def test_own(own): pass
        def test_own_as_well(own): pass
    """
    evals.write("test_it.py", source)
    junit, results = evals.tmp / "junit.xml", evals.tmp / "results.json"
    cli = "--kiro-cli=/nowhere/kiro-cli"
    text = evals.run(cli, f"--junit-xml={junit}", f"--kiro-results={results}", *workers).stdout.str()
    whole = "E             | /bin/sh: 1: /nowhere/kiro-cli: not found\n"
    parts = re.split(r"^_+ (ERROR at setup of .*?) _+$", text, flags=re.M)
    shown = dict(zip(parts[1::2], parts[2::2], strict=True))
    first, *others = (title for title in shown if "test_one" in title)
    assert whole in shown[first]
    assert len(others) == 2
    for title in others:
        told = [line for line in shown[title].splitlines() if line.startswith("E ")]
        assert told[0].startswith("E           pytest_kiro.InstallError: /nowhere/kiro-cli --version")
        assert told[1:] == [f"E           (told whole above: {first})"]
        assert max(map(len, told)) < 80
    assert text.count("mine is broken") == 4 + 2, "twice each, and once in the list at the end"
    errors = [error.text or "" for error in ElementTree.parse(junit).iter("error")]
    assert sum(whole in error for error in errors) == 3
    assert not any("told whole" in error for error in errors)
    messages = [phase["message"] for test in json.loads(results.read_text())["tests"] for phase in test["phases"]]
    assert sum("  | /bin/sh: 1: /nowhere/kiro-cli: not found" in message for message in messages) == 3


RESULT = ExecResult(
    "make test", 2, "one\nTraceback (most recent call last):\nValueError: no\nmake: *** [test] Error 1\n", 0.1
)


def test_the_line_that_says_why() -> None:
    assert failed_line(RESULT) == "'make test' ended with exit code 2: ValueError: no"
    assert failed_line(ExecResult("false", 1, "", 0.1)) == "'false' ended with exit code 1 and printed nothing"
    assert failed_line(ExecResult("x", 1, "a\n\x1b[31mb\n", 0.1)) == "'x' ended with exit code 1: b"


@pytest.mark.parametrize(
    "message",
    [
        "assert 1 == 2",
        f"mine\nassert False\n +  where False = {RESULT!r}.ok",
        "assert False\n +  where False = <Path>.ok",
        "assert False",
    ],
)
def test_other_messages_stay(message: str) -> None:
    assert clarified(message, [RESULT], []) == message


def diff(path: str, lines: int) -> str:
    return f"--- /dev/null\n+++ b/{path}\n@@ -0,0 +{lines} @@\n" + "".join(f"+{n}\n" for n in range(lines))


def test_files_that_the_failure_names_come_first() -> None:
    diffs = {f"{name}.py": diff(f"{name}.py", 50) for name in "abcd"}
    text = failure_lines([LookedAt("", [], diffs)], "assert slug('c.py')", full=False)
    shown = re.findall(r"^\+\+\+ b/(.*)$", text, re.M)
    assert shown == ["c.py", "a.py"]
    assert "(23 more lines of c.py; -vv shows all)" in text
    assert "(not shown: b.py, d.py; -vv shows all)" in text
    assert failure_lines([LookedAt("", [], diffs)], "", full=True).count("+++ b/") == 4
