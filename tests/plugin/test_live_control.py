"""Acting while Kiro works: `expect`, `events`, `stop_when`, and how firmly a turn is ended."""

from __future__ import annotations

import pytest
from eval_runs import Evals, shell, turn, write


def test_expect(evals: Evals) -> None:
    evals.passes(
        r"""
        import re
        import pytest
        from pytest_kiro import KiroError, NotPrinted

        def test_across_the_borders_of_chunks(kiro):
            with kiro.stream("Go.") as live:
                found = live.expect(r"a (pl\w+)\.", timeout=20)
                assert found[1] == "plan"
                assert live.expect(re.compile(r"THE\s+END", re.IGNORECASE))
                with pytest.raises(NotPrinted, match="did not print 'plan' before its turn ended") as caught:
                    live.expect("plan")  # it was printed before what was matched last
                assert "  | First, a plan." in str(caught.value)
            assert live.turn.ok

        def test_what_follows_a_match_in_the_same_chunk_is_kept(kiro):
            with kiro.stream("Go.") as live:
                live.finish()
                assert live.expect("First")[0] and live.expect("plan")[0] and live.expect("end")[0]
                with pytest.raises(NotPrinted):
                    live.expect("First")

        def test_goes_on_where_iterating_stopped(kiro):
            with kiro.stream("Go.") as live:
                assert next(iter(live))
                live.expect("end")
                assert "".join(live) == live.output[len(live.output) - len("".join([".\n"])):]

        def test_in_time(kiro):
            with kiro.stream("Wait.") as live:
                live.expect("Hello")
                with pytest.raises(NotPrinted, match=r"^Kiro did not print 'more' within 0\.2 s"):
                    live.expect("more", timeout=0.2)
                live.interrupt()
            assert live.turn.status == "stopped"

        def test_no_pattern(kiro):
            with kiro.stream("Go.") as live:
                for wrong in ("(", 5):
                    with pytest.raises(ValueError, match=r"live.expect\(.*\): no regular expression"):
                        live.expect(wrong)
            assert live.turn.status == "stopped"
        """,
        {
            "test_across_the_borders_of_chunks": [turn(["First, a plan.\n", "the end."], misbehave={"slow": 0.005})],
            "test_what_follows_a_match_in_the_same_chunk_is_kept": ["First, a plan. The end."],
            "test_goes_on_where_iterating_stopped": [turn(["First, the end."], misbehave={"slow": 0.01})],
            "test_in_time": [turn(["Hello."], misbehave="hangs")],
            "test_no_pattern": [turn(["Hello."], misbehave="hangs")],
        },
    )


@pytest.mark.parametrize("output", ["text", "stream-json"])
def test_events(evals: Evals, output: str) -> None:
    evals.passes(
        """
        def test_it(kiro):
            with kiro.stream("Go.") as live:
                live.expect("Then")
                assert [call.name for call in live.announced][:1] == ["write"]
                live.finish()
            assert live.turn.ok
            assert [call.command for call in live.announced if call.name == "shell"] == ["echo one; exit 4"]
            kinds = {event.kind for event in live.events}
            assert {"tool_call", "tool_result"} <= kinds
            if live.turn.conversation.kiro.streams:
                assert {"text", "finished"} <= kinds
                assert all(event.data for event in live.events)
        """,
        {"test_it": [turn(["First.", write("a.txt", "a")], ["Then ", shell("echo one; exit 4")], ["the end."])]},
        f"--kiro-output={output}",
    )


def test_stop_when(evals: Evals) -> None:
    sleeps = [["Let me clean up.", write("a.txt", "a")], ["", shell("sleep 60 && rm -rf x")], ["Never."]]
    evals.passes(
        r"""
        import re
        import pytest
        from pytest_kiro import Condition, on_calls, on_command, on_silence, on_text

        def stopped(turn, name):
            assert (turn.status, turn.cause, turn.exit_code) == ("stopped", "stopped", 130)
            told = re.fullmatch(r"(.*) stopped it at byte (\d+) of its output, after (\d+\.\d) s", turn.detail)
            assert told and told[1] == name and 0 <= int(told[2]) <= len(turn.raw) and float(told[3]) < 20
            assert not turn.cause.infrastructure
            return turn

        def test_command(kiro):
            turn = stopped(kiro.run("Clean up.", stop_when=on_command("rm -rf")), "on_command('rm -rf')")
            assert [call.name for call in turn.tool_calls] == ["write", "shell"] and turn.credits == 0.5
            assert turn.tool_calls[1].status in ("unfinished", "failed", "denied")
            assert turn.changes.added == {"a.txt"} and turn.duration < 60

        def test_text(kiro):
            turn = stopped(kiro.run("Clean up.", stop_when=[on_calls(99), on_text("clean")]), "on_text('clean')")
            assert not turn.ok

        def test_text_that_is_printed_letter_by_letter(kiro):
            stopped(kiro.run("Clean up.", stop_when=on_text("me clean u")), "on_text('me clean u')")

        def test_the_first_reason_counts(kiro):
            with kiro.stream("Clean up.", stop_when=on_text("clean")) as live:
                for chunk in live:
                    live.interrupt() if live.ending else None
            stopped(live.turn, "on_text('clean')")

        @pytest.mark.parametrize("found", [True, False])
        def test_what_only_the_record_tells(kiro, found):
            turn = kiro.run("Clean up.", stop_when=on_command("rm -rf" if found else "no such"))
            if not found:
                assert turn.ok
                return
            assert (turn.status, turn.cause, turn.exit_code) == ("stopped", "stopped", 0)
            assert turn.detail.startswith("on_command('rm -rf') holds for what its record tells; it was not announced")

        def test_silence(kiro):
            stopped(kiro.run("Clean up.", stop_when=on_silence(0.5)), "on_silence(0.5)")

        def test_calls(kiro):
            stopped(kiro.run("Clean up.", stop_when=on_calls(1)), "on_calls(1)")

        def test_a_function(kiro):
            def has_a_call(live):
                return len(live.announced) == 2
            stopped(kiro.run("Clean up.", stop_when=has_a_call), "has_a_call")

        def test_streamed(kiro):
            with kiro.stream("Clean up.", stop_when=on_text("clean")) as live:
                for chunk in live:
                    pass
            stopped(live.turn, "on_text('clean')")

        def test_a_silence_that_does_not_mind_costs_no_time(kiro):
            asked = []
            patient = Condition("patient", lambda live: asked.append(live.silent_for), silence=0.1)
            kiro.run("Clean up.", stop_when=[patient, on_silence(1)])
            assert 5 < len(asked) < 60

        def test_that_never_held(kiro):
            assert kiro.run("Talk.", stop_when=[on_command("rm"), on_text("no such"), on_silence(60)]).ok

        def test_that_fails(kiro):
            with pytest.raises(ZeroDivisionError):
                kiro.run("Clean up.", stop_when=lambda live: 1 / 0)
            assert kiro.conversation  # the sandbox goes on

        def test_that_is_none(kiro):
            with pytest.raises(TypeError, match="stop_when='rm -rf' is no condition"):
                kiro.run("Clean up.", stop_when="rm -rf")
            assert kiro.run("Talk.").ok  # nothing was begun
        """,
        {
            **{
                f"test_{name}": [turn(*sleeps, misbehave={"credits": 0.5})]
                for name in (
                    *("command", "text", "silence", "calls", "a_function", "streamed", "that_fails"),
                    "a_silence_that_does_not_mind_costs_no_time",
                )
            },
            "test_text_that_is_printed_letter_by_letter": [
                turn(["Let me clean up.", shell("sleep 60")], ["x"], misbehave={"slow": 0.01, "credits": 0.5})
            ],
            "test_the_first_reason_counts": [turn(*sleeps)],
            **{
                # Longer than what is announced of it.
                f"test_what_only_the_record_tells[{found}]": [
                    turn(["", shell(f"true {'x' * 300} && rm -rf nothing")], ["Done."])
                ]
                for found in (True, False)
            },
            "test_that_never_held": ["Hello."],
            "test_that_is_none": ["Hello."],
        },
    )


def test_a_turn_is_ended_more_and_more_firmly(evals: Evals) -> None:
    evals.write(
        "conftest.py",
        """
        from pytest_kiro.plugin import WAITS
        from pytest_kiro.settings.waits import Waits

        def pytest_configure(config):
            config.stash[WAITS] = Waits(grace=0.5, last_grace=0.5)
        """,
    )
    busy = turn(["", write("a.txt", "a")], ["Hello.", shell("sleep 60")], ["x"])
    evals.passes(
        """
        import pytest
        KINDS = [("obeys", 130), ("ignores_interrupt", 143), ("ignores_signals", None)]

        @pytest.mark.parametrize(("kind", "code"), KINDS)
        def test_it(kiro, kind, code):
            turn = kiro.run("Go.", timeout=1, check=False)
            assert (turn.status, turn.cause) == ("timed_out", "out of time")
            assert turn.exit_code == code or (code is None and turn.exit_code in (None, 137))
            assert "Hello." in turn.output and turn.changes.added == {"a.txt"}  # what was done is kept
            assert [call.name for call in turn.tool_calls] == ["write", "shell"]
        """,
        {
            "test_it[obeys-130]": [busy],
            "test_it[ignores_interrupt-143]": [{**busy, "misbehave": "ignores_interrupt"}],
            "test_it[ignores_signals-None]": [{**busy, "misbehave": "ignores_signals"}],
        },
    )


def test_stalled_means_no_byte_and_no_new_line_in_the_store(evals: Evals) -> None:
    evals.passes(
        """
        import pytest
        from pytest_kiro import TurnTimeout

        def test_silent_and_busy(kiro):
            assert kiro.run("Work.").ok

        def test_stalled(kiro):
            with pytest.raises(TurnTimeout, match="printed nothing for 1 s, and wrote nothing into its session store"):
                kiro.run("Hang.")
        """,
        {
            # More than a second without a byte, in which the store grows.
            "test_silent_and_busy": [
                turn(
                    [
                        "",
                        shell("exec >/dev/null; for i in 1 2 3; do sleep 0.5; touch ~/.kiro/sessions/cli/x; done"),
                    ],
                    ["Done."],
                )
            ],
            "test_stalled": [turn(["Hello."], misbehave="hangs")],
        },
        "--kiro-stall-timeout=1",
    )


def test_how_a_with_is_left(evals: Evals) -> None:
    evals.passes(
        """
        import pytest
        from pytest_kiro import on_text

        @pytest.mark.parametrize("end", ["fail", "skip", "xfail"])
        def test_by_an_outcome_of_pytest(kiro, end):  # which is no Exception, and no Ctrl-C either
            with pytest.raises(BaseException, match="enough"):
                with kiro.stream("Go.") as live:
                    live.expect("Hello")
                    getattr(pytest, end)("enough")
            assert live.turn.status == "stopped" and live.turn.exit_code == 130 and "Hello." in live.turn.output

        def test_by_a_condition_that_finishes_it(kiro):
            turn = kiro.run("Go.", stop_when=lambda live: live.finish())
            assert turn.ok and turn.conversation.turns == [turn]

        def test_before_it_began(kiro):
            with kiro.stream("Go.") as live:
                live.interrupt()
            assert live.turn.status == "stopped" and not kiro.workspace.changes()  # which are known
        """,
        {
            **{
                f"test_by_an_outcome_of_pytest[{end}]": [turn(["Hello."], misbehave="hangs")]
                for end in ("fail", "skip", "xfail")
            },
            "test_by_a_condition_that_finishes_it": [turn(["Hello."], misbehave={"slow": 0.01})],
            "test_before_it_began": [turn(["Hello."], misbehave="hangs")],
        },
    )


def test_a_program_that_never_started_is_told_from_a_slow_one(evals: Evals) -> None:
    evals.write(
        "conftest.py",
        """
        import pytest

        @pytest.fixture(scope="session")
        def kiro_sandbox(kiro_sandbox):
            kiro_sandbox._shell = ("/bin/sh", "-c", "echo waiting for a mount; sleep 600")
            return kiro_sandbox
        """,
    )
    evals.passes(
        """
        import pytest
        from pytest_kiro import TurnTimeout

        def test_it(kiro):
            with pytest.raises(TurnTimeout) as caught:
                kiro.run("Go.", timeout=1)
            turn = caught.value.turn
            assert turn.cause == "never started" and turn.cause.infrastructure and caught.value.infrastructure
            assert "and its terminal's shell had not started it; the shell said: " in turn.detail
            assert "waiting for a mount" in turn.detail and not turn.changes and turn.duration < 60
        """,
        {"test_it": ["Hello."]},
    )
