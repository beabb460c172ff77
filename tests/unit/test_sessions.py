"""kiro-cli's session files become values: ours of the same shape, and, where they are kept, those it really wrote."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_places import places, replaced

from pytest_kiro.kirocli import sessions
from pytest_kiro.turn.transcript import ToolCall, Transcript

OURS = Path(__file__).parents[1] / "standin" / "data"
REAL = Path(__file__).parents[2].parent / "shared" / "data" / "kiro-sessions"
STORE = "/home/me/.kiro/sessions/cli"
SIDECAR = {
    "session_id": "s1",
    "cwd": "/w",
    "updated_at": "2027-01-01T00:00:00Z",
    "session_state": {
        "conversation_metadata": {
            "user_turn_metadatas": [
                {
                    "result": {"Ok": {"id": "x", "role": "assistant", "content": []}},
                    "turn_duration": {"secs": 3, "nanos": 500_000_000},
                    "end_reason": "UserTurnEnd",
                    "metering_usage": [{"value": 0.25, "unit": "credit"}, {"value": 0.5, "unit": "credit"}],
                }
            ]
        },
        "rts_model_state": {"model_info": {"model_id": "a-model"}},
    },
}


def line(kind: str, *content: tuple[str, Any], **more: Any) -> dict[str, Any]:
    parts = [{"kind": what, "data": data} for what, data in content]
    return {"version": "v1", "kind": kind, "data": {"message_id": "m", "content": parts, **more}}


def use(key: str, name: str, /, **arguments: Any) -> tuple[str, Any]:
    return ("toolUse", {"toolUseId": key, "name": name, "input": {**arguments, "__tool_use_purpose": "why"}})


def result(key: str, *content: tuple[str, Any], status: str = "success", outcome: Any = None) -> dict[str, Any]:
    data = {"toolUseId": key, "content": [{"kind": what, "data": d} for what, d in content], "status": status}
    return line("ToolResults", ("toolResult", data), results={key: {"tool": {}, "result": outcome or {"Success": {}}}})


def store(*records: Any, sidecar: Any = SIDECAR, name: str = "s1") -> dict[str, bytes]:
    text = "\n".join(record if isinstance(record, str) else json.dumps(record) for record in records)
    return {f"{STORE}/{name}.jsonl": text.encode(), f"{STORE}/{name}.json": json.dumps(sidecar).encode()}


def read(files: Mapping[str, bytes], **options: Any) -> Transcript:
    transcript = sessions.read(files, cwd="/w", **options)
    assert transcript is not None
    return transcript


# -- what kiro-cli wrote


def folders() -> list[Any]:
    found = [pytest.param(path, id=f"ours-{path.name}") for path in sorted(OURS.iterdir()) if path.is_dir()]
    if REAL.is_dir():
        return found + [pytest.param(path, id=f"real-{path.name}") for path in sorted(REAL.iterdir())]
    reason = "SKIPPED LOUDLY: the session files that kiro-cli really wrote are not beside this checkout"
    return [*found, pytest.param(REAL, id="real", marks=pytest.mark.skip(reason=reason))]


@pytest.mark.parametrize("folder", folders())
def test_every_kept_session_is_read_completely(folder: Path) -> None:
    log = (folder / "messages.jsonl").read_bytes()
    kept = folder / "session.json"
    # Not every session has its sidecar: a neutral one stands in for it, and what it says is not looked at.
    sidecar = json.loads(kept.read_bytes()) if kept.exists() else SIDECAR
    files = {f"{STORE}/x.jsonl": log, f"{STORE}/x.json": json.dumps(sidecar).encode()}
    records = [json.loads(text) for text in log.splitlines()]
    (asked,) = (part["data"] for part in records[0]["data"]["content"])
    transcript = sessions.read(files, cwd=sidecar["cwd"], prompt=asked)
    assert transcript is not None
    assert sessions.read(files, cwd=sidecar["cwd"], prompt=f"{asked}?") is None
    assert transcript.warnings == ()
    assert transcript.prompts == sum(record["kind"] == "Prompt" for record in records) == 1
    parts = [(record["kind"], part["kind"], part["data"]) for record in records for part in record["data"]["content"]]
    said = [data for kind, what, data in parts if (kind, what) == ("AssistantMessage", "text") and data]
    assert list(transcript.messages) == said
    used = [data for _, what, data in parts if what == "toolUse"]
    answers = {data["toolUseId"]: data for _, what, data in parts if what == "toolResult"}
    assert len(transcript.tool_calls) == len(used) == len(answers) > 0
    for call, data in zip(transcript.tool_calls, used, strict=True):
        expected = {k: v for k, v in data["input"].items() if k != "__tool_use_purpose"}
        assert (call.raw_name, call.input) == (data["name"], expected)
        assert call.status == "completed"
        (item,) = (part["data"] for part in answers[data["toolUseId"]]["content"])
        if call.name == "shell":
            assert call.command == data["input"]["command"]
            assert call.output == item["stdout"] + item["stderr"]
            assert call.exit_code == int(re.sub(r"\D", "", item["exit_status"]))
        else:
            assert call.exit_code is None
            assert json.loads(call.output) == item
    if kept.exists():
        (metadata,) = sidecar["session_state"]["conversation_metadata"]["user_turn_metadatas"]
        assert transcript.finished
        assert transcript.end_reason == "UserTurnEnd"
        assert transcript.failure is None
        assert transcript.turns == 1
        assert transcript.credits == pytest.approx(sum(usage["value"] for usage in metadata["metering_usage"]))
        assert transcript.credits
        assert transcript.model == sidecar["session_state"]["rts_model_state"]["model_info"]["model_id"]
        seconds = metadata["turn_duration"]
        assert transcript.duration == pytest.approx(seconds["secs"] + seconds["nanos"] / 1e9)


@pytest.mark.skipif(not REAL.is_dir(), reason="SKIPPED LOUDLY: the session files that kiro-cli really wrote are absent")
def test_what_stands_in_the_real_ones() -> None:
    """The numbers, read by eye."""
    folder = REAL / "auto_executed_tool"
    sidecar = (folder / "session.json").read_bytes()
    files = {f"{STORE}/x.jsonl": (folder / "messages.jsonl").read_bytes(), f"{STORE}/x.json": sidecar}
    transcript = sessions.read(files, cwd=json.loads(sidecar)["cwd"])
    assert transcript is not None
    assert transcript.messages == ("done",)
    assert transcript.tool_calls == (
        ToolCall("shell", "shell", {"command": "echo hello"}, "hello\n", "completed", exit_code=0),
    )
    assert (transcript.model, transcript.end_reason) == ("qwen3-coder-next", "UserTurnEnd")
    assert transcript.credits == pytest.approx(0.01592209950248756 + 0.01589020232172471)
    assert transcript.duration == pytest.approx(3.187933125)
    log = (REAL / "self_correction" / "messages.jsonl").read_bytes()
    calls = read({f"{STORE}/x.jsonl": log, f"{STORE}/x.json": json.dumps(SIDECAR).encode()}).tool_calls
    assert [(call.command, call.exit_code, call.status) for call in calls] == [
        ("false", 1, "completed"),
        ("echo recovered", 0, "completed"),
    ]


# -- tool calls


def test_older_names_are_told_in_todays_words() -> None:
    older = {"fs_read": "read", "fs_write": "write", "execute_bash": "shell", "execute_cmd": "shell", "grep": "grep"}
    records = [line("AssistantMessage", *(use(raw, raw) for raw in [*older, "@git/log"]))]
    calls = read(store(line("Prompt"), *records)).tool_calls
    assert {call.raw_name: call.name for call in calls} == {**older, "@git/log": "@git/log"}
    assert {call.status for call in calls} == {"unfinished"}, "the turn ended first"


@pytest.mark.parametrize(
    ("answer", "status", "output", "code"),
    [
        (result("1", ("json", {"exit_status": "exit status: 1", "stdout": "o", "stderr": "e"})), "completed", "oe", 1),
        (result("1", ("json", {"exit_status": "exit status: -9"})), "completed", "", -9),
        (result("1", ("json", {"exit_status": "signal"})), "completed", "", None),
        (result("1", ("text", "a"), ("text", "b")), "completed", "ab", None),
        (result("1", ("json", {"é": [1]})), "completed", '{"é": [1]}', None),
        (result("1", ("text", "no such file"), status="error"), "failed", "no such file", None),
        (
            result("1", ("text", "Tool permission approval is not supported"), status="error"),
            "denied",
            "Tool permission approval is not supported",
            None,
        ),
        (result("1", status="error", outcome="Cancelled"), "denied", "", None),
        (result("2", ("text", "of another")), "unfinished", "", None),
    ],
)
def test_a_tools_result(answer: dict[str, Any], status: str, output: str, code: int | None) -> None:
    files = store(line("Prompt"), line("AssistantMessage", use("1", "shell", command="x")), answer)
    (call,) = read(files).tool_calls
    assert (call.status, call.output, call.exit_code) == (status, output, code)
    assert call.input == {"command": "x"}


# -- which session, which turn


def test_a_session_is_found_by_id_or_by_folder_and_the_newest_wins() -> None:
    files = store(line("Prompt"), line("AssistantMessage", ("text", "one")))
    newer = {**SIDECAR, "updated_at": "2027-01-02T00:00:00Z"}
    files |= store(line("Prompt"), line("AssistantMessage", ("text", "two")), sidecar=newer, name="s2")
    elsewhere = {**SIDECAR, "updated_at": "2028-01-01T00:00:00Z", "cwd": "/other"}
    files |= store(line("Prompt"), line("AssistantMessage", ("text", "three")), sidecar=elsewhere, name="s3")
    files |= {f"{STORE}/notes.txt": b"", f"{STORE}/broken.json": b"{", f"{STORE}/list.json": b"[]"}
    assert read(files).session_id == "s2"
    assert read(files, session_id="s1").messages == ("one",)
    assert sessions.read(files, cwd="/w", session_id="s9") is None
    assert sessions.read(files, cwd="/nowhere") is None
    assert sessions.read({}, cwd="/w") is None


def test_a_session_with_another_prompt_proves_nothing() -> None:
    """A sub-agent has a session in the same folder, and it may have ended well where ours did not."""
    newer = {**SIDECAR, "updated_at": "2027-01-02T00:00:00Z"}
    theirs = store(line("Prompt", ("text", "Help.")), sidecar=newer, name="sub")
    files = store(line("Prompt", ("text", "Build it."))) | theirs
    assert read(files, prompt=" Build it.\n").session_id == "s1"
    assert sessions.read(theirs, cwd="/w", prompt="Build it.") is None


def test_an_old_turn_is_never_taken_for_the_new_one() -> None:
    files = store(line("Prompt"), line("AssistantMessage", ("text", "old")))
    transcript = read(files, prompts=1, turns=1)
    assert (transcript.messages, transcript.finished, transcript.end_reason) == ((), False, None)
    assert (transcript.prompts, transcript.turns, transcript.credits) == (1, 1, None)
    files = store(
        line("Prompt"),
        line("AssistantMessage", ("text", "old")),
        line("Prompt"),
        line("AssistantMessage", ("text", "new")),
    )
    transcript = read(files, prompts=1, turns=1)
    assert (transcript.messages, transcript.finished, transcript.prompts) == (("new",), False, 2)
    assert read(files, prompts=1).finished


def test_a_turn_that_failed_says_how() -> None:
    for failure, said in (("Throttled", "Throttled"), ({"kind": "Throttling"}, '{"kind": "Throttling"}')):
        metadata = {"result": {"Err": failure}, "end_reason": "Error"}
        sidecar = {**SIDECAR, "session_state": {"conversation_metadata": {"user_turn_metadatas": [metadata]}}}
        transcript = read(store(line("Prompt"), sidecar=sidecar))
        assert (transcript.finished, transcript.end_reason, transcript.failure) == (False, "Error", said)
        assert (transcript.credits, transcript.duration, transcript.model) == (None, None, None)


@pytest.mark.parametrize("word", ["Refusal", "refused", "CONTENT_FILTERED", "ContentFiltered"])
def test_a_content_filters_refusal(word: str) -> None:
    """The word in V2's store is a guess."""
    metadata = {"result": {"Ok": {}}, "end_reason": word}
    sidecar = {**SIDECAR, "session_state": {"conversation_metadata": {"user_turn_metadatas": [metadata]}}}
    assert read(store(line("Prompt"), sidecar=sidecar)).end_reason == "Refusal"


def test_a_turn_without_a_result_needs_an_answer() -> None:
    """Public files of turns that ended well have no `result`."""
    sidecar = {"session_state": {"conversation_metadata": {"user_turn_metadatas": [{"end_reason": "UserTurnEnd"}]}}}
    answered = read(store(line("Prompt"), line("AssistantMessage", ("text", "hello")), sidecar={**SIDECAR, **sidecar}))
    assert (answered.finished, answered.end_reason) == (True, "UserTurnEnd")
    assert not read(store(line("Prompt"), sidecar={**SIDECAR, **sidecar})).finished


NOTE = "SYSTEM NOTE: the actual tool use arguments were too complicated to be generated"


def test_a_history_that_kiro_cli_will_not_resume_is_read_and_told() -> None:
    """So public reports have it (Kiro#6110, versions up to 1.26.2): a large `write` becomes a note in an answer of its
    own, before the result of the call before it."""
    transcript = read(
        store(
            line("Prompt", ("text", "p")),
            line("AssistantMessage", ("text", "I look."), use("1", "read", path="a")),
            line("AssistantMessage", ("text", ""), use("2", "write", key=NOTE)),
            result("1", ("text", "x")),
            line("AssistantMessage", ("text", "Done.")),
        )
    )
    assert [(call.name, call.status, call.output) for call in transcript.tool_calls] == [
        ("read", "completed", "x"),
        ("write", "unfinished", ""),
    ]
    assert (transcript.messages, transcript.finished) == (("I look.", "Done."), True)
    refused = "kiro-cli may refuse to resume it (invalid conversation history)"
    assert transcript.warnings == (
        "a call of write did not run: kiro-cli has put a note in place of its arguments",
        f"{STORE}/s1.jsonl:3: a second answer in a row; {refused}",
        f"{STORE}/s1.jsonl:3: a tool call without a result; {refused}",
    )
    interrupted = read(store(line("Prompt", ("text", "p")), line("AssistantMessage", use("1", "read"))))
    assert interrupted.warnings == ()


# -- what is not known


def test_an_unknown_record_is_a_warning_with_file_and_line() -> None:
    files = store(
        line("Prompt"),
        line("Surprise", ("text", "x")),
        line("Compaction"),
        line("Clear"),
        '{"kind": "Prompt"}',
        "not json",
        "",
        "[1]",
        line("AssistantMessage", ("text", "told")),
    )
    transcript = read(files)
    assert transcript.messages == ("told",), "one odd record must not cost the whole turn"
    assert [warning.partition(": ")[0] for warning in transcript.warnings] == [
        f"{STORE}/s1.jsonl:{number}" for number in (2, 5, 6, 8)
    ]
    assert "Surprise" in transcript.warnings[0]
    assert all("not a record that is known" in warning for warning in transcript.warnings)


def test_a_session_whose_log_is_not_there_proves_nothing() -> None:
    files = store(line("Prompt"))
    assert read(files).finished
    del files[f"{STORE}/s1.jsonl"]
    assert (read(files).prompts, read(files).finished) == (0, False)


def test_numbers_that_are_none() -> None:
    for odd in ("NaN", "Infinity", "true", "1" + "0" * 400, '"1"', "null"):
        text = json.dumps(SIDECAR).replace("0.25", odd).replace('"secs": 3', f'"secs": {odd}')
        transcript = read({**store(line("Prompt")), f"{STORE}/s1.json": text.encode()})
        assert (transcript.credits, transcript.duration, transcript.finished) == (0.5, None, True)


def test_an_engine_that_is_not_known() -> None:
    with pytest.raises(ValueError, match="engine 'v9' is not known; it must be one of v1, v2, v3"):
        sessions.read({}, engine="v9", cwd="/w")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
GOOD = [
    line("Prompt", ("text", "x")),
    line("AssistantMessage", ("text", "y"), use("1", "shell", command="x")),
    result("1", ("json", {"exit_status": "exit status: 1", "stdout": "o", "stderr": "e"})),
]


@given(st.data(), JSON)
def test_no_shape_costs_more_than_itself(data: st.DataObject, surprise: Any) -> None:
    """Any one value may be any other JSON value: a Transcript still comes back."""
    number = data.draw(st.integers(0, len(GOOD)))
    if number < len(GOOD):
        at = data.draw(st.sampled_from(places(GOOD[number])))
        records = [replaced(record, at, surprise) if i == number else record for i, record in enumerate(GOOD)]
        files = store(*records)
    else:
        at = data.draw(st.sampled_from(places(SIDECAR)))
        files = store(*GOOD, sidecar=replaced(SIDECAR, at, surprise))
    transcript = sessions.read(files, cwd="/w")
    assert transcript is None or transcript.session_id == "s1"


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_no_bytes_are_an_exception(log: bytes, sidecar: bytes) -> None:
    sessions.read({f"{STORE}/s1.jsonl": log, f"{STORE}/s1.json": sidecar}, cwd="/w")
    read({f"{STORE}/s1.jsonl": log, f"{STORE}/s1.json": json.dumps(SIDECAR).encode()})


def test_a_record_as_deep_as_a_well() -> None:
    files = store(line("Prompt"), "[" * 200_000, line("AssistantMessage", ("text", "told")))
    transcript = read(files)
    assert transcript.messages == ("told",)
    assert len(transcript.warnings) == 1
