"""`--kiro-replies=scenario` with another CLI than the stand-in: same eval, real binary, no account, no credits."""

from __future__ import annotations

import sys

import pytest
from eval_runs import STAND_IN, Evals, program, shell, turn

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
    assert f"SettingsError: {evals.path}/scenarios/test_it.toml [test_it] turn 1 {said}" in result.stdout.str()


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
