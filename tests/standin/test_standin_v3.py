"""Engine V3: V2's renderer with other titles, and sessions in a folder per workspace."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from standin_process import HEADLESS, Result, Standin, tool


def chat(standin: Standin, prompt: str, replies: Any, *more: str, **keywords: Any) -> Result:
    return standin.run(*HEADLESS, "--agent-engine", "v3", "-a", *more, stdin=prompt, replies=replies, **keywords)


def test_titles_name_the_kind_of_the_action(standin: Standin) -> None:
    calls = [
        tool("write", 1, command="create", path="a.txt", content="x\n"),
        tool("write", 2, command="strReplace", path="a.txt", oldStr="x", newStr="y"),
        tool("read", 3, operations=[{"mode": "Line", "path": "a.txt"}]),
        tool("read", 4, operations=[{"mode": "Directory", "path": "."}]),
        tool("shell", 5, command="exit 3"),
        tool("grep", 6, pattern="y"),
        tool("glob", 7, pattern="*"),
        tool("shell", 8),
    ]

    result = chat(standin, "hello", [["Look.", *calls], ["Done."]])

    assert (result.code, result.out) == (0, "Look.Done.\n")
    titles = ["Write File", "Edit File", "Read File", "List Directory", "Run Command", "Search Files", "Find Files"]
    shown = [f"\n[tool] {title}\n[tool] status: Completed\n" for title in titles]
    assert result.err == "".join(shown) + "\n[tool] Run Command\n[tool] status: Failed\n"


def test_the_session_is_in_the_folder_of_its_workspace(standin: Standin, tmp_path: Path) -> None:
    chat(standin, "hello", [["hi"]], env={"KIRO_HOME": str(tmp_path / "elsewhere")})

    (folder,) = standin.v3_sessions()
    assert folder.parent.name == hashlib.sha256(str(standin.cwd).encode()).hexdigest()[:16]
    assert sorted(path.name for path in folder.iterdir()) == ["messages.jsonl", "session.json"]
    state = json.loads((folder / "session.json").read_text())
    assert re.fullmatch(r"sess_[0-9a-f-]{36}", state["id"])
    assert (state["id"], state["title"], state["workspacePaths"]) == (folder.name, "hello", [str(standin.cwd)])
    assert (state["schemaVersion"], state["agentMode"], state["modelId"]) == ("1.0.0", "vibe", "auto")
    assert (state["createdReason"], state["status"]) == ("human", "idle")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", state["createdAt"])


def test_the_messages_are_in_the_order_of_what_happened(standin: Standin) -> None:
    calls = [tool("shell", 1, command="echo x"), tool("shell", 2)]

    chat(standin, "hello", [["Look.", *calls], ["Done."]])

    payloads = standin.v3_payloads()
    assert [payload["type"] for payload in payloads] == [
        *("user", "turn_start", "assistant", "tool_call", "tool_call", "tool_result", "tool_result", "assistant"),
        *("session_metadata", "session_event", "turn_end", "session_start"),
    ]
    assert payloads[0]["content"] == "hello"
    assert (payloads[2]["content"], payloads[2]["operationType"]) == ("Look.", "Say")
    first, second = standin.v3_payloads("tool_call")
    assert (first["toolName"], first["args"], first["status"]) == ("execute_bash", {"command": "echo x"}, "approved")
    assert second["status"] == "failed"
    done, failed = standin.v3_payloads("tool_result")
    assert json.loads(done["content"]) == {"exit_status": "exit status: 0", "stdout": "x\n", "stderr": ""}
    assert (done["toolCallId"], done["success"]) == ("tooluse_1", True)
    assert isinstance(done["durationMs"], int)
    assert failed["success"] is False
    assert payloads[-2]["stopReason"] == "end_turn"
    assert (payloads[-1]["agentType"], payloads[-1]["forcedRole"]) == ("vibe", True)
    assert len({payload["executionId"] for payload in payloads if "executionId" in payload}) == 1


def test_an_untrusted_tool_is_denied_and_recorded_so(standin: Standin) -> None:
    result = standin.run(*HEADLESS, "--v3", "hello", replies=[[tool("shell", command="id > x")], ["No."]])

    assert (result.code, result.out) == (0, "No.\n")
    assert "[denied]" in result.err
    assert standin.v3_payloads("tool_call")[0]["status"] == "denied"
    assert standin.v3_payloads("tool_result")[0]["content"] == "Tool use was denied by the user."
    assert not (standin.cwd / "x").exists()


def test_trust_tools_takes_only_its_own_names(standin: Standin) -> None:
    replies = [[tool("shell", command="true")], ["ok"]]

    ours = standin.run(*HEADLESS, "--v3", "--trust-tools=shell", "hello", replies=replies)
    theirs = standin.run(*HEADLESS, "--v3", "--trust-tools=execute_bash", "hello", replies=replies)

    assert "WARNING: --trust-tools arg for custom tool shell" in ours.err
    assert "[denied]" in ours.err
    assert theirs.err == "\n[tool] Run Command\n[tool] status: Completed\n"


def test_resume_continues_the_directorys_newest(standin: Standin, tmp_path: Path) -> None:
    fresh = chat(standin, "I am Bob", [["ok"]], "-r")
    chat(standin, "I am Ada", [["Hello, Ada."]])
    (tmp_path / "other").mkdir()
    chat(standin, "I am Eve", [["ok"]], cwd=tmp_path / "other")

    asked = [["{recall:I am (\\w+)|nobody}, {recall:Hello, (\\w+)|nobody}"]]
    resumed = chat(standin, "Who?", asked, "-r", "--model", "claude-haiku-4.5")

    assert (fresh.code, resumed.out, len(standin.v3_sessions())) == (0, "Ada, Ada\n", 3)
    folder = standin.v3_sessions()[1]
    assert json.loads((folder / "session.json").read_text())["modelId"] == "claude-haiku-4.5"
    assert (folder / "messages.jsonl").read_text().count('"type":"turn_start"') == 2


def test_resume_id_is_found_from_its_own_directory_only(standin: Standin, tmp_path: Path) -> None:
    chat(standin, "I am Ada", [["ok"]])
    chat(standin, "I am Bob", [["ok"]])
    name = standin.v3_sessions()[0].name

    resumed = chat(standin, "Who?", [["{recall:I am (\\w+)|nobody}"]], "--resume-id", name)
    elsewhere = chat(standin, "Who?", [["x"]], "--resume-id", name, cwd=tmp_path)

    assert resumed.out == "Ada\n"
    assert (elsewhere.code, elsewhere.out) == (1, "")
    assert elsewhere.err == f"Failed to start session: Session not found: {name}\n"
    assert len(standin.v3_sessions()) == 2


def test_a_refused_and_a_cancelled_turn_are_recorded(standin: Standin) -> None:
    refused = chat(standin, "hello", [["hi"]], misbehave={"throttled": True})
    assert (refused.code, refused.out) == (0, "")
    assert standin.v3_payloads("turn_end")[0]["stopReason"] == "error"
    assert "throttled" in standin.v3_payloads("session_event")[0]["context"]["error"]

    cancelled = chat(standin, "hello", [[tool("shell", command="kill -INT $PPID; exec sleep 600")]])
    assert cancelled.code == 130
    assert standin.v3_payloads("turn_end")[0]["stopReason"] == "cancelled"


def test_sessions_can_be_listed_and_deleted(standin: Standin) -> None:
    chat(standin, "the first one", [["hi"]])
    (folder,) = standin.v3_sessions()

    assert folder.name in standin.run("chat", "--v3", "-l").err
    assert standin.run("chat", "--v3", "-d", folder.name).code == 0
    assert not folder.exists()


def test_an_agent_is_its_mode_and_a_missing_one_is_exit_code_4(standin: Standin) -> None:
    (standin.cwd / ".kiro/agents").mkdir(parents=True)
    (standin.cwd / ".kiro/agents/a.json").write_text(json.dumps({"name": "reviewer", "tools": ["read"]}))

    chat(standin, "hello", [["hi"]], "--agent", "reviewer")
    chat(standin, "hello", [[tool("shell", command="true")], ["hi"]], "-r")
    missing = chat(standin, "hello", [["hi"]], "--agent", "nobody")

    (folder,) = standin.v3_sessions()
    assert json.loads((folder / "session.json").read_text())["agentMode"] == "reviewer"
    assert standin.v3_payloads("tool_call")[0]["status"] == "denied"
    assert missing.code == 4


def test_the_session_keeps_count_of_what_is_billed(standin: Standin) -> None:
    def counted(session: int = 0) -> list[Any]:
        lines = (standin.v3_sessions()[session] / "messages.jsonl").read_text().splitlines()
        payloads = [json.loads(line)["payload"] for line in lines]
        return [
            payload["value"] if payload.get("key") == "creditSplit" else payload["type"]
            for payload in payloads
            if payload.get("key") == "creditSplit"
            or payload["type"] in ("user", "usage_summary", "turn_end", "tombstone")
        ]

    chat(standin, "hello", [["hi"]], misbehave={"credits": {"main": 0.5, "auxiliary": 0.25}})
    one = {"main": 0, "delegated": 0, "auxiliary": 0.25}
    two = {"main": 0.5, "delegated": 0, "auxiliary": 0.25}
    assert counted() == [one, "user", "usage_summary", "turn_end", two]
    (summed,) = [payload for payload in standin.v3_payloads() if payload["type"] == "usage_summary"]
    assert [each["usage"] for each in summed["promptTurnSummaries"]] == [0.5]

    # A compaction is billed where the session ends that it summed up.
    kinds = {"credits": {"main": 0.5, "delegated": 1, "auxiliary": 0.125}, "compaction": True}
    chat(standin, "more", [["hi"]], "-r", misbehave=kinds)
    assert counted()[5:] == ["user", {**two, "auxiliary": 0.375}, "tombstone"]
    assert counted(1) == ["usage_summary", "turn_end", {"main": 0.5, "delegated": 1, "auxiliary": 0}]


def test_credits_are_one_sum_for_the_turn(standin: Standin) -> None:
    chat(standin, "hello", [[tool("shell", command="true")], ["hi"]], misbehave={"credits": 0.5})

    (usage,) = standin.v3_payloads("usage_summary")
    assert usage["promptTurnSummaries"] == [
        {"unit": "credit", "unitPlural": "credits", "usage": 0.5, "usedTools": ["execute_bash"]}
    ]
    assert (usage["status"], len(usage["requestIds"])) == ("success", 2)


def test_memories_go_from_one_session_to_the_next_unless_they_are_off(standin: Standin) -> None:
    add = tool("memory", command="add", title="indent", content="The user likes tabs.")
    ask = [["{recall:likes (\\w+)|nothing}"]]
    settings = standin.home / ".kiro/settings/cli.json"

    added = chat(standin, "remember it", [[add], ["Done."]])
    (line,) = (standin.home / ".kiro/memories/memories.jsonl").read_text().splitlines()
    recalled = chat(standin, "what is it?", ask)
    settings.parent.mkdir()
    answers = {}
    for text in ('{"memory.mode": "disabled"}', '{"memory.enabled": false}', '{"memory.mode": "read_only"}'):
        settings.write_text(text)
        answers[text] = [chat(standin, "?", ask).out, chat(standin, "?", [[add], ["No."]]).err]

    assert added.err == "\n[tool] Memory\n[tool] status: Completed\n"
    assert (json.loads(line)["title"], json.loads(line)["content"]) == ("indent", "The user likes tabs.")
    assert recalled.out == "tabs\n"
    assert [out for out, _ in answers.values()] == ["nothing\n", "nothing\n", "tabs\n"]
    assert all("[tool] status: Failed" in err for _, err in answers.values())


@pytest.mark.parametrize(
    ("path", "kind", "name"),
    [(".kiro/skills/release/SKILL.md", "skill", "release"), (".kiro/steering/style.md", "steering", "style")],
)
def test_a_skill_is_put_into_the_prompt_by_a_tool_of_its_own(standin: Standin, path: str, kind: str, name: str) -> None:
    file = standin.cwd / path
    file.parent.mkdir(parents=True)
    file.write_text("As it says.\n")
    replies = [[tool("read", operations=[{"mode": "Line", "path": path}])], ["Done."]]
    events = standin.stream("hello", replies, engine="v3")
    called, result = standin.v3_payloads("tool_call", "tool_result")
    assert (called["toolName"], called["args"]) == ("disclose_context", {"name": name})
    assert result["success"] is True
    assert "As it says." in result["content"]
    (begun,) = events.updates("tool_call")
    disclosed = {"type": kind, "displayName": name, "uri": f"file://{file}"}
    assert begun["_meta"]["kiro"]["disclosedContext"] == disclosed
    assert (begun["title"], begun["kind"], begun["rawInput"]) == ("disclose_context", "other", {"name": name})
    assert "locations" not in begun


def test_a_skill_that_is_not_there_is_not_put_into_the_prompt(standin: Standin) -> None:
    path = ".kiro/skills/none/SKILL.md"
    chat(standin, "hello", [[tool("read", operations=[{"mode": "Line", "path": path}])], ["Done."]])
    assert [result["success"] for result in standin.v3_payloads("tool_result")] == [False]


def test_it_unpacks_its_agent_and_notes_what_it_is_set_to(standin: Standin) -> None:
    chat(standin, "hello", [["hi"]])
    chat(standin, "hello", [["hi"]], "--effort", "high", env={"KIRO_ROLLOUT_FEATURES": "voice,workflows"})

    (package,) = standin.home.glob(".local/share/kiro-cli/kas/2.29.0-*/node_modules/@kiro/agent/package.json")
    assert json.loads(package.read_text()) == {"name": "@kiro/agent", "version": "0.66.26"}
    states = [json.loads((folder / "session.json").read_text()) for folder in standin.v3_sessions()]
    assert [(state.get("effortLevel"), state["workflowsEnabled"]) for state in states] == [
        (None, False),
        ("high", True),
    ]
