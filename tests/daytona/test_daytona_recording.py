"""A turn that was recorded in Daytona is replayed on this machine, by who has no account there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from plugin.eval_runs import Evals, shell, turn, write

if TYPE_CHECKING:
    from daytona_runs import Runs

pytest_plugins = ["daytona_runs"]

CONFTEST = """
    import pytest

    @pytest.fixture(scope="session")
    def kiro_sandbox_args():
        return {"image": "node:24"}
"""
SOURCE = """
    import pytest

    @pytest.fixture(scope="module")
    def shop(kiro):
        return kiro.run("Build the shop.")

    def test_it(kiro, shop):
        kiro.workspace.seed({"old.txt": "old"})
        turn = kiro.run("Go on.")
        assert turn.changes.added == {"run.sh", "link", "binary"} and turn.changes.deleted == {"old.txt"}
        assert kiro.workspace.exec("./run.sh").output == "hello from run.sh\\n"
        assert (kiro.workspace / "binary").read_bytes() == bytes([0, 255, 13, 10])
        assert turn.tool_calls[-1].output.strip() == kiro.workspace.path
        assert turn.outside.added == {"note.txt"} and (kiro.workspace.home / "note.txt").read_text() == "note\\n"
        assert shop.changes.added == {"shop.py"} and (shop.workspace / "shop.py").is_file()
"""
SHELL = (
    "printf '#!/bin/sh\\necho hello from $0\\n' | sed 's,[$]0,run.sh,' >run.sh; chmod 755 run.sh; ln -s run.sh link;"
    " printf '\\0\\377\\r\\n' >binary; rm old.txt; echo note >~/note.txt"
)
TABLES = {
    "fixture:shop": [[["", write("shop.py", "pass\n")], ["Built."]]],
    "test_it": [turn([shell(SHELL)], ["", shell("pwd")], ["{recall:x|Done.}"])],
}


def test_a_recording_from_daytona_is_replayed_here(runs: Runs) -> None:
    runs.write("conftest.py", CONFTEST)
    runs.write("test_it.py", SOURCE, TABLES)
    before = len(runs.emulator.log())
    assert runs.run("--kiro-record=all").ret == 0
    made = json.loads((runs.path / "recordings/test_it/test_it/trial-1/recording.json").read_text())["made"]
    assert (made["provider"], made["image"], made["file"]) == ("daytona", "node:24", "test_it.py")
    asked = len(runs.emulator.log()) - before
    assert asked
    runs.use(DAYTONA_API_URL="", DAYTONA_API_KEY="")
    replayed = Evals.run(runs, "--kiro-replies=recording", "--kiro-sandbox=daytona")
    assert replayed.ret == 0, replayed.stdout.str()
    assert len(runs.emulator.log()) - before == asked
