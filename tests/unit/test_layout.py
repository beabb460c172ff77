"""The two text layouts: what they announce while a turn runs, wherever the text is cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_kiro.kirocli.events import Event
from pytest_kiro.kirocli.layout import Layout, credits

V1 = (Path(__file__).parent / "data" / "v1-layout.txt").read_text(encoding="utf-8")
GUIDE = Path(__file__).parents[2].parent / "shared" / "reference" / "guide.txt"
TRAILER = "\n ▸ Credits: 0.07 • Time: 4s\n"


def fed(engine: str, text: str, size: int = 10**9) -> list[Event]:
    layout = Layout(engine)
    told = [event for at in range(0, len(text), size) for event in layout.events(text[at : at + size])]
    return told + layout.events("", final=True)


def calls(events: list[Event]) -> list[tuple[str, dict[str, Any]]]:
    return [(event.call.name, dict(event.call.input)) for event in events if event.call]


def statuses(events: list[Event]) -> list[str]:
    return [event.data["status"] for event in events if event.kind == "tool_result"]


# -- V1


def test_a_turn_of_v1() -> None:
    events = fed("v1", V1)
    heredoc = (
        "cd out && python3 - <<'PY' > log\nimport spiral  # it is (or was) fine\nprint(\"- Completed in no time\")\nPY"
    )
    assert calls(events) == [
        ("write", {"path": "/home/me/work/spiral.py"}),
        ("shell", {"command": heredoc, "working_dir": "/home/me/work"}),
        ("read", {"path": "/home/me/work/log"}),
        ("read", {}),
        ("read", {"path": "/home/me/work"}),
        ("shell", {"command": "rm -rf /"}),
        ("shell", {"command": 'echo "(using tool: read)"'}),
    ]
    assert statuses(events) == [*["completed"] * 5, "denied", "failed", "failed"]
    assert [event.kind for event in events][-1] == "finished"
    assert events[-1].credits == 0.06
    assert {event.call.status for event in events if event.call} == {"unfinished"}
    assert events[0].text == "I'll create the following file: /home/me/work/spiral.py"


@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_v1_may_be_cut_anywhere(size: int) -> None:
    assert fed("v1", V1, size) == fed("v1", V1)


@pytest.mark.skipif(
    not GUIDE.is_file(), reason="SKIPPED LOUDLY: the guide's own transcript is not beside this checkout"
)
def test_the_guides_own_transcript() -> None:
    """A page made flat: what ends a line in a terminal does not in it."""
    events = fed("v1", GUIDE.read_text(encoding="utf-8"))
    path = "/home/daytona/donut.js"
    assert calls(events) == [("write", {"path": path}), ("shell", {"command": "node donut.js"})]
    assert statuses(events) == ["completed", "completed"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "> Now.I will run the following command: ls -l | wc (using tool: shell)",
            [("shell", {"command": "ls -l | wc"})],
        ),
        ("I'll modify the following file: /a (using tool: fs_write)", [("write", {"path": "/a"})]),
        (
            "Reading file: /a, from line 1 to 5 (using tool: read)Reading file: /b, all lines (using tool: read)",
            [("read", {"path": "/a"}), ("read", {"path": "/b"})],
        ),
        ("Reading directory: /a with maximum depth of 0 (using tool: read)", [("read", {"path": "/a"})]),
        ("Reading images: /a.png (using tool: read)", [("read", {"path": "/a.png"})]),
        ("Searching the web for: cats (using tool: web_search)", [("web_search", {})]),
        ("Running log (using tool: git___log)", [("@git/log", {})]),
        ("🛠️  Using tool: execute_bash (trusted)", [("shell", {})]),
        ("🛠️  Using tool: log (trusted) from mcp server git", [("@git/log", {})]),
        ("I would use it (using tools: none)", []),
        ("I will run the following command: never said", []),
    ],
)
def test_announcements_of_v1(line: str, expected: list[Any]) -> None:
    assert calls(fed("v1", f"{line}\n")) == expected


def test_what_an_agent_says_of_a_command_does_not_swallow_the_next() -> None:
    said = "> I will run the following command: as I said\nand so on\n"
    command = "I will run the following command: ls (using tool: shell)\n"
    assert calls(fed("v1", said + command)) == [("shell", {"command": "ls"})]
    endless = "I will run the following command: x\n" + "y" * 60_000 + "\n"
    assert calls(fed("v1", endless + ("z" * 60_000 + "\n") * 20 + "(using tool: shell)\n")) == [("shell", {})]


# -- the line of credits


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"> done\n{TRAILER}", 0.07),
        ("▸ Credits: 12 • Time: 1h 2m 3s", 12.0),
        (f"done{TRAILER}\n\nResume with: kiro-cli chat --resume-id x\n", 0.07),
        (f"{'x' * 10_000}{TRAILER}", 0.07),
        (f"> it ends in{TRAILER}so it does\n", None),
        (f"> it ends in{TRAILER}```\n", None),
        ("> ▸ Credits: 0.07 • Time: 4s\n", None),
        ("done ▸ Credits: 0.07 • Time: 4s\n", None),
        (" ▸ Credits: 0.07\n", None),
        (" ▸ Time: 15s\n", None),
        ("x" * 5000 + " ▸ Credits: 0.07 • Time: 4s\n", None),
        ("\n ▸ Credits: 1" + "0" * 5000 + " • Time: 4s\n", None),
        ("", None),
    ],
)
def test_credits(text: str, expected: float | None) -> None:
    assert credits(text) == expected
    events = fed("v1", text)
    assert [event.credits for event in events if event.kind == "finished"] == ([] if expected is None else [expected])
    assert [event for event in fed("v2", text) if event.kind == "finished"] == []


def test_where_a_tail_is_cut_is_no_begin_of_a_line() -> None:
    line = " ▸ Credits: 0.07 • Time: 4s\n"
    for length in (4096 - len(line), 8192 - len(line)):
        for more in (-1, 0, 1):
            text = "x" * (length + more) + line
            assert credits(text) is None
            assert fed("v1", text) == []


# -- V2 and V3


@pytest.mark.parametrize(
    ("title", "name", "given"),
    [
        ("Running: printf 'example'", "shell", {"command": "printf 'example'"}),
        ("Running: @git/log", "@git/log", {}),
        ("Running subagent: helper", "subagent", {"agent": "helper"}),
        ("Reading tour_508.txt:1", "read", {"path": "tour_508.txt"}),
        ("Reading a:b.txt:1-20", "read", {"path": "a:b.txt"}),
        ("Reading listing src", "read", {"path": "src"}),
        ("Creating out.txt", "write", {"path": "out.txt"}),
        ("Editing notes.txt", "write", {"path": "notes.txt"}),
        ("Searching for 'it's' in src/a", "grep", {"pattern": "it's", "path": "src/a"}),
        ("Searching for 'x'", "grep", {"pattern": "x"}),
        ("Searching symbols: exampleSymbol", "code", {"pattern": "exampleSymbol"}),
        ("Searching the web", "web_search", {}),
        ("Creating task list: three", "todo_list", {}),
        ("AWS: sts get-caller-identity", "use_aws", {"command": "sts get-caller-identity"}),
        ("Run Command", "shell", {}),
        ("Read File", "read", {}),
        ("Sub-agent: helper", "subagent", {}),
        ("Send Message", "send_message", {}),
        ("Something new", "unknown", {}),
    ],
)
def test_announcements_of_v2_and_v3(title: str, name: str, given: dict[str, Any]) -> None:
    for engine in ("v2", "v3"):
        (event,) = fed(engine, f"\n[tool] {title}\n")
        assert event.call is not None
        assert (event.text, event.call.name, event.call.input) == (title, name, given)


V2 = """\
[tool] Running: a
[tool] Running: b
[tool] status: Completed
[tool] status: Failed
[denied] tool permission approval is not supported in non-interactive mode. Use --trust-all-tools to auto-approve.
[tool] status: Strange
Checking the example.Example inspected. [tool] status: Completed
 [tool] Running: c
[tool]
"""


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_turn_of_v2(size: int) -> None:
    events = fed("v2", V2, size)
    assert calls(events) == [("shell", {"command": "a"}), ("shell", {"command": "b"})]
    assert statuses(events) == ["completed", "failed", "denied", "unknown"]
    assert events[2] == Event("tool_result", "[tool] status: Completed", data={"status": "completed"})


def test_a_line_may_start_over_as_a_spinner_does() -> None:
    assert calls(fed("v2", "thinking\r[tool] Running: a\r\n")) == [("shell", {"command": "a"})]


def test_a_line_without_end_takes_no_memory() -> None:
    layout = Layout("v2")
    for _ in range(100):
        assert layout.events("[tool] Running: " + "x" * 10_000) == []
    (event,) = layout.events("\n")
    assert len(event.text) < 70_000
    assert calls(layout.events("[tool] Running: a\n")) == [("shell", {"command": "a"})]
