"""Keeps secrets out of what pytest leaves on screen and on disk.

Reports are cleaned when they are made (on the xdist worker, before anything is sent) and once more when they are
logged, since others add to them: messages, tracebacks with locals, captured output, reasons, properties. The terminal's
own writer is the last to see what pytest shows, also of what is in no report: test names, headers, summaries, live
logs, Ctrl-C. The log file is cleaned as it is written, and the JUnit file when it has been.

What stays as it is: the name of a test, which others find it by (parametrise with ids, not with secrets; pytest's cache
keeps names); what a test itself writes, into files or, with `-s` and `--capture=tee-sys`, past pytest to the terminal;
and what Kiro has in its sandbox, where it may need the key.
"""

from __future__ import annotations

import warnings
from collections.abc import Generator
from pathlib import Path

import pytest

from pytest_kiro.errors import SettingsError
from pytest_kiro.plugin.hidden_values import HidingFormatter, hidden, hide_in_report, hide_in_warning
from pytest_kiro.plugin.xdist import tell_controller
from pytest_kiro.secrecy.redaction import SHORTEST, Secrets

_Report = pytest.TestReport | pytest.CollectReport


class Hiding:
    """Takes secrets out of what pytest writes.

    It is registered as the last plugin, so that its `tryfirst` hooks come before all others.
    """

    def __init__(self, config: pytest.Config, secrets: Secrets) -> None:
        self._config, self._secrets = config, secrets

    def begin(self) -> None:
        """Hide them on screen and in the log file from now on; reports are cleaned by the hooks below."""
        if self._config.pluginmanager.hasplugin("terminalreporter"):
            self._hide_on_screen()
        handler = getattr(self._config.pluginmanager.getplugin("logging-plugin"), "log_file_handler", None)
        if handler is not None and handler.formatter is not None:
            handler.setFormatter(HidingFormatter(handler.formatter, self._secrets))

    def take(self, answer: object) -> None:
        """Hide what a `pytest_kiro_secrets` has returned; `UsageError` where that is no list of texts."""
        try:
            for value in _checked(answer):
                self._secrets.add(value, "secret")
        except SettingsError as error:
            tell_controller(self._config, "kiro_usage_error", str(error))
            raise pytest.UsageError(str(error)) from None

    def _hide_on_screen(self) -> None:
        writer, secrets = self._config.get_terminal_writer(), self._secrets
        write = writer.write

        def write_hidden(msg: str, **how: bool) -> None:
            write(secrets.torn(msg), **how)

        writer.write = write_hidden  # type: ignore[method-assign] # no hook sees what it writes

    # -- reports

    @pytest.hookimpl(wrapper=True, trylast=True)  # before a conftest's own wrapper has a look
    def pytest_runtest_makereport(self) -> Generator[None, _Report, _Report]:
        report = yield
        hide_in_report(report, self._secrets)
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: _Report) -> Generator[None, None, None]:
        hide_in_report(report, self._secrets)
        return (yield)

    #: pluggy finds hooks by the names of attributes: what holds for tests holds for collectors.
    pytest_make_collect_report, pytest_collectreport = pytest_runtest_makereport, pytest_runtest_logreport

    @pytest.hookimpl(tryfirst=True)
    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage) -> None:
        hide_in_warning(warning_message, self._secrets)

    @pytest.hookimpl(tryfirst=True)
    def pytest_internalerror(self, excrepr: object) -> None:
        hidden(excrepr, self._secrets)

    @pytest.hookimpl(wrapper=True, tryfirst=True)  # after all others, whatever they raise
    def pytest_sessionfinish(self) -> Generator[None, None, None]:
        try:
            return (yield)
        finally:
            for plugin in self._config.pluginmanager.get_plugins():
                if hasattr(plugin, "add_global_property") and hasattr(plugin, "logfile"):
                    self._hide_in_file(Path(plugin.logfile))  # pytest's own JUnit plugin, which has no name

    def _hide_in_file(self, file: Path) -> None:
        if file.is_file() and (fresh := self._secrets.data(data := file.read_bytes())) != data:
            file.write_bytes(fresh)


def _checked(answer: object) -> list[str]:
    """Return what a `pytest_kiro_secrets` has returned; an error never shows it."""
    what, advice = "pytest_kiro_secrets returned", "wanted: a list of texts"
    if not isinstance(answer, list | tuple | set | frozenset):
        raise SettingsError(f"{what} a {type(answer).__name__}", advice=advice)
    for value in answer:
        if not isinstance(value, str):
            none = ", such as os.environ.get(name, '')" if value is None else ""
            raise SettingsError(f"{what} a list with a {type(value).__name__} in it", advice=f"{advice}{none}")
        if value and len(value.strip()) < SHORTEST:
            raise SettingsError(
                f"{what} a text of {len(value.strip())} characters, which would be found in half of all words",
                advice=f"use secrets of {SHORTEST} or more characters, or leave it out",
            )
    return list(answer)
