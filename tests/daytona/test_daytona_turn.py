"""Whole turns over a network that fails: completed with all that was said, or lost, and never the agent's fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from plugin.eval_runs import RECALL, STAND_IN, program, shell, turn, write

from pytest_kiro.settings.waits import DaytonaWaits, Waits

if TYPE_CHECKING:
    from daytona_runs import Runs

pytest_plugins = ["daytona_runs"]

#: What Kiro says in each of these turns: enough to be cut in its middle.
SAID = "".join(f"This is line {number} of a long answer, é 🍩.\n\n" for number in range(400))
ANSWER = [["", write("made.txt", "made\n")], [SAID]]
POLITE: dict[str, Any] = {"close_code": 1000}
SLOW: dict[str, Any] = {"close_code": 1008, "close_reason": "slow consumer"}
#: Links that break, or go dead unnoticed, while Kiro talks or at its end.
BREAKS: list[dict[str, Any]] = [
    {"cut_after": 5_000},
    {"close_after": 2_000, **POLITE},
    {"close_after": 12_000, **SLOW},
    {"exit_style": "d190", "hold_output": 0.05},  # the daemon's race: what is under way is lost
    {"exit_style": "d190", "hold_output": True},  # and with it that the program began
    {"exit_style": "abort"},
    {"exit_style": "none"},
    {"mute_after": 12_000},
]
#: The same at other places.
ELSEWHERE: list[dict[str, Any]] = [
    {"cut_after": 2_000},
    {"cut_after": 12_000},
    {"close_after": 12_000, **POLITE},
    {"close_after": 2_000, **SLOW},
]
#: Those that break while the shell talks, or about when Kiro begins: nobody may know whether the line was heard.
EARLY: list[dict[str, Any]] = [
    *({"cut_after": place} for place in (0, 300, 1000)),
    {"close_after": 1, **POLITE},
    {"mute_after": 300},
]
EARLY_ELSEWHERE: list[dict[str, Any]] = [
    *({"cut_after": place} for place in (150, 400, 500)),
    {"close_after": 300, **SLOW},
]
COMPLETE = """
    import pytest

    @pytest.mark.parametrize("number", range({count}))
    def test_it(kiro, number):
        turn = kiro.run("Tell me a lot.")
        assert (turn.status, turn.proof, turn.exit_code) == ("completed", "session", 0)
        assert turn.output.count("This is line") == 400 and "line 399 of" in turn.output
        assert not turn.truncated
        assert turn.changes.added == {{"made.txt"}}
        assert turn.used("write")
        if number < {counted} and not (number in {raced} and not turn.warnings):
            assert "the rest came from the log in the sandbox" in turn.warnings[0]
            assert len(turn.warnings) == 1
"""


@pytest.fixture(autouse=True)
def quick(runs: Runs) -> None:
    """What is waited for a service's or a network's sake, in hundredths of it."""
    daytona = DaytonaWaits(pauses=(0.01,) * 7, longest_pause=0.01, silence=0.3, late=0.3)
    runs.waits = Waits(link_pauses=(0.05,), grace=0.5, daytona=daytona)


def passes(runs: Runs, source: str, tables: Mapping[str, Sequence[Any]], *args: str) -> pytest.RunResult:
    result = runs.passes(source, tables, *args)
    assert "leaked 0" in result.stdout.str()
    return result


def break_each(runs: Runs, rules: Sequence[Mapping[str, Any]]) -> dict[str, Sequence[Any]]:
    """Break the first turn's link by the first rule, the second's by the second; return what answers them."""
    for number, rule in enumerate(rules):
        runs.emulator.fault("pty_create_connect", after=number, **rule)
    return {f"test_it[{number}]": [ANSWER] for number in range(len(rules))}


@pytest.mark.parametrize("rules", [BREAKS, ELSEWHERE], ids=["each", "elsewhere"])
def test_a_turn_whose_link_is_lost_is_completed_from_the_log(runs: Runs, rules: list[dict[str, Any]]) -> None:
    late = [number for number, rule in enumerate(rules) if rule == {"exit_style": "abort"}]
    counted = late[0] if late else len(rules)  # after that everything had come, and so nothing is told
    raced = [number for number, rule in enumerate(rules) if "hold_output" in rule]  # nothing may be under way
    source = COMPLETE.format(count=len(rules), counted=counted, raced=raced)
    passes(runs, source, break_each(runs, rules))


@pytest.mark.parametrize("rules", [EARLY, EARLY_ELSEWHERE], ids=["each", "elsewhere"])
def test_a_turn_whose_link_is_lost_before_it_began_is_no_fault_of_the_agents(
    runs: Runs, rules: list[dict[str, Any]]
) -> None:
    """It may have begun all the same, and then it is completed."""
    runs.waits = replace(runs.waits, launch=2.0)
    source = """
    import pytest

    @pytest.mark.parametrize("number", range({count}))
    def test_it(kiro, number):
        turn = kiro.run("Tell me a lot.", check=False)
        if turn.status != "completed":
            assert (turn.status, turn.cause) == ("lost", "connection")
            assert turn.cause.infrastructure
        else:
            assert turn.output.count("This is line") == 400
        assert "the link to its terminal was lost" in turn.warnings[0]
    """
    passes(runs, source.format(count=len(rules)), break_each(runs, rules))


def test_the_next_turn_resumes_what_was_completed_from_the_log(runs: Runs) -> None:
    runs.emulator.fault("pty_create_connect", cut_after=5_000)
    source = """
    def test_it(kiro):
        kiro.run("Remember: the word is plum.")
        assert kiro.run("What is the word?").text == "plum"
    """
    passes(runs, source, {"test_it": [[[SAID]], RECALL]})


@pytest.mark.parametrize(
    "rule", [{"kill_after": 5_000}, {"kill_after": 5_000, "kill_state": "error"}, {"kill_after": 0}]
)
def test_a_sandbox_that_dies_in_mid_turn_loses_the_turn(runs: Runs, rule: dict[str, Any]) -> None:
    runs.waits = replace(runs.waits, link_attempts=3)
    runs.emulator.fault("pty_create_connect", **rule)
    source = """
    import pytest
    from pytest_kiro import SandboxError, TurnFailed

    def test_it(kiro):
        with pytest.raises((TurnFailed, SandboxError), match="lost|gone") as caught:
            kiro.run("Tell me a lot.")
        if caught.type is TurnFailed:
            turn = caught.value.turn
            assert (turn.status, turn.cause) == ("lost", "connection")

    def test_what_comes_after_it_is_an_error_that_says_so(kiro):
        with pytest.raises(SandboxError, match="is gone"):
            kiro.run("Tell me a lot.")
    """
    passes(runs, source, {"test_it": [ANSWER], "test_what_comes_after_it_is_an_error_that_says_so": [ANSWER]})


ROUTES = ("files_bulk_upload", "files_bulk_download", "pty_create_connect", "pty_delete", "exec", "sandbox_delete")


@pytest.mark.parametrize(
    "action",
    [
        {"status": 502},
        {"status": 429, "headers": {"Retry-After": "1"}},
        {"drop": True},
        {"lose_response": True},
    ],
    ids=str,
)
def test_an_eval_in_which_every_request_fails_once_passes(runs: Runs, action: dict[str, Any]) -> None:
    runs.sends_the_stand_in()
    for route in ROUTES:
        for number in range(0, 80, 2):
            runs.emulator.fault(route, after=number, **action)
    source = """
    def test_it(kiro):
        kiro.workspace.seed({"a.txt": "a", "large": b"x" * 5_000_000})
        turn = kiro.run("Write b.")
        assert (turn.status, turn.proof) == ("completed", "session")
        assert turn.changes.added == {"made.txt", "times.txt"}
        assert turn.output.count("This is line") == 400
        assert kiro.workspace.exec("cat a.txt made.txt times.txt").check().output == "amade\\nonce\\n"
        assert kiro.run("And c?").text == "Yes."
        assert len(kiro.workspace.contents()["large"]) == 5_000_000
    """
    answer = [["", write("made.txt", "made\n"), shell("echo once >>times.txt")], [SAID]]
    passes(runs, source, {"test_it": [answer, "Yes."]})


def test_a_timeout_ends_all_that_the_turn_has_started(runs: Runs) -> None:
    source = """
    import os
    from emulator import Emulator

    def pids():
        with Emulator.at(os.environ["DAYTONA_API_URL"], os.environ["DAYTONA_API_KEY"]) as emulator:
            return [pid for sandbox in emulator.sandboxes() for pid in sandbox["pids"]]

    def test_it(kiro):
        turn = kiro.run("Never end.", timeout=2, check=False)
        assert (turn.status, turn.cause) == ("timed_out", "out of time")
        assert kiro.workspace.exec("cat begun").output == "yes\\n"
        assert pids() == []
    """
    children = "echo yes >begun; trap '' INT TERM HUP; setsid sleep 600 & env -i sleep 600 & nohup sleep 600 & wait"
    answer = turn([shell(children)], misbehave={"ignores_signals": True, "children": True})
    passes(runs, source, {"test_it": [answer]})


@pytest.mark.parametrize("rule", [{}, {"cut_after": 600}], ids=["by the link", "by the sandbox"])
def test_ctrl_c_of_the_test_reaches_kiro(runs: Runs, rule: dict[str, Any]) -> None:
    if rule:
        runs.emulator.fault("pty_create_connect", **rule)
    source = """
    def test_it(kiro):
        with kiro.stream("Talk for ever.") as live:
            for chunk in live:
                if len(live.output) > 5_000:
                    live.interrupt()
        assert (live.turn.status, live.turn.cause) == ("stopped", "stopped")
        assert live.turn.exit_code == 130
    """
    passes(runs, source, {"test_it": [turn(misbehave={"endless": 0.001})]})


def test_a_prompt_of_5_megabytes_arrives_byte_for_byte(runs: Runs) -> None:
    stand_in = f'python3 -I -S {STAND_IN} "$@"'
    cli = program(runs, f'if [ "$1" = chat ]; then tee "$HOME/prompt" | {stand_in}; else exec {stand_in}; fi')
    source = """
    import random

    def test_it(kiro):
        prompt = "".join(map(chr, random.Random(1).choices([*range(1, 0x250), *range(0x1F300, 0x1F500)], k=2_600_000)))
        assert len(prompt.encode()) > 5_000_000
        assert kiro.run(prompt).ok
        assert (kiro.workspace.home / "prompt").read_bytes() == prompt.encode()
    """
    passes(runs, source, {"test_it": ["Long."]}, f"--kiro-cli={cli}")


def test_pytest_timeouts_timer_survives_and_fires_in_the_middle_of_our_calls(runs: Runs) -> None:
    source = """
    import pytest, time

    limited = pytest.mark.timeout(2, method="signal", func_only=True)

    @limited
    def test_turn(kiro):
        kiro.run("Never end.")

    @limited
    def test_exec(kiro):
        kiro.workspace.exec("sleep 600")

    @limited
    def test_after_calls(kiro):
        kiro.run("Hello.")
        kiro.workspace.exec("true")
        (kiro.workspace / "a").write_text("a")
        time.sleep(600)

    def test_next(kiro):
        assert kiro.run("Hello.").text == "Hi."
    """
    tables = {"test_turn": [turn(misbehave="silent")], "test_after_calls": ["Hi."], "test_next": ["Hi."]}
    runs.write("test_it.py", source, tables)
    result = runs.process()
    result.assert_outcomes(failed=3, passed=1)
    result.stdout.fnmatch_lines(["*sandboxes: created 1, deleted 1, leaked 0*"])
    assert result.stdout.str().count("Failed: Timeout (>2.0s) from pytest-timeout.") >= 3
