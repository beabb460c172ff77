"""`--kiro-retries`: only for the world's faults, only a first turn, only before any effect, and never in silence."""

from __future__ import annotations

from eval_runs import RECALL, Evals, program, shell, stand_in, turn, write

THROTTLED = turn(misbehave="throttled")
GOOD = turn(["Hello."], retry=1)


def test_a_first_turn_that_the_world_failed_is_run_again(evals: Evals) -> None:
    result = evals.passes(
        """
        def test_it(kiro):
            turn = kiro.run("The word is one.")
            assert (turn.status, turn.text, turn.number) == ("completed", "Hello.", 1)
            told = turn.warnings[0]
            assert told.startswith("attempt 1 was run again: turn 1 failed (throttled: infrastructure) in ")
            assert "kiro-cli said: " in told and "throttled" in told
            (first,) = turn.conversation.retried
            assert first.cause == "throttled" and first.session_id != turn.session_id
            assert turn.conversation.turns == [turn]
            assert kiro.run("And?").text == "one" and not kiro.run("And?").warnings
        """,
        {"test_it": [THROTTLED, GOOD, RECALL, RECALL]},
    )
    # It counts, wherever turns are counted.
    result.stdout.fnmatch_lines(["kiro: 4 turns, 3 completed, 1 failed (throttled: infrastructure)*"])


def test_what_is_not_run_again(evals: Evals) -> None:
    """Each of these would complete if it were."""
    evals.passes(
        """
        import pytest
        from pytest_kiro import TurnError

        CAUSES = {
            "limit": "usage limit", "bad_key": "auth", "exit_4": "refused", "overflow": "context overflow",
            "tool_call": "throttled", "changed": "crash", "stopped": "stopped", "silent": "out of time",
        }

        @pytest.mark.parametrize("kind", CAUSES)
        def test_it(kiro, kind):
            options = {"timeout": 1} if kind == "silent" else {}
            if kind == "stopped":
                with kiro.stream("Go.") as live:
                    for chunk in live:
                        live.interrupt()
                turn = live.turn
            else:
                with pytest.raises(TurnError) as caught:
                    kiro.run("Go.", **options)
                turn = caught.value.turn
            assert turn.cause == CAUSES[kind] and turn.conversation.retried == [] and not turn.warnings

        def test_announced_and_not_recorded(kiro):
            with pytest.raises(TurnError) as caught:
                kiro.run("Go.")
            assert caught.value.turn.cause == "crash" and not caught.value.turn.conversation.retried
            assert not caught.value.turn.tool_calls and not caught.value.turn.changes

        def test_second_turn(kiro):
            kiro.run("Go.")
            with pytest.raises(TurnError) as caught:
                kiro.run("Go on.")
            assert caught.value.turn.number == 2 and caught.value.turn.conversation.retried == []

        def test_watched(kiro):  # its text was seen already
            with pytest.raises(TurnError):
                with kiro.stream("Go.") as live:
                    live.finish()
            assert live.turn.cause == "throttled" and live.turn.conversation.retried == []

        def test_only_so_often(kiro):
            with pytest.raises(TurnError) as caught:
                kiro.run("Go.")
            assert len(caught.value.turn.conversation.retried) == 1 == len(caught.value.turn.warnings)
        """,
        {
            "test_it[limit]": [turn(misbehave="limit"), GOOD],
            "test_it[bad_key]": [turn(misbehave="bad_key"), GOOD],
            "test_it[exit_4]": [turn(["x"], misbehave={"exit": 4}), GOOD],
            "test_it[overflow]": [turn(misbehave="overflow"), GOOD],
            "test_it[tool_call]": [
                turn(["", shell("true")], ["Too many requests, please wait"], misbehave={"exit": 1}),
                GOOD,
            ],
            "test_it[changed]": [turn(["", write("a", "a"), shell("kill -9 $PPID")], ["x"]), GOOD],
            "test_it[stopped]": [turn(["Hello.", shell("sleep 60")], ["x"]), GOOD],
            "test_it[silent]": [turn(misbehave="silent"), GOOD],
            "test_announced_and_not_recorded": [
                turn(["", shell("true")], ["x"], misbehave={"no_session": True, "exit": 1}),
                GOOD,
            ],
            "test_second_turn": ["Fine.", THROTTLED, GOOD],
            "test_watched": [THROTTLED, GOOD],
            "test_only_so_often": [THROTTLED],
        },
    )


def test_the_failure_report_tells_of_each(evals: Evals) -> None:
    evals.write("test_it.py", "def test_it(kiro):\n    kiro.run('Go.')\n", {"test_it": [THROTTLED]})
    result = evals.run("--kiro-retries=2")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*turn 1 failed (throttled: infrastructure) in * s: Go.",
            "--- warning: attempt 1 was run again: turn 1 failed (throttled: infrastructure)*",
            "--- warning: attempt 2 was run again: turn 1 failed (throttled: infrastructure)*",
            "kiro: 3 turns, 3 failed (throttled: infrastructure)*",
        ]
    )


def test_off(evals: Evals) -> None:
    evals.write("test_it.py", "def test_it(kiro):\n    kiro.run('Go.')\n", {"test_it": [THROTTLED, GOOD]})
    evals.run("--kiro-retries=0").assert_outcomes(failed=1)


def test_a_turn_that_changed_something_is_not_run_again(evals: Evals) -> None:
    """By whatever it did so: no tool call is told here."""
    cli = program(evals, stand_in('if [ "$1" = chat ]; then eval "$(cat)"; exit 9; fi'))
    source = """
        import pytest

        @pytest.mark.parametrize(("does", "retried"), [
            (":", 1),
            ("echo x >~/new", 1),  # as kiro-cli itself does in a fresh HOME
            ("echo x >>made", 0),
            ("echo x >>~/.kept", 0),
            ("rm ~/.kept", 0),
            ('mv "$PWD" "$PWD.old"; mkdir "$PWD"', 0),
        ])
        def test_it(kiro, does, retried):
            turn = kiro.run(does, check=False)
            assert turn.cause == "crash" and not turn.tool_calls
            assert turn.changes.added == ({"made"} if "made" in does else set())
            assert len(turn.conversation.retried) == retried
            assert any("another folder" in warning for warning in turn.warnings) == ("mv" in does)
    """
    evals.write("conftest.py", "def pytest_kiro_sandbox_ready(sandbox):\n    sandbox.write_file('.kept', b'x')\n")
    evals.write("test_it.py", source, {"test_it": [THROTTLED]})
    evals.run(f"--kiro-cli={cli}").assert_outcomes(passed=6)
