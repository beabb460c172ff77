"""An agent does not do the same each time: what is measured is a rate, and how two of them differ."""

import pytest


@pytest.mark.kiro_trials(5, pass_rate=0.8)
@pytest.mark.kiro_selfcheck(allow=["exit-code"], reason="the answer is right")
def test_counts_words(kiro):
    kiro.workspace.seed({"poem.txt": "Der Mond ist aufgegangen,\ndie goldnen Sternlein prangen\n"})
    turn = kiro.run("How many words are in poem.txt? Answer with the number and nothing else.")
    assert turn.text.strip() == "8"
    assert turn.tool_calls  # it looked
    assert not turn.changes


@pytest.mark.kiro_trials(4, pass_rate=0.5)
@pytest.mark.kiro_selfcheck(allow=["no-call", "exit-code"], reason="what it leaves decides, not how it got there")
@pytest.mark.kiro_compare("prompt", baseline="plain")
@pytest.mark.parametrize(
    "prompt",
    [
        pytest.param("Write median(numbers) in median.py.", id="plain"),
        pytest.param("Write median(numbers) in median.py, and try it before you answer.", id="careful"),
    ],
)
def test_median(kiro, prompt):
    kiro.run(prompt)
    tried = kiro.workspace.exec(
        "python3 -B -c 'from median import median; print(median([3, 1, 2]), median([4, 1, 3, 2]))'"
    )
    assert tried.output == "2 2.5\n"
