"""Whole runs in Daytona: what they need, what they say when they do not get it, what they count and keep."""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING

import pytest
import zygote
from plugin.eval_runs import DEADLINE

if TYPE_CHECKING:
    from daytona_runs import Runs

pytest_plugins = ["daytona_runs"]

FOUR = "import pytest\n\n@pytest.mark.parametrize('n', range(4))\ndef test_it(kiro, n): kiro.run('Hello.')\n"
ANSWER = {"test_it": ["Hi."]}
ID = "[0-9a-f]{8}-[0-9a-f-]{27}"


def command(runs: Runs, words: str) -> str:
    """Execute a command that a run has told, and return what it printed."""
    python, option, module, *args = words.split()
    assert (python, option) == ("python", "-m")
    done = zygote.run(module, args, cwd=runs.path, env=os.environ, timeout=DEADLINE, preloaded=runs.preloaded)
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- what a run needs


def test_without_evals_neither_a_key_nor_the_sdk_is_needed(runs: Runs) -> None:
    runs.preloaded = ()  # what this zygote has imported is pytest, and what evals import of ours: no SDK
    runs.use(DAYTONA_API_KEY="", DAYTONA_API_URL="")
    runs.note()
    runs.write(
        "conftest.py",
        """
        import sys
        from note import note

        def pytest_unconfigure():
            note([name for name in ("daytona", "aiohttp", "httpx") if name in sys.modules])
        """,
    )
    runs.write("test_plain.py", "def test_plain(kiro_settings): assert kiro_settings.sandbox == 'daytona'")
    runs.write("test_it.py", FOUR, ANSWER)
    for args in (["test_plain.py"], ["--collect-only", "-q"], ["--setup-plan"], ["test_plain.py", "-n1"]):
        result = runs.process(*args)
        assert result.ret == 0, result.stdout.str()
        assert "sandboxes:" not in result.stdout.str()
    assert set(runs.story) == {"[]"}
    assert runs.emulator.log() == []


REFUSED = {
    "no key": (
        {"DAYTONA_API_KEY": ""},
        "E *SandboxError: *needs DAYTONA_API_KEY in the environment",
    ),
    "wrong key": ({"DAYTONA_API_KEY": "nonsense"}, "E *set a DAYTONA_API_KEY that is valid; one that has expired is *"),
    "wrong address": (
        {"DAYTONA_API_URL": "daytona.io"},
        "E *SettingsError: DAYTONA_API_URL='daytona.io' is not right*",
    ),
    "nobody there": (
        {"DAYTONA_API_URL": "http://127.0.0.1:9/api"},
        "E *look at the network, at DAYTONA_API_URL, and at status.daytona.io",
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_work_is_said_once_and_soon_and_in_few_words(runs: Runs, why: str) -> None:
    environment, said = REFUSED[why]
    runs.use(**environment)
    runs.write("test_it.py", FOUR, ANSWER)
    began = time.monotonic()
    result = runs.run("-p", "no:cacheprovider")
    assert time.monotonic() - began < 110  # with a full timeout for each it would be minutes
    result.assert_outcomes(errors=4)
    result.stdout.fnmatch_lines([said])
    text = result.stdout.str()
    assert "sandboxes: created" not in text
    for word in ("nonsense", "async_wrapper", "direct cause", "provider.py", "client.py"):
        assert word not in text
    assert runs.asked("sandbox_create") == []
    if why == "wrong key":
        assert len(runs.asked("sandbox_list")) <= 2, "at the beginning, and at the end"
        text = runs.run("-p", "no:cacheprovider", "--full-trace", "-k0").stdout.str()
        assert "provider.py" in text
        assert "direct cause" in text


# -- what it counts


def test_what_cannot_be_deleted_is_named_with_the_command_that_does(runs: Runs) -> None:
    runs.use(DAYTONA_API_KEY=runs.emulator.key_without_delete)
    runs.write("test_it.py", FOUR, ANSWER)
    result = runs.run()
    result.assert_outcomes(passed=4, errors=1)  # the last one's teardown
    result.stdout.fnmatch_lines(
        [
            "sandboxes: created 1, deleted 0, leaked 1",
            "pytest-kiro-*-main-* could not be deleted: *Forbidden*; it ends by itself at *; delete it: python -m *",
        ]
    )
    runs.use(DAYTONA_API_KEY=runs.emulator.key)
    found = re.search(r"delete it: (python -m pytest_kiro sandboxes --delete \S+)$", result.stdout.str(), re.MULTILINE)
    assert found
    assert "deleted" in command(runs, found[1])


def test_a_delete_that_succeeds_only_the_second_time_is_no_leak(runs: Runs) -> None:
    runs.emulator.fault("sandbox_delete", status=403, message="not now")
    runs.write("test_it.py", FOUR, ANSWER)
    result = runs.run()
    result.stdout.fnmatch_lines(["sandboxes: created 1, deleted 1, leaked 0"])


# -- what it keeps


@pytest.mark.parametrize(("when", "stays"), [("always", True), ("on-failure", False)])
def test_what_is_kept_has_no_limits_and_is_there_until_somebody_deletes_it(runs: Runs, when: str, stays: bool) -> None:
    runs.write("test_it.py", FOUR, ANSWER)
    printed = runs.run(f"--kiro-keep-sandbox={when}").stdout.str()
    counts = "created 1, deleted 0, kept 1, leaked 0" if stays else "created 1, deleted 1, leaked 0"
    assert f"\nsandboxes: {counts}\n" in printed
    told = re.findall(
        rf"^kept ({ID}); get back to it: daytona ssh \1\n^kept \1; delete it: (.*)$", printed, re.MULTILINE
    )
    assert len(told) == printed.count("\nkept ") / 2 == stays
    for name, words in told:
        (left,) = runs.emulator.sandboxes()
        assert left["id"] == name
        assert left["labels"]["keep"] == "1"
        assert (left["autoDeleteInterval"], left["ttlMinutes"]) == (-1, 0)
        runs.relabel(left, **{"expires-at": "2026-01-01T00:00:00Z"})
        runs.run().assert_outcomes(passed=4)  # whose sweep leaves it alone
        assert [one["id"] for one in runs.emulator.sandboxes()] == [name]
        assert "deleted" in command(runs, words)


def test_a_sandbox_that_workers_share_is_kept_when_one_of_them_wants_it(runs: Runs) -> None:
    """By the one that joined it here: it is told once, and the maker, who only left it, has not deleted it."""
    runs.note()
    runs.write(
        "test_it.py",
        """
        import os, pathlib, pytest, select, time
        from note import note

        @pytest.mark.parametrize("n", range(2))
        def test_it(kiro, n):
            note(n)
            end = time.monotonic() + 180
            while len(pathlib.Path(os.environ["STORY"]).read_text().splitlines()) < 2:
                assert time.monotonic() < end
                select.select([], [], [], 0.01)
            assert not kiro.sandbox.joined
        """,
    )
    result = runs.process("-n2", "--kiro-max-sandboxes=1", "--kiro-keep-sandbox=on-failure")
    result.assert_outcomes(passed=1, failed=1)
    printed = result.stdout.str()
    assert "\nsandboxes: created 1, deleted 0, kept 1, leaked 0\n" in printed
    assert printed.count("; get back to it: daytona ssh ") == 1
    (left,) = runs.emulator.sandboxes()
    runs.emulator.kill_sandbox(left["id"])
