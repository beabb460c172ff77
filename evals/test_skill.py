"""A skill is loaded when it is needed, and only then: an eval of its description, with the negative control."""

import pytest

pytestmark = pytest.mark.kiro(workspace="projects/releases")


@pytest.mark.kiro_selfcheck(allow=["no-call"], reason="what it leaves decides, not how it got there")
def test_loaded_when_it_is_needed(kiro):
    turn = kiro.run("Write the notes of release 1.2 into NOTES.md.")

    assert turn.loaded("skill", "release-notes")
    assert not turn.loaded("skill", "commit-message")  # which nothing asked for
    assert turn.changes.paths == {"NOTES.md"}
    title, first, *others = filter(None, (kiro.workspace / "NOTES.md").read_text().splitlines())
    assert title == "## Release 1.2 (curlew)"  # as only the skill says
    assert first.startswith("BREAKING:")
    assert "3.9" in first
    assert len(others) == 2  # of the three changes, none is left out


def test_not_loaded_when_it_is_not(kiro):
    turn = kiro.run("Who wrote most of the changes? Answer with the name only.")

    assert turn.text.strip(" .\n").lower() == "ada"
    assert turn.tool_calls  # it looked
    assert not turn.changes
    assert not turn.loaded("skill", "*")
