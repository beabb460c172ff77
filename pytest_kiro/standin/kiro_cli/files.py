"""Runs the tools `write` and `read`."""

from __future__ import annotations

import os
import stat
import time

from .toolargs import ToolError, absolute, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_READ = 250 * 1024
IGNORED = ("node_modules", "bin", "build", "dist", "out", ".cache", ".git")


def parse(tool: str, args: dict[str, Any]) -> dict[str, Any]:
    """Read the call as the session records it."""
    if tool == "read":
        return {"FileRead": {"operations": [_operation(op) for op in field(args, "operations", list)]}}
    command, path = field(args, "command", str), field(args, "path", str)
    kind: dict[str, Any] = {"command": command, "path": path}
    if command == "create":
        kind["content"] = field(args, "content", str)
    elif command == "strReplace":
        kind["oldStr"], kind["newStr"] = field(args, "oldStr", str), field(args, "newStr", str)
        kind["replaceAll"] = bool(field(args, "replaceAll", bool, optional=True))
    elif command == "insert":
        kind["content"] = field(args, "content", str)
        kind["insertLine"] = field(args, "insertLine", int, optional=True)
    else:
        what = f"unknown variant `{command}`, expected one of `create`, `strReplace`, `insert`"
        raise ToolError(f"The tool input does not match the tool schema: {what}")
    return {"FileWrite": kind}


def _operation(value: Any) -> dict[str, Any]:
    args = value if isinstance(value, dict) else {}
    mode = field(args, "mode", str)
    if mode == "Line":
        limit, offset = (field(args, name, int, optional=True) for name in ("limit", "offset"))
        return {"mode": mode, "path": field(args, "path", str), "limit": limit, "offset": offset}
    if mode == "Directory":
        depth = field(args, "depth", int, optional=True)
        excluded = field(args, "exclude_patterns", list, optional=True)
        return {"mode": mode, "path": field(args, "path", str), "depth": depth, "exclude_patterns": excluded}
    what = f"unknown variant `{mode}`, expected `Line` or `Directory` (the stand-in reads no images)"
    raise ToolError(f"The tool input does not match the tool schema: {what}")


def paths(kind: dict[str, Any]) -> list[str]:
    """List what a read looks at."""
    return [operation["path"] for operation in kind["FileRead"]["operations"]]


def title(tool: str, kind: dict[str, Any]) -> str:
    """Word the call for the screen, by base names."""
    if tool == "write":
        write = kind["FileWrite"]
        return f"{'Creating' if write['command'] == 'create' else 'Editing'} {os.path.basename(write['path'])}"
    return "Reading " + ", ".join(_read_title(operation) for operation in kind["FileRead"]["operations"])


def _read_title(operation: dict[str, Any]) -> str:
    name = os.path.basename(operation["path"].rstrip("/")) or operation["path"]
    if operation["mode"] == "Directory":
        return f"listing {name}"
    start = (operation["offset"] or 0) + 1
    return f"{name}:{start}" + (f"-{start + operation['limit'] - 1}" if operation["limit"] else "")


def execute(tool: str, kind: dict[str, Any]) -> list[dict[str, Any]]:
    """Write, or read."""
    if tool == "write":
        return [{"Text": _write(kind["FileWrite"])}]
    items, errors = [], []
    for operation in kind["FileRead"]["operations"]:
        read = _lines if operation["mode"] == "Line" else _directory
        try:
            items.append({"Text": read(operation)})
        except ToolError as error:
            errors.append(str(error))
    if errors:
        raise ToolError(", ".join(errors))
    return items


def _contents(path: str, what: str) -> str:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise ToolError(f"{what} {path}: {_reason(error)}", f"{what} {path}") from None


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.strerror} (os error {error.errno})"
    return "stream did not contain valid UTF-8"


def _save(path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="utf-8", errors="replace", newline="") as file:
            file.write(text)
    except OSError as error:
        context = f"failed to write to {path}"
        raise ToolError(f"{context}: {_reason(error)}", context) from None


def _count(text: str) -> int:
    return text.count("\n") + (not text.endswith("\n") and text != "")


def _write(write: dict[str, Any]) -> str:
    path = absolute(write["path"])
    if write["command"] == "create":
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
        except OSError as error:
            context = f"failed to create directory {os.path.dirname(path)}"
            raise ToolError(f"{context}: {_reason(error)}", context) from None
        _save(path, write["content"])
        return f"Successfully created {path} ({_count(write['content'])} lines)."
    if write["command"] == "strReplace":
        return _replace(path, write)
    if not write["content"]:
        raise ToolError("The tool arguments failed validation: Content to insert must not be empty")
    return _insert(path, write)


def _replace(path: str, write: dict[str, Any]) -> str:
    if not os.path.exists(path):
        what = "The provided path must exist in order to replace or insert contents into it"
        raise ToolError(f"The tool arguments failed validation: {what}")
    original = _contents(path, "failed to read")
    text, old, new = (s.replace("\r\n", "\n") for s in (original, write["oldStr"], write["newStr"]))
    count = text.count(old)
    if not count:
        what = "The provided old_str was not found in the file"
        raise ToolError(f"The tool arguments failed validation: {what}")
    if count > 1 and not write["replaceAll"]:
        raise ToolError(f"{count} occurrences of old_str were found when only 1 is expected")
    text = text.replace(old, new)
    _save(path, text.replace("\n", "\r\n") if "\r\n" in original else text)
    return f"Successfully replaced {count} occurrence(s) in {path}."


def _insert(path: str, write: dict[str, Any]) -> str:
    text, content, line = _contents(path, "failed to read"), write["content"], write["insertLine"]
    if line is None:
        text += ("" if text.endswith("\n") else "\n") + content
        where = "at end of file"
    else:
        lines = text.splitlines(keepends=True)
        at = max(0, min(line, len(lines)))
        text = "".join([*lines[:at], content if content.endswith("\n") else content + "\n", *lines[at:]])
        where = f"at line {line}"
    _save(path, text)
    return f"Successfully inserted {_count(content)} line(s) {where} in {path}."


def _lines(operation: dict[str, Any]) -> str:
    path = absolute(operation["path"])
    if not os.path.exists(path):
        raise ToolError(f"The tool arguments failed validation: '{path}' does not exist")
    if not os.path.isfile(path):
        raise ToolError(f"The tool arguments failed validation: '{path}' is not a file")
    lines = _contents(path, "failed to read").split("\n")
    if lines[-1] == "":
        lines.pop()
    start = int(operation["offset"] or 0)
    wanted = lines[start:] if operation["limit"] is None else lines[start : start + operation["limit"]]
    size = 0
    shown: list[str] = []
    for line in wanted:
        size += len(line.encode("utf-8", "replace")) + 1
        if size > MAX_READ:
            last = start + len(shown)
            note = f"(showing lines {start + 1}-{last} of {len(lines)}). Use offset: {last} to continue reading."
            return "\n".join([*shown, f"...truncated {note}"])
        shown.append(line[:-1] if line.endswith("\r") else line)
    return "\n".join(shown)


def _directory(operation: dict[str, Any]) -> str:
    path = absolute(operation["path"])
    if not os.path.exists(path):
        raise ToolError(f"The tool arguments failed validation: Directory not found: {path}")
    if not os.path.isdir(path):
        raise ToolError(f"The tool arguments failed validation: Path is not a directory: {path}")

    lines, queue = [f"User id: {os.geteuid()}"], [(path, 0)]
    while queue:
        parent, depth = queue.pop(0)
        entries = [(os.lstat(os.path.join(parent, name)), name) for name in os.listdir(parent)]
        for status, name in sorted(entries, key=lambda entry: (-int(entry[0].st_mtime), entry[1])):
            if name in (operation["exclude_patterns"] or ()):
                continue
            when = time.strftime("%b %d %H:%M", time.gmtime(status.st_mtime))
            owner = f"{status.st_nlink} {status.st_uid} {status.st_gid} {status.st_size}"
            lines.append(f"{stat.filemode(status.st_mode)} {owner} {when} {os.path.join(parent, name)}")
            if stat.S_ISDIR(status.st_mode) and depth < (operation["depth"] or 0) and name not in IGNORED:
                queue.append((os.path.join(parent, name), depth + 1))
    return "\n".join(lines)
