"""Takes secrets out of the objects that pytest hands round: reports, tracebacks, warnings, log records."""

from __future__ import annotations

import dataclasses
import linecache
import logging
import operator
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from pytest_kiro.secrecy.redaction import Secrets

#: What a report is found by, or is about; a changed one would be another test's.
_KEPT = frozenset({"nodeid", "_id", "location", "keywords", "node", "result", "when", "outcome"})
_DEEPEST = 50


def hide_in_report(report: Any, secrets: Secrets) -> None:
    """Take secrets out of a test's or a collector's report: message, traceback, captured output, properties, …"""
    if not secrets.any:
        return
    for name, value in list(vars(report).items()):
        if name not in _KEPT and (fresh := hidden(value, secrets)) is not value:
            setattr(report, name, fresh)
    traceback = report.longrepr
    if hasattr(traceback, "toterminal") and not _is_pytests(traceback):
        # Somebody's own, in which a text may be anywhere: as a text it is what people would have seen of it.
        shown = report.longreprtext
        if (fresh := secrets.torn(shown)) != shown:
            report.longrepr = fresh


def hidden(value: Any, secrets: Secrets, depth: int = 0) -> Any:
    """Return a value without secrets: texts are replaced, in lists and the like too; a traceback is changed itself."""
    if isinstance(value, str):
        return secrets.torn(value)
    if isinstance(value, bytes):
        return secrets.data(value)
    if depth > _DEEPEST:
        return value
    if type(value) in (list, tuple):
        fresh = [hidden(one, secrets, depth + 1) for one in value]
        return value if all(map(operator.is_, fresh, value)) else type(value)(fresh)
    if type(value) is dict:
        fresh = hidden(items := list(value.items()), secrets, depth)
        return value if fresh is items else dict(fresh)
    if _is_pytests(value):
        for name, inner in _attributes(value):
            if (fresh := hidden(inner, secrets, depth + 1)) is not inner:
                with suppress(AttributeError, TypeError):
                    object.__setattr__(value, name, fresh)  # some are frozen
    return value


def hide_in_warning(warning: Any, secrets: Secrets) -> None:
    """Take secrets out of a recorded warning, and out of the line of source that is shown with it."""
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


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    fields = dataclasses.fields(value) if dataclasses.is_dataclass(value) else ()
    names = dict.fromkeys([*(field.name for field in fields), *getattr(value, "__dict__", {})])
    return ((name, getattr(value, name)) for name in names if hasattr(value, name))
