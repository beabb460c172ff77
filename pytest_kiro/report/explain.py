"""Explains a failed comparison: which commands or changes there were, are missing, are too many."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence

from pytest_kiro.sandbox.protocol import ExecResult
from pytest_kiro.turn.calls import Commands
from pytest_kiro.turn.changes import KINDS, Changes, Paths
from pytest_kiro.turn.shown import listed, short

#: pytest shows eight lines and 640 characters of an explanation, unless it runs with -vv.
_LINES, _WIDTH = 4, 70
#: So much that nothing is cut.
_ALL = 10**9
#: Commands that are compared for the nearest, and characters of each: a thousand long ones took 40 s.
_COMPARED, _BEGINNING = 1000, 500


def explain(op: str, left: object, right: object, *, full: bool = False) -> list[str] | None:
    """Return the lines on a failed comparison; None where it compares nothing of ours. `full` cuts nothing.

    >>> print(*explain("in", "node x.js", Commands(["ls"])), sep="\\n")
    'node x.js' in 1 command
    the turn did not execute 'node x.js'; it executed:
      'ls'
    """
    if isinstance(right, Commands) and op in ("in", "not in") and isinstance(left, str):
        return _in_commands(op, left, right, full)
    if isinstance(left, Commands) or isinstance(right, Commands):
        return _commands(op, left, right, full)
    if isinstance(left, Changes) and isinstance(right, Changes):
        return _changes(op, left, right, full)
    if isinstance(right, Paths) and op in ("in", "not in"):
        return [f"{left!r} {op} {right!r}", *_entries(sorted(right), full)]
    if isinstance(left, Paths) or isinstance(right, Paths):
        return _paths(op, left, right, full)
    return _other_kind(left, right, full) if op == "==" else None


def _other_kind(left: object, right: object, full: bool) -> list[str] | None:
    """Say what of ours is to be compared instead of the whole."""
    actual, wanted = (right, left) if isinstance(right, Changes | ExecResult) else (left, right)
    if isinstance(actual, Changes) and isinstance(wanted, set | frozenset | list | tuple | str):
        advice = "changes have three kinds: compare .added, .modified or .deleted, or all of them, .paths"
    elif isinstance(actual, ExecResult) and isinstance(wanted, str | bytes | int):
        advice = "a result is neither text nor number: compare its .output or its .exit_code"
    else:
        return None
    return [f"{_cut(left, full)} == {_cut(right, full)}", advice]


# -- commands


def _in_commands(op: str, wanted: str, commands: Commands, full: bool) -> list[str]:
    count = f"{len(commands)} command{'s' * (len(commands) != 1)}" if commands else "no commands"
    summary = f"{_cut(wanted, full)} {op} {count}"
    if op == "not in":
        places = [number for number, command in enumerate(commands, 1) if command == wanted]
        numbers = ", ".join(map(str, places[: _ALL if full else 9]))
        first = 0 if full else max(0, min(places[0] - 2, len(commands) - _LINES))
        lines = _entries(commands[first:], full, more=first)
        marked = places[0] - 1 - first
        lines[marked] = "> " + lines[marked][2:]
        return [summary, f"the turn executed it, as number {numbers}; in order:", *lines]
    lines = [summary, f"the turn did not execute {_cut(wanted, full)}; it executed{':' if commands else ' nothing'}"]
    lines += _entries(_nearest_first(wanted, commands, full), full)
    if wanted in commands.denied:
        lines.append("it asked for it, and was denied")
    elif longer := next((command for command in commands if wanted in command), None):
        lines.append(f"it is part of {_cut(longer, full)}: turn.tool_calls.filter('shell', pattern=…) finds parts")
    return lines


def _nearest_first(wanted: str, commands: Sequence[str], full: bool) -> Sequence[str]:
    """Put the nearest first where not all are shown: so it is not cut off."""
    if full or len(commands) <= _LINES:
        return commands
    near = [command for command in commands if wanted in command]
    begin = {command[:_BEGINNING]: command for command in reversed(commands[:_COMPARED])}
    near += [begin[like] for like in difflib.get_close_matches(wanted[:_BEGINNING], begin, n=_LINES)]
    return [*dict.fromkeys(near), *(command for command in commands if command not in near)]


def _commands(op: str, left: object, right: object, full: bool) -> list[str] | None:
    """Explain an equality; the side that is no `Commands` is what was wanted."""
    actual, wanted = (left, right) if isinstance(left, Commands) else (right, left)
    if op != "==" or not isinstance(actual, Commands) or not isinstance(wanted, list | tuple):
        return None
    asked, executed = Counter(map(repr, wanted)), Counter(map(repr, actual))
    lines = [f"{_cut(left, full)} == {_cut(right, full)}"]
    for name, words in (("missing", asked - executed), ("too many", executed - asked)):
        lines += [f"{name}: {_listed(list(words.elements()), full)}"] if words else []
    if asked == executed:
        lines.append("the same commands, in another order" if isinstance(wanted, list) else "a list is no tuple")
    return [*lines, f"the turn executed{':' if actual else ' nothing'}", *_entries(actual, full)]


# -- changes


def _changes(op: str, left: Changes, right: Changes, full: bool) -> list[str]:
    """Explain an equality; the side that the harness made is what Kiro did."""
    turned = not isinstance(left.added, Paths) and isinstance(right.added, Paths)
    actual, wanted = (right, left) if turned else (left, right)
    lines = [f"{left!r} {op} {right!r}"]
    if op == "==":
        for kind in KINDS:
            lines += _difference(f"{kind}: ", getattr(actual, kind), getattr(wanted, kind), full)
    return lines


def _paths(op: str, left: object, right: object, full: bool) -> list[str] | None:
    actual, wanted = (left, right) if isinstance(left, Paths) else (right, left)
    lines = [f"{_cut(left, full)} {op} {_cut(right, full)}"]
    if op == "==" and isinstance(actual, Paths) and isinstance(wanted, list | tuple | str):
        return lines + _no_set(wanted, actual, full)
    if not isinstance(left, set | frozenset) or not isinstance(right, set | frozenset):
        return None
    if op == "==" and isinstance(actual, Paths) and isinstance(wanted, set | frozenset):
        return lines + _difference("", actual, wanted, full)
    smaller, larger = (left, right) if op in ("<=", "<") else (right, left)
    if op in ("<=", "<", ">=", ">") and (surplus := smaller - larger):
        lines.append(f"not in the larger one: {_listed(sorted(map(repr, surplus)), full)}")
    return lines


def _no_set(wanted: Sequence[object], actual: Paths, full: bool) -> list[str]:
    """Explain why no list equals a set, and what differs beside that."""
    asked = Paths(path for path in ([wanted] if isinstance(wanted, str) else wanted) if isinstance(path, str))
    advice = f"paths are a set, which no {type(wanted).__name__} equals: compare with {_cut(asked, full)}"
    return [*(_difference("", actual, asked, full) or ["the same paths"]), advice]


def _difference(name: str, actual: Iterable[object], wanted: Iterable[object], full: bool) -> list[str]:
    missing, surplus = set(wanted) - set(actual), set(actual) - set(wanted)
    sides = (("missing", missing), ("too many", surplus))
    return [f"{name}{word} {_listed(sorted(map(repr, paths)), full)}" for word, paths in sides if paths]


# -- words


def _cut(value: object, full: bool) -> str:
    return short(repr(value), _ALL if full else _WIDTH)


def _listed(words: Sequence[str], full: bool) -> str:
    return ", ".join(words) if full else listed([short(word, _WIDTH) for word in words], 2 * _WIDTH)


def _entries(items: Sequence[object], full: bool, *, more: int = 0) -> list[str]:
    """Return a line for each item, as many as pytest shows; `more` precede them."""
    shown = items if full else items[:_LINES]
    left_out = len(items) - len(shown) + more
    return [*(f"  {_cut(item, full)}" for item in shown), *([f"  and {left_out} more (-vv)"] if left_out else [])]
