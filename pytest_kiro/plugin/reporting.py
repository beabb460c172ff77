"""Reports a run on the terminal: header, a failed test's turns, summary."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from pytest_kiro.errors import HIDE_FRAMES
from pytest_kiro.kirocli.commands import AUTO, ENGINES, choose_engine, is_unknown
from pytest_kiro.plugin.artifacts import PLACE, Artifacts
from pytest_kiro.plugin.carrying import CARRIED, TestListener, TurnObserver, carried_by
from pytest_kiro.plugin.comparisons import Comparisons
from pytest_kiro.plugin.failing import Failing, place_of
from pytest_kiro.plugin.growing import growth_lines
from pytest_kiro.plugin.inputs import inputs_of
from pytest_kiro.plugin.junit import explain, note, note_run, note_scores
from pytest_kiro.plugin.naming import refuse_second_sandbox
from pytest_kiro.plugin.owners import EVAL_FIXTURES, is_eval
from pytest_kiro.plugin.state import TALLY
from pytest_kiro.plugin.status import live
from pytest_kiro.plugin.staying import Staying
from pytest_kiro.plugin.trial_runs import TrialRuns, record_of
from pytest_kiro.plugin.trials import kiro_id_of
from pytest_kiro.plugin.verdicts import Verdicts
from pytest_kiro.report.header import header, unknown_cli
from pytest_kiro.report.summary import (
    LEFT_AT_ONCE,
    budget_line,
    died_lines,
    retried_lines,
    sandboxes_line,
    scenario_lines,
    scripted_line,
    shared_lines,
    turns_line,
)
from pytest_kiro.run.keeper import Tally
from pytest_kiro.secrecy.visible import visible

if TYPE_CHECKING:
    from pytest_kiro.plugin.recordings import Recordings
    from pytest_kiro.plugin.state import Node, State
    from pytest_kiro.records.turns import TurnRecord

__tracebackhide__ = HIDE_FRAMES

#: xdist's first worker.
_FIRST = "gw0"


class Report:
    """Gathers turns' outcomes on every process, and reports them on the terminal."""

    def __init__(self, state: State) -> None:
        self._state, self._config, self._worker = state, state.config, state.is_worker
        self._settings, self._keeper, self._progress = state.settings, state.keeper, state.progress
        #: Whether scripts were said to answer; None before the header.
        self._scripted: bool | None = None
        #: Who was said to be logged in; workers may be so in different ways.
        self._logins = {""}
        #: Which engines were said to answer, and which versions of kiro-cli to be unknown.
        self._engines, self._unknown = set[str](), set[str]()
        self._said = False
        #: What the budget says was spent.
        self._spent = 0.0
        #: By the name of an xdist worker, what it said last; a dead one's last word came with a test's report.
        self._workers: dict[str, Tally] = {}
        self._observer, self._listener = TurnObserver(state), TestListener(state)
        self._verdicts = Verdicts(state, self._listener.gathered)
        self._comparisons = Comparisons(state, self._listener.gathered, self._verdicts)
        self._recordings: Recordings | None = None
        self._artifacts: Artifacts | None = None
        state.observers += [self._observer, live(state)]

    # -- before

    def begin(self) -> None:
        plugins = self._config.pluginmanager
        plugins.register(Failing(self._state), "kiro-failing")  # within this one's hooks, which forget a test's turns
        Staying.begin(self._state)
        self._artifacts = Artifacts.begin(self._state, lambda name: self._observer.attempts[name] or 1)
        plugins.register(self, "kiro-report")
        if not self._worker:
            self._listener.begin()
            self._comparisons.begin()
            plugins.register(self._verdicts, "kiro-verdicts")
        if not self._state.is_controller:
            plugins.register(TrialRuns(self._state), "kiro-trials")
        if self._settings.record != "off" or self._settings.replies == "recording":
            from pytest_kiro.plugin.recordings import Recordings

            self._recordings = Recordings.begin(self._state)
        if self._settings.selfcheck and self._recordings is not None:
            from pytest_kiro.plugin.selfcheck import SelfChecks

            SelfChecks.begin(self._state, self._recordings)

    def pytest_report_collectionfinish(self, items: Sequence[pytest.Item]) -> list[str]:
        planned = self._comparisons.planned(items)
        if self._config.option.collectonly:
            return planned
        wanted = any(map(is_eval, items)) or getattr(self._config.option, "verbose", 0) > 0
        return [self._header(), *planned] if wanted else []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Let one worker say what is planned: an xdist controller collects nothing."""
        for line in self._comparisons.planned(session.items) if self._settings.worker == _FIRST else ():
            self._progress.between(line)

    def _header(self) -> str:
        settings, isolated = self._settings, self._keeper.provider.isolated
        cli = self._keeper.cli(isolated=isolated)
        self._scripted = cli == "scripted" or settings.replies == "scenario"
        self._unknown.add(settings.cli_version or "")
        return header(settings, cli, self._engine(cli), isolated=isolated)

    def _engine(self, cli: str) -> str:
        """Say which engine answers, as far as that is known beforehand."""
        settings, name = self._settings, self._settings.engine
        if name == AUTO and cli == "scripted":
            name = list(ENGINES)[-1]  # the stand-in has all of them
        elif name == AUTO and settings.cli_version:
            name = choose_engine(AUTO, settings.cli_version, replies=settings.replies == "scenario").name
        self._engines.add(name)
        return f"{name} (auto)" if name != settings.engine else name

    def _correct(self, turns: Sequence[TurnRecord]) -> None:
        """Say what the header could not know: the login, the engine, and which CLI answers."""
        for turn in turns if self._settings.replies != "recording" else ():
            if turn.login not in self._logins:
                self._logins.add(turn.login)
                self._progress.between(f"kiro: logged in as {turn.login}")
            if turn.provenance.engine not in self._engines:
                self._engines.add(turn.provenance.engine)
                self._progress.between(
                    f"kiro: engine {turn.provenance.engine} of kiro-cli {turn.provenance.cli_version} answers"
                )
            version = turn.provenance.cli_version
            if version not in self._unknown and is_unknown(version):
                self._unknown.add(version)
                self._progress.between(f"kiro: {unknown_cli(version)}")
            if self._scripted is not turn.scripted:
                self._scripted = turn.scripted
                who = "the stand-in answers, Kiro is not asked" if turn.scripted else "Kiro answers, no stand-in"
                self._progress.between(f"kiro: kiro-cli {turn.provenance.cli_version}: {who}")

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
        self._carry(item, report, call.excinfo)
        if call.when == "teardown":
            self._state.ownership.forget_test(item)
        return report

    def _carry(
        self, item: pytest.Item, report: pytest.TestReport, excinfo: pytest.ExceptionInfo[BaseException] | None
    ) -> None:
        """Put records on a report as texts. These reach the controller under xdist."""
        owners = self._state.ownership.owners_of(item)
        # A test may ask late, by `getfixturevalue`, for a fixture whose turns another test's report has carried.
        evaluated = bool(self._observer.unsent) or is_eval(item) or any(owner.turns for owner in owners)
        if evaluated:
            vars(report)[TALLY] = self._word()
        kept_whole = bool(self._settings.results or self._settings.report)
        if evaluated or kept_whole:
            trial = record_of(item, self._settings)
            fixtures = self._observer.references(owners)
            scores = {name: one for owner in owners for name, one in owner.scores.items()}
            kept: dict[str, Any] = {"trial": trial, "fixtures": fixtures, "scores": scores, "kiro_id": kiro_id_of(item)}
            kept["artifacts"] = item.stash.get(PLACE, "")
            if kept_whole:
                kept |= inputs_of(item, report, owners, self._state.secrets)
            if excinfo is not None and not report.skipped:
                kept["place"] = place_of(item, excinfo)
            outcome = self._recordings.outcome_of(item) if self._recordings else None
            error = excinfo.value if excinfo is not None else None
            carried = self._observer.carried(item.nodeid, error, recorded_outcome=outcome, **kept)
            vars(report)[CARRIED] = json.dumps(carried.to_json())
            properties = (item.user_properties, report.user_properties)
            note(properties, carried.turns, self._observer.latest(owners))
            note_scores(properties, scores)

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
            self._comparisons.finish(session)
            self._listener.judge_left()
            note_run(self._config.pluginmanager.get_plugins(), self._listener.gathered.turns)
        try:
            if self._state.is_controller or not stops.leaving:  # it has to end its workers all the same
                yield
        except KeyboardInterrupt:
            session.exitstatus = pytest.ExitCode.INTERRUPTED
        if not self._worker:
            explain(self._config.pluginmanager.get_plugins(), self._listener.gathered.tests)
        self._gather()
        try:
            self._state.close()
        except KeyboardInterrupt:
            session.exitstatus = pytest.ExitCode.INTERRUPTED
            self._state.close()  # unless it was the second one
        if stops.leaving:
            pytest.exit(LEFT_AT_ONCE, returncode=pytest.ExitCode.INTERRUPTED)

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
        full, gathered = getattr(self._config.option, "verbose", 0) > 0, self._listener.gathered
        parts = {
            "kiro: trials": self._verdicts.lines(full=full),
            "kiro: comparison": self._comparisons.variant_lines(full=full),
            f"kiro: added to {self._settings.baseline}": growth_lines(self._config, self._settings, gathered),
            f"kiro: against {self._settings.baseline}": self._comparisons.baseline_lines(full=full),
            "kiro": self._summary(),
        }
        for title, lines in parts.items():
            written = [] if self._said else list(lines)
            if written:
                terminalreporter.write_sep("-", title)
            for line, is_warning in written:
                terminalreporter.write_line(visible(line), yellow=is_warning)
        self._said = True

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
        yield from died_lines(died, self._listener.left, cleared=keeper.certain and not tally.leaked)
        yield from ((line, False) for line in [*retried_lines(gathered.turns), *shared_lines(gathered.turns)])
        yield from ((line, True) for line in scenario_lines(gathered.turns))
        if line := scripted_line(gathered.turns):
            yield line, True
        if self._recordings is not None:
            yield from self._recordings.lines(gathered)
        if self._artifacts is not None:
            yield from self._artifacts.lines()

    def pytest_unconfigure(self) -> None:
        """Write the summary if pytest wrote none, as after SIGTERM: a sandbox may be kept."""
        if terminal := self._config.pluginmanager.getplugin("terminalreporter"):
            self.pytest_terminal_summary(terminal)
        self._listener.write(self._verdicts.records(), self._comparisons.records())


def _last_words(node: Node) -> dict[str, Any]:
    """Return what a worker said at its end; nothing if it died."""
    return getattr(node, "workeroutput", None) or {}
