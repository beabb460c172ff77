"""The project's own CI, templates and papers: they are what GitHub reads, and what they name is there."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".github"
pytestmark = pytest.mark.skipif(
    not FOLDER.exists(), reason="a copy of the tests alone, beside the built wheel, has no papers"
)
PROJECT = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text("utf-8")) if FOLDER.exists() else {}
WORKFLOWS = sorted(FOLDER.glob("workflows/*.yml"))
FORMS = sorted(file for file in FOLDER.glob("ISSUE_TEMPLATE/*.yml") if file.name != "config.yml")
PAPERS = ["CONTRIBUTING.md", "SECURITY.md", "docs/releasing.md", "docs/dependencies.md"]


def read(file: Path) -> Any:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def commands(text: str) -> list[str]:
    """What a shell would run, a line each; what GitHub fills in is some word."""
    lines = re.sub(r"\$\{\{.*?\}\}", "3.13", text).splitlines()
    return [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]


def test_github_reads_them(capsys: pytest.CaptureFixture[str]) -> None:
    """By the schemas that check-jsonschema ships."""
    from check_jsonschema import main

    for schema, files in (
        ("vendor.github-workflows", WORKFLOWS),
        ("custom.github-workflows-require-timeout", WORKFLOWS),
        ("vendor.github-issue-forms", FORMS),
        ("vendor.github-issue-config", [FOLDER / "ISSUE_TEMPLATE" / "config.yml"]),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["--builtin-schema", schema, *map(str, files)])
        assert ended.value.code == 0, capsys.readouterr()
        assert files


def jobs() -> dict[str, Any]:
    return {name: job for file in WORKFLOWS for name, job in read(file)["jobs"].items()}


def test_jobs_may_read_only_and_pin_what_they_use() -> None:
    for file in WORKFLOWS:
        assert read(file)["permissions"] == {"contents": "read"}
    uses = [step["uses"] for job in jobs().values() for step in job["steps"] if "uses" in step]
    assert uses
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+", one) for one in uses)
    assert "secrets." not in "".join(file.read_text("utf-8") for file in WORKFLOWS)


def test_what_jobs_run_is_there() -> None:
    run = [line for job in jobs().values() for step in job["steps"] for line in commands(step.get("run", ""))]
    assert "bash .ci/run" in run
    for line in run:
        assert subprocess.run(["bash", "-n", "-c", line], check=False).returncode == 0, line
        exists(line.removeprefix("sudo "))


def test_the_matrix_is_what_the_package_says() -> None:
    pythons = jobs()["evals"]["strategy"]["matrix"]["python"]
    classifiers = PROJECT["project"]["classifiers"]
    assert pythons == [one.rpartition(" ")[2] for one in classifiers if re.search(r":: 3\.\d+$", one)]
    assert f">={pythons[0]}" == PROJECT["project"]["requires-python"]


def exists(line: str) -> None:
    """Fail unless what a command line names is in this repository, or the system's."""
    words = line.split()
    if words[0] in ("bash", "python"):
        script = next((word for word in words[1:] if not word.startswith("-")), "")
        assert script == "pytest_kiro" or ROOT.joinpath(script).exists(), line
    elif words[0] == "uv":
        groups = {words[place + 1] for place, word in enumerate(words) if word == "--group"}
        assert groups <= PROJECT["dependency-groups"].keys(), line
        for word in words:
            if re.fullmatch(r"(tests|evals|benchmarks|docs)[\w/.]*", word) and word not in groups:
                assert ROOT.joinpath(word).exists(), line
        for place, word in enumerate(words):
            if word == "-m" and words[place - 1] not in ("python",):
                markers = " ".join(PROJECT["tool"]["pytest"]["ini_options"]["markers"])
                assert f"{words[place + 1]}:" in markers, line
    else:
        assert words[0] in ("apt-get", "sysctl", "git", "pip", "pytest"), line


@pytest.mark.parametrize("name", PAPERS)
def test_what_a_paper_names_is_there(name: str) -> None:
    file = ROOT / name
    text = file.read_text(encoding="utf-8")
    links = re.findall(r"\[[^\]]+\]\((?!https?:|#)([^)#]+)(?:#([\w-]+))?\)", text.replace("\n", " "))
    for target, heading in links:
        there = file.parent / target
        assert there.exists(), target
        titles = re.findall(r"^#+ (.+)$", there.read_text("utf-8"), re.MULTILINE) if heading else ()
        assert not heading or heading in {re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in titles}
    for quoted in re.findall(r"`([^`\n]+)`", text):
        if quoted.startswith(("uv run ", "bash ", "python benchmarks")):
            exists(quoted)
        elif re.fullmatch(r"(tests|benchmarks|docs|\.ci|kirocli|pytest_kiro)/[\w/.-]*", quoted):
            assert ROOT.joinpath(quoted).exists() or ROOT.joinpath("pytest_kiro", quoted).exists(), quoted
