"""Keeps what a test was given and is judged by: its parameters, properties, and its checks' digest."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from pytest_kiro.agent.digests import digest
from pytest_kiro.plugin.trials import TRIAL
from pytest_kiro.records.plain import clean_value, cut, cut_values
from pytest_kiro.records.tests import PropertyRecord

if TYPE_CHECKING:
    import pytest

    from pytest_kiro.agent.bench import Owner
    from pytest_kiro.secrecy.redaction import Secrets

#: What properties of JUnit files begin with that are ours, and stand elsewhere in records.
_OURS = "kiro"
#: How many parameters and properties are kept of a test, and characters of each and of its name.
_MOST, _VALUE, _NAME = 100, 4_096, 200


def inputs_of(
    item: pytest.Item, report: pytest.TestReport, owners: Iterable[Owner], secrets: Secrets
) -> dict[str, Any]:
    """Return what a report carries of inputs, by `ReportRecord`'s fields."""
    if report.when == "setup":
        return {"params": parameters_of(item, secrets)}
    own = {"properties": properties_of(report.user_properties, secrets)}
    return own if report.when != "call" else {**own, "check_hash": check_hash_of(item, owners)}


def parameters_of(item: pytest.Item, secrets: Secrets) -> dict[str, Any]:
    """Return the values with which a parametrised test is called."""
    call = getattr(item, "callspec", None)  # of functions only
    values: Mapping[str, Any] = call.params if call else {}
    own = [(name, value) for name, value in values.items() if name != TRIAL]
    return {one.name: one.value for one in _kept(own, secrets)}


def properties_of(properties: Iterable[tuple[str, object]], secrets: Secrets) -> tuple[PropertyRecord, ...]:
    """Return what a test has recorded by `record_property`."""
    return tuple(_kept([one for one in properties if not str(one[0]).startswith(_OURS)], secrets))


def _kept(values: Sequence[tuple[str, object]], secrets: Secrets) -> Iterator[PropertyRecord]:
    """Yield the first values as JSON has them, without secrets, each cut."""
    for name, value in values[:_MOST]:
        plain = secrets.within(clean_value(value, secrets))
        kept, _ = cut_values({"": plain}, _VALUE)
        yield PropertyRecord(name=cut(secrets(str(name)), _NAME)[0], value=kept[""])


def check_hash_of(item: pytest.Item, owners: Iterable[Owner]) -> str:
    """Return a digest of what judges a test.

    That is its function, without its name and its marks, and what `workspace.check` executed.
    """
    executed = [turn.workspace.check_hash for owner in owners for turn in owner.turns]
    return digest(_source(getattr(item, "function", None)), *dict.fromkeys(executed))


@cache
def _source(function: Any) -> str:
    """Return a function as Python writes it: comments and layout do not count."""
    try:
        text = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):  # it is of no file, or no function
        return ""
    try:
        node = ast.parse(text).body[0]
    except (SyntaxError, IndexError):  # a text in it begins left of it
        return text
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        node.name, node.decorator_list = "test", []
    return ast.unparse(node)
