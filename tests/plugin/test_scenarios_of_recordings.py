"""A recording becomes a scenario with which the stand-in leaves the same files, and is recorded again alike."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from eval_runs import Evals, shell, turn, write

from pytest_kiro.recording.store import read_recording

EVAL = """
    import pytest

    @pytest.mark.kiro(workspace="seed")
    def test_it(kiro):
        kiro.run("Make it.")
        second = kiro.run("Go on.", check=False)
        other = kiro.conversation()
        other.run("And here?")
        assert second.exit_code == 7
        shown = kiro.workspace.exec("test -x run.sh && ./run.sh && readlink link && ls -a empty").output
        assert shown == "ran\\na b.txt\\n.\\n..\\n"
        assert kiro.workspace.exec("cat ~/.made").output == "at home\\n"
        assert sorted(kiro.workspace.contents()) == ["a b.txt", "binary", "deep/er.txt", "kept.txt", "link", "run.sh"]
"""
FIRST = turn(
    [
        "I look.",
        write("deep/er.txt", "one\ntwo\n"),
        shell(
            "printf '\\377\\376\\000' >binary; rm -r gone; ln -s 'a b.txt' link; mkdir empty; date +%N >'a b.txt'; "
            "printf '#!/bin/sh\\necho ran\\n' >run.sh; chmod 755 run.sh; echo at home >~/.made"
        ),
    ],
    [{"name": "write", "args": {"command": "strReplace", "path": "kept.txt", "oldStr": "old", "newStr": "new"}}],
    ["It's made:\n'''{recall:it|nothing}'''."],
)
SECOND = turn([shell("exit 3")], ["Went on."], misbehave={"exit": 7})
OTHER = turn([write("only.txt", "'''\\\n")], ["Here too."], conversation=2)


def test_a_scenario_of_a_recording_leaves_the_same_files(evals: Evals) -> None:
    for path, text in {"kept.txt": "old\n", "gone/x.txt": "x\n"}.items():
        file = evals.path / "seed" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    evals.passes(EVAL, {"test_it": [FIRST, SECOND, OTHER]}, "--kiro-record=all")
    folder = evals.path / "recordings/test_it/test_it/trial-1"
    before = left(folder)

    done = evals.detached("pytest_kiro", "scenario", str(folder))
    assert done.returncode == 0, done.stderr
    added = [line for line in done.stdout.splitlines() if "# added" in line]
    assert len(added) == 1, "the first turn's command explains nothing by itself, all else is explained"
    assert "I look." in done.stdout.partition("deep/er.txt")[0], "what was said stands before its calls"
    (evals.path / "scenarios/test_it.toml").write_text(done.stdout, encoding="utf-8")
    assert len(tomllib.loads(done.stdout)["test_it"]["turn"]) == 3

    evals.run("--kiro-record=all").assert_outcomes(passed=1)
    assert left(folder) == before

    # Of a recording that does not tell after which message a call was made, it is seen in what was printed.
    again = evals.detached("pytest_kiro", "scenario", str(folder)).stdout
    assert None not in afters(folder)
    for file in folder.rglob("*.json"):
        file.write_text(re.sub(r'"after": ?\d+', '"after": null', file.read_text()))
    assert {*afters(folder)} == {None}
    assert evals.detached("pytest_kiro", "scenario", str(folder)).stdout == again


def afters(folder: Path) -> list[int | None]:
    recording = read_recording(folder)
    assert recording is not None
    return [call.after for _, one in sorted(recording.turns.items()) for call in one.turn.tool_calls]


def left(folder: Path) -> str:
    """What the turns of a recording said, how they ended, and what they left."""
    recording = read_recording(folder)
    assert recording is not None
    turns = [
        {
            "said": one.turn.messages,
            "ended": [one.turn.status, one.turn.exit_code],
            "commands": list(one.turn.commands)[:1],
            "files": [
                [file.path, file.kind, file.mode & 0o111, file.content.partition("-")[0]]
                for file in (*one.files, *one.outside)
            ],
        }
        for _, one in sorted(recording.turns.items())
    ]
    return json.dumps(turns, indent=1)
