"""Says tool calls as the stand-in takes them, with their effects."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pytest_kiro.recording.paths import SandboxPaths
from pytest_kiro.recording.scenario_text import Said
from pytest_kiro.standin.tool_forms import FORMS, mistakes, names
from pytest_kiro.turn.calls import walk
from pytest_kiro.turn.transcript import ToolCall

#: Puts paths into what was recorded that are good in any workspace; in commands `~` is not always HOME.
_PLAIN, _SHELL = SandboxPaths(".", "~"), SandboxPaths(".", "$HOME")
#: V2's word for what a write call does, by the words of all engines: its `command`, else its own name.
_COMMANDS = {
    "create": "create",
    "fs_write": "create",
    "write": "create",
    "strReplace": "strReplace",
    "str_replace": "strReplace",
    "insert": "insert",
    "append": "insert",
    "fs_append": "insert",
}
_CONTENTS = ("content", "file_text", "text", "new_str", "newStr")


def scripted(call: ToolCall) -> Said:
    """Return a call in V2's words, with paths that any workspace has."""
    args = fitting(call.name, _args(call))
    wrong = "; ".join(mistakes(call.name, args))
    comment = f"{wrong}, so that the stand-in lets it fail" if wrong else ""
    return Said(tool=call.name, args=args, comment=comment, fails=bool(wrong) or call.status == "failed")


def fitting(name: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return those arguments that the stand-in's tool takes.

    >>> fitting("shell", {"command": "ls", "summary": "look"}), fitting("@git/log", {"n": 3})
    ({'command': 'ls'}, {'n': 3})
    """
    forms = FORMS.get(names().get(name, ""))
    if forms is None:
        return args
    form = next((one for one in forms if one.where and args.get(one.where[0]) == one.where[1]), forms[0])
    return {key: one for key, one in args.items() if key in form.names and one is not None}


def _args(call: ToolCall) -> Mapping[str, Any]:
    given = call.input
    match call.name:
        case "write" if (write := write_of(call)) is not None:
            return write
        case "read":
            several = given.get("operations")
            return {"operations": list(map(_operation, several if isinstance(several, list | tuple) else [given]))}
        case "shell":
            folder = _first(given, ("working_dir", "cwd"))
            words = {"command": _SHELL.put(str(given.get("command", "")))}
            return words | ({"working_dir": _relative(folder)} if folder else {})
        case "subagent":
            asked = {"prompt": _first(given, ("prompt", "query", "task")) or "", "agent": call_agent(call)}
            replies = [[{"name": one.tool, "args": one.args} for one in map(scripted, call.calls)], [call.output]]
            return {**asked, "requests": [request for request in replies if request]}
        case _:
            return {name: _portable(one) for name, one in given.items()}


def _operation(given: Any) -> Any:
    """Return one operation of a read call; an image is read as lines."""
    if not isinstance(given, Mapping):
        return given
    mode = given.get("mode") if given.get("mode") == "Directory" else "Line"
    known = ("limit", "offset") if mode == "Line" else ("depth", "exclude_patterns")
    more = {key: one for key, one in given.items() if key in known and one is not None}
    return {"mode": mode, "path": _relative(str(given.get("path", "."))), **more}


def call_agent(call: ToolCall) -> str | None:
    """Return the name of the agent that a call started, if known."""
    return next((one.agent for one in call.calls if one.agent), None) or _first(call.input, ("agent", "agentName"))


def write_of(call: ToolCall) -> dict[str, Any] | None:
    """Return what a write call writes, in V2's words; None where its record does not tell."""
    given = call.input
    path, words = _first(given, ("path", "file_path")), given.get("command")
    command = _COMMANDS.get(words if isinstance(words, str) else call.raw_name)
    if call.name != "write" or path is None or command is None:
        return None
    write: dict[str, Any] = {"command": command, "path": _relative(path)}
    if command == "strReplace":
        old, new = _first(given, ("oldStr", "old_str")), _first(given, ("newStr", "new_str"))
        every = {"replaceAll": True} if given.get("replaceAll") or given.get("replace_all") else {}
        if old is None or new is None:
            return None
        return {**write, "oldStr": portable(old), "newStr": portable(new), **every}
    content, line = _first(given, _CONTENTS), given.get("insertLine", given.get("insert_line"))
    if content is None:
        return None
    at = {"insertLine": line} if command == "insert" and words != "append" and isinstance(line, int) else {}
    return {**write, "content": portable(content), **at}


def _first(given: Mapping[str, Any], names: Iterable[str]) -> str | None:
    return next((one for name in names if isinstance(one := given.get(name), str)), None)


def portable(text: str) -> str:
    """Return a text with paths that any workspace has.

    >>> portable("see ⟨workspace⟩/src/a.py and ⟨home⟩/b")
    'see ./src/a.py and ~/b'
    """
    return _PLAIN.put(text)


def _relative(path: str) -> str:
    return portable(path).removeprefix("./")


def _portable(one: Any) -> Any:
    match one:
        case str():
            return _relative(one)
        case Mapping():
            return {name: _portable(inner) for name, inner in one.items()}
        case list() | tuple():
            return [_portable(inner) for inner in one]
        case _:
            return one


class Written:
    """What write calls have made of files, as far as known.

    >>> files = Written()
    >>> files.take([ToolCall("write", "write", {"command": "create", "path": "a", "content": "1"}, "", "completed")])
    >>> files.explains("a", b"1"), files.explains("a", b"2"), files.explains("b", b"1")
    (True, False, False)
    """

    def __init__(self) -> None:
        #: By path, None for one that was edited where it is not known what it was before.
        self._known: dict[str, bytes | None] = {}

    def take(self, calls: Sequence[ToolCall]) -> None:
        """Take in the calls of a turn."""
        for call in walk(calls):
            if call.status == "completed" and (write := write_of(call)) is not None:
                path = posixpath.normpath(write["path"])
                self._known[path] = self._after(self._known.get(path), write)

    @staticmethod
    def _after(before: bytes | None, write: Mapping[str, Any]) -> bytes | None:
        if write["command"] == "create":
            return str(write["content"]).encode("utf-8", "replace")
        if before is None:
            return None
        text = before.decode("utf-8", "replace")
        if write["command"] == "strReplace":
            return text.replace(write["oldStr"], write["newStr"], -1 if "replaceAll" in write else 1).encode()
        if "insertLine" in write:
            return None
        return f"{text}{'' if text.endswith(chr(10)) else chr(10)}{write['content']}".encode()

    def explains(self, path: str, content: bytes) -> bool:
        """Whether the calls so far make this content of what was there."""
        return path in self._known and self._known[path] in (None, content)

    def settle(self, path: str, content: bytes | None) -> None:
        """Note what stands at a path after a turn, None for nothing."""
        if content is None:
            self._known.pop(path, None)
        else:
            self._known[path] = content
