"""How sandboxes end: deleted whatever the service answers, and those that dead runs left swept away."""

from __future__ import annotations

import json
import logging
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from daytona_helpers import Clock, Make
from emulator import Emulator
from helpers import wait_until

from pytest_kiro.errors import SandboxError
from pytest_kiro.sandbox.daytona import labels
from pytest_kiro.sandbox.protocol import SandboxSpec

ADA = {"GITHUB_REPOSITORY": "ada/engine"}
#: One for all: each reads the certificates of this machine.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def left(emulator: Emulator, name: str, *, of: str = "ada/engine", minutes: int = -1, **more: str) -> None:
    """Have a sandbox there that some run made, whose time is over in so many minutes."""
    made = labels.make("a-dead-run", "gw0", minutes, now=datetime.now(UTC), of=of)
    body = {"name": name, "labels": {**made, **more}}
    ask(emulator, "", json.dumps(body).encode())


def ask(emulator: Emulator, path: str, body: bytes | None = None) -> None:
    headers = {"Authorization": f"Bearer {emulator.key}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{emulator.url}/sandbox{path}", data=body, headers=headers)
    with OPENER.open(request) as answer:
        assert answer.status == 200


def names(emulator: Emulator) -> set[str]:
    return {one["name"] for one in emulator.sandboxes()}


def clear(emulator: Emulator) -> None:
    for name in names(emulator):
        emulator.kill_sandbox(name)


# -- deleting one's own


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 409, "message": "Sandbox state change in progress", "times": 4},
        {"status": 503, "times": 3},
        {"status": 500, "times": 1},
        {"lose_response": True},
        {"drop": True, "times": 2},
        {"status": 404, "message": "Sandbox not found"},
        {"status": 429, "headers": {"Retry-After-sandbox-lifecycle": "20"}, "times": 2},
    ],
    ids=["busy", "ill", "once ill", "lost answer", "torn", "already gone", "rate limited"],
)
def test_it_is_deleted_in_spite_of(emulator: Emulator, provider: Make, clock: Clock, fault: dict[str, Any]) -> None:
    made = provider(clock=clock)
    sandbox = made.create(SandboxSpec())
    emulator.fault("sandbox_delete", **fault)
    sandbox.close()
    if fault.get("status") == 404:  # which was not true
        assert names(emulator) == {sandbox.name}
    else:
        assert names(emulator) == set()
    assert made.close() == []
    assert names(emulator) == set()


def test_one_that_takes_time_to_go_is_let_go(emulator: Emulator, provider: Make) -> None:
    made = provider()
    sandbox = made.create(SandboxSpec())
    emulator.fault("sandbox_delete", destroying_polls=3)
    sandbox.close()
    (going,) = emulator.sandboxes()
    assert going["state"] == "destroying"
    assert made.close() == []
    assert len(emulator.log("sandbox_delete")) == 1
    for _ in range(2):
        ask(emulator, f"/{sandbox.id}")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        ask(emulator, f"/{sandbox.id}")


def test_closing_twice_asks_once(emulator: Emulator, provider: Make) -> None:
    made = provider()
    sandbox = made.create(SandboxSpec())
    sandbox.close()
    sandbox.close()
    assert made.close() == []
    assert len(emulator.log("sandbox_delete")) == 1


def test_one_that_is_gone_already_is_no_error(emulator: Emulator, provider: Make) -> None:
    made = provider()
    sandbox = made.create(SandboxSpec())
    emulator.kill_sandbox(sandbox.id)
    sandbox.close()
    assert made.close() == []


def test_one_that_stays_busy_is_given_up_and_named(emulator: Emulator, provider: Make, clock: Clock) -> None:
    made = provider(clock=clock)
    sandbox = made.create(SandboxSpec())
    emulator.fault("sandbox_delete", status=409, message="Sandbox state change in progress", times=None)
    with pytest.raises(SandboxError, match=r"HTTP 409: .*Sandbox state change in progress"):
        sandbox.close()
    (line,) = made.close()
    assert line.startswith(f"{sandbox.name} ({sandbox.id}) could not be deleted: ")
    assert 50 < sum(clock.pauses) <= 130
    clear(emulator)


# -- what other workers left


def test_the_last_one_deletes_what_another_worker_left(emulator: Emulator, provider: Make) -> None:
    for worker in ("gw0", "gw1"):
        provider(worker=worker).create(SandboxSpec())
    provider(run="somebody-elses", worker="gw0").create(SandboxSpec())
    assert provider(worker="main").close() == []
    (other,) = emulator.sandboxes()
    assert other["labels"]["run"] == "somebody-elses"


def test_one_that_no_list_shows_yet_is_deleted_by_its_name(
    emulator: Emulator, provider: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = provider(worker="gw0").create(SandboxSpec())

    async def nothing(*_: Any, **__: Any) -> list[labels.OurSandbox]:
        return []

    monkeypatch.setattr("pytest_kiro.sandbox.daytona.fleet.find", nothing)
    assert provider(worker="main").close() == []
    assert names(emulator) == set()
    assert emulator.log("sandbox_get")[-1]["path"].endswith(f"/{sandbox.name}")


def test_what_could_not_even_be_looked_for_is_named(emulator: Emulator, provider: Make, clock: Clock) -> None:
    sandbox = provider(worker="gw0").create(SandboxSpec())
    emulator.fault("sandbox_list", status=401, message="API key has expired")
    (line,) = provider(worker="main", clock=clock).close()
    assert line.startswith(f"{sandbox.name} may be left, it could not be looked for: list sandboxes: ")
    assert line.endswith(f"delete it: python -m pytest_kiro sandboxes --delete {sandbox.name}")


# -- what dead runs left


def test_leftovers_of_the_same_owner_are_swept_at_the_start_and_at_the_end(emulator: Emulator, provider: Make) -> None:
    left(emulator, "before")
    made = provider(environ=ADA)
    own = made.create(SandboxSpec())
    assert names(emulator) == {own.name}
    left(emulator, "meanwhile")
    made.create(SandboxSpec())
    assert "meanwhile" in names(emulator), "once at the start"
    assert made.close() == []
    assert names(emulator) == set()


def test_nothing_else_is_swept(emulator: Emulator, provider: Make) -> None:
    left(emulator, "alive", minutes=5)
    left(emulator, "kept", keep="1")
    left(emulator, "bobs", of="bob/engine")
    left(emulator, "nobodys", **{"expires-at": "yesterday"})
    left(emulator, "not-ours", **{"pytest-kiro": "0"})
    made = provider(environ=ADA)
    made.create(SandboxSpec())
    assert made.close() == []
    assert names(emulator) == {"alive", "kept", "bobs", "nobodys", "not-ours"}
    clear(emulator)


def test_more_than_one_page_of_them_is_swept(emulator: Emulator, provider: Make) -> None:
    kept = {f"kept-{number}" for number in range(200)}
    for name in ("dead-0", *kept, "dead-1"):  # one on each page, in whatever order
        left(emulator, name, **({"keep": "1"} if name in kept else {}))
    made = provider(environ=ADA)
    own = made.create(SandboxSpec())
    assert names(emulator) == {own.name, *kept}
    assert [one["query"]["limit"] for one in emulator.log("sandbox_list")] == ["200", "200"]
    assert made.close() == []
    emulator.reset()


@pytest.mark.parametrize(
    ("route", "fault"),
    [
        ("sandbox_list", {"status": 500, "times": None}),
        ("sandbox_list", {"drop": True, "times": None}),
        ("sandbox_list", {"cut_body": 5, "times": None}),
        ("sandbox_list", {"status": 422, "message": "bad labels"}),
        ("sandbox_delete", {"status": 403, "message": "Forbidden", "times": 1}),
        ("sandbox_delete", {"status": 500, "times": 8}),
    ],
    ids=["ill", "torn", "half an answer", "refused", "may not delete", "ill when deleting"],
)
def test_a_sweep_that_fails_does_not_fail_the_run(
    emulator: Emulator,
    provider: Make,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    route: str,
    fault: dict[str, Any],
) -> None:
    left(emulator, "before")
    emulator.fault(route, **fault)
    made = provider(clock=clock, environ=ADA)
    with caplog.at_level(logging.INFO, "pytest_kiro"):
        own = made.create(SandboxSpec())
    assert ("leftovers of dead runs could not be looked for: " in caplog.text) is (route == "sandbox_list")
    assert names(emulator) == {"before", own.name}
    emulator.clear_faults()
    assert made.close() == []
    assert names(emulator) == set()


def test_one_that_does_not_go_does_not_keep_the_others(emulator: Emulator, provider: Make, clock: Clock) -> None:
    left(emulator, "stubborn")
    left(emulator, "willing")
    emulator.fault("sandbox_delete", sandbox="stubborn", status=403, message="Forbidden", times=None)
    made = provider(clock=clock, environ=ADA)
    made.create(SandboxSpec())
    assert made.close() == [], "it is not of this run"
    assert names(emulator) == {"stubborn"}
    clear(emulator)


def test_two_runs_that_sweep_at_once_do_not_disturb_each_other(emulator: Emulator, provider: Make) -> None:
    left(emulator, "before")
    emulator.fault("sandbox_get", delay=0.2)  # the other one is faster
    slow, fast = provider(environ=ADA, run="slow"), provider(environ=ADA, run="fast")
    fast.create(SandboxSpec())
    slow.create(SandboxSpec())
    assert slow.close() == fast.close() == []
    wait_until(lambda: not emulator.sandboxes())


# -- what happens when nobody is there to delete it


def test_one_that_is_abandoned_ends_by_itself(emulator: Emulator, provider: Make) -> None:
    sandbox = provider().create(SandboxSpec())
    emulator.advance(14 * 60)
    assert names(emulator) == {sandbox.name}
    emulator.advance(2 * 60)
    assert names(emulator) == set(), "stopped when nobody used it, and so deleted"


def test_one_that_is_abandoned_while_something_is_attached_ends_when_its_time_is_over(
    emulator: Emulator, provider: Make
) -> None:
    sandbox = provider().create(SandboxSpec())
    sandbox.open_pty()
    emulator.advance(119 * 60)
    assert names(emulator) == {sandbox.name}
    emulator.advance(2 * 60)
    assert names(emulator) == set()


def test_a_label_says_when_that_is(emulator: Emulator, provider: Make) -> None:
    provider().create(SandboxSpec())
    (one,) = emulator.sandboxes()
    found = labels.read(one["id"], one["name"], one["state"], one["labels"])
    assert found.created is not None
    assert found.expires == found.created + timedelta(minutes=one["ttlMinutes"])
