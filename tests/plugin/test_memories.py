"""Memories that kiro-cli takes from one session to the next: off unless an eval asks, and never another test's."""

from __future__ import annotations

from eval_runs import Evals, shell, turn

ADD = {"name": "memory", "args": {"command": "add", "title": "indent", "content": "The user likes tabs."}}
ASK = {"requests": [[r"{recall:likes (\w+)|nothing}"]]}
SAVE = turn([ADD], ["Done."])
V3 = "--kiro-engine=v3"


def test_it_is_off_and_one_that_is_asked_for_is_its_owners(evals: Evals) -> None:
    evals.write(
        "conftest.py",
        """
        import pytest

        @pytest.fixture
        def kiro_run_args(request):
            return {"memory": True} if "asked_for_by_a_fixture" in request.node.name else {}
        """,
    )
    evals.passes(
        """
        import pytest

        def of(turn):
            return turn.text, turn.provenance.memory, turn.warnings

        def test_a_off(kiro):
            saved = kiro.run("Remember it.")
            assert saved.tool_calls[0].status == "failed"
            assert of(kiro.conversation().run("What is it?")) == ("nothing", "off", ())
            assert not (kiro.workspace.home / ".kiro/memories").exists()

        @pytest.mark.kiro(memory=True)
        def test_b_on(kiro):
            saved = kiro.run("Remember it.")
            assert saved.tool_calls[0].status == "completed"
            assert of(saved) == ("Done.", "on", ())
            assert saved.outside.added >= {".kiro/memories/memories.jsonl"}
            assert of(kiro.conversation().run("What is it?")) == ("tabs", "on", ())
            assert of(kiro.conversation(memory=False).run("What is it?")) == ("nothing", "off", ())
            assert of(kiro.conversation().run("What is it?", memory=False)) == ("nothing", "off", ())

        @pytest.mark.kiro(memory=True)
        def test_c_of_another_test_nothing_is_remembered(kiro):
            assert of(kiro.run("What is it?")) == ("nothing", "on", ())

        def test_d_asked_for_by_a_fixture(kiro):
            kiro.run("Remember it.")
            assert of(kiro.conversation().run("What is it?")) == ("tabs", "on", ())

        def test_in_a_terminal(kiro):
            import json, pexpect
            with kiro.terminal("--version") as terminal:
                terminal.expect(pexpect.EOF)
            settings = json.loads((kiro.workspace.home / ".kiro/settings/cli.json").read_text())
            assert settings["memory.mode"] == "disabled"

        def test_e_wrong(kiro):
            from pytest_kiro import SettingsError
            with pytest.raises(SettingsError, match="kiro.run: memory='yes' is not right; wanted: True or False"):
                kiro.run("What is it?", memory="yes")
        """,
        {
            "test_a_off": [SAVE, {**ASK, "conversation": 2}],
            "test_b_on": [SAVE, *({**ASK, "conversation": number} for number in (2, 3, 4))],
            "test_c_of_another_test_nothing_is_remembered": [ASK],
            "test_d_asked_for_by_a_fixture": [SAVE, {**ASK, "conversation": 2}],
        },
        V3,
    )


def test_what_it_remembers_elsewhere_or_by_other_settings_is_told(evals: Evals) -> None:
    """Of a link, of settings that the agent has altered or the workspace has, of memories in the sandbox's own HOME."""
    evals.write(
        "conftest.py",
        """
        def pytest_kiro_sandbox_ready(sandbox, settings):
            sandbox.exec('''mkdir -p .kiro/memories; cd .kiro/memories
                echo '{"title": "indent", "content": "The user likes spaces."}' >memories.jsonl''').check()
        """,
    )
    evals.passes(
        r"""
        import pytest

        def of(turn):
            return turn.text, turn.provenance.memory, turn.warnings

        @pytest.mark.kiro(memory=True)
        def test_a_link(kiro):
            assert of(kiro.run("What is it?")) == ("nothing", "on", ())
            home = kiro.workspace.home
            kiro.workspace.exec(f"ln -s {kiro.sandbox.home}/.kiro/memories ~/.kiro/").check()
            assert of(kiro.conversation().run("What is it?")) == ("nothing", "on", ())
            assert not kiro.workspace.exec("test -L ~/.kiro/memories").ok

        def test_settings(kiro):
            (kiro.workspace / ".kiro/settings/cli.json").write_text('{"memory.mode": "read_write"}')
            turn = kiro.run("What is it?")
            path = f"{kiro.workspace.path}/.kiro/settings/cli.json"
            assert turn.provenance.memory == "unknown" and f'{path} says "read_write"' in turn.warnings[0]

        def test_altered(kiro):
            turn = kiro.run("Alter it.")
            assert turn.provenance.memory == "unknown"
            path = f"{kiro.workspace.home}/.kiro/settings/cli.json"
            assert f'memory.mode should be disabled, and {path} says "read_write"' in turn.warnings[0]
            assert of(kiro.run("What is it?")) == ("nothing", "off", ())
        """,
        {
            "test_a_link": [ASK, {**ASK, "conversation": 2}],
            "test_settings": [ASK],
            "test_altered": [
                turn([shell("""echo '{"memory.mode": "read_write"}' >~/.kiro/settings/cli.json""")], ["Done."]),
                ASK,
            ],
        },
        V3,
    )
    evals.passes(
        """
        import pytest

        @pytest.mark.kiro(memory=True)
        def test_shared(kiro):
            turn = kiro.run("What is it?")
            assert (turn.text, turn.provenance.memory) == ("spaces", "on")
            assert turn.warnings == ("memory=True with --kiro-home=shared: it had what other tests remember as well",)

        def test_shared_and_off(kiro):
            assert kiro.run("What is it?").text == "nothing"
        """,
        {"test_shared": [ASK], "test_shared_and_off": [ASK]},
        V3,
        "--kiro-home=shared",
    )


def test_an_engine_without_a_memory_says_so(evals: Evals) -> None:
    evals.passes(
        """
        def test_it(kiro):
            turn = kiro.run("Hello.", memory=True)
            assert (turn.provenance.memory, turn.warnings) == ("off", ("memory=True: engine v2 has no memory",))
            assert kiro.run("Hello.").warnings == ()
        """,
        {"test_it": ["Hi.", "Hi."]},
    )
