"""Takes secrets out of the objects that pytest hands round: reports, tracebacks, warnings, log records."""

from __future__ import annotations

import dataclasses
import linecache
import logging
import operator
import warnings
from contextlib import suppress

import pytest

from pytest_kiro.secrecy.redaction import Secrets

#: What a report is found by, or is about; a changed one would be another test's.
_KEPT = frozenset({"nodeid", "_id", "location", "keywords", "node", "result", "when", "outcome"})
_DEEPEST = 50


def hide_in_report(report: pytest.TestReport | pytest.CollectReport, secrets: Secrets) -> None:
    """Take secrets out of a report: message, traceback, captured output, properties, …"""
    if not secrets.any:
        return
    for name, value in list(vars(report).items()):
        if name not in _KEPT and (fresh := hidden(value, secrets)) is not value:
            setattr(report, name, fresh)
    traceback = report.longrepr
    if hasattr(traceback, "toterminal") and not _is_pytests(traceback):
        # Somebody's own, in which a text may be anywhere: as a text it is what people would have seen of it.
        shown = report.longreprtext
        if (text := secrets.torn(shown)) != shown:
            report.longrepr = text


def hidden(value: object, secrets: Secrets, depth: int = 0) -> object:
    """Return a value without secrets.

    Texts are replaced, in lists and the like too; what pytest made of an exception is changed itself.
    """
    if isinstance(value, str):
        return secrets.torn(value)
    if isinstance(value, bytes):
        return secrets.data(value)
    if depth > _DEEPEST:
        return value
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        parts = [hidden(part, secrets, depth + 1) for part in value]
        return value if all(map(operator.is_, parts, value)) else type(value)(parts)
    if isinstance(value, dict) and type(value) is dict:
        pairs = {hidden(key, secrets): hidden(inner, secrets, depth + 1) for key, inner in value.items()}
        same = all(map(operator.is_, [*pairs, *pairs.values()], [*value, *value.values()]))
        return value if same else pairs
    if _is_pytests(value):
        fields = dataclasses.fields(value) if dataclasses.is_dataclass(value) else ()
        for name in dict.fromkeys([*(field.name for field in fields), *getattr(value, "__dict__", {})]):
            inner = getattr(value, name, None)
            if (fresh := hidden(inner, secrets, depth + 1)) is not inner:
                with suppress(AttributeError, TypeError):
                    object.__setattr__(value, name, fresh)  # some are frozen
    return value


def hide_in_warning(warning: warnings.WarningMessage, secrets: Secrets) -> None:
    """Take secrets out of a recorded warning, and its source line."""
    text, line = str(warning.message), warning.line or linecache.getline(warning.filename, warning.lineno)
    if (fresh := secrets(text)) != text:
        warning.message = Warning(fresh)  # its category is told apart
    if (fresh := secrets(line)) != line:
        warning.line = fresh


class HidingFormatter(logging.Formatter):
    """Takes secrets out of what another formatter makes of a log record."""

    def __init__(self, formatter: logging.Formatter, secrets: Secrets) -> None:
        super().__init__()
        self._formatter, self._secrets = formatter, secrets

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without secrets."""
        return self._secrets(self._formatter.format(record))


def _is_pytests(value: object) -> bool:
    """Whether pytest made it of an exception, or of a subtest."""
    kind = type(value)
    if not kind.__module__.startswith("_pytest."):
        return False
    return hasattr(kind, "toterminal") or (dataclasses.is_dataclass(kind) and "Context" in kind.__name__)
