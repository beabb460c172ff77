"""Shows what Kiro prints while it prints it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from pytest_kiro.plugin.progress import past_capture
from pytest_kiro.report.speech import ASKS, Speech, coloured, ended_lines
from pytest_kiro.secrecy.visible import Visible, visible
from pytest_kiro.terminal.text import Lines
from pytest_kiro.turn.shown import place_and_test

if TYPE_CHECKING:
    import pytest

    from pytest_kiro.agent.bench import Conversing
    from pytest_kiro.secrecy.redaction import Secrets
    from pytest_kiro.settings.table import Settings
    from pytest_kiro.turn.turn import Turn


class Stream:
    """Writes what Kiro prints past pytest's capture to the terminal.

    Under xdist it writes line by line to stderr, each with its test. A line that starts over, as a spinner's does, is
    shown when it has ended: nothing that was written is overwritten. Colours tell who speaks, where pytest has them.
    """

    def __init__(self, config: pytest.Config, secrets: Secrets, *, prefixed: bool) -> None:
        self._config, self._secrets, self._prefixed = config, secrets, prefixed
        self._colours = _colours(config, prefixed=prefixed)
        self._lines: dict[str, Lines] = {}
        self._speech: dict[str, Speech] = {}
        self._visible = Visible()  # one for all, since they write to one terminal

    @staticmethod
    def is_wanted(config: pytest.Config, settings: Settings) -> bool:
        """Whether live output was asked for."""
        return settings.stream == "on" or (settings.stream == "auto" and config.getoption("capture", "no") == "no")

    def started(self, conversation: Conversing, prompt: str) -> None:
        name = _test_name(conversation)
        bench = conversation.bench
        self._speech[name] = Speech("v2" if bench.streams else bench.engine.name, on=self._colours)
        first, *more = visible(prompt).strip().splitlines() or [""]
        self._write(name, f"\n{name} asks: {first}{' …' if more else ''}\n", ASKS)

    def received(self, conversation: Conversing, data: bytes, at: float) -> None:
        pass

    def printed(self, conversation: Conversing, text: str) -> None:
        self._write(_test_name(conversation), text)

    def broken_off(self, conversation: Conversing) -> None:
        self._write(_test_name(conversation), "", final=True)

    def finished(self, conversation: Conversing, turn: Turn) -> None:
        name = _test_name(conversation)
        ended = "" if turn.output.endswith("\n") or not turn.output else "\n"
        self._write(name, ended, final=True)
        for line, style in ended_lines(name, turn):
            self._write(name, f"{line}\n", style)

    def _write(self, name: str, text: str, style: str = "", *, final: bool = False) -> None:
        """Write what somebody says: Kiro and its tools, or with a style pytest-kiro."""
        text = self._lines.setdefault(name, Lines(whole=self._prefixed)).feed(text)
        text = self._visible.feed(self._secrets(text))
        if style:
            text = coloured(text, style, on=self._colours)
        elif speech := self._speech.get(name):
            text = speech.feed(text, final=final)
        if self._prefixed:
            text = "".join(f"[{name}] {line}\n" for line in text.splitlines() if line)
        past_capture(self._config, text, stderr=self._prefixed)


def _test_name(conversation: Conversing) -> str:
    return place_and_test(conversation.owner.name)[1]


def _colours(config: pytest.Config, *, prefixed: bool) -> bool:
    """Whether colours are wanted: a worker has no terminal of pytest's that knows it."""
    if not prefixed:
        return bool(config.get_terminal_writer().hasmarkup)
    asked = getattr(config.option, "color", "auto")
    file = sys.__stderr__
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or file is None or not file.isatty()
    return asked == "yes" or (asked == "auto" and not plain)
