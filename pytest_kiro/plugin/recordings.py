"""Records turns and replays them, as the settings say; tells which recordings no test asks for."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest

from pytest_kiro.errors import HIDE_FRAMES, RecordingMiss
from pytest_kiro.kirocli.commands import ENGINES
from pytest_kiro.kirocli.install import Installation
from pytest_kiro.plugin.carrying import fault_of, phase_of
from pytest_kiro.plugin.naming import owner_of_test
from pytest_kiro.plugin.owners import TEST, is_eval
from pytest_kiro.recording.places import Places
from pytest_kiro.recording.player import Player
from pytest_kiro.recording.pruning import prune, recorded_below
from pytest_kiro.recording.recorder import Recorder
from pytest_kiro.recording.store import Store
from pytest_kiro.records.phases import PhaseRecord
from pytest_kiro.records.tests import outcome_of
from pytest_kiro.report.replays import replayed_lines

if TYPE_CHECKING:
    from pytest_kiro.agent.bench import Bench, Conversing, Owner
    from pytest_kiro.agent.flying import Flying
    from pytest_kiro.agent.request import Request
    from pytest_kiro.plugin.state import State
    from pytest_kiro.recording.values import Recording
    from pytest_kiro.records.tests import Gathered

__tracebackhide__ = HIDE_FRAMES

#: What a worker tells its controller.
_TOLD = "kiro_recordings"
_PHASES = pytest.StashKey[list[tuple[PhaseRecord, bool]]]()


def places_of(state: State) -> Places:
    """Return where the recordings of this run lie."""
    return Places(state.settings.recordings, base=state.config.rootpath, hide=state.secrets)


def _for_a_while(state: State) -> Places:
    """Return a folder for recordings that goes when the run ends."""
    folder = TemporaryDirectory(prefix="kiro-selfcheck-")
    state.config.add_cleanup(folder.cleanup)
    return Places(folder.name, base=state.config.rootpath)


def owner_of(item: pytest.Item) -> Owner:
    """Return the owner of a test's turns; it need have none."""
    possible = item.stash.get(TEST, None)
    return possible.owner if possible else owner_of_test(item)


class Recordings:
    """A plugin object of each process."""

    def __init__(self, state: State) -> None:
        settings = state.settings
        self._state, self.replays = state, settings.replies == "recording"
        self.places = places_of(state)
        self.store = Store(self.places)
        #: Where turns are kept.
        self.kept = _for_a_while(state) if settings.selfcheck else self.places
        self.recorder = Recorder(self.kept, anew=settings.record == "all") if not self.replays else None
        beyond = self.recorder.fly if self.recorder else None
        self.player = Player(self.store, others=self._others, beyond=beyond) if settings.record != "all" else None
        if self.recorder:
            state.observers.append(self.recorder)
        #: The wide fixtures that ran turns, and are not known to have ended.
        self._wide: list[Owner] = []
        #: The folders of recordings that tests would ask for, and of the files that they are in.
        self._expected, self._files = set[Path](), set[Path]()
        self._partly, self._whole = False, True
        self._unused: list[tuple[str, bool]] = []

    @classmethod
    def begin(cls, state: State) -> Recordings:
        """Record, or replay, from now on."""
        recordings = cls(state)
        state.config.pluginmanager.register(recordings, "kiro-recordings")
        return recordings

    def lines(self, gathered: Gathered) -> Iterator[tuple[str, bool]]:
        """Yield the summary's lines, and whether each is a warning."""
        kept = self.kept is self.places  # else a self-check forgets them
        turns = [turn for turn in gathered.turns if kept or turn.recording != "recorded"]
        yield from replayed_lines(turns, gathered.tests, datetime.now(UTC).date())
        yield from self._unused

    # -- turns

    def fly(self, bench: Bench, conversation: Conversing, request: Request) -> Flying:
        """Begin a turn; a `Fly`."""
        owner = conversation.owner
        if owner.wide and owner not in self._wide:
            self._wide.append(owner)
        if self.player is not None:
            return self.player.fly(bench, conversation, request)
        assert self.recorder is not None
        return self.recorder.fly(bench, conversation, request)

    def installation(self, item: pytest.Item | None) -> Installation:
        """Return the kiro-cli of a test's recording, or of one beside it; nothing is looked for in the sandbox."""
        found = next(self._candidates(item), None)
        if found is None:  # then every turn is a miss
            newest = max(one.since for one in ENGINES.values())
            return Installation("kiro-cli", ".".join(map(str, newest)), scripted=False)
        return Installation("kiro-cli", found.made.cli_version, scripted=found.made.scripted)

    def _candidates(self, item: pytest.Item | None) -> Iterator[Recording]:
        if item is None:
            return
        owner = owner_of(item)
        with suppress(RecordingMiss):
            if recording := self.store.recording(owner):
                yield recording
        yield from self.store.others(owner)

    def _others(self, owner: Owner) -> list[Recording]:
        """Return the recordings of the same test, and those of none."""
        asked = {folder.parent for folder in self._expected | (self.player.asked if self.player else set())}
        own, others = self.places.of(owner).parent, self.store.others(owner)
        return [one for one in others if one.folder and (one.folder.parent == own or one.folder.parent not in asked)]

    def outcome_of(self, item: pytest.Item) -> str | None:
        """Return how a test ended when recorded; None where nothing says it."""
        if self.player is None or not is_eval(item):
            return None
        owner = owner_of(item)
        with suppress(RecordingMiss):
            if (recording := self.player.recording(owner)) and not self.player.has_run(owner):
                return recording.outcome
        return None

    # -- tests

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if is_eval(item) and self.recorder:
            fault = fault_of(call.excinfo.value) if call.excinfo else ""
            phases = [] if report.when == "setup" else item.stash.get(_PHASES, [])
            item.stash[_PHASES] = [*phases, (phase_of(report), fault not in ("", "agent"))]
        self._partly |= report.failed or report.skipped
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)  # when owners have ended
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, None, None]:
        try:
            result = yield
        except (KeyboardInterrupt, pytest.exit.Exception):
            raise
        except BaseException:
            self._ended(item, broken=True)
            raise
        self._ended(item, broken=False)
        return result

    def _ended(self, item: pytest.Item, *, broken: bool) -> None:
        """Write that a test has ended, and wide fixtures with it."""
        for owner in [owner for owner in self._wide if owner.ended]:
            self._wide.remove(owner)
            self._end(owner, None, whole=True)
        if not (is_eval(item) and self.recorder):
            return
        owner, phases = owner_of(item), item.stash.get(_PHASES, [])
        outcome = outcome_of([phase for phase, _ in phases], finished=True)
        outcome = "error" if broken and outcome != "failed" else outcome
        if owner.conversations or outcome != "skipped":
            self._end(owner, outcome, whole=not any(infrastructure for _, infrastructure in phases))

    def _end(self, owner: Owner, outcome: str | None, *, whole: bool) -> None:
        if self.recorder is None:
            return
        if self.player is not None and not self.player.has_run(owner):
            with suppress(RecordingMiss):
                if self.player.recording(owner) is not None:
                    return  # it was replayed, and is as it was
        self.recorder.ended(owner, outcome, whole=whole)

    # -- recordings that no test asks for

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if not self.replays:
            return
        for item in session.items:
            if is_eval(item):
                owner = owner_of_test(item)
                self._expected.add(self.places.of(owner))
                self._files.add(owner.file)

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        self._whole = False
        self._expected |= {self.places.of(owner_of_test(item)) for item in items if self.replays and is_eval(item)}

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._whole &= not report.failed

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        yield
        if not self.replays or self.player is None:
            return
        said = {
            "expected": sorted(map(str, self._expected | self.player.asked)),
            "files": sorted(map(str, self._files)),
            "partly": self._partly,
            "whole": self._whole,
        }
        if self._state.is_worker:
            self._state.tell_controller(_TOLD, json.dumps(said))
        elif self._is_whole(session):
            self._look_for_unused([said, *self._told()])

    def _told(self) -> Iterator[dict[str, Any]]:
        for node in self._state.nodes:
            output: dict[str, Any] = getattr(node, "workeroutput", None) or {}
            yield json.loads(output[_TOLD]) if _TOLD in output else {"expected": [], "files": [], "whole": False}

    def _is_whole(self, session: pytest.Session) -> bool:
        """Whether all tests of the folders that were asked for have run."""
        config, broken_off = session.config, session.shouldstop or session.shouldfail
        ended = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) and not broken_off
        fewer = any(config.getoption(name, None) for name in ("lf", "stepwise", "ignore", "ignore_glob"))
        return ended and not fewer and all((config.invocation_params.dir / arg).is_dir() for arg in config.args)

    def _look_for_unused(self, told: list[dict[str, Any]]) -> None:
        """Name the recordings that no test asked for, or remove them."""
        if not all(one["whole"] for one in told):
            return
        files = {Path(file) for one in told for file in one["files"]}
        expected = {Path(folder) for one in told for folder in one["expected"]}
        partly = any(one["partly"] for one in told)
        # In one folder for all there may be those of other tests.
        shared = Path(self._state.settings.recordings).is_absolute()
        folders = {self.places.of_file(file) if shared else self.places.top(file) for file in files}
        unused = [one for one in recorded_below(folders) if one not in expected]
        if partly:  # a fixture may have had no chance to ask
            unused = [one for one in unused if not one.parent.name.startswith("fixture-")]
        if not unused:
            return
        names = ", ".join(sorted({f"{one.parent.parent.name}/{one.parent.name}/{one.name}" for one in unused})[:10])
        more = f" and {len(unused) - 10} more" if len(unused) > 10 else ""
        count = f"{len(unused)} recording{'s' * (len(unused) != 1)}"
        if self._state.settings.record == "prune":
            prune(unused)
            self._unused.append((f"removed {count} that no test asks for: {names}{more}", False))
        else:
            self._unused.append((f"no test asked for {count}: {names}{more}; --kiro-record=prune removes them", True))
