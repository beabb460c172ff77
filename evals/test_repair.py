"""A second try: Kiro implements, a check that it could not see fails, and it repairs from the output."""

import pytest


@pytest.mark.kiro_selfcheck(allow=["no-call", "exit-code"], reason="what it leaves decides, not how it got there")
def test_repair(kiro):
    kiro.run(
        "Write meetings.py with a function merge(meetings). It takes a list of (start, end) hours in any order and "
        "returns a new sorted list of the times that are taken: meetings that overlap or touch become one."
    )
    kiro.workspace.seed("checks/merge")  # seeded after the run: Kiro could not see it
    check = kiro.workspace.exec("python3 -B -m unittest")

    if not check.ok:  # the first try may be right
        repair = kiro.run(
            f"I wrote some tests for your merge(), and they fail:\n\n{check.output}\nRepair meetings.py.",
            recorded_as="repair",  # what the tests print has a time in it
        )
        assert repair.changes.paths == {"meetings.py"}  # the code, not the tests
        check = kiro.workspace.exec("python3 -B -m unittest")

    assert check.ok
    assert "Ran 5 tests" in check.output
