"""Reads tool calls of all engines in one form, by V2's names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pytest_kiro.kirocli.sessions.values import dig, dump, listed, load, words
from pytest_kiro.turn.transcript import ToolCall, ToolStatus

#: V2's words for the tools of V1, of older sessions, of trust lists, and of V3 (read from its files, 1.0.411).
_NAMES = {
    other: name
    for name, others in {
        "read": ("fs_read", "read_file", "read_files", "read_multiple_files", "list_directory"),
        "write": ("fs_write", "fs_append", "str_replace"),
        "shell": ("execute_bash", "execute_cmd", "execute_pwsh"),
        "grep": ("grep_search",),
        "glob": ("file_search",),
        "web_search": ("remote_web_search",),
        "subagent": ("use_subagent", "invoke_sub_agent", "orchestrate_subagent", "agent_crew"),
    }.items()
    for other in others
}
#: V3's stream names no tool: what it is called on the screen decides, then its kind (measured on 2.27.0).
_TITLES = {
    "Read File": "read",
    "List Directory": "read",
    "Write File": "write",
    "Run Command": "shell",
    "Task List": "todo_list",
    "Update Task List": "todo_list",
    "Edit File": "write",
    "Find Files": "glob",
    "Delete File": "delete_file",
}
_KINDS = {"read": "read", "edit": "write", "execute": "shell", "search": "grep", "fetch": "web_fetch"}
#: `Permission denied` is the operating system's word about a file, and no denial of the tool.
_DENIED = re.compile(
    r"tool permission (?:approval is not supported|denied)|(?<!permission )(?<!access )denied|rejected|cancelled by the"
    r" user",
    re.IGNORECASE,
)
_EXIT_CODE = re.compile(r"Exit Code: (-?\d{1,10})")


def named(raw: str | None, *, kind: Any = None, title: Any = None, server: Any = None) -> str:
    """Return a tool's name in V2's words from its record.

    >>> named("execute_bash"), named("git___log"), named("log", server="git"), named(None, kind="execute")
    ('shell', '@git/log', '@git/log', 'shell')
    """
    if raw:
        if words(server) and not raw.startswith("@"):
            return f"@{server}/{raw.removeprefix(f'{server}___')}"
        origin, parted, tool = raw.partition("___")  # V1's way to say which server
        return f"@{origin}/{tool}" if parted and origin and tool else _NAMES.get(raw, raw)
    if isinstance(title, str):
        if title in _TITLES:
            return _TITLES[title]
        if title.startswith("Sub-agent: "):
            return "subagent"
    return _KINDS.get(kind, kind) if words(kind) and kind != "other" else words(title) or "unknown"


def begun(raw: str | None, given: Any, **known: Any) -> ToolCall:
    """Return a call of which nothing came back yet; `known` is what `named` takes."""
    # V2 adds to every call what it is for; V3 writes a null for what was not given.
    arguments = {k: v for k, v in given.items() if k != "__tool_use_purpose"} if isinstance(given, dict) else {}
    name = named(raw, **known)
    return ToolCall(name, raw or words(known.get("title")) or name, arguments, "", "unfinished")


def begun_by_acp(raw: Any, given: Any, record: Mapping[str, Any]) -> ToolCall:
    """Return a call that has begun, from a record in ACP's words."""
    server = dig(record, "_meta", "kiro", "mcpServerName")
    return begun(words(raw), given, kind=record.get("kind"), title=record.get("title"), server=server)


def ended(call: ToolCall, parts: Iterable[tuple[str, Any]], *, ok: bool, cancelled: bool = False) -> ToolCall:
    """Return the call with what came back, `parts` of text or json; `ok` is what the record says of it."""
    pieces: list[str] = []
    exit_code, plain, error = None, True, False
    for what, item in parts:
        if what == "json" and isinstance(item, dict) and "exit_status" in item:
            pieces.append(f"{item.get('stdout', '')}{item.get('stderr', '')}")
            code = re.search(r"-?\d{1,10}", str(item["exit_status"]))
            exit_code, plain = int(code[0]) if code else None, False
        elif what == "json" and isinstance(item, dict) and isinstance(item.get("isError"), bool):
            pieces.append("".join(texts(item.get("content"))) or dump(item))
            error = error or item["isError"]  # a server's failure arrives as a success of the tool (2.27.1)
        elif isinstance(item, str) and what != "json":
            pieces.append(item)
        elif what != "image":
            pieces.append(dump(item))
    output = "".join(pieces)
    if call.name == "shell" and plain:
        output, exit_code = _unframed(output)
    status: ToolStatus = "completed" if ok and not error else "failed"
    if cancelled or (not ok and not error and _DENIED.search(output)):
        status = "denied"
    return replace(call, output=output, status=status, exit_code=exit_code)


def _unframed(output: str) -> tuple[str, int | None]:
    """Take what V3 writes around a command's output: there is no field for its exit code."""
    body, _, last = output.rstrip().rpartition("\n")
    code = _EXIT_CODE.fullmatch(last)
    return (body.removeprefix("Output:\n").rstrip("\n"), int(code[1])) if code else (output, None)


def parts(items: Any) -> Iterator[tuple[str, Any]]:
    """Read `[{"Text": …}, {"Json": …}]`, the form of V1's results and of the stream's raw output."""
    for item in listed(items):
        for key, what in (("Text", "text"), ("Json", "json")):
            if isinstance(item, dict) and key in item:
                yield what, item[key]


def texts(content: Any) -> Iterator[str]:
    """Every text of a content as ACP and MCP write it: a string, a block, a list of blocks, or blocks within blocks."""
    for block in content if isinstance(content, list) else [content]:
        inner = block if isinstance(block, str) else dig(block, "text") or dig(block, "content", "text")
        if isinstance(inner, str):
            yield inner


def content(value: Any) -> Iterator[tuple[str, Any]]:
    """Read a result of V3, mostly a string; a server's answer is JSON within it."""
    text = "".join(texts(value))
    telling = text.startswith("{") and ('"isError"' in text or '"exit_status"' in text)
    if telling and isinstance(answer := load(text), dict):
        yield "json", answer
    elif text or not value:
        yield "text", text
    else:
        yield "json", value


def is_agent(call: ToolCall) -> bool:
    """Whether a call is one that starts sub-agents."""
    return call.name == "subagent" or bool(re.search(r"agent|crew|delegate|spawn_session", call.raw_name))


def with_calls(calls: Mapping[str, ToolCall], inner: Mapping[str, Sequence[ToolCall]]) -> tuple[ToolCall, ...]:
    """Return the calls in order, each with those of its sub-agents."""
    return tuple(replace(call, calls=tuple(inner[key])) if key in inner else call for key, call in calls.items())
