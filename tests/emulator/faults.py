"""Fault rules: which requests are answered differently, and how."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .settings import PTY_EXITS, Check, is_count, is_flag, is_number, is_text, one_of

PTY_ROUTES = ("pty_create_connect", "pty_connect")
#: Answers that are sent while they are made.
STREAMED = (*PTY_ROUTES, "files_bulk_download", "files_download", "sandbox_build_logs", "snapshot_build_logs")
_IN_A_SANDBOX = ("exec", "pty_*", "files_*", "work_dir", "user_home_dir", "version")


class Action(NamedTuple):
    """What a rule may do: the value it takes, in words too, and the routes it makes sense on, by patterns."""

    check: Check
    wanted: str
    routes: tuple[str, ...] = ("*",)
    but: tuple[str, ...] = ()

    def fits(self, route: str) -> bool:
        return route not in self.but and any(fnmatch.fnmatchcase(route, pattern) for pattern in self.routes)


def _is_status(value: Any) -> bool:
    return is_count(value) and 400 <= value <= 599


def _are_headers(value: Any) -> bool:
    return isinstance(value, dict) and all(is_text(text) for pair in value.items() for text in pair)


_SECONDS, _BYTES, _FLAG = "a number of seconds", "a number of bytes", "True or False"
_END = ("destroyed", "error")
ACTIONS: dict[str, Action] = {
    "delay": Action(is_number, _SECONDS),
    "delay_response": Action(is_number, _SECONDS),
    "status": Action(_is_status, "a status from 400 to 599"),
    "message": Action(is_text, "a text"),
    "code": Action(is_text, "a text"),
    "headers": Action(_are_headers, "a dict of texts"),
    "drop": Action(is_flag, _FLAG),
    "refuse": Action(is_number, _SECONDS),
    "lose_response": Action(is_flag, _FLAG),
    "cut_body": Action(is_count, _BYTES, but=PTY_ROUTES),
    "truncate": Action(is_count, _BYTES, ("files_bulk_download",)),
    "disk_full": Action(is_flag, _FLAG, ("files_bulk_upload",)),
    "creating_polls": Action(is_count, "a number of polls", ("sandbox_create",)),
    "end_state": Action(one_of("error", "build_failed"), "error or build_failed", ("sandbox_create",)),
    "error_reason": Action(is_text, "a text", ("sandbox_create",)),
    "destroying_polls": Action(is_count, "a number of polls", ("sandbox_delete",)),
    "build_polls": Action(is_count, "a number of polls", ("snapshot_create",)),
    "build_fails": Action(is_text, "the reason", ("snapshot_create",)),
    "kill_sandbox": Action(one_of(*_END), "destroyed or error", _IN_A_SANDBOX),
    "no_pong": Action(is_flag, _FLAG, PTY_ROUTES),
    "no_connected": Action(is_flag, _FLAG, PTY_ROUTES),
    "connected_delay": Action(is_number, _SECONDS, PTY_ROUTES),
    "early_output": Action(is_text, "a text", PTY_ROUTES),
    "hold_output": Action(lambda value: is_flag(value) or is_number(value), "True or a number of seconds", PTY_ROUTES),
    "cut_after": Action(is_count, _BYTES, PTY_ROUTES),
    "close_after": Action(is_count, _BYTES, PTY_ROUTES),
    "close_code": Action(is_count, "a WebSocket close code", PTY_ROUTES),
    "close_reason": Action(is_text, "a text", PTY_ROUTES),
    "mute_after": Action(is_count, _BYTES, PTY_ROUTES),
    "kill_after": Action(is_count, _BYTES, PTY_ROUTES),
    "kill_state": Action(one_of(*_END), "destroyed or error", PTY_ROUTES),
    "exit_style": Action(one_of(*PTY_EXITS), ", ".join(PTY_EXITS), PTY_ROUTES),
    "shell_delay": Action(is_number, _SECONDS, ("pty_create_connect",)),
}
#: Actions that only say more about another one.
NEEDS = {
    "message": "status",
    "code": "status",
    "headers": "status",
    "error_reason": "end_state",
    "close_code": "close_after",
    "close_reason": "close_after",
    "kill_state": "kill_after",
}


@dataclass
class Rule:
    """One rule; it applies to requests `after + 1` to `after + times` that match."""

    route: str
    actions: dict[str, Any]
    times: int | None = 1
    after: int = 0
    sandbox: str | None = None
    until: float | None = None
    seen: int = field(default=0, init=False)
    used: int = field(default=0, init=False)

    def takes(self, route: str, sandbox: Collection[str], now: float) -> bool:
        """Whether the rule applies to this request; counts it."""
        if route != self.route or (self.sandbox is not None and self.sandbox not in sandbox):
            return False
        if (self.until is not None and now >= self.until) or (self.times is not None and self.used >= self.times):
            return False
        self.seen += 1
        if self.seen <= self.after:
            return False
        self.used += 1
        return True


def read(order: Mapping[str, Any], routes: Collection[str], now: float) -> Rule:
    """Make a rule of what `Emulator.fault` sent; ValueError says what is wrong and what would be right."""
    values = dict(order)
    route, times, after = values.pop("route", None), values.pop("times", 1), values.pop("after", 0)
    sandbox, duration = values.pop("sandbox", None), values.pop("duration", None)
    if route not in routes:
        raise ValueError(f"fault: there is no route {route!r}; known: {', '.join(sorted(routes))}")
    if not (times is None or (is_count(times) and times > 0)):
        raise ValueError(f"fault: times={times!r} is not a whole number from 1, or None for every request")
    if not is_count(after):
        raise ValueError(f"fault: after={after!r} is not a whole number of matches to let pass")
    if not (sandbox is None or is_text(sandbox)):
        raise ValueError(f"fault: sandbox={sandbox!r} is not the id or the name of a sandbox")
    if not (duration is None or is_number(duration)):
        raise ValueError(f"fault: duration={duration!r} is not a number of seconds on the emulator's clock")
    if not values:
        raise ValueError(f"fault: {route} without an action; known: {', '.join(sorted(ACTIONS))}")
    for name, value in values.items():
        _check(route, name, value, values)
    return Rule(route, values, times, after, sandbox, None if duration is None else now + duration)


def _check(route: str, name: str, value: Any, values: Mapping[str, Any]) -> None:
    action = ACTIONS.get(name)
    if action is None:
        raise ValueError(f"fault: there is no action {name!r}; known: {', '.join(sorted(ACTIONS))}")
    if not action.check(value):
        raise ValueError(f"fault: {name}={value!r} is not {action.wanted}")
    if not action.fits(route):
        raise ValueError(f"fault: {name} is for {' and '.join(action.routes)}, not for {route}")
    if (needed := NEEDS.get(name)) and needed not in values:
        raise ValueError(f"fault: {name} says more about {needed}, which is not there")
