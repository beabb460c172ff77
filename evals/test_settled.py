"""What one agent leaves in its HOME is there for its own evals; the next one does not notice."""

import pytest

pytestmark = pytest.mark.kiro_selfcheck(
    allow=["no-call", "exit-code"], reason="what it leaves decides, not how it got there"
)


@pytest.fixture(scope="module")
def settled(kiro):
    """The turn of an agent that makes itself at home."""
    return kiro.run(
        "Make yourself at home: ~/.local/bin/greet is to be a program that prints Ahoy, ~/.profile shall export "
        "GREETING=Ahoy, and ~/.kiro/steering/ahoy.md shall say that every answer begins with the word Ahoy."
    )


def test_it_is_at_home(settled):
    assert settled.workspace.exec("~/.local/bin/greet").output == "Ahoy\n"
    assert settled.workspace.exec('. ~/.profile && echo "$GREETING"').output == "Ahoy\n"
    assert "Ahoy" in settled.workspace.exec("cat ~/.kiro/steering/ahoy.md").output


def test_the_next_does_not_notice(settled, kiro):
    turn = kiro.run("What is 6 * 7? Answer with the number alone.")
    assert turn.text.strip() == "42"
    assert not kiro.workspace.exec("~/.local/bin/greet").ok
    assert kiro.workspace.exec("""sh -lc 'echo "$GREETING"'""").output == "\n"
    assert ".local/bin/greet" in settled.outside.added  # it was there to be noticed
