"""V3's folders: records of the shape that its agent writes, made by us."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Mapping
from typing import Any

import pytest

from pytest_kiro.kirocli import sessions
from pytest_kiro.kirocli.sessions.values import moment
from pytest_kiro.turn.transcript import ToolCall, Transcript

ROOT = "/home/me/.kiro/sessions/9f3c1d0b7a4e2856"
STATE = {
    "schemaVersion": "1.0.0",
    "agentMode": "vibe",
    "workspacePaths": ["/w"],
    "createdAt": "2027-01-01T00:00:00.000Z",
    "lastModifiedAt": "2027-01-01T00:01:00.000Z",
    "modelId": "a-model",
    "createdReason": "human",
}
START = ("turn_start", {"executionId": "e1"})
END = ("turn_end", {"executionId": "e1", "stopReason": "end_turn"})


def user(text: Any, **more: Any) -> tuple[str, dict[str, Any]]:
    return ("user", {"content": text, **more})


def say(text: Any, kind: str | None = "Say") -> tuple[str, dict[str, Any]]:
    return ("assistant", {"content": text, "operationType": kind, "executionId": "e1"})


def call(key: str, name: str | None, args: Any, **more: Any) -> tuple[str, dict[str, Any]]:
    return ("tool_call", {"toolCallId": key, "toolName": name, "args": args, "status": "approved", **more})


def result(key: str, content: Any, *, success: Any = True, **more: Any) -> tuple[str, dict[str, Any]]:
    return ("tool_result", {"toolCallId": key, "content": content, "success": success, **more})


def usage(value: float, status: str = "success", execution: str = "e1") -> tuple[str, dict[str, Any]]:
    summary = {"unit": "credit", "unitPlural": "credits", "usage": value, "usedTools": []}
    told = {"promptTurnSummaries": [summary], "elapsedTime": 1500, "status": status, "executionId": execution}
    return ("usage_summary", told)


def stop(reason: str, **refusal: str) -> tuple[str, dict[str, Any]]:
    return ("turn_end", {"executionId": "e1", "stopReason": reason, "stopDetails": {"refusal": refusal}})


def asked(key: str, question: str | None, kind: str = "tool_approval") -> tuple[str, dict[str, Any]]:
    told = {"interactionType": kind, "toolCallId": key, "question": question, "options": [], "executionId": "e1"}
    return ("pending_interaction", told)


RESOLVED = ("interaction_resolved", {"toolCallId": "1", "outcome": "selected", "selectedOption": "accept"})


def jsonl(*records: Any) -> bytes:
    lines = []
    for number, record in enumerate(records, 1):
        if isinstance(record, tuple):
            kind, payload = record
            at = f"2027-01-01T00:00:{number:02}.000Z"
            record = json.dumps({"id": f"m{number}", "timestamp": at, "payload": {"type": kind, **payload}})
        lines.append(record)
    return "\n".join(lines).encode()


def store(*records: Any, name: str = "sess_1", state: Any = STATE, **more: bytes) -> dict[str, bytes]:
    folder = f"{ROOT}/{name}"
    files = {f"{folder}/{path}": data for path, data in more.items()}
    return {f"{folder}/session.json": json.dumps(state).encode(), f"{folder}/messages.jsonl": jsonl(*records), **files}


def read(files: Mapping[str, bytes], **options: Any) -> Transcript:
    transcript = sessions.read(files, engine="v3", cwd="/w", **options)
    assert transcript is not None
    return transcript


def test_a_users_message_within_a_turn_begins_none() -> None:
    """So public files have it: the prompt is the session's start, and what the user adds comes while Kiro works."""
    opening = ("session_start", {"content": "Build it."})
    transcript = read(
        store(opening, START, user("Plain, please.", source="chat"), say("Done."), END), prompt="Build it."
    )
    assert (transcript.prompts, transcript.finished, transcript.messages) == (1, True, ("Done.",))
    # A turn that was killed has no end; the next prompt is one.
    killed = read(store(user("One."), START, user("Two."), START, say("2"), END))
    assert (killed.prompts, killed.messages) == (2, ("2",))


def test_a_whole_turn() -> None:
    files = store(
        user("Build it.", images=[], documents=[]),
        START,
        say("...", "Reasoning"),
        ("session_metadata", {"key": "contextUsage", "value": {"usagePercentage": 2.2}}),
        say("I look."),
        call("1", "read_file", {"path": "/w/a"}, kind="read", title="Read File"),
        result("1", "text"),
        call("2", "execute_bash", {"command": "ls", "cwd": "/w"}, status="completed"),
        result("2", "Output:\nout\n\nExit Code: 3", durationMs=250),
        call("3", "fs_write", {"path": "/w/b", "text": "x"}),
        result("3", "no room", success=False),
        call("4", None, {"x": 1}, kind="execute", title="Run Command"),
        usage(0.5),
        ("session_event", {"category": "session_pause", "context": {"status": "success"}}),
        say("Done."),
        END,
        ("session_start", {"agentType": "vibe", "content": "a system prompt", "forcedRole": True}),
    )
    transcript = read(files, prompt="Build it.")
    assert transcript == Transcript(
        "sess_1",
        prompts=1,
        turns=1,
        messages=("I look.", "Done."),
        tool_calls=(
            ToolCall("read", "read_file", {"path": "/w/a"}, "text", "completed"),
            ToolCall(
                "shell", "execute_bash", {"command": "ls", "cwd": "/w"}, "out", "completed", exit_code=3, duration=0.25
            ),
            ToolCall("write", "fs_write", {"path": "/w/b", "text": "x"}, "no room", "failed"),
            ToolCall("shell", "Run Command", {"x": 1}, "", "unfinished"),
        ),
        finished=True,
        end_reason="UserTurnEnd",
        credits=0.5,
        credits_source="summaries",
        model="a-model",
        duration=1.5,
        agent="kiro_default",
    )
    assert transcript.warnings == ()


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ([START, END], "UserTurnEnd"),
        ([START, ("turn_end", {"executionId": "e1", "stopReason": "cancelled"})], "Cancelled"),
        ([START, ("turn_end", {"executionId": "e1", "stopReason": "max_tokens"})], "Error"),
        ([START, ("turn_end", {"executionId": "e1", "stopReason": "tool_use_rejected"})], "ToolUseRejected"),
        ([START, ("turn_end", {"executionId": "e1"})], "Error"),
        ([START, usage(1), ("turn_end", {"executionId": "e1", "stopReason": None})], "Error"),  # found by fuzzing
        ([START, usage(1, "cancelled"), END], "Cancelled"),
        ([START, usage(1, "failed"), END], "Error"),
        ([START, ("turn_end", {"executionId": "e2", "stopReason": "end_turn"})], None),
        ([START, END, ("turn_start", {"executionId": "e2"})], None),
        ([START], None),
        ([END], None),
        ([START, END, ("tombstone", {"kind": "checkpoint_revert", "effectiveFromMessageId": "m1"})], "Rewind"),
        ([START, ("tombstone", {"kind": "summarization", "effectiveFromMessageId": "m1"}), END], "UserTurnEnd"),
    ],
)
def test_how_a_turn_ends(records: list[Any], reason: str | None) -> None:
    transcript = read(store(user("p"), *records))
    assert transcript.end_reason == reason
    assert transcript.finished == (reason == "UserTurnEnd")
    assert (transcript.failure is None) == (reason in ("UserTurnEnd", None))


def test_credits_of_a_turn_are_told_whole_and_may_be_told_again() -> None:
    transcript = read(store(user("p"), START, usage(0.5), usage(0.75), usage(1, execution="e2")))
    assert (transcript.credits, transcript.duration) == (1.75, 3.0)


def test_a_turn_that_was_not_metered_took_from_its_prompt_to_its_end() -> None:
    assert read(store(user("p"), START, say("a"), END)).duration == 3.0
    assert read(store(user("p"), START, say("a"))).duration is None


def test_what_begins_a_turn() -> None:
    opening = ("session_start", {"content": "Build it.", "agentType": "vibe"})
    transcript = read(store(opening, START, say("a"), END), prompt="Build it.")
    assert (transcript.prompts, transcript.messages, transcript.finished) == (1, ("a",), True)
    files = store(opening, user("p"), START, END, user("be quick", source="steer"), user("h", source="hook"), say("b"))
    assert (read(files).prompts, read(files).messages) == (1, ("b",))
    assert read(store(user([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])), prompt="ab").prompts == 1


def test_an_old_turn_is_never_taken_for_the_new_one() -> None:
    old = [user("p"), START, say("old"), END]
    transcript = read(store(*old), prompts=1, turns=1)
    assert (transcript.messages, transcript.finished, transcript.prompts, transcript.turns) == ((), False, 1, 1)
    transcript = read(store(*old, user("p"), ("turn_start", {"executionId": "e2"}), say("new")), prompts=1, turns=1)
    assert (transcript.messages, transcript.finished, transcript.prompts) == (("new",), False, 2)


def test_which_calls_were_denied() -> None:
    rejected = ("interaction_resolved", {"toolCallId": "1", "outcome": "selected", "selectedOption": "reject"})
    for records in (
        [call("1", "fs_write", {}, status="denied"), result("1", "", success=False)],
        [rejected, call("1", "fs_write", {}), result("1", "no", success=False)],
        [call("1", "fs_write", {}), rejected],
        [call("1", "fs_write", {}), call("1", "fs_write", {}, status="denied")],
        [call("1", "fs_write", {}), result("1", "[denied] tool permission approval is not supported", success=False)],
    ):
        (only,) = read(store(user("p"), *records)).tool_calls
        assert only.status == "denied", records


def test_a_message_without_a_text_stands_before_no_call() -> None:
    records = [say("one"), call("1", "fs_write", {}), say(""), call("2", "fs_write", {}), say("two")]
    transcript = read(store(user("p"), *records))
    assert (transcript.messages, [call.after for call in transcript.tool_calls]) == (("one", "two"), [1, 1])


def test_a_call_is_written_again_as_it_proceeds() -> None:
    pending = call("1", "fs_write", {"path": "a"}, status="pending")
    records = [pending, result("1", "ok"), call("1", "fs_write", {"path": "a"}, status="completed")]
    (only,) = read(store(user("p"), *records)).tool_calls
    assert only == ToolCall("write", "fs_write", {"path": "a"}, "ok", "completed")
    (only,) = read(store(user("p"), pending, call("1", "fs_write", {}, status="failed"))).tool_calls
    assert only.status == "failed"


def test_what_comes_back() -> None:
    answer = json.dumps({"isError": True, "content": [{"type": "text", "text": "no"}]})
    status = json.dumps({"exit_status": "exit status: 1", "stdout": "o", "stderr": "e"})
    records = [
        call("1", "log", {}, _meta={"kiro": {"mcpServerName": "git"}}),
        result("1", answer),
        call("2", "execute_bash", {"command": "x"}),
        result("2", status),
        call("3", "fetch", {}),
        result("3", [{"type": "text", "text": "a"}, {"type": "content", "content": {"type": "text", "text": "b"}}]),
        call("4", "other", {}),
        result("4", {"odd": 1}),
        call("5", "execute_bash", {}),
        result("5", "see tool-outputs/large.txt"),
        call("6", "execute_bash", {}),
        result("6", "cut"),
    ]
    more = {"tool-outputs/large.txt": b"\xe2\x82\xac" * 3, "tool-outputs/6.txt": b"all of it"}
    calls = read(store(user("p"), *records, **more)).tool_calls
    assert [(call.name, call.output, call.status, call.exit_code) for call in calls] == [
        ("@git/log", "no", "failed", None),
        ("shell", "oe", "completed", 1),
        ("fetch", "ab", "completed", None),
        ("other", '{"odd": 1}', "completed", None),
        ("shell", "€€€", "completed", None),
        ("shell", "all of it", "completed", None),
    ]


def test_a_session_is_found_by_id_or_by_folder_and_the_newest_wins() -> None:
    files = store(user("one"), say("1"))
    files |= store(user("two"), say("2"), name="sess_2", state={**STATE, "lastModifiedAt": "2027-01-02T00:00:00Z"})
    later = {**STATE, "lastModifiedAt": "2028-01-01T00:00:00Z"}
    files |= store(user("two"), name="sess_3", state={**later, "workspacePaths": ["/other"]})
    files |= store(user("two"), name="sess_4", state={**later, "createdReason": "subagent"})
    files |= store(user("two"), name="sess_5", state={**later, "parentSessionId": "sess_1"})
    files |= {"/home/me/.kiro/sessions/cli/x.json": b"{}", f"{ROOT}/sess_6/session.json": b"{"}
    assert read(files).session_id == "sess_2"
    assert read(files, prompt="one").session_id == "sess_1"
    assert read(files, session_id="sess_3").prompts == 1
    assert read(files, session_id="sess_6").prompts == 0
    assert sessions.read(files, engine="v3", cwd="/w", session_id="sess_9") is None
    assert sessions.read(files, engine="v3", cwd="/nowhere") is None
    assert sessions.read(files, engine="v3", cwd="/w", prompt="three") is None


def test_an_unknown_record_is_a_warning_with_file_and_line() -> None:
    odd = ["not json", '{"payload": 1}', ("surprise", {}), "", result("9", "x")]
    transcript = read(store(user("p"), *odd, say("told")))
    assert transcript.messages == ("told",)
    assert [warning.partition(": ")[0] for warning in transcript.warnings] == [
        f"{ROOT}/sess_1/messages.jsonl:{number}" for number in (2, 3, 4, 6)
    ]


def test_every_record_of_its_schema_is_known() -> None:
    """The 23 kinds of 2.15.1 to 2.21.4; those that were never seen are passed over, and none is a prompt."""
    rest = "system agent_note tool_revert mode_change session_event sub_agent_complete sub_agent_progress"
    kinds = [*rest.split(), "steering_inclusion", "ContextualHookInvoked", "session_metadata"]
    told = [
        user("A node is done.", _meta={"kiro": {"notification": {"kind": "workflow-progress"}}}),
        user("An older one.", kind="notification"),
    ]
    transcript = read(store(user("p"), START, *((kind, {}) for kind in kinds), *told, say("a"), END), prompt="p")
    assert (transcript.warnings, transcript.prompts, transcript.messages) == ((), 1, ("a",))
    # A workflow's end wakes the agent: a turn without a prompt of the user's.
    woken = [told[0], ("turn_start", {"executionId": "e2"}), say("b"), ("turn_end", {**END[1], "executionId": "e2"})]
    transcript = read(store(user("p"), START, say("a"), END, *woken), prompt="p")
    assert (transcript.prompts, transcript.messages, transcript.finished) == (1, ("a", "b"), True)


@pytest.mark.parametrize(
    ("records", "reason", "failure"),
    [
        ([("error", {"message": "The request was throttled by the service"})], None, "The request was throttled"),
        ([("error", {"message": "why"}), stop("error")], "Error", "error; why"),
        ([("session_metadata", {"key": "displayError", "value": "shown"}), stop("error")], "Error", "error; shown"),
        ([stop("refusal")], "Refusal", "refusal"),
        ([usage(0.5, "failed"), stop("refusal", category="violence")], "Refusal", "failed, refusal; violence"),
        ([asked("1", "Run it?")], "Unanswered", "Run it?"),
        ([asked("1", "Run\n it?"), stop("cancelled")], "Unanswered", "Run it?"),
        ([asked("1", None)], "Unanswered", "a question without a text"),
        ([asked("1", "Run it?"), result("1", "", success=False, id="1-result-synthetic")], "Unanswered", "Run it?"),
        ([asked("1", "Run it?"), RESOLVED], None, None),
        ([asked("1", "Run it?"), result("1", "ok")], None, None),
        ([asked("1", "Run it?"), call("1", "execute_bash", {}, status="denied")], None, None),
        ([asked("1", "Run it?"), stop("error")], "Error", "error"),
    ],
)
def test_why_a_turn_did_not_end_well(records: list[Any], reason: str | None, failure: str | None) -> None:
    transcript = read(store(user("p"), START, *records))
    assert (transcript.end_reason, transcript.finished) == (reason, False)
    assert (transcript.failure or "").startswith(failure or "")
    assert (transcript.failure is None) == (failure is None)


def test_a_question_without_an_answer_in_a_turn_that_ended_well_is_a_warning() -> None:
    transcript = read(store(user("p"), START, asked("1", "Keep it?"), say("Done."), END))
    assert (transcript.finished, transcript.end_reason) == (True, "UserTurnEnd")
    assert transcript.warnings == (f"{ROOT}/sess_1/messages.jsonl:3: it asked, and has no answer: Keep it?",)


@pytest.mark.parametrize(
    "content",
    [
        "Tool did not complete — the session was interrupted.",
        "This tool was interrupted before it reported a result, so it may or may not have taken effect.",
        "This tool was cancelled before it ran.",
    ],
)
def test_an_interrupted_call_has_not_failed(content: str) -> None:
    (only,) = read(store(user("p"), call("1", "execute_bash", {}), result("1", content, success=False))).tool_calls
    assert (only.status, only.output, only.exit_code) == ("unfinished", content, None)
    (shown,) = read(store(user("p"), call("1", "execute_bash", {}), result("1", content))).tool_calls
    assert shown.status == "completed", "so says its record"
    line = {"id": "1-result-synthetic", "payload": {"type": "tool_result", "toolCallId": "1", "content": "any"}}
    (synthetic,) = read(store(user("p"), call("1", "execute_bash", {}), json.dumps(line))).tool_calls
    assert synthetic.status == "unfinished"


def test_a_revert_takes_back_what_it_names() -> None:
    def revert(name: str) -> tuple[str, dict[str, Any]]:
        return ("tombstone", {"kind": "checkpoint_revert", "effectiveFromMessageId": name})

    turn = [user("p"), START, say("a"), call("1", "fs_write", {}), result("1", "ok"), say("b")]
    for name, messages, calls in (("m6", ("a", "c"), 1), ("m4", ("a", "c"), 0), ("m1", ("c",), 0)):
        transcript = read(store(*turn, revert(name), say("c"), usage(0.5), END))
        assert (transcript.messages, len(transcript.tool_calls), transcript.credits) == (messages, calls, 0.5)
        assert (transcript.finished, transcript.warnings) == (True, ())
    older = read(store(user("o"), START, END, *turn, revert("m1"), say("c"), END))
    assert (older.messages, older.tool_calls) == (("c",), ())
    odd = read(store(*turn, revert("nothing"), say("c"), END))
    assert (odd.messages, len(odd.tool_calls)) == (("a", "b", "c"), 1)
    assert odd.warnings == (f"{ROOT}/sess_1/messages.jsonl:7: it takes back a message that is not there: nothing",)
    twice = read(store(*turn, revert("m6"), say("c"), revert("m6"), say("d"), END))
    assert twice.messages == ("a", "d")


def test_half_of_a_character_can_be_written() -> None:
    line = '{"id": "m2", "payload": {"type": "assistant", "content": "cut \\ud83d, whole \\ud83d\\ude00"}}'
    assert read(store(user("p"), line)).messages == ("cut ?, whole 😀",)


def test_a_turn_goes_on_in_a_new_session() -> None:
    files = store(user("p"), START, say("a"), call("1", "fs_write", {}), result("1", "ok"))
    later = {**STATE, "createdAt": "2027-01-01T00:00:30Z"}
    files |= store(say("so far", "Summary"), say("b"), usage(0.5), END, name="sess_2", state=later)
    transcript = read(files, prompt="p")
    assert (transcript.session_id, transcript.messages, transcript.finished) == ("sess_2", ("a", "b"), True)
    assert (transcript.prompts, transcript.turns, len(transcript.tool_calls), transcript.credits) == (0, 1, 1, 0.5)
    for other in ({**later, "workspacePaths": ["/x"]}, {**later, "createdAt": "2026-01-01T00:00:00Z"}, STATE):
        files |= store(say("so far", "Summary"), END, name="sess_2", state=other)
        assert read(files, prompt="p").session_id == "sess_1"
    files |= store(say("so far", "Summary"), END, name="sess_2", state=later)
    files |= store(user("p"), START, END)
    assert read(files, prompt="p").session_id == "sess_1", "it has its own end"


def test_a_time_is_of_the_zone_that_it_names_else_of_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "JST-9")
    time.tzset()
    try:
        assert [moment(f"1970-01-01T{said}") for said in ("00:01:00Z", "01:01:00+01:00", "00:01:00")] == [60.0] * 3
    finally:
        monkeypatch.undo()
        time.tzset()


# -- sub-agents


def child(text: str, *paths: str, second: int = 4) -> bytes:
    records: list[Any] = [user(text)]
    for number, path in enumerate(paths):
        records += [call(f"c{number}", "read_file", {"path": path}), result(f"c{number}", "x")]
    lines = jsonl(*records).decode().splitlines()
    return "\n".join(line.replace("T00:00:0", f"T00:00:{second}", 1)[:] for line in lines).encode()


def inner(transcript: Transcript) -> list[list[str]]:
    return [[each.input["path"] for each in call.calls] for call in transcript.tool_calls]


def test_sub_agents_are_folded_in_under_their_call() -> None:
    records = [
        user("p"),
        START,
        call("1", "invoke_sub_agent", {"name": "a", "prompt": "Look at the first of them."}),
        result("1", "ok"),
        call("2", "invoke_sub_agent", {"name": "a", "prompt": "Look at the second of them."}),
        ("sub_agent_start", {"subSessionId": "x-2", "toolCallId": "3"}),
        result("2", "ok"),
        call("3", "orchestrate_subagent", {"task": "do", "stages": []}),
        result("3", "ok"),
    ]
    for order in itertools.permutations(
        [
            ("sub-executions/x-0.jsonl", child("Look at the first of them.", "/1", "/11")),
            ("sub-executions/x-1.jsonl", child("Template: Look at the second of them. Thanks.", "/2")),
            ("sub-executions/x-2/messages.jsonl", child("something else", "/3")),
        ]
    ):
        transcript = read(store(*records, **dict(order)))
        assert inner(transcript) == [["/1", "/11"], ["/2"], ["/3"]]
        assert transcript.warnings == ()


def test_a_sub_agent_without_evidence_is_of_the_call_that_ran_then_or_a_warning() -> None:
    early, late = ("invoke_sub_agent", {"prompt": "aaaaaaaa"}), ("invoke_sub_agent", {"prompt": "bbbbbbbb"})
    records = [user("p"), call("1", *early), result("1", ""), call("2", *late), result("2", "")]
    assert inner(
        read(store(*records, **{"sub-executions/x.jsonl": jsonl(user(" "), call("c", "read_file", {"path": "/c"}))}))
    ) == [["/c"], []]
    lone = read(store(user("p"), call("1", "fs_write", {}), **{"sub-executions/x.jsonl": child("q", "/c")}))
    assert [(each.name, each.agent) for each in lone.tool_calls] == [("write", ""), ("read", "x")]
    assert lone.warnings == (
        f"{ROOT}/sess_1/sub-executions/x.jsonl: a sub-agent that no tool call of this turn has started; "
        "its calls are beside the others",
    )


def test_a_sub_agent_of_an_older_turn_is_not_of_this_one() -> None:
    records = [
        user("p"),
        call("1", "invoke_sub_agent", {"prompt": "aaaaaaaa"}),
        result("1", ""),
        user("q"),
        call("2", "invoke_sub_agent", {"prompt": "bbbbbbbb"}),
    ]
    transcript = read(store(*records, **{"sub-executions/x.jsonl": jsonl(user("aaaaaaaa"))}))
    assert ([call.calls for call in transcript.tool_calls], transcript.warnings) == ([()], ())


# -- agents with sessions of their own


def node(name: str, *records: Any, workflow: str = "wf_1", second: int = 4, **state: Any) -> dict[str, bytes]:
    """A workflow's node: its session does not name its parent (read from 2.15.1)."""
    told = {"workflowId": workflow, "workflowName": "fan", "nodeId": name, "nodePath": [workflow, "fan", name]}
    whole = {**STATE, "createdAt": f"2027-01-01T00:00:0{second}.500Z", "agentMode": "wf-coder"}
    whole |= {"_meta": {"kiro": {"workflow": {**told, "type": "step"}}}, **state}
    return store(*records, name=f"sess_{name}", state=whole)


def test_the_nodes_of_a_workflow_are_the_turns() -> None:
    """Their sessions have the same folder, and may even have our prompt; they name their workflow."""
    files = store(
        user("p"), START, call("1", "run_workflow", {"workflowName": "fan"}), result("1", '{"workflowId": "wf_1"}'), END
    )
    done = call("1", "fs_write", {}), result("1", "ok"), usage(0.5), END
    files |= node("alpha", user("p"), START, say("I am alpha."), *done, lastModifiedAt="2029")
    files |= node("beta", user("Be beta."), START, call("1", "execute_bash", {}), usage(0.25), END)
    files |= node("old", user("Of another."), START, *done, createdAt="2026-01-01T00:00:00Z")
    files |= node("elsewhere", user("There."), START, *done, workspacePaths=["/x"])
    transcript = read(files, prompt="p")
    assert (transcript.session_id, transcript.messages, transcript.finished) == ("sess_1", (), True)
    (only,) = transcript.tool_calls
    assert [(each.name, each.agent) for each in only.calls] == [("write", "fan/alpha"), ("shell", "fan/beta")]
    assert transcript.agents == {"fan/alpha": ("I am alpha.",)}
    assert (transcript.credits, transcript.warnings) == (0.75, ())


def test_an_agent_that_waits_for_an_answer_is_a_warning() -> None:
    files = store(user("p"), START, call("1", "run_workflow", {}), call("2", "invoke_sub_agent", {}), END)
    files |= node("alpha", user("Be alpha."), START, asked("x", "May I?"))
    files[f"{ROOT}/sess_1/sub-executions/b.jsonl"] = jsonl(asked("y", "And I?"))
    transcript = read(files, prompt="p")
    assert transcript.finished
    assert [warning.rpartition(": ")[2] for warning in transcript.warnings] == ["And I?", "May I?"]


def test_a_session_that_names_ours_is_an_agent_of_ours() -> None:
    """Whatever it is: a sub-agent, or one that was begun from here; what it was given of ours is ours."""
    files = store(user("p"), START, say("a"), END)
    for key in ("parentSessionId", "rootConversationId"):
        other = {**STATE, key: "sess_1", "createdAt": "2027-01-01T00:00:03Z", "agentMode": "peer"}
        own = json.dumps({"id": "x1", "payload": {"type": "tool_call", "toolCallId": "1", "toolName": "fs_write"}})
        transcript = read(files | store(user("p"), START, say("a"), own, name="sess_2", state=other), prompt="p")
        assert (transcript.session_id, transcript.agents) == ("sess_1", {})
        assert [(each.name, each.agent) for each in transcript.tool_calls] == [("write", "peer")]
        assert "no tool call of this turn has started; its calls are beside the others" in transcript.warnings[0]
    alone = read(store(user("p"), START, END, state={**STATE, "rootConversationId": "sess_1"}), prompt="p")
    assert alone.finished, "it names itself"


def test_a_sub_agent_by_what_its_parent_tells_of_it() -> None:
    """Its file has neither its name nor its prompt; without a file nothing says what it did."""
    begun = {"subSessionId": "x-1", "subAgentName": "helper", "prompt": "Look at all of it.", "explanation": "so"}
    records = [
        user("p"),
        START,
        call("1", "invoke_sub_agent", {"prompt": "Something else."}),
        call("2", "invoke_sub_agent", {"prompt": "Look at all of it."}),
        ("sub_agent_start", begun),
        ("sub_agent_start", {"subSessionId": "x-2", "subAgentName": "lost"}),
        ("sub_agent_complete", {"subSessionId": "x-2", "response": "I have done it.", "status": "success"}),
        END,
    ]
    log = jsonl(say("I look."), call("c", "read_file", {"path": "/c"}), result("c", "x"))
    transcript = read(store(*records, **{"sub-executions/x-1.jsonl": log}))
    assert [[(each.name, each.agent) for each in one.calls] for one in transcript.tool_calls] == [
        [],
        [("read", "helper")],
    ]
    assert transcript.agents == {"helper": ("I look.",), "lost": ("I have done it.",)}
    assert transcript.warnings == (
        f"{ROOT}/sess_1/messages.jsonl:6: the records of lost are not there, so what it did is not known",
    )


@pytest.mark.parametrize(
    ("listed", "steering"),
    [
        ([], ()),
        (
            [{"path": "/w/.kiro/steering/a.md"}, {"uri": "file:///w/b.md", "name": "b"}, "c.md"],
            (
                "/w/.kiro/steering/a.md",
                "file:///w/b.md",
                "c.md",
            ),
        ),
        ([None, 1, {}, {"path": ["a"]}, ""], ()),
        ("a.md", ()),
        (None, ()),
    ],
)
def test_steering_that_the_start_of_the_session_lists(listed: Any, steering: tuple[str, ...]) -> None:
    opening = ("session_start", {"content": "Go.", "steeringDocuments": listed})
    for files in (store(opening, user("Go."), START, say("1"), END), store(user("Go."), START, say("1"), END, opening)):
        assert read(files).steering == steering


def test_a_skill_that_is_put_into_the_prompt() -> None:
    files = store(user("Go."), START, call("1", "disclose_context", {"name": "release"}), result("1", "text"), END)
    (told,) = read(files).tool_calls
    assert (told.name, told.input, told.status) == ("disclose_context", {"name": "release"}, "completed")


def test_what_a_session_is_set_to_comes_with_it() -> None:
    """The effort is of captures; that a name ends in Enabled, of a session's metadata on the wire."""
    odd = {"oddEnabled": "yes", "Enabled": None, "xEnabled": 1}
    state = {"effortLevel": "high", "workflowsEnabled": True, "ftaEnabled": False, "bEnabled": True, **odd}
    transcript = read(store(user("Build it."), START, END, state={**STATE, **state}), prompt="Build it.")
    assert (transcript.effort, transcript.features) == ("high", ("b", "workflows"))
    many = {f"f{number:04}Enabled": True for number in range(1000)}
    assert len(read(store(user("x"), START, END, state={**STATE, **many}), prompt="x").features) == 100
    for effort in (None, 7, ["high"]):
        assert read(store(user("x"), START, END, state={**STATE, "effortLevel": effort}), prompt="x").effort is None
