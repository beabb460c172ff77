"""Reads replies from scenario files; every mistake names file, table and turn."""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pytest_kiro.errors import HIDE_FRAMES, SettingsError
from pytest_kiro.standin import STAND_IN

__tracebackhide__ = HIDE_FRAMES
#: How `{recall:REGEX|otherwise}` begins, which the stand-in fills in.
RECALL = "{recall:"
TURN_KEYS = ("requests", "conversation", "trial", "retry", "misbehave")
CALL_KEYS = ("name", "args", "tool_use_id")
_EXAMPLE = 'requests = [["a text", { name = "shell", args = { command = "ls" } }], ["the end"]]'


@dataclass(frozen=True)
class ToolUse:
    """A scripted tool call, by the keys that kiro-cli wants."""

    tool_use_id: str
    name: str
    args: Mapping[str, object]


@dataclass(frozen=True)
class Reply:
    """What one turn is answered with: texts and tool calls, and how the stand-in misbehaves."""

    requests: tuple[tuple[str | ToolUse, ...], ...]
    misbehave: Mapping[str, object] = field(default_factory=dict)
    #: Where it was written: `scenarios/test_x.toml [test_donut] turn 2`.
    source: str = ""

    def mock_json(self) -> bytes:
        """Write exactly what `KIRO_MOCK_CHAT_RESPONSE` takes.

        >>> Reply((("Hello.",),)).mock_json()
        b'[["Hello."]]'
        """
        return json.dumps(self.requests, ensure_ascii=False, default=vars).encode()

    @property
    def recalls(self) -> bool:
        """Whether a text has `{recall:…}`, which only the stand-in can answer."""
        return any(isinstance(item, str) and RECALL in item for request in self.requests for item in request)


@dataclass(frozen=True)
class ScenarioTurn:
    """One entry of a table: the reply, and which turns it is for."""

    conversation: int
    trial: int | None
    retry: int | None
    reply: Reply


def header(table: str) -> str:
    """Write a table's name as its header in TOML."""
    bare = re.fullmatch(r"[A-Za-z0-9_-]+", table)
    return f"[{table}]" if bare else f"[{json.dumps(table, ensure_ascii=False)}]"


def example(table: str) -> str:
    """Write a table with one turn, for advice."""
    return f'[{header(table)[:-1]}.turn]]\nrequests = [["a text"]]'


def load(file: Path, table: str) -> Mapping[str, list[ScenarioTurn]]:
    """Read and check a whole file; `table` is the one to write where there is no file."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        what = f"there is no scenario file {file}, from which the stand-in answers."
        advice = f"Write it:\n{example(table)}\nor let a model answer (--kiro-cli=official)."
        raise SettingsError(what, advice=advice) from None
    except OSError as error:
        what = f"the scenario file {file} cannot be read: {error.strerror}"
        raise SettingsError(what, advice="look at its permissions") from None
    return _parse(file, content)


@functools.lru_cache(maxsize=16)
def _parse(file: Path, content: bytes) -> Mapping[str, list[ScenarioTurn]]:
    """Parse what a file has; kept by its content, so that what is kept is never stale."""
    try:
        document = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not TOML: {error}", advice="docs/scenarios.md shows one") from None
    return {name: _table(file, name, value) for name, value in document.items()}


def _table(file: Path, name: str, value: object) -> list[ScenarioTurn]:
    where = f"{file} {header(name)}"
    if not isinstance(value, dict) or set(value) != {"turn"}:
        extra = sorted(set(value) - {"turn"}) if isinstance(value, dict) else []
        what = f"the unknown key {extra[0]!r}" if extra else "no turn"
        raise SettingsError(f"{where} has {what}.", advice=f"A table consists of its turns:\n{example(name)}")
    turns = value["turn"]
    if not isinstance(turns, list) or not all(isinstance(entry, dict) for entry in turns):
        raise SettingsError(f"{where}: turn must be an array of tables, [[….turn]]")
    return [_turn(f"{where} turn {number}", entry) for number, entry in enumerate(turns, 1)]


def _turn(where: str, entry: dict[str, object]) -> ScenarioTurn:
    _refuse_unknown(where, entry, TURN_KEYS)
    misbehave = _misbehave(where, entry["misbehave"]) if "misbehave" in entry else {}
    only_misbehaves = misbehave and "requests" not in entry
    return ScenarioTurn(
        conversation=_count(where, entry, "conversation") or 1,
        trial=_count(where, entry, "trial"),
        retry=_count(where, entry, "retry"),
        reply=Reply(((),) if only_misbehaves else _requests(where, entry.get("requests")), misbehave, where),
    )


def _refuse_unknown(where: str, keys: Iterable[str], known: tuple[str, ...]) -> None:
    for unknown in sorted(set(keys) - set(known)):
        raise SettingsError(f"{where} has the unknown key {unknown!r}", advice=f"known keys: {', '.join(known)}")


def _count(where: str, entry: dict[str, object], key: str) -> int | None:
    value = entry.get(key)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise SettingsError(f"{where}: {key} must be a whole number from 1, not {value!r}")
    return value


@functools.cache
def misbehaviours() -> tuple[frozenset[str], ...]:
    """Read the stand-in's kinds, for users and internal ones; it must not be imported here."""
    tree = ast.parse((STAND_IN / "misbehave.py").read_text(encoding="utf-8"))
    values = {ast.unparse(node.targets[0]): node.value for node in tree.body if isinstance(node, ast.Assign)}
    return tuple(frozenset(ast.literal_eval(values[name])) for name in ("KINDS", "INTERNAL"))


def _misbehave(where: str, value: object) -> Mapping[str, object]:
    kinds = {value: True} if isinstance(value, str) else value
    if not isinstance(kinds, dict) or not kinds:
        raise SettingsError(
            f'{where}: misbehave must be a kind, "throttled", or kinds with arguments, {{ exit = 7 }}, not {value!r}'
        )
    for_users, internal = misbehaviours()
    for kind, argument in kinds.items():
        if kind not in for_users | internal:
            what = f"{where}: misbehave has the unknown kind {kind!r}"
            raise SettingsError(what, advice=f"known kinds: {', '.join(sorted(for_users))}")
        if argument is False or not _is_json(argument):
            what = f"{where}: misbehave {kind} has the argument {argument!r}"
            advice = "it takes true, a number, a text or a list. Leave the kind out to have it off"
            raise SettingsError(what, advice=advice)
    return kinds


def _requests(where: str, value: object) -> tuple[tuple[str | ToolUse, ...], ...]:
    if not isinstance(value, list) or not value:
        what = "no requests" if not value else f"requests that are {type(value).__name__}, not a list"
        raise SettingsError(f"{where} has {what}", advice=f"give one list per model request: {_EXAMPLE}")
    requests = []
    for number, items in enumerate(value, 1):
        there = f"{where}, request {number}"
        if not isinstance(items, list) or not items:
            what = "is empty" if items == [] else f"must be a list, not {items!r}"
            advice = f'give texts and tool calls, or [""] for silence: {_EXAMPLE}'
            raise SettingsError(f"{there} {what}", advice=advice)
        requests.append(tuple(_item(there, number, n, item) for n, item in enumerate(items, 1)))
    return tuple(requests)


def _item(where: str, request: int, number: int, item: object) -> str | ToolUse:
    if isinstance(item, str):
        _check_recalls(where, item)
        return item
    if not isinstance(item, dict):
        raise SettingsError(f"{where}: {item!r} is neither a text nor a tool call {{ name = …, args = … }}")
    _refuse_unknown(f"{where}: a tool call", item, CALL_KEYS)
    name, args = item.get("name"), item.get("args")
    if not isinstance(name, str) or not name:
        raise SettingsError(f'{where}: a tool call needs its name, such as name = "shell", not {name!r}')
    if not isinstance(args, dict) or not _is_json(args):
        kinds = "texts, numbers, true, false, lists and tables"
        raise SettingsError(f"{where}: the tool call {name} needs args, a table of {kinds}, not {args!r}")
    # As long and as odd as the real ones, but the same in every run.
    digest = hashlib.sha256(f"{where.rpartition('/')[2]}\0{request}\0{number}".encode()).hexdigest()[:22]
    identifier = item.get("tool_use_id", f"tooluse_{digest}")
    if not isinstance(identifier, str) or not identifier:
        raise SettingsError(f"{where}: tool_use_id must be a text, not {identifier!r}")
    return ToolUse(identifier, name, args)


def _is_json(value: object) -> bool:
    """Tell whether JSON has this value: TOML has dates and infinities, too."""
    try:
        return bool(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        return False


def _check_recalls(where: str, text: str) -> None:
    """Refuse a recall that the stand-in could not read; the rules are those of its replies.py."""
    at = text.find(RECALL)
    while at >= 0:
        end = _closing(text, at)
        regex, separator, _ = text[at + len(RECALL) : max(end, 0)].rpartition("|")
        if end < 0 or not separator:
            what = f"{where}: {text[at : at + 60]!r} is no recall"
            raise SettingsError(what, advice="the form is {recall:REGEX|otherwise}")
        try:
            re.compile(regex)
        except re.error as error:
            what = f"{where}: {regex!r} in a recall is no regular expression: {error}"
            raise SettingsError(what, advice="escape what is meant literally") from None
        at = text.find(RECALL, end)


def _closing(text: str, at: int) -> int:
    depth = 1
    for match in re.compile(r"(?<!\\)[{}]").finditer(text, at + 1):
        depth += 1 if match.group() == "{" else -1
        if not depth:
            return match.start()
    return -1
