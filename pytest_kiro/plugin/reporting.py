"""Reports a run on the terminal: header, a failed test's turns, summary."""

from __future__ import annotations

import json
import shutil
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from pytest_kiro.errors import HIDE_FRAMES, SandboxError
from pytest_kiro.plugin.carrying import CARRIED, TestListener, TurnObserver, carried_by, note, note_run
from pytest_kiro.plugin.naming import refuse_second_sandbox
from pytest_kiro.plugin.owners import EVAL_FIXTURES, is_eval
from pytest_kiro.plugin.progress import Stream
from pytest_kiro.plugin.state import TALLY
from pytest_kiro.report.summary import (
    budget_line,
    diff_lines,
    planted_lines,
    retried_lines,
    sandboxes_line,
    scripted_line,
    shared_lines,
    turns_line,
    turns_lines,
)
from pytest_kiro.run.keeper import Tally
from pytest_kiro.secrecy.visible import visible

if TYPE_CHECKING:
    from pytest_kiro.plugin.state import Node, State
    from pytest_kiro.records.turns import TurnRecord
    from pytest_kiro.turn.turn import Turn

__tracebackhide__ = HIDE_FRAMES

_LEFT_AT_ONCE = (
    "told to stop twice, so sandboxes were not waited for: a remote one ends by itself when its time to live is over, "
    "a local one is removed by the next run"
)


class Report:
    """Gathers turns' outcomes on every process, and reports them on the terminal."""

    def __init__(self, state: State) -> None:
        self._state, self._config, self._worker = state, state.config, state.is_worker
        self._settings, self._keeper, self._progress = state.settings, state.keeper, state.progress
        #: Whether scripts were said to answer; None before the header.
        self._scripted: bool | None = None
        #: Who was said to be logged in; workers may be so in different ways.
        self._logins = {""}
        self._said = False
        #: What the budget says was spent.
        self._spent = 0.0
        #: By the name of an xdist worker, what it said last; a dead one's last word came with a test's report.
        self._workers: dict[str, Tally] = {}
        self._observer, self._listener = TurnObserver(state), TestListener(state)
        state.observers += [self._observer, *Stream.wanted(self._config, self._settings, state.secrets)]

    # -- before

    def begin(self) -> None:
        self._config.pluginmanager.register(self, "kiro-report")
        if not self._worker:
            self._listener.begin()

    def pytest_report_collectionfinish(self, items: Sequence[pytest.Item]) -> list[str]:
        if self._config.option.collectonly:
            return []
        wanted = any(map(is_eval, items)) or getattr(self._config.option, "verbose", 0) > 0
        return [self._header()] if wanted else []

    def _header(self) -> str:
        settings, isolated = self._settings, self._keeper.provider.isolated
        cli = self._keeper.cli(isolated=isolated)
        self._scripted = cli == "scripted" or settings.replies == "scenario"
        parts = [f"kiro: sandbox {settings.sandbox}"]
        if cli == "scripted":
            parts.append("kiro-cli scripted: the stand-in answers, Kiro is not asked")
        else:
            where = f" ({shutil.which('kiro-cli')})" if cli == "official" and not isolated else ""
            parts.append(f"kiro-cli {cli}{where}")
            if settings.replies == "scenario":
                parts.append("replies scripted: no model is asked")
            if not isolated:
                parts.append("not isolated: Kiro works on this machine")
        if (settings.engine, settings.output) != ("v2", "text"):
            parts.append(f"engine {settings.engine}, {settings.output}")
        return ", ".join(parts)

    def _correct(self, turns: Sequence[TurnRecord]) -> None:
        """Say what the header could not know: the login, and which CLI answers."""
        for turn in turns:
            if turn.login not in self._logins:
                self._logins.add(turn.login)
                self._progress.between(f"kiro: logged in as {turn.login}")
            if self._scripted is not turn.scripted:
                self._scripted = turn.scripted
                who = "the stand-in answers, Kiro is not asked" if turn.scripted else "Kiro answers, no stand-in"
                self._progress.between(f"kiro: kiro-cli {turn.version}: {who}")

    def pytest_runtest_logstart(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        if not self._state.is_controller:
            self._progress.at = (nodeid, location)

    @pytest.hookimpl(wrapper=True, trylast=True)  # gone before --setup-show says what was set up
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
        if fixturedef.argname not in EVAL_FIXTURES:
            return (yield)
        with self._progress.shown():
            return (yield)

    # -- each test

    @pytest.hookimpl(tryfirst=True)  # before anything of it can run a turn
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self._observer.attempts[item.nodeid] += 1
        if "kiro" in getattr(item, "fixturenames", ()):
            refuse_second_sandbox(item)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        self._carry(item, report, call.excinfo.value if call.excinfo else None)
        if report.failed:
            # Without a terminal there is no such option, and pytest 8.2 cannot be asked for it either.
            self._explain(item, report, full=getattr(item.config.option, "verbose", 0) > 1)
        elif report.when == "call" and (text := planted_lines(self._turns_of(item))):
            report.sections.append(("kiro planted", text))
        if call.when == "teardown":
            self._state.ownership.forget_test(item)
        return report

    def _carry(self, item: pytest.Item, report: pytest.TestReport, error: BaseException | None) -> None:
        """Put records on a report as texts. These reach the controller under xdist."""
        evaluated = bool(self._observer.unsent) or is_eval(item)
        if evaluated:
            vars(report)[TALLY] = self._word()
        if evaluated or self._settings.results is not None:
            carried = self._observer.carried(item.nodeid, error)
            vars(report)[CARRIED] = json.dumps(carried.to_json())
            note((item.user_properties, report.user_properties), carried.turns)

    def _turns_of(self, item: pytest.Item) -> list[Turn]:
        return [turn for owner in self._state.ownership.owners_of(item) for turn in owner.turns]

    def _explain(self, item: pytest.Item, report: pytest.TestReport, *, full: bool) -> None:
        """Show a failed test's turns, and changes if the failure says "changes"."""
        turns = self._turns_of(item)
        if text := turns_lines(turns, full=full):
            report.sections.append(("kiro turns", text))
        if report.when == "call" and "changes" in report.longreprtext.lower():
            for workspace in dict.fromkeys(turn.workspace for turn in turns):
                with suppress(SandboxError, OSError):  # nobody can tell any more
                    if text := diff_lines(workspace.diff(), full=full):
                        report.sections.append(("kiro changes", text))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if self._worker:
            return
        carried, tally = self._listener.hear(report), vars(report).get(TALLY)
        if carried is None or tally is None:
            return
        if self._state.is_controller:
            self._keeper.used = True
            self._hear(tally)
        if self._scripted is None:  # an xdist controller collects nothing: the first eval's report is its first chance
            self._progress.between(self._header())
        self._correct(carried.turns)

    # -- after

    @pytest.hookimpl(wrapper=True, trylast=True)  # inside of the terminal's, whose summary counts the sandboxes
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        """Run the last teardowns, gather what is known, and close all sandboxes."""
        stops = self._state.stops
        if not self._worker:  # before the JUnit file is written
            note_run(self._config.pluginmanager.get_plugins(), self._listener.gathered.turns)
        try:
            if self._state.is_controller or not stops.leaving:  # it has to end its workers all the same
                yield
        except KeyboardInterrupt:
            session.exitstatus = pytest.ExitCode.INTERRUPTED
        self._gather()
        try:
            self._state.close()
        except KeyboardInterrupt:
            session.exitstatus = pytest.ExitCode.INTERRUPTED
            self._state.close()  # unless it was the second one
        if stops.leaving:
            pytest.exit(_LEFT_AT_ONCE, returncode=pytest.ExitCode.INTERRUPTED)

    def _gather(self) -> None:
        """Put together what this process knows when its tests are over."""
        if self._worker:
            self._state.tell_controller(TALLY, self._word())
            # Of a test that was broken off nothing else tells.
            self._state.tell_controller(CARRIED, json.dumps(self._observer.carried().to_json()))
            return
        self._spent = self._state.budget.spent
        # Ctrl-C leaves no report that could have brought them.
        self._listener.gathered.add_turns(self._observer.carried().turns)
        for node in self._state.nodes:
            output = _last_words(node)
            if carried := carried_by(output.get(CARRIED)):
                self._listener.gathered.add_turns(carried.turns)
            if word := output.get(TALLY):
                self._hear(word)
            elif word is None:  # it died, and may have had a sandbox of which nothing is known yet
                self._keeper.used = True

    def _word(self) -> dict[str, Any]:
        tally = self._state.secrets.within(asdict(self._keeper.tally))
        return {"worker": self._settings.worker, "tally": tally}

    def _hear(self, word: Mapping[str, Any]) -> None:
        self._workers[word["worker"]] = Tally(**word["tally"])

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Node, error: object) -> None:
        output = _last_words(node)
        if wrong := output.get("kiro_usage_error"):
            raise pytest.UsageError(wrong)
        if error:  # it died, perhaps with a sandbox
            self._keeper.used = True
            self._listener.died += 1

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        lines = [] if self._said else list(self._summary())
        if lines:
            self._said = True
            terminalreporter.write_sep("-", "kiro")
        for line, is_warning in lines:
            terminalreporter.write_line(visible(line), yellow=is_warning)

    def _summary(self) -> Iterator[tuple[str, bool]]:
        """Yield the lines of the summary, and whether each is a warning; none where there was no eval."""
        tally, keeper = sum(self._workers.values(), self._keeper.tally), self._keeper
        gathered, died = self._listener.gathered, self._listener.died
        if not (gathered.turns or tally.created or tally.leaked or (died and self._scripted is not None)):
            return
        yield turns_line(gathered.turns), False
        if line := budget_line(self._settings.budget, self._spent, gathered.refused):
            yield line, gathered.refused > 0
        yield sandboxes_line(tally, certain=keeper.certain), False
        kept = [f"kept {name}; {line}" for name, lines in tally.kept.items() for line in lines]
        yield from ((line, True) for line in [*tally.leaked, keeper.trouble, *kept] if line)
        if died:
            cleared = "; what they left is cleared away" if keeper.certain and not tally.leaked else ""
            yield f"workers that died: {died}{cleared}", False
        yield from ((line, False) for line in [*retried_lines(gathered.turns), *shared_lines(gathered.turns)])
        if line := scripted_line(gathered.turns):
            yield line, True

    def pytest_unconfigure(self) -> None:
        """Write the summary if pytest wrote none, as after SIGTERM: a sandbox may be kept."""
        if terminal := self._config.pluginmanager.getplugin("terminalreporter"):
            self.pytest_terminal_summary(terminal)
        self._listener.write()


def _last_words(node: Node) -> dict[str, Any]:
    """Return what a worker said at its end; nothing if it died."""
    return getattr(node, "workeroutput", None) or {}
