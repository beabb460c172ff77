"""One eval on every engine and in both forms of output: the same conversation, the same proof, the same values."""

from __future__ import annotations

import json

import pytest
from eval_runs import RECALL, Evals, call, program, shell, stand_in, turn, write

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
            assert [call.after for call in turn.tool_calls] == [1, 1, 1, 2] and len(turn.messages) == 3
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
            assert turn.files_written == set() and turn.text == "I may not." and turn.tool_calls[0].after == 0
            named = kiro.conversation().run("Write.", trust="read,write")  # V2's words, whatever the engine's are
            assert named.files_written == {"b.txt"} and not named.warnings and "WARNING" not in named.output
            assert [call.status for call in named.tool_calls] == ["completed", "denied"]

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
                    ["Now a failure.", shell("echo no >&2; exit 3")],
                    ["It has an a."],
                    misbehave={"credits": 0.5},
                ),
                RECALL,
                turn([RECALL], conversation=2),
            ],
            "test_denied": [
                turn(["", write("a.txt", "a")], ["I may not."]),
                turn(["", write("b.txt", "b")], ["", shell("true")], ["Done."], conversation=2),
            ],
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


def test_auto_is_named_and_recorded(evals: Evals) -> None:
    evals.write(
        "test_it.py",
        """
        def test_it(kiro):
            assert kiro.settings.engine == "auto" and kiro.engine == kiro.run("Go.").engine == "v3"
        """,
        {"test_it": ["Hello."]},
    )
    result = evals.run("--kiro-engine=auto", "--kiro-results=results.json")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["kiro: *, engine v3 (auto), text"])
    result.stdout.no_fnmatch_line("*engine v3 of kiro-cli*")
    results = json.loads((evals.path / "results.json").read_text())
    assert [turn["provenance"]["engine"] for test in results["tests"] for turn in test["turns"]] == ["v3"]
    assert results["run"]["settings"]["engine"] == {"value": "auto", "origin": "--kiro-engine"}


@pytest.mark.parametrize(("version", "engine"), [("2.19.1", "v2"), ("3.5.0", "v3")])
def test_auto_asks_an_installed_cli_for_its_version(evals: Evals, version: str, engine: str) -> None:
    """The header cannot know it yet, so it is said with the first turn."""
    cli = program(evals, stand_in(f'if [ "$1" = --version ]; then echo "kiro-cli {version}"; exit; fi'))
    evals.write("test_it.py", f"def test_it(kiro):\n    assert kiro.run('Go.', check=False).engine == '{engine}'\n", {})
    result = evals.run("--kiro-engine=auto", f"--kiro-cli={cli}", "--kiro-login=none", "--kiro-retries=0")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["kiro: *, engine auto, text", f"kiro: engine {engine} of kiro-cli {version} answers"])
    newer = [
        line for line in result.outlines if line.startswith(f"kiro: kiro-cli {version} is newer than what is known")
    ]
    assert len(newer) == (version == "3.5.0"), "a version that is not known runs, and is told"
    header = evals.run(f"--kiro-cli={cli}", f"--kiro-cli-version={version}", "--kiro-login=none", "--kiro-retries=0")
    newer = [
        line for line in header.outlines if f"kiro-cli {version} is newer than what is known (2.5 to 2.29)" in line
    ]
    assert [line.startswith("kiro: sandbox local") for line in newer] == [True] * (version == "3.5.0")


def test_auto_on_a_cli_without_events(evals: Evals) -> None:
    cli = program(evals, stand_in('if [ "$1" = --version ]; then echo "kiro-cli 1.25.0"; exit; fi'))
    evals.write("test_it.py", "def test_it(kiro):\n    pass\n", {})
    result = evals.run("--kiro-engine=auto", "--kiro-output=stream-json", f"--kiro-cli={cli}", "--kiro-login=none")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*kiro-cli 1.25.0 has engine v1, which has none; use a newer kiro-cli*"])


@pytest.mark.parametrize(("engine", "output"), FORMS)
def test_what_was_loaded(evals: Evals, engine: str, output: str) -> None:
    """Skills are told on every engine, the agent where its session says it, steering only where Kiro asks for it."""
    read = [
        call("read", operations=[{"mode": "Line", "path": path}])
        for path in (
            ".kiro/skills/release/SKILL.md",
            ".kiro/steering/style.md",
        )
    ]
    evals.passes(
        """
        import pytest
        from pytest_kiro import NotRecorded

        @pytest.fixture(autouse=True)
        def project(kiro):
            agent = '{"name": "mine", "tools": ["*"]}'
            skills = {f".kiro/skills/{name}/SKILL.md": name for name in ("release", "review")}
            kiro.workspace.seed({**skills, ".kiro/steering/style.md": "Be brief.", ".kiro/agents/mine.json": agent})

        def test_it(kiro):
            turn = kiro.run("Go.", agent="mine")
            assert turn.loaded("skill", "release") and not turn.loaded("skill", "review")
            assert turn.loaded("steering", "style")
            tool = turn.loaded("skill", "release").evidence.split()[0]
            assert tool == ("disclose_context" if kiro.engine == "v3" else "read")
            if kiro.engine == "v1":
                with pytest.raises(NotRecorded):
                    turn.loaded("agent", "mine")
            else:
                assert turn.loaded("agent", "mine") and not turn.loaded("agent", "kiro_default")

        def test_not(kiro):
            turn = kiro.run("Go.")
            assert not turn.loaded("skill", "*")
            for kind in ("steering", "mcp"):
                with pytest.raises(NotRecorded, match=f"engine {kiro.engine} keeps no record"):
                    turn.loaded(kind, "style")
        """,
        {"test_it": [turn(["", *read], ["Done."])], "test_not": ["Done."]},
        *options(engine, output),
    )


def test_a_v3_that_says_nothing_may_have_hung(evals: Evals) -> None:
    evals.write(
        "test_it.py",
        "def test_it(kiro):\n    kiro.run('Go.', timeout=0.5)\n",
        {"test_it": [turn(["Hello."], misbehave="silent")]},
    )
    said = "*engine V3 was reported to hang where it has no terminal, so try --kiro-engine=v2*"
    evals.run("--kiro-engine=v3").stdout.fnmatch_lines([said])
    evals.run("--kiro-engine=v2").stdout.no_fnmatch_line(said)


def test_what_answers_is_told_on_every_engine(evals: Evals) -> None:
    evals.write(
        "conftest.py",
        """
        import pytest

        @pytest.fixture(scope="session")
        def kiro_sandbox_args():
            return {"env": {"KIRO_ENABLED_FEATURES": "tangent"}}
        """,
    )
    source = """
        def test_it(kiro):
            env = {"KIRO_ROLLOUT_FEATURES": "workflows"}
            told = kiro.run("Hello.", model="claude-haiku-4.5", effort="high", env=env).provenance
            assert told.described == EXPECTED, told.described
            other = kiro.run("Hello.", model="claude-haiku-4.5", effort="low", env=env)
            assert told.differences(other.provenance) == ("effort high → low",)
            assert other.warnings == ()
    """
    answers = {"test_it": ["Hi.", "Hi."]}
    model, features = "model claude-haiku-4.5, effort high, memory off, features", "tangent, workflows"
    for engine in ("v1", "v2"):
        expected = f"kiro-cli 2.29.0, engine {engine}, {model} {features}"
        evals.passes(source.replace("EXPECTED", repr(expected)), answers, f"--kiro-engine={engine}")
    expected = f"kiro-cli 2.29.0, engine v3, agent 0.66.26, {model} semanticReview, {features}"
    evals.passes(source.replace("EXPECTED", repr(expected)), answers, "--kiro-engine=v3")
