"""Explains failed tests: what Kiro did, and where in the user's own lines the test failed."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pytest_kiro
from pytest_kiro.errors import KiroError, SandboxError
from pytest_kiro.plugin.frames import users_part
from pytest_kiro.records.phases import PlaceRecord
from pytest_kiro.report.failure import LookedAt, clarified, coloured, failure_lines, planted_lines, surprise_lines
from pytest_kiro.turn.shown import short

if TYPE_CHECKING:
    from pytest_kiro.agent.bench import Conversing, Owner
    from pytest_kiro.plugin.state import State
    from pytest_kiro.turn.turn import Turn

#: The title of the section on a failed test.
TURNS = "kiro turns"
#: Characters that are kept of a statement, and of an error that has been told.
_STATEMENT, _TOLD = 400, 66


class Failing:
    """A plugin object of every process."""

    def __init__(self, state: State) -> None:
        self._state = state

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        error = call.excinfo.value if call.excinfo is not None else None
        if isinstance(error, KiroError) and type(error).__name__ in pytest_kiro.__all__:
            type(error).__module__ = pytest_kiro.__name__  # pytest's lines have little room: by its public name
        users = True
        # pytest.fail is how pytest-timeout ends a turn, deep below the line in which the test began it.
        if isinstance(error, KiroError | pytest.fail.Exception) and not item.config.getoption("fulltrace", False):
            users = users_part(error.__traceback__) is not None or not isinstance(error, KiroError)
        self._clarify(item, error)
        report = yield
        if not users:
            _leave_frames_out(report)
        if report.failed:
            # Without a terminal there is no such option, and pytest 8.2 cannot be asked for it either.
            full = getattr(item.config.option, "verbose", 0) > 1
            if text := failure_lines(list(self._looked_at(item)), report.longreprtext, full=full):
                report.sections.append((TURNS, text))
        elif report.when == "call":
            for title, lines in (("kiro planted", planted_lines), ("kiro scenario", surprise_lines)):
                if text := lines(self._turns_of(item)):
                    report.sections.append((title, text))
        return report

    @pytest.hookimpl(tryfirst=True)  # what is reported elsewhere has been written by now, or has no colours
    def pytest_sessionfinish(self) -> None:
        terminal = self._state.config.pluginmanager.getplugin("terminalreporter")
        if terminal is None:
            return
        _tell_once(terminal.stats.get("error", ()))
        if not self._state.config.get_terminal_writer().hasmarkup:
            return
        for report in [*terminal.stats.get("failed", ()), *terminal.stats.get("error", ())]:
            sections = getattr(report, "sections", [])
            sections[:] = [(name, coloured(text) if name == TURNS else text) for name, text in sections]

    def _clarify(self, item: pytest.Item, error: BaseException | None) -> None:
        """Let a failed assert say what it is about."""
        if type(error) is AssertionError and len(error.args) == 1 and isinstance(error.args[0], str):
            turns = self._turns_of(item)
            workspaces = {turn.workspace: None for turn in turns}
            executed = [result for workspace in workspaces for result in reversed(workspace.executed)]
            error.args = (clarified(error.args[0], executed, turns),)

    def _conversations(self, item: pytest.Item) -> Iterator[tuple[Owner, Conversing]]:
        for owner in self._state.ownership.owners_of(item):
            yield from ((owner, conversation) for conversation in owner.conversations if conversation.turns)

    def _turns_of(self, item: pytest.Item) -> list[Turn]:
        return [turn for _, conversation in self._conversations(item) for turn in conversation.turns]

    def _looked_at(self, item: pytest.Item) -> Iterator[LookedAt]:
        conversations = list(self._conversations(item))
        for owner, conversation in conversations:
            workspace = conversation.workspace
            diffs: dict[str, str] | None = None
            ignored = 0
            with suppress(SandboxError, OSError):  # nobody can tell any more
                changes = workspace.changes()
                ignored = len(changes.ignored.paths)
                diffs = workspace.diffs() if changes else {}
            failed = next((result for result in reversed(workspace.executed) if not result.ok), None)
            several = len(owner.conversations) > 1
            number = f"conversation {owner.conversations.index(conversation) + 1}" if several else ""
            name = ", ".join(filter(None, (owner.name if owner.wide else "", number)))
            yield LookedAt(name if len(conversations) > 1 else "", conversation.turns, diffs, ignored, failed)


def place_of(item: pytest.Item, excinfo: pytest.ExceptionInfo[BaseException]) -> PlaceRecord:
    """Return the line of the test's own file in which it failed; else where the test is."""
    file, first, _ = item.location
    line, source = (first or 0) + 1, ""
    for entry in excinfo.traceback:
        if entry.path == item.path:
            line = entry.lineno + 1
            with suppress(Exception):  # of what was generated or has changed since there is no source
                source = short(str(entry.statement).strip(), _STATEMENT)
    return PlaceRecord(file=Path(file).as_posix(), line=line, source=source)


def _leave_frames_out(report: pytest.TestReport) -> None:
    """Let a report begin with the error's message."""
    for traceback, _, _ in getattr(report.longrepr, "chain", ()):
        traceback.reprentries[:-1] = []
        for entry in traceback.reprentries:
            entry.lines[:] = [line for line in entry.lines if line.startswith("E ")]
            entry.reprfileloc = entry.reprfuncargs = entry.reprlocals = None


def _tell_once(reports: Iterable[pytest.TestReport]) -> None:
    """Shorten errors of ours that were told before: pytest raises a session fixture's again for each test."""
    told: dict[str, pytest.TestReport] = {}
    for report in reports:
        for traceback, _, _ in getattr(report.longrepr, "chain", ()) if report.when == "setup" else ():
            entries = traceback.reprentries
            lines: list[str] = entries[-1].lines
            if len(entries) > 1 or not lines or not all(line.startswith("E ") for line in lines):
                continue  # its frames are a user's, and tell more than the error
            first = told.setdefault("\n".join(lines), report)
            words = lines[0].removeprefix("E").lstrip()
            indent = lines[0].removesuffix(words)
            if first is not report and (len(lines) > 2 or len(words) > _TOLD):
                lines[:] = [
                    indent + short(words, _TOLD),
                    f"{indent}(told whole above: ERROR at setup of {first.head_line})",
                ]
