"""Contract L on real shells: login and not, root and not, with an empty HOME and with noisy start-up files."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import NOBODY, open_folder, run_python
from stories import SHELLS, STORIES, Shell, open_shell


def needs(name: str) -> None:
    program = SHELLS[name][0]
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")


@pytest.fixture(params=[False, True], ids=["plain", "durable"])
def durable(request: pytest.FixtureRequest) -> bool:
    """Whether the output is kept in a log, with one more terminal between shell and program."""
    return bool(request.param)


@pytest.fixture(params=list(SHELLS))
def shell(request: pytest.FixtureRequest, durable: bool, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    needs(request.param)
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setattr("tempfile.tempdir", folder)
        made = open_shell(request.param, durable=durable)
        yield made
        made.sandbox.close()


@pytest.mark.parametrize("story", STORIES)
def test_shell(shell: Shell, story: str) -> None:
    STORIES[story](shell)


ALL_STORIES = """
import sys, tempfile, traceback
sys.path[:0] = sys.argv[4:]
from helpers import drop_root
from stories import STORIES, open_shell
import importlib.util
drop_root()
tempfile.tempdir = sys.argv[2]
for name, story in STORIES.items():
    shell = open_shell(sys.argv[1], durable=sys.argv[3] == "durable")
    try:
        story(shell)
    except BaseException:
        traceback.print_exc()
        sys.exit(f"{sys.argv[1]}: {name}")
    finally:
        shell.sandbox.close()
    print(name)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="not root: the stories above were told without it already")
@pytest.mark.parametrize("name", SHELLS)
def test_every_story_without_root(name: str, durable: bool) -> None:
    needs(name)
    here = Path(__file__).parent
    with open_folder() as folder:
        kind = "durable" if durable else "plain"
        said = run_python(ALL_STORIES, name, folder, kind, str(here), str(here.parent), cwd=Path("/"))
        assert said.split() == list(STORIES)
        assert [path.name for path in Path(folder).rglob("*")] == [f"sandboxes-{NOBODY}"]
