"""Scenario files: what the stand-in answers, in TOML, one table a test.

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
```

`requests` has one list per model request: texts and tool calls. A request with a tool call is followed by the
next one, a request without ends the turn. `{recall:REGEX|otherwise}` is answered by the stand-in from the
conversation that it really resumed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pytest_kiro.errors import HIDE_FRAMES, SettingsError
from pytest_kiro.standin import recall

__tracebackhide__ = HIDE_FRAMES
# The kinds of the stand-in's misbehave.py, which this process must not import; a test proves the two equal.
MISBEHAVIOURS = frozenset(
    {
        "agent_fallback",
        "answers_nothing",
        "bad_key",
        "carriage",
        "children",
        "closes_output",
        "compaction",
        "crash",
        "credits",
        "denied",
        "endless",
        "exit",
        "expired",
        "forgets",
        "hangs",
        "huge",
        "ignores_interrupt",
        "ignores_signals",
        "limit",
        "login",
        "mcp",
        "no_end",
        "no_session",
        "overflow",
        "silent",
        "slow",
        "split_utf8",
        "stray",
        "throttled",
    }
)
TURN_KEYS = ("requests", "conversation", "trial", "retry", "misbehave")
CALL_KEYS = ("name", "args", "tool_use_id")


@dataclass(frozen=True)
class ToolUse:
    """One tool call that the scripted model makes."""

    tool_use_id: str
    name: str
    args: Mapping[str, object]


@dataclass(frozen=True)
class Reply:
    """What one turn is answered with."""

    requests: tuple[tuple[str | ToolUse, ...], ...]
    misbehave: Mapping[str, object] = field(default_factory=dict)
    source: str = ""
    """Where it was written: `scenarios/test_x.toml [test_donut] turn 2`."""

    def mock_json(self) -> bytes:
        """Exactly what `KIRO_MOCK_CHAT_RESPONSE` takes.

        >>> Reply((("Hello.",),)).mock_json()
        b'[["Hello."]]'
        """
        requests = [[_plain(item) for item in request] for request in self.requests]
        return json.dumps(requests, ensure_ascii=False).encode()

    @property
    def recalls(self) -> bool:
        """Whether some text has `{recall:…}`, which only the stand-in can answer."""
        return any(isinstance(item, str) and recall.OPENING in item for request in self.requests for item in request)


def _plain(item: str | ToolUse) -> object:
    if isinstance(item, str):
        return item
    return {"tool_use_id": item.tool_use_id, "name": item.name, "args": dict(item.args)}


@dataclass(frozen=True)
class _Turn:
    conversation: int
    trial: int | None
    retry: int | None
    reply: Reply


_parsed: dict[Path, tuple[tuple[int, int], dict[str, list[_Turn]]]] = {}


def find(
    file: Path, tables: Sequence[str], *, conversation: int, turn: int, trial: int | None = None, retry: int = 0
) -> Reply:
    """The reply to one turn of a conversation; both count from 1.

    The first of `tables` that the file has is taken. A trial that has turns of its own for this conversation
    gets these, any other the turns that name no trial. `retry` counts how often the first turn was run before.
    """
    scenario = _load(file, tables[0])
    name = next((table for table in tables if table in scenario), None)
    if name is None:
        wanted = " or ".join(_header(table) for table in tables)
        there = ", ".join(_header(table) for table in scenario) or "none"
        raise SettingsError(f"{file} has no table {wanted}. Tables there are: {there}. Add:\n{_example(tables[0])}")
    turns, own = _turns_of(scenario[name], conversation, trial)
    again = [entry for entry in turns if entry.retry == retry] if retry and turn == 1 else []
    if again:
        return again[0].reply
    turns = [entry for entry in turns if entry.retry is None]
    if turn > len(turns):
        asked = f"turn {turn} of conversation {conversation}" + (f" in trial {trial}" if own else "")
        there = f"{len(turns)} turn{'' if len(turns) == 1 else 's'}" if turns else "no turn"
        raise SettingsError(
            f"{file} {_header(name)} has no {asked}: it has {there} for that conversation.\n"
            "Add another turn, or run fewer turns."
        )
    return turns[turn - 1].reply


def script(file: Path, tables: Sequence[str], *, conversation: int, trial: int | None = None) -> Reply | None:
    """All turns of a conversation in a row, for a chat that takes one prompt after the other; None without any.

    What misbehaves in one of them does so from the beginning.
    """
    scenario = _load(file, tables[0]) if file.exists() else {}
    name = next((table for table in tables if table in scenario), None)
    turns, _ = _turns_of(scenario[name] if name else [], conversation, trial)
    replies = [entry.reply for entry in turns if entry.retry is None]
    if not replies:
        return None
    misbehave = {kind: argument for reply in replies for kind, argument in reply.misbehave.items()}
    requests = tuple(request for reply in replies for request in reply.requests)
    return Reply(requests, misbehave, f"{file} {_header(name or '')}")


def _turns_of(turns: Sequence[_Turn], conversation: int, trial: int | None) -> tuple[list[_Turn], bool]:
    """The turns of one conversation in this trial, and whether they are its own."""
    turns = [entry for entry in turns if entry.conversation == conversation]
    own = [entry for entry in turns if entry.trial is not None and entry.trial == trial]
    return own or [entry for entry in turns if entry.trial is None], bool(own)


def _header(table: str) -> str:
    bare = re.fullmatch(r"[A-Za-z0-9_-]+", table)
    return f"[{table}]" if bare else f"[{json.dumps(table, ensure_ascii=False)}]"


def _example(table: str) -> str:
    return f'[{_header(table)[:-1]}.turn]]\nrequests = [["a text"]]'


def _load(file: Path, table: str) -> dict[str, list[_Turn]]:
    """Read and check a whole file, once for each of its versions."""
    try:
        status = os.stat(file)  # noqa: PTH116 - one call for both, also in the error
        version = (status.st_mtime_ns, status.st_size)
        known = _parsed.get(file)
        if known and known[0] == version:
            return known[1]
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(
            f"there is no scenario file {file}, from which the stand-in answers. Write it:\n"
            f"{_example(table)}\n"
            "or let a model answer (--kiro-cli=official)."
        ) from None
    except OSError as error:
        raise SettingsError(
            f"the scenario file {file} cannot be read: {error.strerror}; look at its permissions."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not TOML: {error}; docs/scenarios.md shows one.") from None
    scenario = {name: _table(file, name, value) for name, value in document.items()}
    _parsed[file] = (version, scenario)
    return scenario


def _table(file: Path, name: str, value: object) -> list[_Turn]:
    where = f"{file} {_header(name)}"
    if not isinstance(value, dict) or set(value) != {"turn"}:
        extra = sorted(set(value) - {"turn"}) if isinstance(value, dict) else []
        what = f"the unknown key {extra[0]!r}" if extra else "no turn"
        raise SettingsError(f"{where} has {what}. A table consists of its turns:\n{_example(name)}")
    turns = value["turn"]
    if not isinstance(turns, list) or not all(isinstance(entry, dict) for entry in turns):
        raise SettingsError(f"{where}: turn must be an array of tables, [[….turn]].")
    return [_turn(f"{where} turn {number}", entry) for number, entry in enumerate(turns, 1)]


def _turn(where: str, entry: dict[str, object]) -> _Turn:
    unknown = sorted(set(entry) - set(TURN_KEYS))
    if unknown:
        raise SettingsError(f"{where} has the unknown key {unknown[0]!r}. Known keys: {', '.join(TURN_KEYS)}.")
    conversation = _count(where, entry, "conversation")
    misbehave = _misbehave(where, entry["misbehave"]) if "misbehave" in entry else {}
    if "requests" not in entry and misbehave:
        requests: tuple[tuple[str | ToolUse, ...], ...] = ((),)
    else:
        requests = _requests(where, entry.get("requests"))
    reply = Reply(requests, misbehave, where)
    trial, retry = _count(where, entry, "trial"), _count(where, entry, "retry")
    return _Turn(1 if conversation is None else conversation, trial, retry, reply)


def _count(where: str, entry: dict[str, object], key: str) -> int | None:
    value = entry.get(key)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise SettingsError(f"{where}: {key} must be a whole number from 1, not {value!r}.")
    return value


def _misbehave(where: str, value: object) -> Mapping[str, object]:
    kinds = {value: True} if isinstance(value, str) else value
    if not isinstance(kinds, dict) or not kinds:
        raise SettingsError(
            f'{where}: misbehave must be a kind, "throttled", or kinds with arguments, {{ exit = 7 }}, not {value!r}.'
        )
    for kind, argument in kinds.items():
        if kind not in MISBEHAVIOURS:
            known = ", ".join(sorted(MISBEHAVIOURS))
            raise SettingsError(f"{where}: misbehave has the unknown kind {kind!r}. Known kinds: {known}.")
        if argument is False or not _is_json(argument):
            raise SettingsError(
                f"{where}: misbehave {kind} has the argument {argument!r}; it takes true, a number, a text "
                "or a list. Leave the kind out to have it off."
            )
    return kinds


def _requests(where: str, value: object) -> tuple[tuple[str | ToolUse, ...], ...]:
    example = 'requests = [["a text", { name = "shell", args = { command = "ls" } }], ["the end"]]'
    if not isinstance(value, list) or not value:
        what = "no requests" if not value else f"requests that are {type(value).__name__}, not a list"
        raise SettingsError(f"{where} has {what}. Give one list per model request: {example}.")
    requests = []
    for number, items in enumerate(value, 1):
        there = f"{where}, request {number}"
        if not isinstance(items, list) or not items:
            what = "is empty" if items == [] else f"must be a list, not {items!r}"
            raise SettingsError(f'{there} {what}. Give texts and tool calls, or [""] for silence: {example}.')
        requests.append(tuple(_item(there, number, n, item) for n, item in enumerate(items, 1)))
    return tuple(requests)


def _item(where: str, request: int, number: int, item: object) -> str | ToolUse:
    if isinstance(item, str):
        recall.check(where, item)
        return item
    if not isinstance(item, dict):
        raise SettingsError(f"{where}: {item!r} is neither a text nor a tool call {{ name = …, args = … }}.")
    unknown = sorted(set(item) - set(CALL_KEYS))
    if unknown:
        raise SettingsError(
            f"{where}: a tool call has the unknown key {unknown[0]!r}. Known keys: {', '.join(CALL_KEYS)}."
        )
    name, args = item.get("name"), item.get("args")
    if not isinstance(name, str) or not name:
        raise SettingsError(f'{where}: a tool call needs its name, such as name = "shell", not {name!r}.')
    if not isinstance(args, dict) or not _is_json(args):
        raise SettingsError(
            f"{where}: the tool call {name} needs args, a table of texts, numbers, true, false, lists and "
            f"tables, not {args!r}."
        )
    # As long and as odd as the real ones, but the same in every run.
    digest = hashlib.sha256(f"{where.rpartition('/')[2]}\0{request}\0{number}".encode()).hexdigest()[:22]
    identifier = item.get("tool_use_id", f"tooluse_{digest}")
    if not isinstance(identifier, str) or not identifier:
        raise SettingsError(f"{where}: tool_use_id must be a text, not {identifier!r}.")
    return ToolUse(identifier, name, args)


def _is_json(value: object) -> bool:
    """Whether JSON has this value: TOML has dates and infinities, too."""
    if isinstance(value, dict):
        return all(_is_json(entry) for entry in value.values())
    if isinstance(value, list):
        return all(_is_json(entry) for entry in value)
    if isinstance(value, float):
        return value == value and value not in (float("inf"), float("-inf"))
    return isinstance(value, str | int)
