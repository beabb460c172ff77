"""The tool calls of a turn, as a value to ask."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from typing import get_args

from pytest_kiro.secrecy.visible import escaped
from pytest_kiro.turn.changes import Paths
from pytest_kiro.turn.shown import SHOWN, listed, short
from pytest_kiro.turn.transcript import ToolCall, ToolStatus

_LONGEST_LABEL = 48
#: V2's words for its own tools: a server may have one of such a name, which is asked for by `@server/name`.
_BUILT_IN = (
    *("read", "write", "shell", "grep", "glob", "subagent", "todo_list", "memory", "web_search", "web_fetch", "code"),
    *("aws", "use_aws", "introspect", "knowledge", "task", "summary", "thinking", "delegate"),
)


class ToolCalls(tuple[ToolCall, ...]):
    """Tool calls in the order in which they were made; falsy when there is none.

    Those of sub-agents are in the `calls` of the call that started them; `filter`, `used`, `commands` and
    `files_written` look at all of them. `folder` is the absolute path of the workspace.

    >>> calls = ToolCalls([ToolCall("write", "fs_write", {"path": "/w/a.js"}, "", "completed")], folder="/w")
    >>> calls.filter("write", path="*.js"), calls.used("shell")
    (<ToolCalls: write 'a.js'>, <ToolCalls: none of name='shell'; there were: write 'a.js'>)
    """

    folder: str
    _among: tuple[ToolCall, ...]
    _wanted: str

    def __new__(
        cls,
        calls: Iterable[ToolCall] = (),
        *,
        folder: str = "",
        among: Iterable[ToolCall] | None = None,
        wanted: str = "",
    ) -> ToolCalls:
        made = super().__new__(cls, calls)
        made.folder, made._wanted = folder, wanted
        made._among = made if among is None else tuple(among)
        return made

    def filter(
        self,
        name: str | None = None,
        *,
        path: str | None = None,
        pattern: str | None = None,
        status: ToolStatus | None = None,
        agent: str | None = None,
    ) -> ToolCalls:
        """Return the calls that all of these fit, sub-agents' included.

        `name` is V2's word, such as write, or `@server/tool`, or the tool of any MCP server by its own name; `path` a
        path or a glob (`src/*.py`, `**/*.py`), relative to the workspace where the call's path lies in it; `pattern` a
        regular expression that is searched in the command, the paths and the pattern of the call's input; `status`
        completed, failed, denied or unfinished; `agent` the name of the sub-agent or workflow node that made it, ""
        for the conversation's own. Raises `ValueError` for a pattern that is no regular expression, and for another
        status.

        >>> call = ToolCall("shell", "shell", {"command": "cd app && node x.js"}, "", "completed")
        >>> len(ToolCalls([call]).filter("shell", pattern=r"node \\S+\\.js"))
        1
        """
        if status is not None and status not in get_args(ToolStatus):
            raise ValueError(f"status={status!r} is not right; wanted: one of {', '.join(get_args(ToolStatus))}")
        searched = None if pattern is None else compiled(pattern, f"pattern={pattern!r} is")
        globbed = None if path is None else _glob(_relative(path, self.folder))

        def fits(call: ToolCall) -> bool:
            return (
                (name is None or is_named(call, name))
                and status in (None, call.status)
                and agent in (None, call.agent)
                and (globbed is None or any(map(globbed.fullmatch, _paths(call, self.folder))))
                and (searched is None or any(map(searched.search, _texts(call, self.folder))))
            )

        asked = {"name": name, "path": path, "pattern": pattern, "status": status, "agent": agent}
        words = " ".join(f"{word}={value!r}" for word, value in asked.items() if value is not None)
        return self._picked((call for call in walk(self) if fits(call)), words)

    def used(
        self,
        name: str,
        *,
        path: str | None = None,
        pattern: str | None = None,
        status: ToolStatus | None = None,
        agent: str | None = None,
    ) -> ToolCalls:
        """Return what `filter` returns for the same, but no denied calls.

        >>> ToolCalls([ToolCall("write", "write", {"path": "a"}, "", "denied")]).used("write")
        <ToolCalls: none of name='write'; there were: write 'a' (denied)>
        """
        if status == "denied":
            raise ValueError("status='denied' is not right: a denied call was not used; ask tool_calls.filter for it")
        fitting = self.filter(name, path=path, pattern=pattern, status=status, agent=agent)
        return fitting._picked((call for call in fitting if call.status != "denied"), "")

    @property
    def commands(self) -> Commands:
        """The shell commands, denied ones left out."""
        shell = [call for call in walk(self) if call.command is not None]
        denied = [str(call.command) for call in shell if call.status == "denied"]
        return Commands((str(call.command) for call in shell if call.status != "denied"), denied=denied)

    @property
    def files_written(self) -> Paths:
        """The paths in the workspace, relative to it, of completed write calls."""
        written = (call for call in walk(self) if call.name == "write" and call.status == "completed")
        return Paths(path for call in written for path in _paths(call, self.folder) if _is_inside(path))

    def _picked(self, calls: Iterable[ToolCall], wanted: str) -> ToolCalls:
        every = " ".join(filter(None, (self._wanted, wanted)))
        return ToolCalls(calls, folder=self.folder, among=self._among, wanted=every)

    def __repr__(self) -> str:
        """Return what a failed assert shows: the calls that there were, in pytest's room."""
        if self:
            return f"<ToolCalls: {listed(self._labels(self), SHOWN - 14)}>"
        if not self._wanted:
            return "<ToolCalls: none>"
        wanted = short(self._wanted, 100)
        there_were = listed(self._labels(walk(self._among)), SHOWN - len(wanted) - 38, none="none at all")
        return f"<ToolCalls: none of {wanted}; there were: {there_were}>"

    def _labels(self, calls: Iterable[ToolCall]) -> list[str]:
        return [label(call, self.folder) for call in calls]


class Commands(list[str]):
    """The shell commands that Kiro executed, in order; `denied` are those that it was not allowed.

    >>> commands = Commands(["ls", "node x.js"], denied=["rm -rf /"])
    >>> "node x.js" in commands, commands.denied
    (True, ('rm -rf /',))
    """

    def __init__(self, commands: Iterable[str] = (), *, denied: Iterable[str] = ()) -> None:
        super().__init__(commands)
        self.denied = tuple(denied)


def is_named(call: ToolCall, name: str) -> bool:
    """Whether a call is of that tool; a built-in tool's name means no server's.

    >>> call = ToolCall("@stock/in_stock", "in_stock", {}, "7", "completed")
    >>> is_named(call, "@stock/in_stock"), is_named(call, "in_stock"), is_named(call, "stock")
    (True, True, False)
    """
    if call.name == name or name in _BUILT_IN or not call.name.startswith("@"):
        return call.name == name
    return call.name.partition("/")[2] == name


def walk(calls: Iterable[ToolCall]) -> Iterator[ToolCall]:
    """Yield each call once, followed by those of its sub-agents."""
    seen: set[int] = set()
    waiting = list(calls)[::-1]
    while waiting:
        call = waiting.pop()
        if id(call) not in seen:
            seen.add(id(call))
            yield call
            waiting.extend(reversed(call.calls))


def described(call: ToolCall, folder: str, most: int) -> str:
    """Say on a line what a call was, and how it ended.

    >>> described(ToolCall("shell", "shell", {"command": "make"}, "", "completed", exit_code=0), "/w", 80)
    'shell   make  → exit 0'
    """
    what = escaped(", ".join([call.command] if call.command is not None else _texts(call, folder)))
    code = "" if call.exit_code is None else f"exit {call.exit_code}"
    ending = ", ".join(filter(None, ("" if call.status == "completed" else call.status, code)))
    agent = f"  (agent {escaped(call.agent)})" if call.agent else ""
    return f"{escaped(call.name):<7} {short(what, most)}{f'  → {ending}' if ending else ''}{agent}".rstrip()


def label(call: ToolCall, folder: str = "") -> str:
    """Say what a call was: `shell 'make' (exit 2)`."""
    what = short(next(iter(_texts(call, folder)), ""), _LONGEST_LABEL)
    code = f" (exit {call.exit_code})" if call.exit_code else ""
    ending = code if call.status == "completed" else f" ({call.status})"
    return f"{escaped(call.name)}{f' {what!r}' if what else ''}{ending}"


def _paths(call: ToolCall, folder: str) -> list[str]:
    """Return the paths in a call's input, relative to `folder` if inside."""
    return [_relative(path, folder) for path in call.paths]


def _relative(path: str, folder: str) -> str:
    whole = posixpath.normpath(posixpath.join(folder, path))
    return whole.removeprefix(f"{folder.rstrip('/')}/") if folder else whole


def _is_inside(path: str) -> bool:
    return not path.startswith(("/", "../", "~")) and path not in ("..", ".")


def _texts(call: ToolCall, folder: str) -> list[str]:
    texts = (call.command, *_paths(call, folder), call.input.get("pattern"))
    return [text for text in texts if isinstance(text, str)]


def compiled(pattern: str | re.Pattern[str], shown: str) -> re.Pattern[str]:
    """Return a pattern; `ValueError` in few words for what is none, which begins with `shown`."""
    try:
        return re.compile(pattern)
    except (re.error, TypeError) as error:
        raise ValueError(f"{shown} no regular expression: {error}") from None


def _glob(path: str) -> re.Pattern[str]:
    """Make a glob a pattern: `*` and `?` stay within one folder, `**` does not; brackets are themselves ([id].tsx)."""
    words = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", path)
    start = "" if path.startswith("/") else "(?!/)"  # a relative one is of what lies in the workspace
    return re.compile(start + "".join(words.get(part, re.escape(part)) for part in parts), re.DOTALL)
