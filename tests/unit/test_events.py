"""The event stream, wherever it is cut: what is told live, and the turn that it comes to."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from pytest_kiro.kirocli.events import Event, EventReader, shown
from pytest_kiro.turn.transcript import ToolCall, Transcript


def line(what: str, /, **data: Any) -> bytes:
    return json.dumps({"type": what, "data": data}).encode() + b"\n"


def update(what: str, session: str = "s1", /, **content: Any) -> bytes:
    return line("sessionUpdate", sessionId=session, update={"sessionUpdate": what, **content})


def chunk(text: str, session: str = "s1", **more: Any) -> bytes:
    return update("agent_message_chunk", session, content={"type": "text", "text": text}, **more)


def called(key: str, name: str | None = "shell", session: str = "s1", **more: Any) -> bytes:
    kiro = {"kiro": {"toolName": name, **more.pop("kiro", {})}}
    return update("tool_call", session, toolCallId=key, title=f"Title {key}", _meta=kiro, **more)


def ended(key: str, *items: Any, status: str = "completed", session: str = "s1", **more: Any) -> bytes:
    return update("tool_call_update", session, toolCallId=key, status=status, rawOutput={"items": list(items)}, **more)


def shell(code: int, out: str = "", err: str = "") -> dict[str, Any]:
    return {"Json": {"exit_status": f"exit status: {code}", "stdout": out, "stderr": err}}


def finished(text: str = "", session: Any = "s1", **more: Any) -> bytes:
    data = {"status": "success", "stopReason": "end_turn", "finalText": text, "finalTextTruncated": False, **more}
    return line("runFinished", sessionId=session, **data)


def events(*parts: bytes) -> list[Event]:
    return EventReader().events(b"".join(parts), final=True)


def turn(*parts: bytes) -> Transcript:
    reader = EventReader()
    reader.events(b"".join(parts), final=True)
    transcript = reader.transcript()
    assert transcript is not None
    return transcript


STRAY = "no tool call of this turn has started this agent, so its calls stand beside the others"
STARTED = line("runStarted", payloadSchema="acp", acpProtocolVersion=1, engine="v2")
V2 = [
    STARTED,
    line("metadata", sessionId="s1", contextUsagePercentage=1.5),
    update("agent_thought_chunk", content={"type": "text", "text": "hm"}),
    chunk("I l"),
    chunk("ook."),
    called("1", kind="execute", rawInput={"command": "ls", "__tool_use_purpose": "why"}),
    update(
        "tool_call_update",
        toolCallId="1",
        status="in_progress",
        content=[{"type": "content", "content": {"type": "text", "text": "par"}}],
    ),
    ended("1", shell(2, "o", "e")),
    ended("1", shell(2, "o", "e")),
    called("2", "log", kind="other", rawInput={}, kiro={"mcpServerName": "git"}),
    ended("2", {"Json": {"isError": True, "content": [{"type": "text", "text": "no"}]}}),
    chunk("Done."),
    line("metadata", sessionId="s1", meteringUsage=[{"value": 0.25, "unit": "credit"}], turnDurationMs=1500),
    line(
        "metadata", sessionId="s1", meteringUsage=[{"value": 0.25, "unit": "credit"}, {"value": 0.5, "unit": "credit"}]
    ),
    finished("I look.Done."),
]
WHOLE = Transcript(
    "s1",
    messages=("I look.", "Done."),
    tool_calls=(
        ToolCall("shell", "shell", {"command": "ls"}, "oe", "completed", exit_code=2),
        ToolCall("@git/log", "log", {}, "no", "failed"),
    ),
    finished=True,
    end_reason="UserTurnEnd",
    credits=0.75,
    credits_source="stream",
    duration=1.5,
    proof="runFinished",
)


def test_a_whole_turn() -> None:
    assert turn(*V2) == WHOLE
    assert turn(*V2).warnings == ()
    told = [(event.kind, event.text) for event in events(*V2)]
    assert told == [
        ("other", ""),
        ("other", ""),
        ("thought", "hm"),
        ("text", "I l"),
        ("text", "ook."),
        ("tool_call", "Title 1"),
        ("other", ""),
        ("tool_result", "oe"),
        ("other", ""),
        ("tool_call", "Title 2"),
        ("tool_result", "no"),
        ("text", "Done."),
        ("other", ""),
        ("other", ""),
        ("finished", ""),
    ]
    calls = [event.call.status for event in events(*V2) if event.call]
    assert calls == ["unfinished", "completed", "unfinished", "failed"]
    assert all(event.data["type"] for event in events(*V2))


@pytest.mark.parametrize("size", [1, 2, 7, 100])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r\r\n"])
def test_lines_may_be_cut_anywhere_and_end_as_a_terminal_ends_them(size: int, end: bytes) -> None:
    data = b"".join(V2).replace(b"\n", end)
    reader = EventReader()
    told = [event for at in range(0, len(data), size) for event in reader.events(data[at : at + size])]
    assert told == events(*V2)
    assert reader.transcript() == WHOLE


def test_the_last_line_may_have_no_end() -> None:
    reader = EventReader()
    assert [event.kind for event in reader.events(finished().rstrip())] == []
    assert [event.kind for event in reader.events(b"", final=True)] == ["finished"]
    assert reader.events(b"", final=True) == []


def test_nothing_of_kiros_is_no_transcript() -> None:
    reader = EventReader()
    told = reader.events(b'hello\n\n  \n{"type": "system", "data": {}}\n{"a": 1}\n[1]\n{"type": 5, "data": {}}\n')
    assert reader.transcript() is None
    assert tuple(event.text for event in told if event.kind == "stray") == (
        "hello",
        '{"a": 1}',
        "[1]",
        '{"type": 5, "data": {}}',
    )


def test_a_line_without_end_takes_no_more_memory_than_the_limit() -> None:
    reader = EventReader(limit=100)
    told = reader.events(b"x" * 250)
    assert [(event.kind, event.text) for event in told] == [("stray", "x" * 100)]
    assert reader.events(b"y" * 1000) == []
    assert reader.events(b"\n" + line("runFinished"))[0].kind == "finished"
    assert reader.events(b"z" * 100 + b"\n")[0].text == "z" * 100


# -- how it ended


@pytest.mark.parametrize(
    ("last", "end_reason", "failure", "stage"),
    [
        ([finished()], "UserTurnEnd", None, None),
        ([finished(stopReason=None)], "UserTurnEnd", None, None),
        ([finished(status="cancelled", stopReason="cancelled")], "Cancelled", "cancelled, cancelled", None),
        ([finished(stopReason="cancelled")], "Cancelled", "success, cancelled", None),
        ([finished(stopReason="max_tokens")], "Error", "success, max_tokens", None),
        ([finished(status=None)], "Error", "unknown, end_turn", None),
        ([line("runFinished", sessionId="s1")], "Error", "unknown", None),
        ([line("runError", sessionId="s1", stage="prompt", message="why")], "Error", "why", "prompt"),
        ([line("runError", sessionId=None)], "Error", "it said no more", None),
        ([finished(), line("runError", stage="prompt", message="why")], "Error", "why", "prompt"),
        ([line("runError", stage="init", message="why"), finished()], "Error", "why", "init"),
        ([], None, None, None),
    ],
)
def test_how_a_run_ends(last: list[bytes], end_reason: str | None, failure: str | None, stage: str | None) -> None:
    transcript = turn(STARTED, *last)
    assert (transcript.end_reason, transcript.failure, transcript.stage) == (end_reason, failure, stage)
    assert transcript.finished == (end_reason == "UserTurnEnd")


def test_an_interrupted_run_of_v3_is_no_error() -> None:
    told = turn(chunk("a"), line("runError", sessionId="s1", stage="interrupted", message="stopped"))
    assert (told.end_reason, told.failure, told.stage) == ("Cancelled", "stopped", "interrupted")


def test_v1_refuses_with_an_event() -> None:
    message = "--output-format stream-json is not supported on the v1 engine. Pass --agent-engine v2 (or v3)."
    told = line("runError", sessionId=None, stage="engine", message=message)
    assert [(event.kind, event.text) for event in events(told)] == [("error", message)]
    assert turn(told) == Transcript("", end_reason="Error", failure=message, stage="engine", proof="runFinished")


# -- messages


def test_the_last_records_text_is_only_compared() -> None:
    """It has every message of the turn without a separator."""
    assert turn(chunk("done"), called("1"), chunk("done"), finished("donedone")).messages == ("done", "done")
    lost = turn(chunk("a"), finished("a and b"))
    assert lost.messages == ("a",)
    assert "another text" in lost.warnings[0]
    assert turn(chunk("a long one"), finished("a lo", finalTextTruncated=True)).warnings == ()
    assert turn(finished("all")).messages == ()


def test_a_tool_call_told_twice_splits_once() -> None:
    transcript = turn(chunk("a"), called("1"), chunk("b"), called("1"), chunk("c"), finished("abc"))
    assert (transcript.messages, len(transcript.tool_calls)) == (("a", "bc"), 1)


# -- tool calls


def test_v3_names_no_tool() -> None:
    title, kind = "title", "kind"
    transcript = turn(
        update("tool_call", toolCallId="1", title="Read File", kind="read", rawInput={"path": "a"}),
        update("tool_call", toolCallId="2", title="Odd", kind="edit", locations=[{"path": "b", "line": 3}]),
        update("tool_call", toolCallId="3", title="Run Command", kind="execute", rawInput={"command": "ls"}),
        update("tool_call", toolCallId="4", title="Odd", kind="search"),
        update("tool_call", toolCallId="5", title="Odd", kind="other"),
        update("tool_call", toolCallId="6", title={}, kind=[]),
        update("tool_call", toolCallId="7", **{title: "Sub-agent: helper", kind: "other"}),
        update("tool_call_update", toolCallId="3", status="completed", rawOutput="Output:\nx\n\nExit Code: 1"),
    )
    names = ["read", "write", "shell", "grep", "Odd", "unknown", "subagent"]
    assert [call.name for call in transcript.tool_calls] == names
    assert [call.raw_name for call in transcript.tool_calls][:2] == ["Read File", "Odd"]
    assert [dict(call.input) for call in transcript.tool_calls][:2] == [{"path": "a"}, {"path": "b"}]
    assert (transcript.tool_calls[2].output, transcript.tool_calls[2].exit_code) == ("x", 1)


def test_what_comes_back() -> None:
    shown_only = [{"type": "content", "content": {"type": "text", "text": "shown"}}]
    transcript = turn(
        called("1"),
        ended("1", {"Text": "a"}, {"Text": "b"}, {"Image": 1}),
        called("2"),
        update("tool_call_update", toolCallId="2", status="in_progress", content=shown_only),
        update("tool_call_update", toolCallId="2", status="completed"),
        called("3"),
        ended("3", {"Text": "[denied] tool permission approval is not supported"}, status="failed"),
        called("4"),
        ended("4", {"Text": "no such file"}, status="failed"),
        ended("5", {"Text": "of no call"}),
        update("tool_call", toolCallId="6", status="completed", rawOutput={"odd": 1}),
        called("7", rawInput=None),
        update("tool_call_update", toolCallId="7", rawInput={"command": "late"}, title="Late"),
    )
    assert [(call.output, call.status) for call in transcript.tool_calls] == [
        ("ab", "completed"),
        ("shown", "completed"),
        ("[denied] tool permission approval is not supported", "denied"),
        ("no such file", "failed"),
        ("of no call", "completed"),
        ('{"odd": 1}', "completed"),
        ("", "unfinished"),
    ]
    assert transcript.tool_calls[-1].input == {"command": "late"}


# -- credits


def test_v3_tells_a_turns_cost_whole_and_again() -> None:
    def info(value: Any) -> bytes:
        summaries = [{"usage": value, "unit": "credit", "usedTools": []}, {"usage": 500, "unit": "token"}]
        kiro = {"kind": "turn_completion", "promptTurnSummaries": summaries, "elapsedTime": 1234}
        return update("session_info_update", _meta={"kiro": kiro})

    transcript = turn(info(0.5), info(0.75), info("odd"), info(0.75), finished())
    assert (transcript.credits, transcript.duration) == (0.75, 1.234)


# -- more sessions than one


def test_the_newest_session_is_the_one_to_resume() -> None:
    transcript = turn(chunk("a"), called("1"), chunk("b", "s2"), finished("ab", session="s2"))
    assert (transcript.session_id, transcript.messages, len(transcript.tool_calls)) == ("s2", ("a", "b"), 1)
    assert turn(chunk("a"), chunk("b", "s2")).session_id == "s2"
    assert turn(line("metadata", sessionId="s1"), line("metadata", sessionId="s2")).session_id == "s2"
    assert turn(finished(session="s9")).session_id == "s9"


def test_a_session_from_which_an_older_takes_over_again_is_a_sub_agents() -> None:
    transcript = turn(
        called("1", "subagent"),
        chunk("child", "s2"),
        called("2", "read", "s2"),
        ended("2", {"Text": "x"}, session="s2"),
        ended("1", {"Text": "ok"}),
        chunk("b"),
        finished("b"),
    )
    assert (transcript.session_id, transcript.messages) == ("s1", ("b",))
    assert [[inner.output for inner in call.calls] for call in transcript.tool_calls] == [["x"]]
    silent = turn(called("1", "subagent"), chunk("child", "s2"), ended("1", {"Text": "ok"}), finished())
    assert (silent.session_id, silent.messages) == ("s1", ()), "a result is enough to take over again"


def test_a_stream_that_names_no_session() -> None:
    data = chunk("a").replace(b'"sessionId": "s1", ', b"")
    assert (turn(data).messages, turn(data).session_id) == (("a",), "")
    assert turn(data, chunk("b"), finished()).messages == ("ab",)


def test_v3_says_which_sub_agent_it_is() -> None:
    within = {"_meta": {"kiro": {"subExecutionId": "x"}}}
    transcript = turn(
        called("1", "invoke_sub_agent", kiro={"agentSubtaskId": "x"}),
        called("2", "invoke_sub_agent", kiro={"agentSubtaskId": "y"}),
        chunk("child", **within),
        update("tool_call", toolCallId="3", kind="read", title="Read File", **within),
        finished(),
    )
    assert transcript.messages == ()
    assert [[inner.name for inner in call.calls] for call in transcript.tool_calls] == [["read"], []]
    assert transcript.agents == {"x": ("child",)}
    orphan = turn(update("tool_call", toolCallId="3", kind="read", title="Read File", **within), finished())
    assert [(call.name, call.agent) for call in orphan.tool_calls] == [("read", "x")]
    assert orphan.warnings == (f"x: {STRAY}",)


def workflow(node: str, session: str, key: str, **more: Any) -> bytes:
    """A node's tool call, as V3 tells of it (captured on 2.16.0)."""
    told = {"workflowId": "wf_1", "workflowName": "fan", "nodeId": node, "nodePath": ["wf_1", "fan", node]}
    kiro = {"workflow": {**told, "type": "step"}, "toolOrigin": "default"}
    title = {"title": "Send Message", "kind": "other", "rawInput": {"message": node, "severity": "success"}}
    return update("tool_call", session, toolCallId=key, **title, _meta={"kiro": kiro}, **more)


def test_the_nodes_of_a_workflow_have_sessions_of_their_own() -> None:
    """They are told of in between, after the call that started them, and even last; one id may be in both."""
    begun = update("tool_call", toolCallId="1", title="Run Workflow", kind="other", rawInput={"workflowName": "fan"})
    nodes = [
        ended("1", {"Text": "started"}),
        chunk("I am alpha.", "s2"),
        chunk("I am beta.", "s3"),
        workflow("alpha", "s2", "x"),
        workflow("beta", "s3", "x"),
        ended("x", {"Text": "told beta"}, session="s3"),
        ended("x", {"Text": "told alpha"}, session="s2"),
        chunk("Alpha is done.", "s2"),
    ]
    for last in ([finished()], []):
        transcript = turn(begun, *nodes, *last)
        (call,) = transcript.tool_calls
        assert (transcript.session_id, transcript.messages, call.name, call.agent) == ("s1", (), "run_workflow", "")
        assert [(inner.name, inner.agent, inner.output) for inner in call.calls] == [
            ("send_message", "fan/alpha", "told alpha"),
            ("send_message", "fan/beta", "told beta"),
        ]
        assert transcript.agents == {"fan/alpha": ("I am alpha.", "Alpha is done."), "fan/beta": ("I am beta.",)}
        assert transcript.warnings == ()


def test_agents_that_no_call_has_started_keep_their_calls() -> None:
    transcript = turn(
        chunk("a"), chunk("Over to me.", "s2"), called("1", "write", "s2"), ended("1", session="s2"), finished("a")
    )
    assert (transcript.messages, transcript.agents) == (("a",), {"s2": ("Over to me.",)})
    assert [(call.name, call.agent, call.status) for call in transcript.tool_calls] == [("write", "s2", "completed")]
    assert transcript.warnings == (f"s2: {STRAY}",)


def test_a_sub_agent_of_a_sub_agent_is_under_its_own_call() -> None:
    transcript = turn(
        called("1", "subagent"),
        called("1", "subagent", "s2"),
        called("1", "read", "s3"),
        ended("1", {"Text": "deep"}, session="s3"),
        ended("1", {"Text": "below"}, session="s2"),
        ended("1", {"Text": "top"}),
        finished(),
    )
    (top,) = transcript.tool_calls
    (below,) = top.calls
    (deep,) = below.calls
    assert [call.output for call in (top, below, deep)] == ["top", "below", "deep"]
    assert [call.agent for call in (top, below, deep)] == ["", "s2", "s3"]


def test_agents_are_nested_only_so_deep() -> None:
    """Each starts another, and says that it was started by its own call."""
    own = {"subExecutionId": "s", "agentSubtaskId": "s"}
    deep = [called("1", "subagent", f"s{number}", kiro=own) for number in range(500)]
    transcript = turn(*deep)
    calls, depth = transcript.tool_calls, 0
    while calls:
        calls, depth = calls[0].calls, depth + 1
    assert 10 < depth < 30
    assert json.dumps([asdict(call) for call in transcript.tool_calls]).count("subagent") == 1000


@pytest.mark.parametrize("parts", [2, 3])
def test_sub_agents_that_run_at_once_are_each_under_one_call(parts: int) -> None:
    keys = [str(number) for number in range(parts)]
    transcript = turn(
        *(called(key, "subagent") for key in keys),
        *(called(key, "read", f"c{key}") for key in keys),
        *(ended(key, {"Text": "x"}) for key in keys),
        finished(),
    )
    assert [[inner.agent for inner in call.calls] for call in transcript.tool_calls] == [[f"c{key}"] for key in keys]


def test_a_call_goes_on_in_the_session_after_a_compaction() -> None:
    transcript = turn(called("1"), chunk("b", "s2"), ended("1", {"Text": "x"}, session="s2"), finished("b", "s2"))
    assert [(call.output, call.agent) for call in transcript.tool_calls] == [("x", "")]


def test_a_question_without_an_answer_is_an_ending() -> None:
    asked = update(
        "tool_call",
        toolCallId="1",
        title="Which one?",
        rawInput={"question": "Which?"},
        _meta={"kiro": {"toolId": "user_input"}},
    )
    end = {"status": "cancelled", "stopReason": "cancelled"}
    transcript = turn(asked, finished(**end))
    assert (transcript.end_reason, transcript.failure) == ("Unanswered", "Which?")
    assert turn(asked, ended("1", {"Text": "This"}), finished(**end)).end_reason == "Cancelled"
    assert turn(asked, finished()).end_reason == "UserTurnEnd"
    assert turn(called("1"), finished(status="success", stopReason="refusal")).end_reason == "Refusal"


def test_what_is_no_tool_call_is_none() -> None:
    """Titles that are no tool's name: a question, changes to approve, a summary; V3 names its own tools by an id."""
    asides = ["Which colour do you want?", "Review changes", "Conversation summary", "Approve the plan"]
    other = {"kind": "other"}
    transcript = turn(
        *(update("tool_call", toolCallId=title, title=title, **other) for title in asides),
        update("tool_call", toolCallId="turn_approval_1_a", title="Anything", kind="edit"),
        update("tool_call", toolCallId="1", title="Which one?", _meta={"kiro": {"toolId": "user_input"}}, **other),
        update("tool_call", toolCallId="2", title="A sentence that is no name", **other),
        update("tool_call", toolCallId="3", title="Summarize", _meta={"kiro": {"mcpServerName": "mail"}}, **other),
        update("tool_call", title="of no id"),
        update("tool_call", toolCallId="4", title="Odd", kind="edit", _meta={"kiro": {"toolId": "execute_bash"}}),
        update("tool_call", toolCallId="5", title="Run Command", kind="execute", _meta={"kiro": {"toolId": "run"}}),
        finished(),
    )
    assert [(call.name, call.raw_name) for call in transcript.tool_calls] == [
        ("user_input", "user_input"),
        ("unknown", "A sentence that is no name"),
        ("Summarize", "Summarize"),
        ("shell", "execute_bash"),
        ("shell", "Run Command"),
    ]
    assert transcript.warnings == (
        *(f"no tool call, but a word to the user: {title}" for title in [*asides, "Anything"]),
        "a tool_call without an id: of no id",
    )


# -- for people


def test_what_people_read() -> None:
    data = [
        b"a warning\n",
        chunk("I l"),
        chunk("ook."),
        called("1"),
        ended("1", shell(0)),
        called("2"),
        ended("2", {"Text": "Tool use was denied by the user.\nmore"}, status="failed"),
        update("agent_thought_chunk", content={"type": "text", "text": "hm"}),
        line("surprise"),
        finished(),
        line("runError", message="why"),
    ]
    assert "".join(map(shown, events(*data))) == (
        "a warning\nI look.\n[tool] Title 1\n[tool] status: Completed\n\n[tool] Title 2\n"
        "[denied] Tool use was denied by the user.\n[tool] status: Failed\n\n\nwhy\n"
    )


def test_a_status_without_a_call_as_a_text_layout_tells_it() -> None:
    assert shown(Event("tool_result", "x", data={"status": "completed"})) == "[tool] status: Completed\n"
    assert shown(Event("tool_result", "why", data={"status": "denied"})) == "[denied] why\n[tool] status: Failed\n"


def test_an_event_is_a_value() -> None:
    assert Event("text", "a") == Event("text", "a")
    assert repr(Event("stray", "x", data={"much": 1})) == "Event(kind='stray', text='x', call=None, credits=None)"


# -- found by fuzzing


@pytest.mark.parametrize("odd", [[], {}, 5, None, "surprise"])
def test_a_kind_of_update_that_is_no_word(odd: Any) -> None:
    assert [event.kind for event in events(line("sessionUpdate", update={"sessionUpdate": odd}))] == ["other"]
    assert [event.kind for event in events(line("sessionUpdate", update=odd))] == ["other"]


def test_a_skill_that_is_put_into_the_prompt() -> None:
    """V3 names no tool; the title is its name, and `_meta` says what it has put there (published streams)."""
    disclosed = {"type": "skill", "displayName": "release", "uri": "file:///w/.kiro/skills/release/SKILL.md"}
    for given in ({"name": "release"}, None):
        meta = {"kiro": {"toolName": None, "disclosedContext": disclosed}}
        begun = update("tool_call", toolCallId="1", title="disclose_context", kind="other", rawInput=given, _meta=meta)
        (call,) = turn(begun, ended("1", {"Text": "As it says."})).tool_calls
        assert (call.name, call.status) == ("disclose_context", "completed")
        assert call.input == {**(given or {}), **disclosed}
