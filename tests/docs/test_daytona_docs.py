"""docs/daytona.md is run: its commands, its fixture, its workflow; and its figures are counted again."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
import zygote
from daytona import AsyncDaytona
from emulator import Emulator

from pytest_kiro.kirocli.official import HOSTS
from pytest_kiro.sandbox.daytona import fleet, provider, specs
from pytest_kiro.sandbox.protocol import SandboxSpec

ROOT = Path(__file__).parents[2]
PAPER = ROOT / "docs/daytona.md"
TEXT = PAPER.read_text() if PAPER.exists() else ""

pytestmark = pytest.mark.skipif(not TEXT, reason="a copy of the tests alone, beside the built wheel, has no papers")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    return [line[2:] for block in blocks("console") for line in block.splitlines() if line.startswith("$ uv run ")]


@pytest.fixture(scope="module")
def environ() -> Iterator[dict[str, str]]:
    """The variables that the paper asks for; the emulator stands for the service."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "KIRO_"))}
    with Emulator() as emulator:
        yield {**inherited, "DAYTONA_API_URL": emulator.url, "DAYTONA_API_KEY": emulator.key}
        assert emulator.sandboxes() == []


def run(command: str, environ: dict[str, str]) -> str:
    """Run one of the paper's commands here; evals are only collected, which takes every option seriously."""
    words = shlex.split(command)
    assert words[:2] == ["uv", "run"]
    words = words[4 if words[2] == "python" else 2 :]
    words = [word for word in words if not word.startswith("--junitxml=")]  # it would be left here
    if "pytest" in words:
        words += ["--collect-only", "-q", "-p", "no:cacheprovider"]
    done = zygote.run(words[0], words[1:], cwd=ROOT, env=environ, timeout=120, preloaded=[AsyncDaytona.__module__])
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("command", [c for c in commands() if "tests.emulator" not in c])
def test_every_command_is_one(command: str, environ: dict[str, str]) -> None:
    run(command, environ)


def test_the_emulator_prints_the_two_lines_to_copy() -> None:
    command = next(command for command in commands() if "tests.emulator" in command)
    words = [sys.executable, *shlex.split(command)[3:]]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(2)]
        process.terminate()
        process.stdout.read()
    assert re.fullmatch(r"export DAYTONA_API_URL=http://127.0.0.1:\d+/api\n", said[0])
    assert re.fullmatch(r"export DAYTONA_API_KEY=\S+\n", said[1])


def test_the_workflow_is_one_and_its_commands_exist(environ: dict[str, str]) -> None:
    workflow: dict[str, Any] = yaml.safe_load(blocks("yaml")[0])
    job = workflow["jobs"]["evals"]
    assert job["timeout-minutes"] <= 120, "beyond its time to live a sandbox is not there any more"
    steps = [step for step in job["steps"] if "run" in step]
    assert len(steps) == 2
    for step in steps:
        assert "DAYTONA_API_KEY" in step["env"]
        for agent in job["strategy"]["matrix"]["agent"]:
            run(step["run"].replace("${{ matrix.agent }}", agent), environ)
    assert {step["uses"].partition("@")[0] for step in job["steps"] if "uses" in step} >= {
        "actions/checkout",
        "actions/upload-artifact",
    }


def test_the_fixture_says_what_a_sandbox_can_be() -> None:
    namespace: dict[str, Any] = {}
    exec(blocks("python")[0].replace("@pytest.fixture", "@_plain"), {"_plain": _plain, "pytest": pytest}, namespace)
    args = namespace["kiro_sandbox_args"]()
    SandboxSpec(**args)
    keys = re.findall(r"^\| `([a-z_]+)`(?: or `([a-z_]+)`)? \|", TEXT, re.MULTILINE)
    named = {word for pair in keys for word in pair if word}
    assert set(args) <= named
    assert named == set(SandboxSpec.__dataclass_fields__)


def _plain(**_: Any) -> Any:
    return lambda function: function


def test_the_numbers_are_the_codes() -> None:
    assert f"snapshot `{provider.SNAPSHOT}`" in TEXT
    sizes = specs.RESOURCES
    assert f"{sizes['cpu']} vCPU, {sizes['memory']} GiB of memory, {sizes['disk']} GiB of disk" in TEXT
    assert f"auto-stop of {fleet.AUTO_STOP} minutes" in TEXT
    assert f"time to live of {fleet.TTL} minutes" in TEXT
    assert all(f"`{host}`" in TEXT for host in HOSTS)


def test_the_worked_example_adds_up() -> None:
    sizes = specs.RESOURCES
    an_hour = sizes["cpu"] * 0.0504 + sizes["memory"] * 0.0162 + (sizes["disk"] - 5) * 0.000108
    assert f"= {an_hour:.3f} USD an hour" in TEXT
    assert f"**{4 * 31 / 60 * an_hour:.2f} USD**" in TEXT


def test_the_table_of_tiers_adds_up() -> None:
    sizes = specs.RESOURCES
    rows = re.findall(r"^\| (\d) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", TEXT, re.MULTILINE)
    assert len(rows) == 4
    for _, cpu, memory, disk, held in rows:
        fits = min(int(cpu) // sizes["cpu"], int(memory) // sizes["memory"], int(disk) // sizes["disk"])
        assert fits == int(held)
