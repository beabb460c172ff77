"""Tells the agent whose turn it is: pytest's set-ups and teardowns, translated into owners (contract O)."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Generator, Iterable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pytest_kiro.agent.owner import Owner, Owners
from pytest_kiro.errors import SettingsError
from pytest_kiro.settings.table import did_you_mean

#: The keywords of `mark.kiro`.
MARKER_WORDS = ("workspace", "agent", "model", "effort", "timeout", "trust", "env")
#: Found from the session's one sandbox, so a second one for some tests only would be made and not used.
_ROOT_ONLY = ("kiro_sandbox", "kiro_sandbox_args")
OWNER = pytest.StashKey[Owner]()
#: The instances of wider fixtures that are alive.
_WIDE = pytest.StashKey[dict["pytest.FixtureDef[Any]", Owner]]()


class Ownership:
    """Starts and ends owners as pytest sets up and tears down."""

    def __init__(self, owners: Owners) -> None:
        self._owners = owners

    @pytest.hookimpl(tryfirst=True)  # inside of everybody's wrappers, which a refusal must not skip
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        # One owner an attempt: a plugin that runs a test again sets it up again.
        owner = item.stash[OWNER] = _owner_of_test(item)
        self._owners.push(owner)
        _refuse_second_sandbox(item)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        if "kiro" in getattr(item, "fixturenames", ()):
            _ask_early(item.stash[OWNER])

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, None, None]:
        try:
            return (yield)
        finally:
            if owner := item.stash.get(OWNER, None):
                self._owners.pop(owner)
                owner.end()

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, Any, Any]:
        if fixturedef.scope == "function":
            return (yield)  # the test's own
        owner = _owner_of_fixture(fixturedef, request)
        alive = request.config.stash.setdefault(_WIDE, {})

        def over() -> None:
            self._owners.pop(owner)
            alive.pop(fixturedef, None)
            owner.end()

        # Finalisers run last in, first out: these two bracket the fixture's own teardown code.
        fixturedef.addfinalizer(over)
        self._owners.push(owner)
        alive[fixturedef] = owner
        try:
            value = yield
            if "kiro" in fixturedef.argnames:
                _ask_early(owner)
            return value
        finally:
            self._owners.pop(owner)
            fixturedef.addfinalizer(lambda: self._owners.push(owner))


def owners_of(item: pytest.Item) -> list[Owner]:
    """Return whose turns a test looked at: those of its wider fixtures, asked for early or late, and its own."""
    definitions = {one for known in _definitions(item).values() for one in known}
    definitions.update(getattr(getattr(item, "_request", None), "_fixture_defs", {}).values())
    owners = [owner for one, owner in item.config.stash.get(_WIDE, {}).items() if one in definitions]
    own = item.stash.get(OWNER, None)
    return [*owners, own] if own else owners


def marker_words(item: pytest.Item | pytest.Collector) -> Mapping[str, Any]:
    """Return the keywords of `mark.kiro`, the closest mark winning word by word."""
    merged: dict[str, Any] = {}
    for mark in item.iter_markers("kiro"):
        merged = {**mark.kwargs, **merged}
    return merged


def _ask_early(owner: Owner) -> None:
    """Have `kiro_run_args` at hand for teardown code, when pytest gives out no further fixtures.

    What is wrong with it, the first turn is told, which may never come.
    """
    with suppress(Exception, pytest.fail.Exception, pytest.skip.Exception):
        owner.run_args()


def _owner_of_test(item: pytest.Item) -> Owner:
    classes = [node.name for node in item.listchain() if isinstance(node, pytest.Class)]
    names = dict.fromkeys([item.name, getattr(item, "originalname", None) or item.name])
    request = getattr(item, "_request", None)  # pytest has no public way from an item to its request
    return Owner(
        name=item.nodeid,
        tables=tuple(".".join([*classes, name]) for name in names),
        file=item.path,
        marker=lambda: marker_words(item),
        run_args=cache(lambda: request.getfixturevalue("kiro_run_args") if request else {}),
    )


def _owner_of_fixture(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> Owner:
    name, parameter = f"fixture:{fixturedef.argname}", _parameter_id(fixturedef, request)
    named = f"{name}[{parameter}]" if parameter is not None else name
    node = request.node
    return Owner(
        name=named,
        tables=tuple(dict.fromkeys([named, name])),
        file=_file_of(fixturedef.func) or node.path,
        marker=lambda: marker_words(node),
        run_args=cache(lambda: request.getfixturevalue("kiro_run_args")),
        wide=True,
    )


def _file_of(function: Any) -> Path | None:
    """Return the file that defines a fixture; None for what Python cannot tell, such as a compiled function."""
    with suppress(TypeError):
        return Path(inspect.getfile(inspect.unwrap(function)))
    with suppress(TypeError):
        return Path(inspect.getfile(type(function)))  # a callable object
    return None


def _parameter_id(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> str | None:
    """Return the id of a fixture's parameter, as pytest would show it in a test's name."""
    if not hasattr(request, "param"):
        return None
    index, ids = getattr(request, "param_index", 0), fixturedef.ids
    given = ids(request.param) if callable(ids) else ids[index] if ids else None
    raw = fixturedef.params[index] if fixturedef.params else request.param
    given = given if given is not None else getattr(raw, "id", None)
    if given is not None:
        return str(given)
    if isinstance(request.param, str | int | float | complex | enum.Enum | None):
        return str(request.param)
    return str(getattr(request.param, "__name__", f"{fixturedef.argname}{index}"))


def _definitions(item: pytest.Item) -> Mapping[str, Iterable[pytest.FixtureDef[Any]]]:
    """Return what a test's fixtures are, as far as its signature tells; pytest has no public way to ask."""
    info = getattr(item, "_fixtureinfo", None)
    return info.name2fixturedefs if info else {}


def check_marker(item: pytest.Item, mark: pytest.Mark) -> None:
    """Raise `UsageError` for a `mark.kiro` with words that are none of its own."""
    known = ", ".join(MARKER_WORDS)
    if mark.args:
        raise pytest.UsageError(f"{item.nodeid}: mark.kiro takes keywords only; known: {known}")
    for word in mark.kwargs:
        if word not in MARKER_WORDS:
            hint = did_you_mean(word, list(MARKER_WORDS))
            raise pytest.UsageError(f"{item.nodeid}: mark.kiro has no keyword {word!r}{hint}; known: {known}")


def _refuse_second_sandbox(item: pytest.Item) -> None:
    if "kiro" not in getattr(item, "fixturenames", ()):
        return
    manager: Any = getattr(item.session, "_fixturemanager")  # noqa: B009 - pytest has no public way to ask
    for name in _ROOT_ONLY:
        for place, definition in enumerate(manager.getfixturedefs(name, item) or ()):
            if definition.baseid not in ("", "."):
                raise SettingsError(
                    f"{definition.baseid} overrides the fixture {name}, but there is one sandbox for the whole "
                    f"session, so its tests would not use that one; move it to the rootdir's conftest.py or a plugin"
                )
            if place and definition.func.__module__ == "pytest_kiro.plugin.fixtures":
                raise SettingsError(
                    f"a plugin overrides the fixture {name}, but was loaded before pytest-kiro, so that its fixture "
                    f"is hidden; load it by pytest_plugins in the rootdir's conftest.py instead of -p"
                )
