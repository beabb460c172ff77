"""A `Kiro` without pytest around it, answered by the stand-in; on the local sandbox unless told otherwise."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pytest_kiro import Identity, Kiro, SandboxSpec
from pytest_kiro.agent.bench import Bench, Owner
from pytest_kiro.kirocli import commands
from pytest_kiro.kirocli.install import install
from pytest_kiro.sandbox.local import LocalProvider
from pytest_kiro.sandbox.protocol import Provider
from pytest_kiro.settings import table as settings


@contextmanager
def bench_kiro(
    scenario: str, make: Callable[[settings.Settings], Provider] = LocalProvider
) -> Iterator[tuple[Kiro, list[Owner], Path]]:
    """Yield Kiro, its owners, and the file whose scenario is `scenario`."""
    chosen = settings.read(option=lambda _: None, environ={}, ini=lambda _: None)
    provider = make(chosen)
    owners: list[Owner] = []
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "bench.py"
        scenarios = Path(name) / chosen.scenarios
        scenarios.mkdir()
        (scenarios / "bench.toml").write_text(scenario)
        sandbox = provider.create(SandboxSpec())
        try:
            cli = install(sandbox, "scripted", timeout=60)
            identity = Identity("scripted", env={commands.API_KEY: commands.PLACEHOLDER_KEY})
            yield Kiro(Bench.set_up(sandbox, cli, identity, chosen), lambda: owners[-1]), owners, file
        finally:
            sandbox.close()
            provider.close()


@contextmanager
def owner(owners: list[Owner], file: Path, table: str) -> Iterator[None]:
    """Be a test of the name `table` for a while."""
    test = Owner(table, (table,), file)
    owners.append(test)
    try:
        yield
    finally:
        owners.remove(test)
        test.end()
