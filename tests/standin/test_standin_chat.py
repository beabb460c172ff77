"""A turn from outside: command line, prompt, replies, layout, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
import zipapp
from pathlib import Path

import pytest
from standin_process import CHAT, DEADLINE, MAIN, Standin, read_until, tool

DENIED = (
    "[denied] tool permission approval is not supported in non-interactive mode. "
    "Use --trust-all-tools to auto-approve.\n"
)


def test_it_names_itself(standin: Standin) -> None:
    for argument in ("--version", "-V"):
        assert standin.run(argument).out == "kiro-cli 2.29.0 (pytest-kiro stand-in)\n"


def test_help_is_short_and_complete(standin: Standin) -> None:
    assert "whoami" in standin.run("--help").out
    assert standin.run().out == standin.run("help").out
    assert "--resume-id" in standin.run("chat", "--help").out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--bogus"], "unexpected argument '--bogus' found"),
        (["frobnicate"], "unrecognized subcommand 'frobnicate'"),
        (["chat", "--bogus=1"], "unexpected argument '--bogus' found"),
        (["chat", "one", "two"], "unexpected argument 'two' found"),
        (["chat", "--", "one", "two"], "unexpected argument 'two' found"),
        (["chat", "--model"], "a value is required for '--model <MODEL>' but none was supplied"),
        (["chat", "--effort", "huge"], "invalid value 'huge' for '--effort <EFFORT>'"),
        (["chat", "--agent-engine=v9"], "[possible values: v1, v2, v3]"),
        (["chat", "--wrap", "maybe"], "[possible values: always, never, auto]"),
        (["whoami", "--bogus"], "unexpected argument '--bogus' found"),
        (["whoami", "-f", "xml"], "[possible values: plain, json, json-pretty]"),
        (["whoami", "-f"], "invalid value ''"),
        (["logout", "now"], "unexpected argument 'now' found"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error(standin: Standin, argv: list[str], message: str) -> None:
    result = standin.run(*argv)

    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("error: ")
    assert message in result.err
    assert "Usage: kiro-cli" in result.err
    assert "For more information, try '--help'." in result.err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["chat", "hi"], "needs a terminal on stdin"),
        (["login", "--use-device-flow"], "not a terminal"),
    ],
)
def test_what_needs_a_terminal_is_refused_without_one(standin: Standin, argv: list[str], message: str) -> None:
    result = standin.run(*argv, replies=[["hi"]])

    assert (result.code, result.out) == (1, "")
    assert message in result.err
    assert not standin.store.exists()


def test_text_is_on_stdout_and_ends_with_a_newline(standin: Standin) -> None:
    result = standin.chat("hello", [["Hello, ", "world."]])

    assert (result.code, result.out, result.err) == (0, "Hello, world.\n", "")


def test_tools_are_on_stderr_and_messages_run_together(standin: Standin) -> None:
    calls = [
        tool("write", 1, command="create", path="sub/out.txt", content="x\n"),
        tool("write", 2, command="insert", path="sub/out.txt", content="y\n"),
        tool("read", 3, operations=[{"mode": "Line", "path": "sub/out.txt"}]),
        tool("shell", 4, command="echo hi"),
        tool("grep", 5, pattern="x", path="sub"),
        tool("glob", 6, pattern="*.txt"),
        tool("todo_list", 7, command="create", task_list_description="L", tasks=[{"task_description": "t"}]),
        tool("todo_list", 8, command="complete", completed_task_ids=["1"], context_update=""),
    ]

    result = standin.chat("hello", [["Checking.", *calls], ["Done."]])

    assert result.out == "Checking.Done.\n"
    titles = [
        "Creating out.txt",
        "Editing out.txt",
        "Reading out.txt:1",
        "Running: echo hi",
        "Searching for 'x' in sub",
        "Searching for files matching '*.txt' in work",
        "Creating task list: L",
        "Completing tasks: 1",
    ]
    assert result.err == "".join(f"\n[tool] {title}\n[tool] status: Completed\n" for title in titles)


def test_a_long_command_is_cut_at_200_bytes(standin: Standin) -> None:
    command = ": " + "é" * 150

    result = standin.chat("hello", [[tool("shell", command=command)], ["ok"]])

    shown = result.err.splitlines()[1].removeprefix("[tool] Running: ")
    assert shown == ": " + "é" * 97 + "..."
    assert len(shown.encode()) <= 200
    assert standin.messages()[1]["data"]["content"][1]["data"]["input"]["command"] == command


def test_read_titles_say_which_lines(standin: Standin) -> None:
    (standin.cwd / "a.txt").write_text("1\n2\n3\n4\n")
    operations = [
        {"mode": "Line", "path": "a.txt", "offset": 1, "limit": 2},
        {"mode": "Directory", "path": str(standin.cwd)},
    ]

    result = standin.chat("hello", [[tool("read", operations=operations)], ["ok"]])

    assert "[tool] Reading a.txt:2-3, listing work\n" in result.err


def test_text_arrives_while_the_turn_goes_on(standin: Standin) -> None:
    fifo = standin.cwd / "fifo"
    subprocess.run(["mkfifo", str(fifo)], check=True, timeout=DEADLINE)
    replies = [["first ", tool("shell", command="cat fifo")], ["second"]]

    process = standin.spawn(*CHAT, "hello", replies=replies)
    assert process.stdout
    assert read_until(process.stdout.fileno(), b"first ") == b"first "
    fifo.write_text("go\n")

    assert read_until(process.stdout.fileno(), None) == b"second\n"
    assert process.wait(DEADLINE) == 0


@pytest.mark.parametrize(
    "prompt",
    ["/usage", "!ls", "@file", "-h", "--bogus", "a\tb\r\nc\n", " ␀ ünïcödé \U0001f369", "x" * 1_000_000],
)
def test_the_prompt_on_stdin_is_kept_byte_for_byte(standin: Standin, prompt: str) -> None:
    result = standin.chat(prompt, [["ok"]])

    assert result.code == 0
    assert standin.messages()[0]["data"]["content"] == [{"kind": "text", "data": prompt}]


def test_a_positional_prompt_wins_over_stdin(standin: Standin) -> None:
    standin.run(*CHAT, "--", "-positional", replies=[["ok"]], stdin="from stdin")

    assert standin.messages()[0]["data"]["content"][0]["data"] == "-positional"


def test_bytes_that_are_not_utf8_are_replaced(standin: Standin) -> None:
    standin.run(*CHAT, replies=[["ok"]], stdin=b"a\xffb")

    assert standin.messages()[0]["data"]["content"][0]["data"] == "a\N{REPLACEMENT CHARACTER}b"


@pytest.mark.parametrize("stdin", ["", " \n\t"])
def test_no_input_is_an_error(standin: Standin, stdin: str) -> None:
    result = standin.run(*CHAT, replies=[["ok"]], stdin=stdin)

    assert result.code == 1
    assert result.err == "error: Input must be supplied when running in non-interactive mode\n"


def test_a_terminal_is_no_input(standin: Standin) -> None:
    code, shown = standin.in_terminal(*CHAT, replies=[["ok"]])

    assert code == 1
    assert b"Input must be supplied" in shown


def test_a_closed_stdin_is_no_input(standin: Standin) -> None:
    command = ["sh", "-c", 'exec "$@" <&-', "sh", *standin.command, *CHAT]
    env = standin.environment([["ok"]], None, None)

    done = subprocess.run(command, env=env, cwd=standin.cwd, capture_output=True, timeout=DEADLINE, check=False)

    assert done.returncode == 1
    assert b"Input must be supplied" in done.stderr


def test_without_replies_there_is_no_model(standin: Standin) -> None:
    result = standin.run(*CHAT, stdin="hello")

    assert (result.code, result.out) == (1, "")
    assert "no model can be reached" in result.err
    assert "KIRO_MOCK_CHAT_RESPONSE" in result.err
    assert not standin.store.exists()


@pytest.mark.parametrize(
    ("replies", "what"),
    [
        ("[[", "line 1 column 3"),
        ('[\n["a" "b"]]', "line 2 column 6"),
        ('"text"', "not an array of arrays"),
        ('["text"]', "not an array of arrays"),
        ('[[{"name": "shell"}]]', "neither a text nor a tool call"),
        ("[[1.5]]", "1.5 is neither a text nor a tool call"),
        ('[[{"tool_use_id": "t", "name": "shell", "args": []}]]', "neither a text nor a tool call"),
    ],
)
def test_a_bad_reply_file_is_skipped_and_named(standin: Standin, replies: str, what: str) -> None:
    result = standin.run(*CHAT, replies=replies, stdin="hello")

    assert result.code == 1
    assert what in result.err
    assert "no model can be reached" in result.err


def test_a_missing_reply_file_is_skipped_and_named(standin: Standin) -> None:
    result = standin.run(*CHAT, stdin="hello", env={"KIRO_MOCK_CHAT_RESPONSE": "/nowhere.json"})

    assert result.code == 1
    assert "KIRO_MOCK_CHAT_RESPONSE=/nowhere.json is skipped" in result.err


def test_json_of_every_kind_is_read(standin: Standin) -> None:
    args = {
        "command": "true",
        "a": [1, -2, 3.5, 1e3, True, False, None, [], {}, '\u20ac\n\\"\U0001f369'],
    }

    standin.chat("hello", json.dumps([["ok", tool("shell", **args)], []], indent=3))

    assert standin.messages()[1]["data"]["content"][1]["data"]["input"] == args


def test_replies_that_are_used_up_end_the_turn_with_an_empty_one(standin: Standin) -> None:
    result = standin.chat("hello", [["Look.", tool("shell", command="true")]])

    assert (result.code, result.out) == (0, "Look.\n")
    (turn,) = standin.turns()
    assert turn["end_reason"] == "UserTurnEnd"
    assert turn["total_request_count"] == 2
    assert turn["result"]["Ok"]["content"] == [{"kind": "text", "data": ""}]


def test_a_request_without_tool_calls_ends_the_turn(standin: Standin) -> None:
    result = standin.chat("hello", [["one"], ["two"]])

    assert result.out == "one\n"


def test_a_model_is_recorded_and_resumed(standin: Standin) -> None:
    def model() -> str:
        return str(standin.state()["session_state"]["rts_model_state"]["model_info"]["model_id"])

    standin.chat("one", [["ok"]], "--model", "claude-haiku-4.5")
    assert model() == "claude-haiku-4.5"
    standin.chat("two", [["ok"]], "-r")
    assert model() == "claude-haiku-4.5"
    standin.chat("three", [["ok"]], "-r", "--model=auto")
    assert model() == "auto"


def test_an_unknown_model_is_an_error_that_names_the_known_ones(standin: Standin) -> None:
    result = standin.chat("hello", [["ok"]], "--model", "gpt-0")

    assert (result.code, result.out) == (1, "")
    assert "Model 'gpt-0' does not exist. Available models: auto, " in result.err


def test_models_are_listed(standin: Standin) -> None:
    assert "auto" in standin.run("chat", "--list-models").out
    listed = json.loads(standin.run("chat", "--list-models", "-f", "json").out)
    assert listed["default_model"] == "auto"
    assert {"model_id", "rate_multiplier"} <= set(listed["models"][0])
    assert standin.run("chat", "--list-models", "-f", "json-pretty").out.startswith('{\n  "models"')


def test_other_flags_are_taken(standin: Standin) -> None:
    result = standin.chat("hello", [["ok"]], "--effort", "low", "-vvv", "--require-mcp-startup", "-w", "auto")

    assert (result.code, result.out) == (0, "ok\n")


def test_a_terminal_shows_both_streams_in_order_and_in_colour(standin: Standin) -> None:
    replies = [["Look.", tool("shell", command="true")], ["Done."]]

    code, shown = standin.in_terminal(*CHAT, "hello", replies=replies)

    assert code == 0
    assert shown.decode() == (
        "\x1b[?25lLook.\r\n\x1b[38;5;8m[tool] Running: true\x1b[0m\r\n"
        "\x1b[38;5;8m[tool] status: Completed\x1b[0m\r\nDone.\r\n\x1b[?25h"
    )


def test_no_color_takes_the_colours_and_leaves_the_resets(standin: Standin) -> None:
    replies = [[tool("shell", command="true")], ["Done."]]

    _, shown = standin.in_terminal(*CHAT, "hello", replies=replies, env={"NO_COLOR": "1"})

    assert b"\x1b[m[tool] Running: true\x1b[0m" in shown
    assert b"38;5" not in shown


def test_a_reader_that_goes_away_does_not_end_the_turn(standin: Standin) -> None:
    process = standin.spawn(*CHAT, "hello", replies=[["a" * 200_000], []])
    assert process.stdout
    assert read_until(process.stdout.fileno(), b"a")
    process.stdout.close()

    assert process.wait(DEADLINE) == 0
    assert standin.turns()[0]["end_reason"] == "UserTurnEnd"


def test_it_runs_isolated_and_without_site_packages(standin: Standin) -> None:
    standin.command = [sys.executable, "-I", "-S", str(MAIN)]

    assert standin.chat("hello", [["hi"]]).out == "hi\n"


def test_a_text_turn_imports_nothing_slow(standin: Standin) -> None:
    standin.command = [sys.executable, "-I", "-S", "-X", "importtime", str(MAIN)]

    result = standin.chat("hello", [["hi"]])

    imported = {line.rpartition("|")[2].strip() for line in result.err.splitlines()}
    assert "kiro_cli.chat" in imported
    slow = {"argparse", "signal", "typing", "uuid", "subprocess", "sqlite3", "tempfile", "hashlib", "secrets"}
    others = {f"kiro_cli.{name}" for name in ("stream", "store_v1", "store_v3", "screen_v1", "names", "protocols")}
    others |= {"kiro_cli.misbehave", "kiro_cli.waiting", "kiro_cli.interactive"}
    assert not imported & (slow | others)


def test_it_runs_as_a_zipapp(standin: Standin, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "kiro_cli").mkdir(parents=True)
    for file in MAIN.parent.glob("*.py"):
        (source / "kiro_cli" / file.name).write_bytes(file.read_bytes())
    zipapp.create_archive(source, tmp_path / "kiro-cli", main="kiro_cli.app:main")
    standin.command = [sys.executable, "-I", "-S", str(tmp_path / "kiro-cli")]

    assert "stand-in" in standin.run("--version").out
    result = standin.chat("hello", [["hi ", tool("shell", command="echo x")], ["there"]])
    assert (result.code, result.out) == (0, "hi there\n")


def test_untrusted_tools_are_denied_and_the_turn_goes_on(standin: Standin) -> None:
    replies = [
        [
            "Trying. ",
            tool("write", 1, command="create", path="x", content=""),
            tool("shell", 2, command="id"),
        ],
        ["I could not."],
    ]

    result = standin.run("chat", "--no-interactive", "--v2", "hello", replies=replies)

    assert (result.code, result.out) == (0, "Trying. I could not.\n")
    assert result.err == (
        f"\n[tool] Creating x\n{DENIED}[tool] status: Failed\n\n[tool] Running: id\n{DENIED}[tool] status: Failed\n"
    )
    assert list(standin.cwd.iterdir()) == []
    for entry in standin.results():
        assert entry["status"] == "error"
        assert entry["content"] == [{"kind": "text", "data": "Tool use was denied by the user."}]
    (turn,) = standin.turns()
    assert (turn["end_reason"], turn["builtin_tool_uses"]) == ("UserTurnEnd", 0)


@pytest.mark.parametrize("names", ["shell", "execute_bash", "read,execute_cmd", "*"])
def test_trust_tools_takes_display_and_internal_names(standin: Standin, names: str) -> None:
    replies = [[tool("shell", command="echo ran")], ["ok"]]

    standin.run("chat", "--no-interactive", f"--trust-tools={names}", "hello", replies=replies)

    assert standin.results()[0]["status"] == "success"


def test_trust_tools_trusts_no_other_and_warns_about_unknown_names(standin: Standin) -> None:
    replies = [[tool("shell", command="echo ran")], ["ok"]]

    result = standin.run("chat", "--no-interactive", "--trust-tools=write,frob,@server/tool", "hello", replies=replies)

    assert standin.results()[0]["status"] == "error"
    warning = "WARNING: --trust-tools arg for custom tool frob needs to be prepended with @{MCPSERVERNAME}/\n"
    assert result.err.startswith(warning)
    assert "server" not in result.err.replace("MCPSERVER", "")


def test_looking_at_files_inside_the_directory_needs_no_trust(standin: Standin) -> None:
    (standin.cwd / "a.txt").write_text("a\n")
    calls = [
        tool("read", 1, operations=[{"mode": "Line", "path": "a.txt"}]),
        tool("grep", 2, pattern="a"),
        tool("glob", 3, pattern="*"),
        tool("todo_list", 4, command="create", task_list_description="", tasks=[]),
        tool("read", 5, operations=[{"mode": "Directory", "path": ".."}]),
        tool("grep", 6, pattern="a", path="/etc"),
    ]

    standin.run("chat", "--no-interactive", "--trust-tools=", "hello", replies=[[*calls], ["ok"]])

    assert [entry["status"] for entry in standin.results()] == ["success"] * 4 + ["error"] * 2


def write_agent(folder: Path, name: str, **more: object) -> None:
    (folder / ".kiro/agents").mkdir(parents=True, exist_ok=True)
    (folder / f".kiro/agents/file-{name}.json").write_text(json.dumps({"name": name, **more}))


def test_an_agent_is_found_by_the_name_in_its_file(standin: Standin) -> None:
    write_agent(standin.home, "reviewer", model="claude-haiku-4.5")
    write_agent(standin.home, "other")

    result = standin.chat("hello", [["ok"]], "--agent", "reviewer")

    assert result.code == 0
    state = standin.state()["session_state"]
    assert state["agent_name"] == "reviewer"
    assert state["rts_model_state"]["model_info"]["model_id"] == "claude-haiku-4.5"
    assert standin.turns()[0]["loop_id"]["agent_id"]["name"] == "reviewer"


def test_the_agents_of_the_directory_win(standin: Standin) -> None:
    write_agent(standin.home, "reviewer", model="claude-haiku-4.5")
    write_agent(standin.cwd, "reviewer", model="claude-sonnet-4.5")

    standin.chat("hello", [["ok"]], "--agent=reviewer")

    model = standin.state()["session_state"]["rts_model_state"]["model_info"]
    assert model["model_id"] == "claude-sonnet-4.5"


def test_a_missing_agent_is_exit_code_4(standin: Standin) -> None:
    write_agent(standin.cwd, "reviewer")
    (standin.cwd / ".kiro/agents/broken.json").write_text("{")
    (standin.cwd / ".kiro/agents/list.json").write_text("[]")

    result = standin.chat("hello", [["ok"]], "--agent", "file-reviewer")

    assert (result.code, result.out) == (4, "")
    assert 'agent "file-reviewer" not found' in result.err
    assert "broken.json could not be read" in result.err
    assert not standin.store.exists()


@pytest.mark.parametrize(
    ("agent", "trusted"),
    [
        ({"tools": ["read"]}, False),
        ({"tools": ["fs_read", "execute_bash"]}, True),
        ({"tools": ["*"]}, True),
        ({"tools": ["@builtin"]}, True),
        ({"tools": ["execute_*"]}, True),
        ({"tools": ["fs_*", "@server/*"]}, False),
        ({}, True),
    ],
)
def test_an_agent_has_only_its_tools_even_if_all_are_trusted(
    standin: Standin, agent: dict[str, object], trusted: bool
) -> None:
    write_agent(standin.cwd, "a", **agent)

    standin.chat("hello", [[tool("shell", command="echo ran > ran")], ["ok"]], "--agent", "a")

    assert (standin.cwd / "ran").exists() is trusted


def test_allowed_tools_are_trusted_in_advance(standin: Standin) -> None:
    write_agent(standin.cwd, "a", tools=["*"], allowedTools=["write"])
    calls = [tool("fs_write", 1, command="create", path="x", content=""), tool("shell", 2, command="id")]

    standin.run("chat", "--no-interactive", "--agent", "a", "hello", replies=[calls, ["ok"]])

    assert [entry["status"] for entry in standin.results()] == ["success", "error"]


def test_a_resumed_session_keeps_its_agent(standin: Standin) -> None:
    write_agent(standin.cwd, "a", tools=["read"])

    standin.chat("hello", [["ok"]], "--agent", "a")
    standin.chat("again", [["ok"]], "-r")

    assert standin.state()["session_state"]["agent_name"] == "a"
