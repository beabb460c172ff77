"""`--kiro-selfcheck`: evals run again on altered recordings, with fixtures set up anew, and say what they noticed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from eval_runs import Evals, turn, write

from pytest_kiro.plugin import selfcheck
from pytest_kiro.recording.mutants import Mutant

EVALS = """
    import pytest
    from note import note
    from pytest_kiro import LoginError

    @pytest.fixture(scope="session")
    def machine():
        note("machine up")
        yield
        note("machine down")

    @pytest.fixture(scope="module")
    def shop(kiro):
        turn = kiro.run("Build it.")
        note("shop up")
        yield turn
        note("shop down")

    @pytest.fixture
    def own(tmp_path):
        note("own up")
        yield
        note("own down")

    def test_text(shop, own, machine):
        assert shop.text == "Built."

    def test_file(shop):
        assert (shop.workspace / "a").read_text() == "12"

    @pytest.mark.kiro_selfcheck(allow=["other-answer", "halved *"], reason="anything will do")
    def test_weak(kiro):
        kiro.run("Say hello.")

    def test_red(kiro):
        kiro.run("Do it.")
        assert False

    def test_idle(kiro):
        pass

    @pytest.mark.kiro_trials(2, pass_rate=0.5)
    def test_trial(kiro):
        turn = kiro.run("Try.")
        if not turn.text:
            raise LoginError("nobody is logged in")
        assert turn.text == "2"
"""
BUILT = turn([write("a", "12")], ["Built."])
TABLES = {
    "fixture:shop": [BUILT],
    "test_weak": ["Hello."],
    "test_red": ["Done."],
    "test_trial": ["1", turn(["2"], trial=2)],
}


def test_evals_run_again_on_what_worse_agents_would_have_done(evals: Evals) -> None:
    evals.note()
    evals.write("test_it.py", EVALS, TABLES)
    result = evals.run("--kiro-selfcheck")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes() == {"passed": 5, "failed": 2, "trials": 1}
    result.stdout.fnmatch_lines(
        [
            "kiro: self-check: 17 altered recordings of 4 evals",
            "*- kiro: self-check -*",
            "test_it.py::test_text",
            "  killed at test_it.py:25: assert shop.text == \"Built.\"",
            "    nothing, other-answer",
            "  noticed by test_it.py::test_file",
            "    only-says, missing a, emptied a, halved a",
            "  SURVIVED: no-call write 'a'",
            "    idea: assert turn.used(\"write\")",
            "  not applicable: as-before, touched, exit-code, last-turn",
            "test_it.py::test_file",
            "  killed at test_it.py:28: assert (shop.workspace / \"a\").read_text() == \"12\"",
            "    nothing, only-says, missing a, emptied a, halved a",
            "  noticed by test_it.py::test_text",
            "    other-answer",
            "test_it.py::test_weak",
            "  allowed: anything will do",
            "    other-answer",
            "  SURVIVED: nothing",
            "    idea: assert turn.text",
            "  mark.kiro_selfcheck allows what is not there: halved *",
            "test_it.py::test_trial",
            "  killed at test_it.py:*: assert turn.text == \"2\"",
            "    other-answer",
            "  undecided: nothing: nobody is logged in",
            "test_it.py::test_red: not checked: it does not pass on what is not altered",
            "test_it.py::test_idle: not checked: it runs no turn",
            "an agent that does nothing passes: test_it.py::test_weak",
            "FAILED test_it.py::test_weak - it passes with an agent that does nothing *",
        ]
    )  # fmt: skip
    assert not (evals.path / "recordings").exists()
    assert not list(evals.tmp.glob("kiro-selfcheck-*"))

    story = Counter(evals.story)
    assert evals.story[:4] == ["machine up", "shop up", "own up", "own down"]
    assert (story["machine up"], story["machine down"]) == (2, 2), "of the session's, once more for all"
    assert (story["own up"], story["own down"]) == (8, 8), "of the test's, for each"
    assert story["shop up"] == story["shop down"]
    assert story["shop up"] > 8, "of the module's, for each, since it ran turns"


def test_evals_of_several_modules_follow_each_other_where_what_is_shared_was_noticed(evals: Evals) -> None:
    """The last altered recordings of a module need not run, so that another one's eval follows."""
    shop = "import pytest\n@pytest.fixture(scope='module')\ndef shop(kiro): return kiro.run('Build it.')\n"
    one = "def test_one(shop): assert (shop.workspace / 'a').read_text() == '12' and shop.used('write')\n"
    two = "def test_two(shop): assert shop.text == 'Built.'\n"
    evals.write("test_a.py", shop + one + two, {"fixture:shop": [BUILT]})
    evals.write("test_b.py", "def test_b(kiro): assert kiro.run('Say hello.').text == 'Hello.'", {"test_b": ["Hello."]})
    result = evals.run("--kiro-selfcheck", "-p", "no:randomly")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["3 evals: 16 of 16 altered recordings noticed"])


def test_recordings_are_altered_where_there_are_any_and_stay_as_they_are(evals: Evals) -> None:
    source = "def test_it(kiro):\n    assert kiro.run('Write a.').files_written == {'a'}\n"
    evals.passes(source, {"test_it": [BUILT]}, "--kiro-record=all")
    (evals.path / "scenarios/test_it.toml").unlink()
    before = {path: path.read_bytes() for path in (evals.path / "recordings").rglob("*") if path.is_file()}

    result = evals.run("--kiro-selfcheck", "-v")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["  killed at test_it.py:2: *", "    nothing", "    only-says", "1 eval: 3 of 6 *"])
    assert {path: path.read_bytes() for path in (evals.path / "recordings").rglob("*") if path.is_file()} == before


def test_several_processes_are_refused(evals: Evals) -> None:
    pytest.importorskip("xdist")
    evals.write("test_it.py", "def test_it(kiro): pass")
    result = evals.run("--kiro-selfcheck", "-n1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --kiro-selfcheck runs evals in one process; leave -n out, or say -n 0"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("'nothing'", " takes keywords only; known: allow, reason"),
        ("allowed=['nothing']", " has no keyword 'allowed', did you mean allow?; known: allow, reason"),
        ("reason='x'", ": allow=None is not right; *"),
        ("allow='nothing', reason='x'", ": allow='nothing' is not right; *"),
        ("allow=['nothing']", ": reason=None is not right; wanted: a sentence *"),
        ("allow=['nothing'], reason=' '", ": reason=' ' is not right; *"),
        ("allow=['halfed x'], reason='x'", ": there is no 'halfed', did you mean halved?; known: nothing, *"),
    ],
)
def test_a_wrong_mark_is_refused(evals: Evals, words: str, says: str) -> None:
    evals.write("test_it.py", f"import pytest\n@pytest.mark.kiro_selfcheck({words})\ndef test_it(kiro): pass\n")
    result = evals.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: test_it.py::test_it: mark.kiro_selfcheck{says}".replace("[", "[[]")])


def test_what_no_code_of_the_users_has_come_to_is_undecided(tmp_path: Path) -> None:
    """Or a broken run would look like evals that notice all."""
    with pytest.raises(json.JSONDecodeError) as error:
        json.loads("{")
    for root, outcome in ((tmp_path, "undecided"), (Path(__file__).parent, "killed")):
        item = SimpleNamespace(path=root / "test_it.py", config=SimpleNamespace(rootpath=root))
        checked = selfcheck._death(selfcheck.Job(cast(Any, item), Mutant("nothing", {}, "")), error)
        assert checked.outcome == outcome
