"""The one fixture by which contracts S and P are tested on every provider, and what follows from it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from emulator import Emulator
from machines import PROVIDERS, PTY_PROVIDERS, After, Machines

from pytest_kiro.sandbox.protocol import Pty, Sandbox, SandboxSpec
from pytest_kiro.settings.table import read


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    """One emulated Daytona for all contract tests; it is the real SDK that talks to it."""
    with Emulator() as made:
        yield made
        assert made.sandboxes() == []
        assert made.crashes() == []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Test contract S on every provider, contract P in every way to end as well."""
    if "machines" in metafunc.fixturenames:
        names = PTY_PROVIDERS if metafunc.module.__name__ == "test_pty_contract" else PROVIDERS
        metafunc.parametrize("machines", list(names), indirect=True)


@pytest.fixture
def machines(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Machines]:
    temporary = tmp_path_factory.mktemp("t")  # of its own, so that what is left behind is seen
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    settings = read(option=lambda _: None, environ={}, ini=lambda _: None, run_id=os.urandom(8).hex())
    emulator = None if request.param in ("local", "bubblewrap") else request.getfixturevalue("emulator")
    made = PTY_PROVIDERS[request.param](settings, emulator)
    yield made
    assert made.provider.close() == []
    ours = (f"sandboxes-{os.getuid()}", f"pytest-kiro-{os.getuid()}")
    assert [p.name for p in Path(temporary).rglob("*") if p.name not in ours] == []


@pytest.fixture
def sandbox(machines: Machines) -> Iterator[Sandbox]:
    made = machines.provider.create(SandboxSpec(env={"OF_SPEC": "spec"}))
    yield made
    made.close()


@pytest.fixture
def start(machines: Machines, sandbox: Sandbox) -> Iterator[Callable[..., Pty]]:
    """Starts a script as the only program of a fresh terminal that changes no byte, and returns that terminal."""
    opened: list[Pty] = []

    def _start(script: str, **options: object) -> Pty:
        sandbox.write_file("program", f"stty raw -echo\nprintf BEGIN\n{script}\n".encode())
        pty = sandbox.open_pty(**options)
        opened.append(pty)
        pty.write(b' exec sh "$HOME"/program\n')
        seen = b""
        while b"BEGIN" not in seen and (data := pty.read(60)):
            seen += data
        assert b"BEGIN" in seen or machines.loses_tails
        return After(pty, seen.partition(b"BEGIN")[2])

    yield _start
    for pty in opened:
        pty.close()
