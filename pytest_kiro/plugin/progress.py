"""What takes long, said while it does: one line that changes on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pytest_kiro.plugin.stream import past_capture, uncaptured
from pytest_kiro.secrecy.redaction import Secrets

_LOGGER = logging.getLogger("pytest_kiro")


class Progress(logging.Handler):
    """Shows what the package logs: sandboxes that are created, snapshots that are built, installations.

    `config` is pytest's; under xdist each line names its worker and goes to stderr, since a worker's stdout reaches
    nobody. Unless INFO was asked for anyway, what is shown here is not logged as well: a failing test's captured log
    would have a whole build in it.
    """

    def __init__(self, config: Any, worker: str, secrets: Secrets) -> None:
        super().__init__(logging.INFO)
        self._config, self._worker, self._secrets = config, worker, secrets
        #: The test that runs, as pytest's terminal announces it.
        self.at: tuple[str, Any] | None = None
        self._depth = 0
        self._before = (0, True)
        self._logged_from = logging.NOTSET
        self._back: str | None = None  # what leads from the changing line to where the terminal was
        self._resume = False  # whether plain lines have interrupted the terminal's own

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show what is logged meanwhile; at the end the changing line is taken away. It may be nested."""
        self._depth += 1
        if self._depth == 1:
            self._begin()
        try:
            yield
        finally:
            self.acquire()  # another thread may be at it
            try:
                self._depth -= 1
                if self._depth == 0:
                    self._end()
                self._clear()
            finally:
                self.release()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Leave the terminal to somebody else meanwhile, from a line of its own on."""
        self._clear()
        terminal = self._config.pluginmanager.getplugin("terminalreporter")
        with uncaptured(self._config):
            if terminal is not None and self._worker == "main":
                terminal.ensure_newline()
                if terminal._tw.width_of_current_line:  # the dots of -q
                    terminal.write("\n", flush=True)
                self._resume = True
            yield

    def _begin(self) -> None:
        self._before, self._logged_from = (_LOGGER.level, _LOGGER.propagate), logging.NOTSET
        if not _LOGGER.isEnabledFor(logging.INFO):
            self._logged_from = _LOGGER.getEffectiveLevel()
            _LOGGER.propagate = False
            _LOGGER.setLevel(logging.INFO)
        _LOGGER.addHandler(self)

    def _end(self) -> None:
        _LOGGER.removeHandler(self)
        level, _LOGGER.propagate = self._before
        _LOGGER.setLevel(level)

    def emit(self, record: logging.LogRecord) -> None:
        if self._logged_from and record.levelno >= self._logged_from:
            logging.getLogger().handle(record)
        try:
            self._show(f"kiro: {' '.join(self._secrets(record.getMessage()).split())}")
        except Exception:
            self.handleError(record)

    def _show(self, text: str) -> None:
        terminal = self._config.pluginmanager.getplugin("terminalreporter")
        if self._worker != "main":
            past_capture(self._config, f"[{self._worker}] {text}\n", stderr=True)
        elif terminal is None:  # -p no:terminal: whoever does so wants to read nothing
            return
        elif self._may_change(terminal):
            self._change(text, terminal._tw.width_of_current_line)
        else:
            with uncaptured(self._config):
                terminal.ensure_newline()
                if terminal._tw.width_of_current_line:  # the dots of -q
                    terminal.write("\n")
                terminal.write(f"{text}\n", flush=True)
            self._resume = True

    def _change(self, text: str, width: int) -> None:
        columns, begin = shutil.get_terminal_size().columns, ""
        if self._back is None:
            # On the next line, and at the end up again to where the dots go on.
            begin, up = ("\n", f"\x1b[1A\x1b[{(width - 1) % columns + 1}C") if width else ("", "")
            self._back = f"\r\x1b[K{up}"
        shown = text if len(text) < columns else f"{text[: columns - 2]}…"
        past_capture(self._config, f"{begin}\r\x1b[K{shown}")

    def _clear(self) -> None:
        """Let the terminal go on where it was."""
        if self._back is not None:
            past_capture(self._config, self._back)
            self._back = None
        if self._resume and self.at is not None:
            with uncaptured(self._config):
                self._config.pluginmanager.getplugin("terminalreporter").pytest_runtest_logstart(*self.at)
        self._resume = False

    def _may_change(self, terminal: Any) -> bool:
        """Whether a line can be changed: on a terminal on which nobody else prints meanwhile."""
        captured = self._config.getoption("capture", "no") in ("fd", "sys")
        return bool(terminal.isatty) and captured and os.environ.get("TERM") != "dumb"
