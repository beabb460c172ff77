"""Tool calls as a value: what is picked, and what is shown when nothing was."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pytest

from pytest_kiro.turn.calls import Commands, ToolCalls, label, walk
from pytest_kiro.turn.transcript import ToolCall
from pytest_kiro.turn.turn import Turn

FOLDER = "/home/k/work/0a1b2c3d"


def call(name: str, status: Any = "completed", *, calls: tuple[ToolCall, ...] = (), **given: Any) -> ToolCall:
    exit_code = given.pop("exit_code", None)
    return ToolCall(name, f"raw_{name}", given, "", status, exit_code, calls=calls)


LS = call("shell", command="ls -l", exit_code=0)
TEST = call("shell", command="cd app && node x.js", exit_code=1)
DELETE = call("shell", "denied", command="rm -rf /")
INSIDE = call("write", path=f"{FOLDER}/src/a.py")
RELATIVE = call("write", path="./src/deep/b.py")
OUTSIDE = call("write", path="/tmp/c.py")
FAILED = call("write", "failed", path="src/d.py")
BATCH = call("read", operations=[{"mode": "Line", "path": f"{FOLDER}/README.md"}, {"path": "/etc/hosts"}, "odd", {}])
GREP = call("grep", pattern="TODO")
ODD = call("@git/log", path=3, operations=7, pattern=[])
INNER = call("write", path="inner.txt")
INNER_SHELL = call("shell", command="make inner")
AGENT = call("subagent", calls=(INNER, call("subagent", calls=(INNER_SHELL,))))
ALL = ToolCalls([LS, TEST, DELETE, INSIDE, RELATIVE, OUTSIDE, FAILED, BATCH, GREP, ODD, AGENT], folder=FOLDER)


@pytest.mark.parametrize(
    ("name", "given", "picked"),
    [
        (None, {}, list(walk(ALL))),
        ("write", {}, [INSIDE, RELATIVE, OUTSIDE, FAILED, INNER]),
        ("raw_write", {}, []),
        ("@git/log", {}, [ODD]),
        ("log", {}, [ODD]),
        ("git", {}, []),
        ("shell", {}, [LS, TEST, DELETE, INNER_SHELL]),
        (None, {"status": "denied"}, [DELETE]),
        ("write", {"status": "failed"}, [FAILED]),
        (None, {"path": "src/a.py"}, [INSIDE]),
        (None, {"path": "./src//a.py"}, [INSIDE]),
        (None, {"path": f"{FOLDER}/src/a.py"}, [INSIDE]),
        (None, {"path": "a.py"}, []),
        (None, {"path": "src/*.py"}, [INSIDE, FAILED]),
        (None, {"path": "src/?.py"}, [INSIDE, FAILED]),
        (None, {"path": "**/*.py"}, [INSIDE, RELATIVE, FAILED]),
        (None, {"path": "src/**"}, [INSIDE, RELATIVE, FAILED]),
        (None, {"path": "**/README.md"}, [BATCH]),
        (None, {"path": "/etc/hosts"}, [BATCH]),
        (None, {"path": "/tmp/*"}, [OUTSIDE]),
        (None, {"path": "[s]rc/a.py"}, []),
        (None, {"path": "src.a.py"}, []),
        (None, {"pattern": r"node \S+\.js"}, [TEST]),
        (None, {"pattern": r"^src/"}, [INSIDE, RELATIVE, FAILED]),
        (None, {"pattern": "TODO"}, [GREP]),
        ("shell", {"pattern": "inner"}, [INNER_SHELL]),
        ("write", {"path": "**/*.py", "pattern": "deep", "status": "completed"}, [RELATIVE]),
    ],
    ids=lambda value: str(value) if not isinstance(value, list) else "",
)
def test_filter(name: str | None, given: dict[str, Any], picked: list[ToolCall]) -> None:
    found = ALL.filter(name, **given)
    assert list(map(id, found)) == list(map(id, picked))
    assert bool(found) is bool(picked)
    assert isinstance(found, ToolCalls)


def test_brackets_are_themselves() -> None:
    page = ToolCalls([call("write", path="app/[id].tsx")], folder=FOLDER)
    assert page.filter(path="app/[id].tsx")
    assert page.filter(path="app/[*].tsx")
    assert not page.filter(path="app/i.tsx")


def test_a_filter_narrows_what_a_filter_picked_and_picks_nothing_twice() -> None:
    assert list(ALL.filter(status="completed").filter("write")) == [INSIDE, RELATIVE, OUTSIDE, INNER]
    assert list(ALL.filter("subagent").filter("shell")) == [INNER_SHELL], "of a sub-agent's calls too"
    assert repr(ALL.filter("grep").filter(path="x")).startswith("<ToolCalls: none of name='grep' path='x'; there were")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"pattern": "("}, r"pattern='\(' is no regular expression: missing \)"),
        ({"status": "done"}, "status='done' is not right; wanted: one of completed, failed, denied, unfinished"),
    ],
)
def test_what_is_wrong_is_said(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ALL.filter(**given)


def test_used_takes_what_filter_takes() -> None:
    asked, offered = (inspect.signature(method).parameters for method in (ToolCalls.used, ToolCalls.filter))
    assert list(asked) == list(offered) == list(inspect.signature(Turn.used).parameters)
    assert list(ALL.used("write", path="src/*.py", status="completed")) == [INSIDE]
    assert list(ALL.used("shell", pattern="^(ls|rm)")) == [LS], "a denied one was not used"
    assert repr(ALL.used("write", path="*.md")).startswith("<ToolCalls: none of name='write' path='*.md'; there were:")
    with pytest.raises(ValueError, match="status='denied' is not right: a denied call was not used"):
        ALL.used("shell", status="denied")


def test_used_means_not_denied() -> None:
    assert list(ALL.used("shell")) == [LS, TEST, INNER_SHELL]
    assert list(ALL.used("write")) == [INSIDE, RELATIVE, OUTSIDE, FAILED, INNER], "a failed one was used"
    assert not ToolCalls([DELETE]).used("shell")
    assert not ALL.used("nothing")


def test_commands_and_files_written() -> None:
    commands = ALL.commands
    assert commands == ["ls -l", "cd app && node x.js", "make inner"]
    assert isinstance(commands, Commands)
    assert commands.denied == ("rm -rf /",)
    assert ALL.files_written == {"src/a.py", "src/deep/b.py", "inner.txt"}
    escaping = ["../up.py", f"{FOLDER}x/near.py", FOLDER, "~/home.py", f"{FOLDER}/../other/a.py"]
    assert ToolCalls([call("write", path=path) for path in escaping], folder=FOLDER).files_written == set()


def test_it_is_still_a_tuple() -> None:
    assert ToolCalls() == ()
    assert tuple(ALL) == ALL
    assert ALL[0] is LS
    assert len(ALL) == 11
    for copied in (copy.copy(ALL), pickle.loads(pickle.dumps(ALL))):
        assert copied == ALL
        assert repr(copied.used("nothing")) == repr(ALL.used("nothing"))


# -- what is shown


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (LS, "shell 'ls -l'"),
        (TEST, "shell 'cd app && node x.js' (exit 1)"),
        (DELETE, "shell 'rm -rf /' (denied)"),
        (INSIDE, "write 'src/a.py'"),
        (FAILED, "write 'src/d.py' (failed)"),
        (BATCH, "read 'README.md'"),
        (GREP, "grep 'TODO'"),
        (ODD, "@git/log"),
        (call("shell", command="x" * 100), f"shell '{'x' * 47}…'"),
        (call("shell", command="a\nb"), r"shell 'a\nb'"),
    ],
)
def test_label(one: ToolCall, said: str) -> None:
    assert label(one, FOLDER) == said


def test_an_empty_one_tells_the_calls_that_there_were() -> None:
    assert repr(ToolCalls()) == "<ToolCalls: none>"
    assert repr(ToolCalls().used("write")) == "<ToolCalls: none of name='write'; there were: none at all>"
    few = ToolCalls([LS, AGENT])
    assert repr(few) == "<ToolCalls: shell 'ls -l', subagent>"
    assert repr(few.used("read")) == (
        "<ToolCalls: none of name='read'; there were: shell 'ls -l', subagent, write 'inner.txt', subagent, "
        "shell 'make inner'>"
    )


@pytest.mark.parametrize("length", [1, 40, 4000])
@pytest.mark.parametrize("count", [1, 5, 15, 400])
def test_it_fits_into_what_pytest_shows(count: int, length: int) -> None:
    many = ToolCalls([call("shell", command=f"{n} {'x' * length}") for n in range(count)])
    for shown in (repr(many), repr(many.used("write")), repr(many.filter(pattern="never" * 80))):
        assert len(shown) <= 240
    if count == 400:
        assert "and 3" in repr(many)
        assert repr(many).endswith(" more>")
        assert "and 3" in repr(many.used("write"))


def test_a_built_in_tools_name_means_no_servers() -> None:
    """Which would say that Kiro wrote, where it asked somebody to."""
    calls = ToolCalls([call("@files/write", path="a"), call("@files/move"), call("@files/move", "denied")])
    assert not calls.used("write")
    assert not calls.filter("write")
    assert len(calls.used("@files/write")) == 1
    assert (len(calls.used("move")), len(calls.filter("move"))) == (1, 2)


def test_a_call_shows_all_its_paths() -> None:
    assert BATCH.paths == (f"{FOLDER}/README.md", "/etc/hosts")
    assert repr(BATCH) == f"<ToolCall read '{FOLDER}/README.md, /etc/hosts' completed>"
    several = call("read", paths=["a.py", 3, f"{FOLDER}/b.py"])
    assert repr(several) == f"<ToolCall read 'a.py, {FOLDER}/b.py' completed>"
    assert ToolCalls([several], folder=FOLDER).used("read", path="b.py")
    assert repr(call("read", path="c.py")) == "<ToolCall read 'c.py' completed>"
    assert ODD.paths == ()
