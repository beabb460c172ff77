"""Scenario files: the reply that is found, and what each mistake is answered with."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_kiro.errors import SettingsError
from pytest_kiro.standin import STAND_IN
from pytest_kiro.standin.scenario import ConversationNumbers, find
from pytest_kiro.standin.scenario_file import Reply, ToolUse, misbehaviours


def write(folder: Path, text: str) -> Path:
    file = folder / "test_x.toml"
    file.write_text(text, encoding="utf-8")
    return file


def one(folder: Path, turn: str) -> Reply:
    """The reply of a file with one turn."""
    return find(write(folder, f"[[test_x.turn]]\n{turn}\n"), ["test_x"], conversation=1, turn=1)


def error(folder: Path, turn: str) -> str:
    with pytest.raises(SettingsError) as raised:
        one(folder, turn)
    return str(raised.value)


def test_a_reply_is_the_json_that_the_cli_takes(tmp_path: Path) -> None:
    reply = one(
        tmp_path,
        'requests = [["Grüße. ", { name = "shell", args = { command = "ls", n = [1, 2.5, true] } }], ["Ende."]]',
    )

    assert reply.source == f"{tmp_path}/test_x.toml [test_x] turn 1"
    assert reply.misbehave == {}
    text, call = reply.requests[0]
    assert text == "Grüße. "
    assert isinstance(call, ToolUse)
    assert re.fullmatch(r"tooluse_[0-9a-f]{22}", call.tool_use_id)
    assert json.loads(reply.mock_json()) == [
        [
            "Grüße. ",
            {"tool_use_id": call.tool_use_id, "name": "shell", "args": {"command": "ls", "n": [1, 2.5, True]}},
        ],
        ["Ende."],
    ]


def test_tool_use_ids_are_given_or_the_same_in_every_run(tmp_path: Path) -> None:
    call = '{ name = "shell", args = {} }'
    turn = f'requests = [[{call}, {call}], [{call}, {{ name = "x", args = {{}}, tool_use_id = "mine" }}]]'
    (tmp_path / "other").mkdir()

    first, second = (
        [item.tool_use_id for items in reply.requests for item in items if isinstance(item, ToolUse)]
        for reply in (one(tmp_path, turn), one(tmp_path / "other", turn))
    )

    assert first == second
    assert len(set(first)) == 4
    assert first[3] == "mine"


def test_turns_are_counted_in_their_conversation(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """
        [test_x]
        turn = [
            { requests = [["1.1"]] },
            { requests = [["2.1"]], conversation = 2 },
            { requests = [["1.2"]] },
        ]
        """,
    )

    def text(conversation: int, turn: int) -> Any:
        return find(file, ["test_x"], conversation=conversation, turn=turn).requests[0][0]

    assert [text(1, 1), text(1, 2), text(2, 1)] == ["1.1", "1.2", "2.1"]
    assert find(file, ["test_x"], conversation=1, turn=2).source.endswith("[test_x] turn 3")


def test_a_trial_with_turns_of_its_own_gets_only_these(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """
        [test_x]
        turn = [
            { requests = [["1"]] },
            { requests = [["2"]] },
            { requests = [["third"]], trial = 3 },
        ]
        """,
    )

    def text(turn: int, trial: int | None) -> Any:
        return find(file, ["test_x"], conversation=1, turn=turn, trial=trial).requests[0][0]

    assert [text(1, None), text(1, 2), text(2, 2), text(1, 3)] == ["1", "1", "2", "third"]
    with pytest.raises(SettingsError, match=r"no turn 2 of conversation 1 in trial 3: it has 1 turn for"):
        text(2, 3)


def test_the_first_table_that_there_is_wins(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """
        [["test_x[a b]".turn]]
        requests = [["one"]]
        [[test_x.turn]]
        requests = [["any"]]
        [["TestC.test_x".turn]]
        requests = [["method"]]
        [["fixture:shop".turn]]
        requests = [["fixture"]]
        """,
    )

    def text(*tables: str) -> Any:
        return find(file, tables, conversation=1, turn=1).requests[0][0]

    assert text("test_x[a b]", "test_x") == "one"
    assert text("test_x[c]", "test_x") == "any"
    assert text("TestC.test_x") == "method"
    assert text("fixture:shop") == "fixture"
    assert find(file, ["test_x[a b]"], conversation=1, turn=1).source.endswith('["test_x[a b]"] turn 1')


def test_misbehaviour_is_a_kind_or_kinds_with_arguments(tmp_path: Path) -> None:
    reply = 'requests = [["x"]]\n'

    assert one(tmp_path, reply + 'misbehave = "slow"').misbehave == {"slow": True}
    several = one(tmp_path, reply + 'misbehave = { exit = 7, denied = ["shell"] }')
    assert several.misbehave == {"exit": 7, "denied": ["shell"]}


def test_a_turn_that_misbehaves_needs_no_requests(tmp_path: Path) -> None:
    reply = one(tmp_path, 'misbehave = "login"')

    assert reply.mock_json() == b"[[]]"


def test_the_kinds_are_those_of_the_standin() -> None:
    code = "import json; from kiro_cli.misbehave import *; print(json.dumps([[*KINDS], [*INTERNAL]]))"
    folder = STAND_IN.parent

    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, timeout=60, check=True)

    assert tuple(map(frozenset, json.loads(done.stdout))) == misbehaviours()


@pytest.mark.parametrize(
    ("text", "recalls"),
    [("plain {text}", False), ("{recall:a|b}", True), ("x {recall:a{2}|b} {recall:\\\\}(c|d)|e}", True)],
)
def test_recalls_are_known(tmp_path: Path, text: str, recalls: bool) -> None:
    assert one(tmp_path, f'requests = [["x"], ["{text}"]]').recalls is recalls


@pytest.mark.parametrize("text", ["{recall:a}", "{recall:a|b", "{recall:a{|b}", "{recall:", "{recall:a|b} {recall:}"])
def test_a_recall_of_another_form_is_an_error(tmp_path: Path, text: str) -> None:
    assert "; the form is {recall:REGEX|otherwise}" in error(tmp_path, f'requests = [["{text}"]]')


def test_a_recall_with_a_wrong_regex_is_an_error(tmp_path: Path) -> None:
    message = error(tmp_path, 'requests = [["x"], ["{recall:(|x}"]]')

    assert "turn 1, request 2: '(' in a recall is no regular expression" in message


def test_no_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no scenario file .*gone\.toml, .*\.\nWrite it:\n\[\[test_x\.turn"):
        find(tmp_path / "gone.toml", ["test_x"], conversation=1, turn=1)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        find(tmp_path, ["test_x"], conversation=1, turn=1)


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"[[a.turn]]\nx = \n", r"is not TOML: .*line 2"), (b"\xff", r"is not TOML: 'utf-8' codec")],
)
def test_what_is_not_toml_is_an_error_with_its_line(tmp_path: Path, content: bytes, what: str) -> None:
    file = tmp_path / "x.toml"
    file.write_bytes(content)

    with pytest.raises(SettingsError, match=what):
        find(file, ["a"], conversation=1, turn=1)


def test_a_missing_table_names_those_that_there_are(tmp_path: Path) -> None:
    file = write(tmp_path, '[[test_a.turn]]\nrequests = [["x"]]\n[["test_b[1]".turn]]\nrequests = [["x"]]\n')

    with pytest.raises(SettingsError) as raised:
        find(file, ["test_x[2]", "test_x"], conversation=1, turn=1)

    assert str(raised.value) == (
        f'{file} has no table ["test_x[2]"] or [test_x]. Tables there are: [test_a], ["test_b[1]"].\nAdd:\n'
        '[["test_x[2]".turn]]\nrequests = [["a text"]]'
    )


def test_an_empty_file_has_no_tables(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"has no table \[test_x\]. Tables there are: none.\nAdd:\n\[\[test_x"):
        find(write(tmp_path, ""), ["test_x"], conversation=1, turn=1)


def test_no_turn_left_says_how_many_there_are(tmp_path: Path) -> None:
    file = write(tmp_path, '[[test_x.turn]]\nrequests = [["x"]]\n[[test_x.turn]]\nrequests = [["x"]]\n')

    with pytest.raises(SettingsError) as raised:
        find(file, ["test_x"], conversation=1, turn=3)
    with pytest.raises(SettingsError, match="has no turn 1 of conversation 2: it has no turn for that"):
        find(file, ["test_x"], conversation=2, turn=1)

    assert str(raised.value) == (
        f"{file} [test_x] has no turn 3 of conversation 1: it has 2 turns for that conversation; "
        "add another turn, or run fewer turns"
    )


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a = 1", "[a] has no turn.\nA table consists of its turns:\n[[a.turn]]"),
        ("[a]", "[a] has no turn"),
        ("[a]\nturns = 1", "[a] has the unknown key 'turns'"),
        ("[a]\nturn = 1", "[a]: turn must be an array of tables"),
        ("[a]\nturn = [1]", "[a]: turn must be an array of tables"),
        ('["a b"]\nx = 1', '[["a b".turn]]'),
    ],
)
def test_a_table_is_made_of_turns(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(what)):
        find(write(tmp_path, text), ["a"], conversation=1, turn=1)


@pytest.mark.parametrize(
    ("turn", "what"),
    [
        ("request = []", "turn 1 has the unknown key 'request'; known keys: requests, conversation,"),
        ("", "turn 1 has no requests; give one list per model request"),
        ("requests = []", "turn 1 has no requests"),
        ('requests = [["x"]]\nconversation = 0', "conversation must be a whole number from 1, not 0"),
        ('requests = [["x"]]\nconversation = true', "conversation must be a whole number from 1, not True"),
        ('requests = [["x"]]\ntrial = "1"', "trial must be a whole number from 1, not '1'"),
        ('requests = "x"', "has requests that are str, not a list"),
        ('requests = ["x"]', "request 1 must be a list, not 'x'"),
        ('requests = [["x"], []]', 'request 2 is empty; give texts and tool calls, or [""] for silence'),
        ("requests = [[1]]", "request 1: 1 is neither a text nor a tool call"),
        ("requests = [[{ name = 'a', args = {}, arg = 1 }]]", "unknown key 'arg'; known keys: name, args,"),
        ("requests = [[{ args = {} }]]", 'a tool call needs its name, such as name = "shell", not None'),
        ("requests = [[{ name = '', args = {} }]]", "a tool call needs its name"),
        ("requests = [[{ name = 'a' }]]", "the tool call a needs args, a table of"),
        ("requests = [[{ name = 'a', args = [1] }]]", "the tool call a needs args, a table of"),
        ("requests = [[{ name = 'a', args = { x = [1979-05-27] } }]]", "the tool call a needs args"),
        ("requests = [[{ name = 'a', args = { x = inf } }]]", "the tool call a needs args"),
        ("requests = [[{ name = 'a', args = { x = nan } }]]", "the tool call a needs args"),
        ("requests = [[{ name = 'a', args = {}, tool_use_id = 1 }]]", "tool_use_id must be a text, not 1"),
        ("misbehave = 'sulk'", "misbehave has the unknown kind 'sulk'; known kinds: crash, credits,"),
        ("misbehave = { sulk = 1 }", "misbehave has the unknown kind 'sulk'"),
        ("misbehave = {}", 'misbehave must be a kind, "throttled", or kinds with arguments'),
        ("misbehave = 7", "misbehave must be a kind"),
        ("misbehave = { slow = false }", "misbehave slow has the argument False"),
        ("misbehave = { slow = 07:32:00 }", "misbehave slow has the argument"),
    ],
)
def test_a_mistake_names_file_table_turn_and_what_is_right(tmp_path: Path, turn: str, what: str) -> None:
    message = error(tmp_path, turn)

    assert message.startswith(f"{tmp_path}/test_x.toml [test_x] turn 1")
    assert what in message


def test_the_whole_file_is_checked_at_once(tmp_path: Path) -> None:
    file = write(tmp_path, '[[test_x.turn]]\nrequests = [["x"]]\n[[test_y.turn]]\nwrong = 1\n')

    with pytest.raises(SettingsError, match=r"\[test_y\] turn 1 has the unknown key 'wrong'"):
        find(file, ["test_x"], conversation=1, turn=1)


def test_a_file_is_parsed_once_for_each_of_its_contents(tmp_path: Path) -> None:
    """Neither its time nor its size tells two contents apart: another one may have both."""
    first = one(tmp_path, 'requests = [["one"]]')
    file = tmp_path / "test_x.toml"

    again = find(file, ["test_x"], conversation=1, turn=1)
    status = file.stat()
    file.write_text(file.read_text().replace("one", "two"))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    changed = find(file, ["test_x"], conversation=1, turn=1)

    assert again is first
    assert (file.stat().st_mtime_ns, file.stat().st_size) == (status.st_mtime_ns, status.st_size)
    assert changed.requests == (("two",),)


def test_conversations_are_numbered_from_their_opening() -> None:
    numbers = ConversationNumbers()
    for name in ("a", "b"):
        numbers.opened(name)

    assert [numbers.of_turn(name) for name in ("b", "a", "b")] == [2, 1, 2]


def test_a_terminal_takes_the_number_of_a_conversation_without_turns() -> None:
    numbers = ConversationNumbers()
    for name in ("a", "b"):
        numbers.opened(name)
    numbers.of_turn("b")

    assert [numbers.of_terminal(name) for name in ("a", "a", "b")] == [1, 3, 4]
    assert [numbers.of_turn(name) for name in ("a", "b")] == [5, 2]
