"""The shell programs of the package: checked as a linter does, and told what they are given."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pytest_kiro

PROGRAMS = sorted(Path(pytest_kiro.__file__).parent.rglob("*.sh"))
#: The linter of the group `lint` lies beside this Python.
LINTER = shutil.which("shellcheck", path=str(Path(sys.executable).parent)) or shutil.which("shellcheck")


def test_there_are_some() -> None:
    assert {"launch.sh", "follow.sh"} <= {path.name for path in PROGRAMS}


@pytest.mark.skipif(LINTER is None, reason="shellcheck is not installed; the group lint has it")
def test_the_linter_finds_nothing() -> None:
    done = subprocess.run([str(LINTER), *map(str, PROGRAMS)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_its_head_says_what_it_does_and_is_given(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    shell, what, *_ = text.splitlines()
    assert shell == "# shellcheck shell=sh"
    assert re.fullmatch(r"# [A-Z].{20,}", what)
    head = re.match(r"(?:#.*\n)*", text)
    assert head is not None
    for line in re.findall(r'^: ("\$\{.*)$', text, re.MULTILINE):
        for name in re.findall(r'"\$\{(\w+)\?\}"', line):
            assert re.search(rf"^# {name} +\S", head[0], re.MULTILINE), f"{path.name} does not say what {name} is"
