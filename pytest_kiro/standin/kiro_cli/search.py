"""Runs the tools `grep` and `glob`: ignore files are not read, `.git` is never entered."""

from __future__ import annotations

import os
import re

from .toolargs import ToolError, absolute, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_LINE = 500
_LIMITS = ("max_matches_per_file", "max_files", "max_total_lines", "max_depth")


def parse(tool: str, args: dict[str, Any]) -> dict[str, Any]:
    """Read the call as the session records it."""
    kind: dict[str, Any] = {
        "pattern": field(args, "pattern", str),
        "path": field(args, "path", str, optional=True),
    }
    if tool == "glob":
        kind["limit"] = field(args, "limit", int, optional=True)
        kind["max_depth"] = field(args, "max_depth", int, optional=True)
        return {"Glob": kind}
    kind["include"] = field(args, "include", str, optional=True)
    kind["case_sensitive"] = field(args, "case_sensitive", bool, optional=True)
    mode = kind["output_mode"] = field(args, "output_mode", str, optional=True)
    if mode not in (None, "content", "files_with_matches", "count"):
        raise ToolError(f"The tool input does not match the tool schema: unknown variant `{mode}`")
    for name in _LIMITS:
        kind[name] = field(args, name, int, optional=True)
    return {"Grep": kind}


def _call(kind: dict[str, Any]) -> dict[str, Any]:
    call: dict[str, Any] = next(iter(kind.values()))
    return call


def paths(kind: dict[str, Any]) -> list[str]:
    """List where it looks."""
    return [_call(kind)["path"] or "."]


def title(tool: str, kind: dict[str, Any]) -> str:
    """Word the call for the screen."""
    where = os.path.basename(absolute(paths(kind)[0]))
    what = "" if tool == "grep" else "files matching "
    return f"Searching for {what}'{_call(kind)['pattern']}' in {where}"


def execute(tool: str, kind: dict[str, Any]) -> list[dict[str, Any]]:
    """Search."""
    call, base = _call(kind), absolute(paths(kind)[0])
    if not call["pattern"]:
        raise ToolError(f"The tool arguments failed validation: The {tool} pattern cannot be empty")
    if not os.path.exists(base):
        raise ToolError(f"The tool arguments failed validation: Path does not exist: {base}")
    return [{"Json": _grep(call, base) if tool == "grep" else _glob(call, base)}]


def _files(base: str, depth: int | None) -> list[str]:
    if os.path.isfile(base):
        return [base]
    files = []
    for folder, folders, names in os.walk(base):
        level = folder[len(base) :].count(os.sep) + 1
        folders[:] = sorted(f for f in folders if f != ".git") if level < (depth or 30) else []
        paths = (os.path.join(folder, name) for name in sorted(names))
        files += [path for path in paths if os.path.isfile(path) and not os.path.islink(path)]
    return files


def _grep(call: dict[str, Any], base: str) -> dict[str, Any]:
    try:
        pattern = re.compile(call["pattern"], 0 if call["case_sensitive"] else re.IGNORECASE)
    except re.error as error:
        what = f"Invalid regex '{call['pattern']}': {error}"
        raise ToolError(f"The tool arguments failed validation: {what}") from None
    files = _files(base, call["max_depth"])
    if call["include"] and os.path.isdir(base):
        include = re.compile(_translate(call["include"]))
        files = [path for path in files if include.fullmatch(os.path.basename(path))]
    if not files:
        return {"message": "No files to search", "numMatches": 0, "numFiles": 0}
    matching = [(path, lines) for path in files for lines in [_matches(pattern, path)] if lines]
    if not matching:
        message = f"No matches found for pattern: {call['pattern']}"
        return {"message": message, "numMatches": 0, "numFiles": 0}
    matching.sort(key=lambda entry: -len(entry[1]))
    return _shown(call, matching)


def _shown(call: dict[str, Any], matching: list[tuple[str, list[str]]]) -> dict[str, Any]:
    per_file = max(1, min(call["max_matches_per_file"] or 5, 30))
    most, results, shown = max(1, min(call["max_total_lines"] or 100, 300)), [], 0
    content = call["output_mode"] in (None, "content")
    for path, lines in matching[: max(1, min(call["max_files"] or 100, 400))]:
        result: dict[str, Any] = {"file": path, "count": len(lines)}
        if content:
            result["matches"] = lines[:per_file]
            shown += len(result["matches"])
        results.append(result)
        if shown >= most:
            break
    total = sum(len(lines) for _, lines in matching)
    truncated = len(matching) > len(results) or (content and total > shown)
    return {"numMatches": total, "numFiles": len(matching), "truncated": truncated, "results": results}


def _matches(pattern: re.Pattern[str], path: str) -> list[str]:
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return []
    if b"\0" in data:
        return []
    lines = []
    for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), 1):
        if pattern.search(line):
            line = line.rstrip()
            more = len(line) - MAX_LINE
            lines.append(f"{number}:{line[:MAX_LINE]}" + (f"...[+{more} chars]" if more > 0 else ""))
    return lines


def _translate(pattern: str) -> str:
    """Translate a glob to a regular expression: `*` crosses folders, as the globs of the real tools do."""
    result, depth, at = "", 0, 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            if pattern[at : at + 2] == "*/":
                result, at = result + "(?:.*/)?", at + 2
            else:
                result += ".*"
        elif char == "?":
            result += "."
        elif char == "[" and "]" in pattern[at + 1 :]:
            end = pattern.index("]", at + 1)
            inner = pattern[at:end]
            result += "[" + ("^" + inner[1:] if inner[0] == "!" else inner).replace("\\", "\\\\") + "]"
            at = end + 1
        elif char == "{":
            result, depth = result + "(?:", depth + 1
        elif char in ",}" and depth:
            result, depth = result + ("|" if char == "," else ")"), depth - (char == "}")
        else:
            result += re.escape(char)
    return result + ")" * depth


def _glob(call: dict[str, Any], base: str) -> dict[str, Any]:
    if not os.path.isdir(base):
        raise ToolError(f"The tool arguments failed validation: Path is not a directory: {base}")
    text = call["pattern"]
    if os.path.isdir(os.path.join(base, text)) and not any(char in text for char in "*?["):
        text = text.rstrip("/") + "/**/*"
    whole = "/" in text or text.startswith("**")
    pattern = re.compile(_translate(text), re.DOTALL)
    paths = [
        path
        for path in _files(base, call["max_depth"])
        if pattern.fullmatch(os.path.relpath(path, base) if whole else os.path.basename(path))
    ]
    if not paths:
        message = f"No files found matching pattern: {call['pattern']}"
        return {"filePaths": [], "totalFiles": 0, "truncated": False, "message": message}
    shown = paths[: 200 if call["limit"] is None else call["limit"]]
    return {"filePaths": shown, "totalFiles": len(paths), "truncated": len(paths) > len(shown)}
