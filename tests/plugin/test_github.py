"""In GitHub Actions: the summary of the step, and annotations at lines that failed; elsewhere neither."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from eval_runs import Evals, turn, write

SOURCE = """
    import pytest

    def test_red(kiro):
        kiro.run("Write a.py.")
        assert kiro.workspace.exec("cat b.py").ok

    @pytest.mark.kiro_trials(2)
    @pytest.mark.parametrize("n", range(11))
    def test_many(kiro, n):
        assert not kiro, f"100%, n: {n}"

    @pytest.fixture
    def broken():
        raise RuntimeError("the key is ksk_SECRETSECRETSECRET")

    def test_set_up(broken, kiro): pass
    def test_green(kiro): assert kiro.run("?").text == "no"
"""
ANSWERS = {
    "test_red": [turn([write("a.py", "print(1)\n")], ["</details><script>::error::x</script>"])],
    "test_green": ["no"],
}
LIMIT = 1024 * 1024


@pytest.fixture
def github(evals: Evals, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a step of a job knows; the file of its summary."""
    summary = evals.tmp / "summary.md"
    checkout = evals.path.parent
    for name, value in {
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(summary),
        "GITHUB_WORKSPACE": str(checkout),
        "GITHUB_SERVER_URL": "https://github.example",
        "GITHUB_REPOSITORY": "ada/shop",
        "GITHUB_RUN_ID": "7",
        "KIRO_API_KEY": "ksk_SECRETSECRETSECRET",
    }.items():
        monkeypatch.setenv(name, value)
    evals.write("test_it.py", SOURCE, ANSWERS)
    return summary


def commands(text: str) -> list[str]:
    return [line for line in text.splitlines() if re.match(r"\s*::", line)]


def test_a_summary_and_annotations(evals: Evals, github: Path) -> None:
    github.write_text("# Of another command\n")
    result = evals.run("-k", "red or green or set_up", "-p", "no:cacheprovider")
    folder = evals.path.name
    red, set_up = commands(result.stdout.str())
    place = f"::error file={folder}/test_it.py,line"
    assert red.startswith(f"{place}=5,title=test_it.py%3A%3Atest_red::assert kiro.workspace")
    assert "%0AAssertionError: 'cat b.py' ended with exit code 1: cat: b.py: No such file or directory%0A" in red
    assert "%0Aturn 1 completed in " in red
    assert "%0A+print(1)%0A" in red
    assert red.endswith("%0A%0ARepeat it: pytest test_it.py::test_red")
    assert set_up.startswith(f"{place}=14,title=test_it.py%3A%3Atest_set_up::raise RuntimeError(")
    text = github.read_text()
    assert text.startswith("# Of another command\n# ✗ Evals of Kiro: failed\n\n3 evals: 1 failed, 1 error, 1 passed · ")
    assert re.search(r"\nArtifacts: `kiro-results/[^`\n]+test_red[^`\n]*`\n", text)
    assert "\n[What this workflow run has uploaded](https://github.example/ada/shop/actions/runs/7#artifacts)\n" in text
    assert commands(text) == []
    for told in (text, result.stdout.str()):
        assert "ksk_SECRET" not in told
        assert "the key is [KIRO_API_KEY]" in told


@pytest.mark.parametrize(
    ("option", "summarised", "annotated"),
    [("summary", True, False), ("annotations", False, True), ("off", False, False)],
)
def test_each_can_be_switched_off(evals: Evals, github: Path, option: str, summarised: bool, annotated: bool) -> None:
    result = evals.run("-k", "set_up", f"--kiro-github={option}", "-p", "no:cacheprovider")
    assert (github.exists(), bool(commands(result.stdout.str()))) == (summarised, annotated)


def test_a_plugin_that_annotates_all_failures_is_not_repeated(evals: Evals, github: Path) -> None:
    other = """
        def pytest_configure(config):
            config.pluginmanager.register(object(), "pytest_github_actions_annotate_failures")
    """
    evals.write("conftest.py", other)
    said = evals.run("-k", "set_up", "-p", "no:cacheprovider").stdout.str()
    assert (github.exists(), commands(said)) == (True, [])
    assert len(commands(evals.run("-k", "set_up", "--kiro-github=annotations").stdout.str())) == 1


def test_within_githubs_limits_and_only_of_evals(evals: Evals, github: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = evals.process("-n1", "-k", "many", "--kiro-artifacts=off")
    told = commands(result.stdout.str())
    assert len(told) == 10
    assert told[-1] == "::error title=2 more failures::test_it.py::test_many[9], test_it.py::test_many[10]"
    assert "%0AAssertionError: 100%25, n: 0%0A" in told[0]
    assert "2 of 2 failures alike" in told[0]
    for size in (LIMIT - 5_000, LIMIT - 1_500):
        github.write_text("x" * size)
        result = evals.run("-k", "red", "-p", "no:cacheprovider")
        assert size <= github.stat().st_size <= LIMIT
        assert (github.stat().st_size == size) == (f"has {size} bytes already" in result.stdout.str())
    github.unlink()
    evals.write("test_plain.py", "def test_plain(): assert 0")
    for args in ((), ("-n1",)):
        assert commands(evals.run("test_plain.py", *args).stdout.str()) == []
        assert not github.exists()
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(evals.tmp / "nowhere" / "summary.md"))
    result = evals.run("-k", "green", "-p", "no:cacheprovider")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["kiro: GITHUB_STEP_SUMMARY=* could not be written: *No such file or directory*"])


def test_a_comparison_and_an_undecided_group_say_why(evals: Evals, github: Path) -> None:
    source = """
        import pytest

        @pytest.mark.kiro_trials(6)
        @pytest.mark.kiro_compare("word", baseline="plain")
        @pytest.mark.parametrize("word", ["plain", "other"])
        def test_it(kiro, word): assert word == "plain"
    """
    evals.write("test_it.py", source)
    result = evals.run("-p", "no:cacheprovider")
    (worse,) = commands(result.stdout.str())
    assert "line=6,title=test_it.py%3A%3Atest_it[other vs plain]::-100 points " in worse
    text = github.read_text()
    assert "### ✗ `test_it.py::test_it[other vs plain]`" in text
    assert "\n### Compared\n" in text
