"""`python -m pytest_kiro sandboxes`, as people type it."""

from __future__ import annotations

import os
import re
import signal
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest
import zygote
from daytona import AsyncDaytona
from daytona_helpers import Make
from emulator import Emulator
from helpers import DEADLINE, wait_until

from pytest_kiro.sandbox.protocol import SandboxSpec

ADA, BOB = {"GITHUB_REPOSITORY": "ada/engine"}, {"GITHUB_REPOSITORY": "bob/engine"}


class Said(NamedTuple):
    code: int
    out: str
    err: str


class Command:
    """Runs the command in a directory whose `.env` is hostile."""

    def __init__(self, env: dict[str, str], folder: Path) -> None:
        self.env, self._folder = env, folder

    def start(self, *words: str, **env: str) -> zygote.Program:
        return zygote.Program(
            "pytest_kiro",
            words,
            cwd=self._folder,
            env={**self.env, **env},
            warnings=["error"],
            preloaded=[AsyncDaytona.__module__],
        )

    def end(self, program: zygote.Program) -> Said:
        done = program.ends(2 * DEADLINE)
        return self._said(done.returncode, done.stdout, done.stderr)

    def __call__(self, *words: str, **env: str) -> Said:
        return self.end(self.start(*words, **env))

    def _said(self, code: int, out: str, err: str) -> Said:
        assert "Traceback" not in out + err
        assert "Unclosed" not in out + err
        return Said(code, out, err)


@pytest.fixture
def command(emulator: Emulator, hostile: Path) -> Command:
    taken = ("DAYTONA_", "GITHUB_", "CI_", "BITBUCKET_", "BUILDKITE_", "CIRCLE_", "BUILD_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(taken)}
    root = str(Path(__file__).parents[2])
    return Command(
        {**env, "PYTHONPATH": root, "DAYTONA_API_URL": emulator.url, "DAYTONA_API_KEY": emulator.key, **ADA}, hostile
    )


# -- listing


def test_it_lists_what_there_is_with_age_and_owner(emulator: Emulator, provider: Make, command: Command) -> None:
    old = provider(environ=ADA).create(SandboxSpec())
    kept = provider(environ=BOB).create(SandboxSpec())
    kept.keep()
    code, out, err = command("sandboxes")
    assert (code, err) == (0, "")
    head, *rows = out.splitlines()
    assert head.split() == ["ID", "NAME", "STATE", "AGE", "OWNER"]
    assert len(rows) == 2
    assert re.search(rf"^{old.id}  {old.name}  started +0 min +ada/engine$", out, re.MULTILINE)
    assert re.search(rf"^{kept.id}  {kept.name}  started +0 min +bob/engine +kept$", out, re.MULTILINE)
    emulator.kill_sandbox(kept.id)


def test_it_says_when_there_is_none(command: Command) -> None:
    assert command("sandboxes") == (0, "no sandboxes\n", "")


# -- deleting


def test_it_deletes_all_of_mine_that_are_not_kept(emulator: Emulator, provider: Make, command: Command) -> None:
    mine = [provider(environ=ADA, run=run).create(SandboxSpec()) for run in ("one", "two")]
    kept = provider(environ=ADA).create(SandboxSpec())
    kept.keep()
    bobs = provider(environ=BOB).create(SandboxSpec())
    code, out, err = command("sandboxes", "--delete")
    assert (code, err) == (0, "")
    assert sorted(out.splitlines()) == sorted(f"{one.name}: deleted" for one in mine)
    assert {one["id"] for one in emulator.sandboxes()} == {kept.id, bobs.id}
    code, out, _ = command("sandboxes", "--delete")
    assert (code, out) == (0, "nothing to delete: ada/engine has no sandbox that is not kept\n")
    emulator.kill_sandbox(kept.id)


def test_it_deletes_those_that_are_named_kept_ones_too(emulator: Emulator, provider: Make, command: Command) -> None:
    kept = provider(environ=ADA).create(SandboxSpec())
    kept.keep()
    bobs = provider(environ=BOB).create(SandboxSpec())
    mine = provider(environ=ADA).create(SandboxSpec())
    code, out, err = command("sandboxes", "--delete", kept.id, bobs.name)
    assert (code, err) == (0, "")
    assert sorted(out.splitlines()) == sorted(f"{one.name}: deleted" for one in (kept, bobs))
    assert [one["id"] for one in emulator.sandboxes()] == [mine.id]


def test_the_line_that_keeping_prints_does_what_it_says(emulator: Emulator, provider: Make, command: Command) -> None:
    kept = provider().create(SandboxSpec())
    words = kept.keep()[1].partition("python -m pytest_kiro ")[2].split()
    assert command(*words).code == 0
    assert emulator.sandboxes() == []


def test_what_it_does_not_know_it_does_not_delete(emulator: Emulator, provider: Make, command: Command) -> None:
    mine = provider(environ=ADA).create(SandboxSpec())
    code, out, err = command("sandboxes", "--delete", "not-there", mine.id)
    assert code == 1
    assert out == f"{mine.name}: deleted\n"
    assert (
        err
        == "not-there: no sandbox of pytest-kiro's has this id or name; python -m pytest_kiro sandboxes lists them\n"
    )
    assert emulator.sandboxes() == []


def test_one_that_cannot_be_deleted_is_named(emulator: Emulator, provider: Make, command: Command) -> None:
    mine = provider(environ=ADA).create(SandboxSpec())
    code, out, err = command("sandboxes", "--delete", DAYTONA_API_KEY=emulator.key_without_delete)
    assert (code, out) == (1, "")
    assert err.startswith(f"{mine.name}: delete sandbox {mine.id}: Daytona answered: HTTP 403: ")
    assert "sandboxes need write and delete" in err
    assert len(emulator.sandboxes()) == 1


# -- what goes wrong


@pytest.mark.parametrize(
    ("words", "env", "code", "said"),
    [
        (
            ["sandboxes"],
            {"DAYTONA_API_KEY": ""},
            1,
            r"needs DAYTONA_API_KEY in the environment\n.*\.env file is not read",
        ),
        (["sandboxes"], {"DAYTONA_API_KEY": "dtn_wrong"}, 1, r"HTTP 401: .*\nset a DAYTONA_API_KEY that is valid"),
        (["sandboxes", "--delete"], {"DAYTONA_API_KEY": "dtn_wrong"}, 1, "HTTP 401"),
        (["sandboxes"], {"DAYTONA_API_URL": "nonsense"}, 1, "DAYTONA_API_URL='nonsense' is not right; wanted: an http"),
        (
            ["sandboxes"],
            {"DAYTONA_API_URL": "http://127.0.0.1:9/api"},
            1,
            r"no connection to Daytona(?s:.*)look at the",
        ),
        ([], {}, 2, "the following arguments are required: COMMAND"),
        (["sandboxen"], {}, 2, "invalid choice: 'sandboxen'"),
        (["sandboxes", "--remove"], {}, 2, "unrecognized arguments: --remove"),
        (["sandboxes", "some-id"], {}, 2, "unrecognized arguments: some-id"),
    ],
    ids=[
        *("no key", "wrong key", "wrong key to delete with", "wrong address", "nobody there"),
        *("no command", "unknown command", "unknown option", "an id without --delete"),
    ],
)
def test_what_goes_wrong_is_said(
    emulator: Emulator, command: Command, words: list[str], env: dict[str, str], code: int, said: str
) -> None:
    found = command(*words, **env)
    assert (found.code, found.out) == (code, "")
    assert re.search(said, found.err)
    assert "dtn_wrong" not in found.err


@pytest.mark.parametrize("words", [["--help"], ["sandboxes", "--help"]])
def test_it_helps(command: Command, words: list[str]) -> None:
    code, out, err = command(*words)
    assert (code, err) == (0, "")
    assert "sandboxes" in out


@pytest.mark.parametrize(
    ("words", "route"), [(["sandboxes"], "sandbox_list"), (["sandboxes", "--delete"], "sandbox_delete")]
)
def test_ctrl_c_ends_it(emulator: Emulator, provider: Make, command: Command, words: list[str], route: str) -> None:
    provider(environ=ADA).create(SandboxSpec())
    emulator.reset_log()
    emulator.fault(route, delay=60)
    program = command.start(*words)
    wait_until(lambda: emulator.log(route))
    program.process.send_signal(signal.SIGINT)
    assert command.end(program) == (130, "", "")


def test_who_reads_only_the_beginning_is_no_error(emulator: Emulator, provider: Make, command: Command) -> None:
    provider(environ=ADA).create(SandboxSpec())
    read, stdout = os.pipe()
    os.close(read)
    with open(os.devnull) as nothing, tempfile.TemporaryFile("w+") as said:
        files = {"stdin": nothing.fileno(), "stdout": stdout, "stderr": said.fileno()}
        parent = zygote.zygote(AsyncDaytona.__module__)
        process = parent.fork("pytest_kiro", ["sandboxes"], cwd="/", env=command.env, warnings=["error"], **files)
        os.close(stdout)
        assert process.wait(DEADLINE) == 1
        said.seek(0)
        assert said.read() == ""
