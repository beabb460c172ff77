"""Records turns as they are run: what flies, and who is told that a turn has ended."""

from __future__ import annotations

import platform
import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata

from pytest_kiro.agent.bench import Bench, Conversing, Owner
from pytest_kiro.agent.flight import Flight
from pytest_kiro.agent.request import Request
from pytest_kiro.errors import HIDE_FRAMES, KiroError
from pytest_kiro.recording import manifest
from pytest_kiro.recording.asked import asked_of
from pytest_kiro.recording.draft import Draft
from pytest_kiro.recording.leavings import Leavings, fetch, left_by
from pytest_kiro.recording.paths import SandboxPaths
from pytest_kiro.recording.places import Places
from pytest_kiro.recording.taken import Taken
from pytest_kiro.recording.values import Made, RecordedTurn
from pytest_kiro.terminal.record import LaunchRecord
from pytest_kiro.turn.turn import Turn

__tracebackhide__ = HIDE_FRAMES


class RecordedFlight(Flight):
    """A flight that takes along what is printed and left."""

    lists_all = True

    def __init__(self, bench: Bench, conversation: Conversing, request: Request) -> None:
        super().__init__(bench, conversation, request)
        self.taken, self.shown = Taken(), list[tuple[float, str]]()
        self.printed.taps.append(self._take)
        self._times = (0.0, 0.0)  # of the last two chunks that came before it was stopped
        self.number = len(conversation.turns) + 1
        self.before: dict[str, str] | None = None
        self.leavings = Leavings()
        home = conversation.owner.home(bench.homes)
        self._folders = {"workspace": conversation.workspace.for_launch()[0], "home": home.path}
        self._own_home = bool(home.own)
        self.paths = SandboxPaths(self._folders["workspace"], home.path)

    def _take(self, data: bytes) -> None:
        time = self.running.duration
        self.taken.add(time, data)
        if self.running.ending is None:
            self._times = (self._times[1], round(time, 3))

    def collected(self, record: LaunchRecord | None) -> None:
        """Fetch what the turn has left, before a test can change it."""
        if record is None or record.before is None:
            return
        ignore = self.conversation.workspace.ignore
        self.before = manifest.of_listing(record.before.split()[0], ignore)
        # In a HOME that is the user's, others write as well, and what is theirs.
        left = left_by(record, ignore, home=self._own_home)
        self.leavings = fetch(self.bench.sandbox, left, self._folders, ignore)

    def recorded(self, turn: Turn) -> tuple[RecordedTurn, dict[str, bytes]]:
        """Return the recorded turn, and the contents that it names."""
        secrets, paths = self.bench.secrets, self.paths
        files, contents = self.leavings.files("workspace", secrets, paths)
        outside, others = self.leavings.files("home", secrets, paths)
        left_out = list(self.leavings.left_out)
        if self.taken.dropped:
            left_out.append(f"its output: {self.taken.dropped} bytes of the middle")
        bare = replace(turn, raw=b"", output="")
        made = RecordedTurn(
            conversation=self.conversation.owner.conversations.index(self.conversation) + 1,
            number=self.number,
            asked=asked_of(self.bench, self.request, paths),
            chunks=paths.hide_chunks(self.taken.chunks(secrets)),
            turn=Turn.from_json(secrets.within(paths.hide_within(bare.to_json()))),
            before=secrets.within(self.before and {path: paths.hide(what) for path, what in self.before.items()}),
            files=secrets.within(files),
            outside=secrets.within(outside),
            left_out=secrets.within(tuple(left_out)),
            # The last but one: what a chunk's end tore apart is in the chunk before, when it is played.
            stopped_after=self._times[0] if turn.status == "stopped" else None,
        )
        return made, {**contents, **others}


@dataclass
class _Trial:
    """What is recorded of one owner; `flights` are those in flight."""

    draft: Draft
    made: Made
    flights: dict[Conversing, RecordedFlight] = field(default_factory=dict)
    whole: bool = True
    trouble: KiroError | None = None


class Recorder:
    """Records the turns of a run; it is told of them as an `Observer`, and of the ends of their owners.

    `anew` is whether nothing stays of an owner's earlier recording.
    """

    def __init__(self, places: Places, *, anew: bool) -> None:
        self._places, self._anew = places, anew
        #: The image or snapshot that sandboxes are made from; None where that is the provider's own choice.
        self.image: str | None = None
        self._trials = dict[Owner, _Trial]()
        self._lock = threading.Lock()
        day = datetime.now(UTC).date().isoformat()
        host = f"{platform.system()} {platform.machine()}".lower()
        self._made = Made(owner="", day=day, plugin=metadata.version("pytest-kiro"), host=host)

    def fly(self, bench: Bench, conversation: Conversing, request: Request) -> RecordedFlight:
        """Begin a turn that is recorded; a `Fly`."""
        settings = bench.settings
        self._made = replace(
            self._made,
            cli_version=bench.installation.version,
            engine=bench.engine.name,
            provider=settings.sandbox,
            scripted=bench.scripted,
            image=self.image,
        )
        trial = self._trial(conversation.owner)
        flight = RecordedFlight(bench, conversation, request)
        trial.flights[conversation] = flight
        return flight

    def started(self, conversation: Conversing, prompt: str) -> None:
        """Do nothing: what is in flight is not on disk."""

    def received(self, conversation: Conversing, data: bytes, at: float) -> None:
        """Do nothing: a flight that is recorded takes it along."""

    def broken_off(self, conversation: Conversing) -> None:
        """Do nothing: its flight stays in flight, so that its recording is not whole."""

    def printed(self, conversation: Conversing, text: str) -> None:
        """Take along the text that people see of events."""
        trial = self._trials.get(conversation.owner)
        flight = trial.flights.get(conversation) if trial else None
        if flight is not None and flight.bench.streams:
            flight.shown.append((flight.running.duration, text))

    def finished(self, conversation: Conversing, turn: Turn) -> None:
        """Write a turn that its conversation keeps; what hinders that is raised when its owner ends."""
        trial = self._trials.get(conversation.owner)
        flight = trial.flights.pop(conversation, None) if trial else None
        if trial is None or flight is None or not any(turn is kept for kept in conversation.turns) or trial.trouble:
            return
        made = self._made_by(conversation.owner, turn)
        trial.whole &= turn.cause is None or not turn.cause.infrastructure
        try:
            recorded, contents = flight.recorded(turn)
            with self._lock:
                trial.made = made
                trial.draft.add(made, recorded, contents, flight.bench.settings.terminal, flight.shown)
        except KiroError as error:
            trial.trouble = error

    def ended(self, owner: Owner, outcome: str | None, *, whole: bool = True) -> None:
        """Write that an owner came to its end; raises what hindered that a turn was written.

        `whole` is False where its end is the world's fault.
        """
        trial = self._trial(owner)
        del self._trials[owner]
        if trial.trouble:
            trial.draft.release()
            raise trial.trouble
        trial.draft.end(trial.made, whole=whole and trial.whole and not trial.flights, outcome=outcome)

    def _trial(self, owner: Owner) -> _Trial:
        if owner not in self._trials:
            draft = Draft(self._places.of(owner), self._places.top(owner.file), anew=self._anew)
            self._trials[owner] = _Trial(draft, self._made_by(owner, None))
        return self._trials[owner]

    def _made_by(self, owner: Owner, turn: Turn | None) -> Made:
        """Return whose recording it is, and what answered last."""
        made = replace(
            self._made,
            owner=self._places.hide(owner.tables[0]),
            node=self._places.hide(owner.name),
            file=owner.file.name,
            trial=owner.trial,
            variant=owner.variant,
            version=owner.marker().get("version"),
        )
        if turn is None:
            return made
        provenance = turn.provenance
        return replace(made, model_asked=provenance.model_asked, model=provenance.model)
