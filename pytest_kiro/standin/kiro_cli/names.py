"""Names of the tools on engines V1 and V3 and in events; V2's are in the tools' modules."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .tools import Call

_V1 = {"read": "fs_read", "write": "fs_write", "shell": "execute_bash", "subagent": "use_subagent"}
_V3 = {
    "shell": ("execute_bash", "Run Command"),
    "grep": ("grep_search", "Search Files"),
    "glob": ("file_search", "Find Files"),
    "todo_list": ("todo_list", "Update Task List"),
    "subagent": ("invoke_sub_agent", "Sub-agent: "),
    "create": ("fs_write", "Write File"),
    "strReplace": ("str_replace", "Edit File"),
    "insert": ("fs_append", "Edit File"),
    "Line": ("read_file", "Read File"),
    "Directory": ("list_directory", "List Directory"),
}
V3_NAMES = {name for name, _ in _V3.values()}
_ACP = {"read": "read", "write": "edit", "shell": "execute", "grep": "search", "glob": "search"}


def v1_name(call: Call) -> str:
    """Return V1's internal name."""
    return _V1.get(call.tool or "", call.name)


def _v3(call: Call) -> tuple[str, str]:
    key = call.tool or ""
    if call.tool == "write" and call.kind:
        key = call.kind["FileWrite"]["command"]
    elif call.tool == "read" and call.kind:
        operations = call.kind["FileRead"]["operations"]
        key = operations[0]["mode"] if operations else "Line"
    return _V3.get(key, (call.name, call.name))


def v3_name(call: Call) -> str:
    """Return V3's internal name: what its log and its permissions say."""
    return _v3(call)[0]


def v3_title(call: Call) -> str:
    """Return V3's title: the kind of the action, without its object."""
    title = _v3(call)[1]
    if call.tool == "subagent" and call.kind:
        title += call.agent or "kiro_default"
    return title


def acp_kind(call: Call) -> str:
    """Return the tool's kind in the event stream."""
    return _ACP.get(call.tool or "", "other")


def locations(call: Call) -> list[dict[str, Any]]:
    """List the files of a call, as the event stream does."""
    if call.tool == "write" and call.kind:
        return [{"path": call.kind["FileWrite"]["path"]}]
    if call.tool != "read" or not call.kind:
        return []
    places = []
    for operation in call.kind["FileRead"]["operations"]:
        where: dict[str, Any] = {"path": operation["path"]}
        if operation.get("offset"):
            where["line"] = operation["offset"] + 1
        places.append(where)
    return places
