"""MCP servers are started, listed and called, and what goes wrong with one is told as the real program tells it."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from standin_process import HEADLESS, Standin, tool

PROGRAM = Path(__file__).with_name("mcp_program.py")
NOT_THERE = "Failed to parse the tool use: A tool with the name '{}' does not exist"
CLOSED = "An error occurred with the service: Transport closed"


def server(*args: str, **more: Any) -> dict[str, Any]:
    return {"command": sys.executable, "args": ["-I", "-S", str(PROGRAM), *args], **more}


def configure(folder: Path, **servers: Any) -> None:
    """Write a workspace's or HOME's file of servers."""
    file = folder / ".kiro/settings/mcp.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"mcpServers": servers}))


def agent(standin: Standin, name: str, **more: Any) -> None:
    file = standin.cwd / f".kiro/agents/{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"name": name, "tools": ["*"], **more}))


def patience(standin: Standin, milliseconds: int) -> None:
    """Set for how long servers are waited for."""
    file = standin.home / ".kiro/settings/cli.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"mcp.noInteractiveTimeout": milliseconds}))


def answers(standin: Standin, *calls: dict[str, Any], args: tuple[str, ...] = ()) -> tuple[list[Any], str]:
    """Run calls in one request: the text of each answer, or of its error; and what was on stderr."""
    result = standin.chat("go", [list(calls), ["ok"]], *args)
    assert (result.code, result.out) == (0, "ok\n"), result.err
    return [said(entry) for entry in standin.results()], result.err


def said(entry: dict[str, Any]) -> Any:
    (content,) = entry["content"]
    data = content["data"]
    return data if isinstance(data, str) else (data["content"][0]["text"], data.get("isError"))


def test_a_call_is_recorded_by_its_server_and_shown_as_the_model_names_it(standin: Standin) -> None:
    configure(standin.cwd, shop=server())
    (answer,), err = answers(standin, tool("@shop/echo", item="mug", __tool_use_purpose="To look."))
    assert answer == ('{"item": "mug"}', False)
    assert "[tool] Running: @shop/echo\n[tool] status: Completed\n" in err
    _, use, results, _ = standin.messages()
    assert use["data"]["content"][1]["data"]["name"] == "echo"
    kind = {"Mcp": {"toolName": "echo", "serverName": "shop", "params": {"item": "mug"}}}
    assert results["data"]["results"]["tooluse_1"]["tool"] == {"tool_use_purpose": "To look.", "kind": kind}


@pytest.mark.parametrize("name", ["@shop/echo", "shop___echo", "echo"])
def test_a_tool_is_called_by_any_of_its_names(standin: Standin, name: str) -> None:
    configure(standin.home, shop=server())
    assert answers(standin, tool(name))[0] == [("{}", False)]


def test_the_tools_that_a_model_is_shown(standin: Standin) -> None:
    """All pages of them; none without a description or with the name of a built-in one; odd names are cleaned."""
    configure(standin.cwd, shop=server(disabledTools=["fail"]))
    names = ("@shop/last", "@shop/2 odd!", "a2odd", "@shop/mute", "@shop/write", "@shop/fail", "@other/echo")
    calls = [tool(name, number) for number, name in enumerate(names)]
    assert answers(standin, *calls)[0] == [
        *[("It does not work.", False)] * 3,
        *(NOT_THERE.format(name) for name in names[3:]),
    ]


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (tool("@shop/fail"), ("It does not work.", True)),
        (tool("@shop/unknown"), "An error occurred with the service: Mcp error: -32602: no such tool"),
        (tool("@shop/slow"), "An error occurred with the service: request timeout after 0.2s"),
        (tool("@shop/die"), CLOSED),
        (tool("@shop/babble"), CLOSED),
    ],
)
def test_a_call_that_fails(standin: Standin, call: dict[str, Any], answer: Any) -> None:
    """The turn goes on; a server's own failure is an answer."""
    limit = {"timeout": 200} if call["name"] == "@shop/slow" else {}
    configure(standin.cwd, shop=server(**limit))
    assert answers(standin, call)[0] == [answer]


def test_a_server_that_is_gone_answers_no_later_call(standin: Standin) -> None:
    configure(standin.cwd, shop=server(), other=server())
    calls = [tool(f"@{name}", number) for number, name in enumerate(("shop/die", "shop/echo", "other/env"))]
    calls[2]["args"]["of"] = "NONE"
    # Two servers have the same tools: the first by name has them, and the other none.
    assert answers(standin, *calls)[0] == [NOT_THERE.format("@shop/die"), NOT_THERE.format("@shop/echo"), ("", False)]
    configure(standin.cwd, shop=server())
    assert answers(standin, *calls[:2], args=("-r",))[0][3:] == [CLOSED, CLOSED]


def test_what_a_server_asks_of_the_program(standin: Standin) -> None:
    """A ping is answered; nobody is there to be asked, and no model to be used."""
    configure(standin.cwd, shop=server())
    ((text, error),), _ = answers(standin, tool("@shop/ask"))
    assert error is None
    ping, sample = json.loads(text)
    assert ping == {"jsonrpc": "2.0", "id": 1, "result": {}}
    assert sample["error"] == {"code": -32601, "message": "sampling/createMessage"}


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"command": "not-there"}, r"No such file or directory \(os error 2\)"),
        ({"command": "."}, r"Permission denied \(os error 13\)"),
        ({"url": "http://localhost:1/"}, "it has no command, and the stand-in reaches no server elsewhere"),
        (server("dies"), "connection closed: initialize response"),
        (server("garbage"), "connection closed: initialize response"),
        (server("hangs"), "no answer within 0.3 s"),
    ],
)
def test_a_server_that_does_not_start(standin: Standin, entry: dict[str, Any], why: str) -> None:
    """It is a warning, and its tools are not there; where it is required the turn does not begin."""
    hangs = "hangs" in str(entry)
    others = {} if hangs else {"works": server("asks")}
    configure(standin.cwd, shop=entry, **others)
    patience(standin, 300 if hangs else 60_000)
    texts, err = answers(standin, tool("@shop/echo", 1), *[tool("@works/echo", 2)] * len(others))
    assert texts == [NOT_THERE.format("@shop/echo"), *[("{}", False)] * len(others)]
    assert re.search(rf"✗ shop has failed to load after \d+\.\d\d s\n - {why}\n", err)
    assert ("Not all mcp servers loaded." in err) == hangs
    kept = standin.ids()
    required = standin.chat("go", [["ok"]], "--require-mcp-startup")
    assert (required.code, required.out) == (3, "")
    assert "error: MCP server 'shop' did not start, and --require-mcp-startup was given" in required.err
    assert standin.ids() == kept


def test_which_servers_an_agent_has(standin: Standin) -> None:
    """Its own, then the directory's, then those of HOME; a disabled one hides others of its name."""

    def of(who: str, *names: str) -> dict[str, Any]:
        return {name: server(f"one:{name}", env={"WHO": who}) for name in names}

    configure(standin.home, **of("home", "a", "b", "c", "off"))
    configure(standin.cwd, **of("directory", "a", "b"), off={"command": "none", "disabled": True})
    agent(standin, "own", mcpServers=of("agent", "a"))
    agent(standin, "all", mcpServers=of("agent", "a"), includeMcpJson=True)
    agent(standin, "none")

    def who(name: str) -> list[str]:
        before = set(standin.ids())
        calls = [tool(f"@{one}/{one}", number, of="WHO") for number, one in enumerate(("a", "b", "c", "off"))]
        assert standin.chat("go", [calls, ["ok"]], "--agent", name).code == 0
        (new,) = set(standin.ids()) - before
        (results,) = [m["data"]["content"] for m in standin.messages(new) if m["kind"] == "ToolResults"]
        return [said(part["data"])[0] if part["data"]["status"] == "success" else "" for part in results]

    assert who("kiro_default") == ["directory", "directory", "home", ""]
    assert who("all") == ["agent", "directory", "home", ""]
    assert who("own") == ["agent", "", "", ""]
    assert who("none") == ["", "", "", ""]


@pytest.mark.parametrize(
    ("trusted", "runs"),
    [
        (("--trust-tools=@shop",), True),
        (("--trust-tools=@shop/*",), True),
        (("--trust-tools=@shop/echo",), True),
        (("--trust-tools=@shop/env,read",), False),
        (("--agent=asks",), True),
        (("--agent=has_none", "-a"), False),
        ((), False),
    ],
)
def test_which_calls_are_allowed(standin: Standin, trusted: tuple[str, ...], runs: bool) -> None:
    configure(standin.cwd, shop=server())
    agent(standin, "asks", allowedTools=["@shop/e*"], includeMcpJson=True)
    agent(standin, "has_none", tools=["read"], includeMcpJson=True)
    result = standin.run(*HEADLESS, *trusted, stdin="go", replies=[[tool("@shop/echo")], ["ok"]])
    assert (result.code, "tool permission approval" in result.err) == (0, not runs)
    assert (standin.results()[0]["status"] == "success") == runs


def test_a_server_may_be_approved_of(standin: Standin) -> None:
    configure(standin.cwd, shop=server(autoApprove=["echo"]))
    replies = [[tool("@shop/echo", 1), tool("@shop/fail", 2)], ["ok"]]
    assert standin.run(*HEADLESS, stdin="go", replies=replies).code == 0
    assert [entry["status"] for entry in standin.results()] == ["success", "error"]


def test_a_servers_environment(standin: Standin) -> None:
    """Variables are filled in; what the program itself has wins."""
    configure(standin.cwd, shop=server(env={"TOKEN": "${env:SECRET}-${SECRET}-${NONE}", "HOME": "/nowhere"}))
    standin.env["SECRET"] = "s"
    calls = [tool("@shop/env", number, of=name) for number, name in enumerate(("TOKEN", "HOME"))]
    assert answers(standin, *calls)[0] == [("s-s-${NONE}", False), (str(standin.home), False)]


def test_a_sub_agent_has_servers_of_its_own(standin: Standin) -> None:
    agent(standin, "seller", mcpServers={"shop": server()})
    inner = [[tool("@shop/echo", 7, item="mug")], ["sold"]]
    result = standin.chat("go", [[tool("subagent", prompt="Sell.", agent="seller", requests=inner)], ["ok"]])
    assert result.code == 0
    child = next(one for one in standin.ids() if "parent_session_id" in standin.state(one))
    (found,) = [m["data"]["content"] for m in standin.messages(child) if m["kind"] == "ToolResults"]
    assert said(found[0]["data"]) == ('{"item": "mug"}', False)


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="processes are looked for in /proc")
@pytest.mark.parametrize("mode", ["", "stays"])
def test_no_server_outlives_the_turn(standin: Standin, mode: str) -> None:
    """Neither one that does not end with its input."""
    configure(standin.cwd, shop=server(mode, env={"MARK": str(standin.cwd)}))
    assert answers(standin, tool("@shop/echo"))[0] == [("{}", False)]
    left = [pid for pid in filter(str.isdigit, os.listdir("/proc")) if _is_marked(pid, str(standin.cwd))]
    assert left == []


def _is_marked(pid: str, mark: str) -> bool:
    try:
        return f"MARK={mark}".encode() in Path("/proc", pid, "environ").read_bytes().split(b"\0")
    except OSError:
        return False


@pytest.mark.parametrize("engine", ["v1", "v3"])
def test_other_engines_record_the_server_too(standin: Standin, engine: str) -> None:
    configure(standin.cwd, shop=server())
    argv = (*HEADLESS, "--agent-engine", engine, "-a")
    result = standin.run(*argv, stdin="go", replies=[[tool("@shop/echo", item="mug")], ["ok"]])
    assert result.code == 0
    if engine == "v3":
        (call,) = standin.v3_payloads("tool_call")
        assert (call["toolName"], call["_meta"]) == ("echo", {"kiro": {"mcpServerName": "shop"}})
        return
    value = standin.rows()[0][2]
    (use,) = value["history"][0]["assistant"]["ToolUse"]["tool_uses"]
    assert use["name"] == "shop___echo"
    assert list(value["tools"]) == ["shop"]
    assert "Running tool echo with the param" in result.out


@pytest.mark.parametrize("engine", ["v2", "v3"])
def test_events_name_the_server(standin: Standin, engine: str) -> None:
    configure(standin.cwd, shop=server())
    events = standin.stream("go", [[tool("@shop/echo")], ["ok"]], engine=engine)
    (call,) = events.updates("tool_call")
    kiro = call["_meta"]["kiro"]
    assert (kiro["mcpServerName"], kiro["toolName" if engine == "v2" else "toolId"]) == ("shop", "echo")


def test_a_chat_in_a_terminal_has_them(standin: Standin) -> None:
    configure(standin.cwd, shop=server())
    child = standin.terminal("chat", "-a", "Go.", replies=[[tool("@shop/echo")], ["Done."], ["More."]])
    child.expect_exact("Running: @shop/echo")
    child.expect_exact("Done.")
    child.sendline("On.")
    child.expect_exact("More.")
    child.sendline("/quit")
    child.expect(re.compile("$"))
    child.wait()
    assert [said(entry) for entry in standin.results()] == [("{}", False)]
