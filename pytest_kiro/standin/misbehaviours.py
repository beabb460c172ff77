"""Checks how a scenario has the stand-in misbehave."""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Mapping

from pytest_kiro.errors import HIDE_FRAMES, SettingsError
from pytest_kiro.standin import STAND_IN
from pytest_kiro.standin.scripted_calls import is_json
from pytest_kiro.standin.tool_forms import did_you_mean

__tracebackhide__ = HIDE_FRAMES
_PARTS = {"main", "delegated", "auxiliary"}


@functools.cache
def misbehaviours() -> tuple[frozenset[str], ...]:
    """Read the stand-in's kinds, for users and internal ones; it must not be imported here."""
    tree = ast.parse((STAND_IN / "misbehave.py").read_text(encoding="utf-8"))
    values = {ast.unparse(node.targets[0]): node.value for node in tree.body if isinstance(node, ast.Assign)}
    return tuple(frozenset(ast.literal_eval(values[name])) for name in ("KINDS", "INTERNAL"))


def misbehaving(where: str, value: object) -> Mapping[str, object]:
    """Read a turn's kinds with their arguments; one that is wrong would have nothing happen."""
    kinds = {value: True} if isinstance(value, str) else value
    if not isinstance(kinds, dict) or not kinds:
        raise SettingsError(
            f'{where}: misbehave must be a kind, "throttled", or kinds with arguments, {{ exit = 7 }}, not {value!r}'
        )
    for_users, internal = misbehaviours()
    for kind, argument in kinds.items():
        if kind not in for_users | internal:
            what = f"{where}: misbehave has the unknown kind {kind!r}{did_you_mean(kind, for_users)}"
            raise SettingsError(what, advice=f"known kinds: {', '.join(sorted(for_users))}")
        words, takes = _TAKEN.get(kind, ("true, a number, a text, a list or a table", is_json))
        if argument is False or not (argument is True or takes(argument)):
            what = f"{where}: misbehave {kind} has the argument {argument!r}"
            raise SettingsError(what, advice=f"it takes {words}. Leave the kind out to have it off")
    return kinds


def _number(argument: object) -> bool:
    return isinstance(argument, int | float) and not isinstance(argument, bool) and 0 <= argument < float("inf")


def _tools(argument: object) -> bool:
    return isinstance(argument, str) or (isinstance(argument, list) and all(isinstance(one, str) for one in argument))


def _credits(argument: object) -> bool:
    if isinstance(argument, dict):
        return set(argument) <= _PARTS and all(map(_number, argument.values()))
    return _number(argument)


def _nothing(argument: object) -> bool:
    return False


_SECONDS = ("true, or a number of seconds", _number)
#: By a kind for users, what it takes beside true: in words, and whether an argument is such.
_TAKEN: Mapping[str, tuple[str, Callable[[object], bool]]] = {
    **dict.fromkeys(("throttled", "limit", "login"), ("true", _nothing)),
    **dict.fromkeys(("silent", "slow", "hangs"), _SECONDS),
    "denied": ("true, the name of a tool, or a list of names", _tools),
    "crash": ('true, "before" or "after"', lambda argument: argument in ("before", "after")),
    "exit": ("true, or an exit code from 0 to 255", lambda argument: isinstance(argument, int) and 0 <= argument < 256),
    "credits": ("true, a number of credits, or a table of main, delegated and auxiliary", _credits),
}
