"""The session files: same keys, same nesting, same order as those of the real program."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from standin_process import Standin, tool

OURS = Path(__file__).parent / "data"
REAL = Path(__file__).parents[2].parent / "shared/data/kiro-sessions"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
SESSIONS = [
    *(OURS / name for name in ("one_command", "second_try", "tasks")),
    *(REAL / name for name in ("auto_executed_tool", "self_correction", "task_list")),
]


def session(folder: Path, name: str) -> str:
    if not folder.exists():
        pytest.skip(f"no recorded sessions in {folder}")
    return (folder / name).read_text(encoding="utf-8")


def shape(value: Any) -> Any:
    """Keys, their order and the kinds of the values."""
    if isinstance(value, dict):
        return [(key, shape(entry)) for key, entry in value.items()]
    if isinstance(value, list):
        return [shape(entry) for entry in value]
    return type(value).__name__


def ordered(value: Any) -> Any:
    """A value whose comparison sees the order of keys."""
    if isinstance(value, dict):
        return [(key, ordered(entry)) for key, entry in value.items()]
    return [ordered(entry) for entry in value] if isinstance(value, list) else value


def without_ids(lines: list[dict[str, Any]]) -> Any:
    for line in lines:
        line["data"]["message_id"] = "an id"
        if "meta" in line["data"]:
            line["data"]["meta"]["timestamp"] = 0
    return ordered(lines)


def replies_of(lines: list[dict[str, Any]]) -> list[list[Any]]:
    """The scripted replies that lead to these messages."""
    replies = []
    for line in lines:
        if line["kind"] != "AssistantMessage":
            continue
        request: list[Any] = []
        for part in line["data"]["content"]:
            if part["kind"] == "text":
                request.append(part["data"])
            else:
                use = part["data"]
                call = {"tool_use_id": use["toolUseId"], "name": use["name"], "args": use["input"]}
                request.append(call)
        replies.append(request)
    return replies


@pytest.mark.parametrize("folder", SESSIONS, ids=lambda folder: folder.name)
def test_the_messages_of_a_recorded_session_come_out_again(standin: Standin, folder: Path) -> None:
    recorded = [json.loads(line) for line in session(folder, "messages.jsonl").splitlines()]
    prompt = recorded[0]["data"]["content"][0]["data"]

    result = standin.chat(prompt, replies_of(recorded))

    assert result.code == 0
    assert without_ids(standin.messages()) == without_ids(recorded)


@pytest.mark.parametrize("folder", [SESSIONS[0], SESSIONS[3]], ids=lambda folder: folder.name)
def test_the_state_file_has_the_recorded_shape(standin: Standin, folder: Path) -> None:
    recorded = json.loads(session(folder, "session.json"))
    lines = [json.loads(line) for line in session(folder, "messages.jsonl").splitlines()]
    turn = recorded["session_state"]["conversation_metadata"]["user_turn_metadatas"][0]
    turn["metering_usage"] = []  # a scripted run is not metered

    standin.chat(lines[0]["data"]["content"][0]["data"], replies_of(lines))

    assert shape(standin.state()) == shape(recorded)
    written = standin.turns()[0]
    for name in ("total_request_count", "number_of_cycles", "builtin_tool_uses", "end_reason"):
        assert written[name] == turn[name]
    assert written["message_ids"] == [message["data"]["message_id"] for message in standin.messages()]


def test_the_state_file_is_indented_by_two_and_the_messages_are_not(standin: Standin) -> None:
    standin.chat("Grüß Gott", [["“Hallo”\t\x01"]])

    text = (standin.store / f"{standin.ids()[0]}.json").read_text(encoding="utf-8")
    lines = (standin.store / f"{standin.ids()[0]}.jsonl").read_text(encoding="utf-8")

    assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    assert lines.count("\n") == 2
    for line in lines.splitlines():
        assert line == json.dumps(json.loads(line), separators=(",", ":"), ensure_ascii=False)


def test_ids_and_times_are_real(standin: Standin) -> None:
    standin.chat("hello", [["hi"]])

    state = standin.state()
    assert UUID.fullmatch(state["session_id"])
    assert state["session_state"]["rts_model_state"]["conversation_id"] == state["session_id"]
    assert all(TIME.fullmatch(state[name]) for name in ("created_at", "updated_at"))
    assert state["created_at"] < standin.turns()[0]["end_timestamp"] <= state["updated_at"]
    assert state["cwd"] == str(standin.cwd)
    ids = [message["data"]["message_id"] for message in standin.messages()]
    assert all(UUID.fullmatch(i) for i in ids)
    assert len(set(ids)) == 2
    duration = standin.turns()[0]["turn_duration"]
    assert duration["secs"] * 10**9 + duration["nanos"] > 0


def test_nothing_but_the_session_is_left(standin: Standin) -> None:
    standin.chat("hello", [["hi"]])

    assert sorted(path.suffix for path in standin.store.iterdir()) == [".json", ".jsonl"]


def test_the_lock_is_held_while_the_turn_runs(standin: Standin) -> None:
    standin.chat("hello", [[tool("shell", command="ls ~/.kiro/sessions/cli | sed 's/.*[.]//'")], ["ok"]])

    assert standin.results()[0]["content"][0]["data"]["stdout"] == "json\njsonl\nlock\n"


def test_kiro_home_moves_the_store(standin: Standin, tmp_path: Path) -> None:
    standin.chat("hello", [["hi"]], env={"KIRO_HOME": str(tmp_path / "elsewhere")})

    assert not standin.store.exists()
    assert len(list((tmp_path / "elsewhere/sessions/cli").glob("*.json"))) == 1


def test_resume_continues_the_newest_session_of_the_directory(standin: Standin, tmp_path: Path) -> None:
    standin.chat("first", [["one"]])
    (first,) = standin.ids()
    standin.chat("second", [["two"]])
    (second,) = set(standin.ids()) - {first}
    (tmp_path / "other").mkdir()
    standin.chat("elsewhere", [["three"]], cwd=tmp_path / "other")

    standin.chat("fourth", [["four"]], "--resume")

    assert len(standin.ids()) == 3
    assert [len(standin.turns(i)) for i in (first, second)] == [1, 2]
    kinds = [message["kind"] for message in standin.messages(second)]
    assert kinds == ["Prompt", "AssistantMessage"] * 2
    assert standin.turns(second)[1]["result"]["Ok"]["content"][0]["data"] == "four"
    assert standin.turns(second)[1]["message_ids"] == [
        message["data"]["message_id"] for message in standin.messages(second)[2:]
    ]
    assert standin.state(second)["title"] == "second"


def test_resume_without_a_session_silently_starts_one(standin: Standin, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    standin.chat("elsewhere", [["one"]], cwd=tmp_path / "other")

    result = standin.chat("hello", [["hi"]], "-r")

    assert (result.code, result.out, result.err) == (0, "hi\n", "")
    assert len(standin.ids()) == 2


def test_resume_passes_over_damaged_sessions(standin: Standin) -> None:
    standin.chat("first", [["one"]])
    (first,) = standin.ids()
    (standin.store / "broken.json").write_text("{")
    (standin.store / "strange.json").write_text("[1]")
    state = standin.state(first) | {"session_id": "without-messages"}
    (standin.store / "without-messages.json").write_text(json.dumps(state))

    standin.chat("second", [["two"]], "-r")

    assert len(standin.turns(first)) == 2


def test_resume_id_continues_that_session_from_any_directory(standin: Standin, tmp_path: Path) -> None:
    standin.chat("first", [["one"]])
    (first,) = standin.ids()
    standin.chat("second", [["two"]])
    (tmp_path / "other").mkdir()

    result = standin.chat("third", [["three"]], "--resume-id", first, cwd=tmp_path / "other")

    assert result.code == 0
    assert len(standin.ids()) == 2
    assert len(standin.turns(first)) == 2
    assert standin.state(first)["cwd"] == str(standin.cwd)


def test_an_unknown_resume_id_is_an_error_and_creates_nothing(standin: Standin) -> None:
    result = standin.chat("hello", [["hi"]], "--resume-id=nobody")

    assert (result.code, result.out) == (1, "")
    assert result.err == "Failed to start session: Session not found: nobody\n"
    assert not standin.store.exists()


def test_a_session_with_a_lock_is_refused_whoever_has_left_it(standin: Standin) -> None:
    standin.chat("first", [["one"]])
    (first,) = standin.ids()
    lock = standin.store / f"{first}.lock"

    for pid in (1, 999_999_999):
        lock.write_text(f'{{"pid": {pid}}}')
        refused = standin.chat("second", [["two"]], "-r")
        assert refused.code == 1
        assert f"Session is active in another process (PID {pid})" in refused.err
    lock.write_text("")
    unread = standin.chat("third", [["three"]], "-r")
    lock.unlink()
    accepted = standin.chat("fourth", [["four"]], "-r")

    assert (unread.code, "failed to read lock file" in unread.err) == (1, True)
    assert accepted.code == 0
    assert len(standin.turns(first)) == 2


def test_sessions_can_be_listed_and_deleted(standin: Standin, tmp_path: Path) -> None:
    standin.chat("the first one", [["one"]])
    (first,) = standin.ids()

    listed = standin.run("chat", "--list-sessions")
    elsewhere = standin.run("chat", "-l", cwd=tmp_path)
    deleted = standin.run("chat", "--delete-session", first)

    assert (listed.code, listed.out) == (0, "")
    assert first in listed.err
    assert "the first one" in listed.err
    assert "none" in elsewhere.err
    assert deleted.code == 0
    assert list(standin.store.iterdir()) == []
    assert standin.run("chat", "-d", first).code == 1


def test_a_cancelled_turn_is_recorded_as_cancelled(standin: Standin) -> None:
    replies = [["Working. ", tool("shell", command="kill -INT $PPID; exec sleep 600")], ["never"]]

    result = standin.chat("hello", replies)

    assert result.code == 130
    assert "never" not in result.out
    (turn,) = standin.turns()
    assert turn["end_reason"] == "Cancelled"
    assert "Ok" not in turn["result"]
    assert not list(standin.store.glob("*.lock"))


def test_a_long_prompt_gives_a_short_title(standin: Standin) -> None:
    standin.chat("word " * 1000, [["hi"]])

    assert len(standin.state()["title"]) == 200


def test_recall_searches_the_session_that_was_resumed(standin: Standin) -> None:
    standin.chat("My name is Ada. Answer OK.", [["OK, noted as number 7."]])
    standin.chat("Another session here.", [["Hm."]], "--resume-id", standin.ids()[0])
    asked = [["{recall:name is (\\w+)|nobody}, {recall:number \\d{1,2}|none}, {recall:(Bob)|no {Bob}}."]]

    resumed = standin.chat("Who am I?", asked, "-r")
    fresh = standin.chat("Who am I? My name is Eve.", asked)

    assert resumed.out == "Ada, number 7, no {Bob}.\n"
    assert fresh.out == "nobody, none, no {Bob}.\n"


def test_recall_takes_the_newest_match_and_separates_at_the_last_bar(standin: Standin) -> None:
    standin.chat("The colour is red.", [["ok"]])
    standin.chat("The colour is blue.", [["ok"]], "-r")

    text = "{recall:is (red|blue)|none} {recall:is (green)?|x} {recall:\\}|a brace} {recall:zzz|}!"
    result = standin.chat("Which?", [[text]], "-r")

    assert result.out == "blue  a brace !\n"


@pytest.mark.parametrize("text", ["{recall:name}", "{recall:a|b", "{recall:(|x}"])
def test_a_malformed_recall_is_an_error(standin: Standin, text: str) -> None:
    result = standin.chat("hello", [[text]])

    assert result.code == 2
    assert "recall" in result.err
    assert standin.turns()[0]["end_reason"] == "Error"
    assert not list(standin.store.glob("*.lock"))
