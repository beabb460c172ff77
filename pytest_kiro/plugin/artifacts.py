"""Keeps artifacts of tests and says where they are: `--kiro-artifacts`."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_kiro.artifacts.cast import settle
from pytest_kiro.artifacts.folder import Folder, folder_name
from pytest_kiro.artifacts.keeping import Keeping
from pytest_kiro.artifacts.kept import Kept
from pytest_kiro.plugin.carrying import CARRIED, phase_of
from pytest_kiro.plugin.owners import TEST as OWNER
from pytest_kiro.plugin.owners import is_eval
from pytest_kiro.records.folders import FAILURE, TEST
from pytest_kiro.records.phases import PhaseRecord
from pytest_kiro.records.plain import cut
from pytest_kiro.records.tests import ReportRecord, outcome_of
from pytest_kiro.secrecy.visible import visible
from pytest_kiro.turn.shown import without_folders

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_kiro.agent.bench import Owner
    from pytest_kiro.plugin.state import State
    from pytest_kiro.secrecy.redaction import Secrets

#: The titles of the sections on a failed test, and the property of JUnit files.
SECTION, BROKEN_OFF, PROPERTY = "kiro artifacts", "kiro turn that was broken off", "kiro_artifacts"
#: Where a test's artifacts are, as it is told; the phases of a test so far.
PLACE = pytest.StashKey[str]()
_PHASES = pytest.StashKey[list[PhaseRecord]]()
_PLUGIN = "kiro-artifacts"
#: Characters that are kept of what pytest says.
_FAILURE = 1024**2


def folder_for(request: pytest.FixtureRequest) -> Path:
    """Return the folder of a test's artifacts, which is made; where none are kept, one that goes."""
    plugin: Artifacts | None = request.config.pluginmanager.get_plugin(_PLUGIN)
    kept = plugin.of(request.node) if plugin else None
    if kept is None:
        path: Path = request.getfixturevalue("tmp_path")
        return path
    return kept.folder.path


class Artifacts:
    """A plugin object of each process."""

    def __init__(self, state: State, attempt: Callable[[str], int]) -> None:
        self._state, self._all = state, state.settings.artifacts == "on"
        self._keeping = Keeping(state.artifacts, state.secrets, state.worker, attempt)

    @classmethod
    def begin(cls, state: State, attempt: Callable[[str], int]) -> Artifacts | None:
        """Keep artifacts from now on, if they are wanted; `UsageError` where the folder that was named is of no use."""
        if state.settings.artifacts == "off":
            return None
        if not state.is_worker and state.settings.origins["artifacts_dir"] != "default":
            _check(state.artifacts.top, state.settings.origins["artifacts_dir"])
        made = cls(state, attempt)
        state.config.pluginmanager.register(made, _PLUGIN)
        state.observers.append(made._keeping)
        return made

    def of(self, item: pytest.Item) -> Kept | None:
        """Return a test's artifacts, whose folder is made; None where that cannot be."""
        kept = self._keeping.of(item.stash[OWNER].owner) if OWNER in item.stash else None
        if kept is not None:
            self._keeping.trying(lambda: kept.folder.path.mkdir(parents=True, exist_ok=True))
        return kept if kept and kept.folder.path.is_dir() else None

    # -- each test

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        try:
            return (yield)
        except (KeyboardInterrupt, pytest.exit.Exception):
            self._broken_off(item)
            raise

    @pytest.hookimpl(wrapper=True)  # within the owner's end, which removes its workspaces
    def pytest_runtest_teardown(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        if self._all or nextitem is None:  # with the last test the sandbox goes, before it is known that this one fails
            self._fetch(item)
        try:
            return (yield)
        except BaseException:  # what pytest.fail raises is no Exception
            self._fetch(item)
            raise

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        phases = [] if report.when == "setup" else item.stash.get(_PHASES, [])
        item.stash[_PHASES] = phases = [*phases, phase_of(report)]
        if report.failed and self._concerns(item):
            self._fetch(item)
            self._tell(item, phases, _failure(report))
            self._say(item, report)
        if report.when == "teardown":
            self._end(item, report, phases)
        return report

    def _concerns(self, item: pytest.Item) -> bool:
        """Whether a test is about Kiro; one that was refused has no owner."""
        return OWNER in item.stash and (is_eval(item) or any(map(self._keeping.known, self._owners(item))))

    def _owners(self, item: pytest.Item) -> list[Owner]:
        return self._state.ownership.owners_of(item)

    def _looked_at(self, item: pytest.Item) -> Iterator[Kept]:
        """Yield what is kept of a test's wide fixtures."""
        for owner in self._owners(item):
            look = self._keeping.of if owner.executed else self._keeping.known
            if owner.wide and (kept := look(owner)):
                yield kept

    def _fetch(self, item: pytest.Item) -> None:
        """Keep what stands in the sandbox now."""
        for owner in self._owners(item):
            if (kept := self._keeping.known(owner)) and not owner.ended:
                self._keeping.trying(kept.fetch)

    def _tell(self, item: pytest.Item, phases: list[PhaseRecord], failure: str = "") -> None:
        """Write what is known of a test and its wide fixtures; these files stay."""
        kept = self._keeping.of(item.stash[OWNER].owner)
        if kept is None:
            return
        # With pytest 8.2 a fixture whose set-up failed is no fixture of the test any more when that has ended.
        known = kept.fixtures
        kept.fixtures = [*known, *(fixture for fixture in self._looked_at(item) if fixture not in known)]
        kept.wanted = True
        for fixture in kept.fixtures:
            fixture.wanted = True
            self._keeping.trying(partial(fixture.tell, []))
        if failure:
            self._keeping.trying(lambda: kept.fail(failure))
        outcome = outcome_of(phases, finished=phases[-1].name == "teardown") if phases else "unfinished"
        self._keeping.trying(lambda: kept.tell(phases, outcome))

    def _say(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """Say on a failed report where a test's artifacts are."""
        kept = self._keeping.known(item.stash[OWNER].owner)
        place = self._place(item, report, kept) if kept else ""
        if not place and self._keeping.trouble:
            place = f"could not be written: {self._keeping.trouble}"
        for one in [kept, *kept.fixtures] if kept else ():
            if text := one.broken_off():
                report.sections.append((BROKEN_OFF, text))
        if place:
            report.sections.append((SECTION, place))

    def _place(self, item: pytest.Item, report: pytest.TestReport, kept: Kept) -> str:
        """Note where a test's artifacts are, for its properties and its record; empty where there are none."""
        if not kept.folder.path.is_dir():
            return ""
        item.stash[PLACE] = place = shown(kept.folder.path, self._state.config)
        for properties in (item.user_properties, report.user_properties):
            properties[:] = [*(one for one in properties if one[0] != PROPERTY), (PROPERTY, place)]
        return place

    def _end(self, item: pytest.Item, report: pytest.TestReport, phases: list[PhaseRecord]) -> None:
        """Keep or remove what was written of a test that is over."""
        del item.stash[_PHASES]
        owner = item.stash[OWNER].made if OWNER in item.stash else None
        kept = owner and self._keeping.known(owner)
        if owner is not None and kept:
            if self._all or kept.wanted:
                self._tell(item, phases)
                self._keeping.forget(owner)
            else:
                self._keeping.drop(owner)
            self._place(item, report, kept)  # also where there is nothing but what the test put there
        for fixture in self._keeping.wide:
            if fixture.owner.ended:
                self._leave(fixture)

    def _leave(self, fixture: Kept) -> None:
        if fixture.wanted or self._all:
            self._keeping.trying(lambda: fixture.tell([]))
            self._keeping.forget(fixture.owner)
        else:
            self._keeping.drop(fixture.owner)

    def _broken_off(self, item: pytest.Item) -> None:
        """Keep what is known of a test that Ctrl-C has ended."""
        if self._concerns(item):
            self._tell(item, item.stash.get(_PHASES, []))
            self._fetch(item)
            self._tell(item, item.stash.get(_PHASES, []))

    # -- the run

    @pytest.hookimpl(tryfirst=True)  # before the report is gathered
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Say of a worker that died where its test's artifacts are."""
        if self._state.is_controller and report.when not in ("setup", "call", "teardown") and report.failed:
            self._keeping.trying(lambda: self._crashed(report))

    def _crashed(self, report: pytest.TestReport) -> None:
        name = test_folder(report.nodeid, self._state)
        found = sorted(self._keeping.run.path.glob(f"{glob.escape(name)}*/{TEST}"))
        if not found:
            return
        folder = Folder(found[-1].parent)
        facts = json.loads(found[-1].read_bytes())
        for test in self._keeping.run.tests():  # its wide fixtures, too; what others write is none of ours
            if json.loads((test / TEST).read_bytes())["worker"] == facts["worker"]:
                _settle(test, self._state.secrets)
        facts |= {"outcome": "failed", "phases": [{"name": "crash", "outcome": "failed", "duration": 0.0}]}
        folder.write(TEST, json.dumps(facts, ensure_ascii=False, indent=1).encode() + b"\n")
        folder.write(FAILURE, self._state.secrets(_failure(report)).encode("utf-8", "replace"))
        place = shown(folder.path, self._state.config)
        report.longrepr = f"{report.longrepr}\nartifacts: {place}"  # JUnit files have no more of a worker's death
        record = ReportRecord(attempt=int(facts["attempt"]), artifacts=place)
        vars(report)[CARRIED] = json.dumps(record.to_json())

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        try:
            return (yield)
        finally:
            for kept in self._keeping.all:
                self._leave(kept)
            if not self._state.is_worker:
                self._keeping.trying(lambda: self._keeping.run.end(int(session.exitstatus)))

    def lines(self) -> Iterator[tuple[str, bool]]:
        """Yield the summary's lines, and whether each is a warning."""
        if self._keeping.run.tests():
            yield f"artifacts: {shown(self._keeping.run.path, self._state.config)}", False


def test_folder(nodeid: str, state: State) -> str:
    """Return the name of a test's folder, without its attempt."""
    return folder_name(without_folders(state.secrets(nodeid)), nodeid)


def shown(path: Path, config: pytest.Config) -> str:
    """Return a path as it is told: relative to where pytest was started, if it is below."""
    base = config.invocation_params.dir
    return str(path.relative_to(base)) if path.is_relative_to(base) else str(path)


def _settle(test: Path, secrets: Secrets) -> None:
    """Put in order what a worker that died was writing."""
    folder = Folder(test)
    for cast in test.glob("conversation-*/turn-*.cast"):
        settle(folder, str(cast.relative_to(test)), secrets)


def _failure(report: pytest.TestReport) -> str:
    """Return what pytest says of a phase that failed."""
    parts = [f"===== {report.when}", report.longreprtext]
    parts += [f"----- {title}\n{text}" for title, text in report.sections]
    return cut(visible("\n".join(parts)), _FAILURE)[0] + "\n"


def _check(top: Path, origin: str) -> None:
    """Make the folder that somebody has named, or raise `UsageError`."""
    try:
        top.mkdir(parents=True, exist_ok=True)
        part = top / f".{os.getpid()}.part"
        part.touch()
        part.unlink()
    except OSError as error:
        what = f"{origin}: {top} cannot be written: {error.strerror}"
        raise pytest.UsageError(f"{what}; name another folder, or use --kiro-artifacts=off") from None
