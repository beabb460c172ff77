"""Two prompts, one grader: does it help to ask for the edge cases first?"""

import pytest

TASK = (
    "slugify(text) in slugify.py, standard library only: lower-case ASCII letters and digits, accents dropped, "
    "each run of anything else one hyphen, none at the ends"
)


@pytest.mark.kiro_selfcheck(allow=["no-call", "exit-code"], reason="what it leaves decides, not how it got there")
@pytest.mark.parametrize(
    "prompt",
    [
        pytest.param(f"Write {TASK}.", id="plain"),
        pytest.param(f"List the edge cases first, then write {TASK}.", id="edge-cases-first"),
    ],
)
def test_slugify(kiro, prompt):
    kiro.run(prompt)
    kiro.workspace.seed("checks/slugify")  # seeded after the run: Kiro could not see it
    check = kiro.workspace.exec("python3 -B -m unittest test_slugify")
    assert check.ok
    assert "Ran 1 test" in check.output
