"""Checks that are executed apart from the workspace: what an agent left cannot stand in for them."""

from __future__ import annotations

from pathlib import Path

import pytest
from eval_runs import Evals, shell, turn, write

FAILING = """
import os, subprocess, sys, unittest

class Test(unittest.TestCase):
    def test_it(self):
        app = f"{os.environ['WORKSPACE']}/app.py"
        said = subprocess.run([sys.executable, "-I", app], capture_output=True, text=True).stdout
        self.assertEqual(said, "right\\n")
"""
PASSES = "print('Ran 3 tests OK', flush=True); import os; os._exit(0)"


def test_what_kiro_planted_decides_no_check(evals: Evals) -> None:
    """Any of these would make `workspace.exec` of a check pass that is seeded there, or one that reads HOME."""
    plants = [
        f'echo "{PASSES}" >unittest.py',
        f'mkdir unittest && echo "{PASSES}" | tee unittest/__init__.py unittest/__main__.py',
        f'echo "{PASSES}" >sitecustomize.py',
        f'd=$(python3 -c "import site; print(site.getusersitepackages())"); mkdir -p $d; '
        f'echo "{PASSES}" | tee $d/usercustomize.py $d/plant.pth',
        "mkdir -p ~/.local/bin; printf '#!/bin/sh\\necho OK\\n' >~/.local/bin/python3; chmod +x ~/.local/bin/python3",
    ]
    evals.write("checks/check_app.py", FAILING)
    evals.write("plants.py", f"PLANTS = {plants!r}")
    result = evals.passes(
        """
        from plants import PLANTS

        def test_it(kiro):
            kiro.run("Write app.py.")
            for plant in PLANTS:
                kiro.workspace.exec(plant).check()
            unittest = "-m unittest discover -q -p check_*.py"
            result = kiro.workspace.check("checks", f"python3 {unittest}")  # and without -I
            assert not result.ok and "AssertionError: 'wrong" in result.output, result
            assert not kiro.workspace.check("checks", f"python3 -I {unittest}").ok
            kiro.workspace.seed({"app.py": "print('right')"})
            assert kiro.workspace.check("checks", f"python3 -I {unittest}").ok
            assert "check_app.py" not in kiro.workspace.contents()
        """,
        {"test_it": [turn([shell("echo \"print('wrong')\" >app.py")], ["OK"])]},
    )
    result.assert_outcomes(passed=1)


def test_where_a_check_is_executed(evals: Evals) -> None:
    evals.write(
        "conftest.py",
        """
        def pytest_kiro_sandbox_ready(sandbox, settings):
            sandbox.write_file("pytest.ini", b"[pytest]\\naddopts = --collect-only\\n")
        """,
    )
    evals.passes(
        """
        import sys, pytest
        from pytest_kiro import SandboxError, SandboxTimeout, SettingsError

        def test_it(kiro):
            show = 'pwd -P; echo "$WORKSPACE|$HOME|$MINE"; ls -A . "$HOME" "$WORKSPACE"; exit 3'
            result = kiro.workspace.check({"a b/c ": "text"}, show, env={"MINE": "mine"})
            folder, variables, *rest = result.output.splitlines()
            path, home, mine = variables.split("|")
            assert (result.exit_code, result.command, mine, path) == (3, show, "mine", kiro.workspace.path)
            assert not folder.startswith(path) and not home.startswith((path, folder))
            assert rest == [".:", "a b", "", f"{home}:", "", f"{path}:"]
            for gone in (folder, home):
                kiro.workspace.exec(f"test ! -e {gone}").check()
            with pytest.raises(SandboxTimeout):
                kiro.workspace.check({"a": ""}, "sleep 600", timeout=0.3)
            with pytest.raises(SettingsError, match="there is no folder"):
                kiro.workspace.check("missing", "true")

        ALTERED = {
            "echo >>test_a.py": "test_a.py",
            "rm deep/b": "deep/b",
            "rm deep/b; mkfifo deep/b": "deep/b",
            "rm test_a.py; ln -s /dev/null test_a.py": "test_a.py",
            "echo >conftest.py": "conftest.py",
            "echo >json.py": "json.py",
            "mv ../check ../old; mkdir ../check": "deep, deep/b, test_a.py",
        }

        @pytest.mark.parametrize("way", ALTERED)
        def test_altered(kiro, way):
            with pytest.raises(SandboxError, match=f"it was altered while it ran: {ALTERED[way]}; see what Kiro left"):
                kiro.workspace.check({"test_a.py": "a", "deep/b": "b"}, way)

        def test_its_own_output_is_no_alteration(kiro):
            assert kiro.workspace.check({"test_a.py": "a"}, "echo >report.xml; mkdir out; echo >out/log").ok

        def test_settings_above_it(kiro):
            command = f"{sys.executable} -m pytest -q -p no:cacheprovider"
            result = kiro.workspace.check({"test_a.py": "def test_a(): assert 0"}, command)
            assert (result.exit_code, "1 failed" in result.output) == (1, True)

        @pytest.mark.parametrize("place", ["node_modules", ".local/package.json", ".local/state/conftest.py"])
        def test_what_came_above_it(kiro, place):
            assert kiro.workspace.check({"a": ""}, "true").ok
            kiro.sandbox.exec(f"mkdir {place}").check()
            with pytest.raises(SandboxError, match=f"(?s)above the check.*{place.rpartition('/')[2]}"):
                kiro.workspace.check({"a": ""}, "true")
            kiro.sandbox.remove(place)

        def test_swap(kiro):
            kiro.run("Prepare.")
            kiro.workspace.exec("cd ..; rm -r $OLDPWD").check()
            with pytest.raises(SandboxError, match="is no folder of ours any more"):
                kiro.workspace.check({"a": "b"}, "true")
        """,
        {"test_swap": [turn([shell("echo >made")], ["OK"])]},
    )


#: What a check starts, and what then replaces the rest of the check until that runs.
REPLACES = """
import os, time
check = os.readlink(f"/proc/{os.getppid()}/cwd")
with open(f"{check}/second.py", "r+") as file:
    was = file.read()
    file.seek(0)
    file.truncate()
    file.write("import os, time\\nopen('begun', 'w')\\nwhile not os.path.exists('back'): time.sleep(0.01)\\n")
if os.fork() == 0:
    for descriptor in range(3):
        os.close(descriptor)
    while not os.path.exists(f"{check}/begun"):
        time.sleep(0.01)
    with open(f"{check}/second.py", "w") as file:
        file.write(was)
    open(f"{check}/back", "w")
"""
FIRST = "import os, subprocess as s, sys; s.run([sys.executable, os.environ['WORKSPACE'] + '/app.py'], check=True)"


def test_a_check_that_was_replaced_for_a_while_does_not_pass(evals: Evals) -> None:
    """Linux alone has the folder in which another process stands."""
    if not Path("/proc/self/cwd").exists():
        pytest.skip("there is no /proc")
    evals.passes(
        f"""
        import pytest
        from pytest_kiro import SandboxError

        def test_it(kiro):
            kiro.run("Write app.py.")
            with pytest.raises(SandboxError, match="it was altered while it ran, and put back: second.py; see"):
                check = {{"first.py": {FIRST!r}, "second.py": "raise SystemExit('wrong')"}}
                kiro.workspace.check(check, "python3 -I first.py && python3 -I second.py")
            assert kiro.workspace.check({{"run": "exit 0"}}, "chmod +x run && ./run").ok
        """,
        {"test_it": [turn([write("app.py", REPLACES)], ["OK"])]},
    )
