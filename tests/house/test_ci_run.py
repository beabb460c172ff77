"""How `.ci/run` ends: as its steps do, with nothing left; the programs that it calls are stand-ins."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

RUN = Path(__file__).parents[2] / ".ci" / "run"
#: Each program that the script calls; it makes what the script looks at, and fails where it is told to.
PROGRAM = """\
#!/bin/sh
case "$0 $*" in *"$FAILS"*) echo "refused: $*"; exit 3 ;; esac
case "$(basename "$0") $*" in
  *" venv "*) for last; do :; done; mkdir -p "$last/bin"; cp "$0" "$last/bin/python" ;;
  "uv build"*) for last; do :; done; mkdir -p "$last"; : >"$last/a.whl" ;;
  *"zipfile -l"*) echo "pytest_kiro/a.py 2026-01-01 1" ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A project with one file of each kind, and the programs in `bin`."""
    folder = tmp_path / "checkout"
    for name in (".ci/run", "pytest_kiro/a.py", "tests/a.py", "evals/a.py", "conftest.py", "a.sh"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    shutil.copy(RUN, folder / ".ci" / "run")
    for words in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("python3", "uv", "zsh", "bwrap", "chromium"):
        (programs / name).write_text(PROGRAM)
        (programs / name).chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("fails", "status"),
    [
        pytest.param("nothing of it", 0, id="nothing"),
        pytest.param("run --group lint mypy", 3, id="a_check"),
        pytest.param("uv build", 1, id="in_the_background"),
        pytest.param("-m pytest", 3, id="the_last_step"),
    ],
)
def test_it_ends_as_its_steps_do(checkout: Path, tmp_path: Path, fails: str, status: int) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = os.environ | {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "TMPDIR": str(scratch),
        "FAILS": fails,
    }
    done = subprocess.run(
        ["bash", ".ci/run"], cwd=checkout, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert ("all checks passed" in done.stdout) == (status == 0)
    assert ("refused: " in done.stdout + done.stderr) == (status != 0)
    assert not list(scratch.iterdir())
