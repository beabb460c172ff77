"""Every run of evals gets a temporary directory of its own, in which nothing may be left."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from eval_runs import Evals


@pytest.fixture
def evals(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Iterator[Evals]:
    """Evals to write and to run; whatever they were, no process and no sandbox outlives them."""
    # Short and outside of pytester's folder: a workspace's path then says nothing of the test.
    tmp = Path(tempfile.mkdtemp(prefix="evals-")).resolve()
    evals = Evals(pytester, monkeypatch, tmp)
    yield evals
    try:
        evals.nothing_is_left()
    finally:
        shutil.rmtree(tmp, ignore_errors=True)
