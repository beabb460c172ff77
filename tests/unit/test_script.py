"""Shell programs and the values that they are given: any value arrives, and comments stay at home."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pytest_kiro.sandbox.script import program

SHOW = """\
# shellcheck shell=sh
# Shows its value.
#
# value  what is shown

  # An indented one.
printf '%s' "$value" # with a comment
"""


def run(text: str) -> str:
    return subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    "value", ["", "plain", "two words", "'", '$HOME `id` \\n "', "line\n# and one that looks like a comment\n", "-é🍩"]
)
def test_any_text_arrives_as_it_is(tmp_path: Path, value: str) -> None:
    (tmp_path / "show.sh").write_text(SHOW)
    assert run(program(tmp_path / "show.sh", value=value)) == value


def test_numbers_and_truths_arrive_as_a_shell_writes_them(tmp_path: Path) -> None:
    (tmp_path / "show.sh").write_text(SHOW)
    assert [run(program(tmp_path / "show.sh", value=value)) for value in (0, 12, True, False)] == ["0", "12", "1", ""]


def test_lines_of_comments_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "show.sh").write_text(SHOW)
    assert program(tmp_path / "show.sh") == "printf '%s' \"$value\" # with a comment\n"
