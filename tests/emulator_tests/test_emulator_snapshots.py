"""Snapshots, by the SDK: built, found, activated, used, deleted."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from daytona import (
    AsyncDaytona,
    CreateSandboxFromImageParams,
    CreateSandboxFromSnapshotParams,
    CreateSnapshotParams,
    DaytonaConflictError,
    DaytonaError,
    DaytonaNotFoundError,
    Image,
    Resources,
)
from daytona_client import ask, run
from emulator import Emulator

IMAGE = Image.base("debian:12").run_commands("install kiro-cli", "kiro-cli --version")


def test_a_snapshot_is_built_and_used(emulator: Emulator, tmp_path: Path) -> None:
    (tmp_path / ".local" / "bin").mkdir(parents=True)
    program = tmp_path / ".local" / "bin" / "kiro-cli"
    program.write_text("#!/bin/sh\necho a stand-in\n", encoding="utf-8")
    program.chmod(0o755)
    emulator.configure(snapshot_home=str(tmp_path))
    said: list[str] = []

    async def use(client: AsyncDaytona) -> None:
        with pytest.raises(DaytonaNotFoundError):
            await client.snapshot.get("kiro-1")
        params = CreateSnapshotParams(name="kiro-1", image=IMAGE, resources=Resources(cpu=2, memory=4, disk=5))
        made = await client.snapshot.create(params, on_logs=said.append)
        assert (made.state.value, made.cpu, made.mem, made.disk) == ("active", 2, 4, 5)
        assert (await client.snapshot.get("kiro-1")).id == made.id
        assert "kiro-1" in [one.name for one in (await client.snapshot.list()).items]
        box = await client.create(CreateSandboxFromSnapshotParams(snapshot="kiro-1"))
        assert (box.memory, box.snapshot) == (4, "kiro-1")
        assert (await box.process.exec("~/.local/bin/kiro-cli")).result == "a stand-in\n"
        plain = await client.create(CreateSandboxFromSnapshotParams())
        assert (await plain.process.exec("ls ~/.local")).exit_code != 0
        built = await client.create(CreateSandboxFromImageParams(image=IMAGE))
        assert (await built.process.exec("~/.local/bin/kiro-cli")).result == "a stand-in\n"
        await client.snapshot.delete("kiro-1")
        with pytest.raises(DaytonaNotFoundError):
            await client.snapshot.get("kiro-1")

    run(emulator, use)
    assert emulator.snapshots() == []
    text = "\n".join(said)
    assert "RUN install kiro-cli" in text
    assert "Successfully built kiro-1" in text


def test_a_build_takes_as_many_questions_as_is_said(emulator: Emulator) -> None:
    emulator.configure(build_polls=2)
    body = {"name": "slow", "buildInfo": {"dockerfileContent": "FROM x:1\nRUN true\n"}}
    assert ask(emulator, "POST", "/api/snapshots", body).body["state"] == "building"
    answers = [ask(emulator, "GET", "/api/snapshots/slow").body["state"] for _ in range(3)]
    assert answers == ["building", "active", "active"]
    assert emulator.snapshots()[0]["dockerfile"].splitlines()[1] == "RUN true"


def test_a_build_that_fails_says_why_and_has_a_log(emulator: Emulator) -> None:
    emulator.configure(build_fails="the download failed")

    async def use(client: AsyncDaytona) -> None:
        with pytest.raises(DaytonaError, match="Failed to create snapshot broken, reason: the download failed"):
            await client.snapshot.create(CreateSnapshotParams(name="broken", image=IMAGE))
        snapshot = await client.snapshot.get("broken")
        assert (snapshot.state.value, snapshot.error_reason) == ("build_failed", "the download failed")
        with pytest.raises(DaytonaError, match="Snapshot broken is build_failed"):
            await client.create(CreateSandboxFromSnapshotParams(snapshot="broken"))

    run(emulator, use)
    url = ask(emulator, "GET", "/api/snapshots/broken/build-logs-url").body["url"]
    log = ask(emulator, "GET", url.removeprefix(emulator.url.removesuffix("/api"))).body.decode()
    assert "Step 2/" in log
    assert log.endswith("ERROR: the download failed\n")


def test_a_log_is_followed_to_the_end_of_the_build(emulator: Emulator) -> None:
    ask(emulator, "POST", "/api/snapshots", {"name": "one", "buildInfo": {"dockerfileContent": "FROM x:1\n"}})
    answers: list[bytes] = []
    path = "/api/snapshots/one/build-logs"
    assert b"Successfully" not in ask(emulator, "GET", path).body
    reader = threading.Thread(target=lambda: answers.append(ask(emulator, "GET", f"{path}?follow=true").body))
    reader.start()
    ask(emulator, "GET", "/api/snapshots/one")  # the build's last question
    reader.join(10)
    assert answers
    assert answers[0].endswith(b"Successfully built one\n")


def test_an_inactive_snapshot_is_activated(emulator: Emulator) -> None:
    emulator.put_snapshot("old", state="inactive", dockerfile="FROM x:1\n")

    async def use(client: AsyncDaytona) -> None:
        with pytest.raises(DaytonaError, match="Snapshot old is inactive") as caught:
            await client.create(CreateSandboxFromSnapshotParams(snapshot="old"))
        assert caught.value.status_code == 400
        assert (await client.snapshot.activate("old")).state.value == "pending"
        assert (await client.snapshot.get("old")).state.value == "active"
        assert (await client.create(CreateSandboxFromSnapshotParams(snapshot="old"))).snapshot == "old"

    run(emulator, use)
    assert ask(emulator, "POST", "/api/snapshots/old/activate").status == 400


def test_two_who_create_the_same_snapshot(emulator: Emulator) -> None:
    emulator.configure(build_polls=0)

    async def use(client: AsyncDaytona) -> list[object]:
        params = CreateSnapshotParams(name="one", image=IMAGE)
        return await asyncio.gather(*(client.snapshot.create(params) for _ in range(2)), return_exceptions=True)

    outcomes = run(emulator, use)
    assert sorted(type(one).__name__ for one in outcomes) == ["DaytonaConflictError", "Snapshot"]
    assert any(isinstance(one, DaytonaConflictError) for one in outcomes)


def test_what_is_no_snapshot_is_refused(emulator: Emulator) -> None:
    for body in (
        {},
        {"name": "x"},
        {"name": "x", "imageName": "debian"},
        {"name": "x", "imageName": "debian:latest"},
        {"name": "x", "imageName": "debian:12", "buildInfo": {"dockerfileContent": "FROM x:1"}},
    ):
        assert ask(emulator, "POST", "/api/snapshots", body).status == 400, body
    assert ask(emulator, "DELETE", "/api/snapshots/daytona-small").status == 403
    assert ask(emulator, "GET", "/api/snapshots?limit=0").status == 400
