"""docs/recordings.md and selfcheck.md are followed literally: files are written, commands executed, in order."""

from __future__ import annotations

import re
import shlex
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from pytest_kiro.recording.mutants import KINDS

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.skipif(not DOCS.exists(), reason="a copy of the tests alone, beside the built wheel, has no papers")
@pytest.mark.parametrize(("page", "count"), [("recordings.md", 9), ("selfcheck.md", 3)])
def test_the_page_is_followed(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, page: str, count: int
) -> None:
    monkeypatch.delenv("CI", raising=False)
    pytester.makeini("[pytest]")
    commands = 0
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL):
        if language == "console":
            for command, shown in re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", block, re.MULTILINE):
                output = execute(pytester, shlex.split(command))
                for line in shown.splitlines():
                    # Blanks are as they are, and `[` is no pattern.
                    pattern = line.replace("[", "[[]").replace("…", "*")
                    assert any(fnmatchcase(said, pattern) for said in output), f"{command}: {line}\n" + "\n".join(
                        output
                    )
                commands += 1
        else:
            name, _, _ = block.partition("\n")
            file = pytester.path / name.removeprefix("# ")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block)
    assert commands == count


def execute(pytester: pytest.Pytester, words: list[str]) -> list[str]:
    """Execute one of the page's commands; return the lines that it printed."""
    if words[0] == "rm":
        (pytester.path / words[1]).unlink()
        return []
    assert words[0] == "pytest"
    quiet = (f"-pno:{name}" for name in ("randomly", "hypothesispytest", "rerunfailures"))
    lines = pytester.runpytest_inprocess(*quiet, *words[1:]).outlines
    return [re.sub(r"^=+ (.*?) =+$", r"\1", line) for line in lines]


@pytest.mark.skipif(not DOCS.exists(), reason="a copy of the tests alone, beside the built wheel, has no papers")
def test_the_table_of_what_is_altered_is_the_codes() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| (.*) \|$", (DOCS / "selfcheck.md").read_text(), re.MULTILINE)
    assert dict(rows) == KINDS
