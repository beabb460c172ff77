"""Streams what Kiro prints to the terminal, while it prints it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from pytest_kiro.agent.bench import Conversing
    from pytest_kiro.secrecy.redaction import Secrets
    from pytest_kiro.settings.table import Settings
    from pytest_kiro.turn.turn import Turn


class Stream:
    """Writes past pytest's capture to the terminal.

    Under xdist it writes line by line to stderr, each with its test.

    (A worker's stdout belongs to xdist's protocol and reaches nobody.)
    """

    def __init__(self, config: pytest.Config, secrets: Secrets, *, prefixed: bool) -> None:
        self._config, self._secrets, self._prefixed = config, secrets, prefixed
        self._pending: dict[str, str] = {}

    @classmethod
    def wanted(cls, config: pytest.Config, settings: Settings, secrets: Secrets) -> list[Stream]:
        """Return the one stream of this process, or none."""
        on = settings.stream == "on" or (settings.stream == "auto" and config.getoption("capture", "no") == "no")
        return [cls(config, secrets, prefixed=settings.worker != "main")] if on else []

    def started(self, conversation: Conversing, prompt: str) -> None:
        name = conversation.owner.name.rpartition("::")[2]
        first, *more = prompt.strip().splitlines()
        self._write(name, f"\n{name} asks: {first}{' …' if more else ''}\n")

    def printed(self, conversation: Conversing, text: str) -> None:
        self._write(conversation.owner.name.rpartition("::")[2], text)

    def finished(self, conversation: Conversing, turn: Turn) -> None:
        name = conversation.owner.name.rpartition("::")[2]
        ended = "" if turn.output.endswith("\n") or not turn.output else "\n"
        self._write(name, f"{ended}{name}: {turn.summary}\n")

    def _write(self, name: str, text: str) -> None:
        if self._prefixed:
            lines = (self._pending.pop(name, "") + text).split("\n")
            self._pending[name] = lines.pop()
            text = "".join(f"[{name}] {line}\n" for line in lines if line)
        past_capture(self._config, self._secrets(text), stderr=self._prefixed)


def past_capture(config: pytest.Config, text: str, *, stderr: bool = False) -> None:
    """Write to the terminal although pytest captures."""
    with uncaptured(config):
        file = sys.__stderr__ if stderr else sys.__stdout__
        if file is not None and text:
            encoding = file.encoding or "utf-8"
            file.write(text.encode(encoding, "replace").decode(encoding))
            file.flush()


@contextmanager
def uncaptured(config: pytest.Config) -> Iterator[None]:
    """Hold pytest's capture off meanwhile."""
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else nullcontext():
        yield
