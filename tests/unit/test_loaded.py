"""`turn.loaded`: true and false only where kiro-cli's records say so, else an error."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from test_turn_value import TURN

from pytest_kiro import Loaded, NotRecorded, ToolCall, Turn
from pytest_kiro.turn.calls import ToolCalls
from pytest_kiro.turn.loaded import Given
from pytest_kiro.turn.provenance import Provenance

SKILL = ".kiro/skills/release/SKILL.md"


def turn(*calls: ToolCall, engine: str = "v2", prompt: str = "Go.", output: str = "", **given: Any) -> Turn:
    return replace(
        TURN,
        prompt=prompt,
        output=output,
        provenance=Provenance(engine=engine),
        tool_calls=ToolCalls(calls, folder="/w"),
        given=Given(**{"complete": True, **given}),
    )


def call(name: str, status: Any = "completed", /, *, output: str = "", **given: Any) -> ToolCall:
    return ToolCall(name, name, given, output, status)


def lines(*paths: str, status: Any = "completed") -> ToolCall:
    return call("read", status, operations=[{"mode": "Line", "path": path} for path in paths])


def disclosed(status: Any = "completed", **given: Any) -> ToolCall:
    return call("disclose_context", status, **given)


@pytest.mark.parametrize(
    "read",
    [
        lines(SKILL),
        lines("a.py", f"/w/{SKILL}"),
        call("read", path="/home/ada/" + SKILL),
        call("read", paths=["a.py", SKILL]),
        disclosed(name="release"),
        disclosed(type="skill", displayName="release", uri="file:///w"),
        call("subagent", prompt="Release."),
    ],
    ids=["V2", "among others", "V1", "V3 reads", "V3's store", "V3's stream", "a sub-agent"],
)
def test_a_skill_that_was_loaded(read: ToolCall) -> None:
    if read.name == "subagent":
        read = replace(read, calls=(lines(SKILL),))
    loaded = turn(read).loaded("skill", "release")
    assert isinstance(loaded, Loaded)
    assert loaded
    assert loaded.names == ("release",)
    assert turn(read).loaded("skill", "rel*")
    assert turn(read).loaded("skill", "*")
    assert re.fullmatch(r"<loaded: skill 'release': (read|disclose_context).*>", repr(loaded))
    assert not turn(read).loaded("skill", "review")
    assert repr(turn(read).loaded("skill", "review")) == "<not loaded: skill 'review'; there were: 'release'>"


@pytest.mark.parametrize(
    "other",
    [
        call("read", path="docs/skills/SKILL.md"),
        call("read", path=".kiro/skills/release/README.md"),
        call("read", "denied", path=SKILL),
        call("read", "failed", path=SKILL),
        call("write", path=SKILL),
        call("shell", "denied", command=f"cat {SKILL}"),
        disclosed("failed", name="release"),
        disclosed(type="steering", displayName="release"),
        call("glob", pattern="**/SKILL.md"),
    ],
    ids=lambda call: f"{call.name} {call.status}",
)
def test_a_skill_that_was_not_loaded(other: ToolCall) -> None:
    loaded = turn(other).loaded("skill", "release")
    assert not loaded
    assert repr(loaded) == "<not loaded: skill 'release'; there were: none at all>"


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (turn(call("shell", command=f"cat {SKILL}")), "shell .* may have shown it; look at turn.tool_calls"),
        (turn(call("grep", pattern="x", path=SKILL)), "may have shown it"),
        (turn(lines(SKILL, status="unfinished")), "was not over; let the turn end"),
        (turn(prompt=" /release 1.2"), "begins with a slash.*; put a word before it"),
        (turn(call("subagent", prompt="x"), engine="v1"), "engine V1 keeps nothing .*; use --kiro-engine=v2 or v3"),
        (turn(complete=False), "its records were not read.*; look at turn.warnings"),
    ],
    ids=["a command", "a search", "unfinished", "a slash", "V1's sub-agents", "no records"],
)
def test_a_skill_of_which_nothing_says_it(one: Turn, why: str) -> None:
    with pytest.raises(NotRecorded, match=f"whether skill 'release' was loaded is not known: .*{why}"):
        one.loaded("skill", "release")


@pytest.mark.parametrize("engine", ["v1", "v2", "v3"])
def test_steering_is_true_or_not_known(engine: str) -> None:
    for one in (
        turn(lines(".kiro/steering/team/style.md"), engine=engine),
        turn(disclosed(type="steering", displayName="team/style"), engine=engine),
        turn(engine=engine, steering=("file:///w/.kiro/steering/team/style.md",)),
        turn(engine=engine, steering=("team/style.md",)),
    ):
        assert one.loaded("steering", "team/style")
        assert one.loaded("steering", "team/style.md")
        with pytest.raises(NotRecorded, match=f"engine {engine} keeps no record of the steering files"):
            one.loaded("steering", "product")


def test_an_agent_where_something_says_who_answered() -> None:
    assert turn(agent="reviewer").loaded("agent", "reviewer")
    loaded = turn(agent="kiro_default").loaded("agent", "reviewer")
    assert repr(loaded) == "<not loaded: agent 'reviewer'; there were: 'kiro_default'>"
    with pytest.raises(NotRecorded, match="nothing that engine v1 has left says which agent answered"):
        turn(engine="v1").loaded("agent", "reviewer")


def test_a_server_by_its_calls() -> None:
    one = turn(call("@git/log"), call("@aws/s3", "failed", output="A tool with the name 's3' does not exist"))
    assert one.loaded("mcp", "git")
    assert turn(call("@git/log", "failed")).loaded("mcp", "g*")
    assert turn(servers=("git",)).loaded("mcp", "git")
    with pytest.raises(NotRecorded, match=r"keeps no record of the servers .*; ask for something that needs a tool"):
        one.loaded("mcp", "aws")
    printed = "⚠️  WARNING: Failed to retrieve MCP settings; MCP functionality disabled"
    assert not turn(output=printed).loaded("mcp", "git")
    assert not replace(turn(), diagnostics=printed).loaded("mcp", "git")


@pytest.mark.parametrize("kind", ["skills", "", None, ["skill"]])
def test_another_kind_is_refused(kind: Any) -> None:
    with pytest.raises(ValueError, match="wanted: one of skill, steering, agent, mcp"):
        turn().loaded(kind, "x")


@pytest.mark.parametrize("name", ["", " ", None, 1])
def test_a_name_that_is_none_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match="is not right; wanted: a name, or a pattern"):
        turn().loaded("skill", name)


def test_a_repr_has_room_for_many() -> None:
    one = turn(*(lines(f".kiro/skills/skill-{number}/SKILL.md") for number in range(200)))
    assert len(repr(one.loaded("skill", "x" * 500))) < 240
    assert one.loaded("skill", "skill-199")
