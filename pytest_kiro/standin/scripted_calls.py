"""Reads the replies of scenarios: texts and tool calls, and every mistake in them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_kiro.errors import HIDE_FRAMES, SettingsError
from pytest_kiro.standin.tool_forms import did_you_mean, mistakes, names, usage

__tracebackhide__ = HIDE_FRAMES
#: How `{recall:REGEX|otherwise}` begins, which the stand-in fills in.
RECALL = "{recall:"
CALL_KEYS = ("name", "args", "tool_use_id", "fails")
_EXAMPLE = 'requests = [["a text", { name = "shell", args = { command = "ls" } }], ["the end"]]'


@dataclass(frozen=True)
class ToolUse:
    """A scripted tool call, by the keys that kiro-cli wants.

    `fails` is whether it is a wanted mistake; `requests` are the replies of a sub-agent that it starts.
    """

    tool_use_id: str
    name: str
    args: Mapping[str, object]
    fails: bool = False
    requests: Requests = ()

    def to_json(self, *, real: bool = False) -> dict[str, object]:
        """Return what kiro-cli is told of it."""
        args = dict(self.args)
        if self.requests:
            args["requests"] = self.requests
        name = self.name.partition("/")[2] if real and self.name.startswith("@") else self.name
        return {"tool_use_id": self.tool_use_id, "name": name, "args": args}


Requests = tuple[tuple[str | ToolUse, ...], ...]


def refuse_unknown(where: str, keys: Iterable[str], known: tuple[str, ...]) -> None:
    """Refuse the first key that is none of `known`."""
    for unknown in sorted(set(keys) - set(known)):
        what = f"{where} has the unknown key {unknown!r}{did_you_mean(unknown, known)}"
        raise SettingsError(what, advice=f"known keys: {', '.join(known)}")


def requests_of(where: str, value: object, key: str) -> Requests:
    """Read a turn's replies, or a sub-agent's."""
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
        requests.append(tuple(_item(there, f"{key}\0{number}\0{n}", item) for n, item in enumerate(items, 1)))
    return tuple(requests)


def _item(where: str, key: str, item: object) -> str | ToolUse:
    if isinstance(item, str):
        _check_recalls(where, item)
        return item
    if not isinstance(item, dict):
        raise SettingsError(f"{where}: {item!r} is neither a text nor a tool call {{ name = …, args = … }}")
    refuse_unknown(f"{where}: a tool call", item, CALL_KEYS)
    name, args, fails = item.get("name"), item.get("args"), item.get("fails", False)
    if not isinstance(name, str) or not name:
        raise SettingsError(f'{where}: a tool call needs its name, such as name = "shell", not {name!r}')
    if not isinstance(args, dict) or not is_json(args):
        kinds = "texts, numbers, true, false, lists and tables"
        raise SettingsError(f"{where}: the tool call {name} needs args, a table of {kinds}, not {args!r}")
    if not isinstance(fails, bool):
        raise SettingsError(f"{where}: fails must be true or false, not {fails!r}")
    # As long and as odd as the real ones, but the same in every run.
    identifier = item.get("tool_use_id", f"tooluse_{hashlib.sha256(key.encode()).hexdigest()[:22]}")
    if not isinstance(identifier, str) or not identifier:
        raise SettingsError(f"{where}: tool_use_id must be a text, not {identifier!r}")
    return _checked(where, key, ToolUse(identifier, name, args, fails))


def _checked(where: str, key: str, call: ToolUse) -> ToolUse:
    """Refuse what the tool would refuse, unless that is wanted; read a sub-agent's replies."""
    if not call.fails:
        for what in mistakes(call.name, call.args):
            advice = f"{usage(call.name)}\n(a mistake that is meant says fails = true)"
            raise SettingsError(f"{where}: the tool call {call.name} {what}", advice=advice)
    replies = call.args.get("requests")
    if call.fails or names().get(call.name) != "subagent" or not replies:
        return call
    inner = requests_of(f"{where}, of the sub-agent", replies, key)
    return ToolUse(call.tool_use_id, call.name, call.args, requests=inner)


def is_json(value: Any) -> bool:
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
