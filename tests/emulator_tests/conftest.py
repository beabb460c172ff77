"""One emulator for all tests of a run; each test finds it as new."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from emulator import Emulator


@pytest.fixture(scope="session")
def running_emulator() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def emulator(running_emulator: Emulator) -> Iterator[Emulator]:
    running_emulator.reset()
    yield running_emulator
    assert running_emulator.crashes() == []
