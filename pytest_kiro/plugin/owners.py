"""Tracks whose turn it is, from pytest's set-ups and teardowns (contract O).

Plain tests pass through here too, so an `Owner` is made of one only when an eval has come; naming.py makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from pytest_kiro.errors import ConversationError

if TYPE_CHECKING:
    from pytest_kiro.agent.bench import Owner

EVAL_FIXTURES = frozenset({"kiro", "kiro_sandbox", "kiro_cli", "kiro_login"})


def __tracebackhide__(error: pytest.ExceptionInfo[BaseException]) -> bool:
    """Tell pytest whether to hide frames of this file."""
    from pytest_kiro.plugin.frames import hide_above_users  # which a plain run need not compile

    return hide_above_users(error)


def is_eval(item: pytest.Item) -> bool:
    """Whether a test asks for Kiro."""
    return not EVAL_FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))


class PossibleOwner:
    """A test or a wider fixture that may run turns; its `Owner` is made when one is asked for."""

    def __init__(self, make: Callable[[], Owner]) -> None:
        self._make = make
        self.made: Owner | None = None

    @property
    def owner(self) -> Owner:
        if self.made is None:
            self.made = self._make()
        return self.made

    def ask_early(self) -> None:
        """Ask for `kiro_run_args` before teardowns, which get no fixtures; a turn says what is wrong with it."""
        with suppress(Exception, pytest.fail.Exception, pytest.skip.Exception):
            self.owner.run_args()


TEST = pytest.StashKey[PossibleOwner]()


class Ownership:
    """Begins and ends owners as pytest sets up and tears down."""

    def __init__(self) -> None:
        self._running: list[PossibleOwner] = []
        #: The instances of wider fixtures that are alive.
        self._alive: dict[pytest.FixtureDef[Any], PossibleOwner] = {}

    def current(self) -> Owner:
        """Return the innermost owner, of a turn that begins now; `ConversationError` outside of tests and fixtures."""
        if not self._running:
            raise ConversationError(
                "no test and no fixture is running, so no conversation can take this turn",
                advice="call kiro.run in a test or in a fixture, not in a hook or at import time",
            )
        return self._running[-1].owner

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Begin one attempt of a test; a plugin that reruns it sets it up again."""

        def make() -> Owner:
            from pytest_kiro.plugin.naming import owner_of_test

            return owner_of_test(item)

        item.stash[TEST] = possible = PossibleOwner(make)
        self._running.append(possible)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        if "kiro" in getattr(item, "fixturenames", ()):
            item.stash[TEST].ask_early()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, None, None]:
        """End the attempt, whose set-up may have been skipped."""
        try:
            return (yield)
        finally:
            if possible := item.stash.get(TEST, None):
                self._end(possible)

    def forget_test(self, item: pytest.Item) -> None:
        """Forget a test's turns, which may be large; items live until the session ends."""
        if TEST in item.stash:
            del item.stash[TEST]

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, Any, Any]:
        """Give a wider fixture the turns of its set-up and its teardown."""
        if fixturedef.scope == "function":
            return (yield)  # the test's own

        def make() -> Owner:
            from pytest_kiro.plugin.naming import owner_of_fixture

            return owner_of_fixture(fixturedef, request)

        possible = PossibleOwner(make)

        def over() -> None:
            self._alive.pop(fixturedef, None)
            self._end(possible)

        # Finalisers run last in, first out: these two bracket the fixture's own teardown code.
        fixturedef.addfinalizer(over)
        self._running.append(possible)
        self._alive[fixturedef] = possible
        try:
            value = yield
            if "kiro" in fixturedef.argnames:
                possible.ask_early()
            return value
        finally:
            self._pop(possible)
            fixturedef.addfinalizer(lambda: self._running.append(possible))

    def owners_of(self, item: pytest.Item) -> list[Owner]:
        """Return the owners of the turns that a test looked at: its wider fixtures, asked for early or late, and it."""
        from pytest_kiro.plugin.naming import definitions_of

        definitions = definitions_of(item)
        seen = [possible for definition, possible in self._alive.items() if definition in definitions]
        seen += filter(None, [item.stash.get(TEST, None)])
        return [possible.made for possible in seen if possible.made is not None]

    def _end(self, possible: PossibleOwner) -> None:
        self._pop(possible)
        if possible.made is not None:
            possible.made.end()

    def _pop(self, possible: PossibleOwner) -> None:
        """Remove one, wherever it is; set-ups and teardowns may overlap after an interrupt."""
        if possible in self._running:
            self._running.remove(possible)
