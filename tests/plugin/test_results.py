"""`--kiro-results`: one JSON file that keeps to its schema, whatever becomes of the run."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from eval_runs import Evals, program, shell, stand_in, turn, write
from metered import metered

from pytest_kiro.records import tests as test_records
from pytest_kiro.records.plain import clean
from pytest_kiro.records.run import SCHEMA, ResultsFile, RunEnd, RunRecord
from pytest_kiro.records.tests import Gathered
from pytest_kiro.records.turns import OwnerRecord, TurnRecord
from pytest_kiro.secrecy.redaction import Secrets
from pytest_kiro.settings.table import read

SCHEME = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()), format_checker=jsonschema.FormatChecker())
OPTION = "--kiro-results=results.json"


def results(evals: Evals, name: str = "results.json") -> dict[str, Any]:
    """Read the file, which keeps to the schema; nothing else was left beside it."""
    file = evals.path / name
    told: dict[str, Any] = json.loads(file.read_bytes().decode("utf-8"))
    SCHEME.validate(told)
    assert [path.name for path in file.parent.iterdir() if "part" in path.name] == []
    assert told["totals"]["tests"]["count"] == len(told["tests"])
    every = [*(turn for test in told["tests"] for turn in test["turns"])]
    every += [turn for fixture in told["fixtures"] for turn in fixture["turns"]]
    assert told["totals"]["turns"]["count"] == len(every)
    return told


def outcomes(told: dict[str, Any]) -> dict[str, str]:
    return {test["nodeid"].partition("::")[2]: test["outcome"] for test in told["tests"]}


#: What stands in a file of an earlier run.
OLD = '{"format": "pytest-kiro-results", "of": "an earlier run"}'


def one(told: dict[str, Any], name: str) -> dict[str, Any]:
    (test,) = [test for test in told["tests"] if test["nodeid"].endswith(f"::{name}")]
    return test


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEME.schema)


# -- what is in it

STORY = """
    import pytest

    @pytest.fixture(scope="module", params=["a", "b"])
    def shop(kiro, request):
        return kiro.run("Build it.")

    @pytest.fixture
    def broken(kiro):
        kiro.run("Set up.")
        assert 0, "of the set-up"

    @pytest.fixture
    def late():
        yield
        assert 0, "of the teardown"

    def test_passes(kiro, shop):
        kiro.run("One.")
        kiro.run("Two.")
        kiro.conversation().run("Another.")

    def test_also(shop):
        pass

    def test_fails(kiro):
        turn = kiro.run("Hello.")
        assert turn.text == "Bye."

    def test_sets_up_badly(broken):
        pass

    def test_tears_down_badly(late):
        pass

    @pytest.mark.skip(reason="not now")
    def test_skipped():
        pass

    @pytest.mark.xfail(reason="not yet")
    def test_xfails():
        assert 0

    @pytest.mark.xfail(reason="not yet")
    def test_xpasses():
        pass

    def test_throttled(kiro):
        kiro.run("Hello.")

    def test_unchecked(kiro):
        kiro.run("Hello.", check=False, timeout=0.5)
"""
TABLES = {
    "fixture:shop": ["Built."],
    "test_passes": ["1", "2", turn(["3"], conversation=2)],
    "test_fails": [turn(["I'll write.", write("a/b.txt", "x\n"), shell("echo out; exit 3")], ["Hi."])],
    "test_sets_up_badly": ["Set."],
    "test_throttled": [turn(misbehave="throttled"), turn(misbehave="throttled")],
    "test_unchecked": [turn(misbehave="silent")],
}
FOUND = {
    "test_also[a]": "passed",
    "test_also[b]": "passed",
    "test_fails": "failed",
    "test_passes[a]": "passed",
    "test_passes[b]": "passed",
    "test_sets_up_badly": "error",
    "test_skipped": "skipped",
    "test_tears_down_badly": "error",
    "test_throttled": "failed",
    "test_unchecked": "passed",
    "test_xfails": "xfailed",
    "test_xpasses": "xpassed",
}


WAYS: list[tuple[str, ...]] = [(), ("-n2", "--dist=loadscope")]
if pytest.version_tuple >= (8, 3):  # without a terminal, 8.2 itself cannot say what a failed comparison compared
    WAYS.append(("-p", "no:terminal"))


@pytest.mark.parametrize("args", WAYS, ids=" ".join)
def test_everything_that_became_of_a_run(evals: Evals, args: tuple[str, ...]) -> None:
    evals.write("test_it.py", STORY, TABLES)
    result = evals.run(OPTION, "--kiro-retries=0", *args)
    assert result.ret == 1
    told = results(evals)
    assert dict(sorted(outcomes(told).items())) == FOUND
    run, totals = told["run"], told["totals"]
    assert (run["exit_status"], run["complete"], run["interrupted"], run["collected"]) == (1, True, False, 12)
    assert (run["workers"], run["workers_died"]) == (2 if "-n2" in args else 0, 0)
    assert run["scripted"] is True
    assert run["kiro_cli"] == ["2.29.0"]
    assert run["settings"] == {
        "retries": {"value": 0, "origin": "--kiro-retries"},
        "results": {"value": "results.json", "origin": "--kiro-results"},
    }
    assert totals["turns"]["by_status"] == {"completed": 10, "failed": 1, "timed_out": 1}
    assert totals["turns"]["infrastructure"] == 1
    assert totals["credits"] is None

    shops = told["fixtures"]
    assert [(shop["name"], len(shop["turns"])) for shop in shops] == [("fixture:shop[a]", 1), ("fixture:shop[b]", 1)]
    assert all(shop["file"].endswith("test_it.py") and shop["turns"][0]["text"] == "Built." for shop in shops)
    passes = one(told, "test_passes[a]")
    assert [(turn["conversation"], turn["number"], turn["prompt"], turn["text"]) for turn in passes["turns"]] == [
        (1, 1, "One.", "1"),
        (1, 2, "Two.", "2"),
        (2, 1, "Another.", "3"),
    ]
    assert len({turn["session_id"] for turn in passes["turns"]}) == 2
    assert passes["worker"] in ("main", "gw0", "gw1")
    assert [phase["name"] for phase in passes["phases"]] == ["setup", "call", "teardown"]

    fails = one(told, "test_fails")
    assert [phase["message"].splitlines()[:1] for phase in fails["phases"]] == [
        [],
        ["AssertionError: assert 'Hi.' == 'Bye.'"],
        [],
    ]
    failed = fails["phases"][1]
    assert failed["place"] == {"file": "test_it.py", "line": 27, "source": 'assert turn.text == "Bye."'}
    assert failed["explained"].startswith("turn 1 completed")
    assert "+x" in failed["explained"].splitlines()
    set_up = one(told, "test_sets_up_badly")["phases"][0]
    assert set_up["place"]["source"] == 'assert 0, "of the set-up"'
    assert [phase["place"] for phase in passes["phases"]] == [None, None, None]
    (ended,) = fails["turns"]
    assert (ended["status"], ended["proof"], ended["exit_code"]) == ("completed", "session", 0)
    assert ended["provenance"] == {
        "engine": "v2",
        "cli_version": "2.29.0",
        "agent_version": None,
        "agent_asked": None,
        "model_asked": None,
        "model": "auto",
        "effort": None,
        "model_fallback": None,
        "memory": "off",
        "features": [],
        "recorded": None,
    }
    assert ended["changes"] == {"added": ["a/b.txt"], "modified": [], "deleted": [], "left_out": 0, "ignored": None}
    wrote, ran = ended["tool_calls"]
    assert (wrote["name"], wrote["status"], wrote["input"]["content"]) == ("write", "completed", "x\n")
    assert (ran["name"], ran["exit_code"], ran["output"]) == ("shell", 3, "out\n")
    assert "I'll write." in ended["output"]

    throttled = one(told, "test_throttled")
    assert throttled["infrastructure"] is True
    assert fails["infrastructure"] is False
    assert throttled["turns"][0]["cause"] == "throttled"
    assert throttled["turns"][0]["infrastructure"] is True
    assert one(told, "test_unchecked")["turns"][0]["cause"] == "out of time"
    assert one(told, "test_skipped")["phases"][0]["message"] == "Skipped: not now"
    assert "of the set-up" in one(told, "test_sets_up_badly")["phases"][0]["message"]
    assert [turn["prompt"] for turn in one(told, "test_sets_up_badly")["turns"]] == ["Set up."]


def test_a_retried_turn_is_marked(evals: Evals) -> None:
    source = "def test_it(kiro): assert kiro.run('Hello.').text == 'Hi.'"
    evals.passes(source, {"test_it": [turn(["Hi."], retry=1), turn(misbehave="throttled")]}, OPTION)
    told = results(evals)
    first, second = one(told, "test_it")["turns"]
    assert (first["retried"], first["status"], first["cause"]) == (True, "failed", "throttled")
    assert (second["retried"], second["status"]) == (False, "completed")
    assert told["totals"]["turns"] == {
        "count": 2,
        "by_status": {"failed": 1, "completed": 1},
        "infrastructure": 1,
        "retried": 1,
    }


def test_credits_are_added_up(evals: Evals) -> None:
    cli = metered(evals)
    source = """
        import pytest

        @pytest.fixture(scope="module")
        def shop(kiro):
            return kiro.run("Build.", env={"COST": "2"})

        def test_it(kiro, shop):
            kiro.run("One.", env={"COST": "0.1"})
            kiro.run("Two.", env={"COST": "0.2"})

        def test_free():
            pass
    """
    tables = {"fixture:shop": ["OK"], "test_it": ["OK", "OK"]}
    evals.passes(source, tables, OPTION, cli, "--junitxml=junit.xml")
    told = results(evals)
    assert told["totals"]["credits"] == 2.3
    assert one(told, "test_it")["credits"] == 0.3
    assert one(told, "test_free")["credits"] is None
    assert told["fixtures"][0]["credits"] == 2
    text = (evals.path / "junit.xml").read_text()
    assert text.count('<property name="kiro_credits" value="0.3"') == 1
    assert text.count('<property name="kiro_credits" value="2.3"') == 1, "of the whole run, the fixture's included"
    assert text.count("kiro_credits") == 2
    answered = "kiro-cli 2.29.0, engine v2, model auto, memory off"
    assert text.count(f'<property name="kiro_provenance" value="{answered}"') == 1, "the same twice is said once"


# -- however it ends


def test_after_ctrl_c(evals: Evals) -> None:
    evals.write(
        "test_it.py",
        """
        def test_a(kiro): kiro.run("Hello.")
        def test_b(kiro): kiro.run("Wait.")
        def test_c(kiro): kiro.run("Never.")
        """,
        {"test_a": ["OK"], "test_b": [turn([shell(f"touch {evals.stage}; sleep 60")], ["No."])], "test_c": ["No."]},
    )
    child = evals.start(OPTION)
    evals.reaches_its_stage()
    assert not (evals.path / "results.json").exists()
    child.sendintr()
    status, printed = evals.ends(child)
    assert status == pytest.ExitCode.INTERRUPTED, printed
    told = results(evals)
    assert outcomes(told) == {"test_a": "passed", "test_b": "unfinished"}
    assert (told["run"]["complete"], told["run"]["interrupted"], told["run"]["collected"]) == (False, True, 3)
    (broken,) = one(told, "test_b")["turns"]
    assert broken["status"] == "broken off"
    assert broken["prompt"] == "Wait."
    assert broken["number"] is None


@pytest.mark.parametrize("args", [(), ("-n1",)], ids=" ".join)
def test_after_a_signal(evals: Evals, args: tuple[str, ...]) -> None:
    """Also of the controller of xdist workers."""
    evals.write(
        "test_it.py",
        "def test_a(kiro): kiro.run('Hello.')\ndef test_b(kiro): kiro.run('Wait.')",
        {"test_a": ["OK"], "test_b": [turn([shell(f"touch {evals.stage}; sleep 60")], ["No."])]},
    )
    child = evals.start(OPTION, *args)
    evals.reaches_its_stage()
    os.kill(child.pid, signal.SIGTERM if not args else signal.SIGINT)
    evals.ends(child)
    told = results(evals)
    assert outcomes(told) == {"test_a": "passed", "test_b": "unfinished"}
    assert (told["run"]["complete"], told["run"]["interrupted"]) == (False, True)


def test_after_pytest_exit(evals: Evals) -> None:
    """Whatever exit status it was given."""
    exits = "def pytest_runtest_logfinish(): pytest.exit('enough', returncode=0)"
    evals.write("conftest.py", f"import pytest\n{exits}")
    evals.write("test_it.py", "def test_it(): pass")
    evals.run(OPTION)
    told = results(evals)
    assert (told["run"]["exit_status"], told["run"]["complete"], told["run"]["interrupted"]) == (0, False, True)
    assert outcomes(told) == {"test_it": "passed"}


@pytest.mark.parametrize("args", [(), ("-n1",)], ids=" ".join)
def test_after_the_first_failure(evals: Evals, args: tuple[str, ...]) -> None:
    evals.write(
        "test_it.py",
        "def test_a(kiro):\n    kiro.run('Hello.')\n    assert 0\n"
        + "".join(f"def test_{n}(): pass\n" for n in range(9)),
        {"test_a": ["OK"]},
    )
    evals.run("-x", OPTION, *args)
    told = results(evals)
    assert outcomes(told)["test_a"] == "failed"
    assert told["run"]["complete"] is False
    assert told["run"]["interrupted"] is False
    assert told["run"]["collected"] == 10


def test_after_a_worker_died(evals: Evals) -> None:
    evals.write(
        "test_it.py",
        """
        import os
        def test_a(kiro): kiro.run("Hello.")
        def test_b(kiro):
            kiro.run("Before.")
            os._exit(3)
        def test_c(kiro): kiro.run("Hello.")
        """,
        {"test_a": ["OK"], "test_b": ["OK"], "test_c": ["OK"]},
    )
    evals.run(OPTION, "-n1")
    told = results(evals)
    assert outcomes(told) == {"test_a": "passed", "test_b": "failed", "test_c": "passed"}
    assert told["run"]["workers_died"] == 1
    assert told["run"]["complete"] is True, "every test has its outcome"
    crashed = one(told, "test_b")
    assert crashed["phases"][-1]["name"] == "crash"
    assert "worker 'gw0' crashed while running 'test_it.py::test_b'" in crashed["phases"][-1]["message"]
    assert crashed["worker"] == "gw0"
    assert one(told, "test_c")["worker"] == "gw1"


@pytest.mark.parametrize("args", [(), ("-n1",)], ids=" ".join)
def test_after_a_usage_error_in_collection(evals: Evals, args: tuple[str, ...]) -> None:
    evals.write("test_it.py", "import pytest\n@pytest.mark.kiro(agnt='x')\ndef test_it(kiro): pass")
    result = evals.run(OPTION, *args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    told = results(evals)
    assert told["tests"] == []
    assert told["run"]["exit_status"] == 4
    assert told["run"]["complete"] is False
    assert told["run"]["scripted"] is None


@pytest.mark.parametrize("args", [(), ("-n1",), ("--continue-on-collection-errors",)], ids=" ".join)
def test_after_a_collection_error(evals: Evals, args: tuple[str, ...]) -> None:
    evals.write("test_it.py", "def test_it(): pass")
    evals.write("test_bad.py", "import nothing_of_that_name")
    evals.run(OPTION, *args)
    told = results(evals)
    assert told["run"]["complete"] is False
    assert {error["nodeid"] for error in told["run"]["collection_errors"]} == {"test_bad.py"}
    assert "nothing_of_that_name" in told["run"]["collection_errors"][0]["message"]


@pytest.mark.parametrize("args", [(), ("-n2",)], ids=" ".join)
def test_with_reruns_in_random_order(evals: Evals, args: tuple[str, ...]) -> None:
    source = """
        from pathlib import Path

        def test_flaky(kiro):
            assert kiro.run("Try.").ok
            count = Path("count")
            count.write_text(count.read_text() + "x" if count.exists() else "x")
            assert len(count.read_text()) == 3

        def test_hopeless(kiro):
            assert 0

        def test_fine(kiro):
            kiro.run("Try.")
    """
    evals.write("test_it.py", source, {name: ["OK"] for name in ("test_flaky", "test_fine")})
    evals.process(OPTION, "--reruns=2", *args, randomly=True)
    told = results(evals)
    assert outcomes(told) == {"test_flaky": "passed", "test_hopeless": "failed", "test_fine": "passed"}
    assert told["run"]["complete"] is True
    for name, attempts in {"test_flaky": 3, "test_hopeless": 3, "test_fine": 1}.items():
        test = one(told, name)
        assert test["attempts"] == attempts
        turns = 0 if name == "test_hopeless" else attempts
        assert [turn["attempt"] for turn in test["turns"]] == list(range(1, turns + 1))
        calls = [phase["outcome"] for phase in test["phases"] if phase["name"] == "call"]
        assert calls[:-1] == ["rerun"] * (attempts - 1)


def test_without_a_test(evals: Evals) -> None:
    evals.write("test_it.py", "")
    evals.run(OPTION)
    told = results(evals)
    assert (told["run"]["exit_status"], told["run"]["complete"], told["tests"]) == (5, True, [])
    assert told["run"]["scripted_note"] == "No turn was run, so nobody answered."


@pytest.mark.parametrize("args", [["--collect-only"], ["--setup-plan"], ["--fixtures"], ["--markers"], ["--help"]])
def test_where_nothing_is_run_nothing_is_written(evals: Evals, args: list[str]) -> None:
    evals.write("test_it.py", "def test_it(): pass")
    (evals.path / "results.json").write_text(OLD)
    assert evals.run(OPTION, *args).ret == 0
    assert (evals.path / "results.json").read_text() == OLD


# -- who answered


def test_when_kiro_answered(evals: Evals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIRO_API_KEY", "ksk_1")
    (evals.tmp / "replies.json").write_text('[["Hi."]]')
    answers = 'case "$*" in *--version*) echo "kiro-cli 2.29.0"; exit ;; esac'
    replies = f"export KIRO_MOCK_CHAT_RESPONSE={evals.tmp}/replies.json"
    program(evals, stand_in(answers, replies))
    evals.write("test_it.py", "def test_it(kiro): assert kiro.run('Hello.').text == 'Hi.'")
    result = evals.run(OPTION, f"--kiro-cli={evals.path}/bin/kiro-cli")
    assert result.ret == 0, result.stdout.str()
    assert results(evals)["run"]["scripted"] is False


def test_when_some_were_scripted(tmp_path: Path) -> None:
    owner, gathered = OwnerRecord(name="t.py::test"), Gathered()
    gathered.add_turns([TurnRecord(owner=owner, serial=number, scripted=number == 1) for number in (1, 2)])
    end = RunEnd(exit_status=0, interrupted=False, collected=1, workers=0, workers_died=0, pytest="9", pytest_kiro="1")
    settings, file = read(option={}.get, environ={}, ini={}.get), tmp_path / "results.json"
    ResultsFile(file).write(RunRecord.of(settings, gathered, end), Secrets())
    told = json.loads(file.read_text())
    SCHEME.validate(told)
    assert told["run"]["scripted"] == "partly"
    assert told["run"]["scripted_note"] == "1 of 2 turns were answered by a script, the others by Kiro."
    assert outcomes(told) == {"test": "unfinished"}


# -- what the file can hold


def test_any_text_is_valid_json(evals: Evals) -> None:
    evals.write(
        "test_it.py",
        r"""
        def test_turn(kiro):
            kiro.run("Hello.\u2028\x01")
            assert 0

        def test_message():
            raise ValueError("lone \udc80 surrogate, \x00 and \x1b[31m red")
        """,
        {"test_turn": [turn(['Say "\\ud800".', shell(r"printf '\377\000\033[31m\n'")], ["Done."])]},
    )
    evals.run(OPTION)
    told = results(evals)
    assert "lone � surrogate, \x00 and" in one(told, "test_message")["phases"][1]["message"]
    assert one(told, "test_turn")["turns"][0]["prompt"] == "Hello.\u2028\x01"


def test_what_is_long_is_cut_and_said_to_be(evals: Evals) -> None:
    evals.write(
        "test_it.py",
        """
        def test_it(kiro):
            kiro.run("p" * 100_000)
            raise ValueError("m" * 100_000)
        """,
        {
            "test_it": [
                turn([write("big.txt", "c" * 50_000), shell("yes x | head -c 50000")], ["t" * 100_000]),
            ]
        },
    )
    evals.run(OPTION)
    assert (evals.path / "results.json").stat().st_size < 400_000
    test = one(results(evals), "test_it")
    (ended,) = test["turns"]
    assert ended["prompt_left_out"] == 100_000 - 65_536
    assert ended["text_left_out"] == 100_000 - 65_536
    assert ended["output_left_out"] > 0
    assert f"[… {ended['text_left_out']} characters left out …]" in ended["text"]
    wrote, ran = ended["tool_calls"]
    assert wrote["input_left_out"] == 50_000 - 8_192
    assert wrote["input"]["path"] == "big.txt"
    assert ran["output_left_out"] > 0
    assert test["phases"][1]["message_left_out"] > 0


def test_no_secret_is_in_it(evals: Evals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIRO_API_KEY", 'ksk_"v\\s')
    monkeypatch.setenv("DAYTONA_API_KEY", "dtn_very_secret")
    evals.write(
        "test_it.py",
        """
        import os

        def test_it(kiro):
            turn = kiro.run("Hello.", env={"TOKEN": "very-secret-too"})
            assert turn.text == os.environ["KIRO_API_KEY"], os.environ["DAYTONA_API_KEY"]
        """,
        {"test_it": [turn([shell("echo $KIRO_API_KEY | tail -c 99")], ["OK"])]},
    )
    evals.run(OPTION)
    text = (evals.path / "results.json").read_text()
    told = results(evals)
    assert "assert 'OK' == '[KIRO_API_KEY]'" in one(told, "test_it")["phases"][1]["message"]
    for secret in ("very-secret-too", 'ksk_"', 'ksk_\\"', "dtn_very_secret"):
        assert secret not in text


GIVEN = """
    import os
    import pytest

    class Odd:
        def __repr__(self):
            return "<Odd " + "x" * 980 + os.environ["KIRO_API_KEY"] + ">"

    class Broken:
        def __repr__(self):
            raise OSError

    @pytest.mark.parametrize(
        ("word", "thing", "many", "broken"), [(os.environ["KIRO_API_KEY"], Odd(), ["y" * 9000], Broken())], ids=["one"]
    )
    @pytest.mark.kiro_trials(1)
    @pytest.mark.kiro(workspace="seed")
    def test_it(kiro, record_property, word, thing, many, broken):  # a comment
        kiro.run("Hello.")
        record_property("twice", 1)
        record_property("twice", {"key": word})
        assert kiro.workspace.check("checks", "python3 -I c.py").ok

    def test_plain(): pass
"""


def test_what_a_test_was_given_and_is_judged_by(evals: Evals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIRO_API_KEY", "ksk_CANARY_0123456789")

    def run(source: str, seed: str = "x", check: str = "print(1)") -> dict[str, Any]:
        evals.write("checks/c.py", check)
        evals.write("test_it.py", source, {"test_it": ["OK"]})
        evals.write("seed/a.txt", seed)
        assert evals.run(OPTION, "-p", "no:cacheprovider", "--no-header").ret == 0
        return results(evals)

    told = run(GIVEN)
    test = one(told, "test_it[one-trial1]")
    text = (evals.path / "results.json").read_text()
    assert "CANAR" not in text
    assert "ksk_" not in text
    assert test["params"].keys() == {"word", "thing", "many", "broken"}
    assert test["params"]["word"] == "[KIRO_API_KEY]"
    assert test["params"]["thing"].startswith("<Odd xxx")
    assert len(test["params"]["thing"]) <= 1000
    assert "characters left out" in test["params"]["many"]
    assert test["params"]["broken"] == "<Broken, whose repr raises OSError>"
    assert test["properties"] == [{"name": "twice", "value": 1}, {"name": "twice", "value": {"key": "[KIRO_API_KEY]"}}]
    plain = one(told, "test_plain")
    assert (plain["params"], plain["properties"], plain["turns"]) == ({}, [], [])
    (ended,) = test["turns"]
    assert ended["sandbox"] == "local"

    def digests(told: dict[str, Any]) -> tuple[str, str, str]:
        test = one(told, "test_it[one-trial1]")
        return test["turns"][0]["prompt_hash"], test["turns"][0]["seed_hash"], test["check_hash"]

    first = digests(told)
    assert all(len(one) == 16 for one in first)
    other = GIVEN.replace("# a comment", "").replace("kiro_trials(1)", "kiro_trials(1, pass_rate=0.5)")
    assert digests(run(other)) == first, "neither comments nor marks judge anything"
    changed = digests(run(GIVEN.replace("Hello.", "Bye."), seed="y"))
    assert [here == there for here, there in zip(changed, first, strict=True)] == [False] * 3
    assert digests(run(GIVEN, check="print(2)"))[2] != first[2]


def test_a_secret_is_not_cut_in_two_and_a_short_one_takes_no_words_away(
    evals: Evals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIRO_API_KEY", "ksk_CANARY_0123456789")
    monkeypatch.setenv("DAYTONA_API_KEY", "null")
    long = shell("head -c 4090 /dev/zero | tr '\\0' x; printf $THE_KEY; head -c 9000 /dev/zero | tr '\\0' x")
    source = """
        import os
        def test_it(kiro):
            kiro.run("Hello.", env={"THE_KEY": os.environ["KIRO_API_KEY"]})
    """
    evals.write("test_it.py", source, {"test_it": [turn(["", long], ["OK"])]})
    assert evals.run(OPTION).ret == 0
    results(evals)
    text = (evals.path / "results.json").read_text()
    assert "ksk_" not in text
    assert "CANARY" not in text


def test_what_is_nested_too_deeply_is_said_so() -> None:
    nested: Any = []
    for _ in range(100_000):
        nested = [nested]
    assert "nested too deeply" in json.dumps(clean(nested))
    while nested:  # one by one, since freeing it at once is as deep
        nested = nested[0]


# -- the file


def test_the_folders_above_it_are_made(evals: Evals) -> None:
    evals.write("test_it.py", "def test_it(): pass")
    assert evals.run("--kiro-results=a/b/c.json").ret == 0
    assert outcomes(results(evals, "a/b/c.json")) == {"test_it": "passed"}


def test_a_link_stays_one_and_an_old_file_is_replaced_at_once(evals: Evals) -> None:
    evals.write(
        "test_it.py",
        """
        from pathlib import Path
        def test_it():
            assert "pytest-kiro-results" in Path("results.json").read_text()
        """,
    )
    (evals.path / "real.json").write_text(OLD)
    os.link(evals.path / "real.json", evals.path / "kept.json")
    (evals.path / "results.json").symlink_to("real.json")
    assert evals.run(OPTION).ret == 0
    assert (evals.path / "results.json").is_symlink()
    assert results(evals, "real.json")["run"]["complete"] is True
    assert (evals.path / "kept.json").read_text() == OLD, "who had it open reads on in the old one"


def test_what_is_no_results_file_is_not_lost(evals: Evals) -> None:
    """As the evals' own file, when the option's own argument was forgotten."""
    file = evals.write("test_it.py", "def test_it(): pass\n")
    result = evals.run("--kiro-results", "test_it.py")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --kiro-results=*/test_it.py is there already, and is no results file: it would*"]
    )
    assert file.read_text() == "def test_it(): pass\n"
    (evals.path / "empty.json").touch()
    assert evals.run("--kiro-results=empty.json").ret == 0


def test_turns_in_flight_on_a_worker_are_told_after_ctrl_c(evals: Evals) -> None:
    source = f"""
        from pathlib import Path
        def test_it(kiro):
            with kiro.stream("Wait.") as live:
                live.expect("Hello")
                Path({str(evals.stage)!r}).touch()
                live.finish()
    """
    evals.write("test_it.py", source, {"test_it": [turn(["Hello."], misbehave="hangs")]})
    child = evals.start(OPTION, "-n1")
    evals.reaches_its_stage()
    child.sendintr()
    _, printed = evals.ends(child)
    told = results(evals)
    assert told["run"]["interrupted"] is True
    assert told["run"]["scripted"] is True
    assert [one["status"] for one in told["tests"][0]["turns"]] == ["broken off"], printed
    assert "kiro: 1 turn, 1 broken off" in printed


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("folder", "is no regular file; name a file that can be replaced"),
        ("pipe", "is no regular file; name a file that can be replaced"),
        ("test_it.py/results.json", "cannot be written: "),
        ("n" * 300, "cannot be written: File name too long"),
    ],
    ids=["folder", "pipe", "below a file", "too long"],
)
@pytest.mark.parametrize("xdist", [(), ("-n1",)], ids=["alone", "xdist"])
def test_what_cannot_be_written_is_a_usage_error(evals: Evals, name: str, said: str, xdist: tuple[str, ...]) -> None:
    evals.write("test_it.py", "def test_it(): open('ran', 'w')")
    (evals.path / "folder").mkdir()
    os.mkfifo(evals.path / "pipe")
    result = evals.run(f"--kiro-results={name}", *xdist)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"ERROR: --kiro-results={os.path.realpath(evals.path / name)} {said}" in result.stderr.str()
    assert not (evals.path / "ran").exists()
    assert (evals.path / "pipe").is_fifo()


def test_one_that_cannot_be_written_any_more_is_said(evals: Evals) -> None:
    evals.write("test_it.py", "import os\ndef test_it():\n    os.mkdir('results.json')")
    result = evals.run(OPTION)
    assert result.ret == pytest.ExitCode.INTERNAL_ERROR
    assert "results.json could not be written: " in result.stderr.str()


@pytest.mark.parametrize("args", [(), ("-n2",)], ids=" ".join)
def test_without_a_file_the_records_of_evals_are_gathered_too(evals: Evals, args: tuple[str, ...]) -> None:
    """They travel as one text on the reports of evals, and of no other tests."""
    evals.write(
        "conftest.py",
        """
        import json, pytest

        carried = {}

        def pytest_runtest_logreport(report):
            kinds = carried.setdefault(report.nodeid.partition("::")[2], set())
            kinds.add(type(getattr(report, "kiro", None)).__name__)

        @pytest.hookimpl(trylast=True)
        def pytest_unconfigure(config):
            if not hasattr(config, "workerinput"):
                tests = config.pluginmanager.getplugin("kiro-listener").gathered.tests
                with open("records.json", "w") as file:
                    json.dump([carried_words(), [test.to_json() for test in tests]], file)

        def carried_words():
            return {name: sorted(words) for name, words in carried.items()}
        """,
    )
    source = """
        def test_passes(kiro): kiro.run("Hello.")
        def test_throttled(kiro): kiro.run("Hello.")
        def test_plain(): pass
    """
    throttled = turn(misbehave="throttled")
    evals.write("test_it.py", source, {"test_passes": ["OK"], "test_throttled": [throttled, throttled]})
    assert evals.run("--kiro-retries=0", *args).ret == 1
    carried, tests = json.loads((evals.path / "records.json").read_text())
    assert carried == {"test_passes": ["str"], "test_throttled": ["str"], "test_plain": ["NoneType"]}
    records = {test.nodeid: test for test in map(test_records.TestRecord.from_json, tests)}
    assert sorted(records) == ["test_it.py::test_passes", "test_it.py::test_throttled"]
    passes, throttled = (records[name] for name in sorted(records))
    assert (passes.outcome, passes.attempts, len(passes.phases), passes.infrastructure) == ("passed", 1, 3, False)
    assert (throttled.outcome, throttled.infrastructure) == ("failed", True)
    (ended,) = passes.turns
    assert (ended.status, ended.proof, ended.text, ended.provenance.engine) == ("completed", "session", "OK", "v2")
    assert (ended.owner.name, ended.owner.worker) == (passes.nodeid, passes.worker)
    assert passes.worker in (("gw0", "gw1") if args else ("main",))
    assert (throttled.turns[0].cause, throttled.turns[0].infrastructure) == ("throttled", True)


def test_a_turn_that_goes_on_when_a_report_is_made_is_told_once_and_as_it_ended(evals: Evals) -> None:
    source = """
        import pytest

        @pytest.fixture
        def live(kiro):
            with kiro.stream("Hello.") as live:
                yield live

        def test_it(live): live.finish()
    """
    result = evals.passes(source, {"test_it": ["OK"]}, OPTION)
    (ended,) = one(results(evals), "test_it")["turns"]
    assert (ended["status"], ended["text"], ended["prompt"]) == ("completed", "OK", "Hello.")
    result.stdout.fnmatch_lines(["kiro: 1 turn, 1 completed"])


def test_sub_agents_are_nested(evals: Evals) -> None:
    evals.write("test_it.py", "def test_it(kiro): kiro.run('Hello.')", {"test_it": ["OK"]})
    evals.write(
        "conftest.py",
        """
        from dataclasses import replace
        from pytest_kiro import ToolCall
        from pytest_kiro.agent import flight

        inner = ToolCall("write", "fs_write", {"path": "a", "odd": [float("nan")]}, "done", "completed")
        outer = ToolCall("subagent", "subagent", {}, "", "completed", calls=(inner,))
        was = flight.ToolCalls
        flight.ToolCalls = lambda calls, **about: was([outer], **about)
        """,
    )
    assert evals.process(OPTION).ret == 0
    (outer,) = one(results(evals), "test_it")["turns"][0]["tool_calls"]
    assert [inner["input"] for inner in outer["calls"]] == [{"path": "a", "odd": ["nan"]}]
