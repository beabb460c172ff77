"""Lets what tests left in the sandbox stay, and says where: `--kiro-keep-sandbox`."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_kiro.agent.bench import Owner
    from pytest_kiro.agent.workspace import Workspace
    from pytest_kiro.plugin.state import State

#: The title of the section on a test.
SECTION = "kiro workspaces"
PLUGIN = "kiro-staying"


class Staying:
    """A plugin object of each process, where sandboxes may be kept."""

    def __init__(self, state: State) -> None:
        self._state, self._always = state, state.settings.keep_sandbox == "always"

    @classmethod
    def begin(cls, state: State) -> None:
        """Let workspaces stay from now on, if the settings want it."""
        if state.settings.keep_sandbox != "never":
            state.config.pluginmanager.register(cls(state), PLUGIN)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        try:
            return (yield)
        except (KeyboardInterrupt, pytest.exit.Exception):
            if self._always:
                self._let_stay(item)
            raise

    @pytest.hookimpl(wrapper=True)  # within the owner's end
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        if self._always:
            self._let_stay(item)
        try:
            return (yield)
        except (KeyboardInterrupt, pytest.exit.Exception):
            raise  # which is no failure
        except BaseException:
            self._let_stay(item)
            raise

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if report.failed or (self._always and report.when == "call"):
            self._let_stay(item)
            if lines := list(_places(self._state.ownership.owners_of(item))):
                report.sections.append((SECTION, "\n".join(lines)))
        return report

    def _let_stay(self, item: pytest.Item) -> None:
        for owner in self._state.ownership.owners_of(item):
            owner.stays = True


def _places(owners: list[Owner]) -> Iterator[str]:
    """Yield the paths of workspaces; of several, whose each is."""
    found = [
        (owner, number, _shown(conversation.workspace))
        for owner in owners
        for number, conversation in enumerate(owner.conversations, 1)
        if conversation.turns and conversation.workspace.made
    ]
    for owner, number, path in found:
        several = len(owner.conversations) > 1
        name = ", ".join([owner.name] * owner.wide + [f"conversation {number}"] * several)
        yield f"{name}: {path}" if name else path


def _shown(workspace: Workspace) -> str:
    """Return a workspace's path; on another machine, below the HOME that the summary leads to."""
    sandbox, path = workspace.sandbox, PurePosixPath(workspace.for_launch()[0])
    if sandbox.isolated and path.is_relative_to(sandbox.home):
        return f"~/{path.relative_to(sandbox.home)} in the sandbox {sandbox.id}"
    return str(path)
