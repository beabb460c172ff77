"""What agents leave is not executed by a later run of pytest, which happens outside of any sandbox."""

from __future__ import annotations

from pathlib import Path

from artifact_runs import NO_CACHE
from eval_runs import Evals, turn, write

PLANTED = "from pathlib import Path\nPath({!r}).touch()\ndef test_a(): pass\n"
SOURCE = """
    def test_with_tests(kiro):
        kiro.run("Write slug.py with tests.")
        assert not kiro.workspace.changes()
"""


def test_what_agents_left_is_collected_by_no_later_run(evals: Evals) -> None:
    marker = evals.tmp / "executed"
    names = ("conftest.py", "slug_test.py", "test_slug.py", "deep/conftest.py", "deep/test_deep.py")
    calls = [write(name, PLANTED.format(str(marker))) for name in names]
    evals.write("evals/test_it.py", SOURCE, {"test_with_tests": [turn(calls, ["Done."])]})
    evals.run(*NO_CACHE, "--kiro-record=all", "--kiro-artifacts-dir=evals/kept", "evals").assert_outcomes(failed=1)
    left = [path.relative_to(evals.path).parts[1] for path in evals.path.rglob("*_test.py") if "files" in path.parts]
    assert sorted(left) == ["kept", "recordings"]

    for args in ((), ("evals",)):
        later = evals.run(*NO_CACHE, "--collect-only", "-q", *args)
        assert [line for line in later.outlines if "::" in line] == ["evals/test_it.py::test_with_tests"]
    assert not marker.exists()


def test_folders_of_the_same_names_are_the_users(evals: Evals) -> None:
    for folder in ("files", "latest", "20261129-081502-3f9a1c"):
        evals.write(f"{folder}/test_{folder[:2]}.py", "def test_it(): pass")
    Path(evals.path, "files", "run.json").touch()
    evals.run(*NO_CACHE).assert_outcomes(passed=3)
