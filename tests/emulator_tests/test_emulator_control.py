"""The control plane, by the SDK: sandboxes are made, found, changed and deleted."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from daytona import (
    AsyncDaytona,
    CreateSandboxFromImageParams,
    CreateSandboxFromSnapshotParams,
    DaytonaAuthenticationError,
    DaytonaConflictError,
    DaytonaError,
    DaytonaForbiddenError,
    DaytonaNotFoundError,
    DaytonaRateLimitError,
    Image,
    ListSandboxesQuery,
    Resources,
    SandboxState,
)
from daytona_client import ask, create, run
from emulator import Emulator
from helpers import wait_until

Params = CreateSandboxFromSnapshotParams


def test_a_sandbox_is_created_as_it_was_asked_for(emulator: Emulator) -> None:
    async def use(client: AsyncDaytona) -> None:
        params = Params(
            name="mine", labels={"a": "b"}, env_vars={"X": "y"}, auto_stop_interval=5, ephemeral=True, ttl_minutes=60
        )
        made = await client.create(params)
        for box in (made, await client.get(made.id), await client.get("mine")):
            assert (box.id, box.name, box.state, box.env) == (made.id, "mine", SandboxState.STARTED, {"X": "y"})
            assert box.labels == {"a": "b", "code-toolbox-language": "python"}
            assert (box.auto_stop_interval, box.auto_delete_interval) == (5, 0)
            assert (box.cpu, box.memory, box.disk) == (1, 1, 3)
            lives = datetime.fromisoformat(box.auto_destroy_at) - datetime.fromisoformat(box.created_at)
            assert lives == timedelta(hours=1)

    run(emulator, use)
    (seen,) = emulator.sandboxes()
    assert (seen["ttlMinutes"], seen["autoStopInterval"], seen["autoDeleteInterval"]) == (60, 5, 0)
    (request,) = emulator.log("sandbox_create")
    assert request["body"]["ttlMinutes"] == 60
    assert request["status"] == 200
    assert request["sandbox"] == seen["id"]
    assert request["started"] <= request["ended"]


def test_resources_are_the_images_or_the_snapshots(emulator: Emulator) -> None:
    async def use(client: AsyncDaytona) -> None:
        image = Image.base("debian:12").run_commands("echo hello")
        resources = Resources(cpu=2, memory=4, disk=5)
        box = await client.create(CreateSandboxFromImageParams(image=image, resources=resources))
        assert (box.cpu, box.memory, box.disk) == (2, 4, 5)
        box = await client.create(Params(snapshot="daytona-medium"))
        assert (box.cpu, box.memory, box.disk, box.snapshot) == (2, 4, 8, "daytona-medium")

    run(emulator, use)
    assert "RUN echo hello" in emulator.sandboxes()[0]["dockerfile"]


def test_an_unknown_snapshot_is_an_error_and_leaves_nothing(emulator: Emulator) -> None:
    with pytest.raises(DaytonaError, match="Snapshot nope not found") as caught:
        run(emulator, lambda client: client.create(Params(snapshot="nope")))
    assert caught.value.status_code == 400
    assert emulator.sandboxes() == []


def test_a_name_is_taken_while_its_sandbox_lives(emulator: Emulator) -> None:
    async def use(client: AsyncDaytona) -> None:
        first = await client.create(Params(name="mine"))
        with pytest.raises(DaytonaConflictError, match="mine already exists"):
            await client.create(Params(name="mine"))
        await first.delete()
        assert (await client.create(Params(name="mine"))).id != first.id

    run(emulator, use)


def test_a_deleted_sandbox_is_gone(emulator: Emulator) -> None:
    async def use(client: AsyncDaytona) -> None:
        box = await client.create(Params(name="mine"))
        await box.delete()
        assert box.state == SandboxState.DESTROYED
        for wanted in (box.id, "mine"):
            with pytest.raises(DaytonaNotFoundError, match="not found"):
                await client.get(wanted)
        assert [one async for one in client.list()] == []

    run(emulator, use)
    assert emulator.sandboxes() == []
    assert [box["state"] for box in emulator.sandboxes(destroyed=True)] == ["destroyed"]


def test_a_list_has_filters_and_pages(emulator: Emulator) -> None:
    for number in range(5):
        create(emulator, name=f"box-{number}", labels={"run": "one", "number": str(number)})
    create(emulator, name="other", labels={"run": "two"})

    async def use(client: AsyncDaytona) -> None:
        async def names(**query: object) -> list[str]:
            return [box.name async for box in client.list(ListSandboxesQuery(**query))]

        assert await names(labels={"run": "one"}, limit=2) == [f"box-{n}" for n in (4, 3, 2, 1, 0)]
        assert await names(labels={"run": "one", "number": "3"}) == ["box-3"]
        assert await names(name="oth") == ["other"]
        assert await names(states=[SandboxState.STOPPED]) == []
        assert len(await names(states=[SandboxState.STOPPED, SandboxState.STARTED])) == 6
        now = datetime.now(UTC)
        assert len(await names(created_at_before=now)) == 6
        assert await names(created_at_before=now - timedelta(hours=1)) == []
        assert await names(snapshots=["daytona-large"]) == []

    run(emulator, use)
    assert [request["query"].get("cursor") is None for request in emulator.log("sandbox_list")[:3]] == [
        True,
        False,
        False,
    ]
    assert "env" not in ask(emulator, "GET", "/api/sandbox").body["items"][0]
    assert ask(emulator, "GET", "/api/sandbox?colour=red").status == 400
    assert ask(emulator, "GET", "/api/sandbox?labels=x").status == 400


def test_what_can_be_set_later(emulator: Emulator) -> None:
    async def use(client: AsyncDaytona) -> None:
        box = await client.create(Params(labels={"a": "b"}))
        await box.set_autostop_interval(30)
        await box.set_auto_delete_interval(40)
        await box.set_auto_archive_interval(50)
        await box.set_ttl(60)
        assert await box.set_labels({"x": "y"}) == {"x": "y"}
        await box.refresh_activity()

    run(emulator, use)
    (seen,) = emulator.sandboxes()
    intervals = [
        seen[f"{name}"] for name in ("autoStopInterval", "autoDeleteInterval", "autoArchiveInterval", "ttlMinutes")
    ]
    assert intervals == [30, 40, 50, 60]
    assert seen["labels"] == {"x": "y"}  # all were replaced
    assert emulator.log("sandbox_last_activity")[0]["status"] == 201
    assert ask(emulator, "POST", f"/api/sandbox/{seen['id']}/autostop/soon").status == 400
    assert ask(emulator, "POST", f"/api/sandbox/{seen['id']}/autostop/-1").status == 400


def test_stop_and_start(emulator: Emulator) -> None:
    async def use(client: AsyncDaytona) -> None:
        box = await client.create(Params())
        await box.process.exec("echo kept > file; sleep 1000 >/dev/null 2>&1 &")
        assert len(emulator.sandboxes()[0]["pids"]) == 1
        await box.stop()
        assert box.state == SandboxState.STOPPED
        assert emulator.sandboxes()[0]["pids"] == []
        with pytest.raises(DaytonaError, match="stopped, not started"):
            await box.process.exec("true")
        await box.start()
        assert (await box.process.exec("cat file")).result == "kept\n"

    run(emulator, use)


def test_an_ephemeral_one_is_deleted_on_stop(emulator: Emulator) -> None:
    async def use(client: AsyncDaytona) -> None:
        await (await client.create(Params(ephemeral=True))).stop()

    run(emulator, use)
    assert emulator.sandboxes() == []


def test_the_sdk_asks_for_the_toolbox_when_it_is_not_told(emulator: Emulator) -> None:
    emulator.configure(toolbox_url=False)

    async def use(client: AsyncDaytona) -> str:
        box = await client.create(Params())
        return (await box.process.exec("echo here")).result

    assert run(emulator, use) == "here\n"
    assert len(emulator.log("sandbox_toolbox_proxy_url")) == 1


def test_a_sandbox_takes_time_to_start_and_to_go(emulator: Emulator) -> None:
    emulator.configure(creating_polls=1, destroying_polls=2)
    record = create(emulator, name="mine")
    assert record["state"] == "creating"
    assert ask(emulator, "POST", f"/toolbox/{record['id']}/process/execute", {"command": "true"}).status == 400
    assert ask(emulator, "GET", f"/api/sandbox/{record['id']}").body["state"] == "started"
    assert ask(emulator, "DELETE", f"/api/sandbox/{record['id']}").body["state"] == "destroying"
    answers = [ask(emulator, "GET", f"/api/sandbox/{record['id']}") for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 404, 404]

    async def use(client: AsyncDaytona) -> None:
        box = await client.create(Params())
        assert box.state == SandboxState.STARTED
        await box.delete(wait=True)
        assert box.state == SandboxState.DESTROYED

    run(emulator, use)


@pytest.mark.parametrize("which", ["wrong", "expired"])
def test_a_bad_key_is_401(emulator: Emulator, which: str) -> None:
    key, said = ("nonsense", "Invalid") if which == "wrong" else (emulator.expired_key, "expired")
    with pytest.raises(DaytonaAuthenticationError, match=said) as caught:
        run(emulator, lambda client: client.create(Params()), key=key)
    assert caught.value.status_code == 401
    assert emulator.sandboxes() == []
    record = create(emulator)
    assert ask(emulator, "GET", f"/toolbox/{record['id']}/work-dir", key=key).status == 401


def test_a_key_may_not_delete(emulator: Emulator) -> None:
    async def use(client: AsyncDaytona) -> None:
        box = await client.create(Params())
        with pytest.raises(DaytonaForbiddenError, match="permission"):
            await box.delete()

    run(emulator, use, key=emulator.key_without_delete)
    assert len(emulator.sandboxes()) == 1


@pytest.mark.parametrize(
    ("knob", "word"), [("memory_quota", "memory"), ("cpu_quota", "CPU"), ("max_sandboxes", "sandbox")]
)
def test_a_quota_is_403(emulator: Emulator, knob: str, word: str) -> None:
    emulator.configure(**{knob: 2})

    async def use(client: AsyncDaytona) -> None:
        boxes = [await client.create(Params()) for _ in range(2)]
        with pytest.raises(
            DaytonaForbiddenError, match=rf"Total {word} limit exceeded. Maximum allowed: 2(GiB)?\.\n.*upgrade"
        ):
            await client.create(Params())
        await boxes[0].stop()  # holds its disk only
        await client.create(Params())

    run(emulator, use)
    assert len(emulator.sandboxes()) == 3


def test_disk_is_held_by_what_is_stopped(emulator: Emulator) -> None:
    emulator.configure(disk_quota=3)
    box = create(emulator)
    assert ask(emulator, "POST", f"/api/sandbox/{box['id']}/stop").status == 200
    answer = ask(emulator, "POST", "/api/sandbox", {})
    assert (answer.status, "Total disk limit exceeded. Maximum allowed: 3GiB" in answer.body["message"]) == (403, True)
    assert ask(emulator, "POST", f"/api/sandbox/{box['id']}/start").status == 200


def test_creates_are_limited_per_minute(emulator: Emulator) -> None:
    emulator.configure(rate_limit=1)

    async def use(client: AsyncDaytona) -> DaytonaRateLimitError:
        await client.create(Params())
        with pytest.raises(DaytonaRateLimitError) as caught:
            await client.create(Params())
        return caught.value

    headers = {name.lower(): text for name, text in run(emulator, use).headers.items()}
    assert 1 <= int(headers["retry-after-sandbox-create"]) <= 60
    assert headers["x-ratelimit-limit-sandbox-create"] == "1"
    assert ask(emulator, "POST", "/api/sandbox", {}).status == 429
    emulator.advance(61)
    answer = ask(emulator, "POST", "/api/sandbox", {})
    assert (answer.status, answer.headers["X-RateLimit-Remaining-sandbox-create"]) == (200, "0")


# -- time


def states(emulator: Emulator) -> list[str]:
    return [box["state"] for box in emulator.sandboxes()]


def test_an_idle_sandbox_stops_and_is_deleted_later(emulator: Emulator) -> None:
    create(emulator, autoStopInterval=15, autoDeleteInterval=30)
    emulator.advance(14 * 60)
    assert states(emulator) == ["started"]
    emulator.advance(2 * 60)
    assert states(emulator) == ["stopped"]
    emulator.advance(28 * 60)
    assert states(emulator) == ["stopped"]
    emulator.advance(2 * 60)
    assert states(emulator) == []


def test_one_jump_is_as_many_small_ones(emulator: Emulator) -> None:
    create(emulator, autoStopInterval=15, autoDeleteInterval=30)
    create(emulator, autoStopInterval=15, autoDeleteInterval=0)
    create(emulator, autoStopInterval=0)
    emulator.advance(46 * 60)
    assert states(emulator) == ["started"]


def test_use_keeps_a_sandbox_and_time_to_live_does_not_care(emulator: Emulator) -> None:
    record = create(emulator, autoStopInterval=15, ttlMinutes=40)
    path = f"/toolbox/{record['id']}/work-dir"
    for _ in range(3):
        emulator.advance(12 * 60)
        assert ask(emulator, "GET", path).status == 200
    assert states(emulator) == ["started"]
    emulator.advance(5 * 60)
    assert states(emulator) == []


def test_an_open_pty_is_use_and_a_detached_one_is_not(emulator: Emulator) -> None:
    async def use(client: AsyncDaytona) -> None:
        box = await client.create(Params(auto_stop_interval=15))
        handle = await box.process.create_pty_session("one", lambda data: None)
        await asyncio.to_thread(emulator.advance, 3600)
        assert await asyncio.to_thread(states, emulator) == ["started"]
        await handle.disconnect()
        await asyncio.to_thread(wait_until, lambda: emulator.log("pty_create_connect")[0]["ended"])
        await asyncio.to_thread(emulator.advance, 3600)
        assert await asyncio.to_thread(states, emulator) == ["stopped"]

    run(emulator, use)
