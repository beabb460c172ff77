"""`kiro.terminal`: kiro-cli in a terminal that an eval types into."""

from __future__ import annotations

import pytest
from chats import CHAT, CHAT_REPLIES
from eval_runs import Evals, program, stand_in, turn


def test_a_chat(evals: Evals) -> None:
    evals.passes(CHAT, CHAT_REPLIES)


@pytest.mark.parametrize("engine", ["v1", "v3"])
def test_a_chat_of_another_engine(evals: Evals, engine: str) -> None:
    evals.write("test_it.py", CHAT, CHAT_REPLIES)
    evals.run("-k", "quit or remembers", f"--kiro-engine={engine}").assert_outcomes(passed=2, deselected=3)


def test_other_commands(evals: Evals) -> None:
    evals.passes(
        """
        import pexpect
        from pytest_kiro import Terminal

        def test_version(kiro):
            terminal = kiro.terminal("--version")
            assert isinstance(terminal, Terminal)
            assert terminal.read() == f"kiro-cli {kiro.version} (pytest-kiro stand-in)\\r\\n"
            assert terminal.exitstatus == 0

        def test_help(kiro):
            with kiro.terminal() as terminal:  # plain kiro-cli
                terminal.expect_exact("Usage: kiro-cli [OPTIONS] <COMMAND>")

        def test_wrong(kiro):
            with kiro.terminal("no-such-thing") as terminal:
                terminal.expect("unrecognized subcommand 'no-such-thing'")
                assert terminal.wait() == 2

        def test_whoami(kiro):
            with kiro.terminal("whoami") as terminal:
                terminal.expect(pexpect.EOF)
                assert terminal.exitstatus == 0, terminal.before
        """,
        {},
    )


def test_what_it_is_started_with(evals: Evals) -> None:
    """The environment of a turn, the workspace of its owner, the size of the settings; and no secret in a file."""
    cli = program(
        evals,
        stand_in(
            'if [ "$1" = show ]; then pwd -P; stty size; echo "$PATH"; echo "$A $B $KIRO_NO_AUTO_UPDATE"; '
            'grep -rl ksk_scripted "$HOME"; echo "$0 $*"; exit; fi'
        ),
    )
    evals.passes(
        """
        import pytest

        @pytest.mark.kiro(env={"A": "a", "B": "mark"})
        def test_it(kiro):
            kiro.workspace.seed({"seeded.txt": ""})
            with kiro.terminal("show", "two words", env={"B": "b"}) as terminal:
                where, size, path, env, argv = terminal.readlines()
            assert (where.strip(), size) == (kiro.workspace.path, "41 133\\r\\n")
            assert path.strip() == f"{kiro.workspace.home}/.local/bin:{kiro.path}" and env == "a b 1\\r\\n"
            assert argv == f"{kiro.installation.path} show two words\\r\\n"
            assert kiro.sandbox.list_files(".local/state") == []
        """,
        {},
        f"--kiro-cli={cli}",
        "--kiro-terminal=133x41",
    )


def test_conversations_are_counted(evals: Evals) -> None:
    """A chat is the owner's next conversation in a scenario, whatever came before."""
    say = """
        def say(kiro):
            with kiro.terminal("chat") as terminal:
                terminal.expect_exact("> ")
                terminal.sendline("Hello.")
                terminal.expect(r"I am (\\w+)\\.")
                return terminal.match[1]
    """
    names = [turn([f"I am {name}."], conversation=number) for number, name in enumerate(("one", "two", "three"), 1)]
    evals.passes(
        f"""{say}
        def test_a_terminal_first(kiro):
            kiro.workspace.seed({{"a": ""}})
            assert say(kiro) == "one"
            assert kiro.run("Hello.").text == "I am two."
            assert say(kiro) == "three"

        def test_a_turn_first(kiro):
            assert kiro.run("Hello.").text == "I am one."
            assert say(kiro) == "two"
            assert kiro.conversation().run("Hello.").text == "I am three."

        def test_conversations_are_begun_in_any_order(kiro):
            one, two = kiro.conversation(), kiro.conversation()
            assert two.run("Hello.").text == "I am two."
            assert one.run("Hello.").text == "I am one."
            assert say(kiro) == "three"

        def test_two_at_once(kiro):
            with kiro.terminal("chat") as one, kiro.terminal("chat") as two:
                for terminal, name in ((two, "two"), (one, "one")):
                    terminal.expect_exact("> ")
                    terminal.sendline("Hello.")
                    terminal.expect_exact(f"I am {{name}}.")
        """,
        {
            "test_a_terminal_first": names,
            "test_a_turn_first": names,
            "test_conversations_are_begun_in_any_order": names,
            "test_two_at_once": names,
        },
    )


def test_a_prompt_without_a_scenario(evals: Evals) -> None:
    """Slash commands need none; what comes of a prompt says where one is missing."""
    evals.write(
        "test_it.py",
        """
        def test_it(kiro):
            with kiro.terminal("chat", timeout=3) as terminal:
                terminal.expect_exact("> ")
                terminal.sendline("Hello.")
                terminal.expect_exact("I am")
        """,
    )
    result = evals.run()
    result.stdout.fnmatch_lines(
        [
            "E*pexpect.exceptions.TIMEOUT: Timeout exceeded.",
            "E*<Terminal kiro-cli chat --agent-engine v2>: it runs; it printed last:",
            "E*no model can be reached*",
            "E*it could not answer a prompt, since no scenario is there for it: "
            "*scenarios/test_it.toml needs conversation 1 of the table test_it",
        ]
    )
    result.stdout.no_fnmatch_line("*/pexpect/*")


def test_what_is_left_open_is_closed_with_its_owner(evals: Evals) -> None:
    evals.note()
    evals.passes(
        """
        import os
        import pytest
        from note import note

        @pytest.fixture(scope="module")
        def chat(kiro):
            return kiro.terminal("chat")

        opened = []

        def test_left_open(kiro):
            for _ in range(2):
                opened.append(kiro.terminal("chat"))
            for terminal in opened:
                terminal.expect("> ")

        def test_they_are_closed(kiro):
            assert [terminal.closed for terminal in opened] == [True, True]
            assert not any(entry.is_dir() for entry in os.scandir(kiro.work))
            assert kiro.sandbox.list_files(".local/state") == []

        def test_a_wider_one(chat):
            chat.expect("> ")

        def test_it_goes_on(chat):
            chat.sendline("/quit")
            assert chat.wait() == 0
        """,
        {},
    )


def test_misuse(evals: Evals) -> None:
    evals.note()
    evals.write(
        "conftest.py",
        """
        from note import note

        KIRO = []

        def pytest_runtest_logreport(report):
            if KIRO and report.when == "teardown":
                try:
                    KIRO.pop().terminal("chat")
                except Exception as error:
                    note(type(error).__name__, error)
        """,
    )
    evals.write(
        "test_it.py",
        r"""
        import re
        import pytest
        from conftest import KIRO
        from pytest_kiro import PtyClosed, SettingsError

        @pytest.mark.parametrize(("argv", "options", "error", "text"), [
            (("chat", 3), {}, TypeError, "argument 2 of kiro.terminal is of the type int; wanted: a str for each"),
            ((["chat"],), {}, TypeError, "argument 1 of kiro.terminal is of the type list; wanted: a str for each"),
            (("chat", "a\0b"), {}, ValueError, r"argument 2 of kiro.terminal has '\x00' at position 1"),
            (("chat", "\ud800"), {}, ValueError, r"argument 2 of kiro.terminal has '\ud800' at position 0"),
            (("--key=ksk_scripted",), {}, ValueError, "argument 1 of kiro.terminal has a secret in it, which every"),
            (("chat",), {"timeout": "5"}, TypeError, "timeout='5' is not right; wanted: seconds"),
            (("chat",), {"timeout": 0}, ValueError, "timeout=0 is not right; wanted: seconds above 0"),
            (("chat",), {"size": "80x24"}, TypeError, "the size '80x24' is not right; wanted: columns and rows"),
            (("chat",), {"size": (80, 0)}, ValueError, "the size (80, 0) is not right; wanted: columns and rows"),
            (("chat",), {"env": {"A B": "x"}}, SettingsError, "kiro.terminal: env is not right; wanted: "),
            (("chat",), {"env": ["A=x"]}, SettingsError, "kiro.terminal: env is not right; wanted: a dict of str"),
        ], ids=range(11))
        def test_arguments(kiro, argv, options, error, text):
            with pytest.raises(error, match=re.escape(text)) as caught:
                kiro.terminal(*argv, **options)
            assert "ksk_scripted" not in str(caught.value)
            kiro.sandbox.exec("mkdir -p .local/state")
            assert kiro.sandbox.list_files(".local/state") == []

        def test_after_close(kiro):
            terminal = kiro.terminal("chat")
            terminal.close()
            with pytest.raises(PtyClosed, match="kiro-cli chat --agent-engine v2> is closed; open another one"):
                terminal.sendline("/quit")

        def test_scenario_that_is_wrong(kiro):
            with pytest.raises(SettingsError, match=r"test_it\.toml:1 is not TOML"):
                kiro.terminal("chat")
            kiro.terminal("--version").expect("kiro-cli")

        def test_outside(kiro):
            KIRO.append(kiro)
        """,
    )
    evals.path.joinpath("scenarios").mkdir()
    evals.path.joinpath("scenarios", "test_it.toml").write_text("")
    evals.run("-k", "not wrong").assert_outcomes(passed=13)
    assert evals.story[0].startswith("ConversationError no test and no fixture is running")
    evals.path.joinpath("scenarios", "test_it.toml").write_text("[[")
    evals.run("-k", "wrong").assert_outcomes(passed=1)


def test_interrupted_while_it_waits(evals: Evals) -> None:
    """Ctrl-C at pytest's own terminal ends the run, and nothing of the chat is left."""
    evals.write(
        "test_it.py",
        f"""
        import pathlib

        def test_it(kiro):
            with kiro.terminal("chat") as terminal:
                terminal.expect("> ")
                pathlib.Path({str(evals.stage)!r}).touch()
                terminal.expect("never", timeout=None)
        """,
    )
    child = evals.start()
    evals.reaches_its_stage()
    child.sendintr()
    status, _ = evals.ends(child)
    assert status == pytest.ExitCode.INTERRUPTED


@pytest.mark.parametrize("engine", ["v2", "v3"])
def test_a_first_start_asks_nothing(evals: Evals, engine: str) -> None:
    """The settings in HOME answer; without them the same chat waits for somebody, and V3 would rewrite the agent."""
    evals.passes(
        """
        import json
        import pytest

        AGENT = b'{"name": "old", "tools": ["*"]}'
        ASKED = {"v2": "CLI 3.0 is becoming the default", "v3": "still in the 2.0 format"}

        @pytest.fixture(autouse=True)
        def agent(kiro):
            kiro.workspace.seed({".kiro/agents/old.json": AGENT.decode()})

        def test_it(kiro):
            with kiro.terminal("chat", "--agent", "old") as terminal:
                index = terminal.expect_exact(["You are chatting with", ASKED[kiro.engine]])
                assert index == 0
                terminal.expect_exact("> ")
                terminal.sendline("Hello.")
                terminal.expect_exact("Hello Ada.")
            assert kiro.workspace.contents()[".kiro/agents/old.json"] == AGENT

        def test_without_them(kiro):
            kiro.workspace.exec("rm ~/.kiro/settings/cli.json").check()
            with kiro.terminal("chat", "--agent", "old") as terminal:
                terminal.expect_exact(ASKED[kiro.engine])
                terminal.expect_exact("❯ ")
        """,
        {name: [turn(["Hello Ada."], misbehave="first_run")] for name in ("test_it", "test_without_them")},
        f"--kiro-engine={engine}",
    )
