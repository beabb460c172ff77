"""A sandbox that is kept outlives everything; one that is in use is given the time that its turn takes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from daytona_helpers import Make
from emulator import Emulator

from pytest_kiro.errors import SandboxClosed, SandboxError
from pytest_kiro.sandbox.daytona import fleet, labels
from pytest_kiro.sandbox.daytona.client import Client
from pytest_kiro.sandbox.daytona.sandbox import DaytonaSandbox
from pytest_kiro.sandbox.protocol import SandboxSpec

HOUR = 3600.0
ADA = {"GITHUB_REPOSITORY": "ada/engine"}


def only(emulator: Emulator) -> dict[str, Any]:
    (one,) = emulator.sandboxes()
    return one


def limits(emulator: Emulator) -> tuple[int, int]:
    one = only(emulator)
    return one["ttlMinutes"], one["autoDeleteInterval"]


def expires(emulator: Emulator) -> datetime:
    one = only(emulator)
    found = labels.read(one["id"], one["name"], one["state"], one["labels"])
    assert found.expires is not None
    return found.expires


def sweep(emulator: Emulator, *, at: datetime) -> list[str]:
    """Sweep as a run would that begins at that time."""
    client = Client({"DAYTONA_API_URL": emulator.url, "DAYTONA_API_KEY": emulator.key})
    try:
        return client.wait_for(fleet.sweep(client, "ada/engine", now=at), 60)
    finally:
        client.close()


# -- kept


def test_every_limit_is_taken_off_and_nothing_of_the_labels_is_lost(emulator: Emulator, provider: Make) -> None:
    made = provider(environ=ADA)
    sandbox = made.create(SandboxSpec(labels={"team": "red"}))
    before = only(emulator)["labels"]
    lines = sandbox.keep()
    assert limits(emulator) == (0, -1)
    assert only(emulator)["labels"] == {**before, "keep": "1"}
    assert len(lines) == 2
    assert sandbox.id in lines[0]
    assert lines[1] == f"delete it: python -m pytest_kiro sandboxes --delete {sandbox.id}"
    emulator.kill_sandbox(sandbox.id)


def test_the_end_of_the_run_leaves_it(emulator: Emulator, provider: Make) -> None:
    made = provider()
    kept, other = made.create(SandboxSpec()), made.create(SandboxSpec())
    kept.keep()
    assert made.close() == []
    assert only(emulator)["id"] == kept.id
    with pytest.raises(SandboxClosed):
        kept.exec("true")
    kept.close()
    assert only(emulator)["id"] == kept.id, "to close what is kept does not delete it"
    assert other.id != kept.id
    emulator.kill_sandbox(kept.id)


def test_the_end_of_the_run_leaves_it_on_another_worker_too(emulator: Emulator, provider: Make) -> None:
    kept = provider(worker="gw0").create(SandboxSpec())
    kept.keep()
    assert provider(worker="main").close() == []
    assert only(emulator)["id"] == kept.id
    emulator.kill_sandbox(kept.id)


def test_one_that_no_list_shows_as_kept_is_left(
    emulator: Emulator, provider: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: Any, **__: Any) -> list[labels.OurSandbox]:
        return []

    made = provider()
    kept = made.create(SandboxSpec())
    kept.keep()
    monkeypatch.setattr("pytest_kiro.sandbox.daytona.fleet.find", nothing)
    assert made.close() == []
    assert only(emulator)["id"] == kept.id
    emulator.kill_sandbox(kept.id)


def test_a_worker_that_shares_it_leaves_it(emulator: Emulator, provider: Make) -> None:
    first = provider(worker="gw0", max_sandboxes="1").create(SandboxSpec())
    second = provider(worker="gw1", max_sandboxes="1").create(SandboxSpec())
    assert second.joined
    first.keep()
    second.keep_alive(10 * HOUR)
    assert only(emulator)["labels"]["keep"] == "1", "what one worker sets, another does not take away"
    assert limits(emulator) == (0, -1)
    second.close()
    assert only(emulator)["id"] == first.id
    emulator.kill_sandbox(first.id)


def test_no_sweep_takes_it(emulator: Emulator, provider: Make) -> None:
    sandbox = provider(environ=ADA).create(SandboxSpec())
    sandbox.keep()
    assert sweep(emulator, at=datetime.now(UTC) + timedelta(days=30)) == []
    emulator.kill_sandbox(sandbox.id)


def test_it_lives_for_days_and_the_others_do_not(emulator: Emulator, provider: Make) -> None:
    made = provider()
    kept, abandoned = made.create(SandboxSpec()), made.create(SandboxSpec())
    kept.keep()
    assert {one["id"] for one in emulator.sandboxes()} == {kept.id, abandoned.id}
    emulator.advance(2 * HOUR)
    assert only(emulator)["id"] == kept.id
    emulator.advance(48 * HOUR)
    assert only(emulator)["id"] == kept.id
    emulator.kill_sandbox(kept.id)


@pytest.mark.parametrize("route", ["sandbox_labels", "sandbox_ttl", "sandbox_autodelete"])
def test_to_keep_it_survives_a_lost_answer(emulator: Emulator, sandbox: DaytonaSandbox, route: str) -> None:
    emulator.fault(route, lose_response=True)
    sandbox.keep()
    assert limits(emulator) == (0, -1)
    emulator.kill_sandbox(sandbox.id)


def test_one_that_cannot_be_kept_is_deleted_in_the_end(emulator: Emulator, provider: Make) -> None:
    made = provider()
    sandbox = made.create(SandboxSpec())
    emulator.fault("sandbox_ttl", status=400, message="TTL cannot be disabled in this organization")
    with pytest.raises(SandboxError, match=r"keep it: .*TTL cannot be disabled"):
        sandbox.keep()
    assert made.close() == []
    assert emulator.sandboxes() == []


# -- in use


@pytest.mark.parametrize("seconds", [0.0, 600.0, 89 * 60.0])
def test_what_has_time_enough_is_left_alone(emulator: Emulator, sandbox: DaytonaSandbox, seconds: float) -> None:
    emulator.reset_log()
    sandbox.keep_alive(seconds)
    assert emulator.log() == []


def test_what_has_not_is_given_more_and_its_label_says_so(emulator: Emulator, provider: Make) -> None:
    sandbox = provider(environ=ADA).create(SandboxSpec())
    before = expires(emulator)
    sandbox.keep_alive(3 * HOUR)
    minutes, _ = limits(emulator)
    assert minutes >= 3 * 60 + 30
    assert expires(emulator) > before
    assert abs(expires(emulator) - datetime.now(UTC) - timedelta(minutes=minutes)) < timedelta(minutes=1)
    emulator.reset_log()
    sandbox.keep_alive(2 * HOUR)
    assert emulator.log() == [], "it has that much already"
    assert sweep(emulator, at=before + timedelta(minutes=10)) == []
    assert sweep(emulator, at=expires(emulator) + timedelta(minutes=1)) == [sandbox.name]


def test_a_turn_that_takes_hours_is_survived(emulator: Emulator, sandbox: DaytonaSandbox) -> None:
    sandbox.keep_alive(3 * HOUR)
    sandbox.open_pty()
    emulator.advance(3 * HOUR)
    assert only(emulator)["id"] == sandbox.id
    emulator.advance(2.1 * HOUR)
    assert emulator.sandboxes() == [], "and when nobody ends it, it ends by itself"


def test_the_label_is_never_earlier_than_the_end(emulator: Emulator, sandbox: DaytonaSandbox) -> None:
    before = expires(emulator)
    emulator.fault("sandbox_ttl", status=403, message="Forbidden")
    with pytest.raises(SandboxError, match=r"extend its time to live: .*Forbidden"):
        sandbox.keep_alive(3 * HOUR)
    assert expires(emulator) > before
