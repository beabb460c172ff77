"""Whatever happens while a sandbox is made: it is used, or deleted with the cause named, never neither."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from typing import Any

import pytest
from daytona_helpers import Clock, Make
from emulator import Emulator

from pytest_kiro.errors import SandboxError, SandboxTimeout
from pytest_kiro.sandbox.protocol import SandboxSpec

QUOTA = "Total memory limit exceeded. Maximum allowed: 4GiB.\nUpgrade your organization's Tier."


def names(emulator: Emulator) -> list[str]:
    return [one["name"] for one in emulator.sandboxes()]


def creates(emulator: Emulator) -> list[int]:
    return [one["status"] for one in emulator.log("sandbox_create")]


# -- what is survived


@pytest.mark.parametrize(
    ("faults", "statuses"),
    [
        ([{"lose_response": True}], [0, 409]),
        ([{"lose_response": True}, {"after": 1, "status": 403, "message": QUOTA}], [0, 403]),
        ([{"lose_response": True}, {"after": 1, "status": 503}], [0, 503, 409]),
        ([{"cut_body": 40}], [200, 409]),
        ([{"drop": True}], [0, 200]),
        ([{"status": 500}, {"after": 1, "status": 502}, {"after": 2, "status": 504}], [500, 502, 504, 200]),
        ([{"status": 503, "times": 5}], [503] * 5 + [200]),
    ],
    ids=["lost answer", "lost answer, then full", "lost answer, then ill", "half an answer", "torn", "burst", "ill"],
)
def test_one_sandbox_is_made_in_spite_of(
    emulator: Emulator, provider: Make, clock: Clock, faults: list[dict[str, Any]], statuses: list[int]
) -> None:
    for fault in faults:
        emulator.fault("sandbox_create", **fault)
    sandbox = provider(clock=clock).create(SandboxSpec())
    assert names(emulator) == [sandbox.name]
    assert creates(emulator) == statuses
    assert sandbox.exec("echo here").output == "here\n"


def test_a_service_that_lets_nobody_in_for_a_moment_is_waited_for(emulator: Emulator, provider: Make) -> None:
    emulator.fault("sandbox_create", refuse=0.3)
    sandbox = provider().create(SandboxSpec())
    assert names(emulator) == [sandbox.name]


def test_a_sandbox_that_is_being_created_is_waited_for(emulator: Emulator, provider: Make) -> None:
    emulator.configure(creating_polls=3)
    assert provider().create(SandboxSpec()).exec("echo here").output == "here\n"
    assert creates(emulator) == [200]


def test_a_rate_limit_is_kept_by_every_worker_of_the_run(emulator: Emulator, provider: Make, clock: Clock) -> None:
    emulator.fault("sandbox_create", status=429, headers={"Retry-After-sandbox-create": "30"})
    provider(worker="gw0", clock=clock).create(SandboxSpec())
    (pause,) = clock.pauses
    assert pause >= 30
    other = Clock()  # its clock has not moved
    provider(worker="gw1", clock=other).create(SandboxSpec())
    assert sum(other.pauses) >= 30
    assert creates(emulator) == [429, 200, 200], "it waits instead of asking"


def test_a_limit_of_creations_per_minute_is_waited_for(emulator: Emulator, provider: Make) -> None:
    class Advancing(Clock):
        async def pause(self, seconds: float) -> None:
            await super().pause(seconds)
            emulator.advance(seconds)

    emulator.configure(rate_limit=1)
    made = provider(clock=Advancing())
    made.create(SandboxSpec())
    made.create(SandboxSpec())
    assert creates(emulator) == [200, 429, 200]


def test_thirty_seconds_of_rate_limit_are_sat_out(emulator: Emulator, provider: Make, clock: Clock) -> None:
    emulator.fault("sandbox_create", status=429, headers={"retry-after-SANDBOX-create": "6"}, times=5)
    provider(clock=clock).create(SandboxSpec())
    assert sum(clock.pauses) >= 30
    assert creates(emulator) == [429] * 5 + [200]


def test_one_that_died_before_it_could_be_shared_is_replaced(emulator: Emulator, provider: Make) -> None:
    lost = provider(worker="gw0", max_sandboxes="1").create(SandboxSpec())
    emulator.kill_sandbox(lost.id)
    own = provider(worker="gw1", max_sandboxes="1").create(SandboxSpec())
    assert not own.joined
    assert names(emulator) == [own.name]


# -- what is not, and leaves nothing


@pytest.mark.parametrize(
    ("knobs", "fault", "options", "said"),
    [
        (
            {},
            {"delay_response": 5, "comes_late": True},
            {"setup_timeout": "0.3"},
            r"sandbox pytest-kiro-\S+ was not ready within 0.3 s; see status.daytona.io, or .*--kiro-setup-timeout",
        ),
        ({}, {"delay_response": 5}, {"setup_timeout": "0.3"}, "was not ready within 0.3 s"),
        ({"creating_polls": 999}, {}, {"setup_timeout": "0.3"}, "was not ready within 0.3 s"),
        (
            {},
            {"end_state": "error", "error_reason": "no runner has room", "creating_polls": 1},
            {},
            "create sandbox .*no runner has room",
        ),
        ({}, {"end_state": "build_failed", "error_reason": "apt said no"}, {}, "create sandbox .*apt said no"),
        (
            {"memory_quota": 2},
            {},
            {},
            r"this run got no sandbox at all: create sandbox .*Total memory limit exceeded. Maximum allowed: 2GiB"
            r"(?s:.*)sandboxes --delete(?s:.*)a sandbox takes 2 vCPU and 4 GiB, and tier 1 holds",
        ),
        ({"disk_quota": 3}, {}, {}, r"Total disk limit exceeded. Maximum allowed: 3GiB(?s:.*)raise its tier"),
        (
            {},
            {},
            {"snapshot": "nothing"},
            r"HTTP 400: .*Snapshot nothing not found.*\ngive --kiro-snapshot, or kiro_sandbox_args, the name of",
        ),
        (
            {},
            {},
            {"snapshot": "asleep"},
            r"HTTP 400: .*Snapshot asleep is inactive\nit was not used for long: activate it in Daytona's dashboard",
        ),
        ({}, {"status": 403, "message": "Forbidden resource"}, {}, r"HTTP 403: .*; give the DAYTONA_API_KEY the perm"),
        ({}, {"status": 422, "message": "bad target"}, {}, "HTTP 422: .*bad target"),
        ({}, {"status": 503, "times": None}, {}, r"HTTP 503(?s:.*)status.daytona.io tells whether the service is ill"),
        ({}, {"drop": True, "times": None}, {}, "no connection to Daytona: .*; look at the network"),
        (
            {},
            {"status": 429, "times": None, "headers": {"Retry-After": "50"}},
            {"setup_timeout": "20"},
            r"HTTP 429: .*; run fewer workers at once",
        ),
    ],
    ids=[
        *("made too late", "answered too late", "creating for ever", "error", "build failed", "no memory", "no disk"),
        *("unknown snapshot", "inactive snapshot", "forbidden", "unprocessable", "ill", "torn", "rate limited"),
    ],
)
def test_nothing_is_left_and_the_cause_is_named(
    emulator: Emulator,
    provider: Make,
    knobs: dict[str, Any],
    fault: dict[str, Any],
    options: dict[str, str],
    said: str,
) -> None:
    emulator.put_snapshot("asleep", state="inactive")
    emulator.configure(**knobs)
    if "comes_late" in fault:  # what is made is not to be seen at once
        emulator.fault("sandbox_get", status=404, message="not found", times=3)
    if wanted := {name: value for name, value in fault.items() if name != "comes_late"}:
        emulator.fault("sandbox_create", **wanted)
    made = provider(clock=Clock(), **options)
    with pytest.raises(SandboxError, match=said) as caught:
        made.create(SandboxSpec())
    assert not re.search("[\"'(]None|Traceback", str(caught.value))
    assert names(emulator) == []
    assert made.close() == []


def test_a_sandbox_that_cannot_be_looked_into_is_deleted(emulator: Emulator, provider: Make, clock: Clock) -> None:
    emulator.fault("exec", status=502, times=None)
    with pytest.raises(SandboxError, match=r"look at a new sandbox: Daytona answered: HTTP 502"):
        provider(clock=clock).create(SandboxSpec())
    assert names(emulator) == []


def test_a_sandbox_with_a_temporary_folder_that_is_nowhere_is_deleted(emulator: Emulator, provider: Make) -> None:
    with pytest.raises(SandboxError, match=r"no usable home or temporary folder\n(?s:.*) tmp/tasks\nmake it from"):
        provider().create(SandboxSpec(env={"TMPDIR": "tmp"}))
    assert names(emulator) == []


def test_a_snapshot_of_unknown_size_is_not_said_to_take_anything(emulator: Emulator, provider: Make) -> None:
    emulator.configure(memory_quota=2)
    with pytest.raises(SandboxError, match="a sandbox takes what its snapshot says"):
        provider().create(SandboxSpec(snapshot="daytona-large"))
    with pytest.raises(SandboxError, match="a sandbox takes 1 vCPU and 3 GiB"):
        provider(run="another").create(SandboxSpec(image="debian:12", resources={"cpu": 1, "memory": 3}))


def test_a_worker_that_comes_after_the_refusal_does_not_wait_for_a_sandbox(emulator: Emulator, provider: Make) -> None:
    emulator.configure(memory_quota=2)
    with pytest.raises(SandboxError, match="no sandbox at all: create sandbox"):
        provider(worker="gw0").create(SandboxSpec())
    with pytest.raises(SandboxError, match="no sandbox at all: Daytona has refused another worker"):
        provider(worker="gw1").create(SandboxSpec())
    assert creates(emulator) == [403]


def test_workers_that_are_held_back_too_long_say_so(emulator: Emulator, provider: Make) -> None:
    emulator.fault("sandbox_create", status=429, headers={"Retry-After": "60"})
    provider(worker="gw0", clock=Clock()).create(SandboxSpec())

    class Stopped(Clock):
        async def pause(self, seconds: float) -> None:
            self.pauses.append(seconds)  # and somebody holds everybody back anew

    with pytest.raises(SandboxTimeout, match=r"not requested within 20 s \(--kiro-setup-timeout\).*run fewer workers"):
        provider(worker="gw1", clock=Stopped(), setup_timeout="20").create(SandboxSpec())


# -- keys and connections


@pytest.mark.parametrize(
    ("key", "said"),
    [("wrong", r"HTTP 401: .*Invalid credentials"), ("expired", r"HTTP 401: .*API key has expired")],
)
def test_a_key_that_is_refused_is_told_at_once(emulator: Emulator, provider: Make, key: str, said: str) -> None:
    made = provider(environ={"DAYTONA_API_KEY": emulator.expired_key if key == "expired" else "dtn_wrong"})
    with pytest.raises(SandboxError, match=rf"{said}\nset a DAYTONA_API_KEY that is valid") as caught:
        made.create(SandboxSpec())
    assert "dtn_wrong" not in str(caught.value)
    assert made.close() == [], "nothing was made"
    assert {one["route"] for one in emulator.log()} == {"sandbox_list"}


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_where_nobody_answers_it_is_said_soon(provider: Make, clock: Clock, host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    made = provider(clock=clock, environ={"DAYTONA_API_URL": f"http://{host}:{port}/api"})
    with pytest.raises(
        SandboxError, match=rf"no connection to Daytona: .*{host}(?s:.*)look at the network, at DAYTONA_"
    ):
        made.create(SandboxSpec())
    assert made.close() == []
    assert sum(clock.pauses) < 20


@pytest.mark.parametrize("end", [{}, {"end_state": "error", "error_reason": "no runner has room"}])
def test_a_key_that_may_not_delete_says_what_is_left_and_how_to_be_rid_of_it(
    emulator: Emulator, provider: Make, end: Mapping[str, Any]
) -> None:
    made = provider(environ={"DAYTONA_API_KEY": emulator.key_without_delete})
    if end:
        emulator.fault("sandbox_create", **end)
        with pytest.raises(SandboxError, match="no runner has room"):
            made.create(SandboxSpec())
    else:
        sandbox = made.create(SandboxSpec())
        with pytest.raises(SandboxError, match=r"delete sandbox .*HTTP 403(?s:.*)sandboxes need write and delete"):
            sandbox.close()
    (left,) = emulator.sandboxes()
    (line,) = made.close()
    assert line.startswith(f"{left['name']} ({left['id']}) could not be deleted: ")
    assert "delete:sandboxes" in line
    assert f"it ends by itself at {left['labels']['expires-at']}" in line
    assert line.endswith(f"delete it: python -m pytest_kiro sandboxes --delete {left['id']}")
    assert "\n" not in line
    emulator.kill_sandbox(left["id"])
