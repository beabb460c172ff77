"""Reads replies from scenario files; every mistake names file, table and turn."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pytest_kiro.errors import HIDE_FRAMES, SettingsError
from pytest_kiro.standin import toml_tables
from pytest_kiro.standin.misbehaviours import misbehaving
from pytest_kiro.standin.scripted_calls import RECALL, ToolUse, refuse_unknown, requests_of

__tracebackhide__ = HIDE_FRAMES
TURN_KEYS = ("requests", "conversation", "trial", "retry", "chance", "misbehave")
#: What a reader of advice may copy: a text, a tool call, and how a turn ends.
_EXAMPLE = """requests = [
    ["I write it.", { name = "write", args = { command = "create", path = "a.txt", content = "a\\n" } }],
    ["Done."],
]"""


@dataclass(frozen=True)
class Reply:
    """What one turn is answered with: texts and tool calls, and how the stand-in misbehaves."""

    requests: tuple[tuple[str | ToolUse, ...], ...]
    misbehave: Mapping[str, object] = field(default_factory=dict)
    #: Where it was written: `scenarios/test_x.toml [test_donut] turn 2`.
    source: str = ""

    def mock_json(self, *, real: bool = False) -> bytes:
        """Write exactly what `KIRO_MOCK_CHAT_RESPONSE` takes; the real CLI knows servers' tools by their own names.

        >>> Reply((("Hello.",),)).mock_json()
        b'[["Hello."]]'
        """
        return json.dumps(self.requests, ensure_ascii=False, default=partial(ToolUse.to_json, real=real)).encode()

    @property
    def recalls(self) -> bool:
        """Whether a text has `{recall:…}`, which only the stand-in can answer."""
        return any(isinstance(item, str) and RECALL in item for request in self.requests for item in request)


@dataclass(frozen=True)
class ScenarioTurn:
    """One entry of a table: the reply, and which turns it is for.

    One with a `chance` is an alternative to those that follow, up to the first without.
    """

    conversation: int
    trial: int | None
    retry: int | None
    chance: float | None
    reply: Reply


def header(table: str) -> str:
    """Write a table's name as its header in TOML."""
    bare = re.fullmatch(r"[A-Za-z0-9_-]+", table)
    return f"[{table}]" if bare else f"[{json.dumps(table, ensure_ascii=False)}]"


def example(table: str) -> str:
    """Write a table with one turn, for advice."""
    return f"[{header(table)[:-1]}.turn]]\n{_EXAMPLE}"


class Scenario:
    """A scenario file. Each table is checked when it is asked for, so that a broken one fails its own tests only."""

    def __init__(self, file: Path, content: bytes) -> None:
        self.file = file
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            advice = "save it as UTF-8; docs/scenarios.md shows one"
            raise SettingsError(f"{file} is not TOML: {error}", advice=advice) from None
        self._document = toml_tables.read(text)
        self._read: dict[str, list[ScenarioTurn]] = {}
        #: The names of its tables.
        self.names = list(dict.fromkeys([*self._document.tables, *filter(None, self._document.broken)]))
        if set(self._document.broken) == {""} and not self._document.lines:
            raise self._broken("")

    @property
    def end(self) -> str:
        """Where a table can be added, as editors and terminals link it."""
        return f"{self.file}:{self._document.end}"

    def place(self, name: str) -> str:
        """Return where the last turn of a table begins."""
        return f"{self.file}:{self._document.lines.get(name, [1])[-1]}"

    @property
    def doubt(self) -> str:
        """What in the file has no name that could be read; empty without any."""
        return str(self._broken("")) if "" in self._document.broken else ""

    def turns(self, name: str) -> list[ScenarioTurn]:
        """Read and check the turns of a table."""
        if name in self._document.broken:
            raise self._broken(name)
        if name not in self._read:
            self._read[name] = _table(self.file, name, self._document.tables[name], self._document.lines.get(name, ()))
        return self._read[name]

    def _broken(self, name: str) -> SettingsError:
        line, what = self._document.broken[name]
        table = f" {header(name)}" if name else ""
        return SettingsError(f"{self.file}:{line}{table} is not TOML: {what}", advice="docs/scenarios.md shows one")


def load(file: Path, table: str) -> Scenario:
    """Read a file; `table` is the one to write where there is none."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        what = f"there is no scenario file {file}, from which the stand-in answers."
        model = "let a model answer (--kiro-sandbox=bubblewrap, --kiro-sandbox=daytona, --kiro-cli=official)."
        advice = f"Write it, {file}:1\n{example(table)}\nor {model}"
        raise SettingsError(what, advice=advice) from None
    except OSError as error:
        what = f"the scenario file {file} cannot be read: {error.strerror}"
        raise SettingsError(what, advice="look at its permissions") from None
    return _scenario(file, content)


#: Kept by its content, so that what is kept is never stale.
_scenario = functools.lru_cache(maxsize=16)(Scenario)


def _table(file: Path, name: str, value: object, lines: Sequence[int]) -> list[ScenarioTurn]:
    where = f"{file}:{lines[0] if lines else 1} {header(name)}"
    if not isinstance(value, dict) or set(value) != {"turn"}:
        extra = sorted(set(value) - {"turn"}) if isinstance(value, dict) else []
        what = f"the unknown key {extra[0]!r}" if extra else "no turn"
        raise SettingsError(f"{where} has {what}.", advice=f"A table consists of its turns:\n{example(name)}")
    turns = value["turn"]
    if not isinstance(turns, list) or not all(isinstance(entry, dict) for entry in turns):
        raise SettingsError(f"{where}: turn must be an array of tables, [[….turn]]")
    own = list(lines) if len(lines) == len(turns) else [*lines[:1], 1][:1] * len(turns)
    places = [f"{file}:{line}" for line in own]
    entries = [
        _turn(f"{place} {header(name)} turn {number}", f"{file.name} {header(name)} turn {number}", entry)
        for number, (place, entry) in enumerate(zip(places, turns, strict=True), 1)
    ]
    _check_chances(entries)
    return entries


def _turn(where: str, key: str, entry: dict[str, object]) -> ScenarioTurn:
    """Read one turn; the ids of its calls come from `key`, the same in every run."""
    refuse_unknown(where, entry, TURN_KEYS)
    misbehave = misbehaving(where, entry["misbehave"]) if "misbehave" in entry else {}
    only_misbehaves = misbehave and "requests" not in entry
    return ScenarioTurn(
        conversation=_count(where, entry, "conversation") or 1,
        trial=_count(where, entry, "trial"),
        retry=_count(where, entry, "retry"),
        chance=_chance(where, entry),
        reply=Reply(((),) if only_misbehaves else requests_of(where, entry.get("requests"), key), misbehave, where),
    )


def _count(where: str, entry: dict[str, object], key: str) -> int | None:
    value = entry.get(key)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise SettingsError(f"{where}: {key} must be a whole number from 1, not {value!r}")
    return value


def _chance(where: str, entry: dict[str, object]) -> float | None:
    value = entry.get("chance")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise SettingsError(f"{where}: chance must be a number between 0 and 1, not {value!r}")
    if "retry" in entry:
        what = f"{where} has both chance and retry"
        raise SettingsError(what, advice="a turn that is run again gets the alternative that it had. Leave one out")
    return value


def _check_chances(entries: Iterable[ScenarioTurn]) -> None:
    """Refuse alternatives of which none is for the rest: as read by one conversation in one trial."""
    open_ends: dict[tuple[int, int | None], float] = {}
    last: dict[tuple[int, int | None], ScenarioTurn] = {}
    for entry in entries:
        if entry.retry is not None:
            continue
        key = entry.conversation, entry.trial
        open_ends[key] = open_ends.get(key, 0.0) + entry.chance if entry.chance is not None else 0.0
        last[key] = entry
        if open_ends[key] > 1 - 1e-9:
            what = f"{entry.reply.source}: the chances of these alternatives are {open_ends[key]:g} together"
            raise SettingsError(what, advice="make it less than 1, the rest is for the last one, which names none")
    for key, chance in open_ends.items():
        if chance:
            what = f"{last[key].reply.source} has a chance, and no turn after it for the rest"
            raise SettingsError(what, advice="add the other alternative, without a chance")
