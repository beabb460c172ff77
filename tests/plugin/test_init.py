"""`python -m pytest_kiro init`: what a stranger's project has afterwards, and that nothing of theirs is lost."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
import zygote
from eval_runs import Evals
from helpers import open_folder, run_python

from pytest_kiro.commandline import first, init

WRITTEN = {
    "evals/test_first.py": first.EVAL,
    "evals/scenarios/test_first.toml": first.SCENARIO,
    "evals/conftest.py": first.CONFTEST,
}
TABLE = 'kiro_timeout = "10m"'


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts and ".pytest_cache" not in path.parts
    }


def project(folder: Path, **texts: str) -> Path:
    """Make a folder with these files; `__` in a name is a slash, the last `_` a dot."""
    for name, text in texts.items():
        path = folder / name.replace("__", "/")
        path = path.with_name(".".join(path.name.rsplit("_", 1)))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return folder


def begin(evals: Evals, folder: Path | None = None) -> str:
    """Run `init` in a folder, which must go well; return what it said."""
    evals.path.mkdir(exist_ok=True)
    before = files(folder or evals.path)
    done = run(folder or evals.path)
    assert done.returncode == 0, done.stderr
    after = files(folder or evals.path)
    for name, data in before.items():
        assert after[name].startswith(data), f"{name} was written over"
    return done.stdout


def run(folder: Path, *, env: Mapping[str, str] = os.environ) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, as people do."""
    return zygote.run("pytest_kiro", ["init"], cwd=folder, env=env, timeout=60)


def settings_file(result: pytest.RunResult) -> str:
    (line,) = [line for line in result.outlines if line.startswith("configfile: ")]
    return line.removeprefix("configfile: ")


def test_in_an_empty_folder_a_green_eval_that_can_be_made_red(evals: Evals) -> None:
    said = begin(evals)

    written = files(evals.path)
    assert {name: text.encode() for name, text in WRITTEN.items()}.items() <= written.items()
    assert set(written) == {*WRITTEN, "pytest.ini", ".github/workflows/evals.yml"}
    assert all(name in said for name in written)
    assert said.splitlines()[-1].startswith("Next: ")
    assert said.splitlines()[-1].endswith("pytest evals")

    green = evals.run("evals")
    green.assert_outcomes(passed=1)
    assert settings_file(green) == "pytest.ini"

    scenario = evals.path / "evals/scenarios/test_first.toml"
    scenario.write_text(first.SCENARIO.replace("Hello", "Goodbye"))
    red = evals.run("evals")
    red.assert_outcomes(failed=1)
    red.stdout.fnmatch_lines(["E *AssertionError: assert 'Goodbye, Grace!\\n' == 'Hello, Grace!\\n'"])

    assert "stays as it is" in begin(evals)
    assert scenario.read_text() == first.SCENARIO.replace("Hello", "Goodbye")


def test_an_agent_that_does_nothing_does_not_pass_it(evals: Evals) -> None:
    """A first eval is an example to others: all that it looks at can fail."""
    begin(evals)
    result = evals.run("evals", "--kiro-selfcheck")
    result.stdout.fnmatch_lines(["* of * altered recordings noticed*"])
    result.stdout.no_fnmatch_line("*it passes with an agent that does nothing*")


@pytest.mark.parametrize(
    ("texts", "file", "head"),
    [
        ({"pyproject_toml": '[project]\nname = "shop"\n'}, "pyproject.toml", "[tool.pytest.ini_options]"),
        ({"pyproject_toml": '[project]\r\nname = "shop"'}, "pyproject.toml", "[tool.pytest.ini_options]\r\n"),
        ({"pyproject_toml": "", "tox_ini": "[tox]\n"}, "pyproject.toml", "[tool.pytest.ini_options]"),
        ({"tox_ini": "[tox]\nenvlist = py\n", "setup_cfg": "[metadata]\n"}, "tox.ini", "[pytest]"),
        ({"setup_cfg": "[metadata]\nname = shop\n", "setup_py": ""}, "setup.cfg", "[tool:pytest]"),
        ({"setup_py": ""}, "pytest.ini", "[pytest]"),
    ],
    ids=["pyproject", "crlf", "empty", "tox", "setup.cfg", "setup.py"],
)
def test_pytest_reads_the_table_where_it_is_written(evals: Evals, texts: dict[str, str], file: str, head: str) -> None:
    project(evals.path, **texts)
    begin(evals)

    text = (evals.path / file).read_bytes().decode()
    assert head in text
    if file == "pyproject.toml":
        assert tomllib.loads(text)["tool"]["pytest"]["ini_options"] == {"kiro_timeout": "10m"}
    result = evals.run("--collect-only", "evals")
    result.stdout.fnmatch_lines(["*<Function test_greets>"])
    assert settings_file(result) == file


@pytest.mark.parametrize(
    ("texts", "file"),
    [
        ({"pyproject_toml": "[tool.pytest.ini_options]\nkiro_timeout = '5m'\n"}, "pyproject.toml"),
        ({"pyproject_toml": "[tool.pytest]\nminversion = '9'\n"}, "pyproject.toml"),
        ({"pyproject_toml": "[project]\n", "pytest_ini": ""}, "pytest.ini"),
        ({"pyproject_toml": "[project]\n", "pytest_toml": ""}, "pytest.toml"),
        ({"pyproject_toml": "[project]\n", "tox_ini": "[pytest]\naddopts = -q\n"}, "tox.ini"),
        ({"pyproject_toml": "[project]\n", "setup_cfg": "[tool:pytest]\n"}, "setup.cfg"),
    ],
    ids=["ini_options", "native", "pytest.ini", "pytest.toml", "tox.ini", "setup.cfg"],
)
def test_a_table_that_is_there_stays_the_one_that_pytest_reads(
    tmp_path: Path, texts: dict[str, str], file: str
) -> None:
    before = files(project(tmp_path, **texts))
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    after = files(tmp_path)
    assert {name: after[name] for name in before} == before
    assert f"{file} " in done.stdout
    assert "has pytest's settings, and stays as it is" in done.stdout
    assert not any(TABLE.encode() in data for data in after.values())


def test_a_folder_that_has_evals_keeps_them_and_gets_what_is_missing(tmp_path: Path) -> None:
    project(tmp_path, evals__test_mine_py="def test_mine(kiro): ...\n")
    workflows = project(tmp_path / ".github" / "workflows", evals_yml="mine\n")
    done = run(tmp_path)
    assert "has evals (test_mine.py): no first one is added" in done.stdout
    assert set(files(tmp_path)) == {
        ".github/workflows/evals.yml",
        "evals/conftest.py",
        "evals/test_mine.py",
        "pytest.ini",
    }
    assert (workflows / "evals.yml").read_text() == "mine\n"


def test_of_a_first_eval_what_was_lost_comes_back(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "evals/scenarios/test_first.toml").unlink()
    assert run(tmp_path).returncode == 0
    assert (tmp_path / "evals/scenarios/test_first.toml").read_text() == first.SCENARIO


def test_in_a_package_of_a_monorepo_the_workflow_stands_at_the_top(tmp_path: Path) -> None:
    """And a table above is the one that pytest reads there; another one would take it away from the other tests."""
    (tmp_path / ".git").mkdir()
    project(tmp_path, uv_lock='[[package]]\nname = "pytest-kiro"\n', pyproject_toml="[tool.pytest.ini_options]\n")
    package = project(tmp_path / "packages" / "shop", pyproject_toml='[project]\nname = "shop"\n')
    done = run(package)

    assert done.returncode == 0, done.stderr
    assert (package / "pyproject.toml").read_text() == '[project]\nname = "shop"\n'
    assert f"{os.path.join('..', '..', 'pyproject.toml')} " in done.stdout
    workflow: dict[str, Any] = yaml.safe_load((tmp_path / ".github/workflows/evals-packages-shop.yml").read_text())
    job = workflow["jobs"]["evals"]
    assert job["defaults"]["run"]["working-directory"] == "packages/shop"
    assert [step["run"] for step in job["steps"] if "run" in step] == ["uv run pytest evals --junitxml=evals.xml"]
    assert job["steps"][-1]["with"]["path"] == "packages/shop/evals.xml\npackages/shop/kiro-results/\n"
    assert not (package / ".github").exists()


def test_settings_above_the_repository_are_not_the_projects(tmp_path: Path) -> None:
    project(tmp_path, pytest_ini="")
    shop = project(tmp_path / "shop", pyproject_toml="")
    (shop / ".git").touch()  # as in a worktree
    assert run(shop).returncode == 0
    assert TABLE in (shop / "pyproject.toml").read_text()
    workflow: dict[str, Any] = yaml.safe_load((shop / ".github/workflows/evals.yml").read_text())
    steps = workflow["jobs"]["evals"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == [
        "python -m pip install pytest-kiro",
        "python -m pytest evals --junitxml=evals.xml",
    ]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ({"evals_": "a file"}, "evals is there, and is no folder"),
        ({"pyproject_toml": "[project\n"}, "pyproject.toml cannot be read: "),
        ({"pyproject_toml": "\ufeff[project]\n"}, "pyproject.toml cannot be read: "),
        ({"pyproject_toml": "tool = { x = 1 }\n"}, "pyproject.toml takes no table at its end: "),
        ({"pyproject_toml": "[tool]\npytest = 3\n"}, "tool.pytest is 3"),
        ({"tox_ini": "no section\n"}, "tox.ini cannot be read: "),
        ({"_github_": "a file"}, "is no folder"),
    ],
    ids=["evals", "broken", "bom", "inline", "number", "ini", "github"],
)
def test_what_cannot_be_done_is_said_before_anything_is_written(
    tmp_path: Path, texts: dict[str, str], said: str
) -> None:
    for name, text in texts.items():
        path = tmp_path / (name.replace("_", ".", 1) if name != "evals_" else "evals").rstrip("_")
        path.write_bytes(text.encode())
    before = files(tmp_path)
    done = run(tmp_path)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert files(tmp_path) == before


def test_a_read_only_folder_stays_as_it_is() -> None:
    source = """
import os, sys
from helpers import drop_root
from pytest_kiro.__main__ import main
import pytest_kiro.commandline.init
if os.getuid() == 0:
    drop_root()
sys.stderr = sys.stdout
print(main(["init"]))
"""
    with open_folder() as folder:
        home = Path(folder) / "shop"
        home.mkdir()
        home.chmod(0o555)
        said = run_python(source, cwd=home, env={"PYTHONPATH": str(Path(__file__).parents[1])})
        home.chmod(0o755)
        assert "test_first.py cannot be written: " in said
        assert " is read-only for you; nothing was written\n1\n" in said  # coverage may say more
        assert list(home.iterdir()) == []


def test_the_next_command_is_one_that_starts_this_pytest(tmp_path: Path) -> None:
    """By uv where it runs us, by its name where that is ours, else by our Python."""
    here = Path(sys.executable).parent
    other = tmp_path / "bin" / "pytest"
    other.parent.mkdir()
    other.touch(mode=0o755)
    for path, uv, wanted in (
        ("/usr/bin", "/bin/uv", "uv run pytest"),
        (f"{here}{os.pathsep}/usr/bin", None, "pytest"),
        (str(other.parent), None, f"{sys.executable} -m pytest"),
    ):
        env = {name: value for name, value in os.environ.items() if name != "UV"} | {"PATH": path}
        done = run(tmp_path, env=env | ({"UV": uv} if uv else {}))
        assert done.stdout.splitlines()[-1] == f"Next: {wanted} evals"


def test_the_console_script_and_the_versions(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("pytest-kiro")
    if not script.exists():
        pytest.skip("pytest-kiro is not installed beside this Python")
    for command in ([str(script)], [sys.executable, "-m", "pytest_kiro"]):
        done = subprocess.run([*command, "--version"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert f"pytest-kiro 0.1.0, pytest {pytest.__version__}, Python 3." in done.stdout
        assert "kiro-cli 2.5 to " in done.stdout
    usage = subprocess.run([str(script), "init", "--help"], capture_output=True, text=True, check=False)
    assert usage.stdout.startswith("usage: pytest-kiro init ")


def test_where_pytest_looks_is_as_pytest_has_it() -> None:
    """In its order; an older pytest knows fewer."""
    findpaths = pytest.importorskip("_pytest.config.findpaths")
    known = getattr(findpaths, "CONFIG_LOADERS_BY_NAME", None)
    if known is None:
        pytest.skip("this pytest does not list them")
    assert list(init._SETTINGS) == list(known)
