"""A local sandbox for what needs a real machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_kiro.sandbox import leases
from pytest_kiro.sandbox.local import LocalSandbox


@pytest.fixture
def sandbox(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalSandbox]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("t")))
    made = LocalSandbox(leases.acquire("unit"))
    yield made
    made.close()
