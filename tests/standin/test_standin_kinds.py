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
