"""Reads the session files of engine V2: `<id>.jsonl` has the messages, `<id>.json` how each turn ended.

The shapes were read from files that CLI 2.5.1 to 2.6.0 wrote. Unknown keys are ignored; an unknown shape
becomes a warning naming file and line, since one odd record must not cost the whole turn.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from pytest_kiro.cli.transcript import ToolCall, ToolStatus, Transcript

#: The CLI's internal names, which older sessions and trust lists have, in V2's words.
_V2_NAMES = {"fs_read": "read", "fs_write": "write", "execute_bash": "shell", "execute_cmd": "shell"}
_KINDS = ("Prompt", "AssistantMessage", "ToolResults", "Compaction", "Clear")
_DENIED = re.compile(r"tool permission approval is not supported|denied|rejected", re.IGNORECASE)


class _Session(NamedTuple):
    id: str
    sidecar: Mapping[str, Any]
    records: Sequence[tuple[str, Mapping[str, Any]]]
    warnings: tuple[str, ...]


def read(
    files: Mapping[str, bytes],
    *,
    cwd: str,
    prompt: str | None = None,
    session_id: str | None = None,
    prompts: int = 0,
    turns: int = 0,
) -> Transcript | None:
    """Return the latest turn from a store's files, None when no session of ours is among them.

    `files` maps paths to contents; the session is `session_id`, or the newest of the folder `cwd` whose last
    prompt is `prompt` (sub-agents and whatever else Kiro starts have sessions there as well); `prompts`
    and `turns` say how many it had before, so that an old turn is never taken for the new one.
    """
    session = _find(files, cwd, prompt, session_id)
    if session is None:
        return None
    begun = [index for index, (kind, _) in enumerate(session.records) if kind == "Prompt"]
    records = session.records[begun[-1] :] if len(begun) > prompts else []
    messages, calls = _said(records)
    state = _dig(session.sidecar, "session_state") or {}
    metadata = _list(_dig(state, "conversation_metadata", "user_turn_metadatas"))
    model = _dig(state, "rts_model_state", "model_info", "model_id")
    transcript = Transcript(
        session_id=session.id,
        prompts=len(begun),
        turns=len(metadata),
        messages=messages,
        tool_calls=calls,
        model=model if isinstance(model, str) else None,
        warnings=session.warnings,
    )
    if len(metadata) <= turns or not isinstance(metadata[-1], dict):
        return transcript
    return _with_end(transcript, metadata[-1])


def _find(files: Mapping[str, bytes], cwd: str, prompt: str | None, session_id: str | None) -> _Session | None:
    found: list[tuple[str, _Session]] = []
    for path in files:
        if not path.endswith(".json"):
            continue
        sidecar = _json(files[path])
        name = PurePosixPath(path).stem
        if not isinstance(sidecar, dict) or (session_id or name) != name:
            continue
        if session_id is None and sidecar.get("cwd") != cwd:
            continue
        log = str(PurePosixPath(path).with_suffix(".jsonl"))
        records, warnings = _records(log, files.get(log, b""))
        if session_id is None and prompt is not None and _last_prompt(records) not in (prompt.strip(), None):
            continue
        found.append((str(sidecar.get("updated_at", "")), _Session(name, sidecar, records, warnings)))
    return max(found, key=lambda pair: pair[0])[1] if found else None


def _last_prompt(records: Sequence[tuple[str, Mapping[str, Any]]]) -> str | None:
    for kind, content in reversed(records):
        if kind == "Prompt":
            return "".join(str(data) for what, data in _parts(content) if what == "text").strip()
    return None


def _records(path: str, data: bytes) -> tuple[list[tuple[str, Mapping[str, Any]]], tuple[str, ...]]:
    records: list[tuple[str, Mapping[str, Any]]] = []
    warnings: list[str] = []
    for number, line in enumerate(data.splitlines(), 1):
        record = _json(line)
        kind, content = _dig(record, "kind"), _dig(record, "data")
        if kind in _KINDS and isinstance(content, dict):
            records.append((str(kind), content))
        elif line.strip():
            warnings.append(f"{path}:{number}: not a record that is known: {line[:80]!r}")
    return records, tuple(warnings)


def _said(records: Sequence[tuple[str, Mapping[str, Any]]]) -> tuple[tuple[str, ...], tuple[ToolCall, ...]]:
    messages: list[str] = []
    calls: dict[str, ToolCall] = {}
    for kind, content in records:
        if kind == "AssistantMessage":
            texts = [str(data) for what, data in _parts(content) if what == "text"]
            if any(texts):
                messages.append("".join(texts))
            for what, data in _parts(content):
                if what == "toolUse" and isinstance(data, dict):
                    calls[str(data.get("toolUseId"))] = _call(data)
        elif kind == "ToolResults":
            for what, data in _parts(content):
                key = str(_dig(data, "toolUseId"))
                if what == "toolResult" and key in calls:
                    calls[key] = _with_result(calls[key], data, _dig(content, "results", key, "result"))
    return tuple(messages), tuple(calls.values())


def _call(data: Mapping[str, Any]) -> ToolCall:
    raw_name = str(data.get("name"))
    given = data.get("input")
    arguments = {k: v for k, v in given.items() if k != "__tool_use_purpose"} if isinstance(given, dict) else {}
    return ToolCall(_V2_NAMES.get(raw_name, raw_name), raw_name, arguments, "", "unfinished")


def _with_result(call: ToolCall, data: Any, result: Any) -> ToolCall:
    output, exit_code = "", None
    for what, item in _parts(data):
        if what == "json" and isinstance(item, dict) and "exit_status" in item:
            output += f"{item.get('stdout', '')}{item.get('stderr', '')}"
            code = re.search(r"-?\d+", str(item["exit_status"]))
            exit_code = int(code[0]) if code else None
        elif what == "json":
            output += json.dumps(item, ensure_ascii=False)
        else:
            output += str(item)
    status: ToolStatus = "completed" if _dig(data, "status") == "success" else "failed"
    if status == "failed" and (result == "Cancelled" or _DENIED.search(output)):
        status = "denied"
    return ToolCall(call.name, call.raw_name, call.input, output, status, exit_code)


def _with_end(transcript: Transcript, metadata: Mapping[str, Any]) -> Transcript:
    result, duration = metadata.get("result"), metadata.get("turn_duration")
    metered = [_dig(usage, "value") for usage in _list(metadata.get("metering_usage"))]
    numbers = [float(value) for value in metered if isinstance(value, int | float)]
    failure = result.get("Err") if isinstance(result, dict) else result
    secs, nanos = _dig(duration, "secs"), _dig(duration, "nanos")
    known = isinstance(secs, int | float) and isinstance(nanos, int | float)
    return replace(
        transcript,
        finished=isinstance(result, dict) and "Ok" in result,
        end_reason=str(metadata.get("end_reason")),
        failure=failure if failure is None or isinstance(failure, str) else json.dumps(failure),
        credits=sum(numbers) if numbers else None,
        duration=secs + nanos / 1e9 if known else None,
    )


def _parts(content: Any) -> Iterator[tuple[str, Any]]:
    for part in _list(_dig(content, "content")):
        if isinstance(part, dict):
            yield str(part.get("kind")), part.get("data")


def _dig(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
