"""A recording becomes a scenario: texts, calls in order, how turns ended, and the same files."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import recordings
from recorded import call, file, recorded, recording, write
from recordings import keep

from pytest_kiro import Cause, Changes, SettingsError
from pytest_kiro.__main__ import main
from pytest_kiro.recording.scenario import scenario
from pytest_kiro.recording.scenario_text import value
from pytest_kiro.recording.values import RecordedFile, Recording
from pytest_kiro.secrecy.visible import visible
from pytest_kiro.standin.scenario_file import Reply, load


def replies(tmp_path: Path, *recordings: Recording, table: str = "test_it") -> list[Reply]:
    """What the stand-in would read."""
    path = tmp_path / "test_a.toml"
    path.write_text(scenario(recordings), encoding="utf-8")
    return [entry.reply for entry in load(path, table).turns(table)]


def said(reply: Reply) -> list[list[Any]]:
    return [
        [one if isinstance(one, str) else (one.name, dict(one.args)) for one in request] for request in reply.requests
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain",
        "it's",
        'a "b"',
        "back\\slash",
        "two\nlines\n",
        "\n\n",
        "'''\n",
        "ends in\n'",
        "\r\n",
        "tab\t\n",
        "\0\x1b[1m\x7f",
        "ünï 🍩\n",
        "##[group] ::error::\n::warning::\n",
        "\u202e\U000e0041\n",
    ],
    ids=repr,
)
def test_any_text_is_written_so_that_toml_reads_it_again(text: str) -> None:
    assert tomllib.loads(visible(f"a = {value(text)}")) == {"a": text}
    assert tomllib.loads(f"a = {value({text or 'x': [text, 1, True, 1.5, {}]})}")["a"] == {
        text or "x": [text, 1, True, 1.5, {}]
    }


def test_texts_and_calls_are_in_the_order_in_which_they_were_printed(tmp_path: Path) -> None:
    calls = [call("shell", command="ls"), call("shell", command="pwd"), call("shell", command="make")]
    printed = (
        "Look.\n[tool] Running: ls\n[tool] status: Completed\n[tool] Running: pwd\nNow.\n[tool] Running: make\nDone.\n"
    )
    (reply,) = replies(tmp_path, recording(recorded("Look.", "Now.", "Done.", calls=calls, printed=printed)))

    ls, pwd, make = (("shell", {"command": word}) for word in ("ls", "pwd", "make"))
    assert said(reply) == [["Look.", ls, pwd], ["Now.", make], ["Done."]]


def test_where_the_order_is_not_clear_each_text_goes_with_a_call(tmp_path: Path) -> None:
    calls = [call("shell", command="ls"), call("shell", command="make")]
    (reply,) = replies(tmp_path, recording(recorded("Look.", "Now.", "Done.", calls=calls)))
    assert said(reply) == [["Look.", ("shell", {"command": "ls"})], ["Now.", ("shell", {"command": "make"})], ["Done."]]


@pytest.mark.parametrize(
    ("messages", "calls", "wanted"),
    [
        ((), (), [[""]]),
        (("Hi.",), (), [["Hi."]]),
        ((), ("ls",), [[("shell", {"command": "ls"})], [""]]),
        (("One.", "Two."), (), [["One.", "\n", "Two."]]),
    ],
)
def test_a_turn_ends_in_a_text(tmp_path: Path, messages: tuple[str, ...], calls: tuple[str, ...], wanted: Any) -> None:
    turn = recorded(*messages, calls=[call("shell", command=word) for word in calls])
    assert said(replies(tmp_path, recording(turn))[0]) == wanted


def test_a_text_that_asks_for_a_recall_is_said_as_it_is(tmp_path: Path) -> None:
    (reply,) = replies(tmp_path, recording(recorded("Write {recall:(x)|y} or {recall:")))
    assert not reply.recalls
    assert "".join(said(reply)[0]) == "Write {recall:(x)|y} or {recall:"


@pytest.mark.parametrize(
    ("made", "args"),
    [
        (
            call("write", raw="fs_write", command="create", path="⟨workspace⟩/a", file_text="1"),
            {"command": "create", "path": "a", "content": "1"},
        ),
        (
            call("write", raw="fs_write", path="⟨workspace⟩/a", text="1"),
            {"command": "create", "path": "a", "content": "1"},
        ),
        (call("write", raw="fs_append", path="a", text="1"), {"command": "insert", "path": "a", "content": "1"}),
        (
            call("write", command="str_replace", path="a", old_str="1", new_str="2"),
            {"command": "strReplace", "path": "a", "oldStr": "1", "newStr": "2"},
        ),
        (
            call("write", command="insert", path="a", new_str="1", insert_line=3),
            {"command": "insert", "path": "a", "content": "1", "insertLine": 3},
        ),
        (call("read", path="⟨home⟩/a"), {"operations": [{"mode": "Line", "path": "~/a"}]}),
        (
            call("shell", command="cd ⟨workspace⟩ && cat ⟨home⟩/b", cwd="⟨workspace⟩/src"),
            {"command": "cd . && cat $HOME/b", "working_dir": "src"},
        ),
        (call("grep", pattern="x", path="⟨workspace⟩"), {"pattern": "x", "path": "."}),
    ],
    ids=lambda one: str(getattr(one, "input", ""))[:40],
)
def test_calls_of_every_engine_are_said_in_v2s_words(tmp_path: Path, made: Any, args: dict[str, Any]) -> None:
    (reply,) = replies(tmp_path, recording(recorded("Done.", calls=[made])))
    assert said(reply)[0] == [(made.name, args)]


def test_a_call_that_failed_or_that_the_stand_in_cannot_make_is_said_to_fail(tmp_path: Path) -> None:
    calls = [
        call("@git/log", n=3),
        call("web_search", query="x"),
        call("write", command="create", path="a"),
        call("write", command="create", path="a", content="1", status="failed"),
        call("read", operations=[{"mode": "Image", "path": "⟨workspace⟩/a.png"}], status="denied"),
    ]
    made = recording(recorded("Done.", calls=calls))
    (reply,) = replies(tmp_path, made)

    made_calls = [one for one in reply.requests[0] if not isinstance(one, str)]
    assert [one.fails for one in made_calls] == [False, True, True, True, False]
    assert dict(made_calls[-1].args) == {"operations": [{"mode": "Line", "path": "a.png"}]}
    assert "# is no tool, so that the stand-in lets it fail" in scenario([made])


def test_what_sub_agents_did_is_their_calls_script(tmp_path: Path) -> None:
    from dataclasses import replace

    inner = replace(write("a", "1"), agent="scout")
    outer = replace(call("subagent", "It is written.", prompt="Write."), calls=(inner,))
    (reply,) = replies(tmp_path, recording(recorded("Done.", calls=[outer], files=[file("a", "1")])))
    ((_, args),), _ = said(reply)
    assert args["agent"] == "scout"
    assert args["prompt"] == "Write."
    assert [
        [one if isinstance(one, str) else one["args"]["path"] for one in request] for request in args["requests"]
    ] == [["a"], ["It is written."]]


def added(reply: Reply) -> list[tuple[str, Any]]:
    """The calls that nothing recorded explains."""
    return (
        [(name, args.get("path") or args["command"]) for name, args in said(reply)[-2]] if len(said(reply)) > 1 else []
    )


def test_files_that_write_calls_explain_are_not_written_again(tmp_path: Path) -> None:
    first = recorded(
        "One.",
        calls=[
            write("⟨workspace⟩/a", "one\n"),
            call("write", command="strReplace", path="a", oldStr="one", newStr="two"),
            call("write", command="strReplace", path="seed", oldStr="x", newStr="y"),
            call("write", command="create", path="no", content="1", status="denied"),
        ],
        files=[file("a", "two\n"), file("seed", "whatever")],
        before=["seed"],
    )
    edit = call("write", command="append", path="a", content="three")
    second = recorded("Two.", calls=[edit], files=[file("a", "two\nthree")], before=["a", "seed"], number=2)
    for reply in replies(tmp_path, recording(first, second)):
        assert len(said(reply)) == 2


def test_what_no_write_call_explains_is_written_and_said_to_be_added(tmp_path: Path) -> None:
    files = [
        file("a b.txt", "by a command\n"),
        file("bin/x", "\udcff\udcfe"),
        RecordedFile(path="run.sh", kind="file", mode=0o755, content="#!/bin/sh\n"),
        RecordedFile(path="l", kind="link", content="a b.txt"),
        RecordedFile(path="empty/", kind="folder"),
        RecordedFile(path="old it's", kind="deleted"),
    ]
    made = recording(recorded("Done.", files=files, outside=[file(".profile", "x\n")], before=["old it's"]))
    (reply,) = replies(tmp_path, made)

    assert scenario([made]).count("# added: no write call") == 1
    assert [name for name, _ in added(reply)] == ["shell", "write", "write", "write", "shell"]
    assert [what for name, what in added(reply) if name == "write"] == ["a b.txt", "run.sh", "~/.profile"]
    (removal, last) = (what for name, what in added(reply) if name == "shell")
    assert removal == """rm -rf 'old it'"'"'s'"""
    assert last.splitlines() == [
        'mkdir -p "$(dirname bin/x)"',
        "base64 --decode >bin/x <<'END'",
        "//4=",
        "END",
        "chmod 755 run.sh",
        "ln -sfn 'a b.txt' l",
        "mkdir -p empty/",
    ]
    assert said(reply)[-1] == ["Done."]


def test_what_is_left_out_is_said() -> None:
    ignored = Changes(added=frozenset({"node_modules/x"}))
    changed = recorded(
        "Done.",
        files=[file("node_modules/x", "1"), file("key", "⟨secret⟩", redacted=True)],
        known_changes=Changes(by_the_way=ignored),
    )
    text = scenario([recording(changed)])
    assert "# left out: what programs made by the way, 1 file" in text
    assert "# a secret was taken out of: key" in text
    assert "node_modules/x" not in text


@pytest.mark.parametrize(
    ("how", "wanted"),
    [
        ({"exit_code": 7}, {"exit": 7}),
        ({"status": "failed", "cause": Cause.THROTTLED}, {"throttled": True}),
        ({"status": "failed", "cause": Cause.THROTTLED, "exit_code": 1}, {"throttled": True, "exit": 1}),
        ({"status": "failed", "cause": Cause.CRASH, "exit_code": 7}, {"exit": 7}),
        ({"status": "failed", "cause": Cause.CRASH, "exit_code": 139}, {"crash": True}),
        ({"status": "failed", "cause": Cause.GAVE_UP, "exit_code": 3}, {"exit": 3}),
        ({"status": "stopped", "cause": Cause.STOPPED, "exit_code": 130}, {}),
    ],
    ids=str,
)
def test_a_turn_ends_as_it_ended(tmp_path: Path, how: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert replies(tmp_path, recording(recorded("Done.", **how)))[0].misbehave == wanted


def test_conversations_trials_and_tests_are_told_apart(tmp_path: Path) -> None:
    two = recording(recorded("B."), recorded("C.", conversation=2), trial=2)
    text = scenario([two, recording(recorded("A."), trial=1), recording(recorded("D."), owner="test_b[x]")])
    tables = tomllib.loads(text)

    assert [{key: one.get(key) for key in ("trial", "conversation")} for one in tables["test_it"]["turn"]] == [
        {"trial": 1, "conversation": None},
        {"trial": 2, "conversation": None},
        {"trial": 2, "conversation": 2},
    ]
    assert "trial" not in tables["test_b[x]"]["turn"][0]


@pytest.mark.parametrize(
    ("other", "says"),
    [({"file": "test_b.py"}, "of 2 files: test_a.py, test_b.py"), ({"variant": "m"}, "several recordings of trial 1")],
)
def test_recordings_that_are_no_one_scenario_are_refused(other: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        scenario([recording(recorded("A.")), recording(recorded("B."), **other)])


# -- the command


def test_the_command_prints_the_scenario_of_all_recordings_below_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = keep(tmp_path, recordings.recorded())
    for named in (folder, folder / "recording.json", tmp_path / "recordings"):
        assert main(["scenario", str(named)]) == 0
        table = tomllib.loads(capsys.readouterr().out)["test_shop"]["turn"]
        assert table[0]["requests"][-1] == ["Done:\nsee ./a.py"]


@pytest.mark.parametrize("kept", [False, True], ids=["none", "damaged"])
def test_the_command_says_what_is_no_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str], kept: bool) -> None:
    if kept:
        (keep(tmp_path, recordings.recorded()) / "recording.json").write_text("{")
    assert main(["scenario", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert not said.out
    assert ("cannot be read" if kept else "there is no recording in") in said.err
