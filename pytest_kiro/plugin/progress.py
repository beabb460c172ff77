"""Says on the terminal what takes long."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from pytest_kiro.secrecy.visible import visible

if TYPE_CHECKING:
    import pytest

    from pytest_kiro.secrecy.redaction import Secrets

_LOGGER = logging.getLogger("pytest_kiro")


class Progress(logging.Handler):
    """Shows what the package logs: sandboxes created, snapshots built, CLIs installed.

    Under xdist each line names its worker and goes to stderr, since a worker's stdout reaches nobody. Unless INFO was
    asked for anyway, what is shown here is not logged as well: a failing test's captured log would have a whole build
    in it.
    """

    def __init__(self, config: pytest.Config, worker: str, secrets: Secrets) -> None:
        super().__init__(logging.INFO)
        self._config, self._worker, self._secrets = config, worker, secrets
        self._terminal: pytest.TerminalReporter | None = config.pluginmanager.getplugin("terminalreporter")
        #: The test that runs in this process, as pytest's terminal announces it.
        self.at: tuple[str, tuple[str, int | None, str]] | None = None
        self._logged_from = logging.NOTSET
        self._interrupted = False

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show what is logged meanwhile; it may be nested."""
        try:
            with nullcontext() if self in _LOGGER.handlers else self._listening():
                yield
        finally:
            self._go_on()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Leave the terminal to a device login, at a line's beginning."""
        with uncaptured(self._config):
            self._begin_line()
            yield

    def between(self, line: str) -> None:
        """Write a line between two tests."""
        self._say(line)
        self._go_on()

    def emit(self, record: logging.LogRecord) -> None:
        if self._logged_from and record.levelno >= self._logged_from:
            logging.getLogger().handle(record)
        try:
            self._say(f"kiro: {' '.join(self._secrets(record.getMessage()).split())}")
        except Exception:
            self.handleError(record)

    @contextmanager
    def _listening(self) -> Iterator[None]:
        level, propagate, self._logged_from = _LOGGER.level, _LOGGER.propagate, logging.NOTSET
        if not _LOGGER.isEnabledFor(logging.INFO):
            self._logged_from = _LOGGER.getEffectiveLevel()
            _LOGGER.propagate = False
            _LOGGER.setLevel(logging.INFO)
        _LOGGER.addHandler(self)
        try:
            yield
        finally:
            _LOGGER.removeHandler(self)
            _LOGGER.propagate = propagate
            _LOGGER.setLevel(level)

    def _say(self, text: str) -> None:
        text = visible(text)
        if self._worker != "main":
            past_capture(self._config, f"[{self._worker}] {text}\n", stderr=True)
            return
        with uncaptured(self._config):
            if terminal := self._begin_line():
                terminal.write_line(text)
                terminal.flush()

    def _begin_line(self) -> pytest.TerminalReporter | None:
        """Return the terminal, at the beginning of a line; None without one, as on a worker."""
        if self._terminal:
            self._terminal.ensure_newline()
            if self._config.get_terminal_writer().width_of_current_line:  # the dots of -q
                self._terminal.write("\n", flush=True)
            self._interrupted = True
        return self._terminal

    def _go_on(self) -> None:
        """Let the dots go on behind their file's name."""
        if self._interrupted and self.at is not None and self._terminal:
            with uncaptured(self._config):
                self._terminal.pytest_runtest_logstart(*self.at)
        self._interrupted = False


def past_capture(config: pytest.Config, text: str, *, stderr: bool) -> None:
    """Write to the terminal although pytest captures."""
    with uncaptured(config):
        file = sys.__stderr__ if stderr else sys.__stdout__
        if file is not None and text:
            if getattr(config, "workerinput", {}).get("kiro_shows_turns"):  # by the controller, below the cursor
                text = text.replace("\n", "\x1b[K\n")
            encoding = file.encoding or "utf-8"
            file.write(text.encode(encoding, "replace").decode(encoding))
            file.flush()


def let_pass_first(config: pytest.Config, through: Callable[[str], str]) -> None:
    """Let whatever pytest writes to its terminal pass through a function first."""
    writer = config.get_terminal_writer()
    write = writer.write

    def write_what_passed(msg: str, **how: bool) -> None:
        write(through(msg), **how)

    writer.write = write_what_passed  # type: ignore[method-assign] # hooks hear of reports, not of what is written


@contextmanager
def uncaptured(config: pytest.Config) -> Iterator[None]:
    """Hold pytest's capture off meanwhile."""
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else nullcontext():
        yield
