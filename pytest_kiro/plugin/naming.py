"""Makes owners of tests and fixtures, with scenario names and marks."""

from __future__ import annotations

import enum
import inspect
import re
from collections import ChainMap
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_kiro.errors import SettingsError
from pytest_kiro.plugin.trials import ANSWERED_AS, kiro_id_of, name_of, number_of, trial_of
from pytest_kiro.settings.table import did_you_mean

if TYPE_CHECKING:
    from pytest_kiro.agent.bench import Owner

_MARKER_WORDS = [
    "workspace",
    "agent",
    "model",
    "effort",
    "timeout",
    "trust",
    "env",
    "memory",
    "ignore",
    "budget",
    "max_turns",
    "max_calls",
    "version",
    "kiro_id",
]
#: Found from the session's one sandbox, so a second one for some tests only would be made and not used.
_ROOT_ONLY = ("kiro_sandbox", "kiro_sandbox_args")


def _marker_words(item: pytest.Item | pytest.Collector) -> Mapping[str, Any]:
    """Return the keywords of `mark.kiro`, the closest mark winning word by word."""
    return ChainMap(*(dict(mark.kwargs) for mark in item.iter_markers("kiro")))


def owner_of_test(item: pytest.Item) -> Owner:
    from pytest_kiro.agent.bench import Owner  # which no collection needs

    classes = [node.name for node in item.listchain() if isinstance(node, pytest.Class)]
    trial, number = trial_of(item), number_of(item)
    name = item.name
    if trial is not None:
        name = item.stash.get(ANSWERED_AS, trial.group).removeprefix(name_of(item).removesuffix(item.name))
    names = dict.fromkeys([name, getattr(item, "originalname", None) or name])
    request = getattr(item, "_request", None)  # pytest has no public way from an item to its request
    return Owner(
        name=item.nodeid,
        tables=tuple(".".join([*classes, name]) for name in names),
        file=item.path,
        marker=lambda: _marker_words(item),
        run_args=cache(lambda: request.getfixturevalue("kiro_run_args") if request else {}),
        trial=trial.number if trial else 1,
        variant=number.variant if number else None,
    )


def owner_of_fixture(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> Owner:
    from pytest_kiro.agent.bench import Owner  # which no collection needs

    name, parameter = f"fixture:{fixturedef.argname}", _parameter_id(fixturedef, request)
    named = f"{name}[{parameter}]" if parameter is not None else name
    node = request.node
    number = number_of(getattr(request, "_pyfuncitem", None))  # pytest has no public way to the test either
    return Owner(
        name=named,
        tables=tuple(dict.fromkeys([named, name])),
        file=_file_of(fixturedef.func) or node.path,
        marker=lambda: _marker_words(node),
        run_args=cache(lambda: request.getfixturevalue("kiro_run_args")),
        wide=True,
        trial=int(number or 1),
        variant=number.variant if number else None,
    )


def _file_of(function: Any) -> Path | None:
    """Return the file that defines a fixture; None where Python cannot tell, as of a compiled function."""
    for definition in (inspect.unwrap(function), type(function)):  # it may be a callable object
        with suppress(TypeError):
            return Path(inspect.getfile(definition))
    return None


def _parameter_id(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> str | None:
    """Return the id of a fixture's parameter, as test names show it."""
    if not hasattr(request, "param"):
        return None
    index, ids = getattr(request, "param_index", 0), fixturedef.ids
    named = ids(request.param) if callable(ids) else ids[index] if ids else None
    raw = fixturedef.params[index] if fixturedef.params else request.param
    named = named if named is not None else getattr(raw, "id", None)
    if named is not None:
        return str(named)
    if isinstance(request.param, str | int | float | complex | enum.Enum | None):
        return str(request.param)
    return str(getattr(request.param, "__name__", f"{fixturedef.argname}{index}"))


def definitions_of(item: pytest.Item) -> set[pytest.FixtureDef[Any]]:
    """Return the fixtures that a test asked for, early or late; pytest has no public way to ask."""
    info = getattr(item, "_fixtureinfo", None)
    definitions = {one for known in info.name2fixturedefs.values() for one in known} if info else set()
    return definitions | set(getattr(getattr(item, "_request", None), "_fixture_defs", {}).values())


def refuse_second_sandbox(item: pytest.Item) -> None:
    """Raise `SettingsError` for a fixture that would make a second sandbox."""
    manager = item.session._fixturemanager  # pytest has no public way to ask which fixtures override one
    for name in _ROOT_ONLY:
        for place, definition in enumerate(manager.getfixturedefs(name, item) or ()):
            if definition.baseid not in ("", "."):
                raise SettingsError(
                    f"{definition.baseid} overrides the fixture {name}, but there is one sandbox for the whole "
                    "session, so its tests would not use that one",
                    advice="move it to the rootdir's conftest.py or a plugin",
                )
            if place and definition.func.__module__ == "pytest_kiro.plugin":
                raise SettingsError(
                    f"a plugin overrides the fixture {name}, but was loaded before pytest-kiro, so that its fixture "
                    "is hidden",
                    advice="load it by pytest_plugins in the rootdir's conftest.py instead of -p",
                )


def wrong_mark(items: Sequence[pytest.Item]) -> str | None:
    """Say what is wrong with the first wrong `mark.kiro`; None without one."""
    known = ", ".join(_MARKER_WORDS)
    for item in items:
        if (said := _unknown_mark(item)) is not None:
            return said
        for mark in item.iter_markers("kiro"):
            unknown = next((word for word in mark.kwargs if word not in _MARKER_WORDS), None)
            if mark.args:
                return f"{item.nodeid}: mark.kiro takes keywords only; known: {known}"
            if unknown is not None:
                hint = did_you_mean(unknown, _MARKER_WORDS)
                return f"{item.nodeid}: mark.kiro has no keyword {unknown!r}{hint}; known: {known}"
            word = mark.kwargs.get("kiro_id", "x")
            if not isinstance(word, str) or not word.strip():
                return f"{item.nodeid}: mark.kiro: kiro_id is {word!r}; wanted: a name that no other test has"
    return _same_id(items)


def _unknown_mark(item: pytest.Item) -> str | None:
    """Name a mark that looks like ours and is nobody's: a test without its trials would run once, and be green."""
    if alike := [mark.name for mark in item.iter_markers() if mark.name.startswith("kiro")]:
        lines = item.config.getini("markers")
        known = [name for line in lines if (name := re.split("[:(]", line)[0].strip()).startswith("kiro")]
        for name in alike:
            if name not in known:
                hint = did_you_mean(name, known)
                return f"{item.nodeid}: there is no mark.{name}{hint}; known: {', '.join(known)}"
    return None


def _same_id(items: Sequence[pytest.Item]) -> str | None:
    """Say which two tests have one `kiro_id`; None where there are none."""
    names: dict[str, str] = {}
    for item in items:
        if kiro_id := kiro_id_of(item):
            trial = trial_of(item)
            name = trial.group if trial else item.nodeid
            if (other := names.setdefault(kiro_id, name)) != name:
                return f"{name} and {other} have one kiro_id, {kiro_id!r}; give each its own"
    return None
