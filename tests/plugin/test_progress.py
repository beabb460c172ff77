"""What takes long is said while it does, in plain lines."""

from __future__ import annotations

import re

import pytest
from eval_runs import Evals

SOURCE = """
    def test_first(): pass
    def test_it(kiro, capfd): kiro.run('Hello.')
    def test_again(kiro): kiro.run('Hello.')
"""
ANSWERS = {"test_it": ["Hi."], "test_again": ["Hi."]}
CREATING = "kiro: creating sandbox one two"
#: As a provider does, from another thread than pytest's.
LOGS = """
    import logging, threading

    def pytest_kiro_sandbox_ready(sandbox, settings):
        for words in (("%s", "building " + 200 * "x"), ("creating sandbox %s\\n%s", "one", "two")):
            thread = threading.Thread(target=logging.getLogger("pytest_kiro.sandbox.toy").info, args=words)
            thread.start()
            thread.join()
        print("mine")
"""


def write(evals: Evals, conftest: str = LOGS) -> None:
    evals.write("test_it.py", SOURCE, ANSWERS)
    evals.write("conftest.py", conftest)


@pytest.mark.parametrize("how", [(), ("-v",), ("-q",), ("--capture=sys",), ("-s",)], ids=" ".join)
def test_on_a_terminal_it_is_plain_lines_and_the_dots_go_on(evals: Evals, how: tuple[str, ...]) -> None:
    write(evals)
    _, raw = evals.ends(evals.start(*how, "--kiro-stream=off"))
    lines = [re.sub(r"\x1b\[[\d;]*m", "", line).rstrip() for line in raw.split("\r\n")]
    assert lines.count(CREATING) == 1, lines
    assert re.findall(r"\x1b\[\d*[A-LN-Za-ln-z]", raw) == [], "no cursor is moved"
    assert ("mine" in lines) == (how == ("-s",)), "what others print is captured as ever"
    dots = {"-v": r"test_it.py::test_it PASSED +\[ 66%\]", "-q": r"\.\. +\[100%\]", "-s": r"test_it.py \.\."}
    wanted = dots.get("".join(how), r"test_it.py \.\. +\[100%\]")
    assert len([line for line in lines if re.fullmatch(wanted, line)]) == 1, lines


@pytest.mark.parametrize("how", [(), ("-v",), ("-q",), ("-s",), ("--capture=tee-sys",)], ids=" ".join)
def test_elsewhere_it_is_plain_lines(evals: Evals, how: tuple[str, ...]) -> None:
    write(evals)
    result = evals.run(*how, "-p", "no:cacheprovider", "--kiro-stream=off")
    assert result.ret == 0
    text = result.stdout.str()
    assert len([line for line in result.outlines if re.fullmatch(CREATING, line)]) == 1, text
    assert "\x1b" not in text
    if not how:
        dots = [line for line in result.outlines if line.startswith("test_it.py")]
        assert [line.split()[1] for line in dots] == [".", ".."], "the file is named once more"


def test_under_xdist_each_line_names_its_worker_on_stderr(evals: Evals) -> None:
    write(evals)
    result = evals.process("-n2")
    result.assert_outcomes(passed=3)
    assert sum(line in (f"[gw0] {CREATING}", f"[gw1] {CREATING}") for line in result.errlines) == 2
    assert "creating" not in result.stdout.str()


def test_before_setup_show_says_what_was_set_up(evals: Evals) -> None:
    write(evals)
    lines = evals.run("--setup-show", "-p", "no:cacheprovider").outlines
    said = [line.partition(" (")[0] for line in lines]
    assert said.index(CREATING) < said.index("SETUP    S kiro_sandbox")
    assert lines.count("SETUP    S kiro (fixtures used: kiro_trial)") == 1


def test_of_what_takes_no_time_nothing_is_said(evals: Evals) -> None:
    write(evals, "")
    for result in (evals.run("-p", "no:cacheprovider"), evals.process("-n1")):
        result.assert_outcomes(passed=3)
        said = [line for line in result.outlines + result.errlines if line.startswith(("kiro: ", "[gw0]"))]
        usual = ("kiro: sandbox local", "kiro: 2 turns, 2 completed")
        assert [line for line in said if not line.startswith(usual)] == []


def test_without_a_terminal_reporter_nothing_is_said(evals: Evals) -> None:
    write(evals)
    result = evals.process("-p", "no:terminal")
    assert result.ret == 0
    assert "creating" not in result.stdout.str() + result.stderr.str()


def test_what_is_shown_so_is_in_no_test_s_log_unless_it_was_asked_for(evals: Evals) -> None:
    warn = f"{LOGS}        logging.getLogger('pytest_kiro.x').warning('hear, hear')\n"
    write(evals, warn)
    evals.write("test_it.py", "def test_it(kiro): assert 0")
    text = evals.run("-p", "no:cacheprovider").stdout.str()
    shown, _, logged = text.partition("Captured log setup")
    assert CREATING in shown
    assert "kiro: hear, hear" in shown
    assert "hear, hear" in logged
    assert "creating" not in logged
    logged = evals.run("-p", "no:cacheprovider", "--log-level=INFO").stdout.str().partition("Captured log setup")[2]
    assert "creating sandbox one" in logged
