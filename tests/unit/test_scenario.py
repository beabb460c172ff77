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
from pytest_kiro.standin.misbehaviours import misbehaviours
from pytest_kiro.standin.scenario import ConversationNumbers, find, script
from pytest_kiro.standin.scenario_file import Reply, ToolUse


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
        'requests = [["Grüße. ", { name = "@a/b", args = { command = "ls", n = [1, 2.5, true] } }], ["Ende."]]',
    )

    assert reply.source == f"{tmp_path}/test_x.toml:1 [test_x] turn 1"
    assert reply.misbehave == {}
    text, call = reply.requests[0]
    assert text == "Grüße. "
    assert isinstance(call, ToolUse)
    assert re.fullmatch(r"tooluse_[0-9a-f]{22}", call.tool_use_id)
    assert json.loads(reply.mock_json()) == [
        [
            "Grüße. ",
            {"tool_use_id": call.tool_use_id, "name": "@a/b", "args": {"command": "ls", "n": [1, 2.5, True]}},
        ],
        ["Ende."],
    ]


def test_tool_use_ids_are_given_or_the_same_in_every_run(tmp_path: Path) -> None:
    call = '{ name = "@a/b", args = {} }'
    turn = f'requests = [[{call}, {call}], [{call}, {{ name = "@x/y", args = {{}}, tool_use_id = "mine" }}]]'
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


ALTERNATIVES = """
    [test_x]
    turn = [
        { requests = [["A"]], chance = 0.6 },
        { misbehave = "throttled", chance = 0.1 },
        { requests = [["B"]] },
        { requests = [["always"]] },
        { requests = [["second"]], conversation = 2, chance = 0.5 },
        { requests = [["C"]], chance = 0.5 },
        { requests = [["D"]] },
        { requests = [["other"]], conversation = 2 },
        { requests = [["again"]], retry = 1 },
    ]
    """


def drawn(file: Path, *tables: str, turn: int = 1, conversation: int = 1, **asked: Any) -> str:
    reply = find(file, tables or ["test_x"], conversation=conversation, turn=turn, **asked)
    return str(reply.requests[0][0]) if reply.requests[0] else "throttled"


def test_one_of_the_alternatives_is_drawn(tmp_path: Path) -> None:
    """As often as the chances say; the last one has the rest."""
    file = write(tmp_path, ALTERNATIVES)
    texts = [drawn(file, trial=trial) for trial in range(1, 2001)]
    assert {text: texts.count(text) / 2000 for text in texts} == {
        "A": pytest.approx(0.6, abs=0.03),
        "throttled": pytest.approx(0.1, abs=0.03),
        "B": pytest.approx(0.3, abs=0.03),
    }
    assert {drawn(file, trial=trial, turn=2) for trial in range(1, 30)} == {"always"}
    assert {drawn(file, trial=trial, turn=3) for trial in range(1, 30)} == {"C", "D"}
    assert {drawn(file, trial=trial, conversation=2) for trial in range(1, 30)} == {"second", "other"}
    with pytest.raises(SettingsError, match="no turn 4 of conversation 1: it has 3 turns"):
        drawn(file, turn=4)


def test_a_trial_is_answered_alike_in_every_run(tmp_path: Path) -> None:
    """Also where it is run again, and by every Python; a test without trials is its first trial."""
    file = write(tmp_path, ALTERNATIVES)
    assert "".join(drawn(file, trial=trial)[0] for trial in range(1, 21)) == "BABBBtBAAABBAABtABAA"
    assert all(drawn(file, trial=trial, retry=2) == drawn(file, trial=trial) for trial in range(1, 21))
    assert drawn(file, trial=1, retry=1) == "again"
    assert drawn(file) == drawn(file, trial=None) == drawn(file, trial=1)


def test_chances_are_those_of_one_test_one_turn_and_one_seed(tmp_path: Path) -> None:
    file = write(tmp_path, ALTERNATIVES)

    def history(*tables: str, **asked: Any) -> list[str]:
        return [drawn(file, *tables, trial=trial, **asked) for trial in range(1, 101)]

    plain = history()
    histories = [history(seed="2"), history("test_x[a]", "test_x"), history("test_x[b]", "test_x")]
    first = [text == "C" for text in history(turn=3)]
    assert first != [text == "A" for text in plain], "each turn is drawn for itself"
    assert all(other != plain for other in histories)
    assert len({tuple(other) for other in histories}) == 3


def test_a_chat_in_a_terminal_draws_too(tmp_path: Path) -> None:
    file = write(tmp_path, ALTERNATIVES)
    scripts = [script(file, ["test_x"], conversation=1, trial=trial) for trial in range(1, 30)]
    texts = [[request[0] for request in reply.requests if request] for reply in scripts]
    assert texts == [
        [text for turn in (1, 2, 3) if (text := drawn(file, trial=trial, turn=turn)) != "throttled"]
        for trial in range(1, 30)
    ]


@pytest.mark.parametrize(
    ("turns", "what"),
    [
        ("{ requests = [['x']], chance = 0.5 }", "turn 1 has a chance, and no turn after it for the rest"),
        (
            "{ requests = [['x']], chance = 0.5 }, { requests = [['y']], conversation = 2 }",
            "turn 1 has a chance, and no turn after it for the rest; add the other alternative, without a chance",
        ),
        (
            "{ requests = [['x']], chance = 0.5, trial = 2 }, { requests = [['y']] }",
            "turn 1 has a chance, and no turn after it",
        ),
        (
            "{ requests = [['x']], chance = 0.5 }, { requests = [['y']], retry = 1 }",
            "turn 1 has a chance, and no turn after it",
        ),
        (
            "{ requests = [['x']], chance = 0.7 }, { requests = [['y']], chance = 0.3 }, { requests = [['z']] }",
            "turn 2: the chances of these alternatives are 1 together",
        ),
        ("{ requests = [['x']], chance = 0.5, retry = 1 }", "turn 1 has both chance and retry"),
        *(
            (f"{{ requests = [['x']], chance = {wrong} }}", "turn 1: chance must be a number between 0 and 1, not")
            for wrong in ("0", "1", "1.2", "-0.1", "nan", "inf", "true", "'0.5'")
        ),
    ],
)
def test_chances_that_make_no_sense(tmp_path: Path, turns: str, what: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(what)):
        drawn(write(tmp_path, f"[test_x]\nturn = [{turns}]"))


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
    with pytest.raises(SettingsError) as raised:
        find(tmp_path / "gone.toml", ["test_x"], conversation=1, turn=1)

    what, *advice = str(raised.value).splitlines()
    assert what == f"there is no scenario file {tmp_path}/gone.toml, from which the stand-in answers."
    assert advice[0] == f"Write it, {tmp_path}/gone.toml:1"
    assert (
        advice[-1] == "or let a model answer (--kiro-sandbox=bubblewrap, --kiro-sandbox=daytona, --kiro-cli=official)."
    )
    copied = write(tmp_path, "\n".join(advice[1:-1]))
    text, call = find(copied, ["test_x"], conversation=1, turn=1).requests[0]
    assert text, "what may be copied has a text and a call"
    assert isinstance(call, ToolUse)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        find(tmp_path, ["test_x"], conversation=1, turn=1)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"[[a.turn]]\nx = \n", r"x\.toml:2 \[a\] is not TOML: Invalid value"),
        (b"\xff", r"is not TOML: 'utf-8' codec"),
        ("[[a.turn]]".encode("utf-16"), "is not TOML: 'utf-8' codec .*\nsave it as UTF-8"),
        (b"x = [", "x.toml:1 is not TOML: "),
        (b"[[a[x].turn]]\n", r"x.toml:1 is not TOML: .*; a name with brackets or a colon stands in quotes"),
        (b"\n[[fixture:a.turn]]\n", r"x.toml:2 is not TOML: .*; a name with brackets or a colon stands in quotes"),
        (b"[[a.turn]]\nrequests = " + b"[" * 5000, r"x.toml:1 \[a\] is not TOML: lists or tables in too many others"),
    ],
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
        f'{file} has no table ["test_x[2]"] or [test_x]. Tables there are: [test_a], ["test_b[1]"].\nAdd, at {file}:5\n'
        '[["test_x[2]".turn]]\nrequests = [\n'
        '    ["I write it.", { name = "write", args = { command = "create", path = "a.txt", content = "a\\n" } }],\n'
        '    ["Done."],\n]'
    )


def test_a_table_with_nearly_the_name_is_told(tmp_path: Path) -> None:
    file = write(tmp_path, '[[test_donut.turn]]\nrequests = [["x"]]\n')

    with pytest.raises(SettingsError, match=r"has no table \[test_dount\], did you mean test_donut\? Tables there"):
        find(file, ["test_dount"], conversation=1, turn=1)


def test_an_empty_file_has_no_tables(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"has no table \[test_x\]. Tables there are: none.\nAdd, at .*:1\n\[\[test_x"
    ):
        find(write(tmp_path, ""), ["test_x"], conversation=1, turn=1)


def test_no_turn_left_says_how_many_there_are(tmp_path: Path) -> None:
    file = write(tmp_path, '[[test_x.turn]]\nrequests = [["x"]]\n[[test_x.turn]]\nrequests = [["x"]]\n')

    with pytest.raises(SettingsError) as raised:
        find(file, ["test_x"], conversation=1, turn=3)
    with pytest.raises(SettingsError, match="has no turn 1 of conversation 2: it has no turn for that"):
        find(file, ["test_x"], conversation=2, turn=1)
    (other := tmp_path / "other").mkdir()
    file_of_trials = write(other, '[[test_x.turn]]\ntrial = 3\nrequests = [["x"]]\n')
    with pytest.raises(SettingsError, match="it has turns of other trials only for that conversation"):
        find(file_of_trials, ["test_x"], conversation=1, turn=1)

    assert str(raised.value) == (
        f"{file}:3 [test_x] has no turn 3 of conversation 1: it has 2 turns for that conversation; "
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
        ('["a b"]\nx = 1', 'has no table [a]. Tables there are: ["a b"].'),
        ("\n\n[a]\nx = 1", "test_x.toml:3 [a] has the unknown key 'x'"),
    ],
)
def test_a_table_is_made_of_turns(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(what)):
        find(write(tmp_path, text), ["a"], conversation=1, turn=1)


@pytest.mark.parametrize(
    ("turn", "what"),
    [
        (
            "request = []",
            "turn 1 has the unknown key 'request', did you mean requests?; known keys: requests, conversation,",
        ),
        ("", "turn 1 has no requests; give one list per model request"),
        ("requests = []", "turn 1 has no requests"),
        ('requests = [["x"]]\nconversation = 0', "conversation must be a whole number from 1, not 0"),
        ('requests = [["x"]]\nconversation = true', "conversation must be a whole number from 1, not True"),
        ('requests = [["x"]]\ntrial = "1"', "trial must be a whole number from 1, not '1'"),
        ('requests = "x"', "has requests that are str, not a list"),
        ('requests = ["x"]', "request 1 must be a list, not 'x'"),
        ('requests = [["x"], []]', 'request 2 is empty; give texts and tool calls, or [""] for silence'),
        ("requests = [[1]]", "request 1: 1 is neither a text nor a tool call"),
        (
            "requests = [[{ name = 'a', args = {}, arg = 1 }]]",
            "unknown key 'arg', did you mean args?; known keys: name, args,",
        ),
        ("requests = [[{ args = {} }]]", 'a tool call needs its name, such as name = "shell", not None'),
        ("requests = [[{ name = '', args = {} }]]", "a tool call needs its name"),
        ("requests = [[{ name = 'a' }]]", "the tool call a needs args, a table of"),
        ("requests = [[{ name = 'a', args = [1] }]]", "the tool call a needs args, a table of"),
        ("requests = [[{ name = 'a', args = { x = [1979-05-27] } }]]", "the tool call a needs args"),
        ("requests = [[{ name = 'a', args = { x = inf } }]]", "the tool call a needs args"),
        ("requests = [[{ name = 'a', args = { x = nan } }]]", "the tool call a needs args"),
        ("requests = [[{ name = 'a', args = {}, tool_use_id = 1 }]]", "tool_use_id must be a text, not 1"),
        ("requests = [[{ name = 'a', args = {}, fails = 1 }]]", "fails must be true or false, not 1"),
        (
            "requests = [[{ name = 'shel', args = {} }]]",
            "request 1: the tool call shel is no tool, did you mean shell?\ntools: write, read, shell, grep,",
        ),
        ("requests = [[{ name = 'shell', args = {} }]]", "the tool call shell needs a text as command, which it has"),
        ("requests = [[{ name = 'shell', args = { command = 7 } }]]", "shell needs a text as command, not 7"),
        (
            "requests = [[{ name = 'execute_bash', args = { comand = 'ls' } }]]",
            "no argument comand, did you mean command?\nshell takes command: a text; optional working_dir: a text\n(",
        ),
        (
            "requests = [[{ name = 'write', args = { command = 'craete' } }]]",
            "needs create or strReplace or insert as command, not 'craete', did you mean create?",
        ),
        (
            "requests = [[{ name = 'read', args = { operations = [{ mode = 'Line', path = 'a', offset = '1' }] } }]]",
            "the tool call read needs a whole number as offset, not '1' (in operations, table 1)",
        ),
        (
            "requests = [[{ name = 'subagent', args = { prompt = 'x', requests = [['a', { name = 'raed' }]] } }]]",
            "request 1, of the sub-agent, request 1: the tool call raed needs args",
        ),
        ("misbehave = 'thortled'", "misbehave has the unknown kind 'thortled', did you mean throttled?"),
        ("request = [['x']]", "has the unknown key 'request', did you mean requests?"),
        ("misbehave = 'sulk'", "misbehave has the unknown kind 'sulk'; known kinds: crash, credits,"),
        ("misbehave = { sulk = 1 }", "misbehave has the unknown kind 'sulk'"),
        ("misbehave = {}", 'misbehave must be a kind, "throttled", or kinds with arguments'),
        ("misbehave = 7", "misbehave must be a kind"),
        ("misbehave = { slow = false }", "misbehave slow has the argument False"),
        ("misbehave = { slow = 07:32:00 }", "misbehave slow has the argument"),
        (
            "misbehave = { silent = '2s' }",
            "silent has the argument '2s'; it takes true, or a number of seconds.",
        ),
        ("misbehave = { hangs = -1 }", "misbehave hangs has the argument -1; it takes true, or a number of seconds."),
        ("misbehave = { slow = nan }", "misbehave slow has the argument nan; it takes true, or a number of seconds."),
        ("misbehave = { exit = 300 }", "misbehave exit has the argument 300; it takes true, or an exit code from 0 to"),
        ("misbehave = { crash = 'middle' }", 'has the argument \'middle\'; it takes true, "before" or "after".'),
        (
            "misbehave = { denied = [3] }",
            "has the argument [3]; it takes true, the name of a tool, or a list",
        ),
        ("misbehave = { throttled = 3 }", "misbehave throttled has the argument 3; it takes true."),
        ("misbehave = { credits = 'many' }", "has the argument 'many'; it takes true, a number of credits, or a table"),
        ("misbehave = { credits = { mian = 1 } }", "it takes true, a number of credits, or a table of main, delegated"),
    ],
)
def test_a_mistake_names_file_table_turn_and_what_is_right(tmp_path: Path, turn: str, what: str) -> None:
    message = error(tmp_path, turn)

    assert message.startswith(f"{tmp_path}/test_x.toml:1 [test_x] turn 1")
    assert what in message


def test_a_wanted_mistake_says_so(tmp_path: Path) -> None:
    """What is no mistake of the scenario's is sent as it is, and nothing of ours with it."""
    reply = one(tmp_path, 'requests = [[{ name = "shel", args = { x = 1 }, fails = true }]]')

    (call,) = reply.requests[0]
    assert isinstance(call, ToolUse)
    assert call.fails
    (sent,) = json.loads(reply.mock_json())[0]
    assert sent == {"tool_use_id": call.tool_use_id, "name": "shel", "args": {"x": 1}}


def test_what_a_sub_agent_answers_is_read_as_a_turn_is(tmp_path: Path) -> None:
    inner = '[["a", { name = "shell", args = { command = "exit 1" }, fails = true }]]'
    reply = one(tmp_path, f'requests = [[{{ name = "subagent", args = {{ prompt = "x", requests = {inner} }} }}]]')

    ((call,),) = json.loads(reply.mock_json())
    ((text, sent),) = call["args"]["requests"]
    assert (text, sent["name"], sent["args"]) == ("a", "shell", {"command": "exit 1"})
    assert set(sent) == {"tool_use_id", "name", "args"}


BROKEN = """
# a comment with [[no.turn]]
[[test_a.turn]]
requests = [["first", "[[test_x.turn]]"]]

[[test_b.turn]]
requests = [["unclosed"]

[[test_c.turn]]
requests = [["third"]]
wrong = 1

[[test_a.turn]]
requests = [['''
[[test_b.turn]]
requests = []
'''], [
    "of two"
]]

[test_d]
turn = [{ requests = [["one"]] }]

["test_d"]
turn = []

[[test_e.turn]
requests = [["x"]]

[[test_f.turn]]
requests = [["last"]]
"""


@pytest.mark.parametrize(
    ("table", "what"),
    [
        ("test_b", ":6 [test_b] is not TOML: Unclosed array; docs/scenarios.md"),
        ("test_c", ":9 [test_c] turn 1 has the unknown key 'wrong'"),
        ("test_d", ":24 [test_d] is not TOML: Cannot declare"),
        (
            "test_e",
            "has no table [test_e]. Tables there are: [test_a], [test_c], [test_f], [test_b], [test_d]",
        ),
        ("test_e", ":27 is not TOML: Expected ']]' at the end of an array declaration"),
    ],
)
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_broken_table_fails_its_own_tests_only(tmp_path: Path, table: str, what: str, ends: str) -> None:
    file = tmp_path / "test_x.toml"
    file.write_bytes(BROKEN.replace("\n", ends).encode())

    with pytest.raises(SettingsError) as raised:
        find(file, [table], conversation=1, turn=1)

    assert what in str(raised.value)
    assert find(file, ["test_a"], conversation=1, turn=1).requests == (("first", "[[test_x.turn]]"),)
    second = find(file, ["test_a"], conversation=1, turn=2)
    assert second.requests == (("[[test_b.turn]]\nrequests = []\n",), ("of two",))
    assert second.source == f"{file}:13 [test_a] turn 2"
    assert find(file, ["test_f"], conversation=1, turn=1).requests == (("last",),)


def test_bytes_that_editors_add(tmp_path: Path) -> None:
    """A byte order mark, tabs, and line ends of Windows, which are no part of a text of several lines."""
    file = tmp_path / "test_x.toml"
    file.write_bytes(b'\xef\xbb\xbf[[test_x.turn]]\r\n\trequests\t=\t[["""a\r\n\tb"""]]\t# the end\r\n')

    reply = find(file, ["test_x"], conversation=1, turn=1)

    assert reply.requests == (("a\n\tb",),)
    assert reply.source.startswith(f"{file}:1 ")


@pytest.mark.parametrize("broken", [False, True])
def test_a_scenario_of_megabytes(tmp_path: Path, broken: bool) -> None:
    """As one that writes a large file has; also where another table is broken."""
    large = "0123456789abcde\n" * 330_000
    file = write(
        tmp_path,
        f"[[test_x.turn]]\nrequests = [['''\n{large}''']]\n[[test_y.turn]]\nrequests = [['y']{'' if broken else ']'}\n",
    )

    assert file.stat().st_size > 5 << 20
    assert find(file, ["test_x"], conversation=1, turn=1).requests == ((large,),)
    if broken:
        with pytest.raises(SettingsError, match=r":330004 \[test_y\] is not TOML"):
            find(file, ["test_y"], conversation=1, turn=1)


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
