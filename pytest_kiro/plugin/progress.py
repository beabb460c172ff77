"""Says on the terminal what takes long, while it does."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pytest_kiro.plugin.stream import past_capture, uncaptured

if TYPE_CHECKING:
    import pytest

    from pytest_kiro.secrecy.redaction import Secrets

_LOGGER = logging.getLogger("pytest_kiro")
Location = tuple[str, int | None, str]


class Progress(logging.Handler):
    """Shows what the package logs: sandboxes created, snapshots built, CLIs installed.

    Under xdist each line names its worker and goes to stderr, since a worker's stdout reaches nobody. Unless INFO was
    asked for anyway, what is shown here is not logged as well: a failing test's captured log would have a whole build
    in it.
    """

    def __init__(self, config: pytest.Config, worker: str, secrets: Secrets) -> None:
        super().__init__(logging.INFO)
        self._config, self._worker, self._secrets = config, worker, secrets
        #: The test that runs, as pytest's terminal announces it.
        self.at: tuple[str, Location] | None = None
        self._depth = 0
        self._before = (logging.NOTSET, True)
        self._logged_from = logging.NOTSET
        self._interrupted = False

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show what is logged meanwhile; it may be nested."""
        self._depth += 1
        if self._depth == 1:
            self._begin()
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                _LOGGER.removeHandler(self)
                level, _LOGGER.propagate = self._before
                _LOGGER.setLevel(level)
            self._go_on()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Leave the terminal to a device login, at a line's beginning."""
        with uncaptured(self._config):
            self._begin_line()
            yield

    def emit(self, record: logging.LogRecord) -> None:
        if self._logged_from and record.levelno >= self._logged_from:
            logging.getLogger().handle(record)
        try:
            self._say(f"kiro: {' '.join(self._secrets(record.getMessage()).split())}")
        except Exception:
            self.handleError(record)

    def _begin(self) -> None:
        self._before, self._logged_from = (_LOGGER.level, _LOGGER.propagate), logging.NOTSET
        if not _LOGGER.isEnabledFor(logging.INFO):
            self._logged_from = _LOGGER.getEffectiveLevel()
            _LOGGER.propagate = False
            _LOGGER.setLevel(logging.INFO)
        _LOGGER.addHandler(self)

    def _say(self, text: str) -> None:
        if self._worker != "main":
            past_capture(self._config, f"[{self._worker}] {text}\n", stderr=True)
            return
        with uncaptured(self._config):
            if terminal := self._begin_line():
                terminal.write_line(text)
                terminal.flush()

    def _begin_line(self) -> pytest.TerminalReporter | None:
        """Return this process's terminal, at the beginning of a line; None without one."""
        terminal = self._terminal if self._worker == "main" else None
        if terminal is not None:
            terminal.ensure_newline()
            if self._config.get_terminal_writer().width_of_current_line:  # the dots of -q
                terminal.write("\n", flush=True)
            self._interrupted = True
        return terminal

    def _go_on(self) -> None:
        """Let the dots go on behind their file's name."""
        if self._interrupted and self.at is not None and (terminal := self._terminal):
            with uncaptured(self._config):
                terminal.pytest_runtest_logstart(*self.at)
        self._interrupted = False

    @property
    def _terminal(self) -> pytest.TerminalReporter | None:
        terminal: pytest.TerminalReporter | None = self._config.pluginmanager.getplugin("terminalreporter")
        return terminal
