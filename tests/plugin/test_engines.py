"""One eval on every engine and in both forms of output: the same conversation, the same proof, the same values."""

from __future__ import annotations

import pytest
from eval_runs import RECALL, Evals, call, shell, turn, write

FORMS = [("v1", "text"), ("v2", "text"), ("v3", "text"), ("v2", "stream-json"), ("v3", "stream-json")]


def options(engine: str, output: str) -> tuple[str, str]:
    return f"--kiro-engine={engine}", f"--kiro-output={output}"


@pytest.mark.parametrize(("engine", "output"), FORMS)
def test_an_eval_is_the_same_on_every_engine(evals: Evals, engine: str, output: str) -> None:
    evals.passes(
        """
        from pytest_kiro import Turn

        def test_it(kiro):
            turn = kiro.run("The word is one. Write a.txt and look at it.")
            assert isinstance(turn, Turn) and turn.ok and turn.engine == kiro.settings.engine
            assert turn.text == "It has an a." and turn.messages[-1] == turn.text and "It has an a." in turn.output
            assert [call.name for call in turn.tool_calls] == ["write", "read", "shell", "shell"]
            assert turn.used("write") and not turn.used("glob") and turn.files_written == {"a.txt"}
            assert turn.commands == ["cat a.txt", "echo no >&2; exit 3"]
            written, read, cat, failed = turn.tool_calls
            assert "a" in read.output and cat.output == "a\\n" and cat.exit_code == 0
            assert (failed.exit_code, failed.status, failed.output) == (3, "completed", "no\\n")
            assert turn.changes.added == {"a.txt"} and turn.credits == 0.5 and turn.session_id
            assert turn.proof == ("runFinished" if kiro.streams else "session")
            assert not turn.warnings
            assert ("{" in turn.output) is False and (b"runFinished" in turn.raw) is kiro.streams
            assert bool(turn.diagnostics) is False or kiro.streams

            again = kiro.run("What was the word?")
            assert again.text == "one" and again.session_id == turn.session_id and again.tool_calls == ()
            assert not again.changes and not again.used("write")
            assert kiro.conversation().run("What was the word?").text == "unknown"

        def test_denied(kiro):
            turn = kiro.run("Write.", trust="none")
            assert turn.ok and turn.tool_calls[0].status == "denied" and not turn.used("write") and not turn.changes
            assert turn.files_written == set() and turn.text == "I may not."

        def test_sub_agents(kiro):
            turn = kiro.run("Delegate.")
            (call,) = turn.tool_calls
            if kiro.settings.engine != "v1":  # of whose sub-agents nothing is kept
                assert [inner.name for inner in call.calls] == ["shell"] and turn.commands == ["echo inside"]
            assert turn.text == "It said: done." and turn.ok
        """,
        {
            "test_it": [
                turn(
                    ["Let me see.", write("a.txt", "a\n")],
                    ["", call("read", operations=[{"mode": "Line", "path": "a.txt"}]), shell("cat a.txt")],
                    ["", shell("echo no >&2; exit 3")],
                    ["It has an a."],
                    misbehave={"credits": 0.5},
                ),
                RECALL,
                turn([RECALL], conversation=2),
            ],
            "test_denied": [turn(["", write("a.txt", "a")], ["I may not."])],
            "test_sub_agents": [
                turn(
                    ["", call("subagent", prompt="Look.", requests=[["", shell("echo inside")], ["done."]])],
                    ["It said: done."],
                )
            ],
        },
        *options(engine, output),
    )


@pytest.mark.parametrize(("engine", "output"), FORMS[1:])  # V1 keeps its id
def test_compaction_and_a_second_turn(evals: Evals, engine: str, output: str) -> None:
    evals.passes(
        """
        def test_it(kiro):
            turn = kiro.run("The word is one.")
            assert turn.ok and turn.text == "Done." and turn.used("shell")
            again = kiro.run("And?")
            assert again.ok and again.session_id == turn.session_id
        """,
        {"test_it": [turn(["", shell("true")], ["Done."], misbehave="compaction"), "Fine."]},
        *options(engine, output),
    )


def test_stderr_is_kept_apart(evals: Evals) -> None:
    evals.passes(
        """
        def test_it(kiro):
            turn = kiro.run("Go.", trust="read,nonsense")
            assert "nonsense" in turn.diagnostics and "nonsense" not in turn.output and b"nonsense" not in turn.raw
            assert "\\x1b" not in turn.diagnostics and turn.output.strip() == "Hello."

        def test_lines_that_are_no_events(kiro):
            turn = kiro.run("Go.")
            assert turn.ok and turn.text == "Hello."
        """,
        {"test_it": ["Hello."], "test_lines_that_are_no_events": [turn(["Hello."], misbehave="stray")]},
        "--kiro-output=stream-json",
    )


def test_v1_has_no_events(evals: Evals) -> None:
    evals.write("test_it.py", "def test_it(kiro):\n    kiro.run('Go.')\n", {"test_it": ["Hello."]})
    result = evals.run(*options("v1", "stream-json"))
    assert result.ret == 4
    result.stderr.fnmatch_lines(
        ["ERROR: --kiro-output: stream-json is not supported on engine v1; use --kiro-engine=v2 or v3*"]
    )


def test_sessions_are_found_where_kiro_home_has_them(evals: Evals) -> None:
    evals.passes(
        """
        import pytest

        @pytest.mark.parametrize("where", ["elsewhere", "in the workspace"])
        def test_it(kiro, where):
            env = {"KIRO_HOME": f"{kiro.sandbox.home}/other kiro" if where == "elsewhere" else "mine"}
            assert kiro.run("The word is one.", env=env).proof == "session"
            assert kiro.run("And?", env=env).text == "one"
        """,
        {f"test_it[{where}]": ["OK.", RECALL] for where in ("elsewhere", "in the workspace")},
    )
