"""`--kiro-budget`: the next turn is refused when the cap is reached, on all workers; and what credits are shown."""

from __future__ import annotations

import json
import os
import re

import pytest
from eval_runs import Evals, program, shell, stand_in, turn
from metered import metered

MANY = """
    import pytest

    @pytest.mark.parametrize("n", range(12))
    def test_it(kiro, n):
        kiro.run("Hello.")
"""


@pytest.fixture(autouse=True)
def nothing_is_left_of_it(evals: Evals) -> object:
    yield
    assert list((evals.tmp / f"pytest-kiro-{os.getuid()}").glob("*")) == []


def spent(result: pytest.RunResult) -> tuple[int, float, int]:
    """What the summary says: turns that completed, their credits, tests that were stopped."""
    text = result.stdout.str()
    turns = re.search(r"^kiro: (\d+) turns?, \1 completed, credits ([\d.]+)$", text, re.MULTILINE)
    stopped = re.search(r"^budget: [\d.]+ of [\d.]+ credits spent, tests that it stopped: (\d+)$", text, re.MULTILINE)
    assert turns, text
    assert stopped, text
    return int(turns[1]), float(turns[2]), int(stopped[1])


def test_zero_refuses_the_first_turn(evals: Evals) -> None:
    evals.write("test_it.py", "def test_it(kiro): kiro.run('Hello.')", {"test_it": ["OK"]})
    result = evals.run("--kiro-budget=0")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E * test_it.py::test_it: the budget of this run is used up, so this turn "
            "was not begun: 0.00 credits spent, --kiro-budget=0; raise --kiro-budget, or run fewer turns",
            "kiro: 0 turns",
            "budget: 0.00 of 0 credits spent, tests that it stopped: 1",
        ]
    )


def test_the_turn_after_the_cap_is_refused(evals: Evals) -> None:
    evals.write("test_it.py", MANY, {"test_it": ["OK"]})
    result = evals.run(metered(evals), "--kiro-budget=0.75")
    result.assert_outcomes(passed=3, failed=9)
    assert spent(result) == (3, 0.75, 9)


@pytest.mark.parametrize("args", [("-n2",), ("-n3", "--dist=worksteal")], ids=" ".join)
def test_all_workers_spend_of_one_budget(evals: Evals, args: tuple[str, ...]) -> None:
    evals.write("test_it.py", MANY, {"test_it": ["OK"]})
    result = evals.process(metered(evals), "--kiro-budget=1", *args)
    turns, credits, stopped = spent(result)
    assert 1 <= turns <= 4
    assert credits == turns * 0.25
    assert stopped == 12 - turns


def test_a_test_may_go_on_after_a_refusal(evals: Evals) -> None:
    source = """
        import pytest
        from pytest_kiro import BudgetExceeded, SetupError

        def test_it(kiro):
            kiro.run("One.", env={"COST": "1.5"})
            with pytest.raises(BudgetExceeded) as caught:
                kiro.run("Two.")
            assert (caught.value.spent, caught.value.cap) == (1.5, 1)
            assert isinstance(caught.value, SetupError)
            with pytest.raises(BudgetExceeded):
                kiro.conversation().run("Three.")
            assert len(kiro.workspace.exec("ls").check().output) == 0
    """
    tables = {"test_it": ["OK", "OK", turn(["OK"], conversation=2)]}
    result = evals.passes(source, tables, metered(evals), "--kiro-budget=1")
    result.stdout.fnmatch_lines(["kiro: 1 turn, 1 completed, credits 1.50", "budget: 1.50 of 1 credits spent"])


def test_a_trial_that_spends_its_own_budget_is_lost(evals: Evals) -> None:
    source = """
        import pytest

        @pytest.mark.kiro(budget=0.5)
        @pytest.mark.kiro_trials(2, pass_rate=0.5)
        def test_it(kiro, kiro_trial):
            for _ in range(4 - kiro_trial):
                kiro.run("Go on.")
    """
    evals.write("test_it.py", source, {"test_it": ["OK", "OK", "OK"]})
    result = evals.run(metered(evals))
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["test_it.py::test_it  ·✓  1/1 * 1 lost (budget)  *: undecided *", "kiro: 4 turns, 4 completed, credits 1.00"]
    )


def test_a_refused_fixture_stops_all_its_tests(evals: Evals) -> None:
    source = """
        import pytest

        @pytest.fixture(scope="module")
        def shop(kiro):
            return kiro.run("Build.")

        @pytest.mark.parametrize("n", range(3))
        def test_it(shop, n):
            pass
    """
    evals.write("test_it.py", source, {"fixture:shop": ["OK"]})
    result = evals.run("--kiro-budget=0", "--kiro-results=results.json")
    result.assert_outcomes(errors=3)
    told = json.loads((evals.path / "results.json").read_text())
    assert told["totals"]["stopped_by_budget"] == 3
    assert [test["infrastructure"] for test in told["tests"]] == [True] * 3


def test_what_the_stand_in_does_costs_nothing(evals: Evals) -> None:
    """Neither do turns that were ended: nobody is billed for them."""
    source = """
        import pytest

        @pytest.mark.parametrize("n", range(2))
        def test_it(kiro, n):
            assert kiro.run("Hello.", check=False, timeout=0.3).status == "timed_out"
            with kiro.conversation().stream("Hello.", check=False) as live:
                live.interrupt()
    """
    tables = {"test_it": [turn(misbehave="silent"), turn(["OK"], conversation=2)]}
    result = evals.passes(source, tables, "--kiro-budget=1", "--kiro-retries=0")
    assert "credits" not in result.stdout.str().replace("budget: 0.00 of 1 credits spent", "")


def test_a_turn_that_does_not_tell_its_cost_is_guessed(evals: Evals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIRO_API_KEY", "ksk_1")
    answers = 'case "$*" in *--version*) echo "kiro-cli 2.29.0"; exit ;; esac'
    program(evals, stand_in(answers, """export KIRO_STANDIN_MISBEHAVE='{"silent": true}'"""))
    evals.write(
        "test_it.py",
        """
        import pytest
        from pytest_kiro import BudgetExceeded

        def test_it(kiro):
            assert kiro.run("Hello.", check=False, timeout=0.5).status == "timed_out"
            with pytest.raises(BudgetExceeded, match="1.00 credits spent .1 turn ended without telling the cost"):
                kiro.conversation().run("Hello.", timeout=0.5)
        """,
    )
    evals.run("--kiro-budget=1", f"--kiro-cli={evals.path}/bin/kiro-cli").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("kinds", "credits", "spent"),
    [
        # It was killed, so what its session cost to begin is not all of it.
        ({"crash": "before", "credits": {"auxiliary": 0.01}}, 0.01, "1.00 credits spent .1 turn ended without telling"),
        ({"throttled": True, "credits": {"main": 0.98, "auxiliary": 0.02}}, 1.0, "1.00 credits spent, --kiro-budget"),
    ],
)
def test_a_failed_turn_costs_what_it_told_if_that_is_all(
    evals: Evals, monkeypatch: pytest.MonkeyPatch, kinds: dict[str, object], credits: float, spent: str
) -> None:
    monkeypatch.setenv("KIRO_API_KEY", "ksk_1")
    answers = 'case "$*" in *--version*) echo "kiro-cli 2.29.0"; exit ;; esac'
    given = f"""
        echo '[["Hello."]]' >"$HOME/replies.json"
        export KIRO_MOCK_CHAT_RESPONSE="$HOME/replies.json" KIRO_STANDIN_MISBEHAVE='{json.dumps(kinds)}'
    """
    program(evals, stand_in(answers, given))
    source = f"""
        import pytest
        from pytest_kiro import BudgetExceeded

        def test_it(kiro):
            turn = kiro.run("Hello.", check=False)
            assert (turn.status, turn.credits) == ("failed", {credits})
            with pytest.raises(BudgetExceeded, match="{spent}"):
                kiro.conversation().run("Hello.")
    """
    evals.write("test_it.py", source)
    cli = f"--kiro-cli={evals.path}/bin/kiro-cli"
    evals.run("--kiro-engine=v3", "--kiro-budget=1", "--kiro-retries=0", cli).assert_outcomes(passed=1)


def test_each_retry_is_admitted(evals: Evals) -> None:
    source = """
        import pytest
        from pytest_kiro import BudgetExceeded

        def test_it(kiro):
            with pytest.raises(BudgetExceeded):
                kiro.run("Hello.", env={"COST": "1"})
    """
    tables = {"test_it": [turn(["OK"], retry=1), turn(misbehave={"exit": 9})]}
    result = evals.passes(source, tables, metered(evals), "--kiro-budget=1")
    result.stdout.fnmatch_lines(["kiro: 1 turn, 1 failed (crash: infrastructure), credits 1.00"])


def test_a_worker_that_died_does_not_hold_its_turn(evals: Evals) -> None:
    evals.write(
        "test_it.py",
        """
        import os

        def test_a(kiro):
            kiro.stream("Hello.")
            os._exit(3)

        def test_b(kiro):
            kiro.run("Hello.")
        """,
        {"test_a": [turn(misbehave="silent")], "test_b": ["OK"]},
    )
    evals.process("-n1", "--kiro-budget=1").assert_outcomes(passed=1, failed=1)


def test_a_turn_in_flight_counts(evals: Evals) -> None:
    source = """
        import pytest
        from pytest_kiro import BudgetExceeded

        def test_it(kiro):
            with kiro.stream("Hello.") as live:
                with pytest.raises(BudgetExceeded, match="1 turn in flight, counted as 1.00"):
                    kiro.conversation().run("Hello.")
                live.interrupt()
            kiro.conversation().run("Hello.")
    """
    more = [turn(["OK"], conversation=2), turn(["OK"], conversation=3)]
    evals.passes(source, {"test_it": [turn([shell("sleep 60")], ["No."]), *more]}, "--kiro-budget=1")


# -- credits, shown


def test_credits_are_shown_where_they_were_metered(evals: Evals) -> None:
    source = """
        import pytest

        @pytest.fixture
        def begun(kiro):
            kiro.run("One.", env={"COST": "0.1"})

        def test_it(kiro, begun):
            kiro.run("Two.", env={"COST": "0.2"})

        def test_other(kiro):
            kiro.run("One.", env={"COST": "1"})
    """
    tables = {"test_it": ["OK", "OK"], "test_other": ["OK"]}
    junit = "--junitxml=junit.xml"
    result = evals.passes(source, tables, metered(evals), junit)
    result.stdout.fnmatch_lines(["kiro: 3 turns, 3 completed, credits 1.30"])
    assert "budget" not in result.stdout.str()
    found = re.findall(r'name="kiro_credits" value="([\d.]+)"', (evals.path / "junit.xml").read_text())
    assert found == ["1.3", "0.3", "1.0"], "of the whole run, and of each test"
    result = evals.run(junit, "-k", "other")
    result.stdout.fnmatch_lines(["kiro: 1 turn, 1 completed"])
    assert "kiro_credits" not in (evals.path / "junit.xml").read_text()


def test_what_a_session_of_v3_bills_beside_its_turns_is_spent(evals: Evals) -> None:
    """Its start and a compaction: the turns add up to what its sessions say, and so does the budget."""
    evals.write(
        "test_it.py",
        """
        import json
        from decimal import Decimal

        def test_it(kiro):
            turns = [kiro.run("One."), kiro.run("Two."), kiro.run("Three.")]
            assert [round(turn.credits, 9) for turn in turns] == [0.11, 0.3398, 0.25]
            told = {}
            logs = kiro.workspace.exec("grep -H creditSplit ~/.kiro/sessions/*/*/messages.jsonl")
            for line in logs.output.splitlines():
                session, _, record = line.partition(":")
                told[session] = json.loads(record, parse_float=Decimal)["payload"]["value"]
            assert len(told) == 2, "a compaction begins another"
            in_all = sum(sum(split.values()) for split in told.values())
            assert sum(Decimal(repr(turn.credits)) for turn in turns) == in_all

        def test_next(kiro):
            kiro.run("Hello.")
        """,
        {
            "test_it": [
                turn(["1"], misbehave={"credits": {"main": 0.1, "auxiliary": 0.01}}),
                turn(["2"], misbehave={"credits": {"main": 0.2, "auxiliary": 0.1398}, "compaction": True}),
                turn(["3"], misbehave={"credits": {"main": 0.2, "auxiliary": 0.05}}),
            ],
            "test_next": ["OK"],
        },
    )
    result = evals.run("--kiro-engine=v3", "--kiro-budget=0.6998")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*test_next: the budget of this run is used up*: 0.70 credits spent, --kiro-budget=0.6998*"]
    )
