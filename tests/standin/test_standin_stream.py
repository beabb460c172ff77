"""`--output-format stream-json`: a turn as events on stdout."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from standin_process import DEADLINE, Standin, read_until, tool

BOTH = pytest.mark.parametrize("engine", ["v2", "v3"])
STREAM = ("chat", "--output-format", "stream-json", "-a", "--agent-engine")


def test_the_events_of_a_turn_on_v2(standin: Standin) -> None:
    events = standin.stream("hello", [["Look.", tool("shell", command="echo x")], ["Done", "."]])

    assert (events.result.code, events.result.err) == (0, "")
    assert events.kinds == [
        *("runStarted", "metadata", "agent_message_chunk", "tool_call", "tool_call_update", "tool_call_update"),
        *("agent_message_chunk", "agent_message_chunk", "metadata", "runFinished"),
    ]
    started, finished = events.all[0]["data"], events.last
    assert started == {"payloadSchema": "acp", "acpProtocolVersion": 1, "engine": "v2"}
    (session_id,) = standin.ids()
    assert {event["data"]["sessionId"] for event in events.all[1:]} == {session_id}
    assert finished == {
        "sessionId": session_id,
        "status": "success",
        "stopReason": "end_turn",
        "finalText": "Look.Done.",
        "finalTextTruncated": False,
    }
    assert "turnDurationMs" in events.all[-2]["data"]
    assert "meteringUsage" not in events.all[-2]["data"]


def test_a_tool_call_on_v2(standin: Standin) -> None:
    args = {"command": "echo x", "__tool_use_purpose": "Try"}
    read = tool("read", 2, operations=[{"mode": "Line", "path": "none", "offset": 3}])

    events = standin.stream("hello", [[tool("shell", 1, **args), read], ["Done."]])

    shell, reading = events.updates("tool_call")
    assert shell == {
        "sessionUpdate": "tool_call",
        "toolCallId": "tooluse_1",
        "title": "Running: echo x",
        "kind": "execute",
        "rawInput": args,
        "_meta": {"kiro": {"toolName": "shell"}},
    }
    assert (reading["kind"], reading["locations"]) == ("read", [{"path": "none", "line": 4}])
    live, done, failed = events.updates("tool_call_update")
    assert live["status"] == "in_progress"
    assert live["content"] == [{"type": "content", "content": {"type": "text", "text": "x\n"}}]
    output = {"exit_status": "exit status: 0", "stdout": "x\n", "stderr": ""}
    assert (done["status"], done["rawOutput"]) == ("completed", {"items": [{"Json": output}]})
    assert failed["status"] == "failed"
    assert "does not exist" in failed["rawOutput"]["items"][0]["Text"]


def test_v3_names_no_tool_and_sends_infos(standin: Standin) -> None:
    events = standin.stream("hello", [[tool("write", command="create", path="x", content="")], ["Done."]], engine="v3")

    assert events.all[0]["data"]["engine"] == "v3"
    assert "metadata" not in events.kinds
    (call,) = events.updates("tool_call")
    assert (call["title"], call["kind"], call["locations"]) == ("Write File", "edit", [{"path": "x"}])
    assert call["_meta"]["kiro"]["toolName"] is None
    assert {"available_commands_update", "config_option_update"} < set(events.kinds)
    assert [info["kind"] for info in (u["_meta"]["kiro"] for u in events.updates("session_info_update"))] == [
        *("turn_start", "context_usage", "turn_completion", "turn_end")
    ]
    (completion,) = events.infos("turn_completion")
    assert (completion["promptTurnSummaries"], completion["status"]) == ([], "success")
    assert events.last["sessionId"] == standin.v3_sessions()[0].name


@BOTH
def test_events_arrive_while_a_command_runs(standin: Standin, engine: str) -> None:
    (standin.cwd / "make").write_text("mkfifo fifo; printf 'f\\303\\274r\\nnot yet'; cat fifo")

    process = standin.spawn(*STREAM, engine, "hello", replies=[[tool("shell", command="sh make")], ["ok"]])
    assert process.stdout
    read_until(process.stdout.fileno(), "für".encode())
    (standin.cwd / "fifo").write_text("go\n")

    rest = read_until(process.stdout.fileno(), None)
    assert b'"text":"not yetgo\\n"' in rest
    assert b"runFinished" in rest
    assert process.wait(DEADLINE) == 0


@BOTH
def test_an_interrupt_is_a_cancelled_run(standin: Standin, engine: str) -> None:
    replies = [["Working.", tool("shell", command="kill -INT $PPID; exec sleep 600")], ["never"]]

    events = standin.stream("hello", replies, engine=engine)

    assert events.result.code == 130
    assert (events.last["status"], events.last["stopReason"]) == ("cancelled", "cancelled")
    assert events.last["finalText"] == "Working."


def test_a_turn_is_moved_to_another_model(standin: Standin) -> None:
    asked = ("--model", "claude-sonnet-4.5")
    events = standin.stream("hello", [["hi"]], *asked, misbehave={"fallback": True})

    kinds = [event["data"]["update"]["sessionUpdate"] for event in events.all if event["type"] == "sessionUpdate"]
    assert kinds == ["retry_warning", "retry_warning", "model_fallback", "agent_message_chunk"]
    assert events.updates("retry_warning")[0] == {
        "sessionUpdate": "retry_warning",
        "attempt": 2,
        "maxAttempts": 3,
        "delaySecs": 3.0,
        "capacity": True,
        "modelId": "claude-sonnet-4.5",
        "message": "claude-sonnet-4.5 is unavailable, retrying in 3s (attempt 2/3)",
    }
    (moved,) = events.updates("model_fallback")
    assert moved == {
        "sessionUpdate": "model_fallback",
        "from": "claude-sonnet-4.5",
        "to": "claude-haiku-4.5",
        "cause": "unavailable",
        "source": "user",
        "promoted": False,
    }
    model = standin.state()["session_state"]["rts_model_state"]["model_info"]["model_id"]
    assert model == "claude-sonnet-4.5", "the next turn has it again"

    none = standin.stream("hello", [["hi"]], *asked, misbehave={"fallback": {"to": False}})
    (moved,) = none.updates("model_fallback")
    assert (moved["to"], moved["source"], none.result.code) == (None, None, 1)
    assert "temporarily unavailable" in none.last["message"]

    refused = standin.stream("hello", [["hi"]], *asked, misbehave={"model_refused": True})
    assert refused.result.err == "[warn] failed to set model 'claude-sonnet-4.5': Method not found\n"
    assert refused.last["status"] == "success"


def test_v1_has_no_events(standin: Standin) -> None:
    for argv in (["--agent-engine", "v1"], ["--classic", "--no-interactive"]):
        result = standin.run("chat", "--output-format=stream-json", *argv, "hello", replies=[["hi"]])

        assert result.code == 1
        message = "--output-format stream-json is not supported on the v1 engine. Pass --agent-engine v2 (or v3)."
        error = {"type": "runError", "data": {"sessionId": None, "stage": "engine", "message": message}}
        assert (result.out, result.err) == (json.dumps(error, separators=(",", ":")) + "\n", "")


@BOTH
@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["--resume-id", "nobody"], 1, "Failed to start session: Session not found: nobody"),
        (["--agent", "nobody"], 4, 'agent "nobody" not found'),
        (["--model", "gpt-0"], 1, "Model 'gpt-0' does not exist"),
    ],
)
def test_what_stops_the_start_is_an_error_of_stage_init(
    standin: Standin, engine: str, argv: list[str], code: int, message: str
) -> None:
    events = standin.stream("hello", [["hi"]], *argv, engine=engine)

    assert events.result.code == code
    assert events.kinds == ["runStarted", "runError"]
    assert (events.last["sessionId"], events.last["stage"]) == (None, "init")
    assert message in events.last["message"]


def test_nobody_logged_in_is_no_event(standin: Standin) -> None:
    events = standin.stream("hello", [["hi"]], env={"KIRO_API_KEY": ""})

    assert (events.result.code, events.all) == (1, [])
    assert "You are not logged in" in events.result.err


@BOTH
def test_a_resume_keeps_the_session_id(standin: Standin, engine: str) -> None:
    first = standin.stream("I am Ada", [["ok"]], engine=engine).last["sessionId"]

    resumed = standin.stream("Who?", [["{recall:am (\\w+)|nobody}"]], "--resume-id", first, engine=engine)

    assert (resumed.last["sessionId"], resumed.last["finalText"]) == (first, "Ada")


def test_denials_and_warnings_are_on_stderr(standin: Standin) -> None:
    argv = ("chat", "--v2", "--output-format", "stream-json", "--trust-tools=frob", "hello")

    result = standin.run(*argv, replies=[[tool("shell", command="id")], ["No."]])

    assert result.code == 0
    assert "WARNING: --trust-tools" in result.err
    assert "[denied]" in result.err
    updates = [json.loads(line)["data"].get("update", {}) for line in result.out.splitlines()]
    (failed,) = [update for update in updates if update.get("status") == "failed"]
    assert failed["rawOutput"] == {"items": [{"Text": "Tool use was denied by the user."}]}


def test_a_subagent_is_a_call_of_its_parent(standin: Standin) -> None:
    call = tool("subagent", prompt="x", requests=[["Inside.", {"name": "shell", "args": {"command": "true"}}], ["y"]])

    events = standin.stream("hello", [[call], ["Done."]])

    (only,) = events.updates("tool_call")
    assert (only["title"], only["rawInput"]) == ("Running subagent: kiro_default", {"prompt": "x"})
    assert events.text == "Done."
    assert events.updates("tool_call_update")[0]["rawOutput"] == {"items": [{"Text": "y"}]}


def test_a_long_final_text_is_cut_and_the_chunks_are_not(standin: Standin) -> None:
    events = standin.stream("hello", [["x" * 700_000, "y" * 700_000]])

    assert events.last["finalTextTruncated"] is True
    assert len(events.last["finalText"]) == 1_000_000
    assert events.text == "x" * 700_000 + "y" * 700_000


def test_stream_json_implies_no_interactive_and_text_says_so(standin: Standin, tmp_path: Path) -> None:
    text = standin.run("chat", "--output-format", "text", "hello", replies=[["hi"]])

    assert (text.code, text.out) == (1, "")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("throttled", "The request was throttled by the service"),
        ("limit", "The monthly usage limit has been reached"),
        ("bad_key", "Authentication failed."),
        ("expired", "The bearer token included in the request is invalid."),
        ("overflow", "The context window has overflowed"),
    ],
)
@BOTH
def test_a_refused_request_is_an_error_of_stage_prompt(standin: Standin, engine: str, kind: str, message: str) -> None:
    events = standin.stream("hello", [["hi"]], engine=engine, misbehave={kind: True})

    assert events.result.code == 1
    assert events.all[-1]["type"] == "runError"
    assert events.last["stage"] == "prompt"
    assert events.last["sessionId"]
    assert message in events.last["message"]


def test_credits_are_metered_for_each_request(standin: Standin) -> None:
    replies = [[tool("shell", command="true")], [tool("shell", 2, command="true")], ["hi"]]

    v2 = standin.stream("hello", replies, misbehave={"credits": 0.1})
    v3 = standin.stream("hello", replies, misbehave={"credits": True}, engine="v3")

    usage = v2.all[-2]["data"]["meteringUsage"]
    assert [(part["unit"], part["unitPlural"]) for part in usage] == [("credit", "credits")] * 3
    assert sum(part["value"] for part in usage) == pytest.approx(0.1)
    assert standin.turns()[0]["metering_usage"] == usage
    (summary,) = v3.infos("turn_completion")[0]["promptTurnSummaries"]
    assert (summary["usage"], summary["usedTools"]) == (0.25, ["execute_bash"] * 2)


def test_no_end_ends_without_the_last_event(standin: Standin) -> None:
    events = standin.stream("hello", [["hi"]], misbehave={"no_end": True})

    assert (events.result.code, events.kinds[-1]) == (0, "metadata")
    assert standin.turns()[0]["end_reason"] == "UserTurnEnd"


def test_stray_lines_come_before_the_first_event(standin: Standin) -> None:
    result = standin.run(*STREAM, "v2", "hello", replies=[["hi"]], misbehave={"stray": True})

    before, _, events = result.out.partition('{"type":"runStarted"')
    assert "Logging in... done\n" in before
    assert "{not json}\n" in before
    assert events.splitlines()[-1].startswith('{"type":"runFinished"')
    assert result.code == 0


def test_misbehaviour_that_prints_does_so_in_events(standin: Standin) -> None:
    kinds = {"slow": 0, "split_utf8": 0, "huge": 200_000, "carriage": True}

    events = standin.stream("hello", [["hü"]], misbehave=kinds)

    assert [update["content"]["text"] for update in events.updates("agent_message_chunk")][-2:] == ["h", "ü"]
    assert len(events.text) == 200_002
    assert "Thinking..." in events.result.err


@BOTH
def test_mcp_and_login_come_before_the_first_event(standin: Standin, engine: str) -> None:
    mcp = standin.stream("hello", [["hi"]], engine=engine, misbehave={"mcp": True})
    assert (mcp.result.code, mcp.kinds, mcp.last["stage"]) == (3, ["runError"], "init")

    process = standin.spawn(*STREAM, engine, "hello", replies=[["hi"]], misbehave={"login": True})
    assert process.stdout
    shown = read_until(process.stdout.fileno(), b"user_code=")
    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE) == 130
    assert b"runStarted" not in shown


def test_a_malformed_recall_is_an_error_of_stage_prompt(standin: Standin) -> None:
    events = standin.stream("hello", [["{recall:x}"]])

    assert (events.result.code, events.last["stage"]) == (2, "prompt")
    assert events.last["sessionId"] == standin.ids()[0]
