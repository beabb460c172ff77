"""A HOME for each owner in Daytona: its next test sees nothing of it, and it costs no request."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from plugin.eval_runs import shell, turn
from plugin.home_runs import evals_of_two_tests

if TYPE_CHECKING:
    from daytona_runs import Runs

pytest_plugins = ["daytona_runs"]


def test_the_next_test_sees_nothing_of_it(runs: Runs) -> None:
    evals_of_two_tests(runs)
    runs.run().assert_outcomes(passed=2)


def test_it_costs_no_request(runs: Runs) -> None:
    """Neither while the sandbox is made ready, nor for a turn, a command, a conversation more or the end of a test."""
    runs.write(
        "test_it.py",
        """
        def test_turns(kiro):
            kiro.run("Hello.")
            kiro.run("Hello.")
            assert kiro.workspace.exec("echo $HOME").ok

        def test_seeded(kiro):
            kiro.workspace.seed({"a.txt": "a"})
            assert kiro.workspace.exec("cat a.txt").output == "a"
            assert "sleep" in "".join(kiro.run("Hello.").survivors), "what it left is ended and named as well"

        def test_unused(kiro):
            kiro.conversation().run("Hello.")
        """,
        {
            "test_turns": [turn([shell("echo $HOME")], ["Hello."]), "Hello."],
            "test_seeded": [turn([shell("setsid sleep 600 >/dev/null 2>&1 </dev/null &")], ["Hello."])],
            "test_unused": ["Hello."],
        },
    )

    def requests(which: str) -> Counter[str]:
        runs.emulator.reset_log()
        runs.run(f"--kiro-home={which}").assert_outcomes(passed=3)
        return Counter(request["route"] for request in runs.emulator.log())

    shared = requests("shared")
    # A busy machine may ask once more whether a program has ended; a request of ours would be in each run.
    assert any(not requests("fresh") - shared for _ in range(3)), "more than without"
