"""`chat` in a terminal: turns of one conversation, slash commands, permissions."""

from __future__ import annotations

import json
import os
import re
from typing import Any

import pytest
from standin_process import Standin, ended, read_until, tool

PROMPT = "> \x1b[0m"
QUESTION = "Allow this action? Use 't' to trust (always allow) this tool for the session. [y/n/t]:"
HINT = "(To exit the CLI, press Ctrl+C or Ctrl+D again or type /quit)"
ENGINES = pytest.mark.parametrize("engine", ["v1", "v2", "v3"])


def said(standin: Standin) -> list[str]:
    """The prompts and answers of V2's only session."""
    messages = (message for message in standin.messages() if message["kind"] != "ToolResults")
    return [message["data"]["content"][0]["data"] for message in messages]


def fifo(standin: Standin) -> int:
    """A pipe with a name, open for both directions so that neither side waits for the other."""
    os.mkfifo(standin.cwd / "fifo")
    return os.open(standin.cwd / "fifo", os.O_RDWR)


def leave(terminal: Any) -> str:
    terminal.expect_exact(PROMPT)
    terminal.sendline("/quit")
    code, shown = ended(terminal)
    assert code == 0
    return shown


def test_a_chat_needs_no_replies_to_be_left(standin: Standin) -> None:
    terminal = standin.terminal("chat")
    terminal.expect_exact("pytest-kiro stand-in")
    terminal.expect_exact("You are chatting with auto\r\n\r\n\x1b[38;5;141m> ")
    terminal.sendline("/quit")

    assert ended(terminal)[0] == 0
    assert not standin.store.exists()


@ENGINES
def test_turns_are_one_conversation_and_share_the_replies(standin: Standin, engine: str) -> None:
    replies = [["Hello Ada."], [tool("shell", command="echo one")], ["Done."], ["You are {recall:am (\\w+)|nobody}."]]
    terminal = standin.terminal("chat", "-a", "--agent-engine", engine, replies=replies)
    for prompt, answer in (("I am Ada", "Hello Ada."), ("run", "Done."), ("who am I?", "You are Ada.")):
        terminal.expect_exact(PROMPT)
        terminal.sendline(prompt)
        terminal.expect_exact(answer)
    leave(terminal)

    if engine == "v2":
        prompts = ["I am Ada", "run", "who am I?"]
        assert [text for text in said(standin) if text in prompts] == prompts
        assert [turn["total_request_count"] for turn in standin.turns()] == [1, 2, 1]
        assert len({tuple(turn["message_ids"]) for turn in standin.turns()}) == 3
    elif engine == "v1":
        assert len(standin.rows()) == 1
    else:
        assert len(standin.v3_sessions()) == 1


def test_the_argument_is_the_first_prompt(standin: Standin) -> None:
    terminal = standin.terminal("chat", "first", replies=[["one"], ["two"]])
    terminal.expect_exact("one")
    terminal.expect_exact(PROMPT)
    terminal.sendline("second")
    terminal.expect_exact("two")
    leave(terminal)

    assert said(standin) == ["first", "one", "second", "two"]
    assert standin.state()["title"] == "first"


def test_a_chat_takes_up_an_earlier_conversation(standin: Standin) -> None:
    standin.chat("I am Ada", [["Hello."]])
    terminal = standin.terminal("chat", "--resume", replies=[["{recall:am (\\w+)|nobody}!"]])
    terminal.expect_exact(PROMPT)
    terminal.sendline("again")
    terminal.expect_exact("Ada!")
    leave(terminal)

    assert len(standin.ids()) == 1


def test_nothing_is_sent_for_an_empty_line(standin: Standin) -> None:
    terminal = standin.terminal("chat", replies=[["one"]])
    terminal.expect_exact(PROMPT)
    terminal.sendline("   ")
    terminal.expect_exact(PROMPT)
    terminal.sendline("hello")
    terminal.expect_exact("one")
    leave(terminal)

    assert said(standin) == ["hello", "one"]


def test_lines_typed_during_a_turn_wait(standin: Standin) -> None:
    go = fifo(standin)
    replies = [[tool("shell", command="read line < fifo")], ["one"], ["two"]]
    terminal = standin.terminal("chat", "-a", "first", replies=replies)
    terminal.expect_exact("[tool] Running")
    terminal.sendline("sécond")
    terminal.expect_exact("sécond")  # the terminal's own echo
    os.write(go, b"x\n")
    terminal.expect_exact("one")
    terminal.expect_exact("two")
    leave(terminal)
    os.close(go)

    assert said(standin) == ["first", "", "one", "sécond", "two"]


# -- slash commands


@pytest.mark.parametrize("word", ["/quit", "/exit", "/q", "  /quit  "])
def test_words_that_leave(standin: Standin, word: str) -> None:
    terminal = standin.terminal("chat")
    terminal.expect_exact(PROMPT)
    terminal.sendline(word)

    assert ended(terminal)[0] == 0


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("/help", "/clear            Begin a new conversation"),
        ("/usage", "Credits (0.00 of 50 covered in plan)"),
        ("/context", "Current context window"),
        ("/model", "Using auto"),
        ("/model claude-haiku-4.5", "Using claude-haiku-4.5"),
        ("/model gpt", "Model 'gpt' does not exist. Available models: auto"),
        ("/tools", "shell       not trusted"),
        ("/quiet", "Unknown slash command: /quiet. Use /help for the list."),
        ("/", "Unknown slash command: /."),
        ("!echo $((6*7))", "42"),
        ("@review", "Prompt 'review' not found"),
    ],
)
def test_a_command_answers_and_nothing_goes_to_the_model(standin: Standin, line: str, answer: str) -> None:
    terminal = standin.terminal("chat")
    terminal.expect_exact(PROMPT)
    terminal.sendline(line)
    terminal.expect_exact(answer)
    leave(terminal)

    assert not standin.store.exists()


def test_a_model_is_used_from_then_on(standin: Standin) -> None:
    terminal = standin.terminal("chat", "hello", "--model", "qwen3-coder-next", replies=[["one"], ["two"]])
    terminal.expect_exact("You are chatting with qwen3-coder-next")
    terminal.expect_exact(PROMPT)
    terminal.sendline("/model claude-haiku-4.5")
    terminal.expect_exact(PROMPT)
    terminal.sendline("hello")
    terminal.expect_exact("two")
    leave(terminal)

    assert standin.state()["session_state"]["rts_model_state"]["model_info"]["model_id"] == "claude-haiku-4.5"


def test_a_cleared_chat_is_another_conversation(standin: Standin) -> None:
    terminal = standin.terminal("chat", "I am Ada", replies=[["Hello."], ["{recall:am (\\w+)|nobody}!"]])
    terminal.expect_exact(PROMPT)
    terminal.sendline("/clear")
    terminal.expect_exact("Conversation history cleared.")
    terminal.expect_exact(PROMPT)
    terminal.sendline("who?")
    terminal.expect_exact("nobody!")
    leave(terminal)

    assert len(standin.ids()) == 2


# -- the keys that leave


def test_ctrl_d_leaves(standin: Standin) -> None:
    terminal = standin.terminal("chat")
    terminal.expect_exact(PROMPT)
    terminal.sendeof()

    assert ended(terminal)[0] == 0


def test_ctrl_c_leaves_the_second_time(standin: Standin) -> None:
    terminal = standin.terminal("chat", replies=[["one"]])
    terminal.expect_exact(PROMPT)
    terminal.sendintr()
    terminal.expect_exact(HINT)
    terminal.expect_exact(PROMPT)
    terminal.sendline("hello")
    terminal.expect_exact("one")
    terminal.expect_exact(PROMPT)
    terminal.sendintr()  # the line in between has made it the first again
    terminal.expect_exact(HINT)
    terminal.expect_exact(PROMPT)
    terminal.sendintr()

    assert ended(terminal)[0] == 130


@ENGINES
def test_ctrl_c_in_a_turn_comes_back_to_the_prompt(standin: Standin, engine: str) -> None:
    replies = [["Wait. "], ["Here again."]]
    terminal = standin.terminal("chat", "--agent-engine", engine, "go", replies=replies, misbehave={"hangs": True})
    terminal.expect_exact("Wait. ")
    terminal.sendintr()
    terminal.expect_exact(PROMPT)
    terminal.sendline("go on")
    terminal.expect_exact("Here again.")
    terminal.sendintr()
    terminal.expect_exact(PROMPT)
    terminal.sendline("/quit")

    assert ended(terminal)[0] == 0
    if engine == "v2":
        assert [turn["end_reason"] for turn in standin.turns()] == ["Cancelled", "Cancelled"]
        assert not list(standin.store.glob("*.lock"))


def test_ctrl_c_ends_the_command_of_a_turn(standin: Standin) -> None:
    told = fifo(standin)
    replies = [[tool("shell", command="exec > fifo; echo; exec sleep 600")], ["two"]]
    terminal = standin.terminal("chat", "-a", "go", replies=replies)
    read_until(told, b"\n")
    held = os.open(standin.cwd / "fifo", os.O_RDONLY)
    os.close(told)
    terminal.sendintr()
    terminal.expect_exact(PROMPT)
    read_until(held, None)  # its end of the pipe is closed: it has ended
    os.close(held)
    terminal.sendline("go on")
    terminal.expect_exact("two")
    leave(terminal)


# -- permissions


def ask(standin: Standin, *argv: str, engine: str = "v2") -> Any:
    """A chat whose first turn wants to run two commands, and whose second one more."""
    calls = [tool("shell", n, command=f"echo {n} >> ran") for n in (1, 2, 3)]
    replies = [calls[:2], ["Done."], [calls[2]], ["Done too."]]
    terminal = standin.terminal("chat", "go", "--agent-engine", engine, *argv, replies=replies)
    if "-a" not in argv:
        terminal.expect_exact(QUESTION + "\r\n\r\n")
        terminal.expect_exact(PROMPT)
    return terminal


def statuses(standin: Standin) -> list[str]:
    return [result["status"] for result in standin.results()]


@ENGINES
def test_y_is_for_one_call_and_n_denies_it(standin: Standin, engine: str) -> None:
    terminal = ask(standin, engine=engine)
    terminal.sendline("y")
    terminal.expect_exact(QUESTION)
    terminal.expect_exact(PROMPT)
    terminal.sendline("n")
    terminal.expect_exact("Done.")
    assert not re.search("non-interactive|rejected", terminal.before)
    leave(terminal)

    assert (standin.cwd / "ran").read_text() == "1\n"
    if engine == "v2":
        assert statuses(standin) == ["success", "error"]
        assert standin.results()[1]["content"][0]["data"] == "Tool use was denied by the user."
    elif engine == "v3":
        assert [p["status"] for p in standin.v3_payloads("tool_call")] == ["approved", "denied"]


@ENGINES
def test_t_trusts_the_tool_for_the_rest_of_the_chat(standin: Standin, engine: str) -> None:
    terminal = ask(standin, engine=engine)
    terminal.sendline("T ")
    terminal.expect_exact("Done.")
    terminal.expect_exact(PROMPT)
    terminal.sendline("/tools")
    terminal.expect_exact("shell       trusted")
    terminal.expect_exact("glob        not trusted")
    terminal.expect_exact(PROMPT)
    terminal.sendline("more")
    terminal.expect_exact("Done too.")
    leave(terminal)

    assert (standin.cwd / "ran").read_text() == "1\n2\n3\n"


def test_another_answer_is_asked_again(standin: Standin) -> None:
    terminal = ask(standin)
    terminal.sendline("yes")
    terminal.expect_exact("'yes' is no answer: use y, n or t.")
    terminal.expect_exact(PROMPT)
    terminal.sendline("n")
    terminal.expect_exact(QUESTION)
    terminal.sendline("n")
    terminal.expect_exact("Done.")
    leave(terminal)

    assert not (standin.cwd / "ran").exists()


@pytest.mark.parametrize("key", ["c", "d"])
def test_a_question_can_be_left(standin: Standin, key: str) -> None:
    terminal = ask(standin)
    terminal.sendcontrol(key)
    leave(terminal)

    assert standin.turns()[0]["end_reason"] == "Cancelled"
    assert not (standin.cwd / "ran").exists()


@pytest.mark.parametrize("engine", ["v1", "v2"])
def test_what_is_trusted_is_not_asked_for(standin: Standin, engine: str) -> None:
    terminal = ask(standin, "-a", engine=engine)
    terminal.expect_exact("All tools are now trusted (!).")
    terminal.expect_exact("Done.")
    terminal.expect_exact(PROMPT)
    terminal.sendline("more")
    index = terminal.expect_exact(["Done too.", "All tools are now trusted"])
    leave(terminal)

    assert index == 0


def test_a_tool_that_the_agent_does_not_have_is_not_asked_for(standin: Standin) -> None:
    agents = standin.cwd / ".kiro" / "agents"
    agents.mkdir(parents=True)
    (agents / "reader.json").write_text(json.dumps({"name": "reader", "tools": ["read"]}))
    replies = [[tool("shell", command="echo x > ran")], ["Done."]]
    terminal = standin.terminal("chat", "--agent", "reader", "go", replies=replies)
    assert terminal.expect_exact(["Done.", QUESTION]) == 0
    leave(terminal)

    assert statuses(standin) == ["error"]


# -- what goes wrong


def test_replies_that_run_out_between_turns_are_told(standin: Standin) -> None:
    terminal = standin.terminal("chat", "first", replies=[["one"]])
    terminal.expect_exact(PROMPT)
    terminal.sendline("second")
    terminal.expect_exact("error: no scripted reply is left: it had 1. Add more")
    leave(terminal)

    assert said(standin) == ["first", "one"]


def test_replies_that_run_out_in_a_turn_are_told(standin: Standin) -> None:
    terminal = standin.terminal("chat", "-a", "first", replies=[[tool("shell", command="true")]])
    terminal.expect_exact("error: no scripted reply is left: the turn needed one more")
    leave(terminal)


def test_without_replies_no_model_can_be_reached(standin: Standin) -> None:
    terminal = standin.terminal("chat", "first")
    terminal.expect_exact("no model can be reached")
    leave(terminal)


@ENGINES
def test_a_refused_request_does_not_end_the_chat(standin: Standin, engine: str) -> None:
    terminal = standin.terminal(
        "chat", "first", "--agent-engine", engine, replies=[["one"]], misbehave={"throttled": True}
    )
    terminal.expect_exact("The request was throttled by the service")
    terminal.expect_exact(PROMPT)
    terminal.sendline("again")
    terminal.expect_exact("The request was throttled by the service")
    leave(terminal)


def test_a_login_that_is_revoked_meanwhile_ends_the_chat(standin: Standin) -> None:
    standin.steer(approve_after=0)
    assert standin.run("login", "--use-device-flow", "--license=free").code == 0
    terminal = standin.terminal("chat", "first", replies=[["one"], ["two"]])
    terminal.expect_exact("one")
    terminal.expect_exact(PROMPT)
    standin.steer(revoked=True)
    terminal.sendline("second")
    code, shown = ended(terminal)

    assert code == 1
    assert "The bearer token included in the request is invalid." in shown


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["--resume-id", "nothing"], 1, "Session not found: nothing"),
        (["--agent", "nobody"], 4, 'agent "nobody" not found'),
        (["--model", "gpt"], 1, "Model 'gpt' does not exist"),
        (["first", "second"], 2, "unexpected argument 'second' found"),
    ],
)
def test_a_chat_that_cannot_begin(standin: Standin, argv: list[str], code: int, message: str) -> None:
    ended_with, shown = ended(standin.terminal("chat", *argv, replies=[["one"]]))

    assert ended_with == code
    assert message in shown
    assert "You are chatting" not in shown


def test_nobody_logged_in_cannot_chat(standin: Standin) -> None:
    code, shown = ended(standin.terminal("chat", env={"KIRO_API_KEY": ""}))

    assert code == 1
    assert "You are not logged in" in shown


def test_a_chat_may_end_with_any_code(standin: Standin) -> None:
    terminal = standin.terminal("chat", "hi", replies=[["one"]], misbehave={"exit": 7})
    terminal.expect_exact(PROMPT)
    terminal.sendline("/quit")

    assert ended(terminal)[0] == 7


def first_run(standin: Standin, engine: str) -> Any:
    return standin.terminal("chat", "--agent-engine", engine, env={"KIRO_STANDIN_MISBEHAVE": '{"first_run": true}'})


def settings(standin: Standin) -> dict[str, Any]:
    file = standin.home / ".kiro/settings/cli.json"
    return dict(json.loads(file.read_text())) if file.exists() else {}


@pytest.mark.parametrize(
    ("engine", "keys", "answered", "kept"),
    [
        ("v1", "\r", "v3", {"chat.agentEngine": "v3"}),
        ("v1", "j\r", "v1", {}),
        ("v2", "\r", "v3", {"chat.agentEngine": "v3"}),
        ("v2", "j\r", "v2", {}),
        ("v2", "k\r", "v2", {"chat.agentEngine": "v2"}),
        ("v2", "\x03", "v2", {}),
    ],
)
def test_v3_is_offered_at_a_first_start(
    standin: Standin, engine: str, keys: str, answered: str, kept: dict[str, Any]
) -> None:
    terminal = first_run(standin, engine)
    terminal.expect_exact({"v1": "Classic is being deprecated", "v2": "CLI 3.0 is becoming the default"}[engine])
    terminal.expect_exact("❯ Switch to 3.0")
    terminal.send(keys)
    terminal.expect_exact("You are chatting with")
    leave(terminal)
    assert settings(standin) == kept

    if "chat.agentEngine" in kept and answered == "v2":
        again = first_run(standin, engine)
        assert again.expect_exact(["becoming the default", "You are chatting with"]) == 1
        leave(again)


@pytest.mark.parametrize(
    ("keys", "upgraded", "kept"),
    [
        ("\r", True, {"chat.enableAutoAgentUpgrade": True}),
        ("j\r", False, {"chat.enableAutoAgentUpgrade": False}),
        ("\x1b", False, {}),
    ],
    ids=["yes", "not now", "escape"],
)
def test_v3_asks_once_whether_to_upgrade_agent_files(
    standin: Standin, keys: str, upgraded: bool, kept: dict[str, Any]
) -> None:
    file = standin.cwd / ".kiro/agents/old.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"name": "old"}')
    terminal = standin.terminal("chat", "--v3")
    terminal.expect_exact("still in the 2.0 format")
    terminal.expect_exact("❯ Enable auto-upgrade")
    terminal.send(keys)
    leave(terminal)

    assert settings(standin) == kept
    assert ("permissions" in json.loads(file.read_text())) is upgraded
    assert file.with_name("old.json.bak").exists() is upgraded
    again = standin.terminal("chat", "--v3")
    assert again.expect_exact(["You are chatting with", "2.0 format"]) == (0 if kept else 1)
    again.close(force=True)
