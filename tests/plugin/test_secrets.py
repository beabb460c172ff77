"""A key is in the environment of Kiro's own process, and nowhere else."""

from __future__ import annotations

import pytest
from eval_runs import Evals, program, shell, stand_in, turn


def test_a_key_is_on_no_disk(evals: Evals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIRO_API_KEY", "ksk_canary_on_disk")
    evals.passes(
        """
        def test_it(kiro):
            search, environment = [call.output for call in kiro.run("Look around.").tool_calls]
            assert search == "nothing\\n"
            seen = dict(line.split("=", 1) for line in environment.splitlines() if "=" in line)
            assert seen["KIRO_API_KEY"] == "ksk_canary_on_disk"
            # And what else the process is given: quiet, and a PATH that begins with its own programs.
            assert seen["KIRO_NO_AUTO_UPDATE"] == seen["KIRO_DISABLE_TELEMETRY"] == "1"
            assert seen["PATH"].split(":")[0] == f"{kiro.sandbox.home}/.local/bin"
            assert kiro.workspace.exec("env").output.count("ksk_") == 0
        """,
        {"test_it": [turn([shell("grep -rl ksk_can[a]ry ~ || echo nothing")], [shell("env")], ["Done."])]},
        "--kiro-login=api-key",
    )


def test_the_folder_of_the_cli_is_on_path(evals: Evals) -> None:
    """kiro-cli 2.x starts its siblings from PATH."""
    program(evals, stand_in())
    evals.passes(
        """
        def test_it(kiro):
            (call,) = kiro.run("Look around.").tool_calls
            assert kiro.installation.folder in call.output.strip().split(":")
        """,
        {"test_it": [turn([shell("echo $PATH")], ["Done."])]},
        f"--kiro-cli={evals.path}/bin/kiro-cli",
    )
