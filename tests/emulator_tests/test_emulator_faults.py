"""The fault rules of requests, each seen through the SDK."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from daytona import (
    AsyncDaytona,
    AsyncSandbox,
    CreateSandboxFromImageParams,
    CreateSandboxFromSnapshotParams,
    CreateSnapshotParams,
    DaytonaBadGatewayError,
    DaytonaConflictError,
    DaytonaConnectionError,
    DaytonaError,
    DaytonaNotFoundError,
    DaytonaRateLimitError,
    DaytonaServiceUnavailableError,
    DaytonaTimeoutError,
    Image,
    SandboxState,
)
from daytona_client import ask, create, run, run_in_sandbox
from emulator import Emulator
from helpers import wait_until

Params = CreateSandboxFromSnapshotParams


def names(emulator: Emulator) -> list[str]:
    return [box["name"] for box in emulator.sandboxes()]


def test_an_answer_with_a_status_for_some_requests(emulator: Emulator) -> None:
    emulator.fault(
        "sandbox_create", status=429, headers={"Retry-After-sandbox-create": "7"}, message="slow down", times=2
    )
    emulator.fault("sandbox_get", status=503, code="BUSY", after=1)

    async def use(client: AsyncDaytona) -> None:
        for _ in range(2):
            with pytest.raises(DaytonaRateLimitError, match="slow down") as caught:
                await client.create(Params())
            assert caught.value.headers["Retry-After-sandbox-create"] == "7"
        box = await client.create(Params())
        await client.get(box.id)
        with pytest.raises(DaytonaServiceUnavailableError) as busy:
            await client.get(box.id)
        assert busy.value.code == "BUSY"
        await client.get(box.id)

    run(emulator, use)
    assert [entry["status"] for entry in emulator.log("sandbox_create")] == [429, 429, 200]


def test_a_rule_ends_with_its_time_or_by_hand(emulator: Emulator) -> None:
    emulator.fault("config", status=500, times=None, duration=60)
    assert [ask(emulator, "GET", "/api/config").status for _ in range(3)] == [500] * 3
    emulator.advance(61)
    assert ask(emulator, "GET", "/api/config").status == 200
    emulator.fault("config", status=500, times=None)
    assert ask(emulator, "GET", "/api/config").status == 500
    emulator.clear_faults()
    assert ask(emulator, "GET", "/api/config").status == 200


def test_a_later_rule_overrides_an_earlier_one(emulator: Emulator) -> None:
    emulator.fault("config", status=500, message="first", times=None)
    emulator.fault("config", status=502)
    answers = [ask(emulator, "GET", "/api/config") for _ in range(2)]
    assert [(answer.status, answer.body["message"]) for answer in answers] == [(502, "first"), (500, "first")]


@pytest.mark.parametrize("by", ["id", "name"])
def test_a_rule_for_one_sandbox(emulator: Emulator, by: str) -> None:
    one, other = create(emulator, name="one"), create(emulator, name="other")
    emulator.fault("work_dir", status=502, sandbox=one[by], times=None)
    statuses = [ask(emulator, "GET", f"/toolbox/{box['id']}/work-dir").status for box in (one, other, one)]
    assert statuses == [502, 200, 502]


def test_a_request_that_is_dropped_is_not_processed(emulator: Emulator) -> None:
    emulator.fault("sandbox_create", drop=True)

    async def use(client: AsyncDaytona) -> None:
        with pytest.raises(DaytonaConnectionError):
            await client.create(Params())

    run(emulator, use)
    assert names(emulator) == []
    assert [entry["status"] for entry in emulator.log("sandbox_create")] == [0]


def test_a_lost_response_leaves_what_was_asked_for(emulator: Emulator) -> None:
    emulator.fault("sandbox_create", lose_response=True)

    async def use(client: AsyncDaytona) -> None:
        with pytest.raises(DaytonaConnectionError):
            await client.create(Params(name="mine"))
        await (await client.get("mine")).delete()

    run(emulator, use)
    assert names(emulator) == []


def test_a_create_that_succeeds_after_the_client_gave_up(emulator: Emulator) -> None:
    emulator.fault("sandbox_create", delay_response=30)

    async def use(client: AsyncDaytona) -> None:
        with pytest.raises(DaytonaTimeoutError):
            await client.create(Params(name="mine"), timeout=1)

    run(emulator, use)
    assert names(emulator) == ["mine"]


def test_a_request_that_comes_late_is_processed_late(emulator: Emulator) -> None:
    emulator.fault("sandbox_create", delay=0.2)
    begun = time.monotonic()
    assert names(emulator) == []
    create(emulator)
    assert time.monotonic() - begun >= 0.2


def test_nobody_is_let_in_for_a_while(emulator: Emulator) -> None:
    emulator.fault("exec", refuse=1.5)

    async def use(box: AsyncSandbox) -> None:
        for _ in range(2):  # torn, then refused
            with pytest.raises(DaytonaConnectionError):
                await box.process.exec("true")
        await asyncio.to_thread(wait_until, lambda: _is_open(emulator))
        assert (await box.process.exec("echo again")).result == "again\n"

    run_in_sandbox(emulator, use)
    assert len(emulator.log("exec")) == 2  # the second never came


def _is_open(emulator: Emulator) -> bool:
    try:
        return ask(emulator, "GET", "/api/config").status == 200
    except OSError:
        return False


def test_create_ends_in_error_or_takes_long(emulator: Emulator) -> None:
    emulator.fault("sandbox_create", end_state="error", error_reason="no runner")
    emulator.fault("sandbox_create", end_state="build_failed", creating_polls=1, after=1)
    emulator.fault("sandbox_create", creating_polls=100, after=2)

    async def use(client: AsyncDaytona) -> None:
        with pytest.raises(DaytonaError, match=r"error state: SandboxState\.ERROR, error reason: no runner"):
            await client.create(Params(name="one"))
        with pytest.raises(DaytonaError, match="BUILD_FAILED"):
            await client.create(CreateSandboxFromImageParams(name="two", image=Image.base("debian:12")))
        with pytest.raises(DaytonaTimeoutError) as caught:
            await client.create(Params(name="three"), timeout=1.5)
        assert (await client.get("three")).id == caught.value.sandbox_id

    run(emulator, use)
    states = {box["name"]: box["state"] for box in emulator.sandboxes()}
    assert states == {"one": "error", "two": "build_failed", "three": "creating"}


def test_delete_is_refused_at_first_and_takes_time(emulator: Emulator) -> None:
    emulator.fault("sandbox_delete", status=409, message="Sandbox state change in progress", times=2)
    emulator.fault("sandbox_delete", destroying_polls=1, times=None)

    async def use(client: AsyncDaytona) -> None:
        box = await client.create(Params())
        for _ in range(2):
            with pytest.raises(DaytonaConflictError, match="in progress"):
                await box.delete()
        await box.delete()
        assert box.state == SandboxState.DESTROYING
        with pytest.raises(DaytonaNotFoundError):
            await client.get(box.id)

    run(emulator, use)
    assert names(emulator) == []


def test_a_build_that_is_to_fail(emulator: Emulator) -> None:
    emulator.fault("snapshot_create", build_fails="no network", build_polls=0)

    async def use(client: AsyncDaytona) -> None:
        with pytest.raises(DaytonaError, match="no network"):
            await client.snapshot.create(CreateSnapshotParams(name="one", image=Image.base("debian:12")))

    run(emulator, use)


def test_a_download_that_is_cut_short(emulator: Emulator) -> None:
    async def use(box: AsyncSandbox) -> None:
        await box.fs.upload_file(b"x" * 100_000, "file")
        emulator.fault("files_bulk_download", truncate=5000)
        with pytest.raises(DaytonaError, match="Truncated multipart response"):
            await box.fs.download_file("file")
        emulator.fault("files_bulk_download", cut_body=5000)
        with pytest.raises(DaytonaConnectionError):
            await box.fs.download_file("file")
        emulator.fault("exec", cut_body=3)
        with pytest.raises(DaytonaError):
            await box.process.exec("echo hello")
        emulator.fault("files_bulk_download", lose_response=True)
        with pytest.raises(DaytonaConnectionError):
            await box.fs.download_file("file")
        assert await box.fs.download_file("file") == b"x" * 100_000

    run_in_sandbox(emulator, use)


@pytest.mark.parametrize("state", ["destroyed", "error"])
def test_a_machine_that_dies_in_the_middle_of_a_request(emulator: Emulator, state: str) -> None:
    emulator.fault("exec", kill_sandbox=state)

    async def use(box: AsyncSandbox) -> None:
        with pytest.raises(DaytonaBadGatewayError):
            await box.process.exec("sleep 1000")

    run_in_sandbox(emulator, use)
    wait_until(lambda: [box["state"] for box in emulator.sandboxes()] == (["error"] if state == "error" else []))


# -- bad input


@pytest.mark.parametrize(
    ("route", "rule", "said"),
    [
        ("sandbox_crate", {"drop": True}, "no route 'sandbox_crate'; known: .*sandbox_create"),
        ("exec", {}, "without an action"),
        ("exec", {"explode": True}, "no action 'explode'; known: .*cut_after"),
        ("exec", {"status": 200}, "a status from 400"),
        ("exec", {"drop": "yes"}, "True or False"),
        ("exec", {"cut_after": 5}, "cut_after is for pty_create_connect"),
        ("pty_connect", {"cut_body": 5}, "cut_body is for"),
        ("pty_connect", {"exit_style": "odd"}, "exit_style='odd' is not both"),
        ("exec", {"message": "x"}, "says more about status"),
        ("exec", {"drop": True, "times": 0}, "times=0"),
        ("exec", {"drop": True, "after": -1}, "after=-1"),
        ("exec", {"drop": True, "duration": "long"}, "duration='long'"),
        ("exec", {"drop": True, "sandbox": 1}, "sandbox=1"),
        ("exec", {"delay": -1}, "a number of seconds"),
        ("exec", {"status": 429, "headers": {"a": 1}}, "a dict of texts"),
    ],
)
def test_a_rule_that_means_nothing_is_refused(emulator: Emulator, route: str, rule: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        emulator.fault(route, **rule)
    assert ask(emulator, "GET", "/api/config").status == 200


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"latencies": 1}, "no 'latencies'; known: .*latency"),
        ({"latency": -1}, "a number of seconds"),
        ({"latency": True}, "a number of seconds"),
        ({"shell": "fish"}, "auto, zsh, bash, sh"),
        ({"memory_quota": 1.5}, "a whole number or None"),
        ({"snapshot_home": "relative"}, "a folder that is there"),
        ({"build_fails": 1}, "the reason or None"),
    ],
)
def test_a_knob_that_is_not_there_is_refused(emulator: Emulator, settings: dict[str, Any], said: str) -> None:
    before = emulator.configure()
    with pytest.raises(ValueError, match=said):
        emulator.configure(rate_limit=1, **settings)
    assert emulator.configure() == before


def test_other_orders_that_mean_nothing(emulator: Emulator) -> None:
    with pytest.raises(ValueError, match="no sandbox 'none'"):
        emulator.kill_sandbox("none")
    with pytest.raises(ValueError, match="not destroyed or error"):
        emulator.kill_sandbox(create(emulator)["id"], state="tired")
    with pytest.raises(ValueError, match="to go forward"):
        emulator.advance(-1)
    with pytest.raises(ValueError, match="one of building"):
        emulator.put_snapshot("one", state="happy")
    with pytest.raises(ValueError, match="no colour"):
        emulator.put_snapshot("one", colour="red")


def test_concurrent_requests_each_take_one_of_a_rule(emulator: Emulator) -> None:
    emulator.fault("config", status=500, times=3)

    async def many() -> list[int]:
        answers = await asyncio.gather(*(asyncio.to_thread(ask, emulator, "GET", "/api/config") for _ in range(6)))
        return sorted(answer.status for answer in answers)

    assert asyncio.run(many()) == [200, 200, 200, 500, 500, 500]
