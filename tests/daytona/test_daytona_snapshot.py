"""Set-up is paid for once: a snapshot is built, found again, woken up, mended, and shared by all workers."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from daytona_helpers import Clock, Make
from emulator import Emulator

from pytest_kiro.errors import SandboxError, SandboxTimeout
from pytest_kiro.kirocli.install import install
from pytest_kiro.kirocli.official import build_lines
from pytest_kiro.sandbox.daytona.client import Client
from pytest_kiro.sandbox.daytona.provider import DaytonaProvider
from pytest_kiro.sandbox.daytona.snapshot import Builder
from pytest_kiro.sandbox.protocol import SandboxSpec
from pytest_kiro.settings.waits import DaytonaWaits

RECIPE = ("echo one", "echo two")
SIZES = {"cpu": 2, "memory": 4, "disk": 8}


@pytest.fixture
def auto(provider: Make) -> Any:
    """Makes providers that build: `auto(worker="gw0")`."""

    def make(**more: Any) -> DaytonaProvider:
        return provider(**{"snapshot": "auto", "recipe": RECIPE, **more})

    return make


def name(recipe: Sequence[str] = RECIPE, **sizes: int) -> str:
    return Builder(Client({}), recipe, {**SIZES, **sizes}).name


def used(emulator: Emulator) -> list[str]:
    return [one["body"]["snapshot"] for one in emulator.log("sandbox_create")]


def calls(emulator: Emulator, route: str) -> int:
    return len(emulator.log(f"snapshot_{route}"))


# -- what is built


def test_it_is_built_once_and_used_again(emulator: Emulator, auto: Make) -> None:
    auto().create(SandboxSpec())
    auto(run="the-next-run").create(SandboxSpec())
    assert used(emulator) == [name(), name()]
    assert calls(emulator, "create") == 1
    (built,) = emulator.snapshots()
    assert (built["name"], built["cpu"], built["mem"], built["disk"]) == (name(), 2, 4, 8)


def test_only_commands_are_in_it_and_nothing_of_a_login(
    emulator: Emulator, auto: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIRO_API_KEY", "ksk_secret")
    auto(recipe=tuple(build_lines(None))).create(SandboxSpec(env={"TOKEN": "tok_secret"}))
    (one,) = emulator.log("snapshot_create")
    assert "secret" not in str(one["body"])
    assert emulator.key not in str(one["body"])
    assert one["body"]["buildInfo"]["contextHashes"] == []
    lines = one["body"]["buildInfo"]["dockerfileContent"].splitlines()
    assert {line.partition(" ")[0] for line in lines if line} == {"FROM", "RUN", "USER", "WORKDIR", "ENV"}
    assert re.fullmatch(r"FROM node:\d+-\w+", lines[0])
    user = lines.index("USER daytona")
    for line in build_lines(None):
        assert lines.index(f"RUN {line}") > user
    assert "--version" in lines[-2], "a bad installation fails the build, and not every test"


def test_another_content_is_another_snapshot() -> None:
    recipes = [RECIPE, (), build_lines(None), build_lines("2.28.0"), build_lines("2.29.0")]
    names = [name(recipe) for recipe in recipes] + [name(cpu=4), name(memory=8)]
    assert len({*names}) == len(names)
    assert names[0] == name()
    assert all(re.fullmatch(r"pytest-kiro-[0-9a-f]{12}", one) for one in names)


def test_it_has_the_resources_that_were_asked_for(emulator: Emulator, auto: Make) -> None:
    auto().create(SandboxSpec(resources={"memory": 8}))
    assert used(emulator) == [name(memory=8)]
    assert emulator.snapshots()[0]["mem"] == 8


def test_what_the_build_says_is_told_while_it_does(
    emulator: Emulator, auto: Make, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "pytest_kiro"):
        auto().create(SandboxSpec())
    assert f"building snapshot {name()}, once; later runs use it" in caplog.messages
    steps = [line for line in caplog.messages if line.startswith("building snapshot: Step ")]
    assert len(steps) > 5
    assert any(line.endswith("RUN echo one") for line in steps)


def test_a_snapshot_that_is_named_is_not_built(emulator: Emulator, auto: Make) -> None:
    emulator.put_snapshot("mine")
    auto(snapshot="mine").create(SandboxSpec())
    auto().create(SandboxSpec(snapshot="mine"))
    assert used(emulator) == ["mine", "mine"]
    assert calls(emulator, "create") == 0


def test_the_cli_that_a_snapshot_has_is_not_installed_again(emulator: Emulator, auto: Make, tmp_path: Path) -> None:
    program = tmp_path / "home" / ".local" / "bin" / "kiro-cli"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho kiro-cli 2.29.0\n")
    program.chmod(0o755)
    emulator.configure(snapshot_home=str(tmp_path / "home"))
    sandbox = auto().create(SandboxSpec())
    emulator.reset_log()
    found = install(sandbox, "official", timeout=30)
    assert (found.path, found.version, found.scripted) == (f"{sandbox.home}/.local/bin/kiro-cli", "2.29.0", False)
    assert len(emulator.log("exec")) == 1


# -- what there is already


def test_one_that_sleeps_is_woken_up(emulator: Emulator, auto: Make, clock: Clock) -> None:
    emulator.put_snapshot(name(), state="inactive")
    emulator.configure(activate_polls=2)
    auto(clock=clock).create(SandboxSpec())
    assert (calls(emulator, "activate"), calls(emulator, "create")) == (1, 0)
    assert used(emulator) == [name()]


@pytest.mark.parametrize("state", ["error", "build_failed"])
def test_one_that_is_broken_is_built_again(emulator: Emulator, auto: Make, clock: Clock, state: str) -> None:
    emulator.put_snapshot(name(), state=state, error_reason="the runner was lost")
    auto(clock=clock).create(SandboxSpec())
    assert (calls(emulator, "delete"), calls(emulator, "create")) == (1, 1)
    assert used(emulator) == [name()]


def test_one_that_fails_again_is_given_up_with_the_end_of_its_log(emulator: Emulator, auto: Make, clock: Clock) -> None:
    emulator.put_snapshot(name(), state="build_failed", error_reason="no space")
    emulator.configure(build_fails="apt-get said 100")
    made = auto(clock=clock)
    with pytest.raises(SandboxError) as caught:
        made.create(SandboxSpec())
    first, *lines, advice = str(caught.value).splitlines()
    assert first == f"snapshot {name()} could not be built: apt-get said 100"
    assert "  | ERROR: apt-get said 100" in lines
    assert any("RUN echo two" in line for line in lines)
    assert advice.endswith("--kiro-snapshot=none installs into each sandbox instead")
    assert (calls(emulator, "delete"), calls(emulator, "create")) == (1, 1)
    assert emulator.log("sandbox_create") == []


def test_one_that_is_new_and_fails_is_not_built_twice(emulator: Emulator, auto: Make, clock: Clock) -> None:
    emulator.configure(build_fails="apt-get said 100")
    with pytest.raises(SandboxError, match="could not be built: apt-get said 100"):
        auto(clock=clock).create(SandboxSpec())
    assert (calls(emulator, "delete"), calls(emulator, "create")) == (0, 1)


def test_one_that_another_worker_builds_and_that_fails_is_not_built_again(
    emulator: Emulator, auto: Make, clock: Clock
) -> None:
    class Failing(Clock):
        async def pause(self, seconds: float) -> None:
            emulator.put_snapshot(name(), state="build_failed", error_reason="apt-get said 100")

    emulator.put_snapshot(name(), state="building")
    with pytest.raises(SandboxError, match="could not be built: apt-get said 100"):
        auto(clock=Failing()).create(SandboxSpec())
    assert (calls(emulator, "delete"), calls(emulator, "create")) == (0, 0)


def test_one_that_is_deleted_before_it_is_used_is_built_again(emulator: Emulator, auto: Make) -> None:
    emulator.put_snapshot(name())
    emulator.fault("sandbox_create", status=400, message=f"Snapshot {name()} not found. Did you add it?")
    auto().create(SandboxSpec())
    assert [one["status"] for one in emulator.log("sandbox_create")] == [400, 200]
    assert emulator.sandboxes()[0]["snapshot"] == name()


def test_one_that_is_never_ready_is_given_up(emulator: Emulator, clock: Clock) -> None:
    emulator.put_snapshot(name(), state="pulling")
    environ = {"DAYTONA_API_URL": emulator.url, "DAYTONA_API_KEY": emulator.key}
    client = Client(environ, waits=DaytonaWaits(build=0.2), pause=clock.pause)
    with pytest.raises(SandboxTimeout, match=f"snapshot {name()} was not ready within 0.2 s"):
        client.wait_for(Builder(client, RECIPE, SIZES).ensure(), 30)
    client.close()


# -- faults, and others at the same time


def test_two_workers_at_once_build_one_and_both_use_it(emulator: Emulator, auto: Make) -> None:
    emulator.configure(build_polls=2)
    workers = [auto(worker=f"gw{number}") for number in range(2)]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda one: one.create(SandboxSpec()), workers))
    assert used(emulator) == [name(), name()]
    assert sorted(one["status"] for one in emulator.log("snapshot_create")) in ([200], [200, 409])
    assert len(emulator.snapshots()) == 1


@pytest.mark.parametrize(
    ("route", "fault"),
    [
        ("create", {"lose_response": True}),
        ("create", {"drop": True}),
        ("create", {"status": 503, "times": 2}),
        ("create", {"status": 409, "message": "already exists"}),
        ("get", {"status": 502, "times": 2}),
        ("get", {"after": 1, "status": 502, "times": 2}),
        ("build_logs", {"status": 500}),
        ("build_logs", {"cut_body": 10}),
        ("build_logs_url", {"lose_response": True}),
        ("activate", {"lose_response": True}),
        ("delete", {"lose_response": True}),
        ("delete", {"status": 409, "message": "Snapshot is being removed"}),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, dict) else value,
)
def test_a_build_survives(emulator: Emulator, auto: Make, clock: Clock, route: str, fault: dict[str, Any]) -> None:
    if route in ("activate", "delete"):
        emulator.put_snapshot(name(), state="inactive" if route == "activate" else "error")
    if fault.get("status") == 409 and route == "delete":

        class Removed(Clock):
            async def pause(self, seconds: float) -> None:
                emulator.put_snapshot(name(), state="active")  # another worker has built it meanwhile

        clock = Removed()
    emulator.fault(f"snapshot_{route}", **fault)
    auto(clock=clock).create(SandboxSpec())
    assert used(emulator) == [name()]


def test_a_key_that_may_not_build_says_so(emulator: Emulator, auto: Make) -> None:
    emulator.fault("snapshot_create", status=403, message="Forbidden resource")
    with pytest.raises(
        SandboxError, match=rf"build snapshot {name()}: Daytona answered: HTTP 403(?s:.*)snapshots write"
    ):
        auto().create(SandboxSpec())


def test_no_room_for_a_snapshot_is_not_taken_for_no_room_for_a_sandbox(emulator: Emulator, auto: Make) -> None:
    emulator.fault("snapshot_create", status=403, message="Snapshot quota exceeded. Maximum allowed: 30")
    with pytest.raises(SandboxError, match=r"quota exceeded. Maximum allowed: 30; delete snapshots that nobody uses"):
        auto().create(SandboxSpec())
