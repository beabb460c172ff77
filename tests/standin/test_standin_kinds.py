"""Misbehaviour of conversations and of whole engines."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import Any

import pytest
from standin_process import DEADLINE, HEADLESS, Result, Standin, read_until, tool

ENGINES = pytest.mark.parametrize("engine", ["v1", "v2", "v3"])


def chat(standin: Standin, engine: str, replies: Any, misbehave: Any, *more: str, prompt: str = "hello") -> Result:
    return standin.run(
        *HEADLESS, "--agent-engine", engine, "-a", *more, stdin=prompt, replies=replies, misbehave=misbehave
    )


@ENGINES
@pytest.mark.parametrize(
    ("kind", "code", "message"),
    [
        ("throttled", 0, "The request was throttled by the service"),
        ("limit", 0, "The monthly usage limit has been reached"),
        ("bad_key", 0, "Authentication failed."),
        ("expired", 1, "The bearer token included in the request is invalid.\n"),
        ("overflow", 0, "The context window has overflowed\n"),
    ],
)
def test_a_refused_request_is_on_stderr(standin: Standin, engine: str, kind: str, code: int, message: str) -> None:
    result = chat(standin, engine, [["hi"]], {kind: True})

    assert (result.code, result.out) == (code, "")
    assert message in result.err
    assert chat(standin, engine, [["hi"]], {kind: True, "exit": 5}).code == 5


@ENGINES
def test_the_token_can_expire_in_mid_turn(standin: Standin, engine: str) -> None:
    replies = [["Look.", tool("shell", command="echo x > x")], ["never"]]

    result = chat(standin, engine, replies, {"expired": 1})

    assert result.code == 1
    assert "Look." in result.out
    assert "never" not in result.out
    assert "bearer token" in result.err
    assert (standin.cwd / "x").exists()


def test_an_overflow_is_recorded_by_its_name(standin: Standin) -> None:
    standin.chat("hello", [["hi"]], misbehave={"overflow": True})

    (turn,) = standin.turns()
    assert turn["result"] == {"Err": {"ContextWindowOverflow": "The context window has overflowed"}}
    assert turn["end_reason"] == "Error"


def test_credits_are_split_over_the_requests(standin: Standin) -> None:
    standin.chat("hello", [[tool("shell", command="true")], ["hi"]], misbehave={"credits": True})

    usage = standin.turns()[0]["metering_usage"]
    assert usage == [{"value": 0.125, "unit": "credit", "unitPlural": "credits"}] * 2


@ENGINES
def test_agent_fallback_warns_and_goes_on(standin: Standin, engine: str) -> None:
    result = chat(standin, engine, [["hi"]], {"agent_fallback": True}, "--agent", "nobody")

    assert result.code == 0
    assert "hi" in result.out
    assert 'agent "nobody" not found' in result.err
    if engine == "v2":
        assert standin.state()["session_state"]["agent_name"] == "kiro_default"


@ENGINES
@pytest.mark.parametrize("by_id", [False, True])
def test_forgets_begins_a_new_session(standin: Standin, engine: str, by_id: bool) -> None:
    asked = [["{recall:I am (\\w+)|nobody}"]]
    chat(standin, engine, [["ok"]], {}, prompt="I am Ada")
    more = ["-r"]
    if by_id:
        names = {"v1": [row[1] for row in standin.rows()], "v2": standin.ids()}
        names["v3"] = [folder.name for folder in standin.v3_sessions()]
        more = ["--resume-id", *names[engine]]

    result = chat(standin, engine, asked, {"forgets": True}, *more)
    remembering = chat(standin, engine, asked, {}, "-r")

    assert (result.code, result.err) == (0, remembering.err)
    assert "nobody" in result.out
    assert len(standin.rows()) + len(standin.ids()) + len(standin.v3_sessions()) == 2


@ENGINES
def test_hangs_says_its_first_text_and_nothing_more(standin: Standin, engine: str) -> None:
    replies = [["first", tool("shell", command="echo x > x")], ["second"]]
    argv = (*HEADLESS, "--agent-engine", engine, "hello")
    process = standin.spawn(*argv, replies=replies, misbehave={"hangs": True})
    assert process.stdout
    read_until(process.stdout.fileno(), b"first")

    process.send_signal(signal.SIGINT)

    assert process.wait(DEADLINE) == 130
    assert b"second" not in process.stdout.read()
    assert not (standin.cwd / "x").exists()
    assert "second" in chat(standin, engine, replies, {"hangs": 0}).out


@ENGINES
def test_ignores_interrupt_ends_by_a_termination(standin: Standin, engine: str) -> None:
    argv = (*HEADLESS, "--agent-engine", engine, "hello")
    misbehave = {"ignores_interrupt": True, "hangs": True}
    process = standin.spawn(*argv, replies=[["first"], ["never"]], misbehave=misbehave)
    assert process.stdout
    read_until(process.stdout.fileno(), b"first")

    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    process.send_signal(signal.SIGTERM)

    assert process.wait(DEADLINE) == -signal.SIGTERM


def test_ignores_interrupt_does_not_protect_the_commands(standin: Standin) -> None:
    replies = [[tool("shell", command="kill -INT $$; echo survived")], ["Done."]]

    result = standin.chat("hello", replies, misbehave={"ignores_interrupt": 0})

    assert (result.code, result.out) == (0, "Done.\n")
    assert standin.results()[0]["content"][0]["data"]["exit_status"] == "signal: 2 (SIGINT)"
    assert standin.turns()[0]["end_reason"] == "UserTurnEnd"


def test_compaction_goes_on_under_a_new_id_on_v2(standin: Standin) -> None:
    standin.chat("I am Ada.", [["Hello."]])
    (old,) = standin.ids()
    replies = [["Look.", tool("shell", command="true")], ["{recall:am (\\w+)|?}"]]

    events = standin.stream("Who?", replies, "--resume-id", old, misbehave={"compaction": True, "credits": True})

    (new,) = set(standin.ids()) - {old}
    ids = [event["data"]["sessionId"] for event in events.all[1:]]
    assert list(dict.fromkeys(ids)) == [old, new]
    assert (events.last["sessionId"], events.last["finalText"]) == (new, "Look.Ada")
    kinds = [line["kind"] for line in standin.messages(old)]
    assert kinds[2:] == ["Prompt", "AssistantMessage", "ToolResults", "Compaction"]
    compaction = standin.messages(old)[-1]["data"]
    assert list(compaction) == ["summary", "strategy", "messages_snapshot"]
    assert [line["kind"] for line in standin.messages(new)] == ["AssistantMessage"]
    assert [len(standin.turns(name)) for name in (old, new)] == [1, 1]
    assert len(standin.turns(new)[0]["metering_usage"]) == 2
    state = standin.state(new)
    assert state["cwd"] == str(standin.cwd)
    assert state["session_state"]["conversation_metadata"]["summary"] == compaction["summary"]
    assert state["session_state"]["rts_model_state"]["conversation_id"] == new
    assert not list(standin.store.glob("*.lock"))
    assert standin.chat("Who?", [["{recall:am (\\w+)|?}"]], "--resume-id", new).out == "Ada\n"


def test_compaction_goes_on_under_a_new_id_on_v3(standin: Standin) -> None:
    replies = [["Look.", tool("shell", command="true")], ["Done."]]

    events = standin.stream("I am Ada.", replies, engine="v3", misbehave={"compaction": True})

    old, new = standin.v3_sessions()
    ids = [event["data"]["sessionId"] for event in events.all[1:]]
    assert list(dict.fromkeys(ids)) == [old.name, new.name]
    last = json.loads((old / "messages.jsonl").read_text().splitlines()[-1])["payload"]
    assert (last["type"], last["kind"]) == ("tombstone", "summarization")
    summary, answer = standin.v3_payloads("assistant")
    assert (summary["operationType"], answer["content"]) == ("Summary", "Done.")
    asked = chat(standin, "v3", [["{recall:am (\\w+)|?}"]], {}, "--resume-id", new.name)
    assert asked.out == "Ada\n"


def test_compaction_in_text_shows_nothing_and_v1_has_none(standin: Standin) -> None:
    result = standin.chat("hello", [["hi"]], misbehave={"compaction": True})

    assert (result.code, result.out, result.err) == (0, "hi\n", "")
    assert len(standin.ids()) == 2
    assert chat(standin, "v1", [["hi"]], {"compaction": True}).code == 2


@ENGINES
def test_no_session_leaves_nothing(standin: Standin, engine: str) -> None:
    result = chat(
        standin, engine, [["hi", tool("subagent", prompt="x", requests=[["y"]])], ["z"]], {"no_session": True}
    )

    assert result.code == 0
    assert standin.rows() == []
    assert not (standin.home / ".kiro").exists()


@ENGINES
def test_crash_denied_and_answers_nothing_on_every_engine(standin: Standin, engine: str) -> None:
    call = tool("shell", command="echo x > x")

    crash = chat(standin, engine, [["hi"]], {"crash": "after"})
    denied = chat(standin, engine, [[call], ["ok"]], {"denied": True})
    nothing = chat(standin, engine, [["hi"]], {"answers_nothing": True})

    assert crash.code == -signal.SIGSEGV
    assert denied.code == 0
    assert not (standin.cwd / "x").exists()
    assert (nothing.code, nothing.out.strip()) == (0, "")


@ENGINES
def test_what_is_printed_on_every_engine(standin: Standin, engine: str) -> None:
    kinds = {"slow": 0, "split_utf8": 0, "huge": 1000, "carriage": True, "stray": True, "exit": 6, "no_end": True}

    result = chat(standin, engine, [["hü"]], kinds)

    assert result.code == 6
    assert result.out.endswith("hü\n")
    assert "Thinking..." in result.out
    assert "Logging in... done" in result.out


# -- shapes that readers must not trip over


@pytest.mark.parametrize("engine", ["v2", "v3"])
def test_a_content_filter_ends_the_answer(standin: Standin, engine: str) -> None:
    replies = [["I ", tool("shell", command="echo x > x")], ["never"]]

    text = chat(standin, engine, replies, {"filtered": True})
    events = standin.stream("hello", replies, engine=engine, misbehave={"filtered": True})

    assert (text.code, text.out, events.result.code) == (0, "I \n", 0)
    assert events.last["stopReason"] == "refusal"
    assert not (standin.cwd / "x").exists()
    if engine == "v3":
        (end,) = standin.v3_payloads("turn_end")
        assert (end["stopReason"], end["stopDetails"]["refusal"]["category"]) == ("refusal", "violence")
        assert standin.v3_payloads("assistant")[-1]["_meta"]["kiro"]["refusal"]
    else:
        assert [standin.turns(name)[0]["end_reason"] for name in standin.ids()] == ["Refusal"] * 2


def test_a_note_in_place_of_arguments_breaks_the_history(standin: Standin) -> None:
    calls = [tool("shell", 1, command="echo x"), tool("write", 2, command="create", path="a", content="x")]

    first = standin.chat("hello", [["", *calls], ["Done."]], misbehave={"withheld": True})
    second = standin.run(*HEADLESS, "--v2", "-r", "again", replies=[["never"]])
    events = standin.stream("again", [["never"]], "--resume-id", *standin.ids())

    assert (first.code, first.out, (standin.cwd / "a").exists()) == (0, "Done.\n", False)
    kinds = [message["kind"] for message in standin.messages()]
    assert kinds[:5] == ["Prompt", "AssistantMessage", "AssistantMessage", "ToolResults", "AssistantMessage"]
    note = standin.messages()[2]["data"]["content"][1]["data"]
    assert note["input"]["key"].startswith("SYSTEM NOTE: the actual tool use arguments were too complicated")
    assert (second.code, second.err) == (1, "error: Internal error: invalid conversation history received\n")
    assert (events.last["stage"], events.result.code) == ("prompt", 1)


def test_a_question_without_an_answer_on_v3(standin: Standin) -> None:
    events = standin.stream("hello", [["I ask."], ["never"]], engine="v3", misbehave={"asks": True})

    assert events.result.code == 1
    (shown,) = events.updates("tool_call")
    assert (shown["title"], shown["_meta"]["kiro"]["toolId"]) == ("Which of the two do you mean?", "user_input")
    (asked,) = standin.v3_payloads("pending_interaction")
    assert (asked["interactionType"], asked["question"]) == ("user_input", shown["title"])
    assert standin.v3_payloads("interaction_resolved") == []
    assert standin.v3_payloads("turn_end")[0]["stopReason"] == "cancelled"


def test_a_denied_call_was_asked_for_on_v3(standin: Standin) -> None:
    standin.run(*HEADLESS, "--v3", "hello", replies=[[tool("shell", command="id > x")], ["No."]])

    kinds = [payload["type"] for payload in standin.v3_payloads()]
    assert kinds[2:6] == ["pending_interaction", "interaction_resolved", "tool_call", "tool_result"]


def test_an_interrupted_call_has_a_result_that_is_made_up_on_v3(standin: Standin) -> None:
    argv = (*HEADLESS, "--agent-engine", "v3", "-a", "--output-format", "stream-json", "hello")
    process = standin.spawn(*argv, replies=[["first", tool("shell", command="echo it runs; sleep 60")]], misbehave={})
    assert process.stdout
    read_until(process.stdout.fileno(), b"it runs\\n")
    process.send_signal(signal.SIGINT)

    assert process.wait(DEADLINE) == 130
    lines = (standin.v3_sessions()[-1] / "messages.jsonl").read_text().splitlines()
    (made_up,) = [record for record in map(json.loads, lines) if record["id"].endswith("-result-synthetic")]
    assert made_up["payload"]["content"].startswith("This tool was interrupted before it reported a result")
    assert made_up["payload"]["success"] is False


@pytest.mark.parametrize("engine", ["v2", "v3"])
def test_sub_agents_have_sessions_in_the_stream(standin: Standin, engine: str) -> None:
    call = tool("subagent", 1, prompt="Look.", requests=[["Inside.", tool("shell", 2, command="true")], ["Seen."]])

    events = standin.stream("hello", [["", call], ["Done."]], engine=engine, misbehave={"sessions": True})

    sessions = list(dict.fromkeys(event["data"]["sessionId"] for event in events.all[1:]))
    assert len(sessions) == 2
    inside = [
        event["data"]["update"]
        for event in events.all[1:]
        if event["data"]["sessionId"] == sessions[1]
        and event["type"] == "sessionUpdate"
        and event["data"]["update"]["sessionUpdate"] == "tool_call"
    ]
    assert [update["rawInput"] for update in inside] == [{"command": "true"}]
    assert events.last["finalText"] == "Done."
    if engine == "v3":
        node = inside[0]["_meta"]["kiro"]["workflow"]
        assert node["nodePath"] == [node["workflowId"], "steps", "kiro_default"]
        states = [json.loads((folder / "session.json").read_text()) for folder in standin.v3_sessions()]
        assert [state.get("_meta") for state in states] == [None, {"kiro": {"workflow": node}}]
        assert "parentSessionId" not in states[1]
    else:
        assert sorted(standin.ids()) == sorted(sessions)


def test_what_is_taken_back_on_v3(standin: Standin) -> None:
    chat(standin, "v3", [["One.", tool("shell", command="true")], ["Two."]], {"rewinds": True})

    kinds = [payload["type"] for payload in standin.v3_payloads()]
    (tombstone,) = standin.v3_payloads("tombstone")
    assert kinds.index("tombstone") == 5
    assert tombstone["kind"] == "checkpoint_revert"


@ENGINES
def test_words_to_the_user_as_calls(standin: Standin, engine: str) -> None:
    result = chat(standin, engine, [["hi"]], {"asides": True})

    assert (result.code, "hi" in result.out) == (0, True)
    assert result.err.count("[tool] ") == (0 if engine == "v1" else 3)
