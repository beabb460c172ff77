"""kiro-cli's words: what is typed, and what is refused before anything starts."""

from __future__ import annotations

import pytest

from pytest_kiro.kirocli import commands
from pytest_kiro.settings import rows
from pytest_kiro.turn.causes import exit_name

V1, V2, V3 = (commands.ENGINES[name] for name in ("v1", "v2", "v3"))


def chat(engine: str = "v2", form: tuple[str, ...] = ("--wrap", "never")) -> list[str]:
    return ["chat", "--no-interactive", "--agent-engine", engine, *form]


def test_the_setting_knows_each_engine() -> None:
    """The table of settings stands below, and cannot ask."""
    assert tuple(commands.ENGINES) == rows.ENGINES
    (row,) = (row for row in rows.TABLE if row.name == "engine")
    assert row.kind == (*rows.ENGINES, commands.AUTO)


@pytest.mark.parametrize(
    ("version", "engine"),
    [
        ("1.25.0", "v1"),
        ("2.5.0", "v2"),
        ("2.19.1", "v2"),
        ("2.19.2", "v3"),
        ("2.29.0", "v3"),
        ("3.5.0-beta.1", "v3"),
        ("10.0.0", "v3"),
    ],
)
def test_auto_is_the_newest_engine_that_a_version_has_and_that_is_read(version: str, engine: str) -> None:
    assert commands.choose_engine("auto", version).name == engine
    assert commands.choose_engine("v1", version).name == "v1", "what is named is taken"


def test_auto_is_an_engine_that_a_scenario_can_answer_for() -> None:
    assert commands.choose_engine("auto", "3.5.0", replies=True).name == "v2"


@pytest.mark.parametrize("engine", commands.ENGINES.values(), ids=lambda engine: engine.name)
def test_a_turn_names_its_engine_and_trusts_all_tools_unless_told(engine: commands.Engine) -> None:
    assert commands.chat(engine) == [*chat(engine.name), "--trust-all-tools"]


def test_events_are_asked_for_and_not_wrapped() -> None:
    assert commands.chat(V3, stream=True) == [*chat("v3", ("--output-format", "stream-json")), "--trust-all-tools"]


@pytest.mark.parametrize(
    ("trust", "word"),
    [("all", "--trust-all-tools"), ("none", "--trust-tools="), ("read,@git/log", "--trust-tools=read,@git/log")],
)
def test_trust(trust: str, word: str) -> None:
    assert commands.chat(V2, trust=trust) == [*chat(), word]


def test_v3_is_told_its_own_names_of_what_is_trusted() -> None:
    *_, word = commands.chat(V3, trust="read,@git/log,fs_write,shell")
    assert word == (
        "--trust-tools=read_file,read_files,read_multiple_files,list_directory,@git/log,fs_write,execute_bash"
    )
    assert commands.chat(V3, trust="none")[-1] == "--trust-tools="


def test_every_choice_is_a_flag() -> None:
    words = commands.chat(V2, resume="id", agent="an agent", model="m", effort="low")
    assert words == [
        *chat(),
        "--trust-all-tools",
        *("--resume-id", "id", "--agent", "an agent", "--model", "m", "--effort", "low"),
    ]


def test_where_the_sessions_are() -> None:
    database = ".local/share/kiro-cli/data.sqlite3"
    assert V1.stores_for({"KIRO_HOME": "/k"}, "/w") == (database, f"{database}-wal")  # the log has the last turn
    assert V2.stores_for({}, "/w") == (".kiro/sessions/cli",)
    assert V2.stores_for({"KIRO_HOME": "/k"}, "/w") == ("/k/sessions/cli",)
    assert V2.stores_for({"KIRO_HOME": "k"}, "/w") == ("/w/k/sessions/cli",)
    assert V3.stores_for({"KIRO_HOME": "/k"}, "/w") == (".kiro/sessions",)


def test_an_engine_resumes_by_id_where_it_can_and_else_by_directory() -> None:
    assert commands.chat(V3, resume="id")[-2:] == ["--resume-id", "id"]
    assert commands.chat(V1, resume="id")[-2:] == ["--trust-all-tools", "--resume"]
    assert "--resume" not in commands.chat(V1)


def test_asking_words() -> None:
    assert commands.version() == ["--version"]
    assert commands.whoami() == ["whoami", "--format", "json"]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("kiro-cli 2.29.0\n", ("2.29.0", False)),
        ("kiro-cli-chat 2.5.1", ("2.5.1", False)),
        ("a warning\nkiro-cli 3.0.0-beta.1 (abc)\n", ("3.0.0-beta.1", False)),
        ("kiro-cli 2.29.0 (pytest-kiro stand-in)\n", ("2.29.0", True)),
        ("kiro-cli 2", None),
        ("q 1.2.3", None),
        ("mykiro-cli 1.2.3", None),
        ("", None),
    ],
)
def test_a_version_line(text: str, read: tuple[str, bool] | None) -> None:
    assert commands.read_version(text) == read


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (0, "0, ended"),
        (1, "1, general failure"),
        (2, "2, usage error"),
        (3, "3, an MCP server did not start"),
        (4, "4, agent not found"),
        (127, "127, not found"),
        (130, "130, interrupted"),
        (137, "137, killed"),
        (143, "143, terminated"),
        (134, "134, signal 6"),
        (77, "77"),
        (255, "255"),
        (None, "unknown"),
    ],
)
def test_an_exit_code_by_name(code: int | None, name: str) -> None:
    assert exit_name(code) == name


@pytest.mark.parametrize("prompt", ["x", "/quit", "-rf", "é🍩", "a\tb\x01\x7f\r\n", " x ", "x" * 1_048_576])
def test_l7_any_prompt_is_its_bytes(prompt: str) -> None:
    assert commands.check_prompt(prompt) == prompt.encode()


@pytest.mark.parametrize(
    ("prompt", "error", "said"),
    [
        ("", ValueError, "the prompt is blank"),
        (" \t\r\n\u2003", ValueError, "the prompt is blank"),
        ("a\0b", ValueError, "NUL character at position 1; remove it"),
        ("ab\ud800", ValueError, r"lone surrogate, '\\ud800' at position 2"),
        (b"bytes", TypeError, "a prompt is a str, not bytes"),
        (None, TypeError, "a prompt is a str, not NoneType"),
    ],
)
def test_l7_what_no_cli_can_be_given_is_refused(prompt: object, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        commands.check_prompt(prompt)
