"""`--kiro-replies=scenario` with another CLI than the stand-in: same eval, real binary, no account, no credits."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from eval_runs import STAND_IN, Evals, call, program, shell, turn, write

#: A kiro-cli that is not the stand-in by its version: it notes what it was given, then has the stand-in answer.
WRAPPER = f"""
case $1 in
--version) echo 'kiro-cli 2.29.0'; exit ;;
chat) {{ echo "key $KIRO_API_KEY"; echo "argv $*"; echo "json $(cat "$KIRO_MOCK_CHAT_RESPONSE")"; env; }} >>"$TOLD" ;;
esac
exec {sys.executable} -I -S {STAND_IN} "$@"
"""
EVAL = "def test_it(kiro):\n    assert kiro.run('Go.', env={'TOLD': 'TOLD_HERE'}).text == 'Done.'\n"


@pytest.mark.parametrize("engine", ["v1", "v2"])
def test_the_real_cli_gets_the_replies_and_a_placeholder_key(evals: Evals, engine: str) -> None:
    cli, told = program(evals, WRAPPER), evals.tmp / "told"
    tables = {"test_it": [turn(["I look.", shell("true")], ["Done."])]}
    evals.write("test_it.py", EVAL.replace("TOLD_HERE", str(told)), tables)
    result = evals.run(f"--kiro-cli={cli}", "--kiro-replies=scenario", f"--kiro-engine={engine}", "-v")
    result.assert_outcomes(passed=1)
    lines = told.read_text().splitlines()
    told.unlink()
    assert lines[0] == "key ksk_scripted"
    assert f"--agent-engine {engine}" in lines[1]
    # One inner list for each model request (reference: scripted replies of the real binary).
    assert lines[2].startswith('json [["I look.", {"tool_use_id": "tooluse_')
    assert lines[2].endswith('"name": "shell", "args": {"command": "true"}}], ["Done."]]')
    assert not [line for line in lines if line.startswith("KIRO_STANDIN")]
    # Nobody takes it for an answer of Kiro's.
    result.stdout.fnmatch_lines(
        [
            f"kiro: sandbox local, kiro-cli {cli}, replies scripted: no model is asked, not isolated: Kiro works on *",
            "scripted: the answers came from scenarios; nothing above was said by Kiro",
        ]
    )


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("{recall:a|b}", "has {recall:…}, which only the stand-in can answer, but kiro-cli 2.29.0 is the real one"),
        (turn(misbehave="throttled"), "has misbehave (throttled), which only the stand-in does, but kiro-cli 2.29.0"),
    ],
)
def test_what_only_the_stand_in_can_do_is_refused(evals: Evals, reply: object, said: str) -> None:
    cli = program(evals, WRAPPER)
    evals.write("test_it.py", "def test_it(kiro):\n    kiro.run('Go.')\n", {"test_it": [reply]})
    result = evals.run(f"--kiro-cli={cli}", "--kiro-replies=scenario")
    result.assert_outcomes(failed=1)
    assert f"SettingsError: {evals.path}/scenarios/test_it.toml:1 [test_it] turn 1 {said}" in result.stdout.str()


def test_v3_of_the_real_cli_takes_no_replies(evals: Evals) -> None:
    cli = program(evals, WRAPPER)
    evals.write("test_it.py", "def test_it(kiro):\n    kiro.run('Go.')\n", {"test_it": ["x"]})
    result = evals.run(f"--kiro-cli={cli}", "--kiro-replies=scenario", "--kiro-engine=v3")
    result.stdout.fnmatch_lines(["*SettingsError: --kiro-replies=scenario: engine v3 of the real kiro-cli takes no*"])


def test_the_stand_in_has_no_model(evals: Evals) -> None:
    evals.write("test_it.py", "def test_it(kiro):\n    kiro.run('Go.')\n", {"test_it": ["x"]})
    result = evals.run("--kiro-replies=model")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*SettingsError: --kiro-replies=model: * is the stand-in, which has no model*"])


def replace(old: str, **keys: object) -> dict[str, object]:
    return {**call("write", command="strReplace", path="a.txt", oldStr=old, newStr="x"), **keys}


@pytest.mark.parametrize("engine", ["v1", "v2", "v3"])
def test_a_call_that_fails_unasked_is_told(evals: Evals, engine: str) -> None:
    """Of a test that passes as well; what is meant says so, and is told where it goes well."""
    inner = call("subagent", prompt="Try.", requests=[[replace("of a sub-agent")], ["Tried."]])
    begun = [write("a.txt", "a\n"), shell("exit 3")]
    tables = {
        "test_green": [turn([*begun, replace("green")], ["Done."])],
        "test_red": [turn([*begun, replace("red"), inner], ["Done."]), "And more."],
        "test_meant": [turn([*begun, replace("meant", fails=True), {**shell("exit 1"), "fails": True}], ["Done."])],
        "test_well": [turn([*begun, replace("a", fails=True), replace("b", fails=True)], ["Done."])],
    }
    source = """
        import pytest

        @pytest.mark.parametrize("kind", ["green", "meant", "well"])
        def test_it(kiro, kind, request):
            assert kiro.run("Go.").text == "Done."

        def test_red(kiro):
            kiro.run("Go.")
            kiro.run("On.")
            assert not "red"
        """
    for kind in ("green", "meant", "well"):
        tables[f"test_it[{kind}]"] = tables.pop(f"test_{kind}")
    evals.write("test_it.py", source, tables)
    result = evals.run(f"--kiro-engine={engine}", "-rP")
    result.assert_outcomes(passed=3, failed=1)
    why = "The tool arguments failed validation: The provided old_str was not found in the file"
    means = "if that is meant, give the call `fails = true`: */scenarios/test_it.toml:*"
    of_agent = engine != "v1"  # which keeps nothing of what its sub-agents do
    result.stdout.fnmatch_lines(
        [
            "*- kiro turns -*",
            "turn 1 *Go.",
            f"  its scenario: write 'a.txt' (failed): {why}; {means}",
            *[f"  its scenario: write 'a.txt' (failed): {why}; {means}"] * of_agent,
            "turn 2 *On.",
            "*- kiro scenario -*",
            "turn 1 *",
            f"  its scenario: write 'a.txt' (failed): {why}; {means}",
            "*- kiro -*",
            f"scenario of test_it.py::test_it[[]green]: write 'a.txt' (failed): {why}; {means}",
            "scenario of test_it.py::test_it[[]well]: write 'a.txt' did not fail, and */test_it.toml:* says fails*",
            *[f"scenario of test_it.py::test_red: write 'a.txt' (failed): {why}; {means}"] * (1 + of_agent),
        ]
    )
    assert "[meant]: " not in result.stdout.str()


@pytest.mark.parametrize("engine", ["v1", "v2", "v3"])
def test_a_turn_has_the_tools_of_servers(evals: Evals, engine: str) -> None:
    """V1 alone says which servers there were; elsewhere one whose tools were not called may have been."""
    program_of_server = Path(__file__).parents[1] / "standin" / "mcp_program.py"
    works = {"command": sys.executable, "args": ["-I", "-S", str(program_of_server)]}
    servers = {"shop": works, "gone": {"command": "not-there"}}
    evals.write("shop/.kiro/settings/mcp.json", json.dumps({"mcpServers": servers}))
    calls = [call("@shop/echo", item="mug"), {**call("@gone/echo"), "fails": True}]
    tables = {"test_it": [turn(calls, ["Done."])], "test_uncalled": ["Done."]}
    source = """
        import pytest
        from pytest_kiro import NotRecorded

        pytestmark = pytest.mark.kiro(workspace="shop")

        def test_it(kiro):
            turn = kiro.run("Go.")
            assert turn.used("echo")[0].output == '{"item": "mug"}'
            assert turn.used("@shop/echo") and turn.loaded("mcp", "shop")
            with pytest.raises(NotRecorded):
                turn.loaded("mcp", "gone")
            assert "gone has failed to load after" in turn.output + turn.diagnostics
            assert not turn.warnings

        def test_uncalled(kiro):
            turn = kiro.run("Go.")
            if kiro.engine == "v1":
                assert turn.loaded("mcp", "shop")
            else:
                with pytest.raises(NotRecorded):
                    turn.loaded("mcp", "shop")
        """
    evals.write("test_it.py", source, tables)
    evals.run(f"--kiro-engine={engine}").assert_outcomes(passed=2)
