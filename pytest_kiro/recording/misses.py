"""Says why a recording does not answer a turn: the nearest one, what differs, and how to record it."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable, Mapping, Sequence

from pytest_kiro.agent.bench import Owner
from pytest_kiro.errors import RecordingMiss
from pytest_kiro.recording.manifest import differing
from pytest_kiro.recording.values import Asked, RecordedTurn, Recording, TurnKey
from pytest_kiro.secrecy.visible import escaped
from pytest_kiro.turn.shown import short
from pytest_kiro.turn.warnings import some

#: Lines of a difference of prompts, and characters of a value, that are shown.
_LINES, _WIDTH = 20, 200
_NAMES = {
    "model": "model",
    "agent": "agent",
    "effort": "effort",
    "trust": "trust",
    "engine": "engine",
    "memory": "memory",
    "output": "output",
}


def again(owner: Owner) -> str:
    """Return the command that records what an owner does."""
    if owner.wide:
        return f"record it: pytest --kiro-record=all, with a test that asks for {owner.name}"
    return f"record it: pytest {shlex.quote(owner.name)} --kiro-record=all"


def nothing_recorded(owner: Owner, prompt: str, others: Sequence[Recording]) -> RecordingMiss:
    """Return the error of a test, fixture or trial without a recording."""
    table = owner.tables[0]
    trials = sorted(
        other.made.trial for other in others if (other.made.owner, other.made.variant) == (table, owner.variant)
    )
    if trials:
        count = "1 trial is" if len(trials) == 1 else f"{len(trials)} trials are"
        what = f"{owner.name}: {count} recorded, and this is trial {owner.trial}"
        return RecordingMiss(what, advice=again(owner))
    what = f"{owner.name}: there is no recording of it"
    if variants := sorted({o.made.variant or "none" for o in others if o.made.owner == table}):
        what = f"{what} with {owner.variant}, only with {some(variants)}"
    elif like := _nearest(table, prompt, others):
        what = f"{what}; the recording of {like.made.owner} is like it ({like.folder})"
    return RecordingMiss(what, advice=again(owner))


def no_such_turn(owner: Owner, key: TurnKey, recording: Recording) -> RecordingMiss:
    """Return the error of a turn that was not recorded."""
    known = [number for conversation, number in recording.turns if conversation == key[0]]
    where = f"turn {key[1]} of its conversation {key[0]}"
    has = f"{len(known)} turn{'s' * (len(known) != 1)} of that conversation" if known else "no such conversation"
    broke = "" if recording.whole else "; the run that was recorded broke off, or a turn of it failed by the world"
    return RecordingMiss(
        f"{owner.name}: {where} is not recorded: {has} in {recording.folder}{broke}", advice=again(owner)
    )


def other_version(owner: Owner, recording: Recording, version: str | None) -> RecordingMiss:
    """Return the error of a recording that `mark.kiro(version=…)` makes stale."""
    there, here = (f"version={one!r}" if one is not None else "no version" for one in (recording.made.version, version))
    what = f"{owner.name}: mark.kiro says {here}, and {recording.folder} was recorded with {there}"
    return RecordingMiss(what, advice=again(owner))


def difference(owner: Owner, asked: Asked, recorded: RecordedTurn, recording: Recording) -> RecordingMiss | None:
    """Return the error where a turn is asked otherwise; None where not."""
    there, where = recorded.asked, f"{owner.name}: turn {recorded.number} of conversation {recorded.conversation}"
    if asked.recorded_as is not None and asked.recorded_as != there.recorded_as:
        was = "without" if there.recorded_as is None else f"as {there.recorded_as!r}"
        what = f"{where} is asked for by recorded_as={asked.recorded_as!r}, and was recorded {was}"
        return RecordingMiss(what, advice=again(owner))
    for name, word in _NAMES.items():
        if (here := getattr(asked, name)) != (was := getattr(there, name)):
            what = f"{where} has {word} {_value(here)}, and was recorded with {word} {_value(was)}"
            return RecordingMiss(what, advice=again(owner))
    if asked.recorded_as is None and asked.prompt != there.prompt:
        if elsewhere := [key for key in recording.turns if recording.turns[key].asked.prompt == asked.prompt]:
            (conversation, number), *_ = elsewhere
            what = f"{where} is asked what turn {number} of conversation {conversation} was when it was recorded"
            return RecordingMiss(f"{what}: the order of the turns is another", advice=again(owner))
        lines = [*difflib.ndiff(there.prompt.splitlines(), asked.prompt.splitlines())]
        changed = [line for line in lines if line[:1] in "-+"]
        what = f"{where} has another prompt than was recorded (- recorded, + asked):"
        varies = "if something in it varies, such as a date, name it: kiro.run(..., recorded_as='…')"
        return RecordingMiss(what, output="\n".join(changed[:_LINES]), advice=f"{again(owner)}\n{varies}", lines=_LINES)
    return None


def other_workspace(
    owner: Owner, recorded: RecordedTurn, now: Mapping[str, str], exempt: Iterable[str] = ()
) -> RecordingMiss | None:
    """Return the error where the workspace is another one; None where not."""
    then = recorded.before
    if then is None or now == then:
        return None
    paths = [path for path in differing(then, now) if path not in frozenset(exempt)]
    kinds = {
        "only now": [path for path in paths if path not in then],
        "only when it was recorded": [path for path in paths if path not in now],
        "with another content": [path for path in paths if path in then and path in now],
    }
    said = [f"{kind}: {some([short(escaped(path), 80) for path in names])}" for kind, names in kinds.items() if names]
    if not said:
        return None
    where = f"turn {recorded.number} of conversation {recorded.conversation}"
    what = f"{owner.name}: before {where}, the workspace is another one than was recorded; {'; '.join(said)}"
    advice = f"{again(owner)}\nif such files vary from run to run, let mark.kiro(ignore=[…]) name them"
    return RecordingMiss(what, advice=advice)


def stopped(owner: Owner, recorded: RecordedTurn, why: str) -> RecordingMiss:
    """Return the error of a turn that is stopped otherwise than recorded."""
    turn, where = recorded.turn, f"turn {recorded.number} of conversation {recorded.conversation}"
    was = f"it was recorded as {turn.status}{f' ({turn.detail})' if turn.detail else ''}"
    earlier = " after more output" if recorded.stopped_after and why == turn.detail else ""
    what = f"{owner.name}: {where} is stopped ({why}), and {was}{earlier}: nobody knows what would have come of it"
    return RecordingMiss(what, advice=again(owner))


def _nearest(table: str, prompt: str, others: Sequence[Recording]) -> Recording | None:
    """Return the recording that is most like what is asked: by its first prompt, else by its name."""
    for other in others:
        if any(key == (1, 1) and other.turns[key].asked.prompt == prompt for key in other.turns):
            return other
    close = difflib.get_close_matches(table, [other.made.owner for other in others], n=1)
    return next((other for other in others if other.made.owner in close), None)


def _value(value: object) -> str:
    return "none" if value is None else short(escaped(str(value)), _WIDTH)
