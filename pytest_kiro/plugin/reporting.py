"""Reports a run on the terminal: header, a failed test's turns, summary."""

from __future__ import annotations

import json
import shutil
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_kiro.errors import HIDE_FRAMES, SandboxError, SettingsError
from pytest_kiro.plugin import junit
from pytest_kiro.plugin.listener import CARRIED, TestListener, carried_by
from pytest_kiro.plugin.observer import TurnObserver
from pytest_kiro.plugin.owners import EVAL_FIXTURES, is_eval
from pytest_kiro.plugin.stream import Stream
from pytest_kiro.plugin.xdist import is_controller, tell_controller, worker_output
from pytest_kiro.report.summary import (
    budget_line,
    diff_lines,
    retried_lines,
    sandboxes_line,
    scripted_line,
    shared_lines,
    turns_line,
    turns_lines,
)
from pytest_kiro.run.keeper import Tally

if TYPE_CHECKING:
    from pytest_kiro.plugin.state import State
    from pytest_kiro.plugin.xdist import Node
    from pytest_kiro.records.run import ResultsFile
    from pytest_kiro.records.turns import TurnRecord

__tracebackhide__ = HIDE_FRAMES


class Report:
    """Gathers turns' outcomes on every process, and reports them on the terminal."""

    def __init__(self, state: State) -> None:
        config = self._config = state.config
        self._state, self._settings, self._keeper = state, state.settings, state.keeper
        self._worker = state.is_worker
        self._announced: str | None = None
        #: Who was said to be logged in; workers may be so in different ways.
        self._logins = {""}
        self._said = False
        self._died = 0
        #: What the budget says was spent.
        self._spent = 0.0
        #: By the name of an xdist worker, what it said last; a dead one's last word came with a test's report.
        self._workers: dict[str, Tally] = {}
        self.progress, self._secrets = state.progress, state.secrets
        self.observer = TurnObserver(config.hook, self._secrets)
        state.at_end.append(self.gather)
        state.observers += [self.observer, *Stream.wanted(config, self._settings, self._secrets)]
        self.listener = TestListener(every_test=self._settings.results is not None)
        self._results: ResultsFile | None = None

    # -- before

    def begin(self) -> None:
        """Listen to the tests, and check that results can be written."""
        if self._worker:
            return
        self._config.pluginmanager.register(self.listener, "kiro-listener")
        if file := self._settings.results:
            from pytest_kiro.records.run import ResultsFile

            self._results = ResultsFile(self._config.invocation_params.dir / Path(file).expanduser())
            try:
                self._results.check()
            except SettingsError as error:
                raise pytest.UsageError(str(error)) from None

    def pytest_report_collectionfinish(self, items: Sequence[pytest.Item]) -> list[str]:
        if self._config.option.collectonly:
            return []
        wanted = any(map(is_eval, items)) or getattr(self._config.option, "verbose", 0) > 0
        return [self._header()] if wanted else []

    def _header(self) -> str:
        settings, isolated = self._settings, self._keeper.provider.isolated
        cli = self._keeper.cli(isolated=isolated)
        parts = [f"kiro: sandbox {settings.sandbox}"]
        self._announced = cli
        if cli == "scripted":
            parts.append("kiro-cli scripted: the stand-in answers, Kiro is not asked")
        else:
            where = f" ({shutil.which('kiro-cli')})" if cli == "official" and not isolated else ""
            parts.append(f"kiro-cli {cli}{where}")
            if settings.replies == "scenario":
                self._announced = "scripted"
                parts.append("replies scripted: no model is asked")
            if not isolated:
                parts.append("not isolated: Kiro works on this machine")
        usual = settings.engine == "v2" and settings.output == "text"
        return ", ".join([*parts, *([] if usual else [f"engine {settings.engine}, {settings.output}"])])

    def _correct(self, turns: Sequence[TurnRecord]) -> None:
        """Say what the header could not know: the login, and which CLI answers."""
        for turn in turns:
            if turn.login not in self._logins:
                self._logins.add(turn.login)
                self._write_line(f"kiro: logged in as {turn.login}")
            answers = "scripted" if turn.scripted else "official"
            if (self._announced == "scripted") is not turn.scripted and self._announced != answers:
                self._announced = answers
                who = "the stand-in answers, Kiro is not asked" if turn.scripted else "Kiro answers, no stand-in"
                self._write_line(f"kiro: kiro-cli {turn.version}: {who}")

    def _write_line(self, line: str) -> None:
        if terminal := self._config.pluginmanager.getplugin("terminalreporter"):
            terminal.ensure_newline()
            terminal.write_line(line)
            if self.progress.at is not None and not is_controller(self._config):
                terminal.pytest_runtest_logstart(*self.progress.at)  # the dots go on behind their file

    def pytest_runtest_logstart(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        self.progress.at = (nodeid, location)

    @pytest.hookimpl(wrapper=True, trylast=True)  # gone before --setup-show says what was set up
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
        if fixturedef.argname not in EVAL_FIXTURES:
            return (yield)
        with self.progress.shown():
            return (yield)

    # -- each test

    @pytest.hookimpl(tryfirst=True)  # before anything of it can run a turn
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self.observer.attempts[item.nodeid] += 1

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        self._carry(item, report, call.excinfo.value if call.excinfo else None)
        if report.failed:
            # Without a terminal there is no such option, and pytest 8.2 cannot be asked for it either.
            self._explain(item, report, full=getattr(item.config.option, "verbose", 0) > 1)
        if call.when == "teardown":
            self._state.ownership.forget_test(item)
        return report

    def _carry(self, item: pytest.Item, report: pytest.TestReport, error: BaseException | None) -> None:
        """Put records on a report as texts. These reach the controller under xdist."""
        evaluated = self.observer.unsent or is_eval(item)
        if evaluated:
            vars(report)["kiro_tally"] = self._word()
        if evaluated or self._settings.results is not None:
            carried = self.observer.carried(item.nodeid, error)
            vars(report)[CARRIED] = json.dumps(carried.to_json())
            junit.note((item.user_properties, report.user_properties), carried.turns)

    def _explain(self, item: pytest.Item, report: pytest.TestReport, *, full: bool) -> None:
        """Show a failed test's turns, and changes if the failure says "changes"."""
        turns = [turn for owner in self._state.ownership.owners_of(item) for turn in owner.turns]
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
        carried, tally = self.listener.hear(report), vars(report).get("kiro_tally")
        if carried is None or tally is None:
            return
        if is_controller(self._config):
            self._keeper.used = True
            self._hear(tally)
        if not self._announced:  # an xdist controller collects nothing, so the first eval's report is its first chance
            self._write_line(self._header())
        self._correct(carried.turns)

    # -- after

    @pytest.hookimpl(tryfirst=True)  # before the JUnit file is written
    def pytest_sessionfinish(self) -> None:
        """Add the cost of the whole run to the JUnit file.

        Tests have their own turns only, and no wide fixture's.
        """
        if not self._worker:
            junit.note_run(self._config.pluginmanager.get_plugins(), self.listener.gathered.turns)

    def gather(self) -> None:
        """Put together what this process knows when its tests are over."""
        if self._worker:
            tell_controller(self._config, "kiro_tally", self._word())
            # Of a test that was broken off nothing else tells.
            tell_controller(self._config, CARRIED, json.dumps(self.observer.carried().to_json()))
            return
        self._spent = self._state.budget.spent
        if self.observer.unsent:  # Ctrl-C leaves no report that could have brought them
            self.listener.gathered.add_turns(self.observer.carried().turns)
        for node in self._state.nodes:
            output = worker_output(node)
            if carried := carried_by(output.get(CARRIED)):
                self.listener.gathered.add_turns(carried.turns)
            if word := output.get("kiro_tally"):
                self._hear(word)
            elif word is None:  # it died, and may have had a sandbox of which nothing is known yet
                self._keeper.used = True

    def _word(self) -> dict[str, Any]:
        tally: dict[str, Any] = self._secrets.within(asdict(self._keeper.tally))
        return {"worker": self._settings.worker, **tally}

    def _hear(self, word: Mapping[str, Any]) -> None:
        self._workers[word["worker"]] = Tally(**{name: value for name, value in word.items() if name != "worker"})

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Node, error: object) -> None:
        output = worker_output(node)
        if wrong := output.get("kiro_usage_error"):
            raise pytest.UsageError(wrong)
        if error:  # it died, perhaps with a sandbox
            self._keeper.used = True
            self._died += 1

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        lines = [] if self._said else list(self._summary())
        if lines:
            self._said = True
            terminalreporter.write_sep("-", "kiro")
        for line, is_warning in lines:
            terminalreporter.write_line(line, yellow=is_warning)

    def _summary(self) -> Iterator[tuple[str, bool]]:
        """Yield the lines of the summary, and whether each is a warning; none where there was no eval."""
        tally, gathered, keeper = sum(self._workers.values(), self._keeper.tally), self.listener.gathered, self._keeper
        if not (gathered.turns or tally.created or tally.leaked or (self._died and self._announced)):
            return
        yield turns_line(gathered.turns), False
        if line := budget_line(self._settings.budget, self._spent, gathered.refused):
            yield line, gathered.refused > 0
        yield sandboxes_line(tally, certain=keeper.certain), False
        kept = [f"kept {name}; {line}" for name, lines in tally.kept.items() for line in lines]
        yield from ((line, True) for line in [*tally.leaked, keeper.trouble, *kept] if line)
        if self._died:
            cleared = "; what they left is cleared away" if keeper.certain and not tally.leaked else ""
            yield f"workers that died: {self._died}{cleared}", False
        yield from ((line, False) for line in [*retried_lines(gathered.turns), *shared_lines(gathered.turns)])
        if line := scripted_line(gathered.turns):
            yield line, True

    def pytest_unconfigure(self) -> None:
        """Write the summary if pytest wrote none, as after SIGTERM: a sandbox may be kept."""
        if terminal := self._config.pluginmanager.getplugin("terminalreporter"):
            self.pytest_terminal_summary(terminal)
        if self._results is not None:
            workers = len(self._state.nodes)
            self.listener.write(self._results, self._settings, self._secrets, workers=workers, died=self._died)
