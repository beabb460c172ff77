"""Makes altered copies of recordings: turns without their work, files that are other ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from pytest_kiro.recording.values import RecordedFile, RecordedTurn, Recording, TurnKey
from pytest_kiro.turn.calls import ToolCalls
from pytest_kiro.turn.changes import KINDS, Changes, Paths

#: The recordings of one eval, by the names of their owners: its own, and those of the wide fixtures that it looks at.
Case = Mapping[str, Recording]
#: So many turns more than were recorded are answered, by nothing.
_MORE = 20


@dataclass(frozen=True)
class Place:
    """A path that a conversation's turns changed; `outside` of the workspace, in HOME."""

    owner: str
    conversation: int
    path: str
    outside: bool = False

    @property
    def shown(self) -> str:
        """The path as people write it."""
        return f"~/{self.path}" if self.outside else self.path


class Contents(Mapping[str, bytes]):
    """The contents of a recording, with others laid over it."""

    def __init__(self, below: Recording, over: Mapping[str, Callable[[], bytes]]) -> None:
        self._below, self._over = below, over

    def __getitem__(self, name: str) -> bytes:
        return self._over[name]() if name in self._over else self._below.read(name)

    def __iter__(self) -> Iterator[str]:
        yield from {**dict.fromkeys(self._below.contents), **self._over}

    def __len__(self) -> int:
        return len(list(iter(self)))


class Turns(Mapping[TurnKey, RecordedTurn]):
    """Turns of a recording, and more that an eval may ask for: these do and say nothing."""

    def __init__(self, turns: Mapping[TurnKey, RecordedTurn]) -> None:
        self._turns = turns

    def __getitem__(self, key: TurnKey) -> RecordedTurn:
        if key in self._turns:
            return self._turns[key]
        conversation, number = key
        if not self._turns or number > _MORE + max(number for _, number in self._turns):
            raise KeyError(key)
        like = blank(self._turns[max(self._turns)])
        turn = replace(like.turn, number=number, session_id=None)
        return replace(like, conversation=conversation, number=number, turn=turn)

    def __iter__(self) -> Iterator[TurnKey]:
        return iter(self._turns)

    def __len__(self) -> int:
        return len(self._turns)


def blank(recorded: RecordedTurn) -> RecordedTurn:
    """Return a turn that does nothing and says nothing, and ends well."""
    return replace(undone(recorded), chunks=(), turn=replace(undone(recorded).turn, messages=(), diagnostics=""))


def undone(recorded: RecordedTurn) -> RecordedTurn:
    """Return a turn that says what it said, and does nothing."""
    turn = replace(
        recorded.turn,
        status="completed",
        cause=None,
        detail="",
        proof=recorded.turn.proof or "session",
        exit_code=0,
        tool_calls=ToolCalls((), folder=recorded.turn.tool_calls.folder),
        known_changes=Changes(),
        known_outside=Changes(),
        survivors=(),
        agents={},
    )
    return replace(recorded, turn=turn, files=(), outside=())


def each_turn(case: Case, alter: Callable[[RecordedTurn], RecordedTurn]) -> Case:
    """Return a case of which every turn is altered."""
    return {
        owner: with_turns(recording, {key: alter(turn) for key, turn in recording.turns.items()})
        for owner, recording in case.items()
    }


def with_turns(
    recording: Recording,
    altered: Mapping[TurnKey, RecordedTurn],
    over: Mapping[str, Callable[[], bytes]] | None = None,
) -> Recording:
    """Return a recording with some turns altered, and contents laid `over`; it has more turns than were recorded."""
    contents = Contents(recording, over) if over else recording.contents
    return replace(recording, turns=Turns({**recording.turns, **altered}), contents=contents)


def places_of(case: Case) -> list[Place]:
    """Return the paths that turns changed, but not by the way."""
    places: dict[Place, None] = {}
    for owner, recording in case.items():
        for (conversation, _), recorded in sorted(recording.turns.items()):
            ignored = by_the_way(recorded)
            for file in recorded.files:
                if file.path not in ignored:
                    places[Place(owner, conversation, file.path)] = None
            for file in recorded.outside:
                places[Place(owner, conversation, file.path, outside=True)] = None
    return list(places)


def by_the_way(recorded: RecordedTurn) -> frozenset[str]:
    """Return the paths that a turn's programs changed by the way."""
    changes = recorded.turn.known_changes
    return frozenset() if changes is None else changes.ignored.paths


def files_at(case: Case, place: Place) -> Iterator[tuple[RecordedTurn, RecordedFile]]:
    """Yield what turns left at a place, the first turn first."""
    for (conversation, _), recorded in sorted(case[place.owner].turns.items()):
        if conversation == place.conversation:
            for file in recorded.outside if place.outside else recorded.files:
                if file.path == place.path:
                    yield recorded, file


def was_there(recorded: RecordedTurn, place: Place) -> bool:
    """Whether something stood at a place before a turn changed it."""
    if not place.outside and recorded.before is not None:
        return place.path in recorded.before
    changes = recorded.turn.known_outside if place.outside else recorded.turn.known_changes
    return changes is not None and place.path not in changes.added


def kept_out(case: Case, place: Place, *, gone: bool) -> Case:
    """Return a case in which no turn writes to a place; what was there before is `gone`, or stays."""
    altered: dict[TurnKey, RecordedTurn] = {}
    for number, (recorded, _) in enumerate(files_at(case, place)):
        deleted = gone and number == 0 and was_there(recorded, place)
        altered[recorded.key] = _put(
            recorded, place, RecordedFile(path=place.path, kind="deleted") if deleted else None
        )
    return _altered(case, place, altered, {})


def rewritten(case: Case, place: Place, make: Callable[[bytes], bytes]) -> Case:
    """Return a case in which turns leave another content at a place."""
    altered: dict[TurnKey, RecordedTurn] = {}
    over: dict[str, Callable[[], bytes]] = {}
    recording = case[place.owner]
    for recorded, file in files_at(case, place):
        if file.kind == "file":
            content = make(recording.read(file.content))
            name = f"altered {len(over)} {file.content}"
            over[name] = partial(bytes, content)
            altered[recorded.key] = _put(recorded, place, replace(file, content=name))
    return _altered(case, place, altered, over)


def touched(case: Case, place: Place, look: Callable[[str], bytes]) -> Case:
    """Return a case whose first turn touches a file as well; `look` tells what it has then."""
    recording = case[place.owner]
    recorded = recording.turns[min(key for key in recording.turns if key[0] == place.conversation)]
    name = f"touched {place.path}"
    mode = 0o644
    file = RecordedFile(path=place.path, kind="file", mode=mode, content=name)
    return _altered(case, place, {recorded.key: _put(recorded, place, file)}, {name: lambda: look(place.path) + b"\n"})


def _altered(
    case: Case, place: Place, turns: Mapping[TurnKey, RecordedTurn], over: Mapping[str, Callable[[], bytes]]
) -> Case:
    recording = case[place.owner]
    return {**case, place.owner: with_turns(recording, turns, over)}


def _put(recorded: RecordedTurn, place: Place, file: RecordedFile | None) -> RecordedTurn:
    """Return a turn that leaves something else at a place; None stands for nothing."""
    before = recorded.outside if place.outside else recorded.files
    others = tuple(one for one in before if one.path != place.path)
    files = others if file is None else tuple(sorted((*others, file), key=lambda one: one.path))
    kind = None
    if file is not None:
        there = was_there(recorded, place)
        kind = "deleted" if file.kind == "deleted" else "modified" if there else "added"
    if place.outside:
        outside = _listed(recorded.turn.known_outside, place.path, kind)
        return replace(recorded, outside=files, turn=replace(recorded.turn, known_outside=outside))
    changes = _listed(recorded.turn.known_changes, place.path, kind)
    return replace(recorded, files=files, turn=replace(recorded.turn, known_changes=changes))


def _listed(changes: Changes | None, path: str, kind: str | None) -> Changes | None:
    """Return changes with a path in one kind, or in none."""
    if changes is None:
        return None
    kinds = {name: Paths(getattr(changes, name) - {path} | ({path} if name == kind else set())) for name in KINDS}
    return Changes(**kinds, by_the_way=changes.by_the_way)
