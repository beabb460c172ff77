"""What a turn's records cost to read: twice as many, twice the steps; and a few warnings, whatever there is.

Steps are instructions of Python's, counted: no clock, and the same on each machine.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any

import pytest

from pytest_kiro.kirocli import sessions
from pytest_kiro.kirocli.events import EventReader
from pytest_kiro.kirocli.sessions.agents import Child, Parent, fold
from pytest_kiro.turn.transcript import ToolCall, Transcript
from pytest_kiro.turn.warnings import MOST

V2, V3 = "/h/.kiro/sessions/cli", "/h/.kiro/sessions/x/sess_1"


def steps(work: Callable[[], object]) -> int:
    """How many instructions it takes."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        count += event == "opcode"
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


# -- stores of V2


def v2_record(kind: str, key: str, *content: tuple[str, Any]) -> dict[str, Any]:
    return {
        "kind": kind,
        "data": {"message_id": key, "content": [{"kind": what, "data": data} for what, data in content]},
    }


def v2_session(name: str, *records: Any, at: int = 0, parent: str | None = None) -> dict[str, bytes]:
    state = {"cwd": "/w", "created_at": 1000.0 + at, "updated_at": f"{at:06}", "parent_session_id": parent}
    log = "\n".join(map(json.dumps, records)).encode()
    return {f"{V2}/{name}.json": json.dumps(state).encode(), f"{V2}/{name}.jsonl": log}


def asked(key: str = "p") -> dict[str, Any]:
    return v2_record("Prompt", key, ("text", "Go."))


def said(key: str) -> dict[str, Any]:
    return v2_record("AssistantMessage", key, ("text", key))


def called(key: str, name: str, **given: Any) -> dict[str, Any]:
    return v2_record("AssistantMessage", f"a{key}", ("toolUse", {"toolUseId": key, "name": name, "input": given}))


def came(key: str, number: int = 0) -> dict[str, Any]:
    data = {"toolUseId": key, "status": "success", "content": [{"kind": "text", "data": "x"}]}
    record = v2_record("ToolResults", f"r{key}.{number}", ("toolResult", data))
    return {**record, "data": {**record["data"], "results": {key: {"tool": {"kind": {"Mcp": {"server_name": "s"}}}}}}}


def continuations(count: int) -> dict[str, bytes]:
    files = v2_session("s0", asked(), said("m"))
    for number in range(1, count):
        files |= v2_session(f"s{number}", said(f"m{number}"), at=number, parent=f"s{number - 1}")
    return files


def others(count: int) -> dict[str, bytes]:
    """Sessions that might go on with the turn, and do not."""
    files = v2_session("s0", asked(), *(said(f"m{number}") for number in range(count)))
    for number in range(1, count):
        files |= v2_session(f"s{number}", asked("q"), at=number)
    return files


def sub_agents(count: int) -> dict[str, bytes]:
    files = v2_session("s0", asked(), called("c", "subagent"), came("c"))
    for number in range(count):
        files |= v2_session(f"k{number}", asked(), called("x", "read"), came("x"), at=number, parent="s0")
    return files


def answered_again(count: int) -> dict[str, bytes]:
    given = {f"argument {number}": number for number in range(count)}
    return v2_session("s0", asked(), called("c", "log", **given), *(came("c", number) for number in range(count)))


def odd_lines(count: int) -> dict[str, bytes]:
    return {**v2_session("s0", asked()), f"{V2}/s0.jsonl": json.dumps(asked()).encode() + b"\nodd" * count}


# -- stores of V3


def v3_session(*payloads: Mapping[str, Any], **more: bytes) -> dict[str, bytes]:
    records = ({"id": f"m{number}", "timestamp": 1000 + number, "payload": one} for number, one in enumerate(payloads))
    state = json.dumps({"workspacePaths": ["/w"], "createdAt": 1000})
    files = {f"{V3}/{name}": data for name, data in more.items()}
    return {
        f"{V3}/session.json": state.encode(),
        f"{V3}/messages.jsonl": "\n".join(map(json.dumps, records)).encode(),
        **files,
    }


def use(key: str, name: str, **more: Any) -> dict[str, Any]:
    return {"type": "tool_call", "toolCallId": key, "toolName": name, **more}


def result(key: str, content: str) -> dict[str, Any]:
    return {"type": "tool_result", "toolCallId": key, "content": content, "success": True}


USER, START, END = {"type": "user", "content": "Go."}, {"type": "turn_start"}, {"type": "turn_end"}


def outputs(count: int) -> dict[str, bytes]:
    """Results that are in files of their own."""
    keys = [f"c{number}" for number in range(count)]
    calls = [record for key in keys for record in (use(key, "read_file"), result(key, f"see tool-outputs/{key}.txt"))]
    return v3_session(USER, *calls, **{f"tool-outputs/{key}.txt": b"all" for key in keys})


def rewritten(count: int) -> dict[str, bytes]:
    """A call that is written again and again, of a sub-agent."""
    again = [use("c", "invoke_sub_agent", status="pending"), result("c", "see tool-outputs/c.txt")]
    files = {"tool-outputs/c.txt": b"all", "sub-executions/k.jsonl": json.dumps({"payload": USER}).encode()}
    return v3_session(USER, *again * count, **files)


def messages_within(count: int) -> dict[str, bytes]:
    return v3_session(USER, START, *[USER] * count, {"type": "assistant", "content": "Done."}, END)


def v3_sessions(count: int) -> dict[str, bytes]:
    files = v3_session(USER, START, END)
    for number in range(count):
        files |= {path.replace("sess_1", f"other_{number}"): data for path, data in v3_session(USER).items()}
    return files


def reverts(count: int) -> dict[str, bytes]:
    """Questions, and all that was said before each taken back."""
    back = {"type": "tombstone", "kind": "checkpoint_revert", "effectiveFromMessageId": "m2"}
    asked = [
        record
        for number in range(count)
        for record in (
            {"type": "assistant", "content": "x"},
            {"type": "pending_interaction", "toolCallId": f"{number}"},
            back,
        )
    ]
    return v3_session(USER, START, *asked, END)


def nodes(count: int) -> dict[str, bytes]:
    """Sessions that are the nodes of a workflow, each with a call."""
    files = v3_session(USER, use("w", "run_workflow"), result("w", "wf_1"))
    for number in range(count):
        own = v3_session(USER, use("c", "read_file"), result("c", "x"))
        state = json.dumps(
            {
                "workspacePaths": ["/w"],
                "createdAt": 2000 + number,
                "_meta": {"kiro": {"workflow": {"nodeId": f"n{number}"}}},
            }
        )
        files |= {path.replace("sess_1", f"node_{number}"): data for path, data in own.items()}
        files[f"{V3}/session.json".replace("sess_1", f"node_{number}")] = state.encode()
    return files


def told_only(count: int) -> dict[str, bytes]:
    """Sub-agents of which only their parent tells."""
    begun = ({"type": "sub_agent_start", "subSessionId": f"x{number}", "prompt": "Go."} for number in range(count))
    return v3_session(USER, use("c", "invoke_sub_agent"), *begun, END)


def broken(count: int) -> dict[str, bytes]:
    """Answers in a row, each with a call without a result."""
    return v2_session("s0", asked(), *(called(f"c{number}", "read") for number in range(count)))


#: Each with how many there are once: what costs much by itself needs more.
STORES: Sequence[tuple[str, Callable[[int], dict[str, bytes]], int]] = (
    ("v2", continuations, 200),
    ("v2", others, 200),
    ("v2", sub_agents, 40),
    ("v2", answered_again, 40),
    ("v2", odd_lines, 40),
    ("v3", outputs, 40),
    ("v3", rewritten, 40),
    ("v3", messages_within, 40),
    ("v3", v3_sessions, 40),
    ("v3", reverts, 40),
    ("v3", nodes, 40),
    ("v3", told_only, 40),
    ("v2", broken, 40),
)


def read(engine: str, files: Mapping[str, bytes]) -> Transcript:
    transcript = sessions.read(files, engine=engine, cwd="/w", session_id="s0" if engine == "v2" else "sess_1")
    assert transcript is not None
    return transcript


def ratio(work: Callable[[int], Callable[[], object]], size: int = 40) -> float:
    """What twice as much costs over once; what it costs in any case has no part in it."""
    none, once, twice = (steps(work(2 + count)) for count in (0, size, 2 * size))
    return (twice - none) / (once - none)


@pytest.mark.parametrize(("engine", "store", "size"), STORES, ids=lambda value: getattr(value, "__name__", value))
def test_a_store_costs_what_it_has(engine: str, store: Callable[[int], dict[str, bytes]], size: int) -> None:
    def work(count: int) -> Callable[[], object]:
        files = store(count)
        return lambda: read(engine, files)

    assert 1.8 < ratio(work, size) < 2.2


def test_what_the_stores_say() -> None:
    """They are what they are called, or their cost would say nothing."""
    assert read("v2", continuations(9)).session_id == "s8"
    assert read("v2", others(9)).session_id == "s0"
    assert len(read("v2", sub_agents(9)).tool_calls[0].calls) == 9
    assert read("v2", answered_again(9)).tool_calls[0].name == "@s/log"
    assert {call.output for call in read("v3", outputs(9)).tool_calls} == {"all"}
    (call,) = read("v3", rewritten(9)).tool_calls
    assert (call.name, call.output) == ("subagent", "all")
    assert read("v3", messages_within(9)).prompts == 1
    assert (read("v3", reverts(9)).messages, len(read("v3", reverts(9)).warnings)) == ((), 1)
    assert {inner.agent for inner in read("v3", nodes(9)).tool_calls[0].calls} == {f"n{number}" for number in range(9)}
    assert len(read("v3", told_only(9)).warnings) == 9
    assert len(read("v2", broken(9)).warnings) == 16


# -- streams


def event(session: str) -> bytes:
    update = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "x"}}
    return json.dumps({"type": "sessionUpdate", "data": {"sessionId": session, "update": update}}).encode() + b"\n"


def call_of(name: str) -> bytes:
    """An agent starts one more, in a session of its own."""
    update = {"sessionUpdate": "tool_call", "toolCallId": "1", "title": "Sub-agent: a", "kind": "other"}
    return json.dumps({"type": "sessionUpdate", "data": {"sessionId": name, "update": update}}).encode() + b"\n"


@pytest.mark.parametrize(
    "line", [event, call_of, lambda name: event("s"), lambda name: b"a stray one\n", lambda name: b"{"]
)
def test_a_stream_costs_what_it_has(line: Callable[[str], bytes]) -> None:
    def work(count: int) -> Callable[[], object]:
        def stream() -> None:
            reader = EventReader()
            for number in range(count):
                reader.events(line(f"s{number}"))
            reader.transcript()

        return stream

    assert 1.8 < ratio(work) < 2.2


# -- warnings


def test_of_many_warnings_a_few_and_a_count() -> None:
    *kept, last = read("v2", odd_lines(1000)).warnings
    assert (len(kept), last) == (MOST, f"and {1000 - MOST} more warnings")
    assert kept[0].startswith(f"{V2}/s0.jsonl:2: not a record that is known")


# -- sub-agents, each of which may be compared with each call


def starters(count: int, told: str = "", **given: Any) -> list[Parent]:
    return [Parent(f"c{number}", ToolCall("subagent", "", given, "", "completed"), told) for number in range(count)]


def children(count: int, prompt: str = "") -> list[Child]:
    return [Child(f"k{number}", f"k{number}", prompt, number, ()) for number in range(count)]


@pytest.mark.parametrize(("calls", "agents"), [(1, 501), (501, 1)])
def test_only_so_many_sub_agents_are_looked_at(calls: int, agents: int) -> None:
    warning, *_ = fold(starters(calls), children(agents), since=None).warnings
    assert warning.endswith("only 500 of each are looked at")
    folded = fold(starters(1), children(500), since=None)
    assert (len(folded.taken["c0"]), list(folded.warnings)) == (500, [])


class Text(str):
    """Counts the characters that are searched."""

    searched = 0

    def __contains__(self, part: object) -> bool:
        Text.searched += len(self)
        return super().__contains__(part)  # type: ignore[operator] # a str, as str has it


def test_of_what_sub_agents_say_only_so_much_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    size = 1024 * 1024
    monkeypatch.setattr(Text, "searched", 0)
    told = Text(" " * size)
    parents = [parent._replace(told=told) for parent in starters(10)]
    folded = fold(parents, children(500, "p"), since=None)
    assert "too large to be compared" in next(iter(folded.warnings))
    # 64 MiB in any case, and 16 times what there is; all with all would be 5,000 MiB.
    assert Text.searched <= (64 + 16 * 10 + 1) * size
