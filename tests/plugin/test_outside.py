"""What a turn did besides its task: around its workspace, in the background, and by the way."""

from __future__ import annotations

import json

from eval_runs import Evals, shell, turn

DOES = "\n".join(
    [
        "echo '[user]' >~/.gitconfig; mkdir -p ~/.kiro/steering; echo Always. >~/.kiro/steering/left.md",
        "mkdir -p ../.git/hooks ../deadbeef; echo >../.git/hooks/pre-commit; echo >../deadbeef/x",
        "mkfifo pipe; ln -s / link; mkdir empty; mkdir -p .git/hooks .pytest_cache __pycache__",
        "echo >.git/hooks/post-checkout; echo >.git/config; echo >.pytest_cache/x",
        "echo >__pycache__/app.cpython-311.pyc; truncate -s 40G disk.img",
        "setsid sleep 600 >/dev/null 2>&1 </dev/null &",
    ]
)


def test_what_a_turn_did_besides_is_known(evals: Evals) -> None:
    evals.write(
        "test_it.py",
        """
        import pytest
        from pytest_kiro import SandboxError

        def test_it(kiro):
            turn = kiro.run("Help.")
            assert {".gitconfig", "work/.git/hooks/pre-commit"} <= turn.outside.added
            assert "work/deadbeef/x" not in turn.outside.paths  # as another workspace is called
            assert not {path for path in turn.outside.paths if "sessions" in path}
            assert "sleep" in "".join(turn.survivors)
            made = {"pipe", "link", "empty/", ".git/hooks/post-checkout", "__pycache__/app.cpython-311.pyc"}
            assert made <= turn.changes.added, turn.changes
            assert {".git/config", ".pytest_cache/x"} <= turn.changes.ignored.added
            assert not {".git/config", ".pytest_cache/x"} & turn.changes.added
            # Of what no memory holds, nothing is read.
            assert f"256 KiB: 0 bytes to {40 * 1024**3} bytes" in kiro.workspace.diff()
            with pytest.raises(SandboxError, match="disk.img: more than 1 GiB"):
                kiro.workspace.contents()
            nest = "mkdir $d && cd -P $d || exit"
            kiro.workspace.exec(f"rm disk.img; d={'d' * 200}; for i in $(seq 25); do {nest}; done; : >leaf").check()
            with pytest.raises(SandboxError, match="1 file lies too deep"):
                kiro.workspace.contents()
            assert len([*(kiro.workspace / "empty").parent.iterdir()]) == 7
            assert 0, "all is as it should be"
        """,
        {"test_it": [turn([shell(DOES)], ["Done."])]},
    )
    result = evals.run("-vv", "--kiro-results=r.json")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines_random(
        [
            "  answered by kiro-cli 2.29.0, engine v2, model auto, memory off",
            "  added pipe",
            "  added by the way .git/config",
            "  added outside of the workspace .kiro/steering/left.md",
            "  had left behind * sleep",
            "E * AssertionError: all is as it should be",
        ]
    )
    (kept,) = json.loads((evals.path / "r.json").read_text())["tests"][0]["turns"]
    assert ".gitconfig" in kept["outside"]["added"]
    assert kept["survivors"][0].endswith(" sleep")


def test_what_is_made_by_the_way_is_the_users_to_say(evals: Evals) -> None:
    """The closest word counts: the marker's, the option's, the usual."""
    evals.passes(
        """
        import pytest

        MADE = {"a.log", "b.tmp", ".pytest_cache/x"}

        def check(kiro, ignored):
            changes = kiro.run("Help.").changes
            assert (changes.added, changes.ignored.added) == (MADE - ignored, ignored)

        def test_option(kiro):
            check(kiro, {"a.log", "b.tmp"})

        @pytest.mark.kiro(ignore=["*.log"])
        def test_marker(kiro):
            check(kiro, {"a.log"})

        @pytest.mark.kiro(ignore=[])
        def test_nothing(kiro):
            check(kiro, set())
        """,
        {
            name: [turn([shell("mkdir .pytest_cache; touch a.log b.tmp .pytest_cache/x")], ["Done."])]
            for name in ("test_option", "test_marker", "test_nothing")
        },
        "--kiro-ignore=*.log '*.tmp'",
    )


def test_patterns_that_are_none(evals: Evals) -> None:
    evals.write(
        "test_it.py",
        """
        import pytest

        @pytest.mark.kiro(ignore="*.log")
        def test_it(kiro):
            kiro.workspace
        """,
    )
    evals.run().stdout.fnmatch_lines(["*mark.kiro: ignore='[*].log' is not right; wanted: a list of patterns*"])
