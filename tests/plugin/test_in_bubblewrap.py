"""`--kiro-sandbox=bubblewrap`: whole runs, with the developer's kiro-cli and every way to log in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from contract.namespaces import why_none
from device_runs import STORIES, Device
from eval_runs import RECALL, Evals, shell, turn
from login_data import login

from pytest_kiro.kirocli.install import _archive
from pytest_kiro.login.saved import SavedLogin

BUBBLEWRAP = "--kiro-sandbox=bubblewrap"
#: It counts as the real one, answers without a service, and needs the files beside it.
CLI = """#!/bin/sh
[ "$1" = --version ] && echo "kiro-cli 2.29.0" && exit
export KIRO_MOCK_CHAT_RESPONSE="$(dirname "$0")/kiro-cli-replies.json"
exec python3 -I -S "$(dirname "$0")/kiro-cli-chat" "$@"
"""


@pytest.fixture(autouse=True)
def _namespaces(evals: Evals) -> None:
    if reason := why_none():
        pytest.skip(reason)


@pytest.fixture
def own_cli(evals: Evals, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The developer's kiro-cli, in a folder of their PATH."""
    folder = evals.path / "bin"
    folder.mkdir()
    (folder / "kiro-cli").write_text(CLI)
    (folder / "kiro-cli-chat").write_bytes(_archive())
    (folder / "kiro-cli-replies.json").write_text('[["Hi."]]')
    for file in folder.iterdir():
        file.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return folder


HELLO = """
def test_it(kiro, kiro_cli, kiro_login):
    assert (kiro_cli.path, kiro_cli.version, kiro_cli.scripted) == ("/run/cli/kiro-cli", "2.29.0", False)
    turn = kiro.run("Hello.")
    assert turn.text == "Hi."
    assert kiro_login.how == "{how}"
    assert not kiro.workspace.exec("touch /run/cli/kiro-cli").ok
"""


@pytest.mark.parametrize("how", ["api-key", "saved"])
def test_the_developers_own_is_the_default(
    evals: Evals, own_cli: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "api-key":
        monkeypatch.setenv("KIRO_API_KEY", "ksk_canary")
    else:
        saved = SavedLogin()
        saved.save(login("one", scripted=False, who="BuilderId"))
    evals.write("test_it.py", HELLO.format(how={"api-key": "api key", "saved": "saved login"}[how]))
    result = evals.run(BUBBLEWRAP, f"--kiro-login={how}")
    result.assert_outcomes(passed=1)
    said = result.stdout.str()
    assert "sandbox bubblewrap, kiro-cli official" in said
    assert "not isolated" not in said
    assert "sandboxes: created 1, deleted 1, leaked 0" in said
    assert "canary" not in said


def test_scripted_evals_are_as_on_the_local_sandbox(evals: Evals) -> None:
    source = """
    def test_it(kiro):
        kiro.workspace.seed({"a.txt": "a"})
        kiro.workspace.exec("sleep 1000 & echo $! >pid").check()
        turn = kiro.run("Remember: the word is plum.")
        assert turn.changes.added == {"new.txt"}
        assert kiro.run("What is the word?").text == "plum"
        assert kiro.workspace.exec("cat new.txt; pwd").output.startswith("made\\n/var/home/user/")
        assert kiro.workspace.contents()["new.txt"] == b"made\\n"

    def test_next(kiro):
        assert kiro.workspace.contents() == {}
        assert not kiro.workspace.exec("pgrep sleep").ok
    """
    made = {"requests": [[{"name": "shell", "args": {"command": "echo made >new.txt"}}], ["Yes."]]}
    evals.passes(source, {"test_it": [made, RECALL], "test_next": ["never asked"]}, BUBBLEWRAP, "--kiro-cli=scripted")


def test_a_file_that_nobody_may_read_hides_no_other(evals: Evals) -> None:
    evals.write(
        "test_it.py",
        """
        import pytest

        def test_it(kiro):
            kiro.workspace.seed({"a.txt": "a"})
            assert kiro.run("Help.").changes.added == {"b.txt", "closed"}
            with pytest.raises(PermissionError):
                kiro.workspace.contents()
            assert 0
        """,
        {"test_it": [turn([shell("echo b | tee b.txt >closed; chmod 0 closed; echo c >a.txt")], ["Done."])]},
    )
    result = evals.run(BUBBLEWRAP, "--kiro-cli=scripted")
    result.stdout.fnmatch_lines(
        [
            "  changed: a.txt +1 −1, b.txt +1, closed changed",
            "+++ b/closed",
            "(binary, not to be read, or larger than 256 KiB: 0 bytes to 2 bytes)",
        ]
    )
    (kept,) = (evals.path / "kiro-results/latest").rglob("files")
    assert {file.name for file in kept.iterdir()} == {"a.txt", "b.txt"}
    assert '"closed: it may not be read"' in (kept.parents[1] / "test.json").read_text()


def test_one_that_is_kept_is_looked_at_and_deleted(evals: Evals) -> None:
    source = 'def test_it(kiro):\n    kiro.workspace.seed({"a.txt": "a"})\n    assert kiro.run("x").ok\n'
    result = evals.passes(
        source, {"test_it": ["Yes."]}, BUBBLEWRAP, "--kiro-cli=scripted", "--kiro-keep-sandbox=always"
    )
    (line,) = [line for line in result.outlines if "look at it: cd " in line]
    (delete,) = [line for line in result.outlines if "delete it: rm -rf " in line]
    home = Path(line.partition("cd ")[2].strip())
    assert [file.read_text() for file in home.rglob("a.txt")] == ["a"]
    assert os.system(delete.partition("delete it: ")[2]) == 0
    assert not home.exists()


def test_without_a_cli_or_with_no_network_the_way_out_is_told(evals: Evals, monkeypatch: pytest.MonkeyPatch) -> None:
    evals.write("test_it.py", "def test_it(kiro): pass")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    result = evals.run(BUBBLEWRAP)  # where nobody can log in either, which is what comes next
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "kiro: sandbox bubblewrap, kiro-cli official (not on your PATH)",
            "*InstallError: there is no kiro-cli on your PATH for the bubblewrap sandbox*",
        ]
    )
    monkeypatch.setenv("KIRO_API_KEY", "ksk_canary")
    result = evals.run(BUBBLEWRAP, "--kiro-network=off", "-p", "no:cacheprovider")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*--kiro-network: with network off, Kiro does not reach its service*"])


@pytest.fixture
def device(evals: Evals) -> Iterator[Device]:
    made = Device(evals, BUBBLEWRAP, "--kiro-cli=scripted")
    yield made
    made.close()


@pytest.mark.parametrize("story", STORIES)
def test_device(device: Device, story: str) -> None:
    STORIES[story](device)
