"""Alters recordings as worse agents would have made them: what an eval should notice.

Pure functions of recordings. A kind of which a recording has nothing to alter gives no mutants.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from pytest_kiro.recording.altered import (
    Case,
    Place,
    blank,
    each_turn,
    files_at,
    kept_out,
    places_of,
    rewritten,
    touched,
    undone,
    was_there,
    with_turns,
)
from pytest_kiro.recording.values import RecordedTurn, Recording, TurnKey
from pytest_kiro.turn.calls import ToolCalls, label
from pytest_kiro.turn.transcript import ToolCall

#: By kind, what the agent of such a mutant does.
KINDS = {
    "nothing": "does nothing and says nothing",
    "only-says": "says it all and does nothing",
    "missing": "leaves a file out",
    "emptied": "leaves a file empty",
    "halved": "leaves the first half of a file",
    "as-before": "leaves a file as it was before",
    "touched": "changes a file that was not to be touched",
    "no-call": "does without a tool call",
    "exit-code": "has a command fail",
    "other-answer": "does what another eval wants",
    "last-turn": "does and says nothing in the last turn",
}
#: So many files, calls and untouched files of one eval are altered, each by itself.
MOST = {"file": 12, "call": 20, "touched": 3}


@dataclass(frozen=True)
class Mutant:
    """One altered case: `name` begins with its kind, `idea` is a line that would notice it.

    `part` is the owner of the one recording that is altered, and what in it; None where all are.
    """

    name: str
    case: Case
    idea: str
    part: tuple[str, str] | None = None

    @property
    def kind(self) -> str:
        """The kind, a key of `KINDS`."""
        return self.name.partition(" ")[0]


def mutants(case: Case, others: Sequence[Case], look: Callable[[str], bytes]) -> Iterator[Mutant]:
    """Yield what a case is altered to.

    `others` are those of other evals; `look` reads a file of the workspace when a turn is played.
    """
    turns = [turn for recording in case.values() for turn in recording.turns.values()]
    if not turns:
        return
    yield Mutant("nothing", each_turn(case, blank), _anything(turns))
    if any(_does(turn) for turn in turns) and any(turn.turn.messages for turn in turns):
        yield Mutant("only-says", each_turn(case, undone), _anything(turns, said=False), _only_one(case, "only-says"))
    places = places_of(case)
    for place in places[: MOST["file"]]:
        alike = [one for one in places if one.shown == place.shown]
        yield from _file_mutants(case, place, f"{place.shown}{_conversation(case, place) if len(alike) > 1 else ''}")
    yield from _touched(case, places, look)
    yield from _call_mutants(case)
    yield from _another(case, others)
    yield from _last_turns(case)


def _only_one(case: Case, kind: str) -> tuple[str, str] | None:
    return (next(iter(case)), kind) if len(case) == 1 else None


def _does(recorded: RecordedTurn) -> bool:
    return bool(recorded.files or recorded.outside or recorded.turn.tool_calls)


def _anything(turns: Sequence[RecordedTurn], *, said: bool = True) -> str:
    """Return an assert that the agent did anything."""
    paths = sorted(file.path for turn in turns for file in turn.files if file.kind == "file")
    if paths:
        return f"assert {paths[0]!r} in turn.changes.paths"
    calls = [call for turn in turns for call in turn.turn.tool_calls]
    if calls:
        return _used(calls[0])
    return "assert turn.text" if said else "assert turn.tool_calls"


# -- files


def _file_mutants(case: Case, place: Place, shown: str) -> Iterator[Mutant]:
    recorded, file = next(files_at(case, place))
    contents = [case[place.owner].read(one.content) for _, one in files_at(case, place) if one.kind == "file"]
    there, where = was_there(recorded, place), _in_workspace(place)
    if file.kind != "deleted":
        idea = f"assert ({where}).exists()"
        yield _of_file("missing", shown, place, kept_out(case, place, gone=True), idea)
    if any(contents):
        idea = f"assert ({where}).read_text().strip()"
        yield _of_file("emptied", shown, place, rewritten(case, place, lambda content: b""), idea)
    if any(len(content) > 1 for content in contents):
        idea = f"assert turn.workspace.exec({_command_for(place)!r}).ok  # whatever shows that it works"
        halved = rewritten(case, place, lambda content: content[: len(content) // 2])
        yield _of_file("halved", shown, place, halved, idea)
    if there or file.kind == "deleted":
        changes = "turn.outside" if place.outside else "turn.changes"
        kind = "deleted" if file.kind == "deleted" else "modified"
        idea = f"assert {place.path!r} in {changes}.{kind}"
        yield _of_file("as-before", shown, place, kept_out(case, place, gone=False), idea)


def _of_file(kind: str, shown: str, place: Place, case: Case, idea: str) -> Mutant:
    return Mutant(f"{kind} {shown}", case, idea, (place.owner, f"{kind} {place.conversation} {place.shown}"))


def _conversation(case: Case, place: Place) -> str:
    return f" of conversation {place.conversation}" + (f" of {place.owner}" if len(case) > 1 else "")


def _in_workspace(place: Place) -> str:
    return f"turn.workspace.home / {place.path!r}" if place.outside else f"turn.workspace / {place.path!r}"


def _command_for(place: Place) -> str:
    name = place.shown
    if name.endswith(".py"):
        return "python3 -m unittest" if re.search(r"(^|/)test", name) else f"python3 {name}"
    return f"node {name}" if name.endswith((".js", ".mjs")) else f"grep -q … {name}"


def _touched(case: Case, places: Sequence[Place], look: Callable[[str], bytes]) -> Iterator[Mutant]:
    changed = {(place.owner, place.path) for place in places if not place.outside}
    count = 0
    for owner, recording in case.items():
        if not recording.turns:
            continue
        first = min(recording.turns)
        paths = {path for _, path in changed if _ == owner}
        idea = f"assert turn.changes.paths == {paths!r}" if paths else "assert not turn.changes"
        for path in sorted(recording.turns[first].before or ()):
            if (owner, path) not in changed and not path.endswith("/") and count < MOST["touched"]:
                count += 1
                place = Place(owner, first[0], path)
                yield _of_file("touched", path, place, touched(case, place, look), idea)


# -- calls


def _call_mutants(case: Case) -> Iterator[Mutant]:
    several = sum(len(recording.turns) for recording in case.values()) > 1
    count = 0
    for owner, recording in case.items():
        for key, recorded in sorted(recording.turns.items()):
            calls = recorded.turn.tool_calls
            for at, call in enumerate(calls):
                if (count := count + 1) > MOST["call"]:
                    return
                name = f"{_named(calls, at)}{_place_in(case, owner, key) if several else ''}"
                part = f"{key} {at}"
                without = _with_calls(case, owner, key, at, None)
                yield Mutant(f"no-call {name}", without, _used(call), (owner, f"no-call {part}"))
                if call.command is not None and call.exit_code in (0, None) and call.status == "completed":
                    failed = _with_calls(case, owner, key, at, replace(call, exit_code=1))
                    idea = f"assert {_picked(call)}[-1].exit_code == 0"
                    yield Mutant(f"exit-code {name}", failed, idea, (owner, f"exit-code {part}"))


def _named(calls: ToolCalls, at: int) -> str:
    """Return a call as people know it, numbered where several are alike."""
    shown = [label(call, calls.folder) for call in calls]
    before = shown[:at].count(shown[at])
    return f"{shown[at]} ({before + 1})" if shown.count(shown[at]) > 1 else shown[at]


def _place_in(case: Case, owner: str, key: TurnKey) -> str:
    conversation, turn = key
    of = f" of conversation {conversation}" if any(one > 1 for one, _ in case[owner].turns) else ""
    return f" in turn {turn}{of}" + (f" of {owner}" if len(case) > 1 else "")


def _with_calls(case: Case, owner: str, key: TurnKey, at: int, call: ToolCall | None) -> Case:
    recording = case[owner]
    recorded = recording.turns[key]
    calls = list(recorded.turn.tool_calls)
    calls[at : at + 1] = [] if call is None else [call]
    turn = replace(recorded.turn, tool_calls=ToolCalls(calls, folder=recorded.turn.tool_calls.folder))
    return {**case, owner: with_turns(recording, {key: replace(recorded, turn=turn)})}


def _used(call: ToolCall) -> str:
    return f"assert {_picked(call)}"


def _picked(call: ToolCall) -> str:
    """Return the expression that picks a call."""
    if call.command is not None:
        pattern = re.escape(call.command.strip().splitlines()[0][:40]).replace(r"\ ", " ").replace(r"\-", "-")
        return f'turn.tool_calls.filter("shell", pattern={pattern!r})'
    return f'turn.used("{call.name}")'


# -- other answers


def _another(case: Case, others: Sequence[Case]) -> Iterator[Mutant]:
    own = [turn for recording in case.values() for _, turn in sorted(recording.turns.items())]
    for other in others:
        foreign = [(recording, turn) for recording in other.values() for _, turn in sorted(recording.turns.items())]
        if foreign and _gist(foreign[0][1]) != _gist(own[0]):
            idea = "assert re.search(…, turn.text)  # what only this task's answer says"
            yield Mutant("other-answer", _answered(case, foreign), idea, _only_one(case, "other-answer"))
            return


def _gist(recorded: RecordedTurn) -> object:
    return recorded.turn.messages, recorded.files


def _answered(case: Case, foreign: Sequence[tuple[Recording, RecordedTurn]]) -> Case:
    """Return a case in which each turn is another eval's, in order."""
    altered, count = {}, 0
    for owner, recording in case.items():
        turns, over = {}, {}
        for key, recorded in sorted(recording.turns.items()):
            source, theirs = foreign[count % len(foreign)]
            count += 1
            turns[key] = _as(recorded, theirs)
            for file in (*theirs.files, *theirs.outside):
                if file.kind == "file":
                    over[file.content] = partial(source.read, file.content)
        altered[owner] = with_turns(recording, turns, over)
    return altered


def _as(recorded: RecordedTurn, theirs: RecordedTurn) -> RecordedTurn:
    """Return a turn that was asked one thing, and answered another."""
    kept = ("prompt", "number", "provenance", "session_id", "raw", "output")
    turn = replace(theirs.turn, **{name: getattr(recorded.turn, name) for name in kept})
    return replace(recorded, chunks=theirs.chunks, turn=turn, files=theirs.files, outside=theirs.outside)


def _last_turns(case: Case) -> Iterator[Mutant]:
    for owner, recording in case.items():
        last = dict(sorted(recording.turns))
        several = len(last) > 1 or len(case) > 1
        for conversation, number in last.items():
            key = conversation, number
            if number > 1:
                where = _place_in(case, owner, key) if several else ""
                silent = with_turns(recording, {key: blank(recording.turns[key])})
                idea = _anything([recording.turns[key]])
                yield Mutant(f"last-turn{where}", {**case, owner: silent}, idea, (owner, f"last-turn {conversation}"))
