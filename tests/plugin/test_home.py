"""A HOME for each owner: what one test's agent leaves in it reaches no other test, and goes with its owner."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from eval_runs import Evals, shell, turn
from home_runs import evals_of_two_tests

from pytest_kiro.agent import homes
from pytest_kiro.sandbox.script import program


def test_the_next_test_sees_nothing_of_it(evals: Evals) -> None:
    evals_of_two_tests(evals)
    evals.run().assert_outcomes(passed=2)


def test_a_shared_one_is_as_it_was_left(evals: Evals) -> None:
    evals.passes(
        """
        def test_a(kiro):
            turn = kiro.run("Leave it.")
            assert "in HOME, which other tests have as well, it changed: left" in turn.warnings
            assert str(kiro.workspace.home) == kiro.sandbox.home

        def test_b(kiro):
            assert (kiro.workspace.home / "left").exists()
            assert kiro.workspace.exec('test -e ~/left && test "$HOME" = "$0"'.replace("$0", kiro.sandbox.home)).ok
        """,
        {"test_a": [turn([shell("touch ~/left")], ["Done."])]},
        "--kiro-home=shared",
    )


def test_it_is_as_the_sandboxs_was_when_that_was_ready(evals: Evals) -> None:
    """What a hook has put there, and kiro-cli's own; not what package managers keep, nor what is large."""
    evals.write(
        "conftest.py",
        r'''
        def pytest_kiro_sandbox_ready(sandbox, settings):
            sandbox.exec("""
                mkdir -p .kiro/agents .kiro/sessions/cli .config/tool .cache/x .local/lib/x .npm .ssh deep
                mkdir -p .local/share/kiro-cli/bun .local/share/kiro-cli/logs
                echo '{}' >.kiro/agents/mine.json; chmod 600 .kiro/agents/mine.json; echo 1 >.kiro/sessions/cli/old
                echo 1 >.config/tool/conf; echo 1 >.cache/x/x; echo 1 >.local/lib/x/x; echo 1 >.npm/x
                ln -s tool .config/link
                echo x >.local/share/kiro-cli/bun/big; echo x >.local/share/kiro-cli/logs/log
                echo 'user' >.gitconfig; echo 'a b' >'odd name'; chmod 700 .ssh; mkfifo deep/fifo
                head -c 9000000 /dev/zero >large.img
            """).check()
        ''',
    )
    evals.passes(
        """
        def test_it(kiro):
            listed = kiro.workspace.exec("cd; find . -path ./work -prune -o ! -type d -print | sort").check().output
            assert listed.splitlines() == [
                "./.config/link", "./.config/tool/conf", "./.gitconfig", "./.kiro/agents/mine.json",
                "./.kiro/settings/cli.json",
                "./.local/share/kiro-cli/bun", "./deep/fifo", "./odd name",
            ]
            modes = kiro.workspace.exec("cd; find .kiro/agents/mine.json -perm 600; find .ssh -perm 700").output
            assert modes == ".kiro/agents/mine.json\\n.ssh\\n"
            assert kiro.workspace.exec("cat ~/.local/share/kiro-cli/bun/big ~/.config/link/conf").output == "x\\n1\\n"
        """,
        {},
    )


def test_one_for_an_owner_and_all_its_conversations(evals: Evals) -> None:
    evals.passes(
        """
        import os
        import pytest

        @pytest.fixture(scope="module")
        def wide(kiro):
            kiro.run("Leave it.")
            return kiro.workspace

        @pytest.fixture
        def mine(kiro):
            kiro.run("Leave it.")

        seen = []

        def test_a(kiro, wide, mine):
            first, second = kiro.conversation().stream("Go."), kiro.conversation().stream("Go.")  # both make it
            assert first.finish().tool_calls[0].output == second.finish().tool_calls[0].output == "left\\n"
            assert kiro.workspace.home == first.turn.workspace.home != wide.home
            (wide.home / "left").write_text("of the module")
            seen.append(str(kiro.workspace.home))

        def test_b(kiro, wide):
            assert not os.path.exists(seen[0]) and (wide.home / "left").read_text() == "of the module"
            assert kiro.workspace.contents() == {} and not (kiro.workspace.home / "left").exists()
        """,
        {
            "test_a": [
                turn([shell("touch ~/left")], ["Done."]),
                turn([shell("cd; ls left")], ["Done."], conversation=2),
                turn([shell("cd; ls left")], ["Done."], conversation=3),
            ],
            "fixture:wide": [turn([shell("touch ~/left")], ["Done."])],
        },
    )


@pytest.mark.parametrize("use", ["kiro.run('Hello.')", "kiro.workspace.exec('true')", "kiro.terminal('chat').read()"])
def test_a_template_that_was_altered_is_not_used(evals: Evals, use: str) -> None:
    ready = 'def pytest_kiro_sandbox_ready(sandbox, settings): sandbox.write_file(".config/tool", b"x")'
    evals.write("conftest.py", ready)
    evals.write(
        "test_it.py",
        f"""
        def test_it(kiro):
            kiro.sandbox.exec("for file in users/*.tar; do echo x >>$file; done").check()
            {use}
        """,
        {"test_it": ["OK"]},
    )
    result = evals.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E *LaunchError: *", "*is not what it was when the sandbox was ready: something in it, an *"]
    )


def test_one_whose_making_was_interrupted_is_made_anew(evals: Evals) -> None:
    """A Ctrl-C may come while the first launch of a test makes it."""
    evals.passes(
        """
        def test_it(kiro):
            own = kiro.workspace.owner_home.own
            kiro.sandbox.exec(f"mkdir -p {own}/work; (exit 0) & wait; echo $! >{own}/work/.home").check()
            assert kiro.run("Hello.").text == "OK"
        """,
        {"test_it": ["OK"]},
    )


#: What decides in a folder what these programs say of another one far below it.
DECIDES = {
    "git": (".git/HEAD", "ref: refs/heads/main\n", "git rev-parse --git-dir"),
    "node": ("node_modules/left/index.js", "console.log(1)", "node -e 'require(\"left\")'"),
    "pytest": ("pytest.ini", "[pytest]\naddopts = --collect-only", "{python} -m pytest -p no:cacheprovider test_a.py"),
    "mypy": ("mypy.ini", "[mypy]\nignore_errors = true", "{python} -m mypy --cache-dir=/dev/null test_a.py"),
    "ruff": ("ruff.toml", "lint.select = []", "ruff check --no-cache test_a.py"),
    "cargo": ("Cargo.toml", "[workspace]", "cargo metadata --offline --no-deps"),
    "uv": ("uv.toml", "x = 1", "uv python find --offline"),
    "rg": (".ignore", "*", "rg --files"),
}


@pytest.mark.parametrize("name", DECIDES)
def test_what_programs_take_up_from_far_above_is_looked_for(tmp_path: Path, name: str) -> None:
    path, content, command = DECIDES[name]
    if not (find_spec(name) if "{python}" in command else shutil.which(name)):
        pytest.skip(f"there is no {name}")
    below = tmp_path / "users/own/work/w"
    (below / "src").mkdir(parents=True)
    (below / "src/main.rs").write_text("fn main() {}")
    (below / "Cargo.toml").write_text('[package]\nname = "a"\nversion = "0.1.0"\n')
    (below / "test_a.py").write_text('def test_a() -> None:\n    x: int = "a"\n    assert 0\n')

    def says() -> tuple[int, str]:
        """Without what takes some time."""
        done = subprocess.run(
            command.format(python=sys.executable), shell=True, cwd=below, capture_output=True, text=True
        )
        return done.returncode, re.sub(r"[\d.]+s", "", done.stdout)

    def above() -> str:
        look = program(Path(homes.__file__).with_name("above.sh")) + f"above {tmp_path}; echo $above"
        return subprocess.run(["sh", "-c", look], capture_output=True, text=True, check=True).stdout.strip()

    assert above() == ""
    plain = says()
    file = tmp_path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    if name == "git":
        subprocess.run(["git", "init", "-q", tmp_path], check=True)
    assert says() != plain, "it is looked at nowhere"
    assert above() == f"/{path.partition('/')[0]}"


def test_what_one_test_leaves_above_its_home_is_not_found_from_the_next(evals: Evals) -> None:
    """pytest looks for settings in the folders above, node for modules, git for a repository."""
    between = "cd ../../..; touch pytest.ini; mkdir .git 'a b'; ln -s . node_modules"
    evals.write(
        "conftest.py", 'def pytest_kiro_sandbox_ready(sandbox, settings): sandbox.write_file("package.json", b"{}")'
    )
    evals.passes(
        """
        import pytest
        from pytest_kiro import LaunchError

        def test_a_between(kiro):
            kiro.run("Leave it.")

        def test_b(kiro):
            kiro.run("Look.")
            found = kiro.workspace.exec("ls -A ../../..").output.split()
            assert [name for name in found if not set(name) <= set("0123456789abcdef.tar")] == []

        def test_c_above(kiro):
            kiro.run("Leave it.")

        def test_d(kiro):
            with pytest.raises(LaunchError) as caught:
                kiro.run("Look.")
            assert "other settings than when the sandbox was ready" in str(caught.value)

        def test_e(kiro):
            with pytest.raises(LaunchError) as caught:
                kiro.workspace.exec("true")
            assert "/package.json/pytest.ini, not /package.json" in str(caught.value)
        """,
        {
            "test_a_between": [turn([shell(between)], ["OK"])],
            "test_b": [turn(["OK"])],
            "test_c_above": [turn([shell("touch ../../../../pytest.ini")], ["OK"])],
            "test_d": [turn(["OK"])],
        },
    )
