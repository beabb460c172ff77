"""Finds the reply to a turn in a scenario file: TOML, one table a test.

```toml
[[test_donut.turn]]
requests = [
    ["I'll write it.", { name = "write", args = { command = "create", path = "donut.js", content = "…" } }],
    ["Done."],
]

[[test_donut.turn]] # the second turn of the same conversation
requests = [["You asked for {recall:Write (\\S+)|nothing I know of}."]]

[["test_names[ada]".turn]] # quoted: a parametrised test, "TestClass.test_x", "fixture:shop"
conversation = 2 # default 1
trial = 3 # default: every trial without a turn list of its own
misbehave = "throttled" # or { exit = 7 }

[["test_names[ada]".turn]]
retry = 1 # answers the first turn when it is run again (--kiro-retries); without it, the turn's own reply does
requests = [["Ada."]]

[[test_slug.turn]]
chance = 0.7 # in seven of ten trials, else the next one; alternatives end with one that names no chance
requests = [["Right."]]

[[test_slug.turn]]
requests = [["Wrong."]]
```

`requests` has one list per model request: texts and tool calls. A request with a tool call is followed by the
next one, a request without ends the turn. `{recall:REGEX|otherwise}` is answered by the stand-in from the
conversation that it really resumed.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import chain, count
from pathlib import Path

from pytest_kiro.errors import HIDE_FRAMES, SettingsError
from pytest_kiro.standin.chance import draw
from pytest_kiro.standin.scenario_file import Reply as Reply
from pytest_kiro.standin.scenario_file import Scenario, ScenarioTurn, example, header, load
from pytest_kiro.standin.tool_forms import did_you_mean

__tracebackhide__ = HIDE_FRAMES


def find(
    file: Path,
    tables: Sequence[str],
    *,
    conversation: int,
    turn: int,
    trial: int | None = None,
    retry: int = 0,
    seed: str = "",
) -> Reply:
    """Find the reply to one turn of a conversation; both count from 1.

    The first of `tables` that the file has is taken. A trial that has turns of its own for this conversation
    gets these, any other the turns that name no trial. `retry` counts how often the first turn was run before.
    Of alternatives one is drawn, the same for the same `seed`, test, conversation, turn and trial.
    """
    scenario = load(file, tables[0])
    name = next((table for table in tables if table in scenario.names), None)
    if name is None:
        raise _missing(scenario, tables)
    turns, own = _turns_of(scenario.turns(name), conversation, trial)
    for entry in turns:
        if retry and turn == 1 and entry.retry == retry:
            return entry.reply
    turns = draw(_run_first(turns), seed, file.stem, tables[0], conversation, trial or 1)
    if turn > len(turns):
        asked = f"turn {turn} of conversation {conversation}" + (f" in trial {trial}" if own else "")
        others = any(entry.conversation == conversation for entry in scenario.turns(name))
        none = "turns of other trials only" if others and not turns else "no turn"
        there = f"{len(turns)} turn{'' if len(turns) == 1 else 's'}" if turns else none
        what = f"{scenario.place(name)} {header(name)} has no {asked}: it has {there} for that conversation"
        raise SettingsError(what, advice="add another turn, or run fewer turns")
    return turns[turn - 1].reply


def script(
    file: Path, tables: Sequence[str], *, conversation: int, trial: int | None = None, seed: str = ""
) -> Reply | None:
    """Join all turns of a conversation, for a chat in a terminal; None without any.

    What misbehaves in one of them does so from the beginning.
    """
    if not file.exists():
        return None
    scenario = load(file, tables[0])
    name = next((table for table in tables if table in scenario.names), None)
    turns, _ = _turns_of(scenario.turns(name) if name else (), conversation, trial)
    drawn = draw(_run_first(turns), seed, file.stem, tables[0], conversation, trial or 1)
    replies = [entry.reply for entry in drawn]
    if not replies:
        return None
    misbehave = {kind: argument for reply in replies for kind, argument in reply.misbehave.items()}
    return Reply(tuple(chain.from_iterable(reply.requests for reply in replies)), misbehave, replies[0].source)


def _missing(scenario: Scenario, tables: Sequence[str]) -> SettingsError:
    """Return the error that a test has no table; what cannot be read may be it."""
    wanted = " or ".join(header(table) for table in tables)
    there = ", ".join(header(table) for table in scenario.names) or "none"
    near = did_you_mean(tables[-1], scenario.names, alike=0.85)
    what = f"{scenario.file} has no table {wanted}{near}{'' if near else '.'} Tables there are: {there}."
    doubt = f"{scenario.doubt}\n" if scenario.doubt else ""
    return SettingsError(what, advice=f"{doubt}Add, at {scenario.end}\n{example(tables[0])}")


def _turns_of(turns: Sequence[ScenarioTurn], conversation: int, trial: int | None) -> tuple[list[ScenarioTurn], bool]:
    """Select the turns of one conversation in this trial; True when they are its own."""
    turns = [entry for entry in turns if entry.conversation == conversation]
    own = [entry for entry in turns if entry.trial is not None and entry.trial == trial]
    return own or [entry for entry in turns if entry.trial is None], bool(own)


def _run_first(turns: Sequence[ScenarioTurn]) -> list[ScenarioTurn]:
    """Leave out what answers a turn that is run again."""
    return [entry for entry in turns if entry.retry is None]


class ConversationNumbers:
    """Numbers one test's conversations and terminals as its scenario counts them.

    A conversation has its number from its opening, and a terminal takes that of a conversation without turns.

    >>> numbers = ConversationNumbers()
    >>> numbers.opened("first")
    >>> numbers.of_terminal("first"), numbers.of_turn("first")
    (1, 2)
    """

    def __init__(self) -> None:
        self._counter = count(1)
        self._numbers: dict[Hashable, int] = {}
        self._with_turns: set[Hashable] = set()

    def opened(self, conversation: Hashable) -> None:
        """Give the next number to a conversation."""
        self._numbers[conversation] = next(self._counter)

    def of_turn(self, conversation: Hashable) -> int:
        """Return the number of a conversation that runs a turn."""
        self._with_turns.add(conversation)
        if conversation not in self._numbers:  # a terminal came first
            self._numbers[conversation] = next(self._counter)
        return self._numbers[conversation]

    def of_terminal(self, conversation: Hashable) -> int:
        """Return the conversation's number if it has no turn, else the next."""
        unused = None if conversation in self._with_turns else self._numbers.pop(conversation, None)
        return next(self._counter) if unused is None else unused
