"""Runs the tool `todo_list`: the list lives as long as the turn."""

from __future__ import annotations

from .toolargs import ToolError, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_EMPTY: dict[str, Any] = {"tasks": [], "description": "", "context": [], "modified_files": []}
_list: dict[str, Any] = dict(_EMPTY)


def parse(tool: str, args: dict[str, Any]) -> dict[str, Any]:
    """Read the call as the session records it."""
    command = field(args, "command", str)
    if command == "create":
        described = [
            field(task if isinstance(task, dict) else {}, "task_description", str)
            for task in field(args, "tasks", list)
        ]
        tasks = [{"task_description": text, "details": None} for text in described]
        description = field(args, "task_list_description", str)
        return {"Task": {"command": command, "tasks": tasks, "task_list_description": description}}
    if command == "complete":
        return {
            "Task": {
                "command": command,
                "completed_task_ids": [str(i) for i in field(args, "completed_task_ids", list)],
                "context_update": field(args, "context_update", str),
                "modified_files": field(args, "modified_files", list, optional=True),
            }
        }
    what = f"unknown variant `{command}`, expected `create` or `complete`"
    raise ToolError(f"The tool input does not match the tool schema: {what}")


def title(tool: str, kind: dict[str, Any]) -> str:
    """Word the call for the screen."""
    task = kind["Task"]
    if task["command"] == "create":
        return f"Creating task list: {task['task_list_description']}"
    return "Completing tasks: " + ", ".join(task["completed_task_ids"])


def execute(tool: str, kind: dict[str, Any]) -> list[dict[str, Any]]:
    """Keep the list, until all of it is done."""
    task = kind["Task"]
    if task["command"] == "create":
        tasks = [
            {"id": str(number), "task_description": entry["task_description"], "completed": False}
            for number, entry in enumerate(task["tasks"], 1)
        ]
        description = task["task_list_description"]
        _list.update({"tasks": tasks, "description": description, "context": [], "modified_files": []})
    else:
        known = {entry["id"] for entry in _list["tasks"]}
        unknown = [i for i in task["completed_task_ids"] if i not in known]
        if unknown:
            raise ToolError(f"There is no task with the id {unknown[0]}")
        done = set(task["completed_task_ids"])
        _list["tasks"] = [{**entry, "completed": entry["completed"] or entry["id"] in done} for entry in _list["tasks"]]
        _list["context"] = [*_list["context"], task["context_update"]]
        _list["modified_files"] = [*_list["modified_files"], *(task["modified_files"] or [])]
        if all(entry["completed"] for entry in _list["tasks"]):
            _list.update(_EMPTY)
    return [{"Json": dict(_list)}]
