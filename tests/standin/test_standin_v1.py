"""Engine V1: its text, and its conversations in data.sqlite3."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from standin_process import DEADLINE, HEADLESS, Result, Standin, read_until, tool

ANSI = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def chat(standin: Standin, prompt: str, replies: Any, *more: str, **keywords: Any) -> Result:
    return standin.run(*HEADLESS, "--agent-engine", "v1", "-a", *more, stdin=prompt, replies=replies, **keywords)


def plain(text: str) -> str:
    """Without colours and durations."""
    return re.sub(r"in \d+\.\d+s", "in 0.0s", ANSI.sub("", text))


def test_text_has_a_mark_in_colour_once_per_message(standin: Standin) -> None:
    result = chat(standin, "hello", [["Hello, ", "world.", tool("shell", command="true")], ["Done."]])

    assert result.code == 0
    assert result.out.startswith("\x1b[38;5;141m> \x1b[0mHello, world.\n")
    assert result.out.endswith("\x1b[38;5;141m> \x1b[0mDone.\n")
    assert result.out.count("> ") == 2


def test_no_color_leaves_the_resets(standin: Standin) -> None:
    result = chat(standin, "hello", [["HELLO"]], env={"NO_COLOR": "1"})

    assert result.out == "\x1b[m> \x1b[0mHELLO\n"


def test_the_transcript_of_the_guide(standin: Standin) -> None:
    replies = [
        [tool("write", 1, command="create", path="donut.js", content="console.log('$$$')\n")],
        [tool("shell", 2, command="echo '$$$'", __tool_use_purpose="Run it")],
        ["The shading uses characters."],
    ]

    result = chat(standin, "Write donut.js", replies)

    path = standin.cwd / "donut.js"
    assert plain(result.out) == (
        f"I'll create the following file: {path} (using tool: write)\n"
        f"Creating: {path}\n - Completed in 0.0s\n\n"
        "I will run the following command: echo '$$$' (using tool: shell)\n"
        "Purpose: Run it\n$$$\n - Completed in 0.0s\n\n"
        "> The shading uses characters.\n"
    )
    assert path.read_text() == "console.log('$$$')\n"


def test_the_trust_banner_is_on_stderr(standin: Standin) -> None:
    trusting = chat(standin, "hello", [["hi"]])
    careful = standin.run(*HEADLESS, "--classic", "hello", replies=[["hi"]])

    assert trusting.err.startswith("All tools are now trusted (!). Kiro will execute tools without asking")
    assert careful.err == ""


def test_files_are_announced_by_what_happens_to_them(standin: Standin) -> None:
    (standin.cwd / "a.txt").write_text("one\ntwo\nthree\n")
    (standin.cwd / "b.txt").write_text("b\n")
    lines = [{"mode": "Line", "path": "a.txt", "offset": 1, "limit": 1}]
    both = [{"mode": "Line", "path": "a.txt"}, {"mode": "Directory", "path": "."}]
    calls = [
        tool("read", 1, operations=[{"mode": "Line", "path": "b.txt"}]),
        tool("read", 2, operations=lines),
        tool("read", 3, operations=both),
        tool("write", 4, command="create", path="b.txt", content="c\n"),
        tool("write", 5, command="strReplace", path="b.txt", oldStr="c", newStr="d"),
        tool("write", 6, command="insert", path="b.txt", content="e\n"),
        tool("shell", 7, command="pwd", working_dir="."),
    ]

    shown = plain(chat(standin, "hello", [calls, ["ok"]]).out)

    a, b = standin.cwd / "a.txt", standin.cwd / "b.txt"
    assert shown.startswith(
        f"Reading file: {b}, all lines (using tool: read) ✓ Successfully read 1 bytes from {b}\n - Completed in 0.0s\n"
    )
    assert f"Reading file: {a}, from line 2 to line 2 (using tool: read)" in shown
    assert "Batch fs_read operation with 2 operations (using tool: read)\n" in shown
    assert f"↱ Operation 2: Reading directory: {standin.cwd} with maximum depth of 0\n" in shown
    assert " - Summary: 2 operations processed, 2 successful, 0 failed\n" in shown
    for verb in ("Replacing", "Updating", "Appending to"):
        assert f"I'll modify the following file: {b} (using tool: write)\n{verb}: {b}\n" in shown
    assert f"I will run the following command: pwd (in .) (using tool: shell)\n{standin.cwd}\n" in shown


def test_output_of_a_command_is_shown_while_it_runs(standin: Standin) -> None:
    (standin.cwd / "make").write_text("mkfifo fifo; echo before; cat fifo; echo after >&2")

    process = standin.spawn(*HEADLESS, "--classic", "-a", "hello", replies=[[tool("shell", command="sh make")], ["ok"]])
    assert process.stdout
    read_until(process.stdout.fileno(), b"\nbefore\n")
    (standin.cwd / "fifo").write_text("through\n")

    assert b"through\nafter\n" in read_until(process.stdout.fileno(), None)
    assert process.wait(DEADLINE) == 0


def test_a_tool_that_fails_says_so_on_stderr(standin: Standin) -> None:
    calls = [
        tool("read", 1, operations=[{"mode": "Line", "path": "none"}]),
        tool("shell", 2),
        tool("write", 3, command="create", path=".", content=""),
        tool("shell", 4, command="exit 7"),
    ]

    result = chat(standin, "hello", [calls, ["ok"]])

    assert result.code == 0
    assert f"Failed to validate tool parameters: '{standin.cwd}/none' does not exist\n" in result.err
    assert "Tool validation failed: \nFailed to parse the tool use" in result.err
    assert " - Execution failed after 0." in result.err
    assert plain(result.out).count(" - Completed in") == 1


def test_an_untrusted_tool_is_denied_and_the_exit_code_is_0(standin: Standin) -> None:
    result = standin.run(*HEADLESS, "--legacy-ui", "hello", replies=[[tool("shell", command="id > x")], ["No."]])

    assert result.code == 0
    assert result.err.endswith(
        "Command execute_bash is rejected because it matches one or more rules on the denied list:\n"
        "  - non-interactive mode (no user to approve)\n"
    )
    assert not (standin.cwd / "x").exists()
    ((_, _, value),) = standin.rows()
    (answer,) = value["history"][1]["user"]["content"]["ToolUseResults"]["tool_use_results"]
    assert (answer["status"], answer["content"]) == ("Error", [{"Text": "Tool use was denied by the user."}])


def test_the_row_has_the_conversation(standin: Standin) -> None:
    replies = [["Look.", tool("shell", command="echo x")], ["Done."]]

    chat(standin, "hello", replies)

    ((key, name, value),) = standin.rows()
    assert (key, value["conversation_id"]) == (str(standin.cwd), name)
    first, second = value["history"]
    assert list(first) == ["user", "assistant", "request_metadata"]
    assert first["user"]["content"] == {"Prompt": {"prompt": "hello"}}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}[+-]\d\d:\d\d", first["user"]["timestamp"])
    (use,) = first["assistant"]["ToolUse"]["tool_uses"]
    assert use == {
        "id": "tooluse_1",
        "name": "execute_bash",
        "orig_name": "execute_bash",
        "args": {"command": "echo x"},
        "orig_args": {"command": "echo x"},
    }
    output = {"exit_status": "exit status: 0", "stdout": "x\n", "stderr": ""}
    assert second["user"]["content"]["ToolUseResults"]["tool_use_results"] == [
        {"tool_use_id": "tooluse_1", "content": [{"Json": output}], "status": "Success"}
    ]
    assert second["assistant"]["Response"]["content"] == "Done."
    metadata = first["request_metadata"]
    assert metadata["tool_use_ids_and_names"] == [["tooluse_1", "execute_bash"]]
    assert (metadata["user_prompt_length"], metadata["response_size"], metadata["model_id"]) == (5, 5, "auto")
    assert metadata["request_start_timestamp_ms"] <= metadata["stream_end_timestamp_ms"]
    assert value["transcript"] == ["> hello", "Look.\n[Tool uses: execute_bash]", "Done.\n[Tool uses: none]"]
    assert value["valid_history_range"] == [0, 2]
    assert (value["latest_summary"], value["model_info"]["model_id"]) == (None, "auto")


def test_the_database_is_that_of_the_login_and_no_session_file_is_written(standin: Standin) -> None:
    chat(standin, "hello", [["hi"]])

    file = standin.home / ".local/share/kiro-cli/data.sqlite3"
    connection = sqlite3.connect(file)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("SELECT count(*) FROM auth_kv").fetchone() == (0,)
    connection.execute("INSERT INTO auth_kv VALUES ('kirocli:odic:token', '{}')")
    connection.commit()
    connection.close()
    assert json.loads(standin.run("whoami", "-f", "json").out)["accountType"] == "BuilderId"
    assert standin.run("logout").code == 0
    assert len(standin.rows()) == 1
    assert not standin.store.exists()


def test_a_turn_without_a_reply_leaves_nothing(standin: Standin) -> None:
    result = chat(standin, "hello", [["hi"]], misbehave={"throttled": True})

    assert (result.code, result.out) == (0, "")
    assert standin.rows() == []


def test_resume_continues_the_directorys_newest(standin: Standin, tmp_path: Path) -> None:
    fresh = chat(standin, "I am Bob", [["ok"]], "--resume")
    chat(standin, "I am Ada", [["Hello, Ada."]])
    (tmp_path / "other").mkdir()
    chat(standin, "I am Eve", [["ok"]], cwd=tmp_path / "other")

    resumed = chat(standin, "Who?", [["{recall:I am (\\w+)|nobody}"]], "--resume", "--model", "claude-haiku-4.5")
    again = chat(standin, "Who?", [["{recall:Hello, (\\w+)|nobody}"]], "-r")

    assert (fresh.code, len(standin.rows())) == (0, 3)
    assert (plain(resumed.out), plain(again.out)) == ("> Ada\n", "> Ada\n")
    value = standin.rows()[1][2]
    assert len(value["history"]) == 3
    assert value["model_info"]["model_id"] == "claude-haiku-4.5"


def test_resume_id_is_the_conversation_id(standin: Standin, tmp_path: Path) -> None:
    chat(standin, "I am Ada", [["ok"]])
    chat(standin, "I am Bob", [["ok"]])
    (key, name, _), _ = standin.rows()

    resumed = chat(standin, "Who?", [["{recall:I am (\\w+)|nobody}"]], "--resume-id", name, cwd=tmp_path)
    unknown = chat(standin, "Who?", [["x"]], "--resume-id", "nobody")

    assert plain(resumed.out) == "> Ada\n"
    assert standin.rows()[0][0] == key
    assert (unknown.code, unknown.out) == (1, "")
    assert "Session not found: nobody" in unknown.err


def test_calls_that_were_interrupted_are_cancelled_by_the_next_turn(standin: Standin) -> None:
    interrupted = chat(standin, "one", [["Hm.", tool("shell", command="kill -INT $PPID; exec sleep 600")]])
    chat(standin, "two", [["{recall:one|?}"]], "-r")

    assert interrupted.code == 130
    ((_, _, value),) = standin.rows()
    cancelled = value["history"][1]["user"]["content"]["CancelledToolUses"]
    assert cancelled["prompt"] == "two"
    assert cancelled["tool_use_results"][0]["tool_use_id"] == "tooluse_1"
    assert value["history"][1]["assistant"]["Response"]["content"] == "one"


def test_sessions_can_be_listed_and_deleted(standin: Standin) -> None:
    chat(standin, "the first one", [["hi"]])
    ((_, name, _),) = standin.rows()

    assert name in standin.run("chat", "--classic", "-l").err
    assert standin.run("chat", "--classic", "-d", name).code == 0
    assert standin.rows() == []
    assert "none" in standin.run("chat", "--classic", "-l").err


@pytest.mark.parametrize(
    ("prompt", "out", "err"),
    [
        ("/usage", "Credits", ""),
        (" /context\n", "Current context window", ""),
        ("/tools", "", ""),
        ("!echo $((6 * 7))", "42\n", ""),
        ("@review now", "", "Prompt 'review' not found\n"),
    ],
)
def test_some_first_prompts_are_commands(standin: Standin, prompt: str, out: str, err: str) -> None:
    result = chat(standin, prompt, [["never"]])

    assert (result.code, result.err) == (0, err)
    assert out in result.out
    assert "never" not in result.out
    assert standin.rows() == []


def test_credits_are_a_trailer_on_stderr(standin: Standin) -> None:
    mocked = chat(standin, "hello", [["hi"]])
    metered = chat(standin, "hello", [["hi"]], misbehave={"credits": 0.07})

    assert "Credits" not in mocked.err
    assert metered.err.endswith("\x1b[38;5;8m\n ▸ Credits: 0.07 • Time: 0s\n\x1b[0m")
    assert "Credits" not in metered.out
    usage = standin.rows()[1][2]["user_turn_metadata"]["usage_info"]
    assert usage == [{"value": 0.07, "unit": "credit", "unit_plural": "credits"}]


def test_a_missing_agent_is_a_warning(standin: Standin) -> None:
    result = chat(standin, "hello", [["hi"]], "--agent", "nobody")

    assert (result.code, plain(result.out)) == (0, "> hi\n")
    assert 'agent "nobody" not found' in result.err


def test_many_at_once_keep_all_their_conversations(standin: Standin) -> None:
    argv = (*HEADLESS, "--classic", "-a", "hello")
    processes = [standin.spawn(*argv, replies=[["hi"]]) for _ in range(4)]

    assert [process.wait(DEADLINE) for process in processes] == [0] * 4
    assert len(standin.rows()) == 4
