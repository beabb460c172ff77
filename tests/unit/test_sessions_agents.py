"""V2: what sub-agents called is under the call that started them, and a turn is followed into its next session."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_kiro.kirocli import sessions
from pytest_kiro.kirocli.sessions.agents import Child, Parent, fold
from pytest_kiro.turn.transcript import ToolCall, Transcript

STORE = "/home/me/.kiro/sessions/cli"
OK = {"Ok": {"id": "x", "role": "assistant", "content": []}}


STRAY = "a sub-agent that no tool call of this turn has started"


def record(kind: str, message_id: str, *content: tuple[str, Any], **more: Any) -> dict[str, Any]:
    parts = [{"kind": what, "data": data} for what, data in content]
    return {"version": "v1", "kind": kind, "data": {"message_id": message_id, "content": parts, **more}}


def prompt(text: str, message_id: str = "p", second: int = 0) -> dict[str, Any]:
    return record("Prompt", message_id, ("text", text), meta={"timestamp": 1798761600 + second})  # 2027-01-01


def use(key: str, name: str, **arguments: Any) -> dict[str, Any]:
    return record("AssistantMessage", f"a{key}", ("toolUse", {"toolUseId": key, "name": name, "input": arguments}))


def answer(key: str, text: str = "ok") -> dict[str, Any]:
    data = {"toolUseId": key, "content": [{"kind": "text", "data": text}], "status": "success"}
    return record("ToolResults", f"r{key}", ("toolResult", data), results={})


def say(text: str, message_id: str) -> dict[str, Any]:
    return record("AssistantMessage", message_id, ("text", text))


COMPACTION = {"version": "v1", "kind": "Compaction", "data": {"summary": "so far", "messages_snapshot": []}}


def end(*message_ids: str, reason: str = "UserTurnEnd", result: Any = OK, credits: float = 0.5) -> dict[str, Any]:
    metered = [{"value": credits, "unit": "credit"}]
    took = {"secs": 1, "nanos": 0}
    known = {"message_ids": list(message_ids)} if message_ids else {}
    return {"result": result, "end_reason": reason, "metering_usage": metered, "turn_duration": took, **known}


def session(
    name: str, *records: Any, ends: Any = (), second: int = 0, cwd: str = "/w", **more: Any
) -> dict[str, bytes]:
    at = f"2027-01-01T00:00:{second:02}Z"
    state = {"conversation_metadata": {"user_turn_metadatas": list(ends)}, "agent_name": "an-agent"}
    sidecar = {"session_id": name, "cwd": cwd, "created_at": at, "updated_at": at, "session_state": state, **more}
    log = "\n".join(map(json.dumps, records))
    return {f"{STORE}/{name}.json": json.dumps(sidecar).encode(), f"{STORE}/{name}.jsonl": log.encode()}


def child(name: str, text: str, *keys: str, parent: str = "s1", second: int = 5, **more: Any) -> dict[str, bytes]:
    calls = [each for key in keys for each in (use(key, "read", path=key), answer(key))]
    return session(name, prompt(text), *calls, second=second, parent_session_id=parent, **more)


def read(files: dict[str, bytes], **options: Any) -> Transcript:
    transcript = sessions.read(files, cwd="/w", **options)
    assert transcript is not None
    return transcript


def inner(calls: tuple[ToolCall, ...]) -> list[Any]:
    return [(call.name, inner(call.calls)) if call.calls else call.name for call in calls]


# -- whose turn has ended


def test_an_end_names_the_messages_of_its_turn() -> None:
    log = [prompt("p", "1"), say("old", "2"), prompt("p", "3"), say("new", "4")]
    assert not read(session("s1", *log, ends=[end("1", "2")])).finished, "the end is of the turn before"
    transcript = read(session("s1", *log, ends=[end("1", "2"), end("3", "4")]), prompts=1, turns=1)
    assert (transcript.finished, transcript.messages, transcript.agent) == (True, ("new",), "an-agent")
    assert read(session("s1", *log, ends=[end("1"), end("3"), end()]), prompts=1, turns=1).finished
    # A turn that was ended twice was charged twice.
    transcript = read(session("s1", *log, ends=[end("1"), end("3", credits=1.0), end("3", "4")]))
    assert (transcript.credits, transcript.duration) == (1.5, 2.0)


@pytest.mark.parametrize("reason", ["Cancelled", "ToolUseRejected", "Error", "Rewind"])
def test_a_turn_that_was_broken_off(reason: str) -> None:
    files = session("s1", prompt("p", "1"), ends=[end("1", reason=reason, result={"Err": "why"})])
    transcript = read(files)
    assert (transcript.finished, transcript.end_reason, transcript.failure) == (False, reason, "why")


def test_marks_without_data_are_known() -> None:
    marks = [{"version": "v1", "kind": kind} for kind in ("Clear", "CancelledPrompt")]
    reset = {"version": "v1", "kind": "ResetTo", "data": {"target_index": 1}}
    transcript = read(session("s1", prompt("p"), *marks, reset, COMPACTION, say("a", "1")))
    assert (transcript.messages, transcript.warnings) == (("a",), ())


def test_odd_contents_are_warnings_with_file_and_line() -> None:
    odd = [
        {"version": "v1", "kind": "AssistantMessage", "data": {"content": 1}},
        record("AssistantMessage", "1", ("toolUse", None), ("thinking", {"text": "…"}), ("text", 5)),
        record("ToolResults", "2", ("toolResult", "x"), ("toolResult", {"toolUseId": "9"})),
    ]
    transcript = read(session("s1", prompt("p"), *odd))
    assert transcript.warnings == (
        f"{STORE}/s1.jsonl:2: the content of this AssistantMessage is no list",
        f"{STORE}/s1.jsonl:3: a toolUse without data",
        f"{STORE}/s1.jsonl:4: a toolResult without data",
        f"{STORE}/s1.jsonl:4: a result of no tool call of this turn: 9",
        f"{STORE}/s1.jsonl:3: a second answer in a row; "
        "kiro-cli may refuse to resume it (invalid conversation history)",
    )


@pytest.mark.parametrize("kind", [{"serverName": "git", "toolName": "log"}, {"server_name": "git", "tool_name": "log"}])
def test_a_servers_tool_by_the_record_of_its_result(kind: dict[str, str]) -> None:
    """As the public tree writes it, and as others have read it."""
    result = answer("1")
    result["data"]["results"] = {"1": {"tool": {"kind": {"Mcp": kind}}}}
    (call,) = read(session("s1", prompt("p"), use("1", "log", path="a"), result)).tool_calls
    assert (call.name, call.raw_name, call.input) == ("@git/log", "log", {"path": "a"})


# -- a turn that goes on


def test_a_turn_goes_on_in_a_new_session() -> None:
    files = session("s1", prompt("p", "1"), say("a", "2"), use("3", "write"), answer("3"), COMPACTION)
    new = [COMPACTION, say("a", "2"), say("b", "5")]
    files |= session("s2", *new, ends=[end("1", "5")], second=1)
    for options in ({}, {"prompt": "p"}, {"session_id": "s1"}):
        transcript = read(files, **options)
        assert (transcript.session_id, transcript.messages, transcript.finished) == ("s2", ("a", "b"), True)
        assert (transcript.prompts, transcript.turns, transcript.credits) == (0, 1, 0.5)
        assert inner(transcript.tool_calls) == ["write"]
    files |= session("s2", *new, second=1) | session("s3", COMPACTION, say("c", "6"), ends=[end("6")], second=2)
    transcript = read(files, session_id="s1")
    assert (transcript.session_id, transcript.messages, transcript.finished) == ("s3", ("a", "b", "c"), True)
    after = read(
        files | session("s3", COMPACTION, say("c", "6"), prompt("q", "7"), ends=[end("6"), end("7")], second=2),
        session_id="s3",
        turns=1,
    )
    assert (after.session_id, after.messages, after.finished) == ("s3", (), True)


def test_what_a_new_session_says_of_another_turn_is_no_proof() -> None:
    files = session("s1", prompt("p", "1"), say("a", "2"))
    for ends in ([end()], [end("0")], []):
        transcript = read(files | session("s2", COMPACTION, say("b", "5"), ends=ends, second=1))
        assert (transcript.session_id, transcript.finished, transcript.end_reason) == ("s2", False, None)


@pytest.mark.parametrize(
    "other",
    [
        session("s2", COMPACTION, say("b", "5"), ends=[end("5")], second=1, cwd="/x"),
        session("s2", COMPACTION, say("b", "5"), ends=[end("5")], second=0),
        session("s2", COMPACTION, say("b", "5"), ends=[end("5")], second=1, parent_session_id="s9"),
        session("s2", prompt("p", "5"), ends=[end("5")], second=1),
        session("s2", ends=[end("5")], second=1),
    ],
)
def test_what_is_no_continuation(other: dict[str, bytes]) -> None:
    transcript = read(session("s1", prompt("p", "1"), say("a", "2")) | other, session_id="s1")
    assert (transcript.session_id, transcript.messages, transcript.finished) == ("s1", ("a",), False)


def test_the_prompt_may_be_said_again_after_a_compaction() -> None:
    files = session("s1", prompt("p", "1"), say("a", "2"), COMPACTION)
    files |= session("s2", prompt("p", "5"), say("b", "6"), ends=[end("6")], second=1)
    assert read(files, session_id="s1").messages == ("a", "b")


# -- sub-agents


def test_sub_agents_are_folded_in_by_what_they_were_asked() -> None:
    ask = {"command": "invoke_subagents", "subagents": [{"query": "Look at this."}, {"query": "Look at that."}]}
    files = session("s1", prompt("p"), use("1", "write"), answer("1"), use("2", "subagent", **ask), answer("2"))
    files |= child("k1", "Look at this.\n\nContext:\nnone", "a", "b") | child("k2", "Look at that.", "c", second=6)
    files |= child("k3", "deeper", "d", parent="k1")
    transcript = read(files)
    assert inner(transcript.tool_calls) == ["write", ("subagent", ["read", "read", "read", "read"])]
    assert {call.agent for call in transcript.tool_calls[1].calls} == {"an-agent"}
    assert transcript.agents == {}
    assert transcript.warnings == (f"{STORE}/k3.jsonl: {STRAY}; its calls are beside the others",)
    assert repr(transcript.tool_calls[1]) == "<ToolCall subagent '' completed calls=4>"


def test_a_sub_agent_of_a_sub_agent() -> None:
    files = session("s1", prompt("p"), use("1", "agent_crew", task="do all of it"), answer("1"))
    files |= session("k1", prompt("do all of it"), use("2", "use_subagent", query="do a part"), parent_session_id="s1")
    files |= child("k2", "do a part", "x", parent="k1")
    assert inner(read(files).tool_calls) == [("subagent", [("subagent", ["read"])])]


def test_parents_in_a_circle_or_very_deep() -> None:
    files = session("s1", prompt("p"), use("1", "subagent"), parent_session_id="k1") | child("k1", "q", "x")
    assert inner(read(files, session_id="s1").tool_calls) == [("subagent", ["read"])]
    for number in range(100):
        files |= session(f"d{number}", prompt("p"), use("1", "subagent"), parent_session_id=f"d{number - 1}")
    assert read(files, session_id="d0").tool_calls[0].calls


def test_before_our_turn_has_begun_no_sub_agent_is_missed() -> None:
    files = session("s1", prompt("p")) | child("k1", "q", "x")
    assert read(files, prompts=1).warnings == ()
    assert read(files).warnings != ()


def test_the_session_of_a_sub_agent_is_not_ours() -> None:
    files = session("s1", prompt("p"), use("1", "subagent")) | child("k1", "p", "x", second=9)
    assert read(files, prompt="p").session_id == "s1"
    assert read(child("k1", "p", "x"), prompt="p").session_id == "k1", "where its parent is not kept it stands alone"


# -- the evidence


def starter(key: str, told: str = "", *, ours: bool = True, until: float | None = None, **given: Any) -> Parent:
    return Parent(key, ToolCall("subagent", "subagent", given, "", "completed"), told, ours, until)


def started(name: str, text: str = "", began: float | None = None) -> Child:
    return Child(name, name, text, began, (ToolCall("read", "read", {}, name, "completed"),))


def folded(parents: list[Parent], children: list[Child], since: float | None = None) -> tuple[dict[str, str], int]:
    told = fold(parents, children, since=since)
    return {key: "".join(call.output for call in calls) for key, calls in told.calls.items()}, len(list(told.warnings))


def test_what_nobody_has_started_is_kept_where_it_is_of_this_turn() -> None:
    """And with its name, as what it said; of what is without a time nothing says whose it is."""
    ours = started("a", began=7)._replace(agent="peer", said={"peer": ("Hi.",)})
    told = fold([], [ours, started("b"), started("c", began=1)], since=5)
    assert [[call.agent for call in child.named_calls] for child in told.strays] == [["peer"]]
    assert told.said == {"peer": ("Hi.",)}
    assert list(told.warnings) == [
        f"b: {STRAY}; its calls are left out, since nothing says that it is of this turn",
        f"a: {STRAY}; its calls are beside the others",
    ]


@pytest.mark.parametrize(
    ("parents", "children", "since", "expected"),
    [
        ([starter("1"), starter("2", "id b")], [started("b")], None, ({"2": "b"}, 0)),
        (
            [starter("1", q="same text"), starter("2", q="same text")],
            [started("a", "same text")] * 2,
            None,
            ({"1": "a", "2": "a"}, 0),
        ),
        ([starter("1", until=5), starter("2", until=9)], [started("a", "", 7)], None, ({"2": "a"}, 0)),
        ([starter("1"), starter("2")], [started("a", "", 2), started("b", "", 1)], None, ({"1": "b", "2": "a"}, 0)),
        ([starter("1"), starter("2")], [started("a"), started("b"), started("c")], None, ({"1": "a", "2": "b"}, 1)),
        ([starter("1", ours=False, q="long enough")], [started("a", "long enough")], None, ({}, 0)),
        ([starter("1", ours=False), starter("2")], [started("a", "", 1)], 5, ({}, 0)),
        ([starter("1", q="short")], [started("a", "a short one"), started("b")], None, ({"1": "ab"}, 0)),
        ([], [started("a")], None, ({}, 1)),
    ],
)
def test_the_evidence(parents: list[Parent], children: list[Child], since: float | None, expected: Any) -> None:
    assert folded(parents, children, since) == expected
