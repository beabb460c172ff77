"""A seeded project with a one-line bug: Kiro hears the symptom, and is to change that line only."""

from difflib import ndiff

import pytest


@pytest.mark.kiro(workspace="projects/library")
@pytest.mark.kiro_selfcheck(allow=["no-call"], reason="what it leaves decides, not how it got there")
def test_fix_bug(kiro):
    fines = kiro.workspace / "library/fines.py"
    before = fines.read_text()

    turn = kiro.run(
        "Readers complain: who brings a book back on the very last day is fined 20 cents. "
        "Find out why and fix it. Run `python3 -m unittest` before you tell me that it works."
    )

    assert "unittest" in "\n".join(turn.commands)
    assert turn.tool_calls.filter("shell", pattern="unittest")[-1].exit_code == 0  # before it told
    tests = kiro.workspace.exec("python3 -B -m unittest")
    assert tests.ok
    assert "Ran 4 tests" in tests.output  # an exit code alone proves nothing
    assert turn.changes.paths == {"library/fines.py"}  # neither the tests nor anything else
    changed = [line for line in ndiff(before.splitlines(), fines.read_text().splitlines()) if line[0] in "-+"]
    assert len(changed) <= 4  # a changed line counts twice
