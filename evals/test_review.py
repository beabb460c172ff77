"""A Kiro agent of the project, `.kiro/agents/reviewer.json`: it reports and touches nothing."""

import pytest


@pytest.mark.kiro(workspace="projects/shop", agent="reviewer")
@pytest.mark.kiro_selfcheck(allow=["no-call"], reason="it may look in several ways")
def test_reviewer_reports_and_touches_nothing(kiro):
    turn = kiro.run("Review src/ and list the problems, worst first.")

    assert turn.used("read") or turn.used("grep")  # it looked
    assert "injection" in turn.text.lower()
    assert "catalogue.py" in turn.text  # where it is
    assert not kiro.workspace.changes()
    assert {call.name for call in turn.tool_calls}.isdisjoint({"write", "shell"})  # it did not even try
