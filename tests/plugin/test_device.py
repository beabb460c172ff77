"""Device logins in local sandboxes, in a real terminal; tests/daytona has the same stories in emulated ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from device_runs import CAPTURES, STORIES, Device, any_capture
from eval_runs import Evals


@pytest.fixture
def device(evals: Evals) -> Iterator[Device]:
    made = Device(evals)
    yield made
    made.close()


@pytest.mark.parametrize("story", STORIES)
def test_device(device: Device, story: str) -> None:
    STORIES[story](device)


@pytest.mark.parametrize("capture", CAPTURES)
def test_any_capture(device: Device, capture: str) -> None:
    any_capture(device, capture)
