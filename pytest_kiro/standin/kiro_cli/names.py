"""Names of the tools on engines V1 and V3 and in events; V2's are in the tools' modules."""

from __future__ import annotations

from .toolargs import absolute

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
    "memory": ("memory", "Memory"),
    "subagent": ("invoke_sub_agent", "Sub-agent: "),
    "create": ("fs_write", "Write File"),
    "strReplace": ("str_replace", "Edit File"),
    "insert": ("fs_append", "Edit File"),
    "Line": ("read_file", "Read File"),
    "Directory": ("list_directory", "List Directory"),
}
#: V3's tool that puts a skill or a steering file into the prompt; its title is its name.
_DISCLOSES = "disclose_context"
#: Ids that V3 has for what a scenario calls by V2's words.
_MORE = {"read_files", "read_multiple_files", "remote_web_search", "orchestrate_subagent", _DISCLOSES}
V3_NAMES = {name for name, _ in _V3.values()} | _MORE
_ACP = {"read": "read", "write": "edit", "shell": "execute", "grep": "search", "glob": "search"}


def v1_name(call: Call) -> str:
    """Return V1's internal name; of a server's tool it says which server."""
    if call.server:
        return str(call.tool)[1:].replace("/", "___", 1)
    return _V1.get(call.tool or "", call.name)


def disclosed(call: Call) -> dict[str, str] | None:
    """Say which skill or steering file a reading puts into the prompt: V3 has a tool of its own for that."""
    operations = call.kind["FileRead"]["operations"] if call.tool == "read" and call.kind else []
    path = operations[0]["path"] if len(operations) == 1 and operations[0]["mode"] == "Line" else ""
    folder, _, file = path.rpartition("/")
    kept, _, name = folder.rpartition("/")
    if file == "SKILL.md" and kept.rpartition("/")[2] == "skills":
        return {"type": "skill", "displayName": name, "uri": f"file://{absolute(path)}"}
    if file.endswith(".md") and f"/{folder}/".endswith("/.kiro/steering/"):
        return {"type": "steering", "displayName": file[:-3], "uri": f"file://{absolute(path)}"}
    return None


def v3_input(call: Call) -> dict[str, Any]:
    """Return the arguments as V3 records them; those of most tools are V2's here."""
    known = disclosed(call)
    return {"name": known["displayName"]} if known else call.input


def _v3(call: Call) -> tuple[str, str]:
    if disclosed(call):
        return _DISCLOSES, _DISCLOSES
    key = call.tool or ""
    if call.is_workflow:
        return "run_workflow", "Run Workflow"
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
    if call.tool == "subagent" and call.kind and not call.is_workflow:
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
