"""Runs evals again on altered recordings, when all tests have ended: `--kiro-selfcheck`.

Each eval that passed is set up, called and torn down once for each altered recording, without reports.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_kiro.agent.bench import Owner
from pytest_kiro.errors import RecordingMiss, SandboxError, SetupError
from pytest_kiro.plugin.allowances import allowance_of
from pytest_kiro.plugin.trials import TRIAL, trial_of
from pytest_kiro.plugin.verdict_reports import log, verdict_report
from pytest_kiro.recording.altered import Case
from pytest_kiro.recording.mutants import KINDS, Mutant, mutants
from pytest_kiro.recording.player import Player
from pytest_kiro.recording.store import Store
from pytest_kiro.report.selfcheck import Checked, SelfCheck, nothing_text, selfcheck_lines
from pytest_kiro.secrecy.visible import visible

if TYPE_CHECKING:
    from pytest_kiro.agent.bench import Bench, Conversing, Fly
    from pytest_kiro.agent.flying import Flying
    from pytest_kiro.agent.request import Request
    from pytest_kiro.plugin.recordings import Recordings
    from pytest_kiro.plugin.state import State
    from pytest_kiro.recording.values import Recording

#: What fixtures may raise at their end.
_ERRORS = (Exception, pytest.fail.Exception, pytest.skip.Exception)
_PACKAGE = Path(__file__).parents[1]
_Report = Generator[None, pytest.TestReport, pytest.TestReport]


@dataclass(frozen=True, eq=False)
class Job:
    """An altered recording, and the eval to run on it."""

    item: pytest.Item
    mutant: Mutant

    @property
    def is_allowed(self) -> bool:
        """Whether a mark says that the eval need not notice it."""
        return allowance_of(self.item).match(self.mutant.name) is not None

    @property
    def shared(self) -> tuple[str, str] | None:
        """What is altered of a wide fixture, which other evals have too."""
        if self.mutant.part is None or self.mutant.part[0] == self.item.nodeid:
            return None
        owner, what = self.mutant.part
        return str(self.mutant.case[owner].folder), what


class SelfChecks:
    """A plugin object of a run with `--kiro-selfcheck`."""

    def __init__(self, state: State, recordings: Recordings) -> None:
        self._state, self._config, self._recordings = state, state.config, recordings
        #: By the name of an eval, without its trial: its first item that passed, and the owners of its turns.
        self._passed: dict[str, tuple[pytest.Item, list[Owner]]] = {}
        #: By the names of the others, why they are not checked.
        self._unchecked: dict[str, str] = {}
        #: The altered recording on which an eval runs now, and its reports that failed.
        self._job: Job | None = None
        self._failed: list[Checked] = []
        self._checked: dict[Job, Checked] = {}
        #: The eval that ran last.
        self._last: pytest.Item | None = None
        #: By what is altered of a wide fixture, the eval that noticed it.
        self._noticed: dict[tuple[str, str], str] = {}
        #: The conversation whose turn is played.
        self._conversation: Conversing | None = None
        #: Ends the fixture on which everything depends that runs turns.
        self._finish: Callable[[], None] | None = None
        self.results: list[SelfCheck] = []

    @classmethod
    def begin(cls, state: State, recordings: Recordings) -> None:
        """Check evals from now on; `UsageError` where several processes run them."""
        if state.is_worker or state.is_controller:
            raise state.usage_error("--kiro-selfcheck runs evals in one process; leave -n out, or say -n 0")
        state.config.pluginmanager.register(cls(state, recordings), "kiro-selfcheck")

    # -- the unaltered run

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> _Report:
        report = yield
        if self._job is None and (report.when == "call" or not report.passed):
            self._note(item, report)
        elif self._job is not None and report.failed and call.excinfo is not None:
            self._failed.append(_death(self._job, call.excinfo))
        return report

    def _note(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """Note an eval that can be checked, or why it cannot."""
        trial = trial_of(item)
        name = trial.group if trial else item.nodeid
        owners = [owner for owner in self._state.ownership.owners_of(item) if owner.turns]
        passed = report.passed and not hasattr(report, "wasxfail")
        if passed and owners:
            self._passed.setdefault(name, (item, [_without_turns(owner) for owner in owners]))
        elif name not in self._passed and "kiro" in getattr(item, "fixturenames", ()):
            self._unchecked[name] = "it runs no turn" if passed else "it does not pass on what is not altered"

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        result = yield
        if not session.config.option.collectonly:
            self._check()
        return result

    # -- the altered runs

    def _check(self) -> None:
        """Run all altered recordings, and report them."""
        jobs = {name: [Job(item, one) for one in found] for name, (item, found) in self._mutants().items()}
        every = [job for several in jobs.values() for job in several if not job.is_allowed]
        count = f"{len(every)} altered recordings of {len(jobs)} eval{'s' * (len(jobs) != 1)}"
        self._state.progress.at = None  # no dots of a file go on
        self._state.progress.between(f"kiro: self-check: {count}")
        plugins = self._config.pluginmanager
        plugins.unregister(name="kiro-trials")  # which would leave trials out
        plugins.unregister(name="kiro-recordings")
        for name in ("kiro-artifacts", "kiro-staying"):  # of evals that are meant to fail
            if plugins.hasplugin(name):
                plugins.unregister(name=name)
        plugins.register(_Answers(self._fly, self._recordings), "kiro-recordings")
        self._state.observers.clear()
        self._state.benches.clear()
        for job in every:
            self._checked[job] = self._run(job)
        self._go_on_to(None)
        told = {(job.item.path, allowance_of(job.item).match(job.mutant.name)) for one in jobs.values() for job in one}
        for name, several in jobs.items():
            self._report(name, several, told)
        self.results += [
            SelfCheck(name=name, unchecked=why) for name, why in self._unchecked.items() if name not in jobs
        ]

    def _mutants(self) -> dict[str, tuple[pytest.Item, list[Mutant]]]:
        """Return the altered recordings of each eval."""
        kept, before = Store(self._recordings.kept), self._recordings.store
        cases: dict[str, Case] = {}
        # As they stand in their files, whatever shuffled them: what another eval's answer is, is the same each time.
        for name, (_, owners) in sorted(self._passed.items(), key=lambda passed: _place(passed[1][0])):
            found = {owner.name: kept.recording(owner) or before.recording(owner) for owner in owners}
            cases[name] = {owner: recording for owner, recording in found.items() if recording is not None}
        return {
            name: (self._passed[name][0], list(mutants(case, _others(cases, name), self._look)))
            for name, case in cases.items()
        }

    def _run(self, job: Job) -> Checked:
        """Run an eval on an altered recording, unless another noticed it."""
        mutant, shared = job.mutant, job.shared
        if shared is None or shared not in self._noticed:
            self._go_on_to(job.item)
            self._job, self._failed = job, []
            # The next is one beside it, so that pytest tears down the eval itself, and nothing wider.
            beside = copy.copy(job.item)
            try:
                job.item.ihook.pytest_runtest_protocol(item=job.item, nextitem=beside)
            finally:
                self._job = None
            if self._finish is not None:
                with suppress(*_ERRORS):
                    self._finish()
            if self._failed:
                if shared is not None and self._failed[0].outcome == "killed":
                    self._noticed[shared] = job.item.nodeid
                return self._failed[0]
        return Checked(mutant=mutant.name, outcome="survived", idea=mutant.idea)

    def _go_on_to(self, item: pytest.Item | None) -> None:
        """Tear down what the next eval does not share with the last."""
        last, self._last = self._last, item
        if last is not None and last is not item:
            with suppress(*_ERRORS):
                last.session._setupstate.teardown_exact(item)  # pytest has no public way to tear down what is wider

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Run an eval on an altered recording, if any, without reports."""
        if self._job is None:
            return None
        request: Any = item
        request._initrequest()  # as pytest itself does for an item that runs again
        if self._phase(item, "setup", item.ihook.pytest_runtest_setup):
            self._phase(item, "call", item.ihook.pytest_runtest_call)
        self._phase(item, "teardown", item.ihook.pytest_runtest_teardown, nextitem=nextitem)
        request._request, request.funcargs = False, None
        return True

    def _phase(self, item: pytest.Item, when: Any, hook: Any, **more: object) -> bool:
        """Run a phase; return whether it went well. Plugins may rely on the report, such as that of `tmp_path`."""
        ends = (pytest.exit.Exception, KeyboardInterrupt)
        call = pytest.CallInfo.from_call(lambda: hook(item=item, **more), when, reraise=ends)
        report: pytest.TestReport = item.ihook.pytest_runtest_makereport(item=item, call=call)
        return bool(report.passed)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any], request: Any) -> Generator[None, object, object]:
        if fixturedef.argname == TRIAL:
            self._finish = partial(fixturedef.finish, request)
        return (yield)

    # -- what answers

    def recording(self, owner: Owner) -> Recording | None:
        """Return what an altered recording has of an owner."""
        return self._job.mutant.case.get(owner.name) if self._job else None

    def _fly(self, bench: Bench, conversation: Conversing, request: Request) -> Flying:
        self._conversation = conversation
        return Player(self, strict=False).fly(bench, conversation, request)

    def _look(self, path: str) -> bytes:
        """Return what a file has when a turn is played."""
        assert self._conversation is not None
        content: bytes = (self._conversation.workspace / path).read_bytes()
        return content

    # -- what is said of it

    def _report(self, name: str, jobs: Sequence[Job], told: set[tuple[Path, str | None]]) -> None:
        """Keep what became of an eval; `told` are names of marks that allow something, by file, each told once."""
        item, _ = self._passed[name]
        allowance = allowance_of(item)
        unused = [one for one in allowance.names if (item.path, one) not in told]
        told |= {(item.path, one) for one in unused}
        result = SelfCheck(
            name=name,
            checked=list(map(self._result, jobs)),
            reason=allowance.reason,
            unused=unused,
        )
        self.results.append(result)
        if result.passes_nothing:
            text = nothing_text(result)
            report = verdict_report(
                name, item.location, "failed", message=text.partition("\n")[0], text=text, finding="survived", late=True
            )
            log(self._config, report)

    def _result(self, job: Job) -> Checked:
        """Return what became of an altered recording, by all its evals."""
        if job not in self._checked:
            return Checked(mutant=job.mutant.name, outcome="allowed")
        checked = self._checked[job]
        if checked.outcome == "survived" and job.shared in self._noticed:
            return replace(checked, outcome="elsewhere", where=self._noticed[job.shared])
        return checked

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.results:
            terminalreporter.write_sep("-", "kiro: self-check")
            full = getattr(self._config.option, "verbose", 0) > 0
            for line, is_warning in selfcheck_lines(self.results, list(KINDS), full=full):
                terminalreporter.write_line(visible(line), yellow=is_warning)


class _Answers:
    """Stands where the run's recordings stood, for fixtures."""

    def __init__(self, fly: Fly, recordings: Recordings) -> None:
        self.fly, self.installation = fly, recordings.installation
        #: Nothing is kept of altered runs.
        self.recorder = None


def _place(item: pytest.Item) -> tuple[str, int]:
    path, line, _ = item.location
    return path, line or 0


def _without_turns(owner: Owner) -> Owner:
    """Return an owner to look up recordings by; its turns may be large."""
    return replace(owner, conversations=[], _homes={})


def _others(cases: dict[str, Case], name: str) -> list[Case]:
    """Return the cases of other evals, those that follow first; variants of the same are none."""
    order = list(cases)
    at, own = order.index(name), name.partition("[")[0]
    return [cases[other] for other in [*order[at + 1 :], *order[:at]] if other.partition("[")[0] != own]


def _death(job: Job, error: pytest.ExceptionInfo[BaseException]) -> Checked:
    """Say where an eval failed: in its own file, if the traceback has been there.

    Undecided is what no code of the user's has come to, and what says nothing of the agent.
    """
    places = [(entry, Path(str(entry.path))) for entry in error.traceback]
    users = [(entry, path) for entry, path in places if _is_users(path, job.item.config.rootpath)]
    of_world = isinstance(error.value, RecordingMiss | SetupError) and not isinstance(error.value, SandboxError)
    if of_world or not users:
        return Checked(mutant=job.mutant.name, outcome="undecided", text=str(error.value) or error.typename)
    entry, path = ([place for place in users if place[1] == job.item.path] or users)[-1]
    where, text = f"{path.name}:{entry.lineno + 1}", str(entry.statement).strip()
    return Checked(mutant=job.mutant.name, outcome="killed", where=where, text=text)


def _is_users(path: Path, root: Path) -> bool:
    """Whether a file is the project's: neither installed nor of this package."""
    return path.is_relative_to(root) and "site-packages" not in path.parts and not path.is_relative_to(_PACKAGE)
