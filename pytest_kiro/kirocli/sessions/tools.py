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
    "disclose_context": "disclose_context",
}
#: How V3 words a tool's own name (measured on 2.16.0), with a blank in it; a sentence is no name.
_TITLE = re.compile(r"[A-Z][A-Za-z0-9]*(?: [A-Z][A-Za-z0-9]*){1,4}")
#: What is shown as a call, and is a word to the user: a question, something to approve, a summary.
_ASIDE = re.compile(r"(?:approve|accept|review|confirm)\b.*|.*\?|.*\bsummar(?:y|ies|i[sz]ing)\b.*", re.I | re.S)
_KINDS = {"read": "read", "edit": "write", "execute": "shell", "search": "grep", "fetch": "web_fetch"}
#: `Permission denied` is the operating system's word about a file, and no denial of the tool.
_NO_KINDS = (None, "other", "think", "switch_mode")
_AGENT_KEYS = ("agent", "agentName", "name", "subAgentName")
_DENIED = re.compile(
    r"tool permission (?:approval is not supported|denied)|(?<!permission )(?<!access )denied|rejected|cancelled by the"
    r" user",
    re.IGNORECASE,
)
#: What stands in for a result that never came (read from 0.66.26 and 1.0.776).
_INTERRUPTED = re.compile(
    r"\s*(?:This tool (?:call )?was (?:interrupted before it reported a result|cancelled before it ran)"
    r"|Tool did not complete\b.*\bsession was interrupted)"
)
_WITHHELD = re.compile(r"(?:SYSTEM NOTE|WARNING): the actual tool use arguments were too complicated to be generated")
_STARTS_AGENTS = re.compile(r"agent|crew|delegate|spawn_session|run.?workflow", re.IGNORECASE)
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
    if isinstance(kind, str) and kind and kind != "other":
        return _KINDS.get(kind, kind)
    return _by_title(title) if isinstance(title, str) and title else "unknown"


def _by_title(title: str) -> str:
    """Return the tool's name that a title is.

    V3 shows `Send Message` for `send_message`.
    """
    if _TITLE.fullmatch(title):
        return title.lower().replace(" ", "_")
    return "unknown" if " " in title.strip() else title


def begun(raw: str | None, given: Any, **known: Any) -> ToolCall:
    """Return a call of which nothing came back yet; `known` is what `named` takes."""
    # V2 adds to every call what it is for; V3 writes a null for what was not given.
    arguments = {k: v for k, v in given.items() if k != "__tool_use_purpose"} if isinstance(given, dict) else {}
    name = named(raw, **known)
    return ToolCall(name, raw or words(known.get("title")) or name, arguments, "", "unfinished")


def raw_name(update: Mapping[str, Any]) -> str | None:
    """Return the name that the stream has for a tool, if any.

    V3 names none, or by an id of its own, which counts where neither title nor kind tell more.
    """
    kiro = dig(update, "_meta", "kiro")
    name, own = words(dig(kiro, "toolName")), words(dig(kiro, "toolId"))
    telling = words(update.get("title")) in _TITLES or update.get("kind") not in _NO_KINDS
    return name or (own if own in _NAMES or not telling else None)


def begun_by_acp(raw: Any, given: Any, record: Mapping[str, Any]) -> ToolCall:
    """Return a call that has begun, from a record in ACP's words."""
    server = dig(record, "_meta", "kiro", "mcpServerName")
    # What V3 puts into the prompt: the call itself has a name, its `_meta` says of what (published streams).
    if isinstance(disclosed := dig(record, "_meta", "kiro", "disclosedContext"), dict):
        given = {**(given if isinstance(given, dict) else {}), **disclosed}
    return begun(words(raw), given, kind=record.get("kind"), title=record.get("title"), server=server)


def is_aside(key: str, update: Mapping[str, Any]) -> bool:
    """Whether what comes as a call is a word to the user.

    Its title alone decides, where nothing names a tool.

    >>> is_aside("1", {"title": "Which colour?", "kind": "other"}), is_aside("1", {"title": "Run Command"})
    (True, False)
    """
    kiro = dig(update, "_meta", "kiro")
    if any(words(dig(kiro, name)) for name in ("toolName", "toolId", "mcpServerName")):
        return False
    if key.startswith("turn_approval"):  # V3's question whether changes are to be kept (read 1.0.411)
        return True
    title, kind = update.get("title"), update.get("kind")
    return isinstance(title, str) and kind in _NO_KINDS and title not in _TITLES and bool(_ASIDE.fullmatch(title[:200]))


def node(workflow: Any) -> str | None:
    """Return the name of a workflow's node, if it is one.

    >>> node({"nodePath": ["wf_1", "fan", "alpha"], "nodeId": "alpha"}), node({"nodeId": "alpha"}), node(None)
    ('fan/alpha', 'alpha', None)
    """
    path = listed(dig(workflow, "nodePath"))[1:]
    if path and all(words(part) for part in path):
        return "/".join(path)
    return words(dig(workflow, "nodeId"))


def agent_name(call: ToolCall) -> str | None:
    """Return the name of the agent that a call starts."""
    if call.raw_name.startswith("Sub-agent: "):
        return words(call.raw_name.removeprefix("Sub-agent: ").strip())
    return next((name for key in _AGENT_KEYS if (name := words(call.input.get(key)))), None)


def is_withheld(call: ToolCall) -> bool:
    """Whether a note stands in place of a call's arguments.

    kiro-cli writes it where they are too large (versions up to 1.26.2, and its ancestor); no such call has run.
    """
    return any(isinstance(value, str) and _WITHHELD.match(value) for value in call.input.values())


def ended(
    call: ToolCall, parts: Iterable[tuple[str, Any]], *, ok: bool, cancelled: bool = False, interrupted: bool = False
) -> ToolCall:
    """Return the call with what came back, `parts` of text or json; `ok` is what the record says of it."""
    pieces: list[str] = []
    exit_code, plain, error = None, True, False
    for what, item in parts:
        if what == "json" and isinstance(item, dict) and "exit_status" in item:
            pieces.append(f"{item.get('stdout', '')}{item.get('stderr', '')}")
            code = re.search(r"-?\d{1,10}", str(item["exit_status"]))
            exit_code, plain = int(code[0]) if code else None, False
        elif what == "json" and isinstance(item, dict) and _is_of_server(call, item):
            pieces.append("".join(texts(item.get("content"))) or dump(item))
            error = error or item.get("isError") is True  # a server's failure arrives as a success of the tool (2.27.1)
        elif isinstance(item, str) and what != "json":
            pieces.append(item)
        elif what != "image":
            pieces.append(dump(item))
    output = "".join(pieces)
    if call.name == "shell" and plain:
        output, exit_code = _unframed(output)
    status: ToolStatus = "completed" if ok and not error else "failed"
    if not cancelled and (interrupted or (not ok and _INTERRUPTED.match(output))):
        status = "unfinished"  # no command of the agent's has failed
    elif cancelled or (not ok and not error and _DENIED.search(output)):
        status = "denied"
    return replace(call, output=output, status=status, exit_code=exit_code)


def _is_of_server(call: ToolCall, item: Mapping[str, Any]) -> bool:
    """Whether JSON is what a server's tool has answered; `isError` may be left out."""
    return isinstance(item.get("isError"), bool) or (
        call.name.startswith("@") and isinstance(item.get("content"), list)
    )


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
    return call.name == "subagent" or bool(_STARTS_AGENTS.search(call.raw_name))


def with_calls(calls: Mapping[str, ToolCall], inner: Mapping[str, Sequence[ToolCall]]) -> tuple[ToolCall, ...]:
    """Return the calls in order, each with those of its sub-agents."""
    return tuple(replace(call, calls=tuple(inner[key])) if key in inner else call for key, call in calls.items())
