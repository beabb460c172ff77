"""The same scripted replies on the three engines, and sub-agents on each of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from standin_process import HEADLESS, Standin, tool

WORDS = {"fs_write": "write", "execute_bash": "shell", "fs_read": "read", "read_file": "read"}
ENGINES = ["v1", "v2", "v3"]


def record(standin: Standin, engine: str) -> tuple[list[str], list[tuple[str, str, Any, bool]]]:
    """Messages, and calls with tool, text of the answer, and whether it went well, as the engine's store has them."""
    if engine == "v1":
        return of_v1(standin.rows()[-1][2]["history"])
    if engine == "v2":
        return of_v2(standin.messages())
    names = {p["toolCallId"]: p["toolName"] for p in standin.v3_payloads("tool_call")}
    calls = [
        (p["toolCallId"], names[p["toolCallId"]], p["content"], p["success"])
        for p in standin.v3_payloads("tool_result")
    ]
    return [p["content"] for p in standin.v3_payloads("assistant")], calls


def text_of(items: list[dict[str, Any]]) -> str:
    """Items of a result as one text, JSON as V3 writes it."""
    values = [value for item in items for value in item.values()]
    return "\n".join(
        value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        for value in values
    )


def of_v1(history: list[dict[str, Any]]) -> tuple[list[str], list[tuple[str, str, Any, bool]]]:
    messages = [message["content"] for entry in history for message in entry["assistant"].values()]
    uses = [use for entry in history for use in entry["assistant"].get("ToolUse", {}).get("tool_uses", [])]
    names = {use["id"]: use["name"] for use in uses}
    contents = [entry["user"]["content"].get("ToolUseResults", {}) for entry in history]
    results = [result for content in contents for result in content.get("tool_use_results", [])]
    return [message for message in messages if message], [
        (r["tool_use_id"], names[r["tool_use_id"]], text_of(r["content"]), r["status"] == "Success") for r in results
    ]


def of_v2(lines: list[dict[str, Any]]) -> tuple[list[str], list[tuple[str, str, Any, bool]]]:
    parts = [part for line in lines if line["kind"] == "AssistantMessage" for part in line["data"]["content"]]
    names = {part["data"]["toolUseId"]: part["data"]["name"] for part in parts if part["kind"] == "toolUse"}
    results = [p["data"] for line in lines if line["kind"] == "ToolResults" for p in line["data"]["content"]]
    return [part["data"] for part in parts if part["kind"] == "text" and part["data"]], [
        (
            r["toolUseId"],
            names[r["toolUseId"]],
            text_of([{c["kind"]: c["data"]} for c in r["content"]]),
            r["status"] == "success",
        )
        for r in results
    ]


def run(standin: Standin, engine: str, replies: Any, *more: str) -> int:
    return standin.run(*HEADLESS, "--agent-engine", engine, *more, "hello", replies=replies).code


def test_the_engines_do_the_same_with_the_same_replies(standin: Standin) -> None:
    replies = [
        ["I'll write it.", tool("write", 1, command="create", path="a.txt", content="ü\n")],
        [
            tool("shell", 2, command="cat a.txt; echo two > b.txt; exit 3"),
            tool("read", 3, operations=[{"mode": "Line", "path": "b.txt"}]),
        ],
        [tool("read", 4, operations=[{"mode": "Line", "path": "none"}]), tool("shell", 5)],
        ["It is written."],
    ]
    found = []
    for engine in ENGINES:
        code = run(standin, engine, replies, "-a")
        messages, calls = record(standin, engine)
        files = {path.name: path.read_text() for path in standin.cwd.iterdir()}
        named = [(call, WORDS.get(name, name), text, good) for call, name, text, good in calls]
        found.append((code, files, messages, named))
        for name in files:
            (standin.cwd / name).unlink()

    first, *others = found
    assert others == [first, first]
    assert first[1] == {"a.txt": "ü\n", "b.txt": "two\n"}
    assert first[2] == ["I'll write it.", "It is written."]
    assert [good for *_, good in first[3]] == [True, True, True, False, False]
    assert [name for _, name, *_ in first[3]] == ["write", "shell", "read", "read", "shell"]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_resume_of_another_engine_knows_nothing(standin: Standin, engine: str) -> None:
    for other in set(ENGINES) - {engine}:
        run(standin, other, [["I am Ada."]])

    run(standin, engine, [["{recall:Ada|nobody}"]], "-r")

    assert record(standin, engine)[0] == ["nobody"]


SUBAGENT = tool(
    "subagent",
    prompt="Look around.",
    requests=[["Looking.", {"name": "shell", "args": {"command": "echo sub > sub.txt"}}], ["I found it."]],
)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_subagent_acts_and_its_last_text_is_the_result(standin: Standin, engine: str) -> None:
    code = run(standin, engine, [["Asking.", SUBAGENT], ["It found it."]], "-a")

    assert code == 0
    assert (standin.cwd / "sub.txt").read_text() == "sub\n"
    if engine == "v2":
        (parent,) = [name for name in standin.ids() if "parent_session_id" not in standin.state(name)]
        messages, calls = of_v2(standin.messages(parent))
    else:
        messages, calls = record(standin, engine)
    assert messages == ["Asking.", "It found it."]
    assert [(text, good) for _, _, text, good in calls] == [("I found it.", True)]


def test_v2_gives_a_subagent_a_session_that_names_its_parent(standin: Standin) -> None:
    run(standin, "v2", [["Asking.", SUBAGENT], ["Done."]], "-a")

    states = {name: standin.state(name) for name in standin.ids()}
    (child,) = [name for name, state in states.items() if state.get("parent_session_id")]
    parent = states[child]["parent_session_id"]
    assert set(states) == {child, parent}
    assert states[child]["cwd"] == str(standin.cwd)
    assert of_v2(standin.messages(child))[0] == ["Looking.", "I found it."]
    assert standin.turns(child)[0]["end_reason"] == "UserTurnEnd"
    (record_of_it,) = standin.messages(parent)[2]["data"]["results"].values()
    (invocation,) = record_of_it["tool"]["kind"]["BuiltIn"]["SpawnSubagent"]["subagents"]
    assert invocation["query"] == "Look around."
    assert "requests" not in json.dumps(standin.messages(parent))
    assert not list(standin.store.glob("*.lock"))

    standin.chat("Again.", [["{recall:Asking|nothing}"]], "-r")
    assert len(standin.turns(parent)) == 2


def test_v3_logs_a_subagent_beside_its_parent(standin: Standin) -> None:
    run(standin, "v3", [[SUBAGENT], ["Done."]], "-a")

    (folder,) = standin.v3_sessions()
    (log,) = (folder / "sub-executions").glob("*.jsonl")
    (start,), (end,) = standin.v3_payloads("sub_agent_start"), standin.v3_payloads("sub_agent_complete")
    assert start["subSessionId"] == end["subSessionId"] == log.stem
    assert (start["prompt"], end["response"]) == ("Look around.", "I found it.")
    inside = [json.loads(line)["payload"] for line in log.read_text().splitlines()]
    assert [p["content"] for p in inside if p["type"] == "assistant"] == ["Looking.", "I found it."]


def test_v3_logs_the_subagent_of_a_subagent_beside_both(standin: Standin) -> None:
    inner = {"name": "subagent", "args": {"prompt": "Deeper.", "requests": [["Deepest."]]}}

    assert run(standin, "v3", [[tool("subagent", prompt="x", requests=[[inner], ["Deep."]])], ["Done."]], "-a") == 0

    (folder,) = standin.v3_sessions()
    logs = [path.read_text() for path in (folder / "sub-executions").glob("*.jsonl")]
    assert sorted("Deepest." in log and "sub_agent_complete" not in log for log in logs) == [False, True]
    assert standin.v3_payloads("sub_agent_complete")[0]["response"] == "Deep."


@pytest.mark.parametrize("engine", ENGINES)
def test_a_subagent_is_not_run_untrusted_nor_with_wrong_replies(standin: Standin, engine: str) -> None:
    wrong = tool("subagent", 2, prompt="x", requests=[[7]])

    run(standin, engine, [[SUBAGENT, wrong, tool("subagent", 3, prompt="y", agent="nobody")], ["No."]], "-a")
    answers = [text for *_, text, good in record(standin, engine)[1] if not good] if engine != "v2" else []
    run(standin, engine, [[SUBAGENT], ["No."]])

    if engine != "v2":
        assert "requests: 7 is neither a text nor a tool call" in answers[0]
        assert answers[1] == 'agent "nobody" not found'
        assert record(standin, engine)[1][-1][2] == "Tool use was denied by the user."


def test_a_cancelled_subagent_cancels_its_parent(standin: Standin) -> None:
    inside = [[{"name": "shell", "args": {"command": "kill -INT $PPID; exec sleep 600"}}]]

    code = run(standin, "v2", [[tool("subagent", prompt="x", requests=inside)]], "-a")

    assert code == 130
    assert [standin.turns(name)[0]["end_reason"] for name in standin.ids()] == ["Cancelled", "Cancelled"]
