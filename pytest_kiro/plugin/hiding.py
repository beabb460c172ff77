"""Keeps secrets out of what pytest leaves, and controls out of reports.

Reports are cleaned when they are made (on the xdist worker, before anything is sent) and once more when they are
logged, since others add to them: messages, tracebacks with locals, captured output, reasons, properties. The terminal's
own writer is the last to see what pytest shows, also of what is in no report: test names, headers, summaries, live
logs, Ctrl-C. The log file is cleaned as it is written, and the JUnit file when it has been.

An eval's reports are made visible as well when they are logged, since an agent has written what a failed assert
compares, and what the test printed of it. In tracebacks control characters are escaped, since a comparison may be
about them; where pytest colours these, plain colours stay. Reports of plain tests are their authors'.

What stays as it is: the name of a test, which others find it by (parametrise with ids, not with secrets; pytest's cache
keeps names); what a test itself writes, into files or, with `-s` and `--capture=tee-sys`, past pytest to the terminal;
and what Kiro has in its sandbox, where it may need the key.
"""

from __future__ import annotations

import dataclasses
import linecache
import logging
import operator
import warnings
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from pytest_kiro.errors import SettingsError
from pytest_kiro.plugin.progress import let_pass_first
from pytest_kiro.plugin.state import TALLY, State
from pytest_kiro.secrecy.redaction import SHORTEST, Secrets
from pytest_kiro.secrecy.visible import visible

_Report = pytest.TestReport | pytest.CollectReport
#: What a report is found by, or is about; a changed one would be another test's.
_KEPT = frozenset({"nodeid", "_id", "location", "keywords", "node", "result", "when", "outcome"})
_DEEPEST = 50
_Change = Callable[[str], str]


class Hiding:
    """Takes secrets out of what pytest writes."""

    def __init__(self, state: State) -> None:
        self._state, self._config, self._secrets = state, state.config, state.secrets
        #: The names of evals, by what their reports carry; and whether pytest colours what it shows.
        self._evals: set[str] = set()
        self._colours = False

    def begin(self) -> None:
        """Hide them on screen and in the log file from now on; reports are cleaned by the hooks below."""
        plugins = self._config.pluginmanager
        plugins.register(self, "kiro-hiding")
        if plugins.hasplugin("terminalreporter"):
            self._colours = self._config.get_terminal_writer().hasmarkup
            let_pass_first(self._config, self._secrets.torn)
        handler = getattr(plugins.getplugin("logging-plugin"), "log_file_handler", None)
        if handler is not None and handler.formatter is not None:
            handler.setFormatter(_HidingFormatter(handler.formatter, self._secrets))

    def take(self, answer: object) -> None:
        """Hide what a `pytest_kiro_secrets` has returned; `UsageError` where that is no list of texts."""
        try:
            for value in _checked(answer):
                self._secrets.add(value, "secret")
        except SettingsError as error:
            raise self._state.usage_error(str(error)) from None

    # -- reports

    @pytest.hookimpl(wrapper=True, trylast=True)  # before a conftest's own wrapper has a look
    def pytest_runtest_makereport(self) -> Generator[None, _Report, _Report]:
        report = yield
        _hide_in_report(report, self._secrets)
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None, None, None]:
        if TALLY in vars(report):
            self._evals.add(report.nodeid)
        if report.nodeid in self._evals:  # of a subtest, too
            _make_visible(report, colours=self._colours)
        _hide_in_report(report, self._secrets)
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collectreport(self, report: pytest.CollectReport) -> Generator[None, None, None]:
        _hide_in_report(report, self._secrets)
        return (yield)

    #: pluggy finds hooks by the names of attributes: what holds for tests holds for collectors.
    pytest_make_collect_report = pytest_runtest_makereport

    @pytest.hookimpl(tryfirst=True)
    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage) -> None:
        """Clean the warning and its source line."""
        warning, secrets = warning_message, self._secrets
        text, line = str(warning.message), warning.line or linecache.getline(warning.filename, warning.lineno)
        if (fresh := secrets(visible(text))) != text:
            warning.message = Warning(fresh)  # its category is told apart
        if (fresh := secrets(line)) != line:
            warning.line = fresh

    @pytest.hookimpl(tryfirst=True)
    def pytest_internalerror(self, excrepr: object) -> None:
        _changed(excrepr, lambda text: self._secrets.torn(visible(text)), self._secrets.data)

    @pytest.hookimpl(wrapper=True, tryfirst=True)  # after all others, whatever they raise
    def pytest_sessionfinish(self) -> Generator[None, None, None]:
        try:
            return (yield)
        finally:
            for plugin in self._config.pluginmanager.get_plugins():
                if hasattr(plugin, "add_global_property") and hasattr(plugin, "logfile"):
                    file = Path(plugin.logfile)  # of pytest's own JUnit plugin, which has no name
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


class _HidingFormatter(logging.Formatter):
    def __init__(self, formatter: logging.Formatter, secrets: Secrets) -> None:
        super().__init__()
        self._formatter, self._secrets = formatter, secrets

    def format(self, record: logging.LogRecord) -> str:
        return self._secrets(self._formatter.format(record))


def _hide_in_report(report: _Report, secrets: Secrets) -> None:
    """Take secrets out of a report: message, traceback, captured output, properties, …"""
    if secrets.any:
        _change_report(report, lambda _: secrets.torn, secrets.data)


def _make_visible(report: _Report, *, colours: bool) -> None:
    """Take out of an eval's report what controls a terminal; what it carries for us is data."""

    def change_of(name: str) -> _Change:
        exact = name == "longrepr"
        return str if name.startswith("kiro") else partial(visible, exact=exact, colours=colours and exact)

    _change_report(report, change_of, bytes)


def _change_report(report: _Report, change_of: Callable[[str], _Change], data: Callable[[bytes], bytes]) -> None:
    """Change a report's texts by what `change_of` returns for an attribute."""
    for name, value in list(vars(report).items()):
        if name not in _KEPT and (fresh := _changed(value, change_of(name), data)) is not value:
            setattr(report, name, fresh)
    traceback = report.longrepr
    if hasattr(traceback, "toterminal") and not _is_pytests(traceback):
        # Somebody's own, in which a text may be anywhere: as a text it is what people would have seen of it.
        shown = report.longreprtext
        if (text := change_of("longrepr")(shown)) != shown:
            report.longrepr = text


def _changed(value: object, change: _Change, data: Callable[[bytes], bytes], depth: int = 0) -> object:
    """Return a value with its texts changed, itself if none is; what pytest made of an exception is changed itself."""
    if isinstance(value, str):
        changed = change(value)
        return changed if changed != value else value
    if isinstance(value, bytes):
        return data(value)
    if depth > _DEEPEST:
        return value
    if type(value) is list or type(value) is tuple:
        parts = [_changed(part, change, data, depth + 1) for part in value]
        return value if all(map(operator.is_, parts, value)) else type(value)(parts)
    if type(value) is dict:
        pairs = {_changed(key, change, data): _changed(inner, change, data, depth + 1) for key, inner in value.items()}
        same = all(map(operator.is_, [*pairs, *pairs.values()], [*value, *value.values()]))
        return value if same else pairs
    if _is_pytests(value):
        fields = dataclasses.fields(value) if dataclasses.is_dataclass(value) else ()
        for name in dict.fromkeys([*(field.name for field in fields), *getattr(value, "__dict__", {})]):
            inner = getattr(value, name, None)
            if (fresh := _changed(inner, change, data, depth + 1)) is not inner:
                with suppress(AttributeError, TypeError):
                    object.__setattr__(value, name, fresh)  # some are frozen
    return value


def _is_pytests(value: object) -> bool:
    """Whether pytest made it of an exception, or of a subtest."""
    kind = type(value)
    if not kind.__module__.startswith("_pytest."):
        return False
    return hasattr(kind, "toterminal") or (dataclasses.is_dataclass(kind) and "Context" in kind.__name__)
