"""How our sandboxes are known again, and which of them are leftovers."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from pytest_kiro.commandline.sandboxes import age, table
from pytest_kiro.sandbox.daytona import labels

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def found(of: str = "ada@host", minutes: int = 120, at: datetime = NOW, **more: str) -> labels.OurSandbox:
    made = labels.make("run-1", "gw0", minutes, now=at, of=of)
    return labels.read("id-1", "name-1", "started", {**made, **more})


def test_labels_say_all_that_a_sweep_must_know() -> None:
    assert labels.make("run-1", "gw0", 120, now=NOW, of="ada@host") == {
        "pytest-kiro": "1",
        "run": "run-1",
        "worker": "gw0",
        "owner": "ada@host",
        "created-at": "2026-11-25T12:00:00Z",
        "expires-at": "2026-11-25T14:00:00Z",
    }


@pytest.mark.parametrize(
    ("one", "left"),
    [
        (found(), False),
        (found(minutes=0, at=NOW - timedelta(seconds=1)), True),
        (found(minutes=0, at=NOW - timedelta(days=1), keep="1"), False),
        (found(of="bob@host", minutes=0, at=NOW - timedelta(days=1)), False),
        (labels.read("id", "name", "started", {"pytest-kiro": "1", "owner": "ada@host"}), False),
        (found(**{"expires-at": "yesterday"}), False),
    ],
    ids=["alive", "past its time", "kept", "somebody else's", "without a time", "a time that is none"],
)
def test_what_a_sweep_takes(one: labels.OurSandbox, left: bool) -> None:
    assert one.is_left_over("ada@host", NOW) is left


def test_the_owner_is_the_ci_repository_else_user_and_host() -> None:
    assert labels.owner({"CI_PROJECT_PATH": "group/project"}) == "group/project"
    assert labels.owner({"GITHUB_REPOSITORY": "", "BUILDKITE_REPO": "git@host:a/b c.git"}) == "git@host:a/b-c.git"
    assert re.fullmatch(r"[\w.-]+@[\w.-]+", labels.owner({}))


def test_the_table_says_what_is_old_and_what_is_kept() -> None:
    kept = labels.read("id-2", "n2", "started", {"owner": "bob@host", "keep": "1"})
    shown = table([kept, found(minutes=1, at=NOW - timedelta(minutes=65))], NOW).splitlines()
    assert shown[0].split() == ["ID", "NAME", "STATE", "AGE", "OWNER"]
    assert re.fullmatch(r"id-1 +name-1 +started +1 h 05 min +ada@host +past its time", shown[1])
    assert re.fullmatch(r"id-2 +n2 +started +\? +bob@host +kept", shown[2])
    assert table([], NOW) == "no sandboxes"


@pytest.mark.parametrize(
    ("minutes", "said"), [(0, "0 min"), (59, "59 min"), (60, "1 h 00 min"), (1500, "1 d 01 h"), (-5, "0 min")]
)
def test_ages(minutes: int, said: str) -> None:
    assert age(NOW - timedelta(minutes=minutes), NOW) == said
