"""Device logins in local sandboxes, in a real terminal; tests/daytona has the same stories in emulated ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from device_runs import CAPTURES, STORIES, Device, any_capture
from eval_runs import Evals, program, stand_in


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


def test_in_ci_nobody_is_asked(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some runners give their jobs a terminal; nobody sits there."""
    cli = program(device.evals, stand_in('if [ "$1" = --version ]; then echo kiro-cli 2.30.1; exit; fi'))
    monkeypatch.setenv("CI", "true")
    child = device.begin("--kiro-login=auto", f"--kiro-cli={cli}")
    code, shown = device.ends(child)
    assert code == 1, shown
    assert "nobody is asked in CI unless by --kiro-login=device" in shown
