"""`chat`: converses with Kiro in a sandbox, to try a prompt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from pytest_kiro.agent.bench import Bench, Owner
from pytest_kiro.agent.conversation import Conversation
from pytest_kiro.agent.kiro import Kiro
from pytest_kiro.commandline import complain, say
from pytest_kiro.commandline.ready import read_settings, ready
from pytest_kiro.errors import ConversationError
from pytest_kiro.login.login import login
from pytest_kiro.standin.scenario import Reply
from pytest_kiro.terminal.text import Lines

_STAND_IN = "The stand-in heard you. It has no model; --kiro-cli=official asks Kiro."


def run(options: Mapping[str, str | None]) -> int:
    """Ask until there is nothing more to ask: the end of stdin, or Ctrl-C."""
    settings = read_settings(options)
    with ready(settings) as here:
        complain("kiro: logging in")
        identity = login(here.sandbox, here.cli, settings.login, here.means)
        owner = Owner("chat", ("chat",), Path.cwd() / "chat.py")
        file = Path.cwd() / settings.scenarios / "chat.toml"
        if here.cli.scripted and not file.exists():
            owner.answer = Reply(((_STAND_IN,),))
        kiro = Kiro(Bench.set_up(here.sandbox, here.cli, identity, settings, secrets=here.means.secrets), lambda: owner)
        login_said = identity.described or "which needs no login"
        complain(f"kiro: kiro-cli {here.cli.version}, engine {kiro.engine}, {login_said}")
        try:
            say("Agent ready. Press Ctrl+C at any time to exit.")
            _converse(kiro)
        finally:
            owner.end()
            kiro.close()
    return 0


def _converse(kiro: Kiro) -> None:
    with suppress(ImportError):
        import_module("readline")  # which edits the line that `input` reads
    conversation = kiro.conversation()
    for prompt in filter(str.strip, _prompts()):
        try:
            _turn(conversation, prompt)
        except ValueError as error:  # a prompt that no CLI could be given
            complain(f"kiro: {error}")
        except ConversationError as error:
            complain(f"kiro: {error}")
            conversation = kiro.conversation()


def _prompts() -> Iterator[str]:
    with suppress(EOFError):
        while True:
            yield input("User: ")
    say("")


def _turn(conversation: Conversation, prompt: str) -> None:
    lines = Lines()
    with conversation.stream(prompt, check=False) as live:
        for text in live:
            say(lines.feed(text), end="")
    turn = live.turn
    say(lines.feed("" if turn.output.endswith("\n") or not turn.output else "\n"), end="")
    if not turn.ok:
        advice = f"; {turn.cause.advice}" if turn.cause and turn.cause.advice else ""
        complain(f"kiro: {turn.summary}: {turn.detail}{advice}")
