"""Session files as others read them: tools that nobody here wrote tell the same of a conversation as `Turn`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest
from eval_runs import RECALL, Evals, call, shell, turn, write

#: Each of another author: one that browses, one that indexes, one that repairs.
TOOLS = ("kiro_cli_history", "kiro_session_index", "kiro_fix_session_images")
pytestmark = pytest.mark.skipif(
    not all(map(find_spec, TOOLS)), reason="the group `test` has them: kiro-cli-history and others"
)
BROWSE = """
import json
from kiro_cli_history.main import extract_messages, get_sessions
sessions = [{**session, "messages": extract_messages(session)} for session in get_sessions()]
print(json.dumps([{key: one[key] for key in ("session_id", "messages", "credits_used", "cwd")} for one in sessions]))
"""
REPAIR = "import sys; from kiro_fix_session_images.cli import main; sys.exit(main())"
PROMPTS = ["The word is ünï. Write it.", "Which word was it?\nAnd read it."]
EVAL = f"""
import json, os, shutil

def test_it(kiro):
    turns = [kiro.run(prompt) for prompt in {PROMPTS!r}]
    kept = os.environ["KEPT"]
    shutil.copytree(str(kiro.workspace.home), kept, symlinks=True)
    records = [
        [turn.messages, [call.raw_name for call in turn.tool_calls], turn.session_id, turn.credits] for turn in turns
    ]
    with open(kept + ".json", "w", encoding="utf-8") as file:
        json.dump(records, file)
"""
CALLS = [write("a.txt", "ünï\n"), shell("cat a.txt"), call("read", operations=[{"mode": "Line", "path": "none"}])]
TURNS = [
    turn(
        ["I write it.", CALLS[0]],
        [CALLS[1], {**CALLS[2], "fails": True}],
        ["Written: ünï."],
        misbehave={"credits": 0.5},
    ),
    turn([f"It was {RECALL}.", shell("cat a.txt")], ["Read."]),
]


def run(home: Path, *command: str, cwd: Path | None = None) -> str:
    """Run a tool as somebody whose HOME that is."""
    done = subprocess.run(
        [sys.executable, *command],
        env={"HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONUTF8": "1"},
        cwd=cwd,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def words(messages: Sequence[str]) -> list[str]:
    return [message for message in messages if message]


@pytest.mark.parametrize("engine", ["v1", "v2", "v3"])
def test_others_read_what_we_read(evals: Evals, monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    home = evals.path / "kept"
    monkeypatch.setenv("KEPT", str(home))
    evals.passes(EVAL, {"test_it": TURNS}, f"--kiro-engine={engine}")
    turns = json.loads(home.with_suffix(".json").read_text(encoding="utf-8"))
    (first, names, session, _), (second, more, *_) = turns
    assert (first, second) == (["I write it.", "Written: ünï."], ["It was ünï.", "Read."])

    (browsed,) = json.loads(run(home, "-c", BROWSE))
    assert browsed["session_id"] == session
    told: dict[str, list[str]] = {"you": [], "kiro": []}
    for message in browsed["messages"]:
        told[message["role"]].append(re.sub(r"\n?\[tools: .*\]$", "", message["text"]))  # which it adds on V1
    assert told["you"] == PROMPTS
    assert words(told["kiro"]) == [*first, *second]
    if engine == "v1":
        return  # which the others do not know
    assert browsed["credits_used"] == 0.5

    outline = json.loads(run(home, "-m", "kiro_session_index", "outline", session, "--json"))
    segments = [one for one in outline["segments"] if one["kind"] != "preamble"]
    prompts = [" ".join(one["prompt"].removesuffix("chat").split()) for one in segments]  # V3's word for its source
    assert prompts == [" ".join(prompt.split()) for prompt in PROMPTS]
    assert [one["tools"] for one in segments] == [Counter(names), Counter(more)]
    assert outline["malformedLines"] == 0

    before = contents(home)
    run(home, "-c", REPAIR, "--all")
    assert contents(home) == before, "there is nothing to repair"


def contents(home: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in (home / ".kiro").rglob("*") if file.is_file()}
