"""A turn that is watched: iterate, interrupt, finish, leave; and those who are told of it."""

from __future__ import annotations

from eval_runs import RECALL, Evals, shell, turn, write


def test_watching(evals: Evals) -> None:
    evals.passes(
        r"""
        import pytest
        from pytest_kiro import ConversationError, TurnFailed, TurnTimeout

        def test_text_as_it_is_printed(kiro):
            with kiro.stream("Talk.") as live:
                with pytest.raises(ConversationError, match="the turn is not finished yet; leave the with statement"):
                    live.turn
                assert live.ending is None
                seen = []
                for chunk in live:
                    seen.append(chunk)
                    assert "".join(seen) == live.output and not live.truncated
            assert len(seen) > 3 and "".join(seen) == live.turn.output == live.output == "Twelve chars\n"
            assert live.raw == live.turn.raw and live.turn.ok and live.prompt == "Talk."
            assert list(live) == []  # it is over

        def test_interrupt(kiro):
            with kiro.stream("Work.") as live:
                for chunk in live:
                    if "sleep" in live.output:
                        live.interrupt()
                        live.interrupt()
            turn = live.turn
            assert (turn.status, turn.cause, turn.exit_code) == ("stopped", "stopped", 130)
            assert turn.detail == "the test stopped it" and not turn.ok and turn.proof is None
            assert (live.ending.status, live.ending.cause) == ("stopped", "stopped")
            assert [call.name for call in turn.tool_calls][:1] == ["write"]
            assert turn.changes.added == {"a.txt"} and turn.duration < 60
            assert live.finish() is turn  # stopped by the test, so nothing to raise

        def test_a_stopped_first_turn_is_not_resumed(kiro):
            with kiro.stream("The word is one.") as live:
                for chunk in live:
                    live.interrupt()
            assert live.turn.status == "stopped"
            assert kiro.run("And?").text == "unknown"

        def test_interrupt_after_the_end(kiro):
            with kiro.stream("Talk.") as live:
                turn = live.finish()
                live.interrupt()
            assert turn is live.turn and turn.ok
            live.interrupt()
            assert live.finish() is turn and kiro.run("More.").ok

        def test_finish_without_looking(kiro):
            live = kiro.stream("Talk.")
            assert live.finish().text == "Hello." == live.turn.text

        def test_leaving_early(kiro):
            with kiro.stream("Work.") as live:
                for chunk in live:
                    break
            assert live.turn.status == "stopped" and live.turn.duration < 60
            with kiro.stream("Work.") as live:
                pass
            assert live.turn.status == "stopped" and live.turn.conversation.turns[-1] is live.turn

        def test_leaving_by_an_exception(kiro):
            with pytest.raises(KeyError, match="mine"):
                with kiro.stream("Work.") as live:
                    next(iter(live))
                    raise KeyError("mine")
            assert live.turn.status == "stopped"
            assert kiro.run("Talk.").text == "unknown"

        def test_checked_at_the_exit(kiro):
            with pytest.raises(TurnFailed) as caught:
                with kiro.stream("Talk.") as live:
                    for chunk in live:
                        pass
            assert caught.value.turn is live.turn and live.turn.cause == "throttled"
            with kiro.stream("Talk.", check=False) as live:
                live.finish()
            assert live.turn.status == "failed"

        def test_out_of_time(kiro):
            with pytest.raises(TurnTimeout):
                with kiro.stream("Talk.", timeout=0.3) as live:
                    assert "".join(live).strip("^C\n") == ""  # the terminal's echo of our Ctrl-C
            assert live.turn.status == "timed_out"

        def test_an_exception_is_not_covered_up(kiro):
            with pytest.raises(KeyError):
                with kiro.stream("Talk.") as live:
                    for chunk in live:
                        pass
                    raise KeyError("mine")
            assert live.turn.cause == "throttled"

        def test_never_looked_at(kiro):
            kiro.stream("Work.")  # ended with its owner
        """,
        {
            "test_text_as_it_is_printed": [turn(["Twelve chars"], misbehave={"slow": 0.005})],
            "test_interrupt": [turn(["Now.", write("a.txt", "a")], [shell("sleep 600")], ["Done."])],
            "test_a_stopped_first_turn_is_not_resumed": [turn(["OK", shell("sleep 600")], ["Done."]), RECALL],
            "test_interrupt_after_the_end": ["Hello.", "More."],
            "test_finish_without_looking": ["Hello."],
            "test_leaving_early": [turn(["OK", shell("sleep 600")], ["Done."])] * 2,
            "test_leaving_by_an_exception": [turn(["OK", shell("sleep 600")], ["Done."]), RECALL],
            "test_checked_at_the_exit": [turn(misbehave="throttled")] * 2,
            "test_out_of_time": [turn(misbehave="silent")],
            "test_an_exception_is_not_covered_up": [turn(misbehave="throttled")],
            "test_never_looked_at": [turn(misbehave="silent")],
        },
    )


def test_an_observer_that_fails_ends_the_turn(evals: Evals) -> None:
    """A hook's exception is the test's, and leaves nothing behind: neither a process nor a turn in flight."""
    evals.write(
        "conftest.py",
        """
        def pytest_kiro_turn_started(kiro, prompt):
            if prompt == "Fail at the start.":
                raise RuntimeError("not started")

        def pytest_kiro_turn_finished(kiro, turn):
            if turn.prompt == "Fail at the end.":
                raise RuntimeError("not finished")
        """,
    )
    evals.passes(
        """
        import pytest

        def test_started(kiro):
            with pytest.raises(RuntimeError, match="not started"):
                kiro.run("Fail at the start.")
            assert kiro.run("Hello.").text == "OK"

        def test_finished(kiro):
            with pytest.raises(RuntimeError, match="not finished"):
                kiro.run("Fail at the end.")
            assert kiro.run("Hello.").number == 2
            with pytest.raises(RuntimeError, match="not finished"):
                with kiro.stream("Fail at the end."):
                    pass
        """,
        {"test_started": ["OK"], "test_finished": ["OK", "OK", "OK"]},
    )
