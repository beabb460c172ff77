"""Every reader of what Kiro leaves and prints, given anything: no exception, and no proof that is not in the input.

Fifteen examples each, and five hundred in the matrix; KIRO_FUZZ=10000 in the environment makes it ten thousand.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from decimal import Decimal
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from json_places import places, replaced

from pytest_kiro.kirocli import sessions
from pytest_kiro.kirocli.events import Event, EventReader, shown
from pytest_kiro.kirocli.layout import Layout, credits
from pytest_kiro.kirocli.sessions import sqlite
from pytest_kiro.turn.transcript import Transcript

EXAMPLES = int(os.environ.get("KIRO_FUZZ", "15"))
fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)

#: What the readers look for, but for the words of a good end.
WORDS = """
kind data content text toolUse toolResult toolUseId name input results result Success items Json exit_status
stdout isError Prompt AssistantMessage ToolResults Compaction Clear Err Error Cancelled end_reason message_ids
m1 m2 m3 metering_usage value unit credit turn_duration secs nanos parent_session_id session_state cwd /w
created_at updated_at user assistant ToolUse tool_uses args orig_args ToolUseResults CancelledToolUses prompt
tool_use_results id status request_metadata payload type turn_start turn_end tool_call tool_result toolName
executionId e1 usage_summary promptTurnSummaries usage elapsedTime stopReason cancelled tombstone
checkpoint_revert source steer success content sessionUpdate update sessionId s1 s2 agent_message_chunk
tool_call_update toolCallId completed failed in_progress rawOutput rawInput _meta kiro mcpServerName
subExecutionId agentSubtaskId disclosedContext displayName steeringDocuments session_start disclose_context
toolId workflow nodePath nodeId wf_1 user_input question pending_interaction
interaction_resolved effectiveFromMessageId sub_agent_start subSessionId subAgentName response parentSessionId
rootConversationId refusal stopDetails error displayError session_metadata key
locations path title metadata meteringUsage runStarted runError stage message
creditSplit main delegated auxiliary model_fallback from to cause promoted retry_warning capacity modelId
finalText shell write @git/log fs_write execute_bash subagent 1 2
"""
TEXT = st.text(max_size=8) | st.sampled_from(WORDS.split())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.just("2027-01-01T00:00:00Z"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@st.composite
def odd(draw: st.DrawFn, value: Any) -> Any:
    """The value, with any other at some of its places."""
    for _ in range(draw(st.integers(0, 3))):
        value = replaced(value, draw(st.sampled_from(places(value))), draw(JSON))
    return value


@st.composite
def harmed(draw: st.DrawFn, data: bytes) -> bytes:
    """The bytes, some of them changed, cut, or put in between."""
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        what = draw(st.sampled_from(["change", "cut", "insert", "drop"]))
        more = draw(st.binary(max_size=9))
        if what == "cut":
            data = data[:at]
        elif what == "drop":
            data = data[:at] + data[at + draw(st.integers(1, 200)) :]
        else:
            data = data[:at] + more + data[at + (len(more) if what == "change" else 0) :]
    return data


@st.composite
def jsonl(draw: st.DrawFn, records: list[Any]) -> bytes:
    lines = [json.dumps(draw(odd(record))).encode() for record in records]
    for _ in range(draw(st.integers(0, 2))):
        lines.insert(
            draw(st.integers(0, len(lines))), draw(st.binary(max_size=20) | JSON.map(json.dumps).map(str.encode))
        )
    data = draw(st.sampled_from([b"\n", b"\r\n"])).join(lines)
    return draw(harmed(data)) if draw(st.booleans()) else data


ENDS = st.sampled_from(["good", "bad", "none", "absent"])


def proven(transcript: Transcript | None) -> bool:
    repr(transcript)
    # Whatever stands there: no sum is negative, infinite or absurd, and what has one says where it stands.
    assert transcript is None or transcript.credits is None or 0 <= transcript.credits < 1e8
    assert transcript is None or (transcript.credits is None) == (transcript.credits_source == "")
    return transcript is not None and transcript.finished and transcript.end_reason == "UserTurnEnd"


# -- V2


def v2_records(turn: int, *, answered: bool = True) -> list[Any]:
    def record(kind: str, key: str, *parts: tuple[str, Any], **more: Any) -> dict[str, Any]:
        content = [{"kind": what, "data": data} for what, data in parts]
        return {"version": "v1", "kind": kind, "data": {"message_id": f"m{turn}{key}", "content": content, **more}}

    use = {"toolUseId": f"{turn}", "name": "shell", "input": {"command": "ls"}}
    done = {"exit_status": "exit status: 0", "stdout": "o", "stderr": ""}
    came = {"toolUseId": f"{turn}", "status": "success", "content": [{"kind": "json", "data": done}]}
    result = {f"{turn}": {"tool": {}, "result": {"Success": {"items": [{"Json": done}]}}}}
    asked = [record("Prompt", "p", ("text", "p"), meta={"timestamp": 1798761600})]
    if not answered:
        return asked
    return [
        *asked,
        record("AssistantMessage", "a", ("text", "I look."), ("toolUse", use)),
        record("ToolResults", "r", ("toolResult", came), results=result),
        record("AssistantMessage", "b", ("text", "Done.")),
    ]


def v2_broken(turn: int) -> list[Any]:
    """A turn with a note in place of arguments, in a second answer in a row, and a call without a result."""
    first, *rest = v2_records(turn)[1:]
    note = {"key": "SYSTEM NOTE: the actual tool use arguments were too complicated to be generated"}
    use = {"kind": "toolUse", "data": {"toolUseId": "lost", "name": "write", "input": note}}
    second = {"kind": "AssistantMessage", "data": {"message_id": f"m{turn}n", "content": [use]}}
    return [*v2_records(turn)[:1], first, second, *rest]


def v2_end(turn: int, good: bool) -> dict[str, Any]:
    return {
        "result": {"Ok": {"role": "assistant"}} if good else {"Err": "Throttled"},
        "end_reason": "UserTurnEnd" if good else "Error",
        "message_ids": [f"m{turn}p", f"m{turn}b"],
        "turn_duration": {"secs": 1, "nanos": 5},
        "metering_usage": [{"value": 0.5, "unit": "credit"}],
    }


@st.composite
def v2_stores(draw: st.DrawFn) -> tuple[dict[str, bytes], str, int]:
    """A store, how our turn ended in it, and how many there were before."""
    end, before = draw(ENDS), draw(st.integers(0, 2))
    told = draw(st.booleans())
    records = [record for turn in range(before) for record in v2_records(turn)]
    ends = [v2_end(turn, good=True) for turn in range(before)]
    if end != "absent":
        broken = draw(st.booleans())
        records += v2_broken(before) if broken else v2_records(before, answered=draw(st.booleans()))
    if end in ("good", "bad"):
        ends.append(v2_end(before, end == "good"))
    if not told:
        ends = [{key: value for key, value in each.items() if key != "message_ids"} for each in ends]
    files = {}
    for name in ["s1", *draw(st.lists(st.sampled_from(["k1", "n1"]), max_size=2, unique=True))]:
        at = "2027-01-01T00:00:00Z" if name == "s1" else "2027-01-01T00:00:01Z"
        state = {
            "conversation_metadata": {"user_turn_metadatas": ends if name == "s1" else [v2_end(0, good=True)][:before]}
        }
        sidecar = {"session_id": name, "cwd": "/w", "created_at": at, "updated_at": at, "session_state": state}
        log = records
        if name == "k1":  # a sub-agent that ended well
            sidecar, log = {**sidecar, "parent_session_id": "s1"}, v2_records(7)
        if name == "n1":  # in which ours may go on
            log = [{"version": "v1", "kind": "Compaction", "data": {}}, *v2_records(8)[1:]]
        files[f"/s/{name}.json"] = json.dumps(draw(odd(sidecar))).encode()
        files[f"/s/{name}.jsonl"] = draw(jsonl(log))
        if draw(st.integers(0, 9)) == 0:
            files[f"/s/{name}.json"] = draw(harmed(files[f"/s/{name}.json"]))
    return files, end, before


@fuzz
@given(v2_stores(), st.sampled_from(["s1", None]), st.sampled_from(["p", None]))
def test_v2(store: tuple[dict[str, bytes], str, int], session_id: str | None, prompt: str | None) -> None:
    files, end, before = store
    if session_id is None:  # then it is its first turn
        before = 0 if end == "good" else before
    transcript = sessions.read(files, cwd="/w", session_id=session_id, prompt=prompt, prompts=before, turns=before)
    assert not proven(transcript) or end == "good"


# -- V3


def v3_turn(turn: int, end: str) -> list[Any]:
    def record(kind: str, **payload: Any) -> dict[str, Any]:
        at = f"2027-01-01T00:0{turn}:00.000Z"
        return {"id": f"m{turn}{kind}", "timestamp": at, "payload": {"type": kind, **payload}}

    e = f"e{turn}"
    started = [
        record("user", content="p", source="chat"),
        record("turn_start", executionId=e),
        record("assistant", content="I look.", operationType="Say", executionId=e),
        record("tool_call", toolCallId=f"{turn}", toolName="execute_bash", args={"command": "ls"}, status="approved"),
        record("tool_result", toolCallId=f"{turn}", content="Output:\no\n\nExit Code: 0", success=True, durationMs=5),
    ]
    summary = [{"unit": "credit", "usage": 0.5}]
    used = record("usage_summary", promptTurnSummaries=summary, elapsedTime=5, status="success", executionId=e)
    billed = {"main": 0.5 * turn, "delegated": 0, "auxiliary": 0.1}
    started.insert(1, record("session_metadata", key="creditSplit", value=billed, executionId=""))
    stop = {"good": "end_turn", "bad": "cancelled"}.get(end)
    return started + ([used, record("turn_end", stopReason=stop, executionId=e)] if stop else [])


def v3_odd(draw: st.DrawFn, turn: int) -> list[Any]:
    """What may stand in a turn beside messages and calls."""
    kinds: list[dict[str, Any]] = [
        {"type": "pending_interaction", "toolCallId": f"{turn}", "question": "Which?", "options": []},
        {"type": "interaction_resolved", "toolCallId": f"{turn}", "outcome": "selected", "selectedOption": "accept"},
        {"type": "tombstone", "kind": "checkpoint_revert", "effectiveFromMessageId": f"m{turn}assistant"},
        {"type": "tombstone", "kind": "checkpoint_revert", "effectiveFromMessageId": "m0user"},
        {"type": "tombstone", "kind": "summarization", "effectiveFromMessageId": f"m{turn}user"},
        {"type": "tool_result", "toolCallId": f"{turn}", "content": "This tool was cancelled before it ran."},
        {"type": "tool_call", "toolCallId": "w", "toolName": "run_workflow", "args": {}},
        {"type": "tool_result", "toolCallId": "w", "content": '{"workflowId": "wf_1"}', "success": True},
        {"type": "sub_agent_start", "subSessionId": "x", "subAgentName": "helper", "prompt": "p"},
        {"type": "sub_agent_start", "subSessionId": "lost", "subAgentName": "helper"},
        {"type": "sub_agent_complete", "subSessionId": "lost", "response": "done"},
        {"type": "error", "message": "why"},
        {"type": "session_metadata", "key": "displayError", "value": "why"},
        {"type": "session_start", "agentType": "vibe", "content": "a system prompt"},
        *({"type": kind} for kind in ("system", "agent_note", "tool_revert", "mode_change", "steering_inclusion")),
    ]
    chosen = draw(st.lists(st.sampled_from(kinds), max_size=6))
    return [{"id": f"o{number}-result-synthetic", "payload": kind} for number, kind in enumerate(chosen)]


def v3_others(draw: st.DrawFn) -> dict[str, bytes]:
    """Sessions beside ours: a workflow's node, and agents that name ours."""
    files = {}
    node = {"workflowId": "wf_1", "nodeId": "a", "nodePath": ["wf_1", "a"], "type": "step"}
    states: list[dict[str, Any]] = [
        {"_meta": {"kiro": {"workflow": node}}},
        {"parentSessionId": "s1", "createdReason": "subagent"},
        {"rootConversationId": "s1", "agentMode": "peer"},
        {"parentSessionId": "s1", "createdReason": "rewind"},
    ]
    for number in draw(st.lists(st.integers(0, 3), max_size=3, unique=True)):
        at = {"workspacePaths": ["/w"], "createdAt": "2027-01-01T00:02:30Z", "lastModifiedAt": "2028"}
        files[f"/s/h/a{number}/session.json"] = json.dumps(draw(odd({**at, **states[number]}))).encode()
        # Its own prompt stays: without one it could be where ours goes on.
        prompt, *rest = v3_turn(7 + number, "good")
        files[f"/s/h/a{number}/messages.jsonl"] = b"\n".join(
            json.dumps(record).encode() for record in [prompt, *(draw(odd(record)) for record in rest)]
        )
    return files


@st.composite
def v3_stores(draw: st.DrawFn) -> tuple[dict[str, bytes], str, int]:
    end, before = draw(ENDS), draw(st.integers(0, 2))
    records = [record for turn in range(before) for record in v3_turn(turn, "good")]
    if end != "absent":
        ours = v3_turn(before, end)
        at = draw(st.integers(2, len(ours)))
        records += [*ours[:at], *v3_odd(draw, before), *ours[at:]]
    state = {
        "workspacePaths": ["/w"],
        "createdAt": "2027-01-01T00:00:00Z",
        "lastModifiedAt": "2027",
        "agentMode": "vibe",
    }
    files = {
        "/s/h/s1/session.json": json.dumps(draw(odd(state))).encode(),
        "/s/h/s1/messages.jsonl": draw(jsonl(records)),
    }
    if draw(st.booleans()):
        files["/s/h/s1/sub-executions/x.jsonl"] = draw(jsonl(v3_turn(7, "good")))
        files["/s/h/s1/tool-outputs/0.txt"] = draw(st.binary(max_size=20))
        files["/s/h/s2/session.json"] = json.dumps(draw(odd({**state, "parentSessionId": "s1"}))).encode()
        files["/s/h/s2/messages.jsonl"] = draw(jsonl(v3_turn(8, "good")))
    return {**files, **v3_others(draw)}, end, before


@fuzz
@given(v3_stores(), st.sampled_from(["s1", None]), st.sampled_from(["p", None]), st.none() | st.decimals(0, 99))
def test_v3(
    store: tuple[dict[str, bytes], str, int], session_id: str | None, prompt: str | None, counted: Decimal | None
) -> None:
    files, end, before = store
    given = {"session_id": session_id, "prompt": prompt, "prompts": before, "turns": before, "counted": counted}
    # Without an id, another session of the folder may be taken for ours.
    others = session_id is None and len({path.split("/")[3] for path in files}) > 1
    assert not proven(sessions.read(files, engine="v3", cwd="/w", **given)) or end == "good" or others


# -- V1


def v1_turn(turn: int, end: str) -> list[Any]:
    use = {"id": f"{turn}", "name": "execute_bash", "args": {"command": "ls"}}
    done = {"exit_status": "0", "stdout": "o", "stderr": ""}
    result = {"tool_use_id": f"{turn}", "content": [{"Json": done}], "status": "Success"}
    metadata = {
        "request_id": f"r{turn}",
        "request_start_timestamp_ms": 5,
        "stream_end_timestamp_ms": 9,
        "model_id": "m",
    }
    asked = {
        "user": {"content": {"Prompt": {"prompt": "p"}}},
        "assistant": {"ToolUse": {"content": "", "tool_uses": [use]}},
    }
    answered = {"user": {"content": {"ToolUseResults": {"tool_use_results": [result]}}}}
    answered["assistant"] = {"Response": {"content": "Done."}} if end == "good" else asked["assistant"]
    entries = [{**asked, "request_metadata": metadata}, {**answered, "request_metadata": metadata}]
    return entries if end in ("good", "bad") else entries[:1]


@st.composite
def v1_values(draw: st.DrawFn) -> tuple[Any, str, int]:
    end, before = draw(ENDS), draw(st.integers(0, 2))
    history = [entry for turn in range(before) for entry in v1_turn(turn, "good")]
    history += [] if end == "absent" else v1_turn(before, end)
    if draw(st.booleans()):
        history = [[entry["user"], entry["assistant"]] for entry in history]
    metered = {"usage_info": [{"value": 0.5, "unit": "credit"}], "requests": [{"request_id": f"r{before}"}]}
    value = {"conversation_id": "c1", "history": history, "user_turn_metadata": metered}
    return draw(odd(value)), end, before


def v1_database(value: str, table: str = "conversations_v2") -> bytes:
    with closing(sqlite3.connect(":memory:")) as connection:
        if table == "conversations":
            connection.execute("CREATE TABLE conversations (key TEXT, value TEXT)")
            connection.execute("INSERT INTO conversations VALUES ('/w', ?)", (value,))
        else:
            connection.execute(
                "CREATE TABLE conversations_v2"
                " (key TEXT, conversation_id TEXT, value TEXT, created_at INTEGER, updated_at INTEGER)"
            )
            connection.execute("INSERT INTO conversations_v2 VALUES ('/w', 'c1', ?, 1, 2)", (value,))
        connection.commit()
        return bytes(connection.serialize())


def v1_read(files: Mapping[str, bytes], **options: Any) -> Transcript | None:
    named = {f"/d/data.sqlite3{ending}": data for ending, data in files.items()}
    return sessions.read(named, engine="v1", cwd="/w", **options)


@fuzz
@given(st.data(), v1_values(), st.sampled_from(["conversations_v2", "conversations"]), st.sampled_from(["c1", None]))
def test_v1(data: st.DataObject, told: tuple[Any, str, int], table: str, session_id: str | None) -> None:
    value, end, before = told
    text = json.dumps(value)
    database = v1_database(text if data.draw(st.booleans()) else text[: data.draw(st.integers(0, len(text)))], table)
    if data.draw(st.booleans()):
        database = data.draw(harmed(database))
    wal = data.draw(st.just(b"") | st.binary(max_size=80))
    transcript = v1_read({"": database, "-wal": wal}, session_id=session_id, prompt="p", prompts=before, turns=before)
    assert not proven(transcript) or end == "good"


@cache
def v1_log() -> tuple[bytes, bytes]:
    """A database, and a log in which an unfinished turn is committed and a finished one is not."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder, closing(sqlite3.connect(f"{folder}/d")) as connection:
        connection.executescript("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; PRAGMA page_size = 512;")
        connection.execute("CREATE TABLE conversations_v2 (key, conversation_id, value, created_at, updated_at)")
        for end in ("none", "bad", "good"):
            text = json.dumps({"history": v1_turn(0, end)})
            connection.execute("DELETE FROM conversations_v2")
            connection.execute("INSERT INTO conversations_v2 VALUES ('/w', 'c1', ?, 1, 2)", (text,))
            connection.commit()
        database, wal = Path(f"{folder}/d").read_bytes(), bytearray(Path(f"{folder}/d-wal").read_bytes())
    size = int.from_bytes(wal[8:12], "big")
    at = len(wal) - 24 - size
    wal[at + 4 : at + 8] = bytes(4)  # the last frame no longer ends a transaction; its checksum is made right again
    order = sqlite._MAGIC[int.from_bytes(wal[:4], "big")]
    before = (
        int.from_bytes(wal[at - size - 8 : at - size - 4], "big"),
        int.from_bytes(wal[at - size - 4 : at - size], "big"),
    )
    sums = sqlite._checksum(bytes(wal[at : at + 8]), before, order)
    sums = sqlite._checksum(bytes(wal[at + 24 :]), sums, order)
    wal[at + 16 : at + 24] = b"".join(part.to_bytes(4, "big") for part in sums)
    return database, bytes(wal)


def test_the_log_that_is_fuzzed_is_a_good_one() -> None:
    database, wal = v1_log()
    transcript = v1_read({"": database, "-wal": wal})
    assert transcript is not None
    assert (transcript.end_reason, len(transcript.tool_calls), transcript.warnings) == (None, 1, ())
    assert transcript.tool_calls[0].status == "unfinished"


@fuzz
@given(st.data())
def test_v1_log(data: st.DataObject) -> None:
    database, wal = v1_log()
    transcript = v1_read({"": database, "-wal": data.draw(harmed(wal))})
    assert not proven(transcript)


@fuzz
@given(st.binary(max_size=300), st.binary(max_size=300), st.sampled_from(["v1", "v2", "v3"]))
def test_any_bytes_in_any_store(one: bytes, two: bytes, engine: str) -> None:
    names = ("/d/data.sqlite3", "/d/data.sqlite3-wal", "/s/h/s1/session.json", "/s/h/s1/messages.jsonl")
    files = dict.fromkeys([*names[::2], "/s/s1.json"], one) | dict.fromkeys([*names[1::2], "/s/s1.jsonl"], two)
    for session_id in (None, "s1"):
        assert not proven(sessions.read(files, engine=engine, cwd="/w", session_id=session_id))


# -- the event stream


def update(what: str, session: str = "s1", /, **content: Any) -> dict[str, Any]:
    return {"type": "sessionUpdate", "data": {"sessionId": session, "update": {"sessionUpdate": what, **content}}}


NODE = {"kiro": {"workflow": {"workflowId": "wf_1", "nodePath": ["wf_1", "a"], "nodeId": "a"}}}
EVENTS = [
    {"type": "runStarted", "data": {"engine": "v2"}},
    {"type": "metadata", "data": {"sessionId": "s1", "meteringUsage": [{"value": 0.5, "unit": "credit"}]}},
    update("agent_message_chunk", content={"type": "text", "text": "a"}),
    update("agent_message_chunk", "s2", content={"type": "text", "text": "b"}),
    update("agent_thought_chunk", content={"type": "text", "text": "c"}),
    update("tool_call", toolCallId="1", title="t", kind="execute", rawInput={"command": "ls"}, _meta={"kiro": {}}),
    update("tool_call", "s2", toolCallId="2", kind="read", locations=[{"path": "a"}]),
    update("tool_call_update", toolCallId="1", status="in_progress", content=[{"content": {"text": "x"}}]),
    update("tool_call_update", toolCallId="1", status="completed", rawOutput={"items": [{"Text": "x"}]}),
    update("tool_call_update", toolCallId="2", status="failed", rawOutput={"items": [{"Json": {"isError": True}}]}),
    update("tool_call", toolCallId="3", title="Run Workflow", kind="other"),
    update("tool_call", "s3", toolCallId="1", title="Send Message", kind="other", _meta=NODE),
    update("tool_call_update", "s3", toolCallId="1", status="completed", rawOutput="ok"),
    update("tool_call", "s2", toolCallId="1", title="Sub-agent: a", _meta={"kiro": {"agentSubtaskId": "x"}}),
    update("tool_call", "s2", toolCallId="4", kind="edit", _meta={"kiro": {"subExecutionId": "x"}}),
    update("tool_call", toolCallId="5", title="Which one?", kind="other", _meta={"kiro": {"toolId": "user_input"}}),
    update("tool_call", toolCallId="6", title="Review changes", kind="other"),
    update("tool_call", title="of no id"),
    update("session_info_update", _meta={"kiro": {"promptTurnSummaries": [{"usage": 1, "unit": "credit"}]}}),
    update("model_fallback", cause="unavailable", source="user", promoted=False, to="two", **{"from": "one"}),
    update("model_fallback", "s2", cause="refused", source=None, promoted=True, to=None, **{"from": "two"}),
    update("retry_warning", attempt=2, maxAttempts=3, delaySecs=3.0, message="why", capacity=True, modelId="one"),
    {"type": "runError", "data": {"sessionId": None, "stage": "prompt", "message": "why"}},
    {"type": "runFinished", "data": {"sessionId": "s1", "status": "cancelled", "stopReason": "cancelled"}},
]
GOOD = {
    "type": "runFinished",
    "data": {"sessionId": "s1", "status": "success", "stopReason": "end_turn", "finalText": "ab"},
}


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, bool]:
    """A stream, and whether a record of a good end is in it."""
    records = draw(st.lists(st.sampled_from(EVENTS), max_size=12))
    good = draw(st.booleans())
    if good:
        records.insert(draw(st.integers(0, len(records))), GOOD)
    return draw(jsonl(records)), good


def cut(draw: Callable[[Any], Any], data: Any) -> list[Any]:
    points = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    return [data[start:end] for start, end in zip([0, *points], [*points, len(data)], strict=True)]


@fuzz
@given(st.data(), streams() | st.binary(max_size=200).map(lambda data: (data, False)), st.sampled_from([20, 10**6]))
def test_events(data: st.DataObject, told: tuple[bytes, bool], limit: int) -> None:
    stream, good = told
    whole = EventReader(limit=limit)
    events = whole.events(stream, final=True)
    parts = EventReader(limit=limit)
    pieces = [event for part in cut(data.draw, stream) for event in parts.events(part)] + parts.events(b"", final=True)
    assert repr(pieces) == repr(events), "wherever it is cut"
    assert repr(parts.transcript()) == repr(whole.transcript())
    assert all(isinstance(shown(event), str) for event in events)
    told_error = any(event.kind == "error" for event in events)
    assert not proven(whole.transcript()) or (good and not told_error)


# -- the text layouts

FRAGMENTS = st.sampled_from(
    [
        "I will run the following command: ",
        "I will run the following shell command: ",
        "I'll create the following file: /w/a",
        "Reading file: /w/a, all lines",
        " (using tool: shell)",
        " (using tool: read, max depth: 1)",
        "(using tool: ",
        " (in /w)",
        " - Completed in 0.4s",
        " - Execution failed after 1s:",
        "Tool validation failed:",
        "Command execute_bash is rejected because it matches one or more rules on the denied list:",
        "🛠️  Using tool: execute_bash (trusted) from mcp server git",
        " ▸ Credits: 0.06 • Time: 1m 11s",
        "\n ▸ Credits: 0.06 • Time: 4s\n",
        "▸ Credits: ",
        "Resume with: x",
        "[tool] ",
        "[tool] Running: @git/log",
        "[tool] Searching for 'a' in b",
        "[tool] Reading a:1",
        "[tool] status: Completed",
        "[denied] no",
        "> ",
        "\n",
        "\n",
        "\r",
        " ",
        "x" * 100,
    ]
)


@fuzz
@given(
    st.data(), st.lists(FRAGMENTS | st.text(max_size=6), max_size=25).map("".join), st.sampled_from(["v1", "v2", "v3"])
)
def test_layouts(data: st.DataObject, text: str, engine: str) -> None:
    whole: list[Event] = Layout(engine).events(text, final=True)
    layout = Layout(engine)
    assert [event for part in cut(data.draw, text) for event in layout.events(part)] + layout.events(
        "", final=True
    ) == whole
    ended = [event for event in whole if event.kind == "finished"]
    cost = credits(text)
    assert [event.credits for event in ended] == ([cost] if cost is not None and engine == "v1" else [])
    if cost is not None:
        lines = [line for line in text.split("\n") if line.strip()]
        last = lines[-1] if "Credits" in lines[-1] else lines[-2]
        assert last.lstrip().startswith("▸ Credits: 0.06 • Time: "), "it is the last thing that is said"


@pytest.mark.parametrize("engine", ["v1", "v2"])
@fuzz
@given(st.text(), st.text())
def test_any_text(engine: str, one: str, two: str) -> None:
    layout = Layout(engine)
    layout.events(one)
    layout.events(two, final=True)
    credits(one)


def test_many_examples() -> None:
    """All of the above, at length."""
    command = [sys.executable, "-m", "pytest", __file__, "-q", "-p", "no:cacheprovider", "-k", "not many_examples"]
    done = subprocess.run(command, env={**os.environ, "KIRO_FUZZ": "500"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
