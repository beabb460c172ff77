"""Tells the agent whose turn it is: pytest's set-ups and teardowns, translated into owners (contract O)."""

from __future__ import annotations

import inspect
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_kiro.agent.owner import Owner, Owners
from pytest_kiro.errors import SettingsError

#: The keywords of `mark.kiro`.
MARKER_WORDS = ("workspace", "agent", "model", "effort", "timeout", "trust", "env")
#: Found from the session's one sandbox, so a second one for some tests only would be made and not used.
_ROOT_ONLY = ("kiro_sandbox", "kiro_sandbox_args")
OWNER = pytest.StashKey[Owner]()
#: The instances of wider fixtures that are alive, by fixture name: their turns belong into a failing test's report.
WIDE = pytest.StashKey[dict[str, Owner]]()


class Ownership:
    """Starts and ends owners as pytest sets up and tears down."""

    def __init__(self, owners: Owners) -> None:
        self._owners = owners

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, None, None]:
        # One owner an attempt: a plugin that runs a test again sets it up again.
        owner = item.stash[OWNER] = _owner_of_test(item)
        self._owners.push(owner)
        _refuse_second_sandbox(item)
        return (yield)

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
        alive = request.config.stash.setdefault(WIDE, {})

        def over() -> None:
            self._owners.pop(owner)
            alive.pop(fixturedef.argname, None)
            owner.end()

        # Finalisers run last in, first out: these two bracket the fixture's own teardown code.
        fixturedef.addfinalizer(over)
        self._owners.push(owner)
        alive[fixturedef.argname] = owner
        try:
            return (yield)
        finally:
            self._owners.pop(owner)
            fixturedef.addfinalizer(lambda: self._owners.push(owner))


def marker_words(item: pytest.Item | pytest.Collector) -> Mapping[str, Any]:
    """Return the keywords of `mark.kiro`, the closest mark winning word by word."""
    merged: dict[str, Any] = {}
    for mark in item.iter_markers("kiro"):
        merged = {**mark.kwargs, **merged}
    return merged


def _owner_of_test(item: pytest.Item) -> Owner:
    classes = [node.name for node in item.listchain() if isinstance(node, pytest.Class)]
    names = dict.fromkeys([item.name, getattr(item, "originalname", None) or item.name])
    request = getattr(item, "_request", None)  # pytest has no public way from an item to its request
    return Owner(
        name=item.nodeid,
        tables=tuple(".".join([*classes, name]) for name in names),
        file=item.path,
        marker=lambda: marker_words(item),
        run_args=lambda: request.getfixturevalue("kiro_run_args") if request else {},
    )


def _owner_of_fixture(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> Owner:
    name, parameter = f"fixture:{fixturedef.argname}", _parameter_id(fixturedef, request)
    named = f"{name}[{parameter}]" if parameter is not None else name
    node = request.node
    return Owner(
        name=named,
        tables=tuple(dict.fromkeys([named, name])),
        file=Path(inspect.getfile(inspect.unwrap(fixturedef.func))),
        marker=lambda: marker_words(node),
        run_args=lambda: request.getfixturevalue("kiro_run_args"),
        wide=True,
    )


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
    plain = isinstance(request.param, str | int | float | bool | None)
    return str(request.param) if plain else f"{fixturedef.argname}{index}"


def _refuse_second_sandbox(item: pytest.Item) -> None:
    names = getattr(item, "_fixtureinfo", None)
    definitions: Mapping[str, Iterable[Any]] = names.name2fixturedefs if names else {}
    if "kiro" not in definitions:
        return
    for name in _ROOT_ONLY:
        for definition in definitions.get(name, ()):
            if definition.baseid not in ("", "."):
                raise SettingsError(
                    f"{definition.baseid} overrides the fixture {name}, but there is one sandbox for the whole "
                    f"session, so its tests would not use that one; move it to the rootdir's conftest.py or a plugin"
                )
