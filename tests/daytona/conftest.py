"""One emulated Daytona for these tests, begun anew for each; the SDK that talks to it is the real one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daytona_helpers import Clock, Make
from emulator import Emulator

from pytest_kiro.sandbox.daytona.provider import DaytonaProvider
from pytest_kiro.sandbox.daytona.sandbox import DaytonaSandbox
from pytest_kiro.sandbox.protocol import SandboxSpec
from pytest_kiro.settings.table import read
from pytest_kiro.settings.waits import DaytonaWaits, Waits


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def waits() -> DaytonaWaits:
    """How long the product waits; a test in a hurry parametrizes it."""
    return DaytonaWaits()


@pytest.fixture(scope="session")
def daytona() -> Iterator[Emulator]:
    with Emulator() as made:
        yield made


@pytest.fixture
def emulator(daytona: Emulator) -> Iterator[Emulator]:
    """An emulator without rules, sandboxes and log; nothing may be left in it."""
    daytona.reset()
    yield daytona
    daytona.clear_faults()
    assert daytona.sandboxes() == []
    assert daytona.crashes() == []


@pytest.fixture
def provider(
    emulator: Emulator, waits: DaytonaWaits, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Make]:
    """Makes providers of one run: `provider(worker="gw0", max_sandboxes="2", environ={…})`; all are closed."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("t")))
    made: list[DaytonaProvider] = []
    run_id = os.urandom(8).hex()

    def _make(
        *,
        worker: str = "main",
        run: str = run_id,
        recipe: tuple[str, ...] = (),
        environ: dict[str, str] | None = None,
        clock: Clock | None = None,
        **options: str,
    ) -> DaytonaProvider:
        settings = read(
            option=options.get, environ={}, ini=lambda _: None, run_id=run, worker=worker, waits=Waits(daytona=waits)
        )
        keys = {"DAYTONA_API_URL": emulator.url, "DAYTONA_API_KEY": emulator.key, **(environ or {})}
        waiting: dict[str, Any] = {"pause": clock.pause, "clock": clock.clock} if clock else {}
        made.append(DaytonaProvider(settings, recipe=recipe, environ=keys, **waiting))
        return made[-1]

    yield _make
    emulator.clear_faults()
    for one in made:
        assert one.close() == []


@pytest.fixture
def sandbox(provider: Make) -> Iterator[DaytonaSandbox]:
    made = provider().create(SandboxSpec())
    yield made
    made.close()


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory whose `.env` wants to give us somebody's key, address and target."""
    lines = ["DAYTONA_API_KEY=stolen", "DAYTONA_API_URL=http://evil.example/api", "DAYTONA_TARGET=moon"]
    lines += ["DAYTONA_JWT_TOKEN=stolen", "DAYTONA_ORGANIZATION_ID=evil", "DAYTONA_OTEL_ENABLED=true"]
    lines += ["DAYTONA_USE_DEPRECATED_POLLING=true", "DAYTONA_HAPPY_EYEBALLS_DELAY=nonsense"]
    for name in (".env", ".env.local"):
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path
