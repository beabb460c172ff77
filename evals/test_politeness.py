"""Two conversations side by side: does it matter how one asks?"""

import pytest


@pytest.mark.kiro_selfcheck(allow=["no-call", "exit-code"], reason="what it leaves decides, not how it got there")
def test_two_words_same_result(kiro):
    curt, polite = kiro.conversation(workspace="projects/names"), kiro.conversation(workspace="projects/names")

    curt.run("Sort the lines of names.txt.")
    polite.run("Would you please sort the lines of names.txt for me? Thank you so much!")

    assert curt.workspace.contents() == polite.workspace.contents()
    assert curt.workspace.contents() == {"names.txt": b"Ada\nAlan\nBarbara\nDonald\nEdsger\nGrace\n"}
